"""Objects uploaded in parts."""

import base64
from typing import Any

from penstock.engines import checksums
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.services.s3 import limits, messages, rules, state
from penstock.services.s3.operations import bodies
from penstock.services.s3.operations.buckets import owner
from penstock.services.s3.operations.copies import read_source
from penstock.services.s3.operations.objects import commit, described, written_members
from penstock.services.s3.state import Bucket, Part, Upload, Version
from penstock.storage.transactions import ReadTransaction, Transaction

NO_INLINE = -1
"""Parts are always blobs, so that completing is joining."""


@operation
async def create_multipart_upload(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    rules.check_key(req["Key"])
    version = described(req)
    algorithm = bodies.checksum_algorithm(req)
    kind = req.get("ChecksumType") or ("FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE")
    if algorithm.startswith("SHA") and kind == "FULL_OBJECT":
        raise messages.invalid_request(
            f"The FULL_OBJECT checksum type cannot be used with the {algorithm.lower()} checksum algorithm."
        )
    upload = Upload(
        ctx.entropy.token_hex(32), version.key, ctx.clock.now_ms(), version.headers, version.metadata, version.tags
    )
    upload.algorithm, upload.checksum_type, upload.acl = algorithm, kind, version.acl
    await ctx.store.transact(lambda tx: state.put_upload(tx, state.bucket_of(tx, req).name, upload))
    answer = {"Bucket": req["Bucket"], "Key": upload.key, "UploadId": upload.id, "ServerSideEncryption": "AES256"}
    return answer | ({"ChecksumAlgorithm": algorithm, "ChecksumType": kind} if algorithm else {})


@operation
async def upload_part(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    part = await _store_part(ctx, req)
    return {"ETag": f'"{part.content.etag}"', "ServerSideEncryption": "AES256", **part.content.checksums}


@operation
async def upload_part_copy(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    source_bucket, source, data = await read_source(ctx, req)
    offset, length = 0, source.size
    if req.get("CopySourceRange"):
        wanted = rules.byte_range(req["CopySourceRange"], source.size)
        if wanted is None:
            text = "The x-amz-copy-source-range value must be of the form bytes=first-last"
            raise messages.invalid_argument(text, "x-amz-copy-source-range", req["CopySourceRange"])
        offset, length = wanted
    body = bodies.give(ctx, source, data, offset, length)
    named = {name: req[name] for name in ("Bucket", "Key", "UploadId", "PartNumber")}
    part = await _store_part(ctx, named | {"Body": body})
    result = {"ETag": f'"{part.content.etag}"', "LastModified": rules.when(part.modified_ms), **part.content.checksums}
    answer: dict[str, Any] = {"CopyPartResult": result, "ServerSideEncryption": "AES256"}
    if source_bucket.versioning:
        answer["CopySourceVersionId"] = source.version_id
    return answer


async def _store_part(ctx: Context, req: dict[str, Any]) -> Part:
    number = int(req["PartNumber"])
    if not 1 <= number <= limits.PARTS_MAX.value:
        text = "Part number must be an integer between 1 and 10000, inclusive"
        raise messages.invalid_argument(text, "partNumber", str(number))

    def look(tx: ReadTransaction) -> Upload:
        return state.get_upload(tx, state.bucket_of(tx, req).name, req["Key"], req["UploadId"])

    upload = await ctx.store.read(look)
    received = await bodies.receive(ctx, req, default_algorithm=upload.algorithm, inline_max=NO_INLINE)
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
    return part


@operation
async def complete_multipart_upload(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def look(tx: ReadTransaction) -> tuple[Upload, list[Part]]:
        bucket = state.bucket_of(tx, req)
        upload = state.get_upload(tx, bucket.name, req["Key"], req["UploadId"])
        rules.check_write_conditions(state.find_current(tx, bucket.name, upload.key), req)
        return upload, state.parts(tx, upload.id)

    upload, stored = await ctx.store.read(look)
    parts = _chosen(req, stored)
    version = _joined(upload, parts, req)
    blob = await ctx.blobs.concat([part.content.blob_id for part in parts])
    version.blob_id = blob.id
    now_ms = ctx.clock.now_ms()

    def write(tx: Transaction) -> Bucket:
        current = look(tx)[0]
        state.drop_upload(tx, req["Bucket"], current, now_ms)
        return commit(tx, ctx, req, version, "ObjectCreated:CompleteMultipartUpload", now_ms)

    try:
        bucket = await ctx.store.transact(write)
    except ServiceError:
        await ctx.blobs.delete(blob.id)
        raise
    answer = {"Bucket": bucket.name, "Key": upload.key, "Location": f"{ctx.endpoint}/{bucket.name}/{upload.key}"}
    answer |= written_members(bucket, version) | version.checksums
    return answer | ({"ChecksumType": version.checksum_type} if version.checksums else {})


def _chosen(req: dict[str, Any], stored: list[Part]) -> list[Part]:
    """The parts that the caller lists, checked for order, tags, checksums and size."""
    listed = (req.get("MultipartUpload") or {}).get("Parts") or []
    if not listed:
        raise messages.malformed_xml()
    by_number = {part.number: part for part in stored}
    numbers = [int(item["PartNumber"]) for item in listed]
    if numbers != sorted(set(numbers)):
        raise messages.invalid_part_order()
    chosen = []
    for item, number in zip(listed, numbers, strict=True):
        part = by_number.get(number)
        if part is None or str(item.get("ETag", "")).strip('"') != part.content.etag:
            raise messages.invalid_part()
        if any(item.get(name, value) != value for name, value in part.content.checksums.items()):
            raise messages.invalid_part()
        chosen.append(part)
    for part in chosen[:-1]:
        if part.content.size < limits.PART_BYTES_MIN.value:
            raise messages.entity_too_small(part.number, part.content.size, limits.PART_BYTES_MIN.value)
    return chosen


def _joined(upload: Upload, parts: list[Part], req: dict[str, Any]) -> Version:
    version = Version(
        key=upload.key, headers=upload.headers, metadata=upload.metadata, tags=upload.tags, acl=upload.acl
    )
    version.size = sum(part.content.size for part in parts)
    version.etag = rules.multipart_etag([part.content.etag for part in parts])
    version.parts = [(part.number, part.content.size, part.content.checksums) for part in parts]
    if upload.algorithm:
        member = f"Checksum{upload.algorithm}"
        version.checksum_type = upload.checksum_type
        version.checksums = {member: _joined_checksum(upload, parts, member)}
        if req.get(member, version.checksums[member]).split("-")[0] != version.checksums[member].split("-")[0]:
            raise messages.bad_digest(upload.algorithm)
    return version


def _joined_checksum(upload: Upload, parts: list[Part], member: str) -> str:
    digests = [base64.b64decode(part.content.checksums[member]) for part in parts]
    if upload.checksum_type == "COMPOSITE":
        running = checksums.checksum(upload.algorithm)
        running.update(b"".join(digests))
        return f"{base64.b64encode(running.digest()).decode()}-{len(parts)}"
    whole = digests[0]
    for digest, part in zip(digests[1:], parts[1:], strict=True):
        whole = checksums.combine(upload.algorithm, whole, digest, part.content.size)
    return base64.b64encode(whole).decode()


@operation
async def abort_multipart_upload(ctx: Context, req: dict[str, Any]) -> None:
    now_ms = ctx.clock.now_ms()

    def abort(tx: Transaction) -> None:
        bucket = state.bucket_of(tx, req)
        upload = state.get_upload(tx, bucket.name, req["Key"], req["UploadId"])
        state.drop_upload(tx, bucket.name, upload, now_ms)

    await ctx.store.transact(abort)


@operation
async def list_parts(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def look(tx: ReadTransaction) -> tuple[Bucket, Upload, list[Part]]:
        bucket = state.bucket_of(tx, req)
        upload = state.get_upload(tx, bucket.name, req["Key"], req["UploadId"])
        return bucket, upload, state.parts(tx, upload.id)

    bucket, upload, stored = await ctx.store.read(look)
    after, count_max = int(req.get("PartNumberMarker") or 0), min(int(req.get("MaxParts") or 1000), 1000)
    parts = [part for part in stored if part.number > after]
    shown = parts[:count_max]
    answer: dict[str, Any] = {
        "Bucket": bucket.name,
        "Key": upload.key,
        "UploadId": upload.id,
        "PartNumberMarker": after,
        "NextPartNumberMarker": shown[-1].number if shown else 0,
        "MaxParts": count_max,
        "IsTruncated": len(parts) > count_max,
        "StorageClass": upload.headers.get("StorageClass", "STANDARD"),
        "Owner": owner(bucket.account_id),
        "Initiator": owner(bucket.account_id),
        "Parts": [
            {
                "PartNumber": part.number,
                "LastModified": rules.when(part.modified_ms),
                "ETag": f'"{part.content.etag}"',
                "Size": part.content.size,
                **part.content.checksums,
            }
            for part in shown
        ],
    }
    if upload.algorithm:
        answer |= {"ChecksumAlgorithm": upload.algorithm, "ChecksumType": upload.checksum_type}
    return answer


@operation
async def list_multipart_uploads(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Uploads under way, by key; a page goes on from KeyMarker and UploadIdMarker."""

    def look(tx: ReadTransaction) -> tuple[Bucket, list[Upload]]:
        bucket = state.bucket_of(tx, req)
        return bucket, state.uploads(tx, bucket.name)

    bucket, found = await ctx.store.read(look)
    prefix, count_max = req.get("Prefix") or "", min(int(req.get("MaxUploads") or 1000), 1000)
    after = (req.get("KeyMarker") or "", req.get("UploadIdMarker") or "\U0010ffff")
    uploads = [upload for upload in found if upload.key.startswith(prefix) and (upload.key, upload.id) > after]
    shown = uploads[:count_max]
    answer: dict[str, Any] = {
        "Bucket": bucket.name,
        "KeyMarker": rules.encoded(req.get("KeyMarker") or "", req),
        "UploadIdMarker": req.get("UploadIdMarker") or "",
        "Prefix": rules.encoded(prefix, req),
        "MaxUploads": count_max,
        "IsTruncated": len(uploads) > count_max,
        "Uploads": [
            {
                "UploadId": upload.id,
                "Key": rules.encoded(upload.key, req),
                "Initiated": rules.when(upload.started_ms),
                "StorageClass": upload.headers.get("StorageClass", "STANDARD"),
                "Owner": owner(bucket.account_id),
                "Initiator": owner(bucket.account_id),
            }
            for upload in shown
        ],
    }
    if len(uploads) > count_max:
        answer |= {"NextKeyMarker": rules.encoded(shown[-1].key, req), "NextUploadIdMarker": shown[-1].id}
    return answer
