"""Checks members against the constraints that a model declares, in AWS's own words.

All errors of a request are told at once, ten at most. Services word and code it in a few ways (`Dialect`); S3 checks
in prose only, so its room does that. A check is compiled once per shape.
Source of the wording: https://docs.aws.amazon.com/general/latest/gr/api-retries.html and the answers quoted in
AWS's own guides ("1 validation error detected: Value '...' at '...' failed to satisfy constraint: ...").
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from penstock.kernel.errors import ServiceError
from penstock.model.loader import service_model
from penstock.model.shapes import OperationModel, Shape

ERRORS_MAX = 10
Check = Callable[[Any, str, list[str]], None]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a service says that members are wrong."""

    code: str
    wording: Literal["constraints", "missing parameter", "s3"] = "constraints"


_CORAL = Dialect("ValidationException")
_QUERY = Dialect("ValidationError")
_DIALECTS: Mapping[str, Dialect] = {
    "s3": Dialect("", "s3"),
    "sqs": Dialect("MissingParameter", "missing parameter"),
    "sns": Dialect("InvalidParameter"),
    "logs": Dialect("InvalidParameterException"),
    "iam": _QUERY,
    "sts": _QUERY,
    "cloudformation": _QUERY,
}
# Services whose lists and maps refuse null, and say so among an element's constraints.
# Source: https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html (answers to wrong Architectures)
_NULL_REFUSING = frozenset({"lambda"})
_NOT_NULL = "Member must not be null"


def validate(service: str, operation: str, members: Mapping[str, Any]) -> None:
    """Raises the service's validation error for members that break the model's constraints."""
    dialect = _DIALECTS.get(service, _CORAL)
    declared = service_model(service).operations.get(operation)
    if declared is None or declared.input is None:
        return
    if dialect.wording == "s3":
        _check_s3(declared.input, members)
        return
    if dialect.wording == "missing parameter":
        _check_presence(declared.input, members, dialect)
        return
    errors: list[str] = []
    _input_check(declared)(members, "", errors)
    if errors:
        raise ServiceError(dialect.code, _sentence(errors))


def _sentence(errors: Sequence[str]) -> str:
    shown = errors[:ERRORS_MAX]
    noun = "validation error" if len(shown) == 1 else "validation errors"
    return f"{len(shown)} {noun} detected: {'; '.join(shown)}"


def _check_presence(shape: Shape, members: Mapping[str, Any], dialect: Dialect) -> None:
    for name in shape.required:
        if members.get(name) is None:
            raise ServiceError(dialect.code, f"The request must contain the parameter {name}.")


def _check_s3(shape: Shape, members: Mapping[str, Any]) -> None:
    """S3 says nothing of members: what is missing makes it another request, or one without a header or a body.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    """
    for name in shape.required:
        if members.get(name) is not None:
            continue
        member = shape.members[name]
        if member.location == "header":
            text = f"Missing required header for this request: {member.wire_name}"
            raise ServiceError("InvalidRequest", text)
        if member.location is None:
            raise ServiceError("MissingRequestBodyError", "Request body is empty.")
        text = "The specified method is not allowed against this resource."
        raise ServiceError("MethodNotAllowed", text, status=405)


@cache
def _input_check(operation: OperationModel) -> Check:
    assert operation.input is not None
    return _check_of(operation.input) or (lambda value, path, errors: None)


def _check_of(shape: Shape) -> Check | None:
    """The check of a value and all within it; None where nothing is constrained."""
    if not _is_constrained(shape, set()):
        return None
    if shape.type == "structure":
        return _structure_check(shape)
    own = _constraints(shape)
    is_sensitive = bool(shape.traits.get("sensitive"))
    inner = _list_check(shape) if shape.type == "list" else _map_check(shape) if shape.type == "map" else None

    def check(value: Any, path: str, errors: list[str]) -> None:
        for failed in own(value) if own else ():
            shown = "" if is_sensitive else f" {_shown(value)}"
            errors.append(f"Value{shown} at '{path}' failed to satisfy constraint: {failed}")
        if inner:
            inner(value, path, errors)

    return check


def _is_constrained(shape: Shape, seen: set[str]) -> bool:
    """Whether anything within can be wrong; a shape that is met again says nothing new."""
    if shape.is_streaming or shape.is_event_stream or shape.is_document:
        return False
    if _rules(shape):
        return True
    if shape.name in seen:
        return False
    seen.add(shape.name)
    if shape.type == "structure":
        return bool(shape.required) or any(_is_constrained(member, seen) for member in shape.members.values())
    if shape.type == "list":
        return _is_constrained(shape.element, seen)
    return shape.type == "map" and (_is_constrained(shape.key, seen) or _is_constrained(shape.value, seen))


def _structure_check(shape: Shape) -> Check:
    """Its members' checks are made when the first value comes: a structure may hold itself."""
    plan: list[tuple[str, str, bool, Check | None]] = []

    def check(value: Any, path: str, errors: list[str]) -> None:
        if not isinstance(value, Mapping):
            return
        for name, shown_name, is_required, inner in plan or fill():
            member = value.get(name)
            where = f"{path}.{shown_name}" if path else shown_name
            if member is None:
                if is_required:
                    errors.append(f"Value null at '{where}' failed to satisfy constraint: Member must not be null")
            elif inner:
                inner(member, where, errors)

    def fill() -> list[tuple[str, str, bool, Check | None]]:
        for name, member in shape.members.items():
            inner = _check_of(member)
            if inner or name in shape.required:
                plan.append((name, name[0].lower() + name[1:], name in shape.required, inner))
        return plan

    return check


