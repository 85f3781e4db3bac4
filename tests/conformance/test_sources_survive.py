"""A node that is killed in the middle: what was acknowledged is handed over, in order, after it starts again."""

import signal
import time

import pytest

from penstock.testkit.functions import ROLE, zipped

pytestmark = pytest.mark.real_clients
CODE = """
import base64, boto3, time
s3 = boto3.client("s3")

def handler(event, context):
    for record in event["Records"]:
        if "body" in record:
            key = "queue/" + record["body"]
        else:
            key = "stream/" + base64.b64decode(record["kinesis"]["data"]).decode()
        s3.put_object(Bucket="seen", Key=key, Body=str(time.time()).encode())
"""
RECORDS, MESSAGES, KEYS = 120, 80, 4


def seen(node):
    pages = node.client("s3").get_paginator("list_objects_v2").paginate(Bucket="seen")
    return {entry["Key"] for page in pages for entry in page.get("Contents", [])}


def wait_until(test):
    until_s = time.monotonic() + 60
    while not test():
        assert time.monotonic() < until_s
        time.sleep(0.05)


def test_records_and_messages_outlive_a_killed_node(fresh_node):
    node = fresh_node()
    kinesis, sqs, client = node.client("kinesis"), node.client("sqs"), node.client("lambda")
    node.client("s3").create_bucket(Bucket="seen")
    kinesis.create_stream(StreamName="s", ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(StreamName="s", WaiterConfig={"Delay": 1})
    stream = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
    url = sqs.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "8"})["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client.create_function(
        FunctionName="f", Runtime="python3.12", Role=ROLE, Handler="app.handler", Timeout=8,
        Code={"ZipFile": zipped(CODE)},
    )  # fmt: skip
    client.get_waiter("function_active_v2").wait(FunctionName="f")
    client.create_event_source_mapping(
        EventSourceArn=stream, FunctionName="f", StartingPosition="TRIM_HORIZON", BatchSize=5, ParallelizationFactor=3
    )
    client.create_event_source_mapping(EventSourceArn=queue, FunctionName="f", BatchSize=5)
    for at in range(0, RECORDS, 20):
        records = [{"Data": b"%03d" % n, "PartitionKey": f"k{n % KEYS}"} for n in range(at, at + 20)]
        kinesis.put_records(StreamName="s", Records=records)
    for at in range(0, MESSAGES, 10):
        entries = [{"Id": str(n), "MessageBody": f"{n:03d}"} for n in range(at, at + 10)]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    wait_until(lambda: len(seen(node)) > 20)
    node.stop(signal.SIGKILL)
    node = fresh_node(data=node.data)
    wanted = {f"stream/{n:03d}" for n in range(RECORDS)} | {f"queue/{n:03d}" for n in range(MESSAGES)}
    wait_until(lambda: seen(node) == wanted)
    url = f"{node.url}/000000000000/q"
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    wait_until(
        lambda: (
            set(node.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values())
            == {"0"}
        )
    )
