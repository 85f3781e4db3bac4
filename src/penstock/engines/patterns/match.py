"""EventBridge event patterns, as event source mapping filters and SNS filter policies use them too. Pure.

`compile_pattern` refuses what AWS refuses; `matches` then never fails. A field of a pattern holds a list of
alternatives; an array in the event matches if any of its elements does; `$or` holds alternatives of patterns.
Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

Test = Callable[[Any], bool]
"""Says whether a leaf of the event (`_ABSENT` where there is none) matches."""

_ABSENT = object()
_NUMBER_MAX = 5_000_000_000  # "-5.0e9 to 5.0e9", on the page above
_DEPTH_MAX = 100
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": lambda value, bound: value == bound,
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
}


class InvalidPattern(ValueError):
    """The pattern isn't one that AWS takes; the message says why."""


class Pattern:
    """A compiled pattern: every alternative of fields that must all match."""

    __slots__ = ("_alternatives", "_fields", "_leaves")

    def __init__(
        self, fields: dict[str, "Pattern"], leaves: dict[str, list[Test]], alternatives: list["Pattern"]
    ) -> None:
        self._fields = fields
        self._leaves = leaves
        self._alternatives = alternatives

    def matches(self, event: Any) -> bool:
        """Whether `event`, parsed JSON, matches."""
        if isinstance(event, list):
            return any(self.matches(element) for element in event)
        members: Mapping[str, Any] = event if isinstance(event, dict) else {}
        return (
            all(_leaf_matches(tests, members.get(name, _ABSENT)) for name, tests in self._leaves.items())
            and all(inner.matches(members.get(name, _ABSENT)) for name, inner in self._fields.items())
            and (not self._alternatives or any(inner.matches(event) for inner in self._alternatives))
        )


def compile_pattern(text: str | bytes) -> Pattern:
    """Raises InvalidPattern for what is no pattern: not JSON, an empty list, a scalar, an unknown operator."""
    try:
        source = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidPattern(f"Event pattern is not valid. Reason: {error}") from error
    return pattern_of(source)


def pattern_of(source: Any, *, depth: int = 0) -> Pattern:
    """The same, from parsed JSON."""
    if not isinstance(source, dict):
        raise InvalidPattern("Event pattern is not valid. Reason: Filter is not an object")
    if not source:
        raise InvalidPattern("Event pattern is not valid. Reason: Empty objects are not allowed")
    if depth > _DEPTH_MAX:
        raise InvalidPattern("Event pattern is not valid. Reason: Pattern is nested too deep")
    fields: dict[str, Pattern] = {}
    leaves: dict[str, list[Test]] = {}
    alternatives: list[Pattern] = []
    for name, value in source.items():
        if name == "$or" and isinstance(value, list) and len(value) > 1:
            alternatives = [pattern_of(inner, depth=depth + 1) for inner in value]
        elif isinstance(value, dict):
            fields[name] = pattern_of(value, depth=depth + 1)
        elif isinstance(value, list) and value:
            leaves[name] = [_test_of(alternative) for alternative in value]
        else:
            raise InvalidPattern(f'Event pattern is not valid. Reason: "{name}" must be an object or an array')
    return Pattern(fields, leaves, alternatives)


def _leaf_matches(tests: list[Test], value: Any) -> bool:
    if isinstance(value, list):
        elements = value or [_ABSENT]
        return any(_leaf_matches(tests, element) for element in elements)
    return any(test(value) for test in tests)


def _test_of(alternative: Any) -> Test:
    if isinstance(alternative, dict):
        if len(alternative) != 1:
            raise InvalidPattern("Event pattern is not valid. Reason: Only one key allowed in match expression")
        name, argument = next(iter(alternative.items()))
        if name not in _OPERATORS:
            raise InvalidPattern(f"Event pattern is not valid. Reason: Unrecognized match type {name}")
        return _OPERATORS[name](argument)
    if isinstance(alternative, list):
        raise InvalidPattern(
            "Event pattern is not valid. Reason: Match value must be String, number, true, false, or null"
        )
    return _equals(alternative)


