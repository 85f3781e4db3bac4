"""Functions on a running node, as an SDK's user makes and watches them."""

import base64
import json
import shutil
import time
import urllib.request

import pytest

from penstock.testkit.functions import ROLE, zipped

pytestmark = [pytest.mark.real_clients, pytest.mark.xdist_group("conformance-lambda")]
CODE = """
import json, os, boto3

def handler(event, context):
    print("seen", json.dumps(event))
    if event.get("fail"):
        raise ValueError("told to fail")
    for record in event.get("Records", []):
        key = record["s3"]["object"]["key"]
        boto3.client("s3").put_object(Bucket="room-out", Key=key, Body=os.environ["WORD"].encode())
    return {"arn": context.invoked_function_arn, "version": context.function_version, "word": os.environ["WORD"]}
"""


def until(found, *, seconds=20):
    """What `found` answers, once it answers something."""
    deadline_s = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < deadline_s, "nothing came"
        time.sleep(0.05)
    return answer


@pytest.fixture(scope="module")
def function(node):
    client = node.client("lambda")
    client.create_function(
        FunctionName="room",
        Runtime="python3.11",
        Role=ROLE,
        Handler="app.handler",
        Timeout=10,
        Code={"ZipFile": zipped(CODE)},
        Environment={"Variables": {"WORD": "one"}},
    )
    client.get_waiter("function_active_v2").wait(FunctionName="room")
    return client


STREAMING = """
exports.handler = awslambda.streamifyResponse(async (event, out) => {
  if (event.rawPath) out = awslambda.HttpResponseStream.from(out, { statusCode: 203, headers: { "x-a": "b" } });
  out.write("first ");
  await new Promise((go) => setTimeout(go, 300));
  if (event.fail) throw new RangeError("far");
  out.write("x".repeat(7000000));
});
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js isn't installed")
def test_a_streamed_answer_comes_while_it_is_made_beyond_6_mb_and_through_a_url(node):
    client = node.client("lambda")
    client.create_function(
        FunctionName="streaming",
        Runtime="nodejs22.x",
        Role=ROLE,
        Handler="index.handler",
        Timeout=20,
        MemorySize=512,
        Code={"ZipFile": zipped(STREAMING, name="index.js")},
    )
    client.get_waiter("function_active_v2").wait(FunctionName="streaming")
    answer = client.invoke_with_response_stream(FunctionName="streaming", Payload=b"{}", LogType="Tail")
    seen = [(time.monotonic(), event) for event in answer["EventStream"]]
    assert seen[0][1]["PayloadChunk"]["Payload"] == b"first "
    assert seen[1][0] - seen[0][0] > 0.1
    assert sum(len(event["PayloadChunk"]["Payload"]) for _, event in seen[:-1]) == 7_000_006
    assert b"REPORT" in base64.b64decode(seen[-1][1]["InvokeComplete"]["LogResult"])
    answer = client.invoke_with_response_stream(FunctionName="streaming", Payload=b'{"fail": true}')
    first, end = list(answer["EventStream"])
    assert (first["PayloadChunk"]["Payload"], end["InvokeComplete"]["ErrorCode"]) == (b"first ", "RangeError")
    url = client.create_function_url_config(FunctionName="streaming", AuthType="NONE", InvokeMode="RESPONSE_STREAM")
    host = urllib.request.urlparse(url["FunctionUrl"]).netloc
    with urllib.request.urlopen(urllib.request.Request(node.url, headers={"Host": host})) as response:
        assert (response.status, response.headers["x-a"]) == (203, "b")
        assert response.headers["transfer-encoding"] == "chunked"
        assert len(response.read()) == 7_000_006


def test_an_invocation_runs_the_code_and_an_update_changes_it(function):
    answer = function.invoke(FunctionName="room", Payload=b'{"a": 1}', LogType="Tail")
    assert json.load(answer["Payload"])["word"] == "one"
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert 'seen {"a": 1}' in tail
    assert "REPORT RequestId: " in tail
    function.publish_version(FunctionName="room")
    function.update_function_configuration(FunctionName="room", Environment={"Variables": {"WORD": "two"}})
    function.get_waiter("function_updated_v2").wait(FunctionName="room")
    function.create_alias(FunctionName="room", Name="old", FunctionVersion="1")
    new, old = (
        json.load(function.invoke(FunctionName="room", **qualified, Payload=b"{}")["Payload"])
        for qualified in ({}, {"Qualifier": "old"})
    )
    assert (new["word"], new["version"]) == ("two", "$LATEST")
    assert (old["word"], old["version"], old["arn"].split(":")[-1]) == ("one", "1", "old")


def test_an_error_is_shaped_as_aws_shapes_it_and_its_log_reaches_cloudwatch(node, function):
    answer = function.invoke(FunctionName="room", Payload=b'{"fail": true}')
    error = json.load(answer["Payload"])
    assert (answer["FunctionError"], error["errorType"], error["errorMessage"]) == (
        "Unhandled",
        "ValueError",
        "told to fail",
    )
    logs = node.client("logs")

    def events():
        """Nothing, too, while the group isn't there: the first lines make it."""
        try:
            found = logs.filter_log_events(logGroupName="/aws/lambda/room", filterPattern='"[ERROR] ValueError"')
        except logs.exceptions.ResourceNotFoundException:
            return []
        return found["events"]

    assert "told to fail" in until(events)[0]["message"]


def test_an_upload_runs_the_function_and_a_failed_event_ends_in_the_dead_letter_queue(node, function):
    s3, sqs = node.client("s3"), node.client("sqs")
    arn = function.get_function(FunctionName="room")["Configuration"]["FunctionArn"]
    url = sqs.create_queue(QueueName="room-dead")["QueueUrl"]
    target = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    for bucket in ("room-in", "room-out"):
        s3.create_bucket(Bucket=bucket)
    function.add_permission(
        FunctionName="room", StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com"
    )
    s3.put_bucket_notification_configuration(
        Bucket="room-in",
        NotificationConfiguration={
            "LambdaFunctionConfigurations": [{"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}]
        },
    )
    s3.put_object(Bucket="room-in", Key="a.csv", Body=b"1")
    assert until(lambda: s3.list_objects_v2(Bucket="room-out").get("Contents"))[0]["Key"] == "a.csv"
    function.put_function_event_invoke_config(
        FunctionName="room", MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": target}}
    )
    sent = function.invoke(FunctionName="room", InvocationType="Event", Payload=b'{"fail": 1}')
    message = until(lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages"))[0]
    record = json.loads(message["Body"])
    assert record["requestContext"]["requestId"] == sent["ResponseMetadata"]["RequestId"]
    assert (record["requestContext"]["condition"], record["responsePayload"]["errorType"]) == (
        "RetriesExhausted",
        "ValueError",
    )


def test_the_location_of_the_code_gives_the_zip(function):
    location = function.get_function(FunctionName="room")["Code"]["Location"]
    with urllib.request.urlopen(location) as answer:
        assert answer.read() == zipped(CODE)
