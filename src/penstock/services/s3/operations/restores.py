"""Archived objects made readable for a time. Here a restore is over as soon as it is asked for.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreObject.html
"""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.s3 import events, messages, rules, state
from penstock.services.s3.operations import expiry
from penstock.services.s3.operations.finding import find
from penstock.storage import outbox
from penstock.storage.transactions import Transaction

LAPSE = "s3.restore_lapse"
_TIERS = ("Standard", "Bulk", "Expedited")


@operation
async def restore_object(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """202 the first time, 200 for what is prolonged. Raises InvalidObjectState (403) for what isn't archived."""
    asked = req.get("RestoreRequest")
    if asked is None:
        raise messages.malformed_xml()
    if asked.get("Type") == "SELECT":
        raise messages.method_not_allowed("POST", "SELECT")
    tier = asked.get("Tier") or (asked.get("GlacierJobParameters") or {}).get("Tier") or "Standard"
    if tier not in _TIERS:
        raise messages.malformed_xml()
    days = asked.get("Days")
    if days is None or int(days) < 1:
        raise messages.invalid_argument("restoration days should be at least 1", "Days", str(days))
    now_ms = ctx.clock.now_ms()

    def restore(tx: Transaction) -> int:
        bucket, version = find(tx, req)
        storage_class = version.headers.get("StorageClass", "STANDARD")
        if storage_class not in rules.ARCHIVED:
            raise messages.invalid_object_state(
                storage_class, "Restore is not allowed for the object's current storage class"
            )
        if storage_class == "DEEP_ARCHIVE" and tier == "Expedited":
            raise messages.invalid_argument("Expedited retrieval isn't available for DEEP_ARCHIVE", "Tier", tier)
        status = 200 if version.restored_until_ms > now_ms else 202
        version.restored_until_ms = expiry.due_after(now_ms, int(days))
        state.rewrite(tx, bucket.name, version)
        events.notify(tx, ctx, bucket, "ObjectRestore:Post", version, now_ms)
        events.notify(tx, ctx, bucket, "ObjectRestore:Completed", version, now_ms)
        named: dict[str, object] = {"bucket": bucket.name, "key": version.key, "version": version.version_id}
        id = f"{bucket.name}/{version.key}/{version.version_id}"
        outbox.add(tx, LAPSE, named, due_ms=version.restored_until_ms, id=id)
        return status

    return {"@status": await ctx.store.transact(restore)}


async def lapse(ctx: Context, payload: dict[str, Any]) -> None:
    """Tell that a restored copy is gone, unless it was prolonged meanwhile."""
    now_ms = ctx.clock.now_ms()

    def tell(tx: Transaction) -> None:
        bucket = state.find_bucket(tx, payload["bucket"])
        version = state.find_version(tx, payload["bucket"], payload["key"], payload["version"])
        if bucket is not None and version is not None and 0 < version.restored_until_ms <= now_ms:
            version.restored_until_ms = 0
            state.rewrite(tx, bucket.name, version)
            events.notify(tx, ctx, bucket, "ObjectRestore:Delete", version, now_ms)

    await ctx.store.transact(tell)
