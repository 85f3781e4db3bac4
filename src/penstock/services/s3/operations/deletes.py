"""Objects removed, one or a thousand in one call."""

from typing import Any

from penstock.framework.authorization import refusal_of
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.services.s3 import events, limits, messages, rules, state
from penstock.services.s3.operations import access, locks, replication
from penstock.services.s3.operations.objects import new_version_id
from penstock.services.s3.state import Bucket, Version
from penstock.storage.transactions import Transaction


@operation
async def delete_object(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()

    def delete(tx: Transaction) -> dict[str, Any]:
        return _delete(tx, ctx, state.bucket_of(tx, req), req, now_ms)

    return await ctx.store.transact(delete)


def _delete(tx: Transaction, ctx: Context, bucket: Bucket, req: dict[str, Any], now_ms: int) -> dict[str, Any]:
    """Delete a named version, or put a delete marker, or remove an object that has no versions."""
    key, version_id = req["Key"], req.get("VersionId")
    rules.check_version_id(version_id)
    version = state.find_version(tx, bucket.name, key, version_id)
    rules.check_delete_conditions(version, req)
    if version_id is not None:
        if version is None:
            return {"VersionId": version_id}
        locks.check_deletable(version, now_ms, is_bypassing=bool(req.get("BypassGovernanceRetention")))
        state.delete_version(tx, bucket.name, version, now_ms)
        _tell(tx, ctx, bucket, version, now_ms)
        return {"VersionId": version_id, **({"DeleteMarker": True} if version.is_delete_marker else {})}
    if not bucket.versioning:
        if version is not None:
            state.delete_version(tx, bucket.name, version, now_ms)
            _tell(tx, ctx, bucket, version, now_ms)
        return {}
    marker = Version(key, modified_ms=now_ms, version_id=new_version_id(ctx, bucket), is_delete_marker=True)
    replication.plan(tx, bucket, marker, now_ms)
    state.put_current(tx, bucket, marker, now_ms)
    events.notify(tx, ctx, bucket, "ObjectRemoved:DeleteMarkerCreated", marker, now_ms)
    return {"DeleteMarker": True, "VersionId": marker.version_id}


def _tell(tx: Transaction, ctx: Context, bucket: Bucket, version: Version, now_ms: int) -> None:
    version.order = max(now_ms * 1000, version.order + 1)
    events.notify(tx, ctx, bucket, "ObjectRemoved:Delete", version, now_ms)


@operation
async def delete_objects(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    wanted = (req.get("Delete") or {}).get("Objects") or []
    if not 1 <= len(wanted) <= limits.PAGE_MAX.value:
        raise messages.malformed_xml()
    now_ms = ctx.clock.now_ms()
    refused = [await refusal_of(ctx, "s3", "DeleteObject", one) for one in access.deletions(req)]

    def delete(tx: Transaction) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        bucket = state.bucket_of(tx, req)
        deleted: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for item, refusal in zip(wanted, refused, strict=True):
            named = {name: item[name] for name in ("Key", "VersionId") if item.get(name)}
            given = {"IfMatch": item.get("ETag"), "IfMatchSize": item.get("Size")}
            given["IfMatchLastModifiedTime"] = item.get("LastModifiedTime")
            given["BypassGovernanceRetention"] = req.get("BypassGovernanceRetention")
            try:
                if refusal is not None:
                    raise refusal
                done = _delete(tx, ctx, bucket, named | given, now_ms)
            except ServiceError as error:
                errors.append({**named, "Code": error.code, "Message": error.message})
                continue
            deleted.append(named | _marker_members(named, done))
        return deleted, errors

    deleted, errors = await ctx.store.transact(delete)
    answer: dict[str, Any] = {"Errors": errors} if errors else {}
    if not req["Delete"].get("Quiet"):
        answer["Deleted"] = deleted
    return answer


def _marker_members(named: dict[str, Any], done: dict[str, Any]) -> dict[str, Any]:
    if not done.get("DeleteMarker"):
        return {}
    return {"DeleteMarker": True, "DeleteMarkerVersionId": done["VersionId"]}
