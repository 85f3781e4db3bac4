"""Objects uploaded in parts: begun, filled, completed or given up.

A completed object keeps its parts' blobs: completing moves no bytes.
"""

import base64
import re
from typing import Any

from penstock.engines import checksums
from penstock.engines.checksums import DEFAULT_ALGORITHM
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.services.s3 import limits, messages, rules, state
from penstock.services.s3.operations import bodies, encryption, expiry
from penstock.services.s3.operations.copies import read_source
from penstock.services.s3.operations.objects import commit, described, place, written_members
from penstock.services.s3.state import Bucket, Part, Upload, Version
from penstock.storage.transactions import ReadTransaction, Transaction

NO_INLINE = -1
"""Parts are always blobs, so that completing is naming."""

_COPY_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_SEALED = "is_sealed"


@operation
async def create_multipart_upload(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    rules.check_key(req["Key"])
    version = described(req)
    named = bodies.checksum_algorithm(req)
    algorithm = named or DEFAULT_ALGORITHM
    kind = _checksum_type(req.get("ChecksumType"), named, algorithm)
    sealing = await place(ctx, req, version)
    upload = Upload(
        ctx.entropy.token_hex(32), version.key, ctx.clock.now_ms(), version.headers, version.metadata, version.tags
    )
    if sealing.secret:
        upload.headers[_SEALED] = "1"
    upload.lock = {"mode": version.lock_mode, "until_ms": version.lock_until_ms, "hold": version.has_legal_hold}
    upload.algorithm, upload.checksum_type, upload.is_algorithm_named = algorithm, kind, bool(named)
    upload.acl, upload.grants = version.acl, version.grants

    def write(tx: Transaction) -> dict[str, str]:
        bucket = state.bucket_of(tx, req)
        upload.owner = "" if ctx.principal.account_id == bucket.account_id else ctx.principal.account_id
        state.put_upload(tx, bucket.name, upload)
        return expiry.abort_members(tx, bucket, upload)

    aborting = await ctx.store.transact(write)
    answer = {"Bucket": req["Bucket"], "Key": upload.key, "UploadId": upload.id, **sealing.members, **aborting}
    return answer | ({"ChecksumAlgorithm": named, "ChecksumType": kind} if named else {})


def _checksum_type(asked: str | None, named: str, algorithm: str) -> str:
    """COMPOSITE or FULL_OBJECT: what is asked for, where the algorithm can do it."""
    if asked and not named:
        raise messages.invalid_request(
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
        )
    if asked not in (None, "COMPOSITE", "FULL_OBJECT"):
        raise messages.invalid_request("Value for x-amz-checksum-type header is invalid.")
    kind = asked or ("FULL_OBJECT" if algorithm in ("CRC64NVME", "") else "COMPOSITE")
    is_joinable = algorithm in checksums.CRC_POLYNOMIALS or not algorithm
    is_possible = is_joinable if kind == "FULL_OBJECT" else algorithm != "CRC64NVME"
    if not is_possible:
        raise messages.invalid_request(
            f"The {kind} checksum type cannot be used with the {algorithm.lower()} checksum algorithm."
        )
    return kind


@operation
async def upload_part(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    upload, part = await _store_part(ctx, req)
    return {"ETag": f'"{part.content.etag}"', **_sealed_members(upload), **_told(req, upload, part)}


@operation
async def upload_part_copy(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    source_bucket, source, data = await read_source(ctx, req)
    offset, length = 0, source.size
    if req.get("CopySourceRange") is not None:
        offset, length = _copy_range(req["CopySourceRange"], source.size)
    if length > limits.PUT_BYTES_MAX.value:
        raise messages.invalid_request(
            "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120"
        )
    body = bodies.give(ctx, source, data, offset, length)
    plain = await encryption.unsealed(ctx, source, body, req, offset=offset, prefix="CopySource")
    upload, part = await _store_part(ctx, req | {"Body": plain})
    result = {"ETag": f'"{part.content.etag}"', "LastModified": rules.when(part.modified_ms)}
    answer: dict[str, Any] = {
        "CopyPartResult": result | _told(req, upload, part),
        **_sealed_members(upload),
    }
    if source_bucket.versioning:
        answer["CopySourceVersionId"] = source.version_id
    return answer


def _copy_range(text: str, size: int) -> tuple[int, int]:
    """(offset, length). Raises InvalidArgument (400) for another form, InvalidRange (416) past the source's end."""
    match = _COPY_RANGE.fullmatch(text)
    first, last = (int(match[1]), int(match[2])) if match else (1, 0)
    if first > last:
        raise messages.invalid_argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the "
            "zero-based offsets of the first and last bytes to copy",
            "x-amz-copy-source-range",
            text,
        )
    if last >= size:
        raise messages.invalid_range(text, size)
    return first, last - first + 1


def _sealed_members(upload: Upload) -> dict[str, Any]:
    return {name: upload.headers[name] for name in encryption.ANSWERED if name in upload.headers}


def _told(req: dict[str, Any], upload: Upload, part: Part) -> dict[str, str]:
    """The checksums that the caller hears of: not those that only we wanted."""
    named = bodies.checksum_algorithm(req) or (upload.algorithm if upload.is_algorithm_named else "")
    sums = part.content.checksums
    return {f"Checksum{named}": sums[f"Checksum{named}"]} if f"Checksum{named}" in sums else {}


async def _store_part(ctx: Context, req: dict[str, Any]) -> tuple[Upload, Part]:
    number = int(req["PartNumber"])
    if not 1 <= number <= limits.PARTS_MAX.value:
        text = "Part number must be an integer between 1 and 10000, inclusive"
        raise messages.invalid_argument(text, "partNumber", str(number))

    def look(tx: ReadTransaction) -> Upload:
        return state.get_upload(tx, state.bucket_of(tx, req).name, req["Key"], req["UploadId"])

    upload = await ctx.store.read(look)
    given = bodies.checksum_algorithm(req)
    if given and upload.is_algorithm_named and given != upload.algorithm:
        raise messages.checksum_type_mismatch(upload.algorithm.lower(), given.lower())
    sealing = await encryption.plan_part(ctx, req, upload.headers)
    received = await bodies.receive(ctx, req, also=upload.algorithm, inline_max=NO_INLINE, sealing=sealing)
    now_ms = ctx.clock.now_ms()
    part = Part(number, now_ms, received.content)

    def write(tx: Transaction) -> None:
        look(tx)
        state.put_part(tx, upload.id, part, now_ms)

    try:
        await ctx.store.transact(write)
    except ServiceError:
        await bodies.discard(ctx, received)
        raise
    return upload, part


@operation
async def complete_multipart_upload(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Name the listed parts as one object; the others are dropped. Asking again for what is done answers it again."""
    now_ms = ctx.clock.now_ms()

    def write(tx: Transaction) -> tuple[Bucket, Version, dict[str, str]]:
        bucket = state.bucket_of(tx, req)
        done = _find_done(tx, bucket, req)
        if done is not None:
            return bucket, done, {}
        upload = state.get_upload(tx, bucket.name, req["Key"], req["UploadId"])
        encryption.check_completer(upload.headers, req)
        version = _joined(upload, _chosen(req, upload, state.parts(tx, upload.id)), req)
        commit(tx, ctx, req, version, "ObjectCreated:CompleteMultipartUpload", now_ms)
        state.drop_upload(tx, bucket.name, upload, now_ms, kept=frozenset(version.blobs) | {version.blob_id})
        return bucket, version, expiry.expiration_of(tx, bucket, version)

    bucket, version, expiration = await ctx.store.transact(write)
    location = f"{ctx.endpoint}/{bucket.name}/{rules.encoded(version.key, {'EncodingType': 'url'})}"
    answer = {"Bucket": bucket.name, "Key": version.key, "Location": location, **expiration}
    answer |= written_members(bucket, version) | version.checksums
    return answer | ({"ChecksumType": version.checksum_type} if version.checksums else {})


def _find_done(tx: ReadTransaction, bucket: Bucket, req: dict[str, Any]) -> Version | None:
    """The object that this very upload became, while it is still the current one."""
    current = state.find_current(tx, bucket.name, req["Key"])
    return current if current is not None and current.upload_id == req["UploadId"] else None


def _chosen(req: dict[str, Any], upload: Upload, stored: list[Part]) -> list[Part]:
    """The parts that the caller lists, checked for order, tags, checksums and size."""
    listed = (req.get("MultipartUpload") or {}).get("Parts") or []
    is_whole = all("PartNumber" in item and item.get("ETag") for item in listed)
    if not listed or len(listed) > limits.PARTS_MAX.value or not is_whole:
        raise messages.malformed_xml()
    by_number = {part.number: part for part in stored}
    numbers = [int(item["PartNumber"]) for item in listed]
    if numbers != sorted(set(numbers)):
        raise messages.invalid_part_order()
    chosen = []
    for item, number in zip(listed, numbers, strict=True):
        part = by_number.get(number)
        etag = str(item.get("ETag") or "").strip('"')
        if part is None or etag != part.content.etag:
            raise messages.invalid_part(req["UploadId"], number, etag)
        if any(item.get(name, value) != value for name, value in part.content.checksums.items()):
            raise messages.invalid_part(req["UploadId"], number, etag)
        is_needed = upload.is_algorithm_named and upload.checksum_type == "COMPOSITE"
        if is_needed and f"Checksum{upload.algorithm}" not in item:
            raise messages.checksum_of_part_missing(upload.algorithm.lower(), number)
        chosen.append(part)
    for part in chosen[:-1]:
        if part.content.size < limits.PART_BYTES_MIN.value:
            fields = (part.number, part.content.etag, part.content.size, limits.PART_BYTES_MIN.value)
            raise messages.entity_too_small(*fields)
    return chosen


def _joined(upload: Upload, parts: list[Part], req: dict[str, Any]) -> Version:
    headers = {name: value for name, value in upload.headers.items() if name != _SEALED}
    version = Version(upload.key, headers=headers, metadata=upload.metadata, tags=upload.tags, acl=upload.acl)
    version.grants, version.owner, version.upload_id = upload.grants, upload.owner, upload.id
    if upload.lock:
        version.lock_mode, version.lock_until_ms = upload.lock["mode"], upload.lock["until_ms"]
        version.has_legal_hold = upload.lock["hold"]
    version.size = sum(part.content.size for part in parts)
    version.etag = rules.multipart_etag([part.content.etag for part in parts])
    member = f"Checksum{upload.algorithm}"
    version.parts = [
        (part.number, part.content.size, {member: part.content.checksums[member]} if upload.algorithm else {})
        for part in parts
    ]
    version.blobs = [part.content.blob_id for part in parts]
    if any(part.content.salt for part in parts):
        version.sealed = [(part.content.size, part.content.salt) for part in parts]
    stated = req.get("MpuObjectSize")
    if stated is not None and int(stated) != version.size:
        raise messages.size_differs(int(stated), version.size)
    if req.get("ChecksumType") and req["ChecksumType"] != upload.checksum_type:
        raise messages.checksum_mode_differs(upload.checksum_type)
    if upload.algorithm:
        version.checksum_type = upload.checksum_type
        version.checksums = {member: _joined_checksum(upload, parts, member)}
        if req.get(member, version.checksums[member]).split("-")[0] != version.checksums[member].split("-")[0]:
            raise messages.bad_digest(upload.algorithm.lower())
    return version


def _joined_checksum(upload: Upload, parts: list[Part], member: str) -> str:
    digests = [base64.b64decode(part.content.checksums[member]) for part in parts]
    if upload.checksum_type == "COMPOSITE":
        running = checksums.checksum(upload.algorithm)
        running.update(b"".join(digests))
        return f"{base64.b64encode(running.digest()).decode()}-{len(parts)}"
    sizes = [part.content.size for part in parts]
    return base64.b64encode(checksums.combine_all(upload.algorithm, digests, sizes)).decode()


@operation
async def abort_multipart_upload(ctx: Context, req: dict[str, Any]) -> None:
    now_ms = ctx.clock.now_ms()

    def abort(tx: Transaction) -> None:
        bucket = state.bucket_of(tx, req)
        upload = state.get_upload(tx, bucket.name, req["Key"], req["UploadId"])
        state.drop_upload(tx, bucket.name, upload, now_ms)

    await ctx.store.transact(abort)
