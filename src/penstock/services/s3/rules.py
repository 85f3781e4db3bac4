"""S3's decisions, pure: names, ranges, conditions, tags, listings' successors, entity tags."""

import hashlib
import re
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, quote

from penstock.kernel.errors import ServiceError
from penstock.services.s3 import limits, messages
from penstock.services.s3.state import Version

_BUCKET_NAME = re.compile(r"(?=.{3,63}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_RESERVED_HEADS = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_TAILS = ("-s3alias", "--ol-s3", ".mrap", "--table-s3")
_IP_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
_VERSION_ID = re.compile(r"[0-9a-f]{32}|null")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_HIGHEST = "\U0010ffff"

RESPONSE_OVERRIDES = (
    "ContentType",
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "Expires",
)
STORED_HEADERS = (*RESPONSE_OVERRIDES, "StorageClass", "WebsiteRedirectLocation")
STORAGE_CLASSES = (
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "GLACIER_IR",
    "OUTPOSTS",
    "SNOW",
    "EXPRESS_ONEZONE",
)
ARCHIVED = ("GLACIER", "DEEP_ARCHIVE")


def check_bucket_name(name: str) -> None:
    """Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""
    is_valid = _BUCKET_NAME.fullmatch(name) and not _IP_ADDRESS.fullmatch(name)
    if not is_valid or name.startswith(_RESERVED_HEADS) or name.endswith(_RESERVED_TAILS):
        raise messages.invalid_bucket_name(name)


def check_key(key: str) -> None:
    size = len(key.encode())
    if size > limits.KEY_BYTES_MAX.value:
        raise messages.key_too_long(size, limits.KEY_BYTES_MAX.value)


def check_metadata(metadata: dict[str, str]) -> None:
    size = sum(len(name) + len(value.encode()) for name, value in metadata.items())
    if size > limits.METADATA_BYTES_MAX.value:
        raise messages.metadata_too_large(size, limits.METADATA_BYTES_MAX.value)


def check_version_id(version_id: str | None) -> None:
    """Raises InvalidArgument (400) for what can't be a version's id."""
    if version_id is None:
        return
    if not version_id:
        raise messages.invalid_argument("Version id cannot be the empty string", "versionId", "")
    if not _VERSION_ID.fullmatch(version_id):
        raise messages.invalid_argument("Invalid version id specified", "versionId", version_id)


def marker_headers(marker: Version) -> dict[str, str]:
    """What an answer says of a delete marker that it met."""
    return {
        "x-amz-delete-marker": "true",
        "x-amz-version-id": marker.version_id,
        "Last-Modified": http_date(marker.modified_ms),
    }


def http_date(time_ms: int) -> str:
    return format_datetime(when(time_ms), usegmt=True)


def check_encoding(req: dict[str, Any]) -> None:
    if req.get("EncodingType") not in (None, "", "url"):
        text = "Invalid Encoding Method specified in Request"
        raise messages.invalid_argument(text, "encoding-type", req["EncodingType"])


def stored_headers(req: dict[str, Any]) -> dict[str, str]:
    headers = {name: _text(req[name]) for name in STORED_HEADERS if req.get(name)}
    headers.setdefault("ContentType", "binary/octet-stream")
    return headers


def _text(value: object) -> str:
    return value.strftime("%a, %d %b %Y %H:%M:%S GMT") if isinstance(value, datetime) else str(value)


def when(time_ms: int) -> datetime:
    """S3 keeps and compares whole seconds on the wire's header form, milliseconds in XML."""
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def byte_range(text: str, size: int) -> tuple[int, int] | None:
    """(offset, length) of a Range header, or None where S3 ignores it. Raises InvalidRange (416)."""
    match = _RANGE.fullmatch(text.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise messages.invalid_range(text, size)
        return size - length, length
    start = int(first)
    end = min(int(last), size - 1) if last else size - 1
    if last and int(last) < start:
        return None
    if start >= size:
        raise messages.invalid_range(text, size)
    return start, end - start + 1


def check_read_conditions(version: Version, req: dict[str, Any], prefix: str = "") -> None:
    """If-Match wins over If-Unmodified-Since, If-None-Match over If-Modified-Since (RFC 9110, 13.2.2).

    `prefix` is CopySource for the conditions of a copy, which fail with 412 only.
    """
    modified = version.modified_ms // 1000
    if (etag := req.get(prefix + "IfMatch")) is not None:
        if not matches(etag, version.etag):
            raise messages.precondition_failed("If-Match")
    elif (since := req.get(prefix + "IfUnmodifiedSince")) is not None and modified > _seconds(since):
        raise messages.precondition_failed("If-Unmodified-Since")
    if (etag := req.get(prefix + "IfNoneMatch")) is not None:
        if matches(etag, version.etag):
            raise messages.precondition_failed("If-None-Match") if prefix else _not_modified(version)
    elif (since := req.get(prefix + "IfModifiedSince")) is not None and modified <= _seconds(since):
        raise messages.precondition_failed("If-Modified-Since") if prefix else _not_modified(version)


def _not_modified(version: Version) -> ServiceError:
    return messages.not_modified({"ETag": f'"{version.etag}"', "Last-Modified": http_date(version.modified_ms)})


def check_write_conditions(current: Version | None, req: dict[str, Any]) -> None:
    """Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html"""
    if current is not None and current.is_delete_marker:
        current = None
    if req.get("IfNoneMatch") is not None and current is not None and matches(req["IfNoneMatch"], current.etag):
        raise messages.precondition_failed("If-None-Match")
    if req.get("IfMatch") is not None:
        if current is None:
            raise messages.no_such_key(req["Key"])
        if not matches(req["IfMatch"], current.etag):
            raise messages.precondition_failed("If-Match")


def check_delete_conditions(version: Version | None, req: dict[str, Any]) -> None:
    """Raises NoSuchKey (404) where there is nothing to match, PreconditionFailed (412) where it isn't that."""
    etag, size, modified = req.get("IfMatch"), req.get("IfMatchSize"), req.get("IfMatchLastModifiedTime")
    if etag is None and size is None and modified is None:
        return
    if version is None or version.is_delete_marker:
        raise messages.no_such_key(req["Key"])
    if etag is not None and not matches(etag, version.etag):
        raise messages.precondition_failed("If-Match")
    if size is not None and int(size) != version.size:
        raise messages.precondition_failed("x-amz-if-match-size")
    if modified is not None and _seconds(modified) != version.modified_ms // 1000:
        raise messages.precondition_failed("x-amz-if-match-last-modified-time")


def check_readable(version: Version, now_ms: int) -> None:
    """Raises InvalidObjectState (403) for an archived object that isn't restored."""
    storage_class = version.headers.get("StorageClass", "")
    if storage_class in ARCHIVED and version.restored_until_ms <= now_ms:
        raise messages.invalid_object_state(storage_class)


def matches(condition: str, etag: str) -> bool:
    wanted = (part.strip().removeprefix("W/").strip('"') for part in condition.split(","))
    return any(part in ("*", etag) for part in wanted)


def _seconds(value: object) -> int:
    return int(value.timestamp()) if isinstance(value, datetime) else int(str(value))


def after_prefix(prefix: str) -> str | None:
    """The least key that is greater than every key with `prefix`; None if there is none."""
    prefix = prefix.rstrip(_HIGHEST)
    if not prefix:
        return None
    code = ord(prefix[-1]) + 1
    return prefix[:-1] + chr(0xE000 if code == 0xD800 else code)


def tags_of_header(text: str | None) -> dict[str, str]:
    """x-amz-tagging: URL query parameters."""
    pairs = parse_qsl(text or "", keep_blank_values=True)
    return checked_tags([{"Key": key, "Value": value} for key, value in pairs], limits.TAGS_MAX.value)


def checked_tags(tag_set: list[dict[str, str]], count_max: int) -> dict[str, str]:
    tags = {tag["Key"]: tag.get("Value", "") for tag in tag_set}
    if len(tags) != len(tag_set):
        raise messages.invalid_tag("Cannot provide multiple Tags with the same key")
    if len(tags) > count_max:
        raise messages.too_many_tags(count_max)
    for key, value in tags.items():
        if not 1 <= len(key) <= 128:
            raise messages.invalid_tag("The TagKey you have provided is invalid")
        if not _is_tag_text(key):
            raise messages.invalid_tag("The TagKey you have provided is invalid")
        if len(value) > 256 or not _is_tag_text(value):
            raise messages.invalid_tag("The TagValue you have provided is invalid")
        if key.startswith("aws:"):
            raise messages.invalid_tag("System tags cannot be added/updated by requester")
    return tags


def _is_tag_text(text: str) -> bool:
    """Letters, digits, spaces and a few signs.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/tagging-managing.html
    """
    return all(letter.isalnum() or letter.isspace() or letter in "_.:/=+-@" for letter in text)


def multipart_etag(etags: list[str]) -> str:
    digest = hashlib.md5(b"".join(bytes.fromhex(etag) for etag in etags), usedforsecurity=False).hexdigest()
    return f"{digest}-{len(etags)}"


def encoded(text: str, req: dict[str, Any]) -> str:
    """A key as a listing gives it: percent-encoded if EncodingType is url."""
    return quote(text, safe="/-_.~*()!'") if req.get("EncodingType") == "url" else text
