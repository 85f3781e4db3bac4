"""Members to JSON values and back, by shape. A plan is compiled once per shape and kept with it.

Inside, blobs are bytes, timestamps datetimes; in JSON base64 and seconds since the epoch.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from penstock.kernel.errors import ServiceError
from penstock.model.shapes import Shape
from penstock.protocol import attribute_values, timestamps

Convert = Callable[[Any], Any]


class Plans:
    """Compiled conversions by shape; a structure that holds itself is met again by its name."""

    def __init__(self, compile_: Callable[[Shape, "Plans"], Convert]) -> None:
        self._compile = compile_
        self._known: dict[tuple[int, str, str | None], Convert] = {}

    def of(self, shape: Shape) -> Convert:
        key = (id(shape.model), shape.name, shape.timestamp_format)
        found = self._known.get(key)
        if found is None:
            self._known[key] = lambda value: self._known[key](value)  # met again while it is being made
            found = self._known[key] = self._compile(shape, self)
        return found


def _serialization_error(message: str) -> ServiceError:
    return ServiceError("SerializationException", message)


_JSON_NAMES = {dict: "START_OBJECT", list: "START_ARRAY", str: "STRING_VALUE", bool: "TRUE_VALUE"}


def _wrong(value: Any, wanted: str) -> ServiceError:
    kind = _JSON_NAMES.get(type(value), "NUMBER_VALUE")
    if kind.startswith("START"):
        return _serialization_error("Start of structure or map found where not expected.")
    return _serialization_error(f"{kind} can not be converted to {wanted}")


def compile_parse(shape: Shape, plans: Plans) -> Convert:
    if shape.is_document:
        return lambda value: value
    if shape.type == "structure":
        by_shape = _parse_structure(shape, plans)
        return attribute_values.parser(by_shape) if attribute_values.is_value(shape) else by_shape
    if shape.type == "list":
        element = plans.of(shape.element)

        def parse_list(value: Any) -> list[Any]:
            if not isinstance(value, list):
                raise _serialization_error("Unexpected field type")
            return [element(item) for item in value]

        return parse_list
    if shape.type == "map":
        inner = plans.of(shape.value)

        def parse_map(value: Any) -> dict[str, Any]:
            if not isinstance(value, dict):
                raise _serialization_error("Unexpected field type")
            return {key: inner(item) for key, item in value.items() if item is not None}

        return parse_map
    return _PARSE_SCALAR.get(shape.type) or (lambda value: _parse_time(value, shape.timestamp_format))


def _parse_structure(shape: Shape, plans: Plans) -> Convert:
    members = {(member.wire_name or name): (name, plans.of(member)) for name, member in shape.members.items()}

    def parse(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _serialization_error("Unexpected field type")
        found = {}
        for key, item in value.items():
            known = members.get(key)
            if known is not None and item is not None:
                found[known[0]] = known[1](item)
        return found

    return parse


def _parse_string(value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(value, "String")
    return value


def _parse_blob(value: Any) -> bytes:
    if not isinstance(value, str):
        raise _wrong(value, "Blob")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        try:
            return base64.b64decode("".join(value.split()), validate=True)  # line breaks are allowed
        except (binascii.Error, ValueError):
            raise _serialization_error("Invalid base64 encoded blob") from None


def _parse_integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(value, "Integer")
    return int(value)


def _parse_float(value: Any) -> float:
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(value, "Double")
    return value


def _parse_boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, "Boolean")
    return value


def _parse_time(value: Any, kind: str | None) -> Any:
    try:
        return timestamps.parse(value, kind or timestamps.EPOCH)
    except (ValueError, TypeError):
        raise _wrong(value, "Date") from None


_PARSE_SCALAR: Mapping[str, Convert] = {
    "string": _parse_string,
    "character": _parse_string,
    "blob": _parse_blob,
    "integer": _parse_integer,
    "long": _parse_integer,
    "float": _parse_float,
    "double": _parse_float,
    "boolean": _parse_boolean,
}


def compile_render(shape: Shape, plans: Plans) -> Convert:
    if shape.is_document or attribute_values.holds_values_only(shape):
        return lambda value: value
    if shape.type == "structure":
        members = {name: ((member.wire_name or name), plans.of(member)) for name, member in shape.members.items()}
        return lambda value: {
            members[name][0]: members[name][1](item)
            for name, item in value.items()
            if item is not None and name in members
        }
    if shape.type == "list":
        element = plans.of(shape.element)
        return lambda value: [element(item) for item in value]
    if shape.type == "map":
        inner = plans.of(shape.value)
        return lambda value: {key: inner(item) for key, item in value.items()}
    if shape.type == "timestamp":
        kind = shape.timestamp_format or timestamps.EPOCH
        return lambda value: timestamps.render(value, kind)
    if shape.type == "blob":
        return lambda value: base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
    return lambda value: value


PARSE = Plans(compile_parse)
"""JSON values to members. Raises SerializationException."""

RENDER = Plans(compile_render)
"""Members to JSON values; what the model doesn't name is left out."""
