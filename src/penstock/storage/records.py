"""Dataclasses as bytes: JSON with a schema version, upgraded when read.

    @dataclass
    class Stream: ...
    STREAM = Record(Stream, version=2, upgrades={1: add_retention})
    tx.put(key, STREAM.dump(stream)); stream = STREAM.load(tx.get(key))

A member that the stored bytes lack takes its default, so adding one with a default needs no new version; removing
one needs none either. Members are str, int (64 bits), float, bool, None, bytes (base64), enums, Literal, nested
dataclasses, lists, tuples, sets, dicts with str keys, unions of one of these with None, and `object`/Any (JSON as
it is).
"""

import base64
import binascii
import dataclasses
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from enum import Enum
from typing import Any, Generic, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import orjson

from penstock.kernel.errors import Bug

R = TypeVar("R")
Upgrade = Callable[[dict[str, Any]], dict[str, Any]]
_Convert = Callable[[Any], Any]
_PLAIN = (str, int, float, bool, type(None), object)
_VERSION = "_v"


class Record(Generic[R]):
    """How one dataclass is stored. `upgrades[n]` makes a dict of version n + 1 from one of version n."""

    def __init__(self, cls: type[R], *, version: int = 1, upgrades: Mapping[int, Upgrade] | None = None) -> None:
        self._cls = cls
        self._version = version
        self._upgrades = dict(upgrades or {})
        if sorted(self._upgrades) != list(range(version - len(self._upgrades), version)):
            raise Bug(f"{cls.__name__}: upgrades must lead up to version {version} without a gap")
        self._read: Callable[[dict[str, Any]], R] | None = None

    def dump(self, value: R) -> bytes:
        return b'{"_v":%d,"r":' % self._version + orjson.dumps(value, default=_encode, option=_OPTIONS) + b"}"

    def load(self, data: bytes) -> R:
        """Raises Bug for bytes that this record never wrote, or that a newer version wrote."""
        try:
            stored = orjson.loads(data)
            version, members = stored[_VERSION], stored["r"]
        except (ValueError, KeyError, TypeError) as error:
            raise Bug(f"not a stored {self._cls.__name__}: {data[:80]!r}") from error
        while version != self._version:
            upgrade = self._upgrades.get(version)
            if upgrade is None:
                raise Bug(f"a {self._cls.__name__} of version {version}; this code reads {self._version}")
            members, version = upgrade(members), version + 1
        if self._read is None:
            self._read = _reader(self._cls)
        return self._read(members)

    def find(self, data: bytes | None) -> R | None:
        """`load`, for what may not be there."""
        return None if data is None else self.load(data)


def members_of(data: bytes) -> dict[str, Any]:
    """What is stored, unconverted and not upgraded: for a look at a few members of many records."""
    members: dict[str, Any] = orjson.loads(data)["r"]
    return members


_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME


def _encode(value: object) -> object:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return binascii.b2a_base64(value, newline=False).decode()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} can't be stored")


def _reader(cls: type[Any]) -> Callable[[dict[str, Any]], Any]:
    hints = get_type_hints(cls)
    fields = [field for field in dataclasses.fields(cls) if field.init]
    names = frozenset(field.name for field in fields)
    converters: list[tuple[str, _Convert]] = []
    for field in fields:
        convert = _converter(hints[field.name])
        if convert is not None:
            converters.append((field.name, convert))
    required = frozenset(
        field.name for field in fields if field.default is MISSING and field.default_factory is MISSING
    )

    def read(members: dict[str, Any]) -> Any:
        if not names.issuperset(members):
            members = {name: value for name, value in members.items() if name in names}
        for name, convert in converters:
            value = members.get(name)
            if value is not None:
                members[name] = convert(value)
        try:
            return cls(**members)
        except TypeError as error:
            missing = ", ".join(sorted(required - set(members)))
            raise Bug(f"a stored {cls.__name__} lacks {missing or error}") from error

    return read


def _converter(hint: Any) -> _Convert | None:
    """What turns parsed JSON into `hint`; None where it is that already."""
    if hint in _PLAIN or hint is Any:
        return None
    if hint is bytes:
        return base64.b64decode
    if isinstance(hint, type) and issubclass(hint, Enum):
        return cast(_Convert, hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _Nested(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return None
    if origin in (Union, types.UnionType):
        return _union_converter(hint, arguments)
    if origin is tuple:
        return _tuple_converter(arguments)
    if origin in (list, set, frozenset):
        return _list_converter(origin, _converter(arguments[0]))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        inner = _converter(arguments[1])
        return None if inner is None else lambda pairs: {name: inner(value) for name, value in pairs.items()}
    raise Bug(f"a member of type {hint} can't be stored")


class _Nested:
    """The reader of a nested dataclass, made at first use so that a dataclass may hold itself."""

    def __init__(self, cls: type[Any]) -> None:
        self._cls = cls
        self._read: _Convert | None = None

    def __call__(self, members: dict[str, Any]) -> Any:
        if self._read is None:
            self._read = _reader(self._cls)
        return self._read(members)


def _union_converter(hint: Any, arguments: tuple[Any, ...]) -> _Convert | None:
    others = [argument for argument in arguments if argument is not type(None)]
    converters = [_converter(argument) for argument in others]
    if all(convert is None for convert in converters):
        return None
    if len(others) > 1:
        raise Bug(f"a stored member is of one type or None, not {hint}")
    return converters[0]


def _list_converter(kind: type[Any], inner: _Convert | None) -> _Convert | None:
    if inner is None:
        return None if kind is list else kind
    return lambda values: kind([inner(value) for value in values])


def _tuple_converter(arguments: tuple[Any, ...]) -> _Convert:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        inner = _converter(arguments[0])
        return tuple if inner is None else lambda values: tuple(inner(value) for value in values)
    converters = [_converter(argument) for argument in arguments]
    return lambda values: tuple(
        value if convert is None or value is None else convert(value)
        for convert, value in zip(converters, values, strict=True)
    )
