"""smithy-rpc-v2-cbor: `POST /service/<name>/operation/<name>`, members in a CBOR document.

Source: https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from penstock.kernel.errors import Bug, ServiceError
from penstock.model.shapes import OperationModel, Shape
from penstock.protocol import cbor, timestamps
from penstock.protocol.cbor_values import compile_render, parse_plans, read_members
from penstock.protocol.errors import declared_error, members_of, query_error, status_of
from penstock.protocol.json_values import Convert, Plans
from penstock.protocol.messages import HttpRequest, HttpResponse

CONTENT_TYPE = "application/cbor"
_PROTOCOL_HEADER = ("smithy-protocol", "rpc-v2-cbor")


class RpcCborCodec:
    """Bodies only: nothing of a call is in its headers or its path but the operation's name."""

    async def parse_request(
        self, operation: OperationModel, request: HttpRequest, path_labels: Mapping[str, str]
    ) -> dict[str, Any]:
        return await read_members(request, operation, _PARSE)

    def serialize_response(self, operation: OperationModel, result: Mapping[str, Any], request_id: str) -> HttpResponse:
        headers = [("x-amzn-RequestId", request_id), _PROTOCOL_HEADER]
        if operation.output is None:
            return HttpResponse(200, headers)
        if operation.event_stream_output is not None:
            raise Bug(f"{operation.name} streams events, which CBOR doesn't carry here")
        headers.append(("Content-Type", CONTENT_TYPE))
        return HttpResponse(200, headers, cbor.encode(_RENDER.of(operation.output)(result)))

    def serialize_error(self, operation: OperationModel | None, error: ServiceError, request_id: str) -> HttpResponse:
        declared = declared_error(operation, error)
        code = declared.name if declared else error.code
        headers = [("x-amzn-RequestId", request_id), _PROTOCOL_HEADER, ("Content-Type", CONTENT_TYPE)]
        if operation is not None and operation.service.is_query_compatible:
            headers.append(("x-amzn-query-error", query_error(error, declared)))
        members = members_of(error, declared)
        if declared is not None:
            members = {**members, **_RENDER.of(declared.shape)(members)}
        name = f"com.amazonaws.{operation.service.name}#{code}" if operation else code
        return HttpResponse(status_of(error, declared), headers, cbor.encode({"__type": name, **members}))


def _parse_time(value: Any) -> datetime:
    try:
        return value if isinstance(value, datetime) else timestamps.parse(value, timestamps.EPOCH)
    except ValueError:
        raise ServiceError("SerializationException", "Expected a timestamp") from None


def _compile_render(shape: Shape, plans: Plans) -> Convert:
    return float if shape.type in ("float", "double") else compile_render(shape, plans)


_PARSE = parse_plans(_parse_time)
_RENDER = Plans(_compile_render)