def _list_check(shape: Shape) -> Check | None:
    """A list of plain values fails as a whole; one of structures where its element does."""
    element = shape.element
    if element.type in ("structure", "list", "map"):
        inner = _check_of(element)
        return _each(inner) if inner else None
    constraints = _constraints(element)
    if constraints is None:
        return None

    def check(value: Any, path: str, errors: list[str]) -> None:
        if any(constraints(item) for item in value):
            told = f"Member must satisfy constraint: [{', '.join(_all_constraints(element))}]"
            errors.append(f"Value {_shown(value)} at '{path}' failed to satisfy constraint: {told}")

    return check


def _each(inner: Check) -> Check:
    def check(value: Any, path: str, errors: list[str]) -> None:
        for index, item in enumerate(value, 1):
            inner(item, f"{path}.{index}.member", errors)

    return check


def _map_check(shape: Shape) -> Check | None:
    on_keys = _constraints(shape.key)
    is_plain = shape.value.type not in ("structure", "list", "map")
    on_plain = _constraints(shape.value) if is_plain else None
    inner = None if is_plain else _check_of(shape.value)
    if on_keys is None and on_plain is None and inner is None:
        return None

    def check(value: Any, path: str, errors: list[str]) -> None:
        failed = []
        if on_keys and any(on_keys(key) for key in value):
            failed.append(f"Map keys must satisfy constraint: [{', '.join(_all_constraints(shape.key))}]")
        if on_plain and any(on_plain(item) for item in value.values()):
            failed.append(f"Map value must satisfy constraint: [{', '.join(_all_constraints(shape.value))}]")
        for told in failed:
            errors.append(f"Value {_shown(value)} at '{path}' failed to satisfy constraint: {told}")
        if inner:
            for key, item in value.items():
                inner(item, f"{path}.{key}.member", errors)

    return check


Constraint = tuple[str, Callable[[Any], bool]]


def _constraints(shape: Shape) -> Callable[[Any], list[str]] | None:
    """What a plain value, or the size of a list or map, breaks; None where nothing is declared."""
    rules = _rules(shape)
    if not rules:
        return None
    return lambda value: [told for told, holds in rules if not holds(value)]


def _all_constraints(shape: Shape) -> list[str]:
    told = [told for told, _ in _rules(shape)]
    return [*told, _NOT_NULL] if shape.model.name in _NULL_REFUSING else told


def _rules(shape: Shape) -> list[Constraint]:
    traits, rules = shape.traits, list[Constraint]()
    lowest, highest = traits.get("min"), traits.get("max")
    if shape.type in ("string", "blob", "list", "map"):
        if highest is not None:
            rules.append(
                (f"Member must have length less than or equal to {highest}", lambda value: _size(value) <= highest)
            )
        if lowest:
            rules.append(
                (f"Member must have length greater than or equal to {lowest}", lambda value: _size(value) >= lowest)
            )
    elif shape.type in ("integer", "long", "float", "double"):
        if highest is not None:
            rules.append((f"Member must have value less than or equal to {highest}", lambda value: value <= highest))
        if lowest is not None:
            rules.append((f"Member must have value greater than or equal to {lowest}", lambda value: value >= lowest))
    if shape.type == "string" and shape.enum:
        allowed = frozenset(shape.enum)
        rules.append((f"Member must satisfy enum value set: [{', '.join(shape.enum)}]", lambda value: value in allowed))
    if shape.type == "string" and "pattern" in traits:
        pattern = compile_pattern(traits["pattern"])
        if pattern is not None:
            told = f"Member must satisfy regular expression pattern: {traits['pattern']}"
            rules.append((told, lambda value: pattern.fullmatch(value) is not None))
    return rules


def _size(value: Any) -> int:
    try:
        return len(value)
    except TypeError:
        return 0


def _shown(value: Any) -> str:
    """A value as Java prints it, in quotes."""
    return f"'{_printed(value)}'"


def _printed(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_printed, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}={_printed(item)}' for key, item in value.items())}}}"
    if isinstance(value, bytes):
        return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    return str(value)


@cache
def compile_pattern(pattern: str) -> re.Pattern[str] | None:
    """A model's (Java) pattern as Python's; None for one that Python can't say."""
    translated = re.sub(r"\\p\{(\w+)\}", lambda match: _category(match[1]), pattern)
    translated = translated.replace(r"\p{", r"\\p{").replace("\\x{10FFFF}", "\U0010ffff").replace(r"\z", r"\Z")
    try:
        return re.compile(translated)
    except re.error:
        return None


_POSIX = {"Alpha": "a-zA-Z", "Digit": "0-9", "Alnum": "a-zA-Z0-9", "Graph": "!-~", "Print": " -~", "ASCII": "\0-\x7f"}
_BASIC_PLANE = 0x10000


@cache
def _category(name: str) -> str:
    """The ranges of a Unicode category (`L`, `Nd`) for use within a character class, in the basic plane."""
    if name in _POSIX:
        return _POSIX[name]
    name = name.removeprefix("Is")
    ranges: list[list[int]] = []
    for code in range(_BASIC_PLANE):
        if unicodedata.category(chr(code)).startswith(name):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"\\u{first:04x}-\\u{last:04x}" for first, last in ranges)
