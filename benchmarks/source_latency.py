"""From a put to the entered handler, for each source that feeds functions; and what a message or record costs."""

import asyncio
import base64
import importlib.util
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import uvloop

from benchmarks._node import BenchNode, Connection, request, running_node
from penstock.testkit.functions import ROLE, zipped

PUTS, WARM_UP, PAUSE_S, AIM_MS = 60, 10, 0.03, 15.0
SOURCE = """
import base64, time

def handler(event, context):
    at = time.time()
    records = event.get("Records") or [one for some in event.get("records", {}).values() for one in some]
    for record in records:
        if "body" in record:
            name = record["body"]
        elif "dynamodb" in record:
            name = record["dynamodb"]["Keys"]["id"]["S"]
        else:
            name = base64.b64decode(record.get("kinesis", {}).get("data") or record["value"]).decode()
        print("entered", name, at)
"""
Put = Callable[[int], Awaitable[object]]


def main() -> None:
    with running_node() as node:
        uvloop.run(_measure(node))


async def _measure(node: BenchNode) -> None:
    client = node.sdk("lambda")
    client.create_function(
        FunctionName="f", Runtime="python3.12", Role=ROLE, Handler="app.handler", Code={"ZipFile": zipped(SOURCE)}
    )
    client.get_waiter("function_active_v2").wait(FunctionName="f")
    connection = await Connection.open(node.port)
    for name, make in (("sqs", _queue), ("kinesis", _stream), ("dynamodb", _table), ("kafka", _topic)):
        made = make(node, connection)
        if made is None:
            print(f"{name + ': confluent-kafka is not installed':<40}")
            continue
        members, put = made
        client.create_event_source_mapping(FunctionName="f", **members)
        delays, cpu_ms = await _delays(node, name, put)
        median = statistics.median(delays)
        worst = sorted(delays)[-max(1, len(delays) // 20)]
        print(f"{name + ': put -> handler entered':<40}{median:>10.2f} ms   p95 {worst:7.2f} ms   "
              f"{AIM_MS / median:6.2f} of the aim ({AIM_MS:g} ms)   node's CPU {cpu_ms:.2f} ms each")  # fmt: skip
    connection.close()


async def _delays(node: BenchNode, name: str, put: Put) -> tuple[list[float], float]:
    """In ms, by the clock that both processes share."""
    await put(-1)
    await asyncio.sleep(1)
    sent: dict[str, float] = {}
    began_ms = node.cpu_ms()
    for number in range(PUTS):
        sent[f"{name}-{number}"] = time.time()
        await put(number)
        await asyncio.sleep(PAUSE_S)
    cpu_ms = (node.cpu_ms() - began_ms) / PUTS
    entered: dict[str, float] = {}
    while not sent.keys() <= entered.keys():
        await asyncio.sleep(0.2)
        pages = node.sdk("logs").get_paginator("filter_log_events").paginate(
            logGroupName="/aws/lambda/f", filterPattern=f'"entered {name}"'
        )  # fmt: skip
        for page in pages:
            for event in page["events"]:
                _, what, at = event["message"].split()
                entered.setdefault(what, float(at))
    return [(entered[what] - at) * 1000 for what, at in sent.items()][WARM_UP:], cpu_ms


def _json_call(connection: Connection, service: str, target: str, version: str) -> Callable[[object], Awaitable[bytes]]:
    def call(members: object) -> Awaitable[bytes]:
        body = orjson.dumps(members)
        headers = {"x_amz_target": target, "content_type": f"application/x-amz-json-{version}"}
        return connection.call(request(service, "POST", "/", body, **headers))

    return call


def _queue(node: BenchNode, connection: Connection) -> tuple[dict[str, Any], Put]:
    sqs = node.sdk("sqs")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    call = _json_call(connection, "sqs", "AmazonSQS.SendMessage", "1.0")
    return {"EventSourceArn": found["Attributes"]["QueueArn"]}, lambda number: call(
        {"QueueUrl": url, "MessageBody": f"sqs-{number}"}
    )


def _stream(node: BenchNode, connection: Connection) -> tuple[dict[str, Any], Put]:
    kinesis = node.sdk("kinesis")
    kinesis.create_stream(StreamName="s", ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName="s", WaiterConfig={"Delay": 1})
    arn = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
    call = _json_call(connection, "kinesis", "Kinesis_20131202.PutRecord", "1.1")

    def put(number: int) -> Awaitable[bytes]:
        data = base64.b64encode(b"kinesis-%d" % number).decode()
        return call({"StreamName": "s", "PartitionKey": "k", "Data": data})

    return {"EventSourceArn": arn, "StartingPosition": "TRIM_HORIZON"}, put


def _table(node: BenchNode, connection: Connection) -> tuple[dict[str, Any], Put]:
    made = node.sdk("dynamodb").create_table(
        TableName="items",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    call = _json_call(connection, "dynamodb", "DynamoDB_20120810.PutItem", "1.0")
    arn = made["TableDescription"]["LatestStreamArn"]
    return {"EventSourceArn": arn, "StartingPosition": "TRIM_HORIZON"}, lambda number: call(
        {"TableName": "items", "Item": {"id": {"S": f"dynamodb-{number}"}}}
    )


def _topic(node: BenchNode, connection: Connection) -> tuple[dict[str, Any], Put] | None:
    """On a mock broker within librdkafka."""
    if importlib.util.find_spec("confluent_kafka") is None:
        return None
    kafka = importlib.import_module("confluent_kafka")
    producer = kafka.Producer({"bootstrap.servers": "x", "test.mock.num.brokers": 1, "log_level": 0, "linger.ms": 0})
    servers = [f"{one.host}:{one.port}" for one in producer.list_topics(timeout=10).brokers.values()]

    async def put(number: int) -> None:
        producer.produce("topic", b"kafka-%d" % number, b"k")
        await asyncio.to_thread(producer.flush, 10)

    members = {
        "Topics": ["topic"],
        "StartingPosition": "TRIM_HORIZON",
        "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": servers}},
    }
    return members, put
