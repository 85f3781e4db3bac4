"""An SDK's client against the room, through the protocol's code and without a server."""

import asyncio
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError

from penstock.engines.functions.ports import Throttled
from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import ByteStream, stream_of
from penstock.protocol.codecs import codec_for
from penstock.protocol.messages import HttpRequest
from penstock.protocol.route import route
from penstock.services import lambda_, s3
from penstock.testkit.functions import ROLE, FakePool, outcome, zipped
from penstock.testkit.world import World


class Raw:
    def __init__(self, body):
        self._body = body

    def read(self, amount=None, **_):
        body, self._body = self._body, b""
        return body

    def stream(self, **_):
        yield self.read()


class Wire:
    """Each call of the client runs to its end on one loop, with what it causes."""

    def __init__(self):
        self.pool = FakePool()
        self.world = World(lambda_.SERVICE, s3.SERVICE, functions=self.pool)
        self.runner = asyncio.Runner()
        self.statuses = []
        config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
        session = boto3.session.Session("test", "test", region_name="us-east-1")
        self.client = session.client("lambda", endpoint_url="http://localhost:4566", config=config)
        self.client.meta.events.register("before-send.lambda", self.send)

    def send(self, request, **_):
        return self.runner.run(self._send(request))

    async def _send(self, request):
        url = urlsplit(request.url)
        headers = {
            name.lower(): value.decode() if isinstance(value, bytes) else value
            for name, value in request.headers.items()
        }
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else body.read()
        asked = HttpRequest(request.method, url.path, url.query, headers, stream_of(body))
        found = await route(asked)
        codec = codec_for(found.protocol)
        try:
            members = await codec.parse_request(found.operation, asked, found.path_labels)
            answer = await self.world.context().call(found.service, found.operation.name, members)
            response = codec.serialize_response(found.operation, answer, "request-1")
        except ServiceError as error:
            response = codec.serialize_error(found.operation, error, "request-1")
        await self.world.settle()
        content = response.body
        if isinstance(content, ByteStream):
            content = await content.read(bytes_max=10_000_000)
        self.statuses.append(response.status)
        return AWSResponse(request.url, response.status, dict(response.headers), Raw(content))

    def create(self, name="f", **members):
        params = {"Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler", "Code": {"ZipFile": zipped()}}
        return self.client.create_function(FunctionName=name, **params, **members)


@pytest.fixture
def wire():
    wire = Wire()
    yield wire
    wire.runner.close()


def test_a_client_creates_waits_for_invokes_updates_and_deletes_a_function(wire):
    client, pool = wire.client, wire.pool
    assert wire.create(Environment={"Variables": {"A1": "x"}})["State"] == "Pending"
    assert wire.statuses == [201]
    client.get_waiter("function_active_v2").wait(FunctionName="f")
    client.get_waiter("function_exists").wait(FunctionName="f")
    pool.handler = lambda spec, invocation: outcome(b'{"ok":1}', error="E", log=b"tail")
    answer = client.invoke(FunctionName="f", Payload=b'{"a":1}', LogType="Tail")
    assert (answer["StatusCode"], answer["FunctionError"], answer["ExecutedVersion"]) == (200, "Unhandled", "$LATEST")
    assert (answer["Payload"].read(), answer["LogResult"]) == (b'{"ok":1}', "dGFpbA==")
    assert client.invoke(FunctionName="f", InvocationType="Event")["StatusCode"] == 202
    assert client.invoke(FunctionName="f", InvocationType="DryRun")["StatusCode"] == 204
    assert client.invoke_async(FunctionName="f", InvokeArgs=b"{}")["Status"] == 202
    client.update_function_configuration(FunctionName="f", Timeout=7)
    client.get_waiter("function_updated_v2").wait(FunctionName="f")
    published = client.publish_version(FunctionName="f")
    assert published["Version"] == "1"
    client.get_waiter("published_version_active").wait(FunctionName="f", Qualifier="1")
    alias = client.create_alias(
        FunctionName="f", Name="live", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {}}
    )
    assert client.get_alias(FunctionName="f", Name="live")["RevisionId"] == alias["RevisionId"]
    client.put_function_event_invoke_config(FunctionName="f", MaximumRetryAttempts=1)
    assert client.get_function_event_invoke_config(FunctionName="f")["LastModified"].year == 2026
    client.tag_resource(Resource=published["FunctionArn"].removesuffix(":1"), Tags={"a": "b"})
    assert client.get_function(FunctionName="f")["Tags"] == {"a": "b"}
    client.delete_alias(FunctionName="f", Name="live")
    client.delete_function(FunctionName="f")
    assert wire.statuses[-1] == 204
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="f")


def test_a_client_reads_an_answer_as_a_stream(wire):
    wire.create()
    answer = wire.client.invoke_with_response_stream(FunctionName="f", Payload=b'{"a":1}', LogType="Tail")
    assert list(answer["EventStream"]) == [
        {"PayloadChunk": {"Payload": b'{"a":1}'}},
        {"InvokeComplete": {"LogResult": ""}},
    ]
    wire.pool.handler = lambda spec, invocation: outcome(b'{"errorMessage":"x"}', error="E")
    answer = wire.client.invoke_with_response_stream(FunctionName="f")
    assert list(answer["EventStream"]) == [
        {"InvokeComplete": {"ErrorCode": "Unhandled", "ErrorDetails": '{"errorMessage":"x"}'}}
    ]


