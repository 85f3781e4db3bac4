"""Decisions of the room: stages, values, what a request may ask. Pure."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from penstock.kernel.errors import ServiceError
from penstock.services.secretsmanager import limits, messages
from penstock.services.secretsmanager.state import Secret, Value, Version

CURRENT, PREVIOUS, PENDING = "AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"


def invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterException", message)


def time_of(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def value_of(req: Mapping[str, Any]) -> Value | None:
    text, binary = req.get("SecretString"), req.get("SecretBinary")
    if text is not None and binary is not None:
        raise invalid(messages.BOTH_VALUES)
    size = len(text.encode()) if text is not None else len(binary or b"")
    if size > limits.VALUE_BYTES_MAX.value:
        raise invalid(messages.VALUE_TOO_LONG)
    if text is not None:
        return Value(text=text)
    return Value(binary=base64.b64encode(binary).decode()) if binary is not None else None


def attach(secret: Secret, stage: str, version_id: str) -> None:
    """Move a stage to a version; the version that loses AWSCURRENT becomes AWSPREVIOUS."""
    holder = secret.find_by_stage(stage)
    if holder == version_id:
        return
    if holder is not None:
        secret.versions[holder].stages.remove(stage)
    if stage == CURRENT and holder is not None:
        previous = secret.find_by_stage(PREVIOUS)
        if previous is not None:
            secret.versions[previous].stages.remove(PREVIOUS)
        secret.versions[holder].stages.append(PREVIOUS)
        if PREVIOUS in secret.versions[version_id].stages:
            secret.versions[version_id].stages.remove(PREVIOUS)
    secret.versions[version_id].stages.append(stage)


def add_version(secret: Secret, version_id: str, stages: list[str], *, now_ms: int) -> list[str]:
    """Add a version under its stages; the ids of versions that are dropped for room."""
    secret.versions[version_id] = Version(now_ms)
    for stage in stages:
        attach(secret, stage, version_id)
    secret.changed_ms = now_ms
    unlabelled = [id for id, version in secret.versions.items() if not version.stages]
    dropped = unlabelled[: max(0, len(unlabelled) - limits.VERSIONS_UNLABELLED_MAX.value)]
    for id in dropped:
        del secret.versions[id]
    return dropped


def choose_version(secret: Secret, version_id: str | None, stage: str | None) -> str:
    """The version that a GetSecretValue names. Raises ResourceNotFoundException."""
    if version_id:
        version = secret.versions.get(version_id)
        if version is None:
            raise ServiceError("ResourceNotFoundException", messages.value_not_found(version_id=version_id))
        if stage and stage not in version.stages:
            raise ServiceError("InvalidRequestException", messages.stage_mismatch())
        return version_id
    found = secret.find_by_stage(stage or CURRENT)
    if found is None:
        raise ServiceError("ResourceNotFoundException", messages.value_not_found(stage=stage or CURRENT))
    return found


def check_move(secret: Secret, stage: str, *, remove_from: str | None, move_to: str | None) -> None:
    """What UpdateSecretVersionStage requires of its two versions."""
    for version_id in (remove_from, move_to):
        if version_id is not None and version_id not in secret.versions:
            raise ServiceError("ResourceNotFoundException", messages.value_not_found(version_id=version_id))
    holder = secret.find_by_stage(stage)
    if remove_from is not None and holder != remove_from:
        raise invalid(messages.stage_not_there(stage, remove_from))
    if move_to is not None and holder is not None and holder != move_to and remove_from is None:
        raise invalid(messages.stage_elsewhere(stage, holder))


def deletion_delay_days(req: Mapping[str, Any]) -> int:
    """0 for at once."""
    days = req.get("RecoveryWindowInDays")
    if req.get("ForceDeleteWithoutRecovery"):
        if days is not None:
            raise invalid(messages.FORCE_AND_WINDOW)
        return 0
    if days is None:
        return limits.RECOVERY_DAYS_MAX.value
    if not limits.RECOVERY_DAYS_MIN.value <= days <= limits.RECOVERY_DAYS_MAX.value:
        raise invalid(messages.RECOVERY_WINDOW)
    return int(days)


def is_listed(secret: Secret, filters: list[Mapping[str, Any]]) -> bool:
    return all(_matches(secret, item["Key"], item.get("Values", [])) for item in filters)


def _matches(secret: Secret, key: str, values: list[str]) -> bool:
    texts = {
        "name": [secret.name],
        "description": [secret.description or ""],
        "tag-key": list(secret.tags),
        "tag-value": list(secret.tags.values()),
    }.get(key)
    if texts is None:
        texts = [secret.name, secret.description or "", *secret.tags, *secret.tags.values()]
    for value in values:
        is_hit = any(text.startswith(value.removeprefix("!")) for text in texts)
        if is_hit != value.startswith("!"):
            return True
    return False
