"""A queue that feeds a real function, as an SDK's user sets it up."""

import json
import time

import pytest

from penstock.testkit.functions import ROLE, zipped

pytestmark = pytest.mark.real_clients
CODE = """
import boto3
s3 = boto3.client("s3")

def handler(event, context):
    failed = []
    for record in event["Records"]:
        if record["body"] == "bad":
            failed.append({"itemIdentifier": record["messageId"]})
        else:
            s3.put_object(Bucket="from-queue", Key=record["body"], Body=record["messageId"].encode())
    return {"batchItemFailures": failed}
"""


def test_messages_are_worked_off_and_what_fails_ends_in_the_dead_letter_queue(node):
    sqs, client, s3 = node.client("sqs"), node.client("lambda"), node.client("s3")
    s3.create_bucket(Bucket="from-queue")
    dead = sqs.create_queue(QueueName="fed-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    url = sqs.create_queue(QueueName="fed", Attributes={"RedrivePolicy": redrive, "VisibilityTimeout": "12"})[
        "QueueUrl"
    ]
    source = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client.create_function(
        FunctionName="fed",
        Runtime="python3.12",
        Role=ROLE,
        Handler="app.handler",
        Timeout=12,
        Code={"ZipFile": zipped(CODE)},
    )
    client.get_waiter("function_active_v2").wait(FunctionName="fed")
    client.create_event_source_mapping(
        EventSourceArn=source, FunctionName="fed", FunctionResponseTypes=["ReportBatchItemFailures"]
    )
    words = [f"m{number}" for number in range(50)]
    for at in range(0, 50, 10):
        entries = [{"Id": word, "MessageBody": word} for word in words[at : at + 10]]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    sqs.send_message(QueueUrl=url, MessageBody="bad")
    message = sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=20)["Messages"][0]
    assert message["Body"] == "bad"
    deadline_s = time.monotonic() + 20
    while (found := s3.list_objects_v2(Bucket="from-queue")).get("KeyCount", 0) < 50:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert {entry["Key"] for entry in found["Contents"]} == set(words)


def test_a_stream_feeds_a_function_in_order(node):
    kinesis, client, s3 = node.client("kinesis"), node.client("lambda"), node.client("s3")
    s3.create_bucket(Bucket="from-stream")
    kinesis.create_stream(StreamName="feed", ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(StreamName="feed", WaiterConfig={"Delay": 1})
    source = kinesis.describe_stream_summary(StreamName="feed")["StreamDescriptionSummary"]["StreamARN"]
    code = """
import base64, boto3
s3 = boto3.client("s3")

def handler(event, context):
    for record in event["Records"]:
        key = f"{record['kinesis']['partitionKey']}/{record['kinesis']['sequenceNumber']}"
        s3.put_object(Bucket="from-stream", Key=key, Body=base64.b64decode(record["kinesis"]["data"]))
"""
    client.create_function(
        FunctionName="streamed", Runtime="python3.12", Role=ROLE, Handler="app.handler", Code={"ZipFile": zipped(code)},
        Timeout=30,
    )  # fmt: skip
    client.get_waiter("function_active_v2").wait(FunctionName="streamed")
    client.create_event_source_mapping(EventSourceArn=source, FunctionName="streamed", StartingPosition="TRIM_HORIZON")
    records = [{"Data": b"%03d" % n, "PartitionKey": f"key{n % 5}"} for n in range(100)]
    kinesis.put_records(StreamName="feed", Records=records)
    deadline_s = time.monotonic() + 30
    while (found := s3.list_objects_v2(Bucket="from-stream")).get("KeyCount", 0) < 100:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    for number in range(5):
        keys = sorted(
            (entry["Key"] for entry in found["Contents"] if entry["Key"].startswith(f"key{number}/")),
            key=lambda key: int(key.split("/")[1]),
        )
        bodies = [s3.get_object(Bucket="from-stream", Key=key)["Body"].read() for key in keys]
        assert bodies == [b"%03d" % n for n in range(100) if n % 5 == number]
