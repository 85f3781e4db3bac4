"""Objects made from other objects, in the store, without passing through the caller."""

from typing import Any

from penstock.engines.checksums import DEFAULT_ALGORITHM
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.services.s3 import limits, messages, rules
from penstock.services.s3.operations import bodies, encryption
from penstock.services.s3.operations.bodies import Received
from penstock.services.s3.operations.encryption import Sealing
from penstock.services.s3.operations.finding import find, source_of
from penstock.services.s3.operations.objects import commit, described, place, set_content, written_members
from penstock.services.s3.state import Bucket, Content, Version
from penstock.storage.transactions import ReadTransaction, Transaction

_DIRECTIVES = ("COPY", "REPLACE")
_CHANGES = (
    "StorageClass",
    "ServerSideEncryption",
    "SSECustomerAlgorithm",
    "WebsiteRedirectLocation",
    "ChecksumAlgorithm",
)
_OWN = ("StorageClass", "WebsiteRedirectLocation", *encryption.ANSWERED)
"""Headers that a copy doesn't take over."""


@operation
async def copy_object(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    rules.check_key(req["Key"])
    source_bucket, source, data = await read_source(ctx, req)
    version = described(req)
    _inherit(version, source, source_bucket, req)
    sealing = await place(ctx, req, version)
    received = await _copied(ctx, req, source, data, sealing)
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
    result = {"ETag": etag, "LastModified": rules.when(now_ms), **version.checksums}
    answer["CopyObjectResult"] = result | ({"ChecksumType": version.checksum_type} if version.checksums else {})
    if source_bucket.versioning:
        answer["CopySourceVersionId"] = source.version_id
    return answer


async def read_source(ctx: Context, req: dict[str, Any]) -> tuple[Bucket, Version, bytes]:
    """What CopySource names, its conditions checked."""
    named = {**source_of(req), "ExpectedBucketOwner": req.get("ExpectedSourceBucketOwner")}
    now_ms = ctx.clock.now_ms()

    def read(tx: ReadTransaction) -> tuple[Bucket, Version, bytes]:
        try:
            bucket, version = find(tx, named)
        except ServiceError as error:
            if error.code != "MethodNotAllowed":
                raise
            raise messages.copy_of_marker() from None
        rules.check_read_conditions(version, req, "CopySource")
        rules.check_readable(version, now_ms)
        return bucket, version, bodies.read_data(tx, version) if version.data_id else b""

    bucket, version, data = await ctx.store.read(read)
    encryption.check_reader(version, req, "CopySource")
    return bucket, version, data


def _inherit(version: Version, source: Version, source_bucket: Bucket, req: dict[str, Any]) -> None:
    """Take over what the directives say; a copy onto itself has to change something."""
    directive, tagging = req.get("MetadataDirective") or "COPY", req.get("TaggingDirective") or "COPY"
    if directive not in _DIRECTIVES:
        raise messages.invalid_argument("Unknown metadata directive.", "x-amz-metadata-directive", directive)
    if tagging not in _DIRECTIVES:
        raise messages.invalid_argument("Unknown tagging directive.", "x-amz-tagging-directive", tagging)
    is_copied = directive == "COPY"
    is_same = (source_bucket.name, source.key) == (req["Bucket"], req["Key"]) and not source_of(req).get("VersionId")
    if is_copied and is_same and not any(req.get(name) for name in _CHANGES):
        raise messages.copy_to_itself()
    if is_copied:
        own = {name: value for name, value in version.headers.items() if name in _OWN}
        kept = {name: value for name, value in source.headers.items() if name not in _OWN}
        version.headers, version.metadata = kept | own, source.metadata
    if tagging == "COPY":
        version.tags = source.tags


async def _copied(ctx: Context, req: dict[str, Any], source: Version, data: bytes, sealing: Sealing) -> Received:
    """The source's bytes once more: as they lie where nothing about them changes, else read and written anew."""
    if source.size > limits.PUT_BYTES_MAX.value:
        raise messages.invalid_request(
            "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120"
        )
    named = bodies.checksum_algorithm(req)
    is_same = not named or f"Checksum{named}" in source.checksums
    if source.blob_id and is_same and not source.sealed and not sealing.secret:
        blob = await ctx.blobs.concat([source.blob_id])
        return Received(Content(source.size, source.etag, blob_id=blob.id, checksums=source.checksums))
    stream = bodies.give(ctx, source, data, 0, source.size)
    plain = await encryption.unsealed(ctx, source, stream, req, offset=0, prefix="CopySource")
    algorithm = named or next((name.removeprefix("Checksum") for name in source.checksums), DEFAULT_ALGORITHM)
    return await bodies.receive(ctx, {"Body": plain, "ChecksumAlgorithm": algorithm}, sealing=sealing)
