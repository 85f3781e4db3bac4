"""Objects made from other objects, in the store, without passing through the caller."""

from typing import Any
from urllib.parse import parse_qs, unquote

from penstock.engines.checksums import ALGORITHMS
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.services.s3 import limits, messages, rules
from penstock.services.s3.operations import bodies
from penstock.services.s3.operations.bodies import Received
from penstock.services.s3.operations.objects import commit, described, find, set_content, written_members
from penstock.services.s3.state import Bucket, Content, Version
from penstock.storage.transactions import ReadTransaction, Transaction


@operation
async def copy_object(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    rules.check_key(req["Key"])
    source_bucket, source, data = await read_source(ctx, req)
    version = described(req)
    _inherit(version, source, source_bucket, req)
    received = await _copied(ctx, req, source, data)
    set_content(version, received.content)
    now_ms = ctx.clock.now_ms()

    def write(tx: Transaction) -> Bucket:
        received.write(tx)
        return commit(tx, ctx, req, version, "ObjectCreated:Copy", now_ms)

    try:
        bucket = await ctx.store.transact(write)
    except ServiceError:
        await bodies.discard(ctx, received)
        raise
    answer = written_members(bucket, version)
    etag = answer.pop("ETag")
    answer["CopyObjectResult"] = {"ETag": etag, "LastModified": rules.when(now_ms), **version.checksums}
    if source_bucket.versioning:
        answer["CopySourceVersionId"] = source.version_id
    return answer


async def read_source(ctx: Context, req: dict[str, Any]) -> tuple[Bucket, Version, bytes]:
    """What CopySource names, its conditions checked."""
    named = {**_source(req), "ExpectedBucketOwner": req.get("ExpectedSourceBucketOwner")}

    def read(tx: ReadTransaction) -> tuple[Bucket, Version, bytes]:
        bucket, version = find(tx, named)
        rules.check_read_conditions(version, req, "CopySource")
        return bucket, version, bodies.read_data(tx, version) if version.data_id else b""

    return await ctx.store.read(read)


def _source(req: dict[str, Any]) -> dict[str, Any]:
    """`bucket/key?versionId=..`, percent-encoded, or the members as boto3 takes them."""
    source = req["CopySource"]
    if isinstance(source, dict):
        return source
    path, _, query = source.partition("?")
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    if not bucket or not key:
        text = "Invalid copy source object key" if bucket else "Invalid copy source bucket name"
        raise messages.invalid_argument(text, "x-amz-copy-source", source)
    version_id = parse_qs(query).get("versionId")
    return {"Bucket": bucket, "Key": key, **({"VersionId": version_id[0]} if version_id else {})}


def _inherit(version: Version, source: Version, source_bucket: Bucket, req: dict[str, Any]) -> None:
    """Take over what the directives say; a copy onto itself has to change something."""
    is_copied = req.get("MetadataDirective", "COPY") == "COPY"
    is_same = (source_bucket.name, source.key) == (req["Bucket"], req["Key"]) and not _source(req).get("VersionId")
    changes = ("StorageClass", "ServerSideEncryption", "WebsiteRedirectLocation")
    if is_copied and is_same and not any(req.get(name) for name in changes):
        raise messages.copy_to_itself()
    if is_copied:
        own = {name: value for name, value in version.headers.items() if name in changes}
        kept = {name: value for name, value in source.headers.items() if name not in changes}
        version.headers, version.metadata = kept | own, source.metadata
    if req.get("TaggingDirective", "COPY") == "COPY":
        version.tags = source.tags


async def _copied(ctx: Context, req: dict[str, Any], source: Version, data: bytes) -> Received:
    if source.size > limits.PUT_BYTES_MAX.value:
        raise messages.invalid_request(
            "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120"
        )
    named = req.get("ChecksumAlgorithm")
    needs_bytes = bool(source.parts) or (named in ALGORITHMS and f"Checksum{named}" not in source.checksums)
    if needs_bytes or not source.blob_id:
        stream = bodies.give(ctx, source, data, 0, source.size)
        algorithm = next((name.removeprefix("Checksum") for name in source.checksums), "")
        return await bodies.receive(ctx, {"Body": stream, "ChecksumAlgorithm": named or algorithm})
    blob = await ctx.blobs.concat([source.blob_id])
    return Received(Content(source.size, source.etag, blob_id=blob.id, checksums=source.checksums))
