"""What AWS itself refuses today, or what needs directory buckets, of which there are none here."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.s3 import messages, state


@operation
async def select_object_content(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """S3 Select is closed to new customers; they get this.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/selecting-content-from-objects.html
    """
    await ctx.store.read(lambda tx: state.bucket_of(tx, req))
    raise messages.method_not_allowed("POST", "OBJECT")


@operation
async def create_session(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    raise messages.no_directory_buckets()


@operation
async def list_directory_buckets(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """There are never any: `create_bucket` refuses to make one."""
    return {"Buckets": []}
