"""Keys as bytes: FoundationDB's tuple layer, whose byte order is the tuples' order.

None < bytes < str < nested tuple < int < bool. Strings sort by their UTF-8 bytes, so by code point.
Source: https://github.com/apple/foundationdb/blob/main/design/tuple.md
"""

from penstock.storage.transactions import Key

_NULL, _BYTES, _STR, _NESTED, _ZERO, _FALSE, _TRUE = 0x00, 0x01, 0x02, 0x05, 0x14, 0x26, 0x27
_NEGATIVE_LONG, _POSITIVE_LONG = 0x0B, 0x1D
_LENGTH_MAX = 255
_TEXTS: dict[str, bytes] = {}
_HEADS: dict[Key, bytes] = {}
_TEXTS_MAX, _TEXT_LENGTH_MAX, _HEAD_PARTS_MIN = 4096, 80, 4
_HEADS_OF_INTS = [bytes((_ZERO + size,)) for size in range(9)]
_SMALL_INTS = [bytes((_ZERO,))] + [bytes((_ZERO + 1, number)) for number in range(1, 256)]


def pack(key: Key) -> bytes:
    """TypeError for a part that no key may hold; OverflowError for an int of more than 255 bytes."""
    head = _HEADS.get(key[:-2])
    if head is None:
        return _pack_whole(key)
    before, last = key[-2:]
    return b"".join(
        (
            head,
            _TEXTS.get(before) or _pack_text(before) if type(before) is str else _pack_other(before),
            _TEXTS.get(last) or _pack_text(last) if type(last) is str else _pack_other(last),
        )
    )


def _pack_other(part: object) -> bytes:
    if type(part) is int:
        return _SMALL_INTS[part] if 0 <= part < 256 else _pack_int(part)
    rare = bytearray()
    _pack_part(rare, part)
    return bytes(rare)


def _pack_whole(key: Key) -> bytes:
    """All but the last two parts are remembered where they are texts: most keys of a room begin alike."""
    head = key[:-2]
    if len(head) >= _HEAD_PARTS_MIN and all(type(part) is str and len(part) <= _TEXT_LENGTH_MAX for part in head):
        if len(_HEADS) >= _TEXTS_MAX:
            _HEADS.clear()
        _HEADS[head] = _pack_each(head)
    return _pack_each(key)


def _pack_each(key: Key) -> bytes:
    out: list[bytes] = []
    for part in key:
        if type(part) is str:
            out.append(_TEXTS.get(part) or _pack_text(part))
        else:
            out.append(_pack_other(part))
    return b"".join(out)


def _pack_text(part: str) -> bytes:
    """Remembered if it is short: the same names come again and again."""
    encoded = part.encode()
    packed = b"\x02" + (encoded if b"\0" not in encoded else encoded.replace(b"\0", b"\0\xff")) + b"\0"
    if len(part) <= _TEXT_LENGTH_MAX:
        if len(_TEXTS) >= _TEXTS_MAX:
            _TEXTS.clear()
        _TEXTS[part] = packed
    return packed


def unpack(data: bytes) -> Key:
    """The key that `pack` made these bytes of; ValueError where there is none."""
    parts, position = _unpack_parts(data, 0, is_nested=False)
    if position != len(data):
        raise ValueError("bytes after the end of a key")
    return parts


def unpack_from(data: bytes, position: int) -> Key:
    """The parts of a packed key from `position` on, where one of them begins."""
    return _unpack_parts(data, position, is_nested=False)[0]


def prefix_range(prefix: Key) -> tuple[bytes, bytes]:
    """The packed keys that start with `prefix`, itself included: from the first, up to but without the second."""
    low = pack(prefix)
    return low, low + b"\xff"


def range_bounds(prefix: Key, begin: Key | None, end: Key | None) -> tuple[bytes, bytes]:
    """What Transaction.range asks for, as packed bounds (inclusive, exclusive)."""
    low, high = prefix_range(prefix)
    if begin is not None:
        low = max(low, pack(begin))
    if end is not None:
        high = min(high, pack(end))
    return low, high


