"""What a lifecycle rule says of a version: pure, as of a moment.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

from penstock.kernel.units import DAY_MS, KIB
from penstock.services.s3 import rules, state
from penstock.services.s3.state import Bucket, Upload, Version
from penstock.storage.transactions import ReadTransaction

LIFECYCLE = "lifecycle"
_SMALL_BYTES = 128 * KIB
_VARYING = "varies_by_storage_class"
_GLACIERS = ("GLACIER", "DEEP_ARCHIVE")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as it is applied. `smallest`: objects below aren't moved to another storage class."""

    config: dict[str, Any]
    prefix: str
    tags: dict[str, str]
    larger_than: int
    smaller_than: int | None
    size_default: str = ""

    def covers(self, version: Version) -> bool:
        if not version.key.startswith(self.prefix):
            return False
        if version.is_delete_marker:
            return not self.tags
        if any(version.tags.get(name) != value for name, value in self.tags.items()):
            return False
        return version.size > self.larger_than and (self.smaller_than is None or version.size < self.smaller_than)


def rules_of(config: Any) -> list[Rule]:
    """The rules that are on."""
    found = []
    for item in (config or {}).get("Rules", []):
        if item.get("Status") != "Enabled":
            continue
        where = item.get("Filter") or {}
        where = {**where, **(where.get("And") or {})}
        tags = where.get("Tags") or ([where["Tag"]] if where.get("Tag") else [])
        found.append(
            Rule(
                item,
                str(where.get("Prefix") or item.get("Prefix") or ""),
                {tag["Key"]: tag.get("Value", "") for tag in tags},
                int(where.get("ObjectSizeGreaterThan") or -1),
                where.get("ObjectSizeLessThan"),
                str(config.get("TransitionDefaultMinimumObjectSize") or ""),
            )
        )
    return found


def expiration_of(tx: ReadTransaction, bucket: Bucket, version: Version) -> dict[str, str]:
    """The Expiration member (x-amz-expiration): when the soonest rule will expire an object, and its name."""
    config = state.config_of(tx, bucket, LIFECYCLE)
    if not config:
        return {}
    due = [
        (due_ms, rule.config.get("ID", ""))
        for rule in rules_of(config)
        if rule.covers(version) and (due_ms := expires_ms(rule, version)) is not None
    ]
    if not due:
        return {}
    due_ms, name = min(due)
    date = format_datetime(rules.when(due_ms), usegmt=True)
    return {"Expiration": f'expiry-date="{date}", rule-id="{quote(name, safe="")}"'}


def expires_ms(rule: Rule, version: Version) -> int | None:
    """When the current version goes; None where the rule doesn't say so."""
    action = rule.config.get("Expiration") or {}
    if action.get("Days"):
        return due_after(version.modified_ms, int(action["Days"]))
    return date_ms(action["Date"]) if action.get("Date") else None


def is_marker_expired(rule: Rule, marker: Version, now_ms: int) -> bool:
    """A delete marker with nothing behind it goes if the rule says so, or once its days are over."""
    action = rule.config.get("Expiration") or {}
    if action.get("ExpiredObjectDeleteMarker"):
        return True
    due_ms = expires_ms(rule, marker)
    return due_ms is not None and due_ms <= now_ms


def noncurrent_expires_ms(rule: Rule, version: Version, newer: int) -> int | None:
    """`newer`: how many noncurrent versions are newer than this one."""
    action = rule.config.get("NoncurrentVersionExpiration") or {}
    if not action.get("NoncurrentDays") or newer < int(action.get("NewerNoncurrentVersions") or 0):
        return None
    return due_after(version.became_old_ms or version.modified_ms, int(action["NoncurrentDays"]))


def abort_ms(rule: Rule, upload: Upload) -> int | None:
    days = (rule.config.get("AbortIncompleteMultipartUpload") or {}).get("DaysAfterInitiation")
    if not days or rule.tags or not upload.key.startswith(rule.prefix):
        return None
    return due_after(upload.started_ms, int(days))


def abort_members(tx: ReadTransaction, bucket: Bucket, upload: Upload) -> dict[str, Any]:
    """AbortDate and AbortRuleId: what CreateMultipartUpload and ListParts say of the rule that will end an upload."""
    config = state.config_of(tx, bucket, LIFECYCLE)
    found = [(due, rule.config["ID"]) for rule in rules_of(config) if (due := abort_ms(rule, upload)) is not None]
    if not found:
        return {}
    due_ms, name = min(found)
    return {"AbortDate": rules.when(due_ms), "AbortRuleId": name}


def storage_class_at(rule: Rule, version: Version, now_ms: int, *, is_current: bool, newer: int = 0) -> str:
    """The class that the rule has moved the version to by now; "" where it hasn't."""
    best: tuple[int, str] = (-1, "")
    for action in rule.config.get("Transitions" if is_current else "NoncurrentVersionTransitions") or []:
        due_ms = _transition_ms(action, version, is_current=is_current, newer=newer)
        if due_ms is not None and due_ms <= now_ms and not _is_too_small(rule, version, action["StorageClass"]):
            best = max(best, (due_ms, action["StorageClass"]))
    return best[1]


def _transition_ms(action: dict[str, Any], version: Version, *, is_current: bool, newer: int) -> int | None:
    if not is_current:
        if newer < int(action.get("NewerNoncurrentVersions") or 0):
            return None
        return due_after(version.became_old_ms or version.modified_ms, int(action["NoncurrentDays"]))
    if action.get("Date"):
        return date_ms(action["Date"])
    return due_after(version.modified_ms, int(action["Days"])) if action.get("Days") is not None else None


def _is_too_small(rule: Rule, version: Version, storage_class: str) -> bool:
    """Small objects stay where they are unless the rule's filter speaks of sizes.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html
    """
    if rule.larger_than >= 0 or rule.smaller_than is not None:
        return False
    if rule.size_default == _VARYING and storage_class in _GLACIERS:
        return False
    return version.size < _SMALL_BYTES


def due_after(start_ms: int, days: int) -> int:
    """S3 adds the days and goes on to the next midnight UTC."""
    due_ms = start_ms + days * DAY_MS
    return -(-due_ms // DAY_MS) * DAY_MS


def next_midnight_ms(now_ms: int) -> int:
    return (now_ms // DAY_MS + 1) * DAY_MS


def date_ms(date: Any) -> int:
    """A date as it was stored: ISO 8601."""
    moment = date if isinstance(date, datetime) else datetime.fromisoformat(str(date))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
