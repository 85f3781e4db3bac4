"""Attribute values as DynamoDB's API has them ({"S": "x"}, {"N": "1"}, {"M": {...}}): checked, measured, stored. Pure.

Within, a value is normal: numbers without needless zeros, sets in order without duplicates, binaries as bytes.
Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import orjson

from penstock.engines.expressions import numbers
from penstock.engines.expressions.errors import BadExpression

Value = Mapping[str, Any]
Item = dict[str, Any]
SETS = ("SS", "NS", "BS")
DEPTH_MAX = 31
"""Maps and lists around a value; with the attribute itself that makes AWS's 32 levels."""
_INVALID = "One or more parameter values were invalid: "
_SIZE_BYTES = 4
_PLAIN, _WITH_BINARY = b"0", b"1"


def normal_item(item: Mapping[str, Any]) -> Item:
    """Raises BadExpression for the first value that isn't one."""
    return {name: normal(value) for name, value in item.items()}


def measured(item: Mapping[str, Any], depth: int = 0) -> tuple[Item, int]:
    """`normal_item` and `size_of_item` in one. Raises BadExpression."""
    found: Item = {}
    size = 0
    for name, value in item.items():
        size += len(name) if name.isascii() else len(name.encode())
        content = value.get("S")
        if content is not None and len(value) == 1:
            size += len(content) if content.isascii() else len(content.encode())
            found[name] = value
        else:
            found[name], inner_size = _measured(value, depth)
            size += inner_size
    return found, size


def _measured(value: Value, depth: int) -> tuple[Value, int]:
    if len(value) != 1:
        raise _not_one(value)
    for kind, content in value.items():
        if kind == "N":
            shown = numbers.normal(content)
            return (value if shown is content else {"N": shown}), numbers.size_of(shown)
        if kind == "M" and depth < DEPTH_MAX:
            inner, size = measured(content, depth + 1)
            return {"M": inner}, size + len(inner) + 3
        if kind == "L" and depth < DEPTH_MAX:
            members, size = [], 3 + len(content)
            for one in content:
                member, member_size = _measured(one, depth + 1)
                members.append(member)
                size += member_size
            return {"L": members}, size
        value = normal(value, depth)
        return value, _size(kind, value[kind])
    raise _not_one(value)


def _not_one(value: Value) -> BadExpression:
    told = "is empty" if not value else "has more than one datatypes set"
    return BadExpression(f"Supplied AttributeValue {told}, must contain exactly one of the supported datatypes")


def normal(value: Value, depth: int = 0) -> Value:
    """The value as it is kept. Raises BadExpression."""
    if len(value) != 1:
        raise _not_one(value)
    [(kind, content)] = value.items()
    if kind == "S" or kind == "B" or kind == "BOOL":
        return value
    if kind == "N":
        shown = numbers.normal(content)
        return value if shown is content else {"N": shown}
    if kind == "NULL":
        if content is not True:
            raise BadExpression(_INVALID + "Null attribute value types must have the value of true")
        return value
    if depth >= DEPTH_MAX:
        raise BadExpression(
            "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported "
            "limit"
        )
    if kind == "M":
        return {"M": {name: normal(inner, depth + 1) for name, inner in content.items()}}
    if kind == "L":
        return {"L": [normal(inner, depth + 1) for inner in content]}
    return {kind: _SET_CHECKS[kind](content)}


def _strings(content: list[str]) -> list[str]:
    if not content:
        raise BadExpression(_INVALID + "An string set  may not be empty")
    if len(set(content)) != len(content):
        raise BadExpression(f"{_INVALID}Input collection [{', '.join(content)}] contains duplicates.")
    return sorted(content)


def _numbers(content: list[str]) -> list[str]:
    if not content:
        raise BadExpression(_INVALID + "An number set  may not be empty")
    shown = [numbers.normal(one) for one in content]
    if len(set(shown)) != len(shown):
        raise BadExpression("Input collection contains duplicates")
    return sorted(shown, key=numbers.key_of)


def _binaries(content: list[bytes]) -> list[bytes]:
    if not content:
        raise BadExpression(_INVALID + "Binary sets should not be empty")
    if len(set(content)) != len(content):
        shown = ", ".join(base64.b64encode(one).decode() for one in content)
        raise BadExpression(f"{_INVALID}Input collection [{shown}]of type BS contains duplicates.")
    return sorted(content)


