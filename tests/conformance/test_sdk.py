"""boto3 against a running node: the main job's calls, as a user writes them."""

import base64
import io
import json
import time
import urllib.error
import urllib.request
import zipfile

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.real_clients

ECHO = "def handler(event, context):\n    print('got', event)\n    return event\n"


def package(source, name="app.py"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, source)
    return buffer.getvalue()


def create(node, name, source=ECHO, **settings):
    client = node.client("lambda")
    given = {"Runtime": "python3.12", "Role": "arn:aws:iam::000000000000:role/r", "Handler": "app.handler", **settings}
    client.create_function(FunctionName=name, Code={"ZipFile": package(source)}, **given)
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0})
    return client


def invoke(client, name, event=None, **settings):
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event or {}), **settings)
    body = answer["Payload"].read()
    return answer, json.loads(body) if body else None


def test_a_function_is_created_invoked_updated_and_deleted(node):
    client = create(node, "whole-life", Environment={"Variables": {"WORD": "1"}})
    answer, body = invoke(client, "whole-life", {"x": [1, "é"]}, LogType="Tail")
    assert (answer["StatusCode"], answer["ExecutedVersion"], body) == (200, "$LATEST", {"x": [1, "é"]})
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert "got {'x': [1, 'é']}" in tail
    assert "REPORT RequestId: " + answer["ResponseMetadata"]["RequestId"] in tail
    source = "import os\ndef handler(event, context):\n    return os.environ['WORD'], context.function_version\n"
    client.update_function_code(FunctionName="whole-life", ZipFile=package(source))
    client.get_waiter("function_updated_v2").wait(FunctionName="whole-life", WaiterConfig={"Delay": 0})
    assert invoke(client, "whole-life")[1] == ["1", "$LATEST"]
    client.delete_function(FunctionName="whole-life")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="whole-life")


def test_its_code_can_be_downloaded_from_where_get_function_says(node):
    client = create(node, "downloaded")
    location = client.get_function(FunctionName="downloaded")["Code"]["Location"]
    with urllib.request.urlopen(location) as answer:
        assert zipfile.ZipFile(io.BytesIO(answer.read())).read("app.py").decode() == ECHO


@pytest.mark.parametrize(
    ("name", "source", "settings", "error"),
    [
        ("raises", "def handler(event, context):\n    raise KeyError('k')\n", {}, {"errorType": "KeyError"}),
        ("no-module", "import nothing_like_it\n", {}, {"errorType": "Runtime.ImportModuleError"}),
        ("no-handler", "x = 1\n", {}, {"errorType": "Runtime.HandlerNotFound"}),
        ("bad-syntax", "def handler(:\n", {}, {"errorType": "Runtime.UserCodeSyntaxError"}),
        ("unserialisable", "def handler(e, c):\n    return {1, 2}\n", {}, {"errorType": "Runtime.MarshalError"}),
        ("exits", "import os\ndef handler(e, c):\n    os._exit(1)\n", {}, {"errorType": "Runtime.ExitError"}),
        (
            "slow",
            "import time\ndef handler(e, c):\n    time.sleep(30)\n",
            {"Timeout": 1},
            {"errorType": "Sandbox.Timedout"},
        ),
        (
            "greedy",
            "def handler(e, c):\n    return len(bytearray(1 << 30))\n",
            {"Timeout": 30},
            {"errorType": "Runtime.ExitError"},
        ),
    ],
)
def test_a_failing_function_is_told_as_aws_tells_it(node, name, source, settings, error):
    client = create(node, f"failing-{name}", source, **settings)
    answer, body = invoke(client, f"failing-{name}")
    assert answer["FunctionError"] == "Unhandled"
    assert {key: body[key] for key in error} == error
    assert client.invoke(FunctionName=f"failing-{name}", Payload=b"{}")["StatusCode"] == 200


def test_an_event_that_fails_is_tried_again_on_the_clock_and_ends_in_the_dead_letter_queue(fresh_node):
    node = fresh_node("--clock", "virtual")
    sqs = node.client("sqs")
    url = sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    source = "def handler(event, context):\n    raise ValueError('no')\n"
    client = create(node, "fails", source, DeadLetterConfig={"TargetArn": arn})
    assert client.invoke(FunctionName="fails", InvocationType="Event", Payload=b'{"n": 1}')["StatusCode"] == 202
    node.run("clock", "run-until-idle")
    message = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"][0]
    assert json.loads(message["Body"]) == {"n": 1}
    assert message["MessageAttributes"]["ErrorMessage"]["StringValue"] == "no"
    lines = node.client("logs").filter_log_events(logGroupName="/aws/lambda/fails", filterPattern='"START RequestId"')[
        "events"
    ]
    times = [line["timestamp"] for line in lines]
    assert len(times) == 3
    assert times[1] - times[0] >= 60_000
    assert times[2] - times[1] >= 120_000


