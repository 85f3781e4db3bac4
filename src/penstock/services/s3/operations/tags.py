"""Tags of objects and buckets."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.s3 import events, limits, messages, rules, state
from penstock.services.s3.operations.finding import find
from penstock.services.s3.state import Bucket, Version
from penstock.storage.transactions import Transaction


def _tag_set(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _versioned(bucket: Bucket, version: Version) -> dict[str, Any]:
    return {"VersionId": version.version_id} if bucket.versioning else {}


@operation
async def get_object_tagging(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    bucket, version = await ctx.store.read(lambda tx: find(tx, req))
    return {"TagSet": _tag_set(version.tags), **_versioned(bucket, version)}


@operation
async def put_object_tagging(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    tags = rules.checked_tags(req["Tagging"].get("TagSet") or [], limits.TAGS_MAX.value)
    return await _change_tags(ctx, req, tags, "ObjectTagging:Put")


@operation
async def delete_object_tagging(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    return await _change_tags(ctx, req, {}, "ObjectTagging:Delete")


async def _change_tags(ctx: Context, req: dict[str, Any], tags: dict[str, str], event: str) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()

    def change(tx: Transaction) -> dict[str, Any]:
        bucket, version = find(tx, req)
        version.tags = tags
        state.rewrite(tx, bucket.name, version)
        events.notify(tx, ctx, bucket, event, version, now_ms)
        return _versioned(bucket, version)

    return await ctx.store.transact(change)


@operation
async def get_bucket_tagging(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    state_of = await ctx.store.read(lambda tx: state.find_config(tx, state.bucket_of(tx, req).name, "tagging"))
    if not state_of:
        raise messages.no_such_configuration("NoSuchTagSet", "The TagSet does not exist", req["Bucket"])
    return {"TagSet": _tag_set(state_of)}


@operation
async def put_bucket_tagging(ctx: Context, req: dict[str, Any]) -> None:
    tags = rules.checked_tags(req["Tagging"].get("TagSet") or [], limits.BUCKET_TAGS_MAX)
    await ctx.store.transact(lambda tx: state.put_config(tx, state.bucket_of(tx, req).name, "tagging", tags))


@operation
async def delete_bucket_tagging(ctx: Context, req: dict[str, Any]) -> None:
    await ctx.store.transact(lambda tx: state.delete_config(tx, state.bucket_of(tx, req).name, "tagging"))