_SET_CHECKS: Mapping[str, Callable[[list[Any]], list[Any]]] = {"SS": _strings, "NS": _numbers, "BS": _binaries}


def depth_of(value: Value) -> int:
    """Levels of maps and lists within a value; a scalar has none."""
    [(kind, content)] = value.items()
    if kind not in ("M", "L"):
        return 0
    return 1 + max((depth_of(inner) for inner in (content.values() if kind == "M" else content)), default=0)


def kind_of(value: Value) -> str:
    return next(iter(value))


def ordered_set(kind: str, content: set[Any]) -> list[Any]:
    return sorted(content, key=numbers.key_of if kind == "NS" else None)


def size_of_item(item: Mapping[str, Any]) -> int:
    """Bytes as AWS counts them: names, and values without what JSON needs around them.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    size = 0
    for name, value in item.items():
        size += len(name) if name.isascii() else len(name.encode())
        for kind, content in value.items():
            if kind == "S":
                size += len(content) if content.isascii() else len(content.encode())
            else:
                size += _size(kind, content)
    return size


def _size(kind: str, content: Any) -> int:
    if kind == "N":
        return numbers.size_of(content)
    if kind == "S":
        return len(content) if content.isascii() else len(content.encode())
    if kind == "BOOL" or kind == "NULL":
        return 1
    if kind == "M":
        return 3 + size_of_item(content) + len(content)
    if kind == "L":
        size = 3 + len(content)
        for inner in content:
            for inner_kind, inner_content in inner.items():
                size += _size(inner_kind, inner_content)
        return size
    if kind == "B":
        return len(content)
    return sum([_size(kind[0], one) for one in content])


def encode(item: Mapping[str, Any], size: int) -> bytes:
    """An item and its size for the store."""
    head = size.to_bytes(_SIZE_BYTES, "big")
    try:
        return b"".join((_PLAIN, head, orjson.dumps(item)))
    except TypeError:
        return b"".join((_WITH_BINARY, head, orjson.dumps(item, default=as_json)))


def decode(data: bytes) -> Item:
    found: Item = orjson.loads(memoryview(data)[1 + _SIZE_BYTES :])
    return found if data[:1] == _PLAIN else revived(found)


def stored_size(data: bytes) -> int:
    return int.from_bytes(data[1 : 1 + _SIZE_BYTES], "big")


def as_json(value: object) -> object:
    """What JSON can't hold, as AWS's JSON holds it: orjson's `default`."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return binascii.b2a_base64(value, newline=False).decode()
    raise TypeError(f"{type(value).__name__} is no attribute value")


def revived(item: Mapping[str, Any]) -> Item:
    """An item out of JSON, its binaries as bytes again."""
    return {name: _revive(value) for name, value in item.items()}


def _revive(value: Value) -> Value:
    [(kind, content)] = value.items()
    if kind == "B":
        return {"B": binascii.a2b_base64(content)}
    if kind == "BS":
        return {"BS": [binascii.a2b_base64(one) for one in content]}
    if kind == "M":
        return {"M": revived(content)}
    if kind == "L":
        return {"L": [_revive(inner) for inner in content]}
    return value


def shown(value: Value) -> str:
    """A value as DynamoDB's messages print it: {S:abc}."""
    kind = kind_of(value)
    content = value[kind]
    if kind == "M":
        content = "{" + ", ".join(f"{name}={shown(inner)}" for name, inner in content.items()) + "}"
    elif kind == "L":
        content = "[" + ", ".join(map(shown, content)) + "]"
    elif kind in SETS:
        content = "[" + ", ".join(map(str, content)) + "]"
    elif isinstance(content, bool):
        content = str(content).lower()
    return f"{{{kind}:{content}}}"


def compare(one: Value, other: Value) -> int | None:
    """-1, 0 or 1 for two scalars of one kind, else None."""
    kind = kind_of(one)
    if kind not in ("S", "N", "B") or kind not in other:
        return None
    left, right = one[kind], other[kind]
    if kind == "N":
        left, right = Decimal(left), Decimal(right)
    elif kind == "S":
        left, right = left.encode(), right.encode()
    return int(left > right) - int(left < right)
