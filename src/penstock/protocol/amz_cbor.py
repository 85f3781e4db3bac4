"""awsCbor 1.1: the json protocol with CBOR documents, as the Java SDKs speak it to Kinesis.

The operation is in `X-Amz-Target`; blobs are byte strings, and times are tag 1 of milliseconds since the epoch.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import ByteStream
from penstock.model.shapes import OperationModel
from penstock.protocol import cbor, event_stream
from penstock.protocol.cbor_values import compile_render, parse_plans, read_members
from penstock.protocol.errors import declared_error, members_of, status_of
from penstock.protocol.json_values import Plans
from penstock.protocol.messages import HttpRequest, HttpResponse

CONTENT_TYPE = "application/x-amz-cbor-1.1"


class AmzCborCodec:
    """Like the json protocol in all but the documents."""

    async def parse_request(
        self, operation: OperationModel, request: HttpRequest, path_labels: Mapping[str, str]
    ) -> dict[str, Any]:
        return await read_members(request, operation, _PARSE, decode=_load)

    def serialize_response(self, operation: OperationModel, result: Mapping[str, Any], request_id: str) -> HttpResponse:
        headers = [("x-amzn-RequestId", request_id), ("Content-Type", CONTENT_TYPE)]
        if operation.output is None:
            return HttpResponse(200, headers)
        stream = operation.event_stream_output
        members = {name: value for name, value in result.items() if name != stream}
        document = _dump(_RENDER.of(operation.output)(members))
        if stream is None:
            return HttpResponse(200, headers, document)
        first = event_stream.encode_initial_response(document, content_type=CONTENT_TYPE)
        shape = operation.output.members[stream]
        events = event_stream.encode_events(shape, result[stream], _RENDER, dump=_dump, content_type=CONTENT_TYPE)
        headers[1] = ("Content-Type", event_stream.CONTENT_TYPE)
        return HttpResponse(200, headers, ByteStream(event_stream.preceded_by(first, events)))

    def serialize_error(self, operation: OperationModel | None, error: ServiceError, request_id: str) -> HttpResponse:
        declared = declared_error(operation, error)
        headers = [("x-amzn-RequestId", request_id), ("Content-Type", CONTENT_TYPE)]
        members = {"__type": declared.name if declared else error.code, **members_of(error, declared)}
        return HttpResponse(status_of(error, declared), headers, _dump(members))


def _load(document: bytes) -> Any:
    return cbor.decode(document, ticks_per_s=1000)


def _dump(value: Any) -> bytes:
    return cbor.encode(value, ticks_per_s=1000)


def _parse_time(value: Any) -> datetime:
    """A number without the tag is in milliseconds too."""
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromtimestamp(value / 1000, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        raise ServiceError("SerializationException", "Expected a timestamp") from None


_PARSE = parse_plans(_parse_time)
_RENDER = Plans(compile_render)
