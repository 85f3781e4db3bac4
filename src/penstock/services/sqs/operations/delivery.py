"""Sending, receiving and deleting messages."""

from collections.abc import Callable
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.framework.wakeups import wait
from penstock.kernel import arn
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.sqs import limits, messages, rules, state
from penstock.services.sqs.operations.arrivals import arrivals_of
from penstock.services.sqs.operations.queues import located
from penstock.storage.queue import Message
from penstock.storage.queue import Queue as MessageQueue
from penstock.storage.transactions import Transaction


@operation
async def send_message(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = located(ctx, req)
    answer = await ctx.store.transact(_sending(ctx, scope, name, req))
    arrivals_of(ctx.platform).signal((scope, name))
    return answer


@operation
async def send_message_batch(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = located(ctx, req)
    answer = await _each(ctx, req, lambda entry: _sending(ctx, scope, name, entry))
    arrivals_of(ctx.platform).signal((scope, name))
    return answer


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
        answer = {"MD5OfMessageBody": rules.md5_of(body)}
        if attributes:
            answer["MD5OfMessageAttributes"] = rules.md5_of_attributes(attributes)
        payload = state.Payload(body, sender, attributes, system)
        to = state.messages_of(scope, name)
        if not queue.is_fifo:
            to.send(tx, payload.encode(), id=id, now_ms=now_ms, delay_ms=delay_s * 1000)
            return {**answer, "MessageId": id}
        return {**answer, **_send_in_order(tx, queue, to, payload, entry, id=id, now_ms=now_ms, delay_s=delay_s)}

    return send


def _send_in_order(
    tx: Transaction,
    queue: state.Queue,
    to: MessageQueue,
    payload: state.Payload,
    entry: dict[str, Any],
    *,
    id: str,
    now_ms: int,
    delay_s: int,
) -> dict[str, Any]:
    """A duplicate is answered with the first one's numbers, and sent no more."""
    group, dedup_id = rules.deduplication(entry, queue.attributes)
    payload.system.update({"MessageGroupId": group, "MessageDeduplicationId": dedup_id})
    is_per_group = queue.attributes.get("DeduplicationScope") == "messageGroup"
    sent = to.send(
        tx,
        payload.encode(),
        id=id,
        now_ms=now_ms,
        delay_ms=delay_s * 1000,
        group=group,
        dedup_id=f"{group}\n{dedup_id}" if is_per_group else dedup_id,
        dedup_window_ms=limits.DEDUPLICATION_MS.value,
    )
    return {"MessageId": sent.id, "SequenceNumber": f"{sent.seq:020d}"}


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
    taken = await _take_or_wait(ctx, scope, name, req, count=count, until_ms=ctx.clock.now_ms() + wait_s * 1000)
    if queue.attributes.get("RedrivePolicy"):
        arrivals_of(ctx.platform).signal_all()
    return {"Messages": [_shown(queue, message, req) for message in taken]} if taken else {}


async def _take_or_wait(
    ctx: Context, scope: Scope, name: str, req: dict[str, Any], *, count: int, until_ms: int
) -> list[Message]:
    arrivals, held = arrivals_of(ctx.platform), state.messages_of(scope, name)
    wakeup = arrivals.join((scope, name))
    try:
        while True:
            changed, now_ms = wakeup.changed, ctx.clock.now_ms()
            next_ms = await ctx.store.read(held.next_visible_ms)
            if next_ms is not None and next_ms <= now_ms:
                tokens = [ctx.entropy.uuid() for _ in range(count)]
                taken = await ctx.store.transact(_taking(scope, name, req, tokens=tokens, now_ms=now_ms))
                if taken:
                    return taken
                next_ms = now_ms + limits.HELD_BACK_MS  # a group is held, or dead letters went away
            if now_ms >= until_ms:
                return []
            await wait(changed, ctx.clock, until_ms if next_ms is None else max(now_ms + 1, min(next_ms, until_ms)))
    finally:
        arrivals.leave((scope, name))


def _taking(
    scope: Scope, name: str, req: dict[str, Any], *, tokens: list[str], now_ms: int
) -> Callable[[Transaction], list[Message]]:
    def take(tx: Transaction) -> list[Message]:
        queue = state.get_queue(tx, scope, name)
        timeout_s = req.get("VisibilityTimeout")
        timeout_s = queue.seconds("VisibilityTimeout") if timeout_s is None else timeout_s
        rules.check_range("VisibilityTimeout", timeout_s, limits.VISIBILITY_S_MAX.value)
        oldest_ms = now_ms - queue.seconds("MessageRetentionPeriod") * 1000
        held = state.messages_of(scope, name)
        taken: list[Message] = []
        while not taken:
            got = held.receive(tx, now_ms=now_ms, visibility_ms=timeout_s * 1000, tokens=tokens)
            if not got:
                break
            for message in got:
                if message.sent_at_ms < oldest_ms:
                    held.remove(tx, message.seq)
                elif not _bury(tx, scope, queue, message, now_ms):
                    taken.append(message)
        return taken

    return take


def _bury(tx: Transaction, scope: Scope, queue: state.Queue, message: Message, now_ms: int) -> bool:
    """Whether a message that was received too often went to the dead-letter queue."""
    policy = queue.attributes.get("RedrivePolicy")
    if not policy:
        return False
    target, received_max = rules.redrive(policy)
    if message.receive_count <= received_max:
        return False
    dead_letters = arn.parse(target).resource
    found = state.find_queue(tx, scope, dead_letters)
    if found is None:
        return False
    state.messages_of(scope, queue.name).remove(tx, message.seq)
    payload = state.Payload.decode(message.body)
    payload.system["DeadLetterQueueSourceArn"] = queue.arn(scope)
    sent_ms = now_ms if found.is_fifo else message.sent_at_ms
    to = state.messages_of(scope, dead_letters)
    to.send(tx, payload.encode(), id=message.id, now_ms=sent_ms, group=message.group if found.is_fifo else "")
    return True


def _shown(queue: state.Queue, message: Message, req: dict[str, Any]) -> dict[str, Any]:
    payload = state.Payload.decode(message.body)
    answer: dict[str, Any] = {
        "MessageId": message.id,
        "ReceiptHandle": rules.handle(message.handle, queue.created_ms),
        "MD5OfBody": rules.md5_of(payload.body),
        "Body": payload.body,
    }
    system = {
        **payload.system,
        "SenderId": payload.sender,
        "SentTimestamp": str(message.sent_at_ms),
        "ApproximateReceiveCount": str(message.receive_count),
        "ApproximateFirstReceiveTimestamp": str(message.first_received_at_ms),
    }
    if queue.is_fifo:
        system["SequenceNumber"] = f"{message.seq:020d}"
    wanted = {*(req.get("AttributeNames") or []), *(req.get("MessageSystemAttributeNames") or [])}
    if wanted:
        answer["Attributes"] = {key: value for key, value in system.items() if "All" in wanted or key in wanted}
    names = req.get("MessageAttributeNames") or []
    chosen = {key: value for key, value in payload.attributes.items() if _is_named(key, names)}
    if chosen:
        answer["MessageAttributes"] = rules.shown_attributes(chosen)
        answer["MD5OfMessageAttributes"] = rules.md5_of_attributes(chosen)
    return answer


def _is_named(key: str, names: list[str]) -> bool:
    return any(name in ("All", ".*", key) or (name.endswith(".*") and key.startswith(name[:-2])) for name in names)


@operation
async def delete_message(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = located(ctx, req)
    answer = await ctx.store.transact(_deleting(scope, name, req))
    arrivals_of(ctx.platform).signal((scope, name))  # a group's next message may be taken now
    return answer


@operation
async def delete_message_batch(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = located(ctx, req)
    return await _each(ctx, req, lambda entry: _deleting(scope, name, entry))


def _deleting(scope: Scope, name: str, entry: dict[str, Any]) -> Callable[[Transaction], dict[str, Any]]:
    def delete(tx: Transaction) -> dict[str, Any]:
        queue, held = state.get_queue(tx, scope, name), state.messages_of(scope, name)
        raw = rules.read_handle(entry["ReceiptHandle"], queue.created_ms)
        if not queue.is_fifo:
            held.remove(tx, rules.sequence_of(raw))  # a standard queue takes an older receive's handle too
        else:
            held.delete(tx, raw)
        return {}

    return delete


@operation
async def change_message_visibility(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms, timeout_s = ctx.clock.now_ms(), req["VisibilityTimeout"]
    scope, name = located(ctx, req)
    rules.check_range("VisibilityTimeout", timeout_s, limits.VISIBILITY_S_MAX.value)

    def change(tx: Transaction) -> None:
        queue, held = state.get_queue(tx, scope, name), state.messages_of(scope, name)
        raw = rules.read_handle(req["ReceiptHandle"], queue.created_ms)
        if not held.change_visibility(tx, raw, now_ms=now_ms, visibility_ms=timeout_s * 1000):
            raise ServiceError("MessageNotInflight", messages.NOT_IN_FLIGHT)

    await ctx.store.transact(change)
    arrivals_of(ctx.platform).signal((scope, name))
    return {}
