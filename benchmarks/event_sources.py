"""Queues and streams to Lambda on a running node: how fast they are filled, and how fast they are worked off."""

import asyncio
import base64
import time

import orjson
import uvloop

from benchmarks._node import BenchNode, per_second, request, running_node
from penstock.app.client import ask
from penstock.testkit.functions import ROLE, zipped

MESSAGES, AIM_S = 10_000, 5.0
RECORDS, AIM_PUT, AIM_READ = 40_000, 30_000, 20_000
SOURCE = "def handler(event, context):\n    return len(event['Records'])\n"
_JSON = {"content_type": "application/x-amz-json-1.0"}


def main() -> None:
    with running_node() as node:
        uvloop.run(_measure(node))
        uvloop.run(_stream(node))


async def _measure(node: BenchNode) -> None:
    sqs, client = node.sdk("sqs"), node.sdk("lambda")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    made = client.create_function(
        FunctionName="f", Runtime="python3.12", Role=ROLE, Handler="app.handler", Code={"ZipFile": zipped(SOURCE)}
    )
    client.get_waiter("function_active_v2").wait(FunctionName="f")
    client.invoke(FunctionName="f", Payload=b'{"Records": []}')
    entries = [{"Id": str(number), "MessageBody": "x" * 100} for number in range(10)]
    body = orjson.dumps({"QueueUrl": url, "Entries": entries})
    call = request("sqs", "POST", "/", body, x_amz_target="AmazonSQS.SendMessageBatch", **_JSON)
    rate = await per_second(node.port, lambda n: call, clients=16, calls=MESSAGES // 10)
    print(f"{'SendMessageBatch of 10, 16 clients':<40}{rate * 10:>10,.0f} messages/s")
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    began = time.perf_counter()
    client.create_event_source_mapping(EventSourceArn=arn, FunctionName=made["FunctionArn"])
    while _left(sqs, url):  # noqa: ASYNC110 - nothing tells a client that a queue is empty
        await asyncio.sleep(0.05)
    took_s = time.perf_counter() - began
    print(f"{'drain of 10,000 messages':<40}{took_s:>10.2f} s    {AIM_S / took_s:.2f} of the aim ({AIM_S:g} s)")


def _left(sqs: object, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]  # type: ignore[attr-defined]
    return sum(int(found[name]) for name in names)


async def _stream(node: BenchNode) -> None:
    """PutRecords of 100 records of 1 KB to 4 shards, then batches of 100 to the function."""
    kinesis, client = node.sdk("kinesis"), node.sdk("lambda")
    kinesis.create_stream(StreamName="s", ShardCount=4)
    kinesis.get_waiter("stream_exists").wait(StreamName="s", WaiterConfig={"Delay": 1})
    data = base64.b64encode(b"x" * 1024).decode()

    def batch(number: int) -> bytes:
        records = [{"Data": data, "PartitionKey": f"{number}-{index}"} for index in range(100)]
        body = orjson.dumps({"StreamName": "s", "Records": records})
        target = {"x_amz_target": "Kinesis_20131202.PutRecords", "content_type": "application/x-amz-json-1.1"}
        return request("kinesis", "POST", "/", body, **target)

    calls = [batch(number) for number in range(RECORDS // 100)]
    rate = 100 * await per_second(node.port, lambda n: calls[n], clients=16, calls=len(calls))
    print(f"{'PutRecords of 100 x 1 KB, 16 clients':<40}{rate:>10,.0f} records/s    {rate / AIM_PUT:.2f} of the aim")
    arn = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
    made = client.get_function(FunctionName="f")["Configuration"]
    began = time.perf_counter()
    client.create_event_source_mapping(
        EventSourceArn=arn, FunctionName=made["FunctionArn"], StartingPosition="TRIM_HORIZON", BatchSize=100
    )
    seen = 0
    while seen < RECORDS // 100:
        await asyncio.sleep(0.05)
        seen = _invocations(node) - MESSAGES // 10
    rate = RECORDS / (time.perf_counter() - began)
    print(f"{'Kinesis to Lambda, 4 shards':<40}{rate:>10,.0f} records/s    {rate / AIM_READ:.2f} of the aim")


def _invocations(node: BenchNode) -> int:
    bill = ask(f"http://127.0.0.1:{node.port}", "POST", "cost", {})
    return sum(int(line["requests"]) for line in bill["functions"]) - 1
