"""Listings: a page is read by seeking, over each common prefix at once."""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any

import orjson

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.s3 import limits, messages, rules, state
from penstock.services.s3.operations.buckets import owner
from penstock.services.s3.state import Bucket
from penstock.storage.transactions import ReadTransaction

_SEEK_BATCH = 64
_AFTER_SEEK = 2
"""Rows read at once: after a seek over a common prefix few, as another may follow; then more and more."""

_MARKER = b'"is_delete_marker":true'


@dataclass(slots=True)
class _Page:
    versions: list[dict[str, Any]] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    is_truncated: bool = False
    last: str = ""


def _read_page(tx: ReadTransaction, req: dict[str, Any], after: str, count_max: int) -> _Page:
    """Current objects and common prefixes that sort after `after`, at most `count_max` together."""
    prefix, delimiter = req.get("Prefix") or "", req.get("Delimiter") or ""
    page = _Page()
    root = ("s3", "current", req["Bucket"])
    start: str | None = max(prefix, after + "\0" if after else "")
    if delimiter and (rolled := _common_prefix(after, prefix, delimiter)) == after and rolled:
        start = rules.after_prefix(rolled)
    end = rules.after_prefix(prefix)
    bound = (*root, end) if end is not None else None
    size = _SEEK_BATCH
    while start is not None and count_max:
        left = count_max - len(page.versions) - len(page.prefixes) + 1
        size = min(left, size) if delimiter else left
        known = len(page.prefixes)
        batch = list(tx.range(root, begin=(*root, start), end=bound, limit=size))
        start = _take(page, batch, prefix, delimiter, count_max)
        if page.is_truncated or len(batch) < size:
            break
        size = _AFTER_SEEK if len(page.prefixes) > known else size * 4
    return page


def _take(page: _Page, batch: list[Any], prefix: str, delimiter: str, count_max: int) -> str | None:
    """Put a batch on the page; the key to go on from, or None at the end."""
    start: str | None = None
    for key, value in batch:
        name = str(key[3])
        if start is not None and name < start:
            continue
        start = name + "\0"
        if _MARKER in value and state.read_version(value).is_delete_marker:
            continue
        if len(page.versions) + len(page.prefixes) == count_max:
            page.is_truncated = True
            return None
        common = _common_prefix(name, prefix, delimiter) if delimiter else ""
        if common:
            page.prefixes.append(common)
            page.last = common
            start = rules.after_prefix(common)
            if start is None:
                return None
        else:
            page.versions.append(orjson.loads(value))
            page.last = name
    return start


def _common_prefix(name: str, prefix: str, delimiter: str) -> str:
    at = name.find(delimiter, len(prefix)) if name.startswith(prefix) else -1
    return name[: at + len(delimiter)] if at >= 0 else ""


@operation
async def list_objects_v2(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    count_max = count_of(req)
    token = req.get("ContinuationToken")
    after = _after_token(token) if token is not None else req.get("StartAfter") or ""

    def read(tx: ReadTransaction) -> tuple[Bucket, _Page]:
        return state.bucket_of(tx, req), _read_page(tx, req, after, count_max)

    bucket, page = await ctx.store.read(read)
    answer = _listing(req, page, count_max, bucket if req.get("FetchOwner") else None)
    answer["KeyCount"] = len(page.versions) + len(page.prefixes)
    if token is not None:
        answer["ContinuationToken"] = token
    if req.get("StartAfter"):
        answer["StartAfter"] = rules.encoded(req["StartAfter"], req)
    if page.is_truncated:
        answer["NextContinuationToken"] = base64.urlsafe_b64encode(page.last.encode()).decode()
    return answer


@operation
async def list_objects(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    count_max = count_of(req)
    marker = req.get("Marker") or ""

    def read(tx: ReadTransaction) -> tuple[Bucket, _Page]:
        return state.bucket_of(tx, req), _read_page(tx, req, marker, count_max)

    bucket, page = await ctx.store.read(read)
    answer = _listing(req, page, count_max, bucket)
    answer["Marker"] = rules.encoded(marker, req)
    if page.is_truncated and req.get("Delimiter"):
        answer["NextMarker"] = rules.encoded(page.last, req)
    return answer


def count_of(req: dict[str, Any]) -> int:
    """How many entries a page may have. Raises InvalidArgument (400)."""
    rules.check_encoding(req)
    count = int(req["MaxKeys"]) if req.get("MaxKeys") is not None else limits.PAGE_MAX.value
    if count < 0:
        raise messages.invalid_argument(
            "Argument maxKeys must be an integer between 0 and 2147483647", "maxKeys", str(count)
        )
    return min(count, limits.PAGE_MAX.value)


def _after_token(token: str) -> str:
    try:
        after = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
        if after:
            return after
        raise ValueError(token)
    except (binascii.Error, ValueError):
        text = "The continuation token provided is incorrect"
        raise messages.invalid_argument(text, "continuation-token", token) from None


def _listing(req: dict[str, Any], page: _Page, count_max: int, shown: Bucket | None) -> dict[str, Any]:
    """The members that both versions share; `shown` is the bucket whose owner each entry names."""
    answer: dict[str, Any] = {
        "Name": req["Bucket"],
        "Prefix": rules.encoded(req.get("Prefix") or "", req),
        "MaxKeys": count_max,
        "IsTruncated": page.is_truncated,
    }
    if req.get("Delimiter"):
        answer["Delimiter"] = rules.encoded(req["Delimiter"], req)
    if req.get("EncodingType"):
        answer["EncodingType"] = req["EncodingType"]
    if page.versions:
        answer["Contents"] = [_entry(version, req, shown) for version in page.versions]
    if page.prefixes:
        answer["CommonPrefixes"] = [{"Prefix": rules.encoded(common, req)} for common in page.prefixes]
    return answer


def _entry(stored: dict[str, Any], req: dict[str, Any], shown: Bucket | None) -> dict[str, Any]:
    """`stored`: a version as it is kept, without what is as it would be anyway."""
    entry: dict[str, Any] = {
        "Key": rules.encoded(stored["key"], req),
        "LastModified": rules.when(stored.get("modified_ms", 0)),
        "ETag": f'"{stored.get("etag", "")}"',
        "Size": stored.get("size", 0),
        "StorageClass": (stored.get("headers") or {}).get("StorageClass", "STANDARD"),
    }
    if checksums := stored.get("checksums"):
        entry["ChecksumAlgorithm"] = [name.removeprefix("Checksum") for name in checksums]
        entry["ChecksumType"] = stored.get("checksum_type") or "FULL_OBJECT"
    if shown is not None:
        entry["Owner"] = owner(stored.get("owner") or shown.account_id)
    return entry
