"""Receiving messages: at once or waiting for the first, with dead letters set aside on the way."""

from dataclasses import dataclass
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
from penstock.services.sqs.operations.rates import check_rate
from penstock.storage.queue import Message
from penstock.storage.transactions import ReadTransaction, Transaction

_IN_FLIGHT = "sqs.in-flight"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A receive as the request has it; None where the queue's own setting holds."""

    count: int
    wait_s: int | None
    visibility_s: int | None
    system_names: frozenset[str]
    names: tuple[str, ...]
    attempt_id: str


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look at a queue found, and when the next may find more."""

    queue: state.Queue
    taken: list[Message]
    next_ms: int | None


@operation
async def receive_message(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Up to ten messages, waiting for the first as long as the request or the queue says."""
    scope, name = located(ctx, req)
    await check_rate(ctx, scope, name, "receive")
    look = await _take_or_wait(ctx, scope, name, _asked(req))
    if look.queue.attributes.get("RedrivePolicy"):
        arrivals_of(ctx.platform).signal_all()
    asked = _asked(req)
    return {"Messages": [_shown(look.queue, message, asked) for message in look.taken]} if look.taken else {}


def _asked(req: dict[str, Any]) -> _Asked:
    """Raises InvalidParameterValue, InvalidAttributeName."""
    count = req.get("MaxNumberOfMessages")
    count = 1 if count is None else count
    rules.check_range("MaxNumberOfMessages", count, limits.BATCH_MAX.value, low=1)
    wait_s, visibility_s = req.get("WaitTimeSeconds"), req.get("VisibilityTimeout")
    if wait_s is not None:
        rules.check_range("WaitTimeSeconds", wait_s, limits.WAIT_S_MAX.value)
    if visibility_s is not None:
        rules.check_range("VisibilityTimeout", visibility_s, limits.VISIBILITY_S_MAX.value)
    system_names = frozenset((*(req.get("AttributeNames") or ()), *(req.get("MessageSystemAttributeNames") or ())))
    for name in sorted(system_names - limits.SYSTEM_ATTRIBUTES):
        raise rules.invalid(messages.unknown_attribute(name), "InvalidAttributeName")
    names = tuple(req.get("MessageAttributeNames") or ())
    return _Asked(count, wait_s, visibility_s, system_names, names, req.get("ReceiveRequestAttemptId") or "")


async def _take_or_wait(ctx: Context, scope: Scope, name: str, asked: _Asked) -> _Look:
    arrivals, key = arrivals_of(ctx.platform), (scope, name)
    wakeup = arrivals.join(key)
    began_ms = ctx.clock.now_ms()
    try:
        while True:
            changed, now_ms = wakeup.changed, ctx.clock.now_ms()
            is_full = await _has_too_many_in_flight(ctx, scope, name, asked.count, now_ms)
            tokens = [] if is_full else [ctx.entropy.token_hex(12) for _ in range(asked.count)]
            look = await ctx.store.transact(lambda tx: _take(tx, scope, name, asked, tokens, now_ms))  # noqa: B023
            wait_s = look.queue.seconds("ReceiveMessageWaitTimeSeconds") if asked.wait_s is None else asked.wait_s
            until_ms = began_ms + wait_s * 1000
            if is_full and not wait_s and not look.queue.is_fifo:
                raise ServiceError("OverLimit", messages.OVER_LIMIT)
            if look.taken or now_ms >= until_ms:
                return look
            next_ms = look.next_ms
            if next_ms is not None and next_ms <= now_ms:
                next_ms = now_ms + limits.HELD_BACK_MS  # a group is held, or dead letters went away
            await wait(changed, ctx.clock, until_ms if next_ms is None else min(next_ms, until_ms))
    finally:
        arrivals.leave(key)


async def _has_too_many_in_flight(ctx: Context, scope: Scope, name: str, count: int, now_ms: int) -> bool:
    """Counted only now and then: so many may be received before the limit can be met again."""
    limit, held = limits.IN_FLIGHT_MAX.value, state.messages_of(scope, name)
    known: dict[tuple[Scope, str], tuple[int, int]] = ctx.platform.volatile.setdefault(_IN_FLIGHT, {})
    allowed, until_ms = known.get((scope, name), (0, 0))
    if allowed < count and now_ms >= until_ms:

        def look(tx: ReadTransaction) -> int:
            if held.size(tx) < limit:
                return limit - held.size(tx)
            if held.hidden(tx, now_ms=now_ms, limit=limit) < limit:
                return limit - held.hidden(tx, now_ms=now_ms, limit=limit)
            return max(0, limit - held.counts(tx, now_ms=now_ms).in_flight)

        allowed, until_ms = await ctx.store.read(look), now_ms + limits.IN_FLIGHT_LOOK_MS
    known[(scope, name)] = (max(0, allowed - count), until_ms)
    return allowed < 1


