"""rest-json: resources in the path, members in URI, query, headers and a JSON document.

Source: https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html
"""

from collections.abc import Mapping
from typing import Any

import orjson

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import ByteStream
from penstock.model.shapes import OperationModel, Shape
from penstock.protocol import event_stream, rest
from penstock.protocol.bodies import read_whole
from penstock.protocol.errors import declared_error, members_of, status_of
from penstock.protocol.json_values import PARSE, RENDER
from penstock.protocol.messages import HttpRequest, HttpResponse
from penstock.protocol.xml_values import MalformedXml

_JSON = ("Content-Type", "application/json")


class RestJsonCodec:
    async def parse_request(
        self, operation: OperationModel, request: HttpRequest, path_labels: Mapping[str, str]
    ) -> dict[str, Any]:
        try:
            members, binding = rest.parse_outside(operation, request, path_labels)
        except MalformedXml as error:
            raise rest.wrong_value(error) from None
        if binding is None:
            return members
        if binding.payload is not None:
            name, shape = binding.payload
            value = await _read_payload(shape, operation, request)
            if value is not None:
                members[name] = value
        elif binding.has_document and operation.input is not None:
            body = await read_whole(request, operation.name)
            if body:
                document = PARSE.of(operation.input)(_loads(body))
                members |= {name: value for name, value in document.items() if name not in members}
        return members

    def serialize_response(self, operation: OperationModel, result: Mapping[str, Any], request_id: str) -> HttpResponse:
        headers = [("x-amzn-RequestId", request_id)]
        output = operation.output
        if output is None:
            return HttpResponse(operation.status, headers)
        binding = rest.binding_of(output)
        rest.render_headers(binding, result, headers)
        status = rest.status_of_result(operation, binding, result)
        return HttpResponse(status, headers, _render_body(operation, output, binding, result, headers))

    def serialize_error(self, operation: OperationModel | None, error: ServiceError, request_id: str) -> HttpResponse:
        declared = declared_error(operation, error)
        code = declared.name if declared else error.code
        headers = [("x-amzn-RequestId", request_id), _JSON, ("x-amzn-ErrorType", code)]
        members = dict(members_of(error, declared))
        if declared is not None:
            in_headers = rest.binding_of(declared.shape)
            rest.render_headers(in_headers, members, headers)
            for name, _, _ in in_headers.headers:
                members.pop(name, None)
            if "Type" in declared.shape.members:
                members = {"Type": "User" if error.is_sender_fault else "Service", **members}
        return HttpResponse(status_of(error, declared), headers, orjson.dumps(members, default=str))


def _loads(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        message = "Could not parse request body into json: Unexpected character"
        raise ServiceError("SerializationException", message) from None


async def _read_payload(shape: Shape, operation: OperationModel, request: HttpRequest) -> Any:
    if shape.is_streaming:
        return request.body
    body = await read_whole(request, operation.name)
    if shape.type == "blob":
        return body
    if shape.type == "string":
        return body.decode("utf-8", "replace")
    return PARSE.of(shape)(_loads(body)) if body else None


def _render_body(
    operation: OperationModel,
    output: Shape,
    binding: rest.Binding,
    result: Mapping[str, Any],
    headers: list[tuple[str, str]],
) -> bytes | ByteStream:
    stream = operation.event_stream_output
    if stream is not None:
        headers.append(("Content-Type", event_stream.CONTENT_TYPE))
        return ByteStream(event_stream.encode_events(output.members[stream], result[stream], RENDER))
    if binding.payload is not None:
        name, shape = binding.payload
        if shape.type in ("blob", "string"):
            if not any(header.lower() == "content-type" for header, _ in headers):
                headers.append(_JSON if operation.service.name == "lambda" else _BYTES)
            return rest.body_of_payload(shape, result.get(name))
        headers.append(_JSON)
        return orjson.dumps(RENDER.of(shape)(result.get(name) or {}))
    if not binding.has_document:
        return b""
    headers.append(_JSON)
    members = {name: value for name, value in result.items() if (m := output.members.get(name)) and not m.location}
    return orjson.dumps(RENDER.of(output)(members))


_BYTES = ("Content-Type", "application/octet-stream")