def test_an_uploaded_object_is_handed_to_the_function(node):
    s3 = node.client("s3")
    s3.create_bucket(Bucket="uploads")
    source = (
        "import boto3\ns3 = boto3.client('s3')\n"
        "def handler(event, context):\n"
        "    record = event['Records'][0]['s3']\n"
        "    body = s3.get_object(Bucket=record['bucket']['name'], Key=record['object']['key'])['Body'].read()\n"
        "    s3.put_object(Bucket=record['bucket']['name'], Key='out/' + record['object']['key'], Body=body.upper())\n"
    )
    client = create(node, "on-upload", source)
    arn = client.get_function(FunctionName="on-upload")["Configuration"]["FunctionArn"]
    client.add_permission(
        FunctionName="on-upload",
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::uploads",
    )
    rule = {"Filter": {"Key": {"FilterRules": [{"Name": "suffix", "Value": ".txt"}]}}}
    configuration = {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"], **rule}
    s3.put_bucket_notification_configuration(
        Bucket="uploads", NotificationConfiguration={"LambdaFunctionConfigurations": [configuration]}
    )
    s3.put_object(Bucket="uploads", Key="a.txt", Body=b"hello")
    s3.get_waiter("object_exists").wait(Bucket="uploads", Key="out/a.txt", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    assert s3.get_object(Bucket="uploads", Key="out/a.txt")["Body"].read() == b"HELLO"


def test_globals_and_tmp_last_between_warm_invocations(node):
    source = (
        "import os\ncount = 0\n"
        "def handler(event, context):\n"
        "    global count\n    count += 1\n"
        "    open('/tmp/seen', 'a').write('x')\n"
        "    return count, os.path.getsize('/tmp/seen')\n"
    )
    client = create(node, "keeps", source)
    assert [invoke(client, "keeps")[1] for _ in range(3)] == [[1, 1], [2, 2], [3, 3]]


def test_a_presigned_url_gives_and_takes(node):
    s3 = node.client("s3")
    s3.create_bucket(Bucket="presigned")
    put = s3.generate_presigned_url("put_object", Params={"Bucket": "presigned", "Key": "a b"})
    request = urllib.request.Request(put, data=b"body", method="PUT", headers={"Content-Type": ""})
    with urllib.request.urlopen(request):
        pass
    get = s3.generate_presigned_url("get_object", Params={"Bucket": "presigned", "Key": "a b"})
    with urllib.request.urlopen(get) as answer:
        assert answer.read() == b"body"


def test_a_multipart_upload_of_many_megabytes_comes_back_whole(node):
    s3 = node.client("s3")
    s3.create_bucket(Bucket="large")
    data = bytes(range(256)) * (20 * 4096)
    s3.upload_fileobj(io.BytesIO(data), "large", "big")
    found = s3.head_object(Bucket="large", Key="big")
    assert found["ContentLength"] == len(data)
    assert found["ETag"].endswith('-3"')
    out = io.BytesIO()
    s3.download_fileobj("large", "big", out)
    assert out.getvalue() == data


def test_virtual_hosts_name_the_bucket(node):
    port = node.url.rpartition(":")[2]
    s3 = node.client("s3")
    s3.create_bucket(Bucket="hosted")
    s3.put_object(Bucket="hosted", Key="k", Body=b"v")
    for host in (f"hosted.localhost:{port}", f"hosted.s3.localhost.localstack.cloud:{port}"):
        with urllib.request.urlopen(urllib.request.Request(f"{node.url}/k", headers={"Host": host})) as answer:
            assert answer.read() == b"v"


def test_a_twelve_digit_key_is_an_account_of_its_own(node):
    other = node.client("sts", aws_access_key_id="111122223333")
    assert other.get_caller_identity()["Account"] == "111122223333"
    create(node, "mine")
    assert "mine" not in [
        found["FunctionName"]
        for found in node.client("lambda", aws_access_key_id="111122223333").list_functions()["Functions"]
    ]


def test_what_is_not_built_says_so(node):
    with pytest.raises(ClientError) as refused:
        node.client("glue").get_databases()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_errors_are_the_sdks_own_classes(node):
    s3, logs = node.client("s3"), node.client("logs")
    with pytest.raises(s3.exceptions.NoSuchBucket):
        s3.list_objects_v2(Bucket="no-such-bucket-at-all")
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.get_log_events(logGroupName="none", logStreamName="none")
    with pytest.raises(ClientError, match="404"):
        s3.head_bucket(Bucket="no-such-bucket-at-all")


def test_a_queue_is_served_with_its_own_url(node):
    sqs = node.client("sqs")
    url = sqs.create_queue(QueueName="work")["QueueUrl"]
    assert url.startswith(node.url)
    sqs.send_message(QueueUrl=url, MessageBody="hello <&>")
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "hello <&>"
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.get_queue_url(QueueName="none")


def test_many_at_once(node):
    client = node.client("lambda")
    create(node, "burst")
    started = time.monotonic()
    for number in range(100):
        client.invoke(FunctionName="burst", InvocationType="Event", Payload=json.dumps({"n": number}))
    logs = node.client("logs")
    found = set()
    while len(found) < 100 and time.monotonic() - started < 60:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName="/aws/lambda/burst", filterPattern="got")
        found = {event["message"] for page in pages for event in page["events"]}
    assert len(found) == 100


def test_long_polls_answer_when_a_message_comes(node):
    sqs = node.client("sqs")
    url = sqs.create_queue(QueueName="polled")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="late", DelaySeconds=1)
    assert sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"][0]["Body"] == "late"


def test_a_function_has_a_url_of_its_own(node):
    source = (
        "import json\n"
        "def handler(event, context):\n"
        "    return {'statusCode': 201, 'headers': {'X-Path': event['rawPath']}, 'body': event.get('body') or ''}\n"
    )
    client = create(node, "with-url", source)
    made = client.create_function_url_config(FunctionName="with-url", AuthType="NONE")
    host = made["FunctionUrl"].removeprefix("http://").rstrip("/")
    request = urllib.request.Request(
        f"{node.url}/some/path?x=1", data=b"hello", headers={"Host": host, "Content-Type": "text/plain"}
    )
    with urllib.request.urlopen(request) as answer:
        assert (answer.status, answer.headers["X-Path"], answer.read()) == (201, "/some/path", b"hello")
    assert client.list_function_url_configs(FunctionName="with-url")["FunctionUrlConfigs"][0]["AuthType"] == "NONE"
    client.delete_function_url_config(FunctionName="with-url")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(urllib.request.Request(node.url, headers={"Host": host}))
