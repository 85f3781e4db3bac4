"""Listings of uploads under way and of their parts."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.s3 import messages, rules, state
from penstock.services.s3.operations import expiry
from penstock.services.s3.operations.buckets import owner
from penstock.services.s3.state import Bucket, Part, Upload
from penstock.storage.transactions import ReadTransaction

_PAGE = 1000


@operation
async def list_parts(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    after, count_max = _count(req, "PartNumberMarker", 0), min(_count(req, "MaxParts", _PAGE), _PAGE)

    def look(tx: ReadTransaction) -> tuple[Bucket, Upload, list[Part], dict[str, Any]]:
        bucket = state.bucket_of(tx, req)
        upload = state.get_upload(tx, bucket.name, req["Key"], req["UploadId"])
        page = state.parts(tx, upload.id, after=after, limit=count_max + 1)
        return bucket, upload, page, expiry.abort_members(tx, bucket, upload)

    bucket, upload, parts, aborting = await ctx.store.read(look)
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
        "Owner": owner(upload.owner or bucket.account_id),
        "Initiator": owner(upload.owner or bucket.account_id),
        "Parts": [_part_entry(part, upload) for part in shown],
        **aborting,
    }
    if upload.is_algorithm_named and upload.algorithm:
        answer |= {"ChecksumAlgorithm": upload.algorithm, "ChecksumType": upload.checksum_type}
    return answer


def _part_entry(part: Part, upload: Upload) -> dict[str, Any]:
    return {
        "PartNumber": part.number,
        "LastModified": rules.when(part.modified_ms),
        "ETag": f'"{part.content.etag}"',
        "Size": part.content.size,
        **(part.content.checksums if upload.is_algorithm_named else {}),
    }


def _count(req: dict[str, Any], member: str, default: int) -> int:
    value = req.get(member)
    count = default if value in (None, "") else int(value)
    if count < 0:
        names = {"PartNumberMarker": "part-number-marker", "MaxParts": "max-parts", "MaxUploads": "max-uploads"}
        text = f"Argument {names[member]} must be an integer between 0 and 2147483647"
        raise messages.invalid_argument(text, names[member], str(value))
    return count


@operation
async def list_multipart_uploads(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Uploads under way, by key; a page goes on from KeyMarker and UploadIdMarker."""
    count_max = min(_count(req, "MaxUploads", _PAGE), _PAGE)
    prefix, delimiter = req.get("Prefix") or "", req.get("Delimiter") or ""
    key_marker = req.get("KeyMarker") or ""
    id_marker = (req.get("UploadIdMarker") or "") if key_marker else ""

    def look(tx: ReadTransaction) -> tuple[Bucket, list[Upload]]:
        bucket = state.bucket_of(tx, req)
        found = sorted(state.uploads(tx, bucket.name), key=lambda upload: (upload.key, upload.started_ms, upload.id))
        return bucket, _after(found, key_marker, id_marker)

    bucket, found = await ctx.store.read(look)
    shown: list[Upload] = []
    prefixes: list[str] = []
    last: tuple[str, str] = ("", "")
    is_truncated = False
    for upload in found:
        if not upload.key.startswith(prefix):
            continue
        at = upload.key.find(delimiter, len(prefix)) if delimiter else -1
        common = upload.key[: at + len(delimiter)] if at >= 0 else ""
        if common and (common in prefixes[-1:] or common == key_marker):
            continue
        if len(shown) + len(prefixes) >= count_max:
            is_truncated = count_max > 0
            break
        if common:
            prefixes.append(common)
            last = (common, "")
        else:
            shown.append(upload)
            last = (upload.key, upload.id)
    answer: dict[str, Any] = {
        "Bucket": bucket.name,
        "KeyMarker": rules.encoded(key_marker, req),
        "UploadIdMarker": id_marker,
        "NextKeyMarker": rules.encoded(last[0], req) if is_truncated else "",
        "NextUploadIdMarker": last[1] if is_truncated else "",
        "Prefix": rules.encoded(prefix, req),
        "MaxUploads": count_max,
        "IsTruncated": is_truncated,
        "Uploads": [_upload_entry(upload, bucket, req) for upload in shown],
    }
    if delimiter:
        answer["Delimiter"] = rules.encoded(delimiter, req)
    if req.get("EncodingType"):
        answer["EncodingType"] = req["EncodingType"]
    if prefixes:
        answer["CommonPrefixes"] = [{"Prefix": rules.encoded(common, req)} for common in prefixes]
    return answer


def _after(found: list[Upload], key_marker: str, id_marker: str) -> list[Upload]:
    """What comes behind the markers: of the marker's key, the uploads begun after the one that is named."""
    if not key_marker:
        return found
    at_key = [upload for upload in found if upload.key == key_marker]
    names = [upload.id for upload in at_key]
    rest = at_key[names.index(id_marker) + 1 :] if id_marker in names else []
    return rest + [upload for upload in found if upload.key > key_marker]


def _upload_entry(upload: Upload, bucket: Bucket, req: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "UploadId": upload.id,
        "Key": rules.encoded(upload.key, req),
        "Initiated": rules.when(upload.started_ms),
        "StorageClass": upload.headers.get("StorageClass", "STANDARD"),
        "Owner": owner(upload.owner or bucket.account_id),
        "Initiator": owner(upload.owner or bucket.account_id),
    }
    if upload.is_algorithm_named and upload.algorithm:
        entry |= {"ChecksumAlgorithm": upload.algorithm, "ChecksumType": upload.checksum_type}
    return entry
