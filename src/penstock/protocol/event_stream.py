"""Framed events over one HTTP body: headers and a payload between lengths and checksums.

frame = total length, headers length, CRC-32 of these eight bytes, headers, payload, CRC-32 of all before
Source: https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html#streaming-event-stream
"""

import struct
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from zlib import crc32

import orjson

from penstock.kernel.errors import Bug, ServiceError
from penstock.model.shapes import Shape
from penstock.protocol.errors import members_of
from penstock.protocol.json_values import Plans
from penstock.protocol.messages import EventStream

CONTENT_TYPE = "application/vnd.amazon.eventstream"
Dump = Callable[[Any], bytes]
_JSON = "application/json"
FRAME_BYTES_MAX = 16 * 1024 * 1024
_PRELUDE = struct.Struct("!II")
_CRC = struct.Struct("!I")
_STRING_TYPE = 7
_HEADER_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_BYTES_TYPES = (6, 7)


def encode(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One frame with string headers."""
    packed = b"".join(
        struct.pack("!B", len(name.encode()))
        + name.encode()
        + struct.pack("!BH", _STRING_TYPE, len(value.encode()))
        + value.encode()
        for name, value in headers.items()
    )
    prelude = _PRELUDE.pack(16 + len(packed) + len(payload), len(packed))
    head = prelude + _CRC.pack(crc32(prelude)) + packed + payload
    return head + _CRC.pack(crc32(head))


def decode(data: bytes) -> tuple[dict[str, bytes], bytes, int] | None:
    """The first frame's headers (as raw bytes), its payload and its length; None while it isn't whole.

    Raises ValueError for a checksum or a length that can't be.
    """
    if len(data) < 12:
        return None
    total, headers_size = _PRELUDE.unpack_from(data)
    if crc32(data[:8]) != _CRC.unpack_from(data, 8)[0] or not 16 + headers_size <= total <= FRAME_BYTES_MAX:
        raise ValueError("damaged event stream prelude")
    if len(data) < total:
        return None
    if crc32(data[: total - 4]) != _CRC.unpack_from(data, total - 4)[0]:
        raise ValueError("damaged event stream frame")
    return _decode_headers(data[12 : 12 + headers_size]), data[12 + headers_size : total - 4], total


def _decode_headers(data: bytes) -> dict[str, bytes]:
    headers, at = {}, 0
    while at < len(data):
        size = data[at]
        name, kind, at = data[at + 1 : at + 1 + size].decode(), data[at + 1 + size], at + 2 + size
        if kind in _BYTES_TYPES:
            length = int.from_bytes(data[at : at + 2], "big")
            at += 2
        else:
            length = _HEADER_SIZES[kind]
        headers[name], at = data[at : at + length], at + length
    return headers


def encode_initial_response(document: bytes, *, content_type: str = _JSON) -> bytes:
    """What the json protocols send before the first event: the members that are no stream."""
    headers = {":message-type": "event", ":event-type": "initial-response", ":content-type": content_type}
    return encode(headers, document)


async def preceded_by(first: bytes, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for frame in frames:
        yield frame


async def encode_events(
    shape: Shape, events: EventStream, render: Plans, *, dump: Dump = orjson.dumps, content_type: str = _JSON
) -> AsyncIterator[bytes]:
    """Frames of `(event type, members)` pairs; a ServiceError on the way becomes an exception event, the last.

    `dump` makes the document of what `render` gives.
    """
    written = (render, dump, content_type)
    try:
        async for name, members in events:
            if name not in shape.members:
                raise Bug(f"{shape.name} has no event {name}")
            yield _encode_event(shape.members[name], name, members, written)
    except ServiceError as error:
        headers = {":message-type": "exception", ":exception-type": error.code, ":content-type": content_type}
        yield encode(headers, dump(dict(members_of(error, None))))


def _encode_event(shape: Shape, name: str, members: Mapping[str, object], written: tuple[Plans, Dump, str]) -> bytes:
    render, dump, content_type = written
    headers = {":message-type": "event", ":event-type": name}
    payload_member = next((key for key, member in shape.members.items() if member.traits.get("eventpayload")), None)
    for key, member in shape.members.items():
        if member.traits.get("eventheader") and members.get(key) is not None:
            headers[key] = str(members[key])
    if payload_member is not None and shape.members[payload_member].type in ("blob", "string"):
        value = members.get(payload_member) or b""
        is_blob = shape.members[payload_member].type == "blob"
        headers[":content-type"] = "application/octet-stream" if is_blob else "text/plain"
        return encode(headers, value.encode() if isinstance(value, str) else bytes(value))  # type: ignore[call-overload]
    if not shape.members:
        return encode(headers, b"")
    headers[":content-type"] = content_type
    return encode(headers, dump(render.of(shape)(members)))
