"""Buckets: made, found, listed, removed."""

import re
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.s3 import limits, messages, rules, state
from penstock.services.s3.operations import acls
from penstock.services.s3.state import Bucket
from penstock.storage.transactions import ReadTransaction, Transaction

_US_EAST_1 = "us-east-1"
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+){1,3}-\d{1,2}")


@operation
async def create_bucket(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Asking again for one's own bucket is no error in us-east-1, and BucketAlreadyOwnedByYou elsewhere."""
    name = req["Bucket"]
    rules.check_bucket_name(name)
    config = req.get("CreateBucketConfiguration") or {}
    if name.endswith("--x-s3") or config.get("Location") or (config.get("Bucket") or {}).get("Type"):
        raise messages.no_directory_buckets()
    region = _region_for(ctx, req)
    tags = rules.checked_tags(config.get("Tags") or [], limits.BUCKET_TAGS_MAX)
    bucket = Bucket(name, ctx.scope.account_id, region, ctx.clock.now_ms(), configs=[])
    acls.check_new_bucket(req)
    if req.get("ObjectLockEnabledForBucket"):
        bucket.has_object_lock, bucket.versioning = True, "Enabled"

    def create(tx: Transaction) -> None:
        existing = state.find_bucket(tx, name)
        if existing is None:
            state.put_bucket(tx, bucket)
            acls.keep_bucket_acl(tx, name, req)
            if req.get("ObjectOwnership"):
                controls = {"Rules": [{"ObjectOwnership": req["ObjectOwnership"]}]}
                state.put_config(tx, name, "ownership", controls)
            if tags:
                state.put_config(tx, name, "tagging", tags)
        elif existing.account_id != ctx.scope.account_id:
            raise messages.bucket_exists(name)
        elif existing.region != _US_EAST_1 or region != _US_EAST_1:
            raise messages.bucket_owned_by_you(name)

    await ctx.store.transact(create)
    return {"Location": f"/{name}", "BucketArn": f"arn:aws:s3:::{name}"}


def _region_for(ctx: Context, req: dict[str, Any]) -> str:
    wanted = (req.get("CreateBucketConfiguration") or {}).get("LocationConstraint") or ""
    wanted = "eu-west-1" if wanted == "EU" else wanted
    if wanted and (not _REGION.fullmatch(wanted) or wanted == _US_EAST_1):
        raise messages.invalid_location(wanted)
    if ctx.scope.region == _US_EAST_1:
        return wanted or _US_EAST_1
    if wanted != ctx.scope.region:
        raise messages.location_mismatch(wanted or "unspecified")
    return str(wanted)


@operation
async def head_bucket(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    bucket = await ctx.store.read(lambda tx: state.find_bucket(tx, req["Bucket"]))
    if bucket is None:
        raise messages.not_found()
    state.check_owner(bucket, req)
    return {"BucketRegion": bucket.region, "AccessPointAlias": False}


@operation
async def delete_bucket(ctx: Context, req: dict[str, Any]) -> None:
    def delete(tx: Transaction) -> None:
        bucket = state.bucket_of(tx, req)
        if any(True for _ in tx.range(("s3", "current", bucket.name), limit=1)):
            raise messages.bucket_not_empty(bucket.name)
        for upload in state.uploads(tx, bucket.name):
            state.drop_upload(tx, bucket.name, upload, now_ms)
        state.delete_bucket(tx, bucket)

    now_ms = ctx.clock.now_ms()
    await ctx.store.transact(delete)


@operation
async def list_buckets(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    prefix = req.get("Prefix") or ""
    region = req.get("BucketRegion")
    count_max = int(req.get("MaxBuckets") or 10_000)
    after = req.get("ContinuationToken") or ""

    def read(tx: ReadTransaction) -> list[Bucket]:
        owned = ("s3", "owned", ctx.scope.account_id)
        names = [str(key[3]) for key, _ in tx.range(owned, begin=(*owned, after) if after else None)]
        found = (state.get_bucket(tx, name) for name in names if name.startswith(prefix) and name != after)
        return [bucket for bucket in found if region in (None, bucket.region)]

    buckets = await ctx.store.read(read)
    answer: dict[str, Any] = {"Owner": owner(ctx.scope.account_id)}
    if len(buckets) > count_max:
        buckets = buckets[:count_max]
        answer["ContinuationToken"] = buckets[-1].name
    answer["Buckets"] = [
        {
            "Name": bucket.name,
            "CreationDate": rules.when(bucket.created_ms),
            **({"BucketRegion": bucket.region} if "MaxBuckets" in req or region or prefix else {}),
        }
        for bucket in buckets
    ]
    return answer


@operation
async def get_bucket_location(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    bucket = await ctx.store.read(lambda tx: state.bucket_of(tx, req))
    return {} if bucket.region == _US_EAST_1 else {"LocationConstraint": bucket.region}


@operation
async def get_bucket_versioning(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    bucket = await ctx.store.read(lambda tx: state.bucket_of(tx, req))
    return {"Status": bucket.versioning} if bucket.versioning else {}


@operation
async def put_bucket_versioning(ctx: Context, req: dict[str, Any]) -> None:
    status = (req.get("VersioningConfiguration") or {}).get("Status")
    if status not in ("Enabled", "Suspended"):
        raise messages.malformed_xml()

    def change(tx: Transaction) -> None:
        bucket = state.bucket_of(tx, req)
        if bucket.has_object_lock and status != "Enabled":
            raise messages.invalid_bucket_state(
                "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed."
            )
        bucket.versioning = status
        state.put_bucket(tx, bucket)

    await ctx.store.transact(change)


def owner(account_id: str) -> dict[str, str]:
    """The canonical user: here 64 digits made of the account's twelve."""
    return {"ID": state.canonical_id(account_id), "DisplayName": "webfile"}
