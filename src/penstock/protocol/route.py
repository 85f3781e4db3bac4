"""A request to the operation that it means.

In order: a smithy path, an `X-Amz-Target`, an `Action`, then a REST path; the signature's scope names the service
where the request itself doesn't. What nothing claims is S3's: its paths can be anything.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import parse_qsl, unquote_plus

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import StreamTooLong, stream_of
from penstock.model.loader import query_model, service_model
from penstock.model.shapes import OperationModel, ServiceModel
from penstock.protocol.messages import HttpRequest
from penstock.protocol.uri_patterns import UriIndex

SERVED: Mapping[str, tuple[str, str, str]] = {
    "s3": ("s3", "", "2006-03-01"),
    "lambda": ("lambda", "", "2015-03-31"),
    "logs": ("logs", "Logs_20140328", "2014-03-28"),
    "secretsmanager": ("secretsmanager", "secretsmanager", "2017-10-17"),
    "ssm": ("ssm", "AmazonSSM", "2014-11-06"),
    "sqs": ("sqs", "AmazonSQS", "2012-11-05"),
    "iam": ("iam", "", "2010-05-08"),
    "sts": ("sts", "", "2011-06-15"),
    "sns": ("sns", "", "2010-03-31"),
    "kinesis": ("kinesis", "Kinesis_20131202", "2013-12-02"),
    "dynamodb": ("dynamodb", "DynamoDB_20120810", "2012-08-10"),
    "dynamodbstreams": ("dynamodb", "DynamoDBStreams_20120810", "2012-08-10"),
    "events": ("events", "AWSEvents", "2015-10-07"),
    "scheduler": ("scheduler", "", "2021-06-30"),
    "pipes": ("pipes", "", "2015-10-07"),
    "stepfunctions": ("states", "AWSStepFunctions", "2016-11-23"),
    "apigateway": ("apigateway", "", "2015-07-09"),
    "apigatewayv2": ("apigateway", "", "2018-11-29"),
    "cloudwatch": ("monitoring", "GraniteServiceVersion20100801", "2010-08-01"),
    "glue": ("glue", "AWSGlue", "2017-03-31"),
    "athena": ("athena", "AmazonAthena", "2017-05-18"),
    "firehose": ("firehose", "Firehose_20150804", "2015-08-04"),
    "kms": ("kms", "TrentService", "2014-11-01"),
    "xray": ("xray", "", "2016-04-12"),
    "cloudformation": ("cloudformation", "", "2010-05-15"),
}
"""Models that a request may mean, built or not: what they are signed for, their target prefix, their version.

It repeats the models, so that a request loads only the one it needs; a test holds it to them. What isn't built is
answered so by the door.
"""

FORM_BYTES_MAX = 8 * 1024 * 1024
_BY_TARGET = {prefix: model for model, (_, prefix, _) in SERVED.items() if prefix}
_BY_SIGNING_NAME: dict[str, list[str]] = {}
for _model, (_signing_name, _, _) in SERVED.items():
    _BY_SIGNING_NAME.setdefault(_signing_name, []).append(_model)
_SCOPE = re.compile(r"Credential=[^,\s]*?/\d{8}/([^/,\s]+)/([^/,\s]+)/aws4_request")
_PRESIGNED_SCOPE = re.compile(r"X-Amz-Credential=[^&]*?(?:%2F|/)\d{8}(?:%2F|/)([^/&%]+)(?:%2F|/)([^/&%]+)(?:%2F|/)aws4")
_QUEUE_PATH = re.compile(r"/\d{12}/[A-Za-z0-9_.-]+/?")
_SMITHY_PATH = re.compile(r"/service/([^/]+)/operation/([^/]+)/?")


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes. `protocol` names its codec; `region` is the signature's, if it has one."""

    operation: OperationModel
    protocol: str
    path_labels: Mapping[str, str] = field(default_factory=dict)
    region: str | None = None

    @property
    def service(self) -> str:
        return self.operation.service.name


class NoRoute(ServiceError):
    """No operation is meant; `protocol` is how the caller expects to hear it."""

    def __init__(self, code: str, message: str, *, protocol: str, status: int = 400) -> None:
        super().__init__(code, message, status=status)
        self.protocol = protocol


async def route(request: HttpRequest) -> Route:
    """Raises NoRoute. A form's body is read and put back."""
    region, signed_for = signing_scope(request)
    headers = request.headers
    if headers.get("smithy-protocol") and (match := _SMITHY_PATH.fullmatch(request.path)):
        return _smithy_route(match[1], match[2], headers["smithy-protocol"], region)
    if target := headers.get("x-amz-target"):
        is_cbor = headers.get("content-type", "").startswith("application/x-amz-cbor")
        return _target_route(target, region, "amz-cbor" if is_cbor else "json")
    if request.path == "/" or signed_for == "sqs" or (signed_for is None and _QUEUE_PATH.fullmatch(request.path)):
        form = await _find_form(request)
        if "Action" in form:
            return _action_route(form, signed_for, region)
    return _rest_route(request, signed_for, region)


