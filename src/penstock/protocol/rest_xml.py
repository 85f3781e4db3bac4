"""rest-xml, which here is S3: members in URI, query, headers, and an XML document or raw bytes.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTErrorResponses.html
"""

from collections.abc import Mapping
from typing import Any

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import ByteStream, StreamTooLong
from penstock.kernel.units import MIB
from penstock.model.shapes import OperationModel, Shape
from penstock.protocol import rest, xml_values
from penstock.protocol.errors import declared_error, status_of
from penstock.protocol.messages import HttpRequest, HttpResponse
from penstock.protocol.xml_values import MalformedXml, escape

STATUS_MEMBER = "@status"
"""By which an operation whose model has no member for it says what the status is."""

DOCUMENT_BYTES_MAX = 2 * MIB
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_PROLOGUE = '<?xml version="1.0" encoding="UTF-8"?>\n'
_MALFORMED = "The XML you provided was not well-formed or did not validate against our published schema"
_BODILESS_STATUS = (204, 304)

_ROOTS = {
    "ListBuckets": "ListAllMyBucketsResult",
    "ListDirectoryBuckets": "ListAllMyDirectoryBucketsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListObjectVersions": "ListVersionsResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "DeleteObjects": "DeleteResult",
    "GetBucketTagging": "Tagging",
    "GetObjectTagging": "Tagging",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetBucketCors": "CORSConfiguration",
    "GetBucketWebsite": "WebsiteConfiguration",
    "GetBucketLifecycle": "LifecycleConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketAcl": "AccessControlPolicy",
    "GetObjectAcl": "AccessControlPolicy",
    "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketRequestPayment": "RequestPaymentConfiguration",
    "GetBucketAccelerateConfiguration": "AccelerateConfiguration",
    "GetObjectAttributes": "GetObjectAttributesResponse",
}
"""The root elements of documents that the model names otherwise; the rest are called OPERATIONResult."""


class RestXmlCodec:
    async def parse_request(
        self, operation: OperationModel, request: HttpRequest, path_labels: Mapping[str, str]
    ) -> dict[str, Any]:
        try:
            members, binding = rest.parse_outside(operation, request, path_labels, _mend)
        except MalformedXml as error:
            raise ServiceError("InvalidArgument", f"Argument is not valid: {error}") from None
        if binding is not None and binding.payload is not None:
            name, shape = binding.payload
            if shape.type in ("blob", "string"):
                members[name] = await _read_raw(shape, request)
            else:
                value = await _read_document(shape, shape.wire_name or shape.name, request)
                if value is not None:
                    members[name] = value
        elif binding is not None and binding.has_document and operation.input is not None:
            root = operation.declared["input"].get("locationName", operation.input.name)
            members |= await _read_document(operation.input, root, request) or {}
        return members

    def serialize_response(self, operation: OperationModel, result: Mapping[str, Any], request_id: str) -> HttpResponse:
        headers = _request_ids(request_id)
        output = operation.output
        if output is None:
            return HttpResponse(operation.status, headers)
        binding = rest.binding_of(output)
        rest.render_headers(binding, result, headers)
        status = int(result.get(STATUS_MEMBER) or operation.status)
        if result.get("ContentRange") and operation.method in ("GET", "HEAD"):
            status = 206
        body = _render_body(operation, output, binding, result, headers)
        if operation.method == "HEAD" and "ContentType" in output.members and not result.get("ContentType"):
            headers.append(("Content-Type", "binary/octet-stream"))
        if isinstance(body, ByteStream) and body.length is not None:
            headers = [(name, value) for name, value in headers if name != "content-length"]
        return HttpResponse(status, headers, body)

    def serialize_error(self, operation: OperationModel | None, error: ServiceError, request_id: str) -> HttpResponse:
        declared = declared_error(operation, error)
        status = status_of(error, declared)
        headers = _request_ids(request_id)
        fields = dict(error.fields)
        for name, value in dict(fields.pop("headers", {})).items():  # type: ignore[call-overload]
            headers.append((name, str(value)))
        if status in _BODILESS_STATUS or (operation is not None and operation.method == "HEAD"):
            return HttpResponse(status, headers)
        out = [_PROLOGUE, f"<Error><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"]
        out.extend(f"<{name}>{escape(str(value))}</{name}>" for name, value in fields.items())
        out.append(f"<RequestId>{request_id}</RequestId><HostId>{_host_id(request_id)}</HostId></Error>")
        headers.append(("Content-Type", "application/xml"))
        return HttpResponse(status, headers, _encoded(out))


