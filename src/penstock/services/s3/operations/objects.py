"""Objects: written, read, described."""

from typing import Any

from penstock.engines.checksums import DEFAULT_ALGORITHM
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.services.s3 import events, messages, rules, state
from penstock.services.s3.operations import bodies
from penstock.services.s3.state import Bucket, Content, Version
from penstock.storage.transactions import ReadTransaction, Transaction


@operation
async def put_object(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    rules.check_key(req["Key"])
    version = described(req)
    await ctx.store.read(lambda tx: state.bucket_of(tx, req))
    received = await bodies.receive(ctx, req, default_algorithm=DEFAULT_ALGORITHM)
    set_content(version, received.content)
    now_ms = ctx.clock.now_ms()

    def write(tx: Transaction) -> Bucket:
        received.write(tx)
        return commit(tx, ctx, req, version, "ObjectCreated:Put", now_ms)

    try:
        bucket = await ctx.store.transact(write)
    except ServiceError:
        await bodies.discard(ctx, received)
        raise
    return {**written_members(bucket, version), **version.checksums, **_type_of(version)}


def described(req: dict[str, Any]) -> Version:
    """A version as the request describes it, still without content."""
    metadata = req.get("Metadata") or {}
    rules.check_metadata(metadata)
    return Version(
        key=req["Key"],
        headers=rules.stored_headers(req),
        metadata=metadata,
        tags=rules.tags_of_header(req.get("Tagging")),
        acl=req.get("ACL") or "private",
    )


def set_content(version: Version, content: Content) -> None:
    version.size, version.etag = content.size, content.etag
    version.blob_id, version.data_id = content.blob_id, content.data_id
    version.checksums, version.checksum_type = content.checksums, content.checksum_type


def commit(tx: Transaction, ctx: Context, req: dict[str, Any], version: Version, event: str, now_ms: int) -> Bucket:
    """Make `version` the object's current one and tell whoever listens: one transaction."""
    bucket = state.bucket_of(tx, req)
    if req.get("IfMatch") is not None or req.get("IfNoneMatch") is not None:
        rules.check_write_conditions(state.find_current(tx, bucket.name, version.key), req)
    version.modified_ms = now_ms
    version.version_id = new_version_id(ctx, bucket)
    state.put_current(tx, bucket, version, now_ms)
    events.notify(tx, ctx, bucket, event, version, now_ms)
    return bucket


def new_version_id(ctx: Context, bucket: Bucket) -> str:
    return ctx.entropy.token_hex(16) if bucket.versioning == "Enabled" else state.NULL


def written_members(bucket: Bucket, version: Version) -> dict[str, Any]:
    """What every write answers."""
    answer = {"ETag": f'"{version.etag}"', **_encryption(version)}
    if bucket.versioning == "Enabled":
        answer["VersionId"] = version.version_id
    return answer


def _encryption(version: Version) -> dict[str, str]:
    answer = {"ServerSideEncryption": version.headers.get("ServerSideEncryption", "AES256")}
    if "SSEKMSKeyId" in version.headers:
        answer["SSEKMSKeyId"] = version.headers["SSEKMSKeyId"]
    return answer


def _type_of(version: Version) -> dict[str, str]:
    return {"ChecksumType": version.checksum_type} if version.checksums else {}


@operation
async def get_object(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def read(tx: ReadTransaction) -> tuple[Bucket, Version, bytes]:
        bucket, version = find(tx, req)
        rules.check_read_conditions(version, req)
        return bucket, version, bodies.read_data(tx, version) if version.data_id else b""

    bucket, version, data = await ctx.store.read(read)
    answer, offset, length = _answer(bucket, version, req)
    answer["Body"] = bodies.give(ctx, version, data, offset, length)
    return answer


@operation
async def head_object(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def read(tx: ReadTransaction) -> tuple[Bucket, Version]:
        bucket, version = find(tx, req)
        rules.check_read_conditions(version, req)
        return bucket, version

    try:
        bucket, version = await ctx.store.read(read)
    except ServiceError as error:
        if error.status == 404:
            raise messages.not_found() from None
        raise
    return _answer(bucket, version, req)[0]


def find(tx: ReadTransaction, req: dict[str, Any]) -> tuple[Bucket, Version]:
    """The version that Bucket, Key and VersionId name. Raises NoSuchBucket, NoSuchKey, NoSuchVersion."""
    bucket = state.bucket_of(tx, req)
    version_id = req.get("VersionId")
    version = state.find_version(tx, bucket.name, req["Key"], version_id)
    if version is None:
        raise messages.no_such_version(req["Key"], version_id) if version_id else messages.no_such_key(req["Key"])
    if version.is_delete_marker:
        raise messages.marker_not_allowed(version.version_id) if version_id else messages.no_such_key(req["Key"])
    return bucket, version


def _answer(bucket: Bucket, version: Version, req: dict[str, Any]) -> tuple[dict[str, Any], int, int]:
    """The members of GET and HEAD, with the offset and length of the bytes asked for."""
    answer: dict[str, Any] = {
        "AcceptRanges": "bytes",
        "LastModified": rules.when(version.modified_ms),
        "ContentLength": version.size,
        "Metadata": version.metadata,
        **version.headers,
        **written_members(bucket, version),
    }
    if bucket.versioning:
        answer["VersionId"] = version.version_id
    if answer.get("StorageClass") == "STANDARD":
        del answer["StorageClass"]
    if version.tags:
        answer["TagCount"] = len(version.tags)
    for member in rules.RESPONSE_OVERRIDES:
        if req.get(f"Response{member}"):
            answer[member] = req[f"Response{member}"]
    wanted = _wanted_range(version, req, answer)
    if wanted is None:
        if req.get("ChecksumMode") == "ENABLED":
            answer |= {**version.checksums, **_type_of(version)}
        return answer, 0, version.size
    offset, length = wanted
    answer["ContentLength"] = length
    if version.size:
        answer["ContentRange"] = f"bytes {offset}-{offset + length - 1}/{version.size}"
    return answer, offset, length


def _wanted_range(version: Version, req: dict[str, Any], answer: dict[str, Any]) -> tuple[int, int] | None:
    if (number := req.get("PartNumber")) is None:
        return rules.byte_range(req["Range"], version.size) if req.get("Range") else None
    if req.get("Range"):
        raise messages.invalid_request("Cannot specify both Range header and partNumber query parameter")
    if not version.parts:
        if int(number) == 1:
            return 0, version.size
        raise messages.invalid_part_number(int(number), 1)
    if int(number) > len(version.parts):
        raise messages.invalid_part_number(int(number), len(version.parts))
    answer["PartsCount"] = len(version.parts)
    sizes = [size for _, size, _ in version.parts]
    return sum(sizes[: int(number) - 1]), sizes[int(number) - 1]