async def _find_form(request: HttpRequest) -> Mapping[str, str]:
    """What names the action: in the body or the query. Queues take it on their own path too."""
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        form = await _read_form(request)
        if "Action" in form:
            return form
    return dict(parse_qsl(request.query, keep_blank_values=True)) if "Action=" in request.query else {}


def signing_scope(request: HttpRequest) -> tuple[str | None, str | None]:
    """The region and the service that the request says it is signed for."""
    match = _SCOPE.search(request.headers.get("authorization", "")) or _PRESIGNED_SCOPE.search(request.query)
    return (match[1], match[2]) if match else (None, None)


def _smithy_route(service: str, operation: str, protocol: str, region: str | None) -> Route:
    name = _BY_TARGET.get(service)
    found = service_model(name) if name else None
    if found is None or operation not in found.operations or protocol != "rpc-v2-cbor":
        raise NoRoute("UnknownOperationException", f"Unknown operation {operation}", protocol="smithy-rpc-v2-cbor")
    return Route(found.operations[operation], "smithy-rpc-v2-cbor", region=region)


def _target_route(target: str, region: str | None, protocol: str) -> Route:
    prefix, _, name = target.rpartition(".")
    model = _BY_TARGET.get(prefix)
    operation = service_model(model).operations.get(name) if model else None
    if operation is None:
        raise NoRoute("UnknownOperationException", "", protocol=protocol)
    return Route(operation, protocol, region=region)


def _action_route(form: Mapping[str, str], signed_for: str | None, region: str | None) -> Route:
    name, version = form["Action"], form.get("Version", "")
    for model, (signing_name, _, api_version) in SERVED.items():
        if signing_name == (signed_for or signing_name) and (version == api_version or (signed_for and not version)):
            operation = query_model(model).operations.get(name)
            if operation is not None:
                return Route(operation, "query", region=region)
    message = f"Could not find operation {name} for version {version or 'NO_VERSION_SPECIFIED'}"
    raise NoRoute("InvalidAction", message, protocol="query")


def _rest_route(request: HttpRequest, signed_for: str | None, region: str | None) -> Route:
    if signed_for == "s3express":
        text = "Directory buckets (S3 Express One Zone) are not implemented here; use a general purpose bucket."
        raise NoRoute("NotImplemented", text, protocol="rest-xml", status=501)
    query = _query_of(request.query)
    for model in _rest_candidates(request.path, signed_for):
        found = _uri_index(model.name).find(request.method, request.path, query, request.headers)
        if found:
            return Route(found[0], model.protocols[0], found[1], region)
    if signed_for in (None, "s3") or not _models_of(signed_for):
        code, message = "MethodNotAllowed", "The specified method is not allowed against this resource."
        raise NoRoute(code, message, protocol="rest-xml", status=405)
    raise NoRoute("UnknownOperationException", "", protocol="rest-json", status=404)


def _rest_candidates(path: str, signed_for: str | None) -> list[ServiceModel]:
    if signed_for is not None:
        return [model for model in _models_of(signed_for) if model.protocols[0].startswith("rest")] or (
            [] if signed_for in _BY_SIGNING_NAME else [service_model("s3")]
        )
    if _LAMBDA_PATH.match(path):
        return [service_model("lambda"), service_model("s3")]
    return [service_model("s3")]


_LAMBDA_PATH = re.compile(r"/20\d\d-\d\d-\d\d/(functions|layers|account-settings|event-source-mappings|tags)")


def _query_of(query: str) -> dict[str, str]:
    return dict(parse_qsl(query, keep_blank_values=True)) if query else {}


async def _read_form(request: HttpRequest) -> dict[str, str]:
    try:
        body = await request.body.read(bytes_max=FORM_BYTES_MAX)
    except StreamTooLong as error:
        raise NoRoute("RequestEntityTooLarge", "Request body is too large", protocol="query", status=413) from error
    request.body = stream_of(body)
    fields = {}
    for item in body.split(b"&"):  # only what routing needs; the codec reads the rest
        name, _, value = item.partition(b"=")
        if name in (b"Action", b"Version"):
            fields[name.decode()] = unquote_plus(value.decode("utf-8", "replace"))
    return fields


@cache
def _uri_index(model: str) -> UriIndex:
    return UriIndex(service_model(model).operations.values())


def _models_of(signed_for: str | None) -> list[ServiceModel]:
    return [service_model(name) for name in _BY_SIGNING_NAME.get(signed_for or "", [])]