def _equals(expected: Any) -> Test:
    if expected is None or isinstance(expected, bool):
        return lambda value: value is expected
    if isinstance(expected, str):
        return lambda value: isinstance(value, str) and value == expected
    return lambda value: _is_number(value) and value == expected


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _on_text(argument: Any, name: str, test: Callable[[str, str], bool]) -> Test:
    """`{name: "text"}`, or `{name: {"equals-ignore-case": "text"}}`."""
    if isinstance(argument, dict) and list(argument) == ["equals-ignore-case"]:
        folded = _text(argument["equals-ignore-case"], name).casefold()
        return lambda value: isinstance(value, str) and test(value.casefold(), folded)
    expected = _text(argument, name)
    return lambda value: isinstance(value, str) and test(value, expected)


def _text(argument: Any, name: str) -> str:
    if not isinstance(argument, str):
        raise InvalidPattern(f"Event pattern is not valid. Reason: {name} match pattern must be a string")
    return argument


def _prefix(argument: Any) -> Test:
    return _on_text(argument, "prefix", str.startswith)


def _suffix(argument: Any) -> Test:
    return _on_text(argument, "suffix", str.endswith)


def _equals_ignore_case(argument: Any) -> Test:
    folded = _text(argument, "equals-ignore-case").casefold()
    return lambda value: isinstance(value, str) and value.casefold() == folded


def _exists(argument: Any) -> Test:
    if not isinstance(argument, bool):
        raise InvalidPattern("Event pattern is not valid. Reason: exists match pattern must be either true or false.")
    return lambda value: (value is not _ABSENT and not isinstance(value, dict)) == argument


def _wildcard(argument: Any) -> Test:
    text = _text(argument, "wildcard")
    if "**" in text:
        raise InvalidPattern("Event pattern is not valid. Reason: Consecutive wildcard characters")
    parts = re.split(r"(\\[*\\]|\*)", text)
    expression = re.compile(
        "".join(".*" if part == "*" else re.escape(part[-1] if part in (r"\*", r"\\") else part) for part in parts),
        re.DOTALL,
    )
    return lambda value: isinstance(value, str) and expression.fullmatch(value) is not None


def _cidr(argument: Any) -> Test:
    try:
        network = ipaddress.ip_network(_text(argument, "cidr"), strict=False)
    except ValueError as error:
        raise InvalidPattern(f"Event pattern is not valid. Reason: Malformed CIDR, {error}") from error

    def test(value: Any) -> bool:
        try:
            return isinstance(value, str) and ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return test


def _numeric(argument: Any) -> Test:
    if not isinstance(argument, list) or len(argument) not in (2, 4):
        raise InvalidPattern("Event pattern is not valid. Reason: Invalid member in numeric match")
    bounds: list[tuple[Callable[[float, float], bool], float]] = []
    for symbol, bound in zip(argument[::2], argument[1::2], strict=True):
        if symbol not in _COMPARISONS:
            raise InvalidPattern(f"Event pattern is not valid. Reason: Unrecognized numeric range operator: {symbol}")
        if not _is_number(bound) or abs(bound) > _NUMBER_MAX:
            raise InvalidPattern("Event pattern is not valid. Reason: Value of numeric range must be a number")
        bounds.append((_COMPARISONS[symbol], bound))
    return lambda value: _is_number(value) and all(compare(value, bound) for compare, bound in bounds)


def _anything_but(argument: Any) -> Test:
    """Present, and none of these: values, or one of the text operators with a value or a list of them."""
    if isinstance(argument, dict):
        if len(argument) != 1 or next(iter(argument)) not in _TEXT_OPERATORS:
            raise InvalidPattern("Event pattern is not valid. Reason: Unsupported anything-but pattern")
        name, inner = next(iter(argument.items()))
        refused = [_TEXT_OPERATORS[name](one) for one in (inner if isinstance(inner, list) else [inner])]
    else:
        values = argument if isinstance(argument, list) else [argument]
        if any(isinstance(one, dict | list) for one in values):
            raise InvalidPattern(
                "Event pattern is not valid. Reason: Inside anything but list, only values are allowed"
            )
        refused = [_equals(one) for one in values]
    if not refused:
        raise InvalidPattern("Event pattern is not valid. Reason: Empty arrays are not allowed")
    return lambda value: (
        value is not _ABSENT and not isinstance(value, dict) and not any(test(value) for test in refused)
    )


_TEXT_OPERATORS: dict[str, Callable[[Any], Test]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _equals_ignore_case,
    "wildcard": _wildcard,
}
_OPERATORS: dict[str, Callable[[Any], Test]] = {
    **_TEXT_OPERATORS,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "exists": _exists,
    "cidr": _cidr,
}
