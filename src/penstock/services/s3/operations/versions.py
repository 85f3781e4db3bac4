"""Versions listed, page by page."""

import itertools
from dataclasses import dataclass, field
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.s3 import messages, rules, state
from penstock.services.s3.operations.buckets import owner
from penstock.services.s3.operations.listings import count_of
from penstock.services.s3.state import Bucket, Version
from penstock.storage.transactions import ReadTransaction

_BATCH = 200


@dataclass(slots=True)
class _Page:
    """`last`: the key and version id, or the common prefix and "", that the next page goes on after."""

    count_max: int
    entries: list[tuple[Version, bool]] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    is_truncated: bool = False
    last: tuple[str, str] = ("", "")

    def is_full(self) -> bool:
        if len(self.entries) + len(self.prefixes) >= self.count_max:
            self.is_truncated = self.count_max > 0
            return True
        return False


@operation
async def list_object_versions(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """All versions and delete markers: keys in order, each key's versions newest first."""
    page = _Page(count_of(req))
    if req.get("VersionIdMarker") is not None and not req.get("KeyMarker"):
        text = "A version-id marker cannot be specified without a key marker."
        raise messages.invalid_argument(text, "version-id-marker", req["VersionIdMarker"])

    def read(tx: ReadTransaction) -> Bucket:
        bucket = state.bucket_of(tx, req)
        page.entries, page.prefixes, page.is_truncated = [], [], False
        _fill(tx, bucket, req, page)
        return bucket

    bucket = await ctx.store.read(read)
    answer: dict[str, Any] = {
        "Name": bucket.name,
        "Prefix": rules.encoded(req.get("Prefix") or "", req),
        "KeyMarker": rules.encoded(req.get("KeyMarker") or "", req),
        "VersionIdMarker": req.get("VersionIdMarker") or "",
        "MaxKeys": page.count_max,
        "IsTruncated": page.is_truncated,
    }
    if req.get("Delimiter"):
        answer["Delimiter"] = rules.encoded(req["Delimiter"], req)
    if req.get("EncodingType"):
        answer["EncodingType"] = req["EncodingType"]
    for version, is_latest in page.entries:
        kind = "DeleteMarkers" if version.is_delete_marker else "Versions"
        answer.setdefault(kind, []).append(_entry(version, req, bucket, is_latest=is_latest))
    if page.prefixes:
        answer["CommonPrefixes"] = [{"Prefix": rules.encoded(prefix, req)} for prefix in page.prefixes]
    if page.is_truncated:
        answer["NextKeyMarker"] = rules.encoded(page.last[0], req)
        if page.last[1]:
            answer["NextVersionIdMarker"] = page.last[1]
    return answer


def _fill(tx: ReadTransaction, bucket: Bucket, req: dict[str, Any], page: _Page) -> None:
    """Read by seeking, over each common prefix at once."""
    prefix, delimiter, marker = req.get("Prefix") or "", req.get("Delimiter") or "", req.get("KeyMarker") or ""
    root = ("s3", "current", bucket.name)
    end = rules.after_prefix(prefix)
    bound = (*root, end) if end is not None else None
    start: str | None = max(prefix, marker)
    if delimiter and marker and _common(marker, prefix, delimiter) == marker:
        start = rules.after_prefix(marker)
    while start is not None:
        batch = list(tx.range(root, begin=(*root, start), end=bound, limit=_BATCH))
        for key, value in batch:
            name = str(key[3])
            if start is None or name < start:
                continue
            common = _common(name, prefix, delimiter)
            if common:
                if page.is_full():
                    return
                page.prefixes.append(common)
                page.last = (common, "")
                start = rules.after_prefix(common)
                continue
            if not _take(tx, bucket, req, state.read_version(value), page):
                return
            start = name + "\0"
        if len(batch) < _BATCH:
            return


def _common(name: str, prefix: str, delimiter: str) -> str:
    at = name.find(delimiter, len(prefix)) if delimiter and name.startswith(prefix) else -1
    return name[: at + len(delimiter)] if at >= 0 else ""


def _take(tx: ReadTransaction, bucket: Bucket, req: dict[str, Any], current: Version, page: _Page) -> bool:
    """Put the versions of a key on the page; False where it is full. Of the marker's key, those behind its version."""
    is_marked = current.key == req.get("KeyMarker")
    id_marker = req.get("VersionIdMarker") or ""
    if is_marked and not id_marker:
        return True
    is_past = not is_marked
    behind = state.older(tx, bucket.name, current.key) if bucket.versioning else ()
    for version in itertools.chain((current,), behind):
        if is_past:
            if page.is_full():
                return False
            page.entries.append((version, version is current))
            page.last = (version.key, version.version_id)
        is_past = is_past or version.version_id == id_marker
    return True


def _entry(version: Version, req: dict[str, Any], bucket: Bucket, *, is_latest: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "Key": rules.encoded(version.key, req),
        "VersionId": version.version_id,
        "IsLatest": is_latest,
        "LastModified": rules.when(version.modified_ms),
        "Owner": owner(version.owner or bucket.account_id),
    }
    if not version.is_delete_marker:
        entry |= {"ETag": f'"{version.etag}"', "Size": version.size}
        if version.checksums:
            entry["ChecksumAlgorithm"] = [name.removeprefix("Checksum") for name in version.checksums]
            entry["ChecksumType"] = version.checksum_type
        entry["StorageClass"] = version.headers.get("StorageClass", "STANDARD")
    return entry