def _mend(found: dict[str, Any], name: str, wire_name: str, shape: Shape, value: str) -> None:
    """S3 ignores a condition whose date it can't read, and keeps an Expires that is none. Raises InvalidArgument."""
    fields = {"ArgumentName": wire_name, "ArgumentValue": value}
    if shape.type == "timestamp":
        if name in _KEPT_AS_TEXT:
            found[name] = value
        elif "-if-" not in f"-{wire_name}":
            text = f"The {wire_name} header must be a date in ISO 8601 format"
            raise ServiceError("InvalidArgument", text, fields=fields)
        return
    if wire_name == "partNumber":
        raise ServiceError("InvalidArgument", _WRONG_PART_NUMBER, fields=fields)
    if shape.type in ("integer", "long"):
        text = f"Provided {wire_name} not an integer or within integer range"
        raise ServiceError("InvalidArgument", text, fields=fields)
    raise ServiceError("InvalidArgument", f"Argument is not valid: {value}", fields=fields)


_KEPT_AS_TEXT = ("Expires", "ResponseExpires")
_WRONG_PART_NUMBER = "Part number must be an integer between 1 and 10000, inclusive"


def _request_ids(request_id: str) -> list[tuple[str, str]]:
    return [("x-amz-request-id", request_id), ("x-amz-id-2", _host_id(request_id)), ("Server", "AmazonS3")]


def _host_id(request_id: str) -> str:
    """AWS's says which machine answered; ours says that there is one."""
    return f"penstock/{request_id}"


async def _read_raw(shape: Shape, request: HttpRequest) -> Any:
    if shape.type == "blob":
        return request.body
    return (await _read_bounded(request)).decode("utf-8", "replace")


async def _read_bounded(request: HttpRequest) -> bytes:
    try:
        return await request.body.read(bytes_max=DOCUMENT_BYTES_MAX)
    except StreamTooLong:
        raise ServiceError("MaxMessageLengthExceeded", "Your request was too big.") from None


async def _read_document(shape: Shape, root_name: str, request: HttpRequest) -> Any:
    body = await _read_bounded(request)
    if not body.strip():
        return None
    try:
        root = xml_values.parse_document(body)
        if xml_values.local_name(root) != root_name:
            raise MalformedXml(f"the root is {root.tag}")
        return xml_values.parse(shape, root)
    except MalformedXml:
        raise ServiceError("MalformedXML", _MALFORMED) from None


def _render_body(
    operation: OperationModel,
    output: Shape,
    binding: rest.Binding,
    result: Mapping[str, Any],
    headers: list[tuple[str, str]],
) -> bytes | ByteStream:
    if operation.name == "GetBucketLocation":
        headers.append(_XML)
        return _location(result.get("LocationConstraint"))
    if binding.payload is not None:
        name, shape = binding.payload
        if shape.type in ("blob", "string"):
            if not result.get("ContentType") and "ContentType" in output.members:
                headers.append(("Content-Type", "binary/octet-stream"))
            return rest.body_of_payload(shape, result.get(name))
        if result.get(name) is None:
            return b""
        headers.append(_XML)
        out = [_PROLOGUE]
        root = shape.wire_name or shape.name
        out.append(f'<{root} xmlns="{NAMESPACE}">')
        xml_values.render_members(shape, result[name], out)
        return _encoded([*out, f"</{root}>"])
    if not binding.has_document or operation.method == "HEAD":
        return b""
    headers.append(_XML)
    root = _ROOTS.get(operation.name, f"{operation.name}Result")
    out = [_PROLOGUE, f'<{root} xmlns="{NAMESPACE}">']
    xml_values.render_members(output, result, out)
    return _encoded([*out, f"</{root}>"])


_XML = ("Content-Type", "application/xml")


def _location(region: Any) -> bytes:
    """The one document whose root is the value itself; empty for us-east-1."""
    text = escape(str(region)) if region else ""
    return _encoded([_PROLOGUE, f'<LocationConstraint xmlns="{NAMESPACE}">{text}</LocationConstraint>'])


def _encoded(out: list[str]) -> bytes:
    return "".join(out).encode("utf-8", "surrogatepass")
