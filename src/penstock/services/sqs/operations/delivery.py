"""Sending, receiving and deleting messages."""

from collections.abc import Callable
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel import arn
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.sqs import limits, messages, rules, state
from penstock.services.sqs.operations.queues import located
from penstock.storage.transactions import Transaction


@operation
async def send_message(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = located(ctx, req)
    return await ctx.store.transact(_sending(ctx, scope, name, req))


@operation
async def send_message_batch(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = located(ctx, req)
    return await _each(ctx, req, lambda entry: _sending(ctx, scope, name, entry))


def _sending(ctx: Context, scope: Scope, name: str, entry: dict[str, Any]) -> Callable[[Transaction], dict[str, Any]]:
    now_ms, id = ctx.clock.now_ms(), ctx.entropy.uuid()
    attributes = rules.stored_attributes(entry.get("MessageAttributes") or {})
    system = {key: value.get("StringValue", "") for key, value in (entry.get("MessageSystemAttributes") or {}).items()}

    def send(tx: Transaction) -> dict[str, Any]:
        queue = state.get_queue(tx, scope, name)
        body = entry.get("MessageBody") or ""
        if not body:
            raise ServiceError("MissingParameter", messages.EMPTY_BODY)
        size_max = queue.seconds("MaximumMessageSize")
        size = len(body.encode()) + sum(
            len(key) + len(item["DataType"]) + len(item.get("StringValue", "").encode() or item.get("Binary64", ""))
            for key, item in attributes.items()
        )
        if size > size_max:
            raise rules.invalid(messages.too_long(size_max))
        delay_s = entry.get("DelaySeconds")
        delay_s = queue.seconds("DelaySeconds") if delay_s is None else delay_s
        rules.check_range("DelaySeconds", delay_s, limits.DELAY_S_MAX.value)
        sender = ctx.principal.user_id or ctx.principal.account_id
        message = state.Message(id, body, now_ms, now_ms + delay_s * 1000, sender, attributes, system)
        state.put_message(tx, scope, name, message)
        answer = {"MessageId": id, "MD5OfMessageBody": rules.md5_of(body)}
        return {**answer, "MD5OfMessageAttributes": rules.md5_of_attributes(attributes)} if attributes else answer

    return send


async def _each(
    ctx: Context, req: dict[str, Any], act: Callable[[dict[str, Any]], Callable[[Transaction], dict[str, Any]]]
) -> dict[str, Any]:
    """Carry a batch out entry by entry; one that fails doesn't stop the others."""
    entries = req["Entries"]
    if not entries:
        raise ServiceError("EmptyBatchRequest", messages.EMPTY_BATCH)
    if len(entries) > limits.BATCH_MAX.value:
        raise ServiceError("TooManyEntriesInBatchRequest", messages.batch_too_large(len(entries)))
    if len({entry["Id"] for entry in entries}) != len(entries):
        raise ServiceError("BatchEntryIdsNotDistinct", messages.DUPLICATE_IDS)
    answer: dict[str, Any] = {"Successful": [], "Failed": []}
    scope, name = located(ctx, req)
    await ctx.store.read(lambda tx: state.get_queue(tx, scope, name))
    for entry in entries:
        try:
            answer["Successful"].append({"Id": entry["Id"], **await ctx.store.transact(act(entry))})
        except ServiceError as error:
            failure = {"Id": entry["Id"], "SenderFault": True, "Code": error.code, "Message": error.message}
            answer["Failed"].append(failure)
    return answer


@operation
async def receive_message(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Up to ten messages, waiting for the first as long as the request or the queue says."""
    scope, name = located(ctx, req)
    count = req.get("MaxNumberOfMessages") or 1
    if not 1 <= count <= limits.BATCH_MAX.value:
        raise rules.invalid(messages.out_of_range("MaxNumberOfMessages", count, 1, limits.BATCH_MAX.value))
    queue = await ctx.store.read(lambda tx: state.get_queue(tx, scope, name))
    wait_s = req.get("WaitTimeSeconds")
    wait_s = queue.seconds("ReceiveMessageWaitTimeSeconds") if wait_s is None else wait_s
    rules.check_range("WaitTimeSeconds", wait_s, limits.WAIT_S_MAX.value)
    until_ms = ctx.clock.now_ms() + wait_s * 1000
    while True:
        now_ms = ctx.clock.now_ms()
        if await ctx.store.read(lambda tx, now_ms=now_ms: any(state.visible(tx, scope, name, now_ms))):  # type: ignore[misc]
            taken = await ctx.store.transact(_taking(scope, name, req, count=count, now_ms=now_ms))
            if taken:
                return {"Messages": [_shown(message, req) for message in taken]}
        if now_ms >= until_ms:
            return {}
        await ctx.clock.sleep(limits.POLL_S)


def _taking(
    scope: Scope, name: str, req: dict[str, Any], *, count: int, now_ms: int
) -> Callable[[Transaction], list[state.Message]]:
    def take(tx: Transaction) -> list[state.Message]:
        queue = state.get_queue(tx, scope, name)
        timeout_s = req.get("VisibilityTimeout")
        timeout_s = queue.seconds("VisibilityTimeout") if timeout_s is None else timeout_s
        rules.check_range("VisibilityTimeout", timeout_s, limits.VISIBILITY_S_MAX.value)
        oldest_ms = now_ms - queue.seconds("MessageRetentionPeriod") * 1000
        taken: list[state.Message] = []
        for message in list(state.visible(tx, scope, name, now_ms)):
            if len(taken) == count:
                break
            if message.sent_ms < oldest_ms:
                state.delete_message(tx, scope, name, message)
            elif not _bury(tx, scope, queue, message, now_ms):
                message.received += 1
                message.first_received_ms = message.first_received_ms or now_ms
                message.is_in_flight = True
                state.move(tx, scope, name, message, visible_ms=now_ms + timeout_s * 1000)
                taken.append(message)
        return taken

    return take


def _bury(tx: Transaction, scope: Scope, queue: state.Queue, message: state.Message, now_ms: int) -> bool:
    """Whether a message that was received too often went to the dead-letter queue."""
    policy = queue.attributes.get("RedrivePolicy")
    if not policy:
        return False
    target, received_max = rules.redrive(policy)
    if message.received < received_max:
        return False
    dead_letters = arn.parse(target).resource
    if state.find_queue(tx, scope, dead_letters) is None:
        return False
    state.delete_message(tx, scope, queue.name, message)
    message.is_in_flight, message.visible_ms = False, now_ms
    message.system = {**message.system, "DeadLetterQueueSourceArn": queue.arn(scope)}
    state.put_message(tx, scope, dead_letters, message)
    return True


def _shown(message: state.Message, req: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "MessageId": message.id,
        "ReceiptHandle": rules.handle(message.id, message.received),
        "MD5OfBody": rules.md5_of(message.body),
        "Body": message.body,
    }
    system = {
        **message.system,
        "SenderId": message.sender,
        "SentTimestamp": str(message.sent_ms),
        "ApproximateReceiveCount": str(message.received),
        "ApproximateFirstReceiveTimestamp": str(message.first_received_ms),
    }
    wanted = {*(req.get("AttributeNames") or []), *(req.get("MessageSystemAttributeNames") or [])}
    if wanted:
        answer["Attributes"] = {key: value for key, value in system.items() if "All" in wanted or key in wanted}
    names = req.get("MessageAttributeNames") or []
    chosen = {key: value for key, value in message.attributes.items() if _is_named(key, names)}
    if chosen:
        answer["MessageAttributes"] = rules.shown_attributes(chosen)
        answer["MD5OfMessageAttributes"] = rules.md5_of_attributes(chosen)
    return answer


def _is_named(key: str, names: list[str]) -> bool:
    return any(name in ("All", ".*", key) or (name.endswith(".*") and key.startswith(name[:-2])) for name in names)


@operation
async def delete_message(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = located(ctx, req)
    return await ctx.store.transact(_deleting(scope, name, req))


@operation
async def delete_message_batch(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = located(ctx, req)
    return await _each(ctx, req, lambda entry: _deleting(scope, name, entry))


def _deleting(scope: Scope, name: str, entry: dict[str, Any]) -> Callable[[Transaction], dict[str, Any]]:
    def delete(tx: Transaction) -> dict[str, Any]:
        state.get_queue(tx, scope, name)
        message = state.find_message(tx, scope, name, rules.read_handle(entry["ReceiptHandle"]))
        if message is not None:
            state.delete_message(tx, scope, name, message)
        return {}

    return delete


@operation
async def change_message_visibility(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms, timeout_s = ctx.clock.now_ms(), req["VisibilityTimeout"]
    scope, name = located(ctx, req)
    rules.check_range("VisibilityTimeout", timeout_s, limits.VISIBILITY_S_MAX.value)

    def change(tx: Transaction) -> None:
        state.get_queue(tx, scope, name)
        message = state.find_message(tx, scope, name, rules.read_handle(req["ReceiptHandle"]))
        if message is None or message.visible_ms <= now_ms:
            raise ServiceError("MessageNotInflight", messages.NOT_IN_FLIGHT)
        state.move(tx, scope, name, message, visible_ms=now_ms + timeout_s * 1000)

    await ctx.store.transact(change)
    return {}
