"""CBOR as the smithy protocol uses it: text keys, 64-bit numbers, tag 1 for times.

Read: every definite and indefinite length, half to double floats, within a depth. Written: definite lengths only.
Source: https://www.rfc-editor.org/rfc/rfc8949 and https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html
"""

import struct
from datetime import UTC, datetime
from typing import Any

DEPTH_MAX = 64
_UINT, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_EPOCH_TAG = 1
_INDEFINITE = 31
_BREAK = object()
_CONSTANTS = {20: False, 21: True, 22: None, 23: None}
_FLOATS = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}
_LENGTHS = {24: 1, 25: 2, 26: 4, 27: 8}
_DOUBLE = struct.Struct(">d")


class MalformedCbor(ValueError):
    """Not one whole CBOR value."""


def encode(value: Any, *, ticks_per_s: int = 1) -> bytes:
    """One value: None, bool, int (64 bits), float, str, bytes, datetime (UTC), list or dict with text keys.

    A time is a number of seconds; where they have `ticks_per_s`, a whole number of these.
    """
    out = bytearray()
    _write(out, value, ticks_per_s)
    return bytes(out)


def decode(data: bytes, *, ticks_per_s: int = 1) -> Any:
    """The value that `data` is. Raises MalformedCbor for less, for more, and for what nests too deep."""
    reader = _Reader(data, ticks_per_s)
    value = reader.value(0)
    if value is _BREAK or reader.at != len(data):
        raise MalformedCbor("not one whole value")
    return value


def _write(out: bytearray, value: Any, ticks_per_s: int) -> None:
    if isinstance(value, str):
        data = value.encode()
        _write_head(out, _TEXT, len(data))
        out += data
    elif value is None or isinstance(value, bool):
        out.append(_SIMPLE << 5 | (22 if value is None else 20 + value))
    elif isinstance(value, int):
        _write_head(out, *((_UINT, value) if value >= 0 else (_NEGATIVE, -1 - value)))
    elif isinstance(value, float):
        out.append(_SIMPLE << 5 | 27)
        out += _DOUBLE.pack(value)
    elif isinstance(value, dict):
        _write_head(out, _MAP, len(value))
        for key, item in value.items():
            _write(out, key, ticks_per_s)
            _write(out, item, ticks_per_s)
    elif isinstance(value, list | tuple):
        _write_head(out, _ARRAY, len(value))
        for item in value:
            _write(out, item, ticks_per_s)
    elif isinstance(value, bytes | bytearray | memoryview):
        _write_head(out, _BYTES, len(value))
        out += value
    elif isinstance(value, datetime):
        _write_head(out, _TAG, _EPOCH_TAG)
        seconds = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        _write(out, seconds if ticks_per_s == 1 else round(seconds * ticks_per_s), 1)
    else:
        raise TypeError(f"{type(value).__name__} has no form in CBOR")


def _write_head(out: bytearray, major: int, number: int) -> None:
    if number < 24:
        out.append(major << 5 | number)
        return
    info = 24 if number < 1 << 8 else 25 if number < 1 << 16 else 26 if number < 1 << 32 else 27
    out.append(major << 5 | info)
    out += number.to_bytes(_LENGTHS[info], "big")


class _Reader:
    """Walks over one document; a length is believed only as far as there are bytes."""

    def __init__(self, data: bytes, ticks_per_s: int) -> None:
        self._data = data
        self._ticks_per_s = ticks_per_s
        self.at = 0

    def value(self, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise MalformedCbor("nested too deep")
        first = self._take(1)[0]
        major, info = first >> 5, first & 31
        if major == _SIMPLE:
            return self._simple(info)
        number = self._number(info, is_open_ended=_BYTES <= major <= _MAP)
        if major in (_TEXT, _BYTES):
            return self._string(major, number)
        if major == _ARRAY:
            return self._items(number, depth)
        if major == _MAP:
            return self._map(number, depth)
        assert number is not None
        if major == _TAG:
            return self._tagged(number, depth)
        return number if major == _UINT else -1 - number

    def _take(self, size: int) -> bytes:
        found = self._data[self.at : self.at + size]
        if len(found) != size:
            raise MalformedCbor("cut short")
        self.at += size
        return found

    def _number(self, info: int, *, is_open_ended: bool) -> int | None:
        """What follows the first byte; None for an indefinite length."""
        if info < 24:
            return info
        if info == _INDEFINITE and is_open_ended:
            return None
        if info not in _LENGTHS:
            raise MalformedCbor("reserved length")
        return int.from_bytes(self._take(_LENGTHS[info]), "big")

    def _simple(self, info: int) -> Any:
        if info in _FLOATS:
            return _FLOATS[info].unpack(self._take(_FLOATS[info].size))[0]
        if info == _INDEFINITE:
            return _BREAK
        if info not in _CONSTANTS:
            raise MalformedCbor("unknown simple value")
        return _CONSTANTS[info]

    def _string(self, major: int, size: int | None) -> str | bytes:
        data = self._take(size) if size is not None else self._chunks(major)
        try:
            return data.decode() if major == _TEXT else data
        except UnicodeDecodeError:
            raise MalformedCbor("text that isn't UTF-8") from None

    def _chunks(self, major: int) -> bytes:
        chunks = []
        while (first := self._take(1)[0]) != 0xFF:
            if first >> 5 != major:
                raise MalformedCbor("a chunk of another kind")
            size = self._number(first & 31, is_open_ended=False)
            assert size is not None
            chunks.append(self._take(size))
        return b"".join(chunks)

    def _items(self, count: int | None, depth: int) -> list[Any]:
        found: list[Any] = []
        while count is None or len(found) < count:
            item = self.value(depth + 1)
            if item is _BREAK:
                if count is None:
                    break
                raise MalformedCbor("a break in a list of known length")
            found.append(item)
        return found

    def _map(self, count: int | None, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        pairs = 0
        while count is None or pairs < count:
            key = self.value(depth + 1)
            if key is _BREAK and count is None:
                break
            item = self.value(depth + 1)
            if not isinstance(key, str) or item is _BREAK:
                raise MalformedCbor("not a map with text keys")
            found[key] = item
            pairs += 1
        return found

    def _tagged(self, tag: int, depth: int) -> Any:
        value = self.value(depth + 1)
        if value is _BREAK:
            raise MalformedCbor("a tag of nothing")
        if tag != _EPOCH_TAG:
            return value
        try:
            return datetime.fromtimestamp(value / self._ticks_per_s, UTC)
        except (TypeError, ValueError, OverflowError, OSError):
            raise MalformedCbor("not a time") from None