def _take(tx: Transaction, scope: Scope, name: str, asked: _Asked, tokens: list[str], now_ms: int) -> _Look:
    queue, held = state.get_queue(tx, scope, name), state.messages_of(scope, name)
    if asked.attempt_id:
        if not queue.is_fifo:
            raise rules.invalid_value(asked.attempt_id, "ReceiveRequestAttemptId", messages.NOT_FOR_THIS_TYPE)
        rules.check_id("ReceiveRequestAttemptId", asked.attempt_id)
    timeout_s = queue.seconds("VisibilityTimeout") if asked.visibility_s is None else asked.visibility_s
    if asked.attempt_id:
        again = held.receive_again(tx, asked.attempt_id, now_ms=now_ms, visibility_ms=timeout_s * 1000)
        if again is not None:
            return _Look(queue, again, None)
    taken = _take_living(tx, scope, queue, tokens=tokens, timeout_s=timeout_s, now_ms=now_ms)
    if taken and asked.attempt_id:
        held.remember_attempt(tx, asked.attempt_id, taken, now_ms=now_ms, window_ms=limits.ATTEMPT_MS.value)
    return _Look(queue, taken, None if taken else held.next_visible_ms(tx))


def _take_living(
    tx: Transaction, scope: Scope, queue: state.Queue, *, tokens: list[str], timeout_s: int, now_ms: int
) -> list[Message]:
    """Messages that are neither beyond the retention period nor received too often already."""
    oldest_ms = now_ms - queue.seconds("MessageRetentionPeriod") * 1000
    held = state.messages_of(scope, queue.name)
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


def _bury(tx: Transaction, scope: Scope, queue: state.Queue, message: Message, now_ms: int) -> bool:
    """Whether a message that was received too often went to the dead-letter queue.

    A standard queue's keeps the time at which it was first sent, a FIFO queue's doesn't.
    Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
    """
    policy = queue.attributes.get("RedrivePolicy")
    if not policy:
        return False
    target, received_max = rules.redrive(policy)
    if message.receive_count <= received_max:
        return False
    dead_letters = arn.parse(target).resource
    found = state.find_queue(tx, scope, dead_letters)
    source = queue.arn(scope)
    if found is None or not rules.is_source_allowed(found.attributes.get("RedriveAllowPolicy"), source):
        return False
    state.messages_of(scope, queue.name).remove(tx, message.seq)
    payload = state.Payload.decode(message.body)
    payload.system["DeadLetterQueueSourceArn"] = source
    sent_ms = now_ms if found.is_fifo else message.sent_at_ms
    to = state.messages_of(scope, dead_letters)
    to.send(tx, payload.encode(), id=message.id, now_ms=sent_ms, group=message.group if found.is_fifo else "")
    return True


def _shown(queue: state.Queue, message: Message, asked: _Asked) -> dict[str, Any]:
    payload = state.Payload.decode(message.body)
    answer: dict[str, Any] = {
        "MessageId": message.id,
        "ReceiptHandle": rules.handle(message.handle, queue.created_ms),
        "MD5OfBody": rules.md5_of(payload.body),
        "Body": payload.body,
    }
    if asked.system_names:
        system = _system_attributes(queue, message, payload)
        wanted = system if "All" in asked.system_names else asked.system_names
        answer["Attributes"] = {key: value for key, value in system.items() if key in wanted}
    chosen = {key: value for key, value in payload.attributes.items() if rules.is_attribute_named(key, asked.names)}
    if chosen:
        answer["MessageAttributes"] = rules.shown_attributes(chosen)
        answer["MD5OfMessageAttributes"] = rules.md5_of_attributes(chosen)
    return answer


def _system_attributes(queue: state.Queue, message: Message, payload: state.Payload) -> dict[str, str]:
    system = {
        **payload.system,
        "SenderId": payload.sender,
        "SentTimestamp": str(message.sent_at_ms),
        "ApproximateReceiveCount": str(message.receive_count),
        "ApproximateFirstReceiveTimestamp": str(message.first_received_at_ms),
    }
    if queue.is_fifo:
        system["SequenceNumber"] = rules.sequence_number(message.seq)
    return system
