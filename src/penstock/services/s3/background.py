"""What follows from a change: notifications sent, blobs collected; what follows from time: lifecycle rules applied."""

from dataclasses import replace

from penstock.framework.context import Context
from penstock.framework.service import on_intent
from penstock.kernel.errors import Unavailable
from penstock.services.s3 import events, state
from penstock.services.s3.operations import bodies, lifecycle, replication, restores, sending
from penstock.storage.outbox import Intent


@on_intent(state.DELETE_BLOB)
async def delete_blob(ctx: Context, intent: Intent) -> None:
    """Raises Unavailable, to come back later, while someone still reads them."""
    blobs = [str(blob) for blob in intent.payload.get("blobs") or [intent.payload.get("blob")]]  # type: ignore[attr-defined]
    if bodies.is_read(ctx, blobs):
        raise Unavailable("a blob to be deleted is being read")
    for blob in blobs:
        await ctx.blobs.delete(blob)


@on_intent(lifecycle.RUN)
async def run_lifecycle(ctx: Context, intent: Intent) -> None:
    """Every midnight (UTC) for every bucket that has rules."""
    await lifecycle.run(ctx, str(intent.payload["bucket"]))


@on_intent(replication.REPLICATE)
async def replicate(ctx: Context, intent: Intent) -> None:
    await replication.replicate(ctx, dict(intent.payload))


@on_intent(restores.LAPSE)
async def lapse_restore(ctx: Context, intent: Intent) -> None:
    await restores.lapse(ctx, dict(intent.payload))


@on_intent(events.NOTIFY)
async def notify(ctx: Context, intent: Intent) -> None:
    """Send one record to one destination, as S3 itself on behalf of the bucket."""
    request = replace(ctx.request, trace_id=str(intent.payload.get("trace_id") or ""))
    await sending.send(replace(ctx, request=request), dict(intent.payload))
