"""What rest-json and rest-xml share: members in the URI, the query and the headers. Compiled once per operation.

Source: https://smithy.io/2.0/spec/http-bindings.html
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

import orjson

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import ByteStream
from penstock.model.shapes import OperationModel, Shape
from penstock.protocol import timestamps, xml_values
from penstock.protocol.messages import HttpRequest
from penstock.protocol.xml_values import MalformedXml

Named = tuple[tuple[str, str, Shape], ...]


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a structure's members travel: (member, name on the wire, shape) by place.

    payload   the member that is the whole body; body: whether any member is in a document
    """

    labels: Named
    query: Named
    query_maps: Named
    headers: Named
    header_maps: Named
    status: str | None
    payload: tuple[str, Shape] | None
    has_document: bool


@cache
def binding_of(shape: Shape) -> Binding:
    """The binding of an operation's input or output."""
    places: dict[str | None, list[tuple[str, str, Shape]]] = {}
    for name, member in shape.members.items():
        wire_name = member.wire_name or name
        place = "query map" if member.location == "querystring" and member.type == "map" else member.location
        is_header = place in ("header", "headers")
        places.setdefault(place, []).append((name, wire_name.lower() if is_header else wire_name, member))
    status = places.get("statusCode")
    return Binding(
        labels=tuple(places.get("uri", ())),
        query=tuple(places.get("querystring", ())),
        query_maps=tuple(places.get("query map", ())),
        headers=tuple(places.get("header", ())),
        header_maps=tuple(places.get("headers", ())),
        status=status[0][0] if status else None,
        payload=(shape.payload, shape.members[shape.payload]) if shape.payload else None,
        has_document=shape.payload is None and bool(places.get(None)),
    )


Mend = Callable[[dict[str, Any], str, str, Shape, str], None]
"""Given (members found, member, wire name, shape, value) where a value is of the wrong kind: mend it or raise."""


def parse_outside(
    operation: OperationModel, request: HttpRequest, path_labels: Mapping[str, str], mend: Mend | None = None
) -> tuple[dict[str, Any], Binding | None]:
    """The members outside the body, and how the rest travels. Raises MalformedXml for a value of the wrong kind."""
    if operation.input is None:
        return {}, None
    binding = binding_of(operation.input)
    found: dict[str, Any] = {}
    for name, wire_name, shape in binding.labels:
        if wire_name in path_labels:
            found[name] = _parse_text(shape, path_labels[wire_name], timestamps.ISO8601)
    if request.query and (binding.query or binding.query_maps):
        _parse_query(operation, binding, request.query, found, mend)
    headers = request.headers
    for name, wire_name, shape in binding.headers:
        value = headers.get(wire_name)
        if value is None:
            continue
        try:
            found[name] = _parse_header(shape, value)
        except MalformedXml:
            if mend is None:
                raise
            mend(found, name, wire_name, shape, value)
    for name, prefix, _ in binding.header_maps:
        values = {key[len(prefix) :]: value for key, value in headers.items() if key.startswith(prefix)}
        if values:
            found[name] = values
    return found, binding


def _parse_query(
    operation: OperationModel, binding: Binding, query: str, found: dict[str, Any], mend: Mend | None
) -> None:
    pairs: dict[str, list[str]] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        pairs.setdefault(key, []).append(value)
    for name, wire_name, shape in binding.query:
        values = pairs.get(wire_name)
        if values is None:
            continue
        try:
            if shape.type == "list":
                found[name] = [_parse_text(shape.element, value, timestamps.ISO8601) for value in values]
            else:
                found[name] = _parse_text(shape, values[0], timestamps.ISO8601)
        except MalformedXml:
            if mend is None:
                raise
            mend(found, name, wire_name, shape, values[0])
    for name, _, shape in binding.query_maps:
        constants = {item.partition("=")[0] for item in operation.uri.partition("?")[2].split("&")}
        bound = constants.union(wire_name for _, wire_name, _ in binding.query)
        is_list = shape.value.type == "list"
        found[name] = {key: values if is_list else values[0] for key, values in pairs.items() if key not in bound}


def _parse_text(shape: Shape, text: str, time_format: str) -> Any:
    if shape.type == "timestamp":
        try:
            return timestamps.parse(text, shape.timestamp_format or time_format)
        except (ValueError, TypeError) as error:
            raise MalformedXml(f"{text!r} is not a timestamp") from error
    return xml_values.parse_scalar(shape, text)


def _parse_header(shape: Shape, value: str) -> Any:
    if shape.traits.get("jsonvalue"):
        try:
            return orjson.loads(base64.b64decode(value))
        except (binascii.Error, orjson.JSONDecodeError) as error:
            raise MalformedXml("a header is not base64 of JSON") from error
    if shape.type == "list":
        return [_parse_text(shape.element, item, timestamps.HTTP_DATE) for item in _split_header(shape.element, value)]
    return _parse_text(shape, value.strip(), timestamps.HTTP_DATE)


def _split_header(element: Shape, value: str) -> list[str]:
    """At commas outside quotes; an HTTP date has a comma of its own."""
    if element.type == "timestamp" and element.timestamp_format in (None, timestamps.HTTP_DATE):
        parts = value.split(",")
        return [",".join(parts[at : at + 2]).strip() for at in range(0, len(parts), 2)]
    items, item, is_quoted, is_escaped = [], "", False, False
    for letter in value:
        if is_escaped:
            item, is_escaped = item + letter, False
        elif letter == "\\" and is_quoted:
            is_escaped = True
        elif letter == '"':
            is_quoted = not is_quoted
        elif letter == "," and not is_quoted:
            items.append(item.strip())
            item = ""
        else:
            item += letter
    return [*items, item.strip()]


def render_headers(binding: Binding, result: Mapping[str, Any], out: list[tuple[str, str]]) -> None:
    """The members that travel in the answer's headers."""
    for name, wire_name, shape in binding.headers:
        value = result.get(name)
        if value is None:
            continue
        text = _render_header(shape, value)
        if text or shape.type != "list":
            out.append((wire_name, _on_the_wire(text)))
    for name, prefix, _ in binding.header_maps:
        out.extend((prefix + key, _on_the_wire(value)) for key, value in (result.get(name) or {}).items())


def _render_header(shape: Shape, value: Any) -> str:
    if shape.traits.get("jsonvalue"):
        return base64.b64encode(orjson.dumps(value)).decode()
    if shape.type == "list":
        return ", ".join(_quoted(_render_header(shape.element, item)) for item in value)
    return xml_values.render_scalar(shape, value, time_format=timestamps.HTTP_DATE)


def _quoted(text: str) -> str:
    if "," not in text and '"' not in text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _on_the_wire(text: str) -> str:
    """As the latin-1 that a header is written in: what came in a header goes out byte for byte, other text as UTF-8."""
    if text.isascii():
        return text
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode().decode("latin-1")
    return text


def status_of_result(operation: OperationModel, binding: Binding | None, result: Mapping[str, Any]) -> int:
    if binding is not None and binding.status and result.get(binding.status):
        return int(result[binding.status])
    return operation.status


def body_of_payload(shape: Shape, value: Any) -> bytes | ByteStream:
    """A blob, a string or a stream as it is."""
    if value is None:
        return b""
    if isinstance(value, ByteStream):
        return value
    return value.encode() if isinstance(value, str) else bytes(value)


def wrong_value(error: MalformedXml) -> ServiceError:
    return ServiceError("SerializationException", str(error))
