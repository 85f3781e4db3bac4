"""Sending messages, one and in batches."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.sqs import limits, messages, rules, state
from penstock.services.sqs.operations.arrivals import arrivals_of
from penstock.services.sqs.operations.batches import Act, carry_out, checked_entries
from penstock.services.sqs.operations.queues import expire, located
from penstock.services.sqs.operations.rates import check_rate
from penstock.storage.transactions import Transaction


@operation
async def send_message(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Durable when it is answered; a FIFO queue's duplicate is answered with the first one's numbers."""
    scope, name = located(ctx, req)
    await check_rate(ctx, scope, name, "send", [req.get("MessageGroupId") or ""])
    act = _sending(ctx, scope, req)
    answer = await ctx.store.transact(lambda tx: act(tx, state.get_queue(tx, scope, name)))
    arrivals_of(ctx.platform).signal((scope, name))
    return answer


@operation
async def send_message_batch(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """What a FIFO queue needs of an entry, it needs of all: without it none is sent."""
    scope, name = located(ctx, req)
    entries = checked_entries(req, "SendMessageBatchRequestEntry")
    size, size_max = sum(_bytes_of(entry) for entry in entries), limits.BATCH_BYTES_MAX.value
    if size > size_max:
        raise ServiceError("BatchRequestTooLong", messages.batch_too_long(size_max, size))
    await check_rate(ctx, scope, name, "send", (entry.get("MessageGroupId") or "" for entry in entries))
    acts = [(entry["Id"], _sending(ctx, scope, entry)) for entry in entries]

    def send(tx: Transaction) -> dict[str, Any]:
        queue = state.get_queue(tx, scope, name)
        for entry in entries if queue.is_fifo else ():
            rules.check_fifo_members(entry, queue.attributes)
        return carry_out(tx, queue, acts)

    answer = await ctx.store.transact(send)
    arrivals_of(ctx.platform).signal((scope, name))
    return answer


def _bytes_of(entry: dict[str, Any]) -> int:
    body = entry.get("MessageBody") or ""
    return len(body.encode()) + rules.attributes_bytes(entry.get("MessageAttributes") or {})


def _sending(ctx: Context, scope: Scope, entry: dict[str, Any]) -> Act:
    now_ms, id = ctx.clock.now_ms(), ctx.entropy.uuid()
    sender = ctx.principal.user_id or ctx.principal.account_id

    def send(tx: Transaction, queue: state.Queue) -> dict[str, Any]:
        delay_s = _check(entry, queue)
        attributes = rules.stored_attributes(entry.get("MessageAttributes") or {})
        sent_system = rules.stored_attributes(entry.get("MessageSystemAttributes") or {})
        body: str = entry["MessageBody"]
        payload = state.Payload(body, sender, attributes, _system(ctx, entry, sent_system))
        answer = {"MD5OfMessageBody": rules.md5_of(body)}
        if attributes:
            answer["MD5OfMessageAttributes"] = rules.md5_of_attributes(attributes)
        if sent_system:
            answer["MD5OfMessageSystemAttributes"] = rules.md5_of_attributes(sent_system)
        if queue.is_fifo:
            return answer | _send_in_order(tx, scope, queue, payload, entry, id=id, now_ms=now_ms, delay_s=delay_s)
        to = state.messages_of(scope, queue.name)
        sent = to.send(tx, payload.encode(), id=id, now_ms=now_ms, delay_ms=delay_s * 1000)
        if sent.seq % limits.EXPIRE_EVERY_MESSAGES == 0:
            expire(tx, scope, queue, now_ms)
        return answer | {"MessageId": id}

    return send


def _check(entry: dict[str, Any], queue: state.Queue) -> int:
    """Refuse what can't be sent; the delay in seconds."""
    rules.check_body(entry.get("MessageBody") or "")
    rules.check_message_attributes(entry.get("MessageAttributes") or {})
    rules.check_system_attributes(entry.get("MessageSystemAttributes") or {})
    size_max = queue.seconds("MaximumMessageSize")
    if _bytes_of(entry) > size_max:
        raise rules.invalid(messages.too_long(size_max))
    delay_s = entry.get("DelaySeconds")
    delay_s = queue.seconds("DelaySeconds") if delay_s is None else delay_s
    rules.check_range("DelaySeconds", delay_s, limits.DELAY_S_MAX.value)
    if not queue.is_fifo:
        rules.check_of_standard(entry)
    return int(delay_s)


def _system(ctx: Context, entry: dict[str, Any], sent: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The trace header is the entry's, or the request's own. A standard queue's group is only noted.

    Source: https://docs.aws.amazon.com/xray/latest/devguide/xray-services-sqs.html
    """
    system = {key: value["StringValue"] for key, value in sent.items()}
    if ctx.request.trace_id:
        system.setdefault("AWSTraceHeader", ctx.request.trace_id)
    if entry.get("MessageGroupId"):
        system["MessageGroupId"] = entry["MessageGroupId"]
    return system


def _send_in_order(
    tx: Transaction,
    scope: Scope,
    queue: state.Queue,
    payload: state.Payload,
    entry: dict[str, Any],
    *,
    id: str,
    now_ms: int,
    delay_s: int,
) -> dict[str, Any]:
    """A duplicate is answered with the first one's numbers, and sent no more."""
    group, dedup_id = rules.deduplication(entry, queue.attributes)
    payload.system["MessageDeduplicationId"] = dedup_id
    is_per_group = queue.attributes.get("DeduplicationScope") == "messageGroup"
    sent = state.messages_of(scope, queue.name).send(
        tx,
        payload.encode(),
        id=id,
        now_ms=now_ms,
        delay_ms=delay_s * 1000,
        group=group,
        dedup_id=f"{group}\n{dedup_id}" if is_per_group else dedup_id,
        dedup_window_ms=limits.DEDUPLICATION_MS.value,
    )
    return {"MessageId": sent.id, "SequenceNumber": rules.sequence_number(sent.seq)}
