"""Queues and streams to Lambda on a running node: how fast they are filled, and how fast they are worked off."""

import asyncio
import base64
import time
from collections.abc import Callable

import orjson
import uvloop

from benchmarks._node import BenchNode, Connection, per_second, request, running_node
from penstock.app.client import ask
from penstock.testkit.functions import ROLE, zipped

MESSAGES, AIM_S = 10_000, 5.0
RECORDS, AIM_PUT, AIM_READ = 40_000, 30_000, 20_000
DELAYS, AIM_DELAY_MS = 60, 15.0
SOURCE = "def handler(event, context):\n    return len(event['Records'])\n"
_JSON = {"content_type": "application/x-amz-json-1.0"}


NOTE_ENTRY = """
import base64, time
def handler(event, context):
    now = time.time()
    for record in event.get("Records", []):
        body = record["body"] if "body" in record else base64.b64decode(record["kinesis"]["data"]).decode()
        print("entered", now - float(body))
"""


def main() -> None:
    with running_node() as node:
        uvloop.run(_measure(node))
        uvloop.run(_stream(node))
    with running_node() as node:
        uvloop.run(_delays(node))


def _per_item(node: BenchNode, before_ms: float, count: int) -> str:
    """CPU of the node's own process, which a busy machine doesn't change as it does the rates."""
    return f"    node's CPU {(node.cpu_ms() - before_ms) * 1000 / count:.0f} us each"


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
    before = node.cpu_ms()
    rate = await per_second(node.port, lambda n: call, clients=16, calls=MESSAGES // 10)
    cpu = _per_item(node, before, MESSAGES)
    print(f"{'SendMessageBatch of 10, 16 clients':<40}{rate * 10:>10,.0f} messages/s{cpu}")
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    before, began = node.cpu_ms(), time.perf_counter()
    client.create_event_source_mapping(EventSourceArn=arn, FunctionName=made["FunctionArn"])
    while _left(sqs, url):  # noqa: ASYNC110 - nothing tells a client that a queue is empty
        await asyncio.sleep(0.05)
    took_s = time.perf_counter() - began
    print(f"{'drain of 10,000 messages':<40}{took_s:>10.2f} s    {AIM_S / took_s:.2f} of the aim ({AIM_S:g} s)"
          f"{_per_item(node, before, MESSAGES)}")  # fmt: skip


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
    before = node.cpu_ms()
    rate = 100 * await per_second(node.port, lambda n: calls[n], clients=16, calls=len(calls))
    aim = f"{rate / AIM_PUT:.2f} of the aim{_per_item(node, before, RECORDS)}"
    print(f"{'PutRecords of 100 x 1 KB, 16 clients':<40}{rate:>10,.0f} records/s    {aim}")
    arn = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
    made = client.get_function(FunctionName="f")["Configuration"]
    before, began = node.cpu_ms(), time.perf_counter()
    client.create_event_source_mapping(
        EventSourceArn=arn, FunctionName=made["FunctionArn"], StartingPosition="TRIM_HORIZON", BatchSize=100
    )
    seen = 0
    while seen < RECORDS // 100:
        await asyncio.sleep(0.05)
        seen = _invocations(node) - MESSAGES // 10
    rate = RECORDS / (time.perf_counter() - began)
    aim = f"{rate / AIM_READ:.2f} of the aim{_per_item(node, before, RECORDS)}"
    print(f"{'Kinesis to Lambda, 4 shards':<40}{rate:>10,.0f} records/s    {aim}")


async def _delays(node: BenchNode) -> None:
    """From the call that puts to the handler, one message or record at a time."""
    sqs, kinesis, client = node.sdk("sqs"), node.sdk("kinesis"), node.sdk("lambda")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    kinesis.create_stream(StreamName="s", ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName="s", WaiterConfig={"Delay": 1})
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    stream = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]

    def send() -> bytes:
        body = orjson.dumps({"QueueUrl": url, "MessageBody": repr(time.time())})
        return request("sqs", "POST", "/", body, x_amz_target="AmazonSQS.SendMessage", **_JSON)

    def put() -> bytes:
        data = base64.b64encode(repr(time.time()).encode()).decode()
        body = orjson.dumps({"StreamName": "s", "PartitionKey": "k", "Data": data})
        target = {"x_amz_target": "Kinesis_20131202.PutRecord", "content_type": "application/x-amz-json-1.1"}
        return request("kinesis", "POST", "/", body, **target)

    for name, arn, make, settings in (
        ("SQS", queue, send, {"BatchSize": 1}),
        ("Kinesis", stream, put, {"StartingPosition": "LATEST"}),
    ):
        code = {"ZipFile": zipped(NOTE_ENTRY)}
        made = client.create_function(
            FunctionName=name, Runtime="python3.12", Role=ROLE, Handler="app.handler", Code=code
        )
        client.get_waiter("function_active_v2").wait(FunctionName=name)
        client.invoke(FunctionName=name, Payload=b"{}")
        client.create_event_source_mapping(EventSourceArn=arn, FunctionName=made["FunctionArn"], **settings)
        await asyncio.sleep(1)
        found = sorted(await _entered(node, name, make))
        median, late = found[len(found) // 2] * 1000, found[len(found) * 9 // 10] * 1000
        told = f"{AIM_DELAY_MS / median:.2f} of the aim ({AIM_DELAY_MS:g} ms); nine of ten within {late:.1f} ms"
        print(f"{f'{name}: put to handler entered':<40}{median:>10.1f} ms    {told}")


async def _entered(node: BenchNode, function: str, make: Callable[[], bytes]) -> list[float]:
    """Seconds, by the handler's own clock; the first few are left out."""
    connection, logs = await Connection.open(node.port), node.sdk("logs")
    for _ in range(DELAYS):
        await connection.call(make())
        await asyncio.sleep(0.03)
    connection.close()
    pages = logs.get_paginator("filter_log_events")
    while True:  # nothing tells a client that a line has come
        listed = pages.paginate(logGroupName=f"/aws/lambda/{function}", filterPattern="entered")
        found = [float(event["message"].split()[1]) for page in listed for event in page["events"]]
        if len(found) >= DELAYS:
            return found[10:]
        await asyncio.sleep(0.2)


def _invocations(node: BenchNode) -> int:
    bill = ask(f"http://127.0.0.1:{node.port}", "POST", "cost", {})
    return sum(int(line["requests"]) for line in bill["functions"]) - 1
