"""Decisions of Parameter Store: names, selectors, filters, versions. Pure."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from penstock.kernel.errors import ServiceError
from penstock.services.ssm import limits, messages
from penstock.services.ssm.state import Parameter, Version

_NAME = re.compile(r"/?[\w.-]+(/[\w.-]+)*\Z", re.ASCII)
_LABEL = re.compile(r"(?!aws|ssm|\d)[\w.-]{1,100}\Z", re.ASCII | re.IGNORECASE)
_PATH = re.compile(r"/([\w.-]+(/[\w.-]+)*/?)?\Z", re.ASCII)


def invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)


def time_of(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def check_name(name: str) -> None:
    if not _NAME.match(name):
        raise invalid(messages.BAD_NAME)
    if "/" in name and not name.startswith("/"):
        raise invalid(messages.NOT_QUALIFIED)
    if name.strip("/").lower().startswith(("aws", "ssm")):
        raise invalid(messages.RESERVED)
    if name.count("/") > limits.DEPTH_MAX.value:
        raise ServiceError("HierarchyLevelLimitExceededException", messages.TOO_DEEP)


def check_value(value: str, *, tier: str, allowed_pattern: str | None) -> None:
    is_advanced = tier == "Advanced"
    size_max = (limits.ADVANCED_BYTES_MAX if is_advanced else limits.STANDARD_BYTES_MAX).value
    if len(value.encode()) > size_max:
        raise invalid(messages.value_too_long(size_max, is_advanced=is_advanced))
    if allowed_pattern and not re.search(allowed_pattern, value):
        raise ServiceError("ParameterPatternMismatchException", messages.pattern_mismatch(allowed_pattern))


def tier_of(req: Mapping[str, Any]) -> str:
    """Intelligent-Tiering picks Advanced only where Standard isn't enough."""
    tier = str(req.get("Tier") or "Standard")
    if tier != "Intelligent-Tiering":
        return tier
    return "Advanced" if len(req["Value"].encode()) > limits.STANDARD_BYTES_MAX.value else "Standard"


def split_selector(name: str) -> tuple[str, str]:
    """`/db/url:3` and `arn:…:parameter/db/url:prod` -> name and version or label, "" for the latest."""
    if name.startswith("arn:"):
        resource = name.split(":", 5)[-1].removeprefix("parameter")
        name, _, selector = resource.partition(":")
        return (name if name.count("/") > 1 else name.removeprefix("/")), selector
    name, _, selector = name.partition(":")
    return name, selector


def choose(parameter: Parameter, selector: str) -> Version:
    """The version that a selector names. Raises ParameterVersionNotFound."""
    if not selector:
        return parameter.latest
    for version in parameter.versions:
        if selector in (str(version.number), *version.labels):
            return version
    raise ServiceError("ParameterVersionNotFound", messages.version_not_found(parameter.name))


def is_below(name: str, path: str, *, is_recursive: bool) -> bool:
    prefix = path.rstrip("/") + "/"
    full = name if name.startswith("/") else f"/{name}"
    return full.startswith(prefix) and (is_recursive or "/" not in full[len(prefix) :])


def check_path(path: str) -> None:
    if not _PATH.match(path):
        raise invalid(messages.BAD_PATH)


def matches(parameter: Parameter, filters: Sequence[Mapping[str, Any]]) -> bool:
    return all(_matches(parameter, item) for item in filters)


def _matches(parameter: Parameter, item: Mapping[str, Any]) -> bool:
    key, values = item["Key"], item.get("Values") or []
    option = item.get("Option") or ("OneLevel" if key == "Path" else "Equals")
    if key == "Path":
        return any(is_below(parameter.name, path, is_recursive=option == "Recursive") for path in values)
    if key.startswith("tag:"):
        tag = parameter.tags.get(key[4:])
        return tag is not None and (not values or tag in values)
    if key == "Label":
        return any(label in values for version in parameter.versions for label in version.labels)
    text = {
        "Name": parameter.name,
        "Type": parameter.type,
        "KeyId": parameter.latest.key_id or "",
        "Tier": parameter.latest.tier,
        "DataType": parameter.latest.data_type,
    }.get(key, "")
    if option == "BeginsWith":
        return any(text.startswith(value) or text.removeprefix("/").startswith(value) for value in values)
    if option == "Contains":
        return any(value in text for value in values)
    return text in values


def label(parameter: Parameter, version: Version, labels: Sequence[str]) -> list[str]:
    """Move labels to a version; answers those that aren't labels."""
    good = [name for name in labels if _LABEL.match(name)]
    if len({*version.labels, *good}) > limits.LABELS_MAX.value:
        raise ServiceError("ParameterVersionLabelLimitExceeded", messages.TOO_MANY_LABELS)
    for other in parameter.versions:
        other.labels = [name for name in other.labels if name not in good]
    version.labels.extend(dict.fromkeys(good))
    return [name for name in labels if name not in good]


def page(items: Sequence[Any], req: Mapping[str, Any], size: int) -> tuple[list[Any], dict[str, str]]:
    token = req.get("NextToken") or "0"
    if not token.isdecimal():
        raise ServiceError("InvalidNextToken", messages.BAD_TOKEN)
    start = int(token)
    end = start + (req.get("MaxResults") or size)
    return list(items[start:end]), ({"NextToken": str(end)} if end < len(items) else {})
