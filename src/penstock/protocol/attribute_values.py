"""DynamoDB's values in JSON: by far the most of what its requests and answers hold, so they have a way of their own.

A value that is right is parsed to itself, only its binaries change; one that a room answers is rendered as it is, and
binaries are left to the JSON writer (`as_json`).
Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html
"""

import binascii
from collections.abc import Callable
from typing import Any

from penstock.model.shapes import Shape

_SERVICES = ("dynamodb", "dynamodbstreams")
_SETS = ("SS", "NS")


def is_value(shape: Shape) -> bool:
    """Whether a shape is the value that holds values."""
    return shape.name == "AttributeValue" and shape.model.name in _SERVICES


def holds_values_only(shape: Shape) -> bool:
    """A value, a map of them (an item), or a list of such maps."""
    if shape.type == "list":
        return holds_values_only(shape.element)
    return is_value(shape.value) if shape.type == "map" else is_value(shape)


def parser(slow: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A parser of values. `slow` is the one by shape, which says what is wrong with a wrong one."""

    def parse(value: Any) -> Any:
        if type(value) is not dict or len(value) != 1:
            return slow(value)
        for kind, content in value.items():
            if kind == "S" or kind == "N":
                return value if type(content) is str else slow(value)
            if kind == "BOOL" or kind == "NULL":
                return value if type(content) is bool else slow(value)
            if kind == "M" and type(content) is dict:
                return {"M": {name: parse(inner) for name, inner in content.items() if inner is not None}}
            if kind == "L" and type(content) is list:
                return {"L": [parse(inner) for inner in content]}
            if kind in _SETS and type(content) is list and all(type(one) is str for one in content):
                return value
        return slow(value)

    return parse


def as_json(value: object) -> object:
    """orjson's `default`: what rooms answer within values."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return binascii.b2a_base64(value, newline=False).decode()
    return str(value)
