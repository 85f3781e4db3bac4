"""Condition operators of IAM policies. Pure.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache

Values = Mapping[str, Sequence[str]]

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_MARKED = {"*": "\ue000", "?": "\ue001", "$": "\ue002"}
_UNMARKED = {mark: literal for literal, mark in _MARKED.items()}


def substitute(pattern: str, values: Values) -> str | None:
    """Put the request's values in place of `${aws:username}`; None where a key has no single value.

    `${*}`, `${?}` and `${$}` stand for themselves; `${key, 'default'}` has a default.
    """
    missing = False

    def replace(match: re.Match[str]) -> str:
        nonlocal missing
        name = match.group(1)
        if name in _MARKED:
            return _MARKED[name]
        key, _, default = name.partition(",")
        found = values.get(key.strip().lower(), ())
        if len(found) == 1:
            return "".join(_MARKED.get(letter, letter) for letter in found[0])
        if default.strip().startswith("'"):
            return default.strip().strip("'")
        missing = True
        return ""

    if "${" not in pattern:
        return pattern
    text = _VARIABLE.sub(replace, pattern)
    return None if missing else text


def matches(pattern: str, text: str, *, fold: bool = False) -> bool:
    """Whether `*` (anything) and `?` (one character) make `pattern` cover `text`."""
    if pattern == "*":
        return True
    if "*" not in pattern and "?" not in pattern and not fold:
        return literal(pattern) == text
    return _compiled(pattern, fold).fullmatch(text) is not None


def literal(pattern: str) -> str:
    """A substituted pattern as plain text."""
    return "".join(_UNMARKED.get(letter, letter) for letter in pattern)


@lru_cache(maxsize=4096)
def _compiled(pattern: str, fold: bool) -> re.Pattern[str]:
    parts = [
        ".*" if letter == "*" else "." if letter == "?" else re.escape(_UNMARKED.get(letter, letter))
        for letter in pattern
    ]
    return re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if fold else 0))


def holds(operator: str, key: str, wanted: Sequence[str], values: Values) -> bool:
    """Whether one condition (`"StringLike": {"s3:prefix": [...]}`) is met by the request's `values`.

    Keys of `values` are lower case. An operator that isn't known is never met.
    """
    quantifier, _, name = operator.rpartition(":")
    found = values.get(key.lower())
    if name == "Null":
        return all((found is None) == (value.lower() == "true") for value in wanted)
    is_optional = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    test = _TESTS.get(name)
    if test is None:
        return False
    is_negated = name in _NEGATED
    if not found:
        return is_optional or is_negated or quantifier == "ForAllValues"
    patterns = [text for value in wanted if (text := substitute(value, values)) is not None]

    def is_met(value: str) -> bool:
        return any(test(pattern, value) for pattern in patterns) != is_negated

    if quantifier == "ForAllValues":
        return all(is_met(value) for value in found)
    if quantifier == "ForAnyValue" or not is_negated:
        return any(is_met(value) for value in found)
    return all(is_met(value) for value in found)


def _number(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def test(pattern: str, value: str) -> bool:
        try:
            return compare(float(value), float(pattern))
        except ValueError:
            return False

    return test


def _date(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def test(pattern: str, value: str) -> bool:
        try:
            return compare(_epoch_s(value), _epoch_s(pattern))
        except ValueError:
            return False

    return test


def _epoch_s(text: str) -> float:
    if text.isdigit():
        return float(text)
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _in_network(pattern: str, value: str) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return False


def arn_matches(pattern: str, value: str) -> bool:
    """Each of the six parts is matched on its own, so `*` doesn't reach over a colon."""
    patterns, parts = pattern.split(":", 5), value.split(":", 5)
    if len(patterns) != 6 or len(parts) != 6:
        return pattern == "*" or matches(pattern, value)
    return all(matches(part_pattern, part) for part_pattern, part in zip(patterns, parts, strict=True))


def _equals(pattern: str, value: str) -> bool:
    return literal(pattern) == value


def _equals_folded(pattern: str, value: str) -> bool:
    return literal(pattern).lower() == value.lower()


_TESTS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": _equals,
    "StringEqualsIgnoreCase": _equals_folded,
    "StringLike": matches,
    "NumericEquals": _number(lambda a, b: a == b),
    "NumericLessThan": _number(lambda a, b: a < b),
    "NumericLessThanEquals": _number(lambda a, b: a <= b),
    "NumericGreaterThan": _number(lambda a, b: a > b),
    "NumericGreaterThanEquals": _number(lambda a, b: a >= b),
    "DateEquals": _date(lambda a, b: a == b),
    "DateLessThan": _date(lambda a, b: a < b),
    "DateLessThanEquals": _date(lambda a, b: a <= b),
    "DateGreaterThan": _date(lambda a, b: a > b),
    "DateGreaterThanEquals": _date(lambda a, b: a >= b),
    "Bool": _equals_folded,
    "BinaryEquals": _equals,
    "IpAddress": _in_network,
    "ArnEquals": arn_matches,
    "ArnLike": arn_matches,
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}
_TESTS.update({negated: _TESTS[name] for negated, name in _NEGATED.items()})
