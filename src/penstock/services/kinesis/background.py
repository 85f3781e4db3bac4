"""Streams come to rest, and records grow old."""

from penstock.framework.context import Context
from penstock.framework.service import background, on_intent
from penstock.kernel.units import HOUR_MS
from penstock.services.kinesis import limits, state
from penstock.services.kinesis.operations.streams import SETTLE
from penstock.storage.outbox import Intent
from penstock.storage.transactions import Transaction


@on_intent(SETTLE)
async def settle(ctx: Context, intent: Intent) -> None:
    """CREATING and UPDATING become ACTIVE; DELETING ends."""

    def finish(tx: Transaction) -> None:
        stream = state.find_stream(tx, ctx.scope, str(intent.payload["name"]))
        if stream is None or stream.created_ms != intent.payload["created_ms"]:
            return
        if stream.status == "DELETING":
            state.delete_stream(tx, ctx.scope, stream.name)
            return
        stream.status = "ACTIVE"
        state.put_stream(tx, ctx.scope, stream)

    await ctx.store.transact(finish)


@background
async def trim(ctx: Context) -> None:
    """Remove what is beyond its stream's retention. Readers don't see it anyway, so the machine's time will do."""
    while True:
        now_ms = ctx.clock.now_ms()
        for scope, stream in await ctx.store.read(lambda tx: list(state.all_streams(tx))):
            before_ms = now_ms - stream.retention_hours * HOUR_MS
            journal = state.records_of(scope, stream.name)
            for shard in stream.shards:
                while await ctx.store.transact(
                    lambda tx, j=journal, s=shard.id, b=before_ms: j.trim(  # type: ignore[misc]
                        tx, s, before_ms=b, limit=limits.TRIM_AT_ONCE
                    )
                ):
                    pass
        await ctx.platform.wall.sleep(limits.TRIM_EVERY_S)
