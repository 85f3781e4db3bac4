"""Large streams are deleted, and records grow old."""

from functools import partial

from penstock.framework.context import Context
from penstock.framework.service import background, on_intent
from penstock.kernel.scope import Scope
from penstock.services.kinesis import limits, state
from penstock.services.kinesis.operations.streams import DELETE, delete_some
from penstock.services.kinesis.state import Shard, Stream
from penstock.storage.outbox import Intent
from penstock.storage.transactions import Transaction


@on_intent(DELETE)
async def delete(ctx: Context, intent: Intent) -> None:
    """A stream that is DELETING goes, its records first and bit by bit."""
    scope = Scope(str(intent.payload["account_id"]), str(intent.payload["region"]))
    name = str(intent.payload["name"])

    def step(tx: Transaction) -> bool:
        stream = state.find_stream(tx, scope, name)
        if stream is None or stream.created_ms != intent.payload["created_ms"]:
            return False
        return delete_some(tx, scope, stream)

    while await ctx.store.transact(step):
        pass


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
