"""Timestamps on the wire: three formats, and datetimes (UTC) inside.

A member without a format of its own travels as the protocol says: seconds since the epoch in JSON and CBOR, ISO 8601
in XML, in queries and in URIs, an HTTP date in headers.
Source: https://smithy.io/2.0/spec/protocol-traits.html#timestampformat-trait
"""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from typing import Any

EPOCH, ISO8601, HTTP_DATE = "unixTimestamp", "iso8601", "rfc822"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse(value: Any, kind: str) -> datetime:
    """Any of the formats is understood, whatever was asked for: SDKs disagree. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _from_epoch(value)
    if not isinstance(value, str):
        raise ValueError(f"not a timestamp: {value!r}")
    text = value.strip()
    if kind == HTTP_DATE and not text[:1].isdigit():
        moment = parsedate_to_datetime(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        return _from_epoch(float(text))
    except ValueError:
        pass
    moment = datetime.fromisoformat(text) if text[:1].isdigit() else parsedate_to_datetime(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def render(value: datetime | float, kind: str) -> str | int | float:
    """A number for EPOCH (whole where it is whole), else text."""
    moment = value if isinstance(value, datetime) else _from_epoch(value)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if kind == EPOCH:
        seconds = round(moment.timestamp(), 3)
        return int(seconds) if seconds == int(seconds) else seconds
    moment = moment.astimezone(UTC)
    if kind == HTTP_DATE:
        return _http_date(int(moment.timestamp()))
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds" if moment.microsecond else "seconds") + "Z"


@lru_cache(maxsize=1024)
def _http_date(seconds: int) -> str:
    return format_datetime(_EPOCH + timedelta(seconds=seconds), usegmt=True)


def _from_epoch(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(f"not a timestamp: {seconds}") from error
