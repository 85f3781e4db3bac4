"""SubscribeToShard: a shard's records are sent to a consumer as they come, for five minutes.

One consumer has one subscription to a shard: after five seconds a second call takes over, and the first one ends.
Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from penstock.framework import wakeups
from penstock.framework.context import Context, Platform
from penstock.framework.service import operation
from penstock.kernel.scope import Scope
from penstock.services.kinesis import limits, messages, rules
from penstock.services.kinesis.operations.arrivals import arrivals_of
from penstock.services.kinesis.operations.consumers import get_consumer, located_consumer
from penstock.services.kinesis.operations.reading import (
    Page,
    find_visible,
    read_page,
    readable,
    shown_record,
    start_position,
)
from penstock.services.kinesis.state import Shard, Stream
from penstock.storage.transactions import ReadTransaction

_SUBSCRIPTIONS = "kinesis.subscriptions"
Event = tuple[str, dict[str, Any]]


@dataclass(slots=True, eq=False)
class Subscription:
    """What a call has begun; it ends where another one stands in its place."""

    scope: Scope
    stream: str
    consumer: str
    shard: Shard
    position: int
    started_ms: int


@operation
async def subscribe_to_shard(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Raises ResourceInUseException for a consumer that isn't ACTIVE, or has just subscribed."""
    (scope, name, consumer_name), now_ms = located_consumer(ctx, req), ctx.clock.now_ms()
    asked = req["StartingPosition"]

    def begin(tx: ReadTransaction) -> Subscription:
        consumer = get_consumer(tx, scope, name, consumer_name)
        if consumer.status != "ACTIVE":
            raise messages.consumer_not_active(consumer.name, consumer.status)
        stream = readable(tx, scope, name).stream
        shard = find_visible(scope, stream, req["ShardId"], now_ms)
        position = start_position(tx, scope, stream, shard, asked, now_ms)
        return Subscription(scope, name, consumer_name, shard, position, now_ms)

    begun = await ctx.store.read(begin)
    if req.get("DryRun"):
        raise messages.dry_run()
    active = _active(ctx.platform)
    key = (req["ConsumerARN"], begun.shard.id)
    if key in active and now_ms - active[key].started_ms < limits.SUBSCRIBE_AGAIN_MS.value:
        raise messages.subscribed_just_now(*key)
    active[key] = begun
    arrivals_of(ctx.platform).signal((scope, name))
    return {"EventStream": _events(ctx, key, begun)}


def _active(platform: Platform) -> dict[tuple[str, str], Subscription]:
    found: dict[tuple[str, str], Subscription] = platform.volatile.setdefault(_SUBSCRIPTIONS, {})
    return found


async def _events(ctx: Context, key: tuple[str, str], subscription: Subscription) -> AsyncIterator[Event]:
    """Pages of records as they come, a heartbeat where none come, the children at the end of a closed shard."""
    active, arrivals = _active(ctx.platform), arrivals_of(ctx.platform)
    place = (subscription.scope, subscription.stream)
    wakeup = arrivals.join(place)
    until_ms = subscription.started_ms + limits.SUBSCRIPTION_MS.value
    heartbeat_ms = 0
    try:
        while active.get(key) is subscription and ctx.clock.now_ms() < until_ms:
            changed, now_ms = wakeup.changed, ctx.clock.now_ms()
            stream, page = await ctx.store.read(lambda tx, at=now_ms: _read(tx, subscription, at))  # type: ignore[misc]
            if page.entries or page.is_end or now_ms >= heartbeat_ms:
                subscription.position, heartbeat_ms = page.next_position, now_ms + limits.HEARTBEAT_MS
                yield "SubscribeToShardEvent", _shown(stream, subscription.shard, page, now_ms)
            if page.is_end:
                return
            if not page.entries:
                await wakeups.wait(changed, ctx.clock, min(heartbeat_ms, until_ms))
    finally:
        arrivals.leave(place)
        if active.get(key) is subscription:
            del active[key]


def _read(tx: ReadTransaction, subscription: Subscription, now_ms: int) -> tuple[Stream, Page]:
    """Raises ResourceNotFoundException once the consumer, or the stream as it was, is gone."""
    scope, name = subscription.scope, subscription.stream
    get_consumer(tx, scope, name, subscription.consumer)
    stream = readable(tx, scope, name).stream
    shard = find_visible(scope, stream, subscription.shard.id, now_ms)
    if shard.epoch != subscription.shard.epoch:
        raise messages.shard_gone(shard.id, name, scope.account_id)
    page = read_page(
        tx,
        scope,
        stream,
        shard,
        position=subscription.position,
        now_ms=now_ms,
        count=limits.EVENT_RECORDS_MAX,
        bytes_max=limits.EVENT_BYTES_MAX,
    )
    return stream, page


def _shown(stream: Stream, shard: Shard, page: Page, now_ms: int) -> dict[str, Any]:
    event: dict[str, Any] = {
        "Records": [shown_record(shard, entry) for entry in page.entries],
        "MillisBehindLatest": page.behind_ms,
    }
    if page.is_end:
        return event | {"ChildShards": rules.children_of(stream, shard)}
    at_ms = page.entries[-1].at_ms if page.entries else shard.created_ms
    return event | {"ContinuationSequenceNumber": rules.sequence_number(shard, page.next_position - 1, at_ms)}
