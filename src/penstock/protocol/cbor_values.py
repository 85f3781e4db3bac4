"""What both CBOR protocols do alike: documents into members, blobs as byte strings, times as tagged numbers."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from penstock.kernel.errors import ServiceError
from penstock.model.shapes import OperationModel, Shape
from penstock.protocol import cbor, json_values, timestamps
from penstock.protocol.bodies import read_whole
from penstock.protocol.json_values import Convert, Plans
from penstock.protocol.messages import HttpRequest


async def read_members(
    request: HttpRequest, operation: OperationModel, parse: Plans, *, decode: Callable[[bytes], Any] = cbor.decode
) -> dict[str, Any]:
    """Raises SerializationException for what is no CBOR."""
    body = await read_whole(request, operation.name)
    try:
        value = decode(body) if body else {}
    except cbor.MalformedCbor as error:
        raise ServiceError("SerializationException", str(error)) from None
    if operation.input is None:
        return {}
    members: dict[str, Any] = parse.of(operation.input)(value)
    return members


def parse_plans(parse_time: Convert) -> Plans:
    """As JSON's, but for blobs, and for times, which each protocol reads in its own way."""

    def compile_parse(shape: Shape, plans: Plans) -> Convert:
        if shape.type == "blob":
            return _parse_blob
        return parse_time if shape.type == "timestamp" else json_values.compile_parse(shape, plans)

    return Plans(compile_parse)


def compile_render(shape: Shape, plans: Plans) -> Convert:
    if shape.type == "blob":
        return lambda value: value.encode() if isinstance(value, str) else value
    if shape.type == "timestamp":
        return lambda value: value if isinstance(value, datetime) else timestamps.parse(value, timestamps.EPOCH)
    return json_values.compile_render(shape, plans)


def _parse_blob(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise ServiceError("SerializationException", "Expected a byte string")
    return value