def _pack_part(out: bytearray, part: object) -> None:
    if part is None:
        out.append(_NULL)
    elif isinstance(part, bool):
        out.append(_TRUE if part else _FALSE)
    elif isinstance(part, bytes):
        out.append(_BYTES)
        out += part.replace(b"\0", b"\0\xff")
        out.append(0)
    elif isinstance(part, str):
        out.append(_STR)
        out += part.encode().replace(b"\0", b"\0\xff")
        out.append(0)
    elif isinstance(part, int):
        out += _pack_int(int(part))
    elif isinstance(part, tuple):
        out.append(_NESTED)
        for inner in part:
            if inner is None:
                out += b"\0\xff"
            else:
                _pack_part(out, inner)
        out.append(0)
    else:
        raise TypeError(f"not a key part: {part!r}")


def _pack_int(number: int) -> bytes:
    size = (abs(number).bit_length() + 7) // 8
    if size > _LENGTH_MAX:
        raise OverflowError("an int in a key has at most 255 bytes")
    if number >= 0:
        head = _HEADS_OF_INTS[size] if size <= 8 else bytes((_POSITIVE_LONG, size))
        return head + number.to_bytes(size, "big")
    head = bytes((_ZERO - size,)) if size <= 8 else bytes((_NEGATIVE_LONG, size ^ 0xFF))
    return head + ((1 << (8 * size)) - 1 + number).to_bytes(size, "big")


def _unpack_parts(data: bytes, position: int, *, is_nested: bool) -> tuple[Key, int]:
    parts: list[str | bytes | int | bool | None | Key] = []
    size = len(data)
    while position < size:
        code = data[position]
        position += 1
        if code == _STR:
            end = data.find(0, position)
            if end < 0 or data[end + 1 : end + 2] == b"\xff":
                raw, position = _unpack_escaped(data, position)
                parts.append(raw.decode())
            else:
                parts.append(data[position:end].decode())
                position = end + 1
        elif 0x0C <= code <= 0x1C:
            length = abs(code - _ZERO)
            parts.append(_unpack_int(data, position, length, is_negative=code < _ZERO))
            position += length
        elif code == _NULL:
            if not is_nested:
                parts.append(None)
            elif data[position : position + 1] == b"\xff":
                parts.append(None)
                position += 1
            else:
                return tuple(parts), position
        elif code == _NESTED:
            inner, position = _unpack_parts(data, position, is_nested=True)
            parts.append(inner)
        else:
            rare, position = _unpack_rare(code, data, position)
            parts.append(rare)
    if is_nested:
        raise ValueError("a nested key without an end")
    return tuple(parts), position


def _unpack_rare(code: int, data: bytes, position: int) -> tuple[bytes | int | bool, int]:
    if code == _BYTES:
        return _unpack_escaped(data, position)
    if code in (_FALSE, _TRUE):
        return code == _TRUE, position
    if code in (_NEGATIVE_LONG, _POSITIVE_LONG):
        is_negative = code == _NEGATIVE_LONG
        length = data[position] ^ (0xFF if is_negative else 0)
        return _unpack_int(data, position + 1, length, is_negative=is_negative), position + 1 + length
    raise ValueError(f"no key part starts with {code:#04x}")


def _unpack_int(data: bytes, position: int, length: int, *, is_negative: bool) -> int:
    number = int.from_bytes(data[position : position + length], "big")
    return number - ((1 << (8 * length)) - 1) if is_negative else number


def _unpack_escaped(data: bytes, position: int) -> tuple[bytes, int]:
    end = position
    while True:
        end = data.find(0, end)
        if end < 0:
            raise ValueError("a string in a key without an end")
        if data[end + 1 : end + 2] != b"\xff":
            return data[position:end].replace(b"\0\xff", b"\0"), end + 1
        end += 2
