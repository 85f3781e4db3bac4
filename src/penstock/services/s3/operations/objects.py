"""Objects: written, read, described."""

from email.utils import format_datetime
from typing import Any

from penstock.engines.checksums import DEFAULT_ALGORITHM
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.services.s3 import events, messages, rules, state
from penstock.services.s3.operations import access, acls, bodies, encryption, expiry, locks, replication
from penstock.services.s3.operations.encryption import Sealing
from penstock.services.s3.operations.finding import charged, find
from penstock.services.s3.state import Bucket, Content, Version
from penstock.storage.transactions import ReadTransaction, Transaction


@operation
async def put_object(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    rules.check_key(req["Key"])
    if req.get("WriteOffsetBytes") is not None:  # appending is for directory buckets
        raise messages.not_implemented("x-amz-write-offset-bytes")
    version = described(req)
    sealing = await place(ctx, req, version)
    received = await bodies.receive(ctx, req, default_algorithm=DEFAULT_ALGORITHM, sealing=sealing)
    set_content(version, received.content)
    now_ms = ctx.clock.now_ms()

    def write(tx: Transaction) -> dict[str, Any]:
        received.write(tx)
        event = "ObjectCreated:Post" if ctx.request.is_form else "ObjectCreated:Put"
        bucket = commit(tx, ctx, req, version, event, now_ms)
        return {
            **written_members(bucket, version),
            **expiry.expiration_of(tx, bucket, version),
            **charged(tx, bucket, req),
        }

    try:
        answer = await ctx.store.transact(write)
    except ServiceError:
        await bodies.discard(ctx, received)
        raise
    return {**answer, **version.checksums, **_type_of(version)}


async def place(ctx: Context, req: dict[str, Any], version: Version) -> Sealing:
    """What the bucket adds to a new object: its lock, its key. Raises what the bucket refuses (ACLs, locks)."""
    now_ms = ctx.clock.now_ms()

    def look(tx: ReadTransaction) -> Any:
        bucket = state.bucket_of(tx, req)
        acls.check_allowed(tx, bucket, req)
        locks.set_lock(version, locks.wanted(req, bucket, state.config_of(tx, bucket, "object-lock"), now_ms))
        return state.config_of(tx, bucket, "encryption")

    sealing = await encryption.plan(ctx, req, await ctx.store.read(look))
    version.headers |= sealing.members
    return sealing


def described(req: dict[str, Any]) -> Version:
    """A version as the request describes it, still without content."""
    metadata = req.get("Metadata") or {}
    rules.check_metadata(metadata)
    if req.get("StorageClass") and req["StorageClass"] not in rules.STORAGE_CLASSES:
        raise messages.invalid_storage_class()
    redirect = req.get("WebsiteRedirectLocation")
    if redirect and not redirect.startswith(("http://", "https://", "/")):
        raise messages.invalid_redirect()
    return Version(
        key=req["Key"],
        headers=rules.stored_headers(req),
        metadata=metadata,
        tags=rules.tags_of_header(req.get("Tagging")),
        acl=req.get("ACL") or "private",
        grants=acls.granted_in_headers(req),
    )


def set_content(version: Version, content: Content) -> None:
    version.size, version.etag = content.size, content.etag
    version.blob_id, version.data_id = content.blob_id, content.data_id
    version.checksums, version.checksum_type = content.checksums, content.checksum_type
    version.sealed = [(content.size, content.salt)] if content.salt and content.size else []


def commit(tx: Transaction, ctx: Context, req: dict[str, Any], version: Version, event: str, now_ms: int) -> Bucket:
    """Make `version` the object's current one and tell whoever listens: one transaction."""
    bucket = state.bucket_of(tx, req)
    if req.get("IfMatch") is not None or req.get("IfNoneMatch") is not None:
        rules.check_write_conditions(state.find_current(tx, bucket.name, version.key), req)
    version.modified_ms = now_ms
    version.version_id = new_version_id(ctx, bucket)
    version.owner = acls.owner_of_new(tx, bucket, version, ctx.principal)
    replication.plan(tx, bucket, version, now_ms)
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


def _encryption(version: Version) -> dict[str, Any]:
    """Objects from before encryption was noted have S3's default."""
    answer = {name: version.headers[name] for name in encryption.ANSWERED if name in version.headers}
    return answer or {"ServerSideEncryption": "AES256"}


def _type_of(version: Version) -> dict[str, str]:
    return {"ChecksumType": version.checksum_type} if version.checksums else {}


@operation
async def get_object(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    if ctx.principal.kind == "anonymous" and any(req.get(f"Response{name}") for name in rules.RESPONSE_OVERRIDES):
        raise messages.no_overrides_for_anonymous()
    now_ms = ctx.clock.now_ms()

    def read(tx: ReadTransaction) -> tuple[Bucket, Version, bytes, dict[str, str]]:
        bucket, version = find(tx, req)
        rules.check_read_conditions(version, req)
        rules.check_readable(version, now_ms)
        data = bodies.read_data(tx, version) if version.data_id else b""
        return bucket, version, data, expiry.expiration_of(tx, bucket, version) | charged(tx, bucket, req)

    try:
        bucket, version, data, expiration = await ctx.store.read(read)
    except ServiceError as error:
        raise await access.as_told(ctx, req, error) from None
    answer, offset, length = _answer(bucket, version, req, now_ms)
    body = bodies.give(ctx, version, data, offset, length)
    answer["Body"] = await encryption.unsealed(ctx, version, body, req, offset=offset)
    return answer | expiration


@operation
async def head_object(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def read(tx: ReadTransaction) -> tuple[Bucket, Version, dict[str, str]]:
        bucket, version = find(tx, req)
        rules.check_read_conditions(version, req)
        return bucket, version, expiry.expiration_of(tx, bucket, version) | charged(tx, bucket, req)

    try:
        bucket, version, expiration = await ctx.store.read(read)
    except ServiceError as found:
        error = await access.as_told(ctx, req, found)
        if error.status == 404:
            raise messages.not_found(error.fields.get("headers")) from None
        raise error from None
    encryption.check_reader(version, req)
    return _answer(bucket, version, req, ctx.clock.now_ms())[0] | expiration


def _answer(bucket: Bucket, version: Version, req: dict[str, Any], now_ms: int) -> tuple[dict[str, Any], int, int]:
    """The members of GET and HEAD, with the offset and length of the bytes asked for."""
    answer: dict[str, Any] = {
        "AcceptRanges": "bytes",
        "LastModified": rules.when(version.modified_ms),
        "ContentLength": version.size,
        "Metadata": version.metadata,
        **version.headers,
        **written_members(bucket, version),
        **locks.members_of(version),
    }
    if bucket.versioning:
        answer["VersionId"] = version.version_id
    if answer.get("StorageClass") == "STANDARD":
        del answer["StorageClass"]
    if version.tags:
        answer["TagCount"] = len(version.tags)
    if version.replicated:
        answer["ReplicationStatus"] = version.replicated
    if version.restored_until_ms > now_ms:
        until = format_datetime(rules.when(version.restored_until_ms), usegmt=True)
        answer["Restore"] = f'ongoing-request="false", expiry-date="{until}"'
    for member in rules.RESPONSE_OVERRIDES:
        if req.get(f"Response{member}"):
            answer[member] = req[f"Response{member}"]
    wanted = _wanted_range(version, req, answer)
    if wanted is None:
        if req.get("ChecksumMode") == "ENABLED":
            answer |= {**version.checksums, **_type_of(version)}
        return answer, 0, version.size
    offset, length = wanted
    if req.get("ChecksumMode") == "ENABLED" and req.get("PartNumber") is not None:
        answer |= (version.parts[int(req["PartNumber"]) - 1][2] if version.parts else version.checksums) | _type_of(
            version
        )
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