def test_a_client_publishes_layers_and_grants_permissions(wire):
    client = wire.client
    layer = client.publish_layer_version(
        LayerName="l", Content={"ZipFile": zipped()}, CompatibleRuntimes=["python3.11"]
    )
    wire.create(Layers=[layer["LayerVersionArn"]])
    assert client.get_layer_version_by_arn(Arn=layer["LayerVersionArn"])["Version"] == 1
    assert client.list_layers()["Layers"][0]["LatestMatchingVersion"]["Version"] == 1
    client.add_permission(FunctionName="f", StatementId="s", Action="lambda:*", Principal="*")
    assert '"Sid":"s"' in client.get_policy(FunctionName="f")["Policy"]
    client.remove_permission(FunctionName="f", StatementId="s")
    assert wire.statuses[-1] == 204
    client.delete_layer_version(LayerName="l", VersionNumber=1)
    client.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=5)
    assert client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 995
    client.delete_function_concurrency(FunctionName="f")
    wire.create("g")
    pages = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 1})
    assert [f["FunctionName"] for page in pages for f in page["Functions"]] == ["f", "g"]


def test_a_client_hears_errors_as_its_own_exceptions(wire):
    client = wire.client
    wire.create()

    def throttle(spec, invocation):
        raise Throttled("ConcurrentInvocationLimitExceeded")

    wire.pool.handler = throttle
    with pytest.raises(client.exceptions.TooManyRequestsException) as raised:
        client.invoke(FunctionName="f")
    assert raised.value.response["Reason"] == "ConcurrentInvocationLimitExceeded"
    assert raised.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
    with pytest.raises(client.exceptions.ResourceConflictException, match="Function already exist: f"):
        wire.create()
    with pytest.raises(client.exceptions.InvalidRequestContentException):
        client.invoke(FunctionName="f", Payload=b"{")
    with pytest.raises(
        client.exceptions.RequestTooLargeException, match="6291456 bytes for the InvokeFunction"
    ) as large:
        client.invoke(FunctionName="f", Payload=b'"' + b"x" * 6_291_456 + b'"')
    assert large.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    with pytest.raises(ClientError, match="Zipped size must be smaller than 52428800 bytes") as large:
        wire.client.create_function(
            FunctionName="g", Runtime="python3.11", Role=ROLE, Handler="a.b", Code={"ZipFile": b"0" * 52_428_801}
        )
    assert large.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_a_client_signs_code_shares_layers_and_writes_whole_policies(wire):
    client = wire.client
    arn = wire.create(Publish=True)["FunctionArn"]
    publishers = {"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/abcdefghij"]}
    signing = client.create_code_signing_config(AllowedPublishers=publishers, Tags={"a": "1"})["CodeSigningConfig"]
    assert wire.statuses[-1] == 201
    signing_arn = signing["CodeSigningConfigArn"]
    client.put_function_code_signing_config(FunctionName="f", CodeSigningConfigArn=signing_arn)
    assert client.list_functions_by_code_signing_config(CodeSigningConfigArn=signing_arn)["FunctionArns"] == [arn]
    client.tag_resource(Resource=signing_arn, Tags={"b": "2"})
    assert client.list_tags(Resource=signing_arn)["Tags"] == {"a": "1", "b": "2"}
    with pytest.raises(client.exceptions.ResourceConflictException):
        client.delete_code_signing_config(CodeSigningConfigArn=signing_arn)
    client.delete_function_code_signing_config(FunctionName="f")
    client.delete_code_signing_config(CodeSigningConfigArn=signing_arn)
    assert wire.statuses[-2:] == [204, 204]
    client.publish_layer_version(LayerName="l", Content={"ZipFile": zipped()})
    grant = {"StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "111122223333"}
    revision = client.add_layer_version_permission(LayerName="l", VersionNumber=1, **grant)["RevisionId"]
    assert wire.statuses[-1] == 201
    assert client.get_layer_version_policy(LayerName="l", VersionNumber=1)["RevisionId"] == revision
    with pytest.raises(client.exceptions.PreconditionFailedException):
        client.remove_layer_version_permission(LayerName="l", VersionNumber=1, StatementId="s", RevisionId="x")
    client.remove_layer_version_permission(LayerName="l", VersionNumber=1, StatementId="s", RevisionId=revision)
    policy = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"lambda:*","Resource":"*"}]}'
    )
    written = client.put_resource_policy(ResourceArn=arn, Policy=policy)
    assert client.get_resource_policy(ResourceArn=arn)["Policy"] == policy
    client.delete_resource_policy(ResourceArn=arn, RevisionId=written["RevisionId"])
    assert wire.statuses[-1] == 204
    client.put_runtime_management_config(FunctionName="f", Qualifier="1", UpdateRuntimeOn="FunctionUpdate")
    assert client.get_runtime_management_config(FunctionName="f", Qualifier="1")["UpdateRuntimeOn"] == "FunctionUpdate"
    assert client.list_capacity_providers()["CapacityProviders"] == []
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_capacity_provider(CapacityProviderName="c")


def test_statuses_and_bodies_of_refusals_are_aws_s(wire):
    client = wire.client
    wire.create()
    for call, status, code, member in (
        (lambda: client.get_function(FunctionName="g"), 404, "ResourceNotFoundException", "Message"),
        (lambda: wire.create(), 409, "ResourceConflictException", "message"),
        (lambda: wire.create("g", MemorySize=10_241), 400, "InvalidParameterValueException", "message"),
        (lambda: client.update_function_code(FunctionName="f", ZipFile=zipped(), RevisionId="x"), 412,
         "PreconditionFailedException", "message"),
    ):  # fmt: skip
        with pytest.raises(ClientError) as raised:
            call()
        answer = raised.value.response
        assert (wire.statuses[-1], answer["Error"]["Code"], answer["Type"]) == (status, code, "User")
        assert answer[member] == answer["Error"]["Message"]
        assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-errortype"] == code
    with pytest.raises(ClientError, match="Member must have value greater than or equal to 1") as raised:
        wire.create("g", Timeout=0)
    assert raised.value.response["Error"]["Code"] == "ValidationException"
