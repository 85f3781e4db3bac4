"""Objects given another key, in one step. AWS does it in directory buckets only; here every bucket can.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_RenameObject.html
"""

from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.s3 import events, messages, rules, state
from penstock.services.s3.operations import locks
from penstock.services.s3.operations.objects import new_version_id
from penstock.storage.transactions import Transaction


@operation
async def rename_object(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Raises NoSuchKey (404), PreconditionFailed (412), InvalidRequest (400) in a bucket with versions."""
    key = req["Key"]
    rules.check_key(key)
    bucket_name, _, source_key = unquote(req["RenameSource"]).removeprefix("/").partition("/")
    if bucket_name != req["Bucket"] or not source_key:
        raise messages.invalid_argument(
            "The rename source must be an object of the same bucket", "x-amz-rename-source", req["RenameSource"]
        )
    if source_key == key:
        raise messages.invalid_request("The rename source and destination must differ.")
    now_ms = ctx.clock.now_ms()

    def rename(tx: Transaction) -> None:
        bucket = state.bucket_of(tx, req)
        if bucket.versioning:
            raise messages.invalid_request("RenameObject isn't supported in a bucket with versions.")
        source = state.find_current(tx, bucket.name, source_key)
        if source is None:
            raise messages.no_such_key(source_key)
        rules.check_read_conditions(source, req, "Source")
        taken = state.find_current(tx, bucket.name, key)
        if taken is not None:
            rules.check_read_conditions(taken, req, "Destination")
        elif req.get("DestinationIfMatch") is not None:
            raise messages.precondition_failed("If-Match")
        locks.check_deletable(source, now_ms, is_bypassing=False)
        tx.delete(("s3", "current", bucket.name, source_key))
        source.key, source.version_id = key, new_version_id(ctx, bucket)
        state.put_current(tx, bucket, source, now_ms)
        events.notify(tx, ctx, bucket, "ObjectRemoved:Delete", replace(source, key=source_key), now_ms)
        events.notify(tx, ctx, bucket, "ObjectCreated:Copy", source, now_ms)

    await ctx.store.transact(rename)
    return {}
