"""Streams and consumers come to rest, and records grow old."""

from functools import partial

from penstock.framework.context import Context
from penstock.framework.service import background, on_intent
from penstock.kernel.scope import Scope
from penstock.services.kinesis import limits, state
from penstock.services.kinesis.operations.arrivals import arrivals_of
from penstock.services.kinesis.operations.consumers import SETTLE_CONSUMER
from penstock.services.kinesis.operations.streams import SETTLE
from penstock.services.kinesis.state import Shard, Stream
from penstock.storage.outbox import Intent
from penstock.storage.transactions import Transaction


@on_intent(SETTLE)
async def settle(ctx: Context, intent: Intent) -> None:
    """CREATING and UPDATING become ACTIVE; a stream that is DELETING goes, its records first and bit by bit."""
    scope = Scope(str(intent.payload["account_id"]), str(intent.payload["region"]))
    name = str(intent.payload["name"])

    def find(tx: Transaction) -> Stream | None:
        stream = state.find_stream(tx, scope, name)
        return stream if stream is not None and stream.created_ms == intent.payload["created_ms"] else None

    def finish(tx: Transaction) -> bool:
        """Whether there is more to do."""
        stream = find(tx)
        if stream is None:
            return False
        if stream.status == "DELETING":
            if state.delete_records(tx, scope, name, limit=limits.TRIM_AT_ONCE):
                return True
            state.delete_stream(tx, scope, stream)
            return False
        stream.status = "ACTIVE"
        state.put_stream(tx, scope, stream)
        return False

    while await ctx.store.transact(finish):
        pass
    arrivals_of(ctx.platform).signal((scope, name))


@on_intent(SETTLE_CONSUMER)
async def settle_consumer(ctx: Context, intent: Intent) -> None:
    """CREATING becomes ACTIVE; DELETING ends."""
    scope = Scope(str(intent.payload["account_id"]), str(intent.payload["region"]))
    stream, name = str(intent.payload["stream"]), str(intent.payload["name"])

    def finish(tx: Transaction) -> None:
        consumer = state.find_consumer(tx, scope, stream, name)
        if consumer is None or consumer.created_ms != intent.payload["created_ms"]:
            return
        if consumer.status == "DELETING":
            state.delete_consumer(tx, scope, stream, consumer)
            return
        consumer.status = "ACTIVE"
        state.put_consumer(tx, scope, stream, consumer)

    await ctx.store.transact(finish)
    arrivals_of(ctx.platform).signal((scope, stream))


@background
async def trim(ctx: Context) -> None:
    """Remove what is beyond its stream's retention. Readers don't see it anyway, so the machine's time will do."""
    while True:
        now_ms = ctx.clock.now_ms()
        for scope, stream in await ctx.store.read(lambda tx: list(state.all_streams(tx))):
            for shard in stream.shards:
                while await ctx.store.transact(partial(_trim, scope=scope, stream=stream, shard=shard, now_ms=now_ms)):
                    pass
            await ctx.store.transact(partial(_forget_shards, scope=scope, name=stream.name, now_ms=now_ms))
        await ctx.platform.wall.sleep(limits.TRIM_EVERY_S)


def _trim(tx: Transaction, *, scope: Scope, stream: Stream, shard: Shard, now_ms: int) -> int:
    journal = state.records_of(scope, stream.name)
    return journal.trim(tx, shard.id, before_ms=stream.oldest_ms(now_ms), limit=limits.TRIM_AT_ONCE)


def _forget_shards(tx: Transaction, *, scope: Scope, name: str, now_ms: int) -> None:
    """Closed shards all of whose records are gone; their indexes don't come again."""
    stream = state.find_stream(tx, scope, name)
    if stream is None:
        return
    visible = stream.visible_shards(now_ms)
    if len(visible) == len(stream.shards):
        return
    stream.next_shard = stream.shard_count
    for shard in stream.shards:
        if shard not in visible:
            state.records_of(scope, name).delete(tx, shard.id)
    stream.shards = visible
    state.put_stream(tx, scope, stream)
