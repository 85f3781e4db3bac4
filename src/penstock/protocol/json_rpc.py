"""awsJson 1.0 and 1.1: one path, the operation in `X-Amz-Target`, members in a JSON document.

Source: https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
"""

from collections.abc import Mapping
from typing import Any

import orjson

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import ByteStream
from penstock.model.shapes import OperationModel
from penstock.protocol import event_stream
from penstock.protocol.attribute_values import as_json
from penstock.protocol.bodies import read_whole
from penstock.protocol.errors import declared_error, members_of, query_error, status_of
from penstock.protocol.json_values import PARSE, RENDER
from penstock.protocol.messages import HttpRequest, HttpResponse

_NAMESPACES = {
    "dynamodb": "com.amazonaws.dynamodb.v20120810",
    "dynamodbstreams": "com.amazonaws.dynamodb.v20120810",
    "sqs": "com.amazonaws.sqs",
}
_CORAL_NAMESPACE = "com.amazon.coral.service"
_CORAL_ERRORS = ("SerializationException", "UnknownOperationException", "AccessDeniedException")


class JsonCodec:
    """Both versions: they differ in the content type only."""

    async def parse_request(
        self, operation: OperationModel, request: HttpRequest, path_labels: Mapping[str, str]
    ) -> dict[str, Any]:
        body = await read_whole(request, operation.name)
        try:
            value = orjson.loads(body) if body else {}
        except orjson.JSONDecodeError:
            raise ServiceError("SerializationException", "") from None
        if operation.input is None:
            return {}
        try:
            members: dict[str, Any] = PARSE.of(operation.input)(value)
        except RecursionError:  # DynamoDB's values hold each other
            raise ServiceError("SerializationException", "The document is nested too deep") from None
        return members

    def serialize_response(self, operation: OperationModel, result: Mapping[str, Any], request_id: str) -> HttpResponse:
        headers = [("x-amzn-RequestId", request_id), ("Content-Type", content_type(operation))]
        stream = operation.event_stream_output
        if stream is not None and operation.output is not None:
            first = event_stream.encode_initial_response(_document(operation, result))
            events = event_stream.encode_events(operation.output.members[stream], result[stream], RENDER)
            headers[1] = ("Content-Type", event_stream.CONTENT_TYPE)
            return HttpResponse(200, headers, ByteStream(event_stream.preceded_by(first, events)))
        return HttpResponse(200, headers, _document(operation, result) if operation.output else b"")

    def serialize_error(self, operation: OperationModel | None, error: ServiceError, request_id: str) -> HttpResponse:
        declared = declared_error(operation, error)
        code = declared.name if declared else error.code
        headers = [("x-amzn-RequestId", request_id), ("Content-Type", content_type(operation))]
        if operation is not None and operation.service.is_query_compatible:
            headers.append(("x-amzn-query-error", query_error(error, declared)))
        members = {"__type": _qualified(operation, code), **members_of(error, declared)}
        known = declared.shape.members if declared else {}
        for name in error.fields.keys() & known.keys():
            members[name] = RENDER.of(known[name])(error.fields[name])
        return HttpResponse(status_of(error, declared), headers, orjson.dumps(members, default=as_json))


def content_type(operation: OperationModel | None) -> str:
    version = operation.service.metadata.get("jsonVersion", "1.1") if operation else "1.1"
    return f"application/x-amz-json-{version}"


def _document(operation: OperationModel, result: Mapping[str, Any]) -> bytes:
    assert operation.output is not None
    stream = operation.event_stream_output
    members = {name: value for name, value in result.items() if name != stream}
    return orjson.dumps(RENDER.of(operation.output)(members), default=as_json)


def _qualified(operation: OperationModel | None, code: str) -> str:
    """Some services put a namespace before the code; SDKs cut it off."""
    namespace = _NAMESPACES.get(operation.service.name) if operation else None
    if namespace is None:
        return code
    if code == "ValidationException":
        return f"com.amazon.coral.validate#{code}"
    return f"{_CORAL_NAMESPACE if code in _CORAL_ERRORS else namespace}#{code}"
