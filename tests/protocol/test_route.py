import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import create_request_object, prepare_request_dict
from botocore.credentials import Credentials
from botocore.serialize import create_serializer

from penstock.kernel.streams import stream_of
from penstock.model.loader import service_model
from penstock.protocol.messages import HttpRequest
from penstock.protocol.route import SERVED, NoRoute, route

HAVE_A_HOST_OF_THEIR_OWN = ("ListDirectoryBuckets", "WriteGetObjectResponse")
SESSION = botocore.session.get_session()


def minimal(shape):
    """The least that botocore will serialise: every member that travels outside the body, and what is required."""
    if shape is None:
        return {}
    outside = ("uri", "querystring", "header")
    return {
        name: sample(member)
        for name, member in shape.members.items()
        if name in shape.required_members
        or (member.serialization.get("location") in outside and name in shape.required_members)
    }


def sample(shape):
    kind = shape.type_name
    if kind == "structure":
        return {name: sample(shape.members[name]) for name in shape.required_members}
    if kind == "list":
        return [sample(shape.member)]
    if kind == "map":
        return {"k": sample(shape.value)}
    return {"string": "a-b", "blob": b"x", "boolean": True, "timestamp": 0, "float": 1.5, "double": 1.5}.get(kind, 1)


def as_request(service, operation):
    model = SESSION.get_service_model(service).operation_model(operation)
    wire = create_serializer(model.service_model.metadata["protocol"], False).serialize_to_request(
        minimal(model.input_shape), model
    )
    prepare_request_dict(wire, endpoint_url="http://localhost:4566")
    signed = create_request_object(wire)
    SigV4Auth(Credentials("AKID", "secret"), model.service_model.signing_name, "eu-west-1").add_auth(signed)
    prepared = signed.prepare()
    path, _, query = prepared.url.removeprefix("http://localhost:4566").partition("?")
    body = prepared.body if isinstance(prepared.body, bytes) else (prepared.body or "")
    return HttpRequest(
        method=prepared.method,
        path=path,
        query=query,
        headers={
            name.lower(): value if isinstance(value, str) else value.decode()
            for name, value in prepared.headers.items()
        },
        body=stream_of(body if isinstance(body, bytes) else body.encode()),
    )


@pytest.mark.parametrize("service", SERVED)
async def test_every_operation_that_botocore_sends_is_routed_to_itself(service):
    strays = {}
    for name in service_model(service).operations:
        if name in HAVE_A_HOST_OF_THEIR_OWN or service_model(service).operations[name].declared.get("deprecated"):
            continue
        found = await route(as_request(service, name))
        if (found.service, found.operation.name, found.region) != (service, name, "eu-west-1"):
            strays[name] = (found.service, found.operation.name, found.region)
    assert strays == {}


S3 = [
    ("GET", "/", "", {}, "ListBuckets", {}),
    ("GET", "/", "x-id=ListBuckets", {}, "ListBuckets", {}),
    ("GET", "/b", "", {}, "ListObjects", {"Bucket": "b"}),
    ("GET", "/b/", "list-type=2&prefix=x", {}, "ListObjectsV2", {"Bucket": "b"}),
    ("GET", "/b/a//b/", "", {}, "GetObject", {"Bucket": "b", "Key": "a//b/"}),
    ("GET", "/b//a", "", {}, "GetObject", {"Bucket": "b", "Key": "/a"}),
    ("GET", "/b/a%20b%2Fc", "x-id=GetObject", {}, "GetObject", {"Bucket": "b", "Key": "a b/c"}),
    ("GET", "/b/k", "tagging", {}, "GetObjectTagging", {"Bucket": "b", "Key": "k"}),
    ("GET", "/b/k", "uploadId=u", {}, "ListParts", {"Bucket": "b", "Key": "k"}),
    ("PUT", "/b/k", "", {}, "PutObject", {"Bucket": "b", "Key": "k"}),
    ("PUT", "/b/k", "", {"x-amz-copy-source": "b/j"}, "CopyObject", {"Bucket": "b", "Key": "k"}),
    ("PUT", "/b/k", "uploadId=u&partNumber=1", {}, "UploadPart", {"Bucket": "b", "Key": "k"}),
    (
        "PUT",
        "/b/k",
        "uploadId=u&partNumber=1",
        {"x-amz-copy-source": "b/j"},
        "UploadPartCopy",
        {"Bucket": "b", "Key": "k"},
    ),
    ("POST", "/b/k", "uploads", {}, "CreateMultipartUpload", {"Bucket": "b", "Key": "k"}),
    ("POST", "/b", "delete", {}, "DeleteObjects", {"Bucket": "b"}),
    ("DELETE", "/b/k", "uploadId=u", {}, "AbortMultipartUpload", {"Bucket": "b", "Key": "k"}),
    ("GET", "/b", "analytics", {}, "ListBucketAnalyticsConfigurations", {"Bucket": "b"}),
    ("GET", "/b", "analytics&id=x", {}, "GetBucketAnalyticsConfiguration", {"Bucket": "b"}),
]


@pytest.mark.parametrize(("method", "path", "query", "headers", "operation", "labels"), S3)
async def test_s3_requests_without_a_signature(method, path, query, headers, operation, labels):
    found = await route(HttpRequest(method, path, query, headers))
    assert (found.operation.name, found.path_labels, found.protocol) == (operation, labels, "rest-xml")


async def test_presigned_requests_name_their_region_in_the_query():
    query = "X-Amz-Credential=AK%2F20260101%2Feu-north-1%2Fs3%2Faws4_request&X-Amz-Signature=0"
    assert (await route(HttpRequest("GET", "/b/k", query))).region == "eu-north-1"


async def test_an_unsigned_form_is_known_by_its_version():
    body = stream_of(b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=x")
    request = HttpRequest(
        "POST", "/", headers={"content-type": "application/x-www-form-urlencoded; charset=utf-8"}, body=body
    )
    found = await route(request)
    assert (found.service, found.protocol) == ("sts", "query")
    assert (await request.body.read(bytes_max=1000)).startswith(b"Action=")


async def test_a_bucket_may_be_named_like_a_lambda_path():
    assert (await route(HttpRequest("GET", "/2015-03-31/functions/f"))).service == "lambda"
    assert (await route(HttpRequest("GET", "/2015-03-31/other"))).service == "s3"


@pytest.mark.parametrize(
    ("request_", "code", "protocol"),
    [
        (HttpRequest("POST", "/", headers={"x-amz-target": "Nope.X"}), "UnknownOperationException", "json"),
        (HttpRequest("POST", "/", headers={"x-amz-target": "AmazonSQS.X"}), "UnknownOperationException", "json"),
        (HttpRequest("GET", "/", "Action=Nope&Version=2010-05-08"), "InvalidAction", "query"),
        (HttpRequest("PATCH", "/b/k"), "MethodNotAllowed", "rest-xml"),
    ],
)
async def test_what_means_nothing_is_refused_in_the_callers_protocol(request_, code, protocol):
    with pytest.raises(NoRoute) as refused:
        await route(request_)
    assert (refused.value.code, refused.value.protocol) == (code, protocol)


def test_the_table_of_services_agrees_with_the_models():
    for name, row in SERVED.items():
        metadata = service_model(name).metadata
        signed_for = metadata.get("signingName") or metadata["endpointPrefix"]
        assert row == (signed_for, metadata.get("targetPrefix", ""), metadata["apiVersion"]), name
