"""Decisions of the logs room. Pure."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from penstock.engines.patterns.log_filter import BadPattern, Matcher, compile_pattern
from penstock.kernel.errors import ServiceError
from penstock.kernel.units import DAY_MS
from penstock.services.logs import limits, messages
from penstock.services.logs.state import Position

_TOKEN = re.compile(r"([fb])/(\d{20})(\d{26})(\d{10})/s\Z")
_ARN = re.compile(r"arn:[^:]+:logs:[^:]*:[^:]*:log-group:(?P<name>[^:]+)(:\*)?\Z")
FIRST: Position = (-1, 0, 0)
LAST: Position = (2**62, 0, 0)


@dataclass(frozen=True, slots=True)
class Admission:
    """Which events of a batch are taken, and what is said of the others."""

    accepted: list[tuple[int, str]]
    rejected: dict[str, int]


def invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterException", message)


def group_name(req: Mapping[str, Any]) -> str:
    """The group that a request names by name, identifier or ARN."""
    name = req.get("logGroupName") or req.get("logGroupIdentifier") or req.get("resourceArn")
    if not name:
        raise invalid(messages.GROUP_NAME_OR_IDENTIFIER)
    found = _ARN.match(name)
    return found["name"] if found else str(name)


def admit(events: Sequence[Mapping[str, Any]], *, now_ms: int, retention_days: int | None) -> Admission:
    """Check a batch as PutLogEvents does. Raises InvalidParameterException.

    Source: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
    """
    size = sum(len(event["message"].encode()) + limits.EVENT_BYTES_OVERHEAD.value for event in events)
    if size > limits.BATCH_BYTES_MAX.value:
        raise invalid(messages.upload_too_large(size, limits.BATCH_BYTES_MAX.value))
    times = [int(event["timestamp"]) for event in events]
    if any(later < earlier for earlier, later in zip(times, times[1:], strict=False)):
        raise invalid(messages.OUT_OF_ORDER)
    if times[-1] - times[0] > limits.BATCH_SPAN_MS_MAX.value:
        raise invalid(messages.SPAN_TOO_LONG)
    too_old = _count_before(times, now_ms - limits.PAST_MS_MAX.value)
    expired = _count_before(times, now_ms - retention_days * DAY_MS) if retention_days else 0
    too_new = _count_before(times, now_ms + limits.FUTURE_MS_MAX.value + 1)
    rejected: dict[str, int] = {}
    if too_new < len(times):
        rejected["tooNewLogEventStartIndex"] = too_new
    if too_old:
        rejected["tooOldLogEventEndIndex"] = too_old
    if expired > too_old:
        rejected["expiredLogEventEndIndex"] = expired
    kept = events[max(too_old, expired) : too_new]
    return Admission([(int(event["timestamp"]), event["message"]) for event in kept], rejected)


def _count_before(times: Sequence[int], bound_ms: int) -> int:
    return sum(1 for time_ms in times if time_ms < bound_ms)


def check_retention(days: int) -> None:
    if days not in limits.RETENTION_DAYS:
        raise invalid(messages.RETENTION)


def parse_token(token: str) -> tuple[str, Position]:
    """Direction (f or b) and the position it goes on from."""
    found = _TOKEN.match(token)
    if found is None:
        raise invalid(messages.BAD_TOKEN)
    return found[1], (int(found[2]), int(found[3]), int(found[4]))


def format_token(direction: str, position: Position) -> str:
    time_ms, sequence, index = (max(0, part) for part in position)
    return f"{direction}/{time_ms:020d}{sequence:026d}{index:010d}/s"


def pattern_of(req: Mapping[str, Any]) -> Matcher:
    try:
        return compile_pattern(req.get("filterPattern") or "")
    except BadPattern as error:
        raise invalid(messages.BAD_PATTERN) from error


def encode_page(*parts: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(parts)).decode()


def decode_page(token: str) -> list[Any]:
    try:
        parts = orjson.loads(base64.urlsafe_b64decode(token))
    except ValueError as error:
        raise invalid(messages.BAD_TOKEN) from error
    if not isinstance(parts, list):
        raise invalid(messages.BAD_TOKEN)
    return parts


def page(items: Sequence[Any], key: str, req: Mapping[str, Any], size: int) -> dict[str, Any]:
    """One page of a list, with the offset in the token."""
    start = int(decode_page(req["nextToken"])[0]) if req.get("nextToken") else 0
    end = start + size
    answer: dict[str, Any] = {key: list(items[start:end])}
    if end < len(items):
        answer["nextToken"] = encode_page(end)
    return answer
