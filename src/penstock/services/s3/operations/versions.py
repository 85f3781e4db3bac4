"""Versions listed, page by page."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.s3 import limits, rules, state
from penstock.services.s3.operations.buckets import owner
from penstock.services.s3.state import Bucket, Version
from penstock.storage.transactions import ReadTransaction

_BATCH = 200


@operation
async def list_object_versions(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """All versions and delete markers: keys in order, each key's versions newest first."""
    count_max = min(int(req["MaxKeys"]) if req.get("MaxKeys") is not None else 1000, limits.PAGE_MAX.value)

    def read(tx: ReadTransaction) -> tuple[Bucket, list[tuple[Version, bool]], list[str], bool]:
        bucket = state.bucket_of(tx, req)
        return bucket, *_page(tx, req, count_max)

    bucket, entries, prefixes, is_truncated = await ctx.store.read(read)
    answer: dict[str, Any] = {
        "Name": bucket.name,
        "Prefix": rules.encoded(req.get("Prefix") or "", req),
        "KeyMarker": rules.encoded(req.get("KeyMarker") or "", req),
        "VersionIdMarker": req.get("VersionIdMarker") or "",
        "MaxKeys": count_max,
        "IsTruncated": is_truncated,
    }
    for member in ("Delimiter", "EncodingType"):
        if req.get(member):
            answer[member] = req[member]
    for version, is_latest in entries:
        kind = "DeleteMarkers" if version.is_delete_marker else "Versions"
        answer.setdefault(kind, []).append(_entry(version, req, bucket, is_latest=is_latest))
    if prefixes:
        answer["CommonPrefixes"] = [{"Prefix": rules.encoded(prefix, req)} for prefix in prefixes]
    if is_truncated:
        last = entries[-1][0] if entries else None
        if prefixes and (last is None or prefixes[-1] > last.key):
            answer["NextKeyMarker"] = rules.encoded(prefixes[-1], req)
        elif last is not None:
            answer |= {"NextKeyMarker": rules.encoded(last.key, req), "NextVersionIdMarker": last.version_id}
    return answer


def _page(
    tx: ReadTransaction, req: dict[str, Any], count_max: int
) -> tuple[list[tuple[Version, bool]], list[str], bool]:
    prefix, delimiter = req.get("Prefix") or "", req.get("Delimiter") or ""
    key_marker, id_marker = req.get("KeyMarker") or "", req.get("VersionIdMarker") or ""
    entries: list[tuple[Version, bool]] = []
    prefixes: list[str] = []
    for current in _keys(tx, req["Bucket"], prefix, key_marker):
        at = current.key.find(delimiter, len(prefix)) if delimiter else -1
        common = current.key[: at + len(delimiter)] if at >= 0 else ""
        if common and ((prefixes and prefixes[-1] == common) or key_marker == common):
            continue
        if common:
            if len(entries) + len(prefixes) >= count_max:
                return entries, prefixes, True
            prefixes.append(common)
            continue
        is_past = current.key != key_marker
        for version in (current, *state.older(tx, req["Bucket"], current.key)):
            if is_past:
                if len(entries) + len(prefixes) >= count_max:
                    return entries, prefixes, True
                entries.append((version, version is current))
            is_past = is_past or (bool(id_marker) and version.version_id == id_marker)
    return entries, prefixes, False


def _keys(tx: ReadTransaction, bucket: str, prefix: str, marker: str) -> Any:
    """Current versions from `marker` on, read in batches."""
    root = ("s3", "current", bucket)
    end = rules.after_prefix(prefix)
    start = max(prefix, marker)
    while True:
        bound = (*root, end) if end is not None else None
        batch = list(tx.range(root, begin=(*root, start), end=bound, limit=_BATCH))
        for _, value in batch:
            yield state.read_version(value)
        if len(batch) < _BATCH:
            return
        start = str(batch[-1][0][3]) + "\0"


def _entry(version: Version, req: dict[str, Any], bucket: Bucket, *, is_latest: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "Key": rules.encoded(version.key, req),
        "VersionId": version.version_id,
        "IsLatest": is_latest,
        "LastModified": rules.when(version.modified_ms),
        "Owner": owner(bucket.account_id),
    }
    if not version.is_delete_marker:
        entry |= {"ETag": f'"{version.etag}"', "Size": version.size}
        entry["StorageClass"] = version.headers.get("StorageClass", "STANDARD")
    return entry
