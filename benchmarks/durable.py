"""Durable executions on a running node: checkpoints, each on the disk before its answer, and whole executions."""

import asyncio
import statistics
import time
from collections.abc import Iterator
from urllib.parse import quote

import orjson
import uvloop

from benchmarks._node import BenchNode, Connection, per_second, request, running_node
from penstock.testkit.functions import ROLE, zipped

CHECKPOINTS, CLIENTS, EXECUTIONS = 400, 16, 400
DURABLE = {"ExecutionTimeout": 600}
# Hands its token to the benchmark, which checkpoints in its place, and waits.
HOLD = """
import boto3, json, time
def handler(event, context):
    key = event["DurableExecutionArn"].split("/")[2]
    boto3.client("s3").put_object(Bucket="tokens", Key=key, Body=json.dumps(event).encode())
    time.sleep(120)
"""
DONE = "def handler(event, context):\n    return {'Status': 'SUCCEEDED', 'Result': '1'}\n"


def main() -> None:
    with running_node() as node:
        uvloop.run(_measure(node))


async def _measure(node: BenchNode) -> None:
    client = node.sdk("lambda")
    for name, source in (("hold", HOLD), ("done", DONE)):
        client.create_function(
            FunctionName=name,
            Runtime="python3.12",
            Role=ROLE,
            Handler="app.handler",
            Timeout=300,
            MemorySize=512,
            Code={"ZipFile": zipped(source)},
            DurableConfig=DURABLE,
        )
        client.get_waiter("function_active_v2").wait(FunctionName=name)
    path = "/2015-03-31/functions/done/invocations?Qualifier=%24LATEST"
    call = request("lambda", "POST", path, b"{}", content_type="application/json")
    rate = await per_second(node.port, lambda n: call, clients=CLIENTS, calls=EXECUTIONS)
    print(f"{'whole executions, 16 clients that wait':<42}{rate:>8,.0f} /s")
    node.sdk("s3").create_bucket(Bucket="tokens")
    events = [await _held(node, f"e{number}") for number in range(CLIENTS)]
    times = await _checkpoint(node, events[0], "one", CHECKPOINTS)
    print(f"{'a step started and ended, one execution':<42}{statistics.median(times) * 1000:>8.2f} ms")
    began = time.perf_counter()
    await asyncio.gather(*(_checkpoint(node, event, "many", CHECKPOINTS) for event in events[1:]))
    rate = (CLIENTS - 1) * CHECKPOINTS / (time.perf_counter() - began)
    print(f"{'the same, 15 executions at once':<42}{rate:>8,.0f} steps/s")


async def _held(node: BenchNode, name: str) -> dict[str, str]:
    """An execution whose handler does nothing, and its event."""
    client, s3 = node.sdk("lambda"), node.sdk("s3")
    client.invoke(FunctionName="hold", Qualifier="$LATEST", InvocationType="Event", DurableExecutionName=name)
    while True:
        try:
            event: dict[str, str] = orjson.loads(s3.get_object(Bucket="tokens", Key=name)["Body"].read())
        except s3.exceptions.NoSuchKey:
            await asyncio.sleep(0.05)
        else:
            return event


async def _checkpoint(node: BenchNode, event: dict[str, str], name: str, count: int) -> list[float]:
    """Seconds of each checkpoint, one after the other."""
    connection = await Connection.open(node.port)
    path = f"/2025-12-01/durable-executions/{quote(event['DurableExecutionArn'], safe='')}/checkpoint"
    token, times = event["CheckpointToken"], []
    for updates in _steps(name, count):
        body = orjson.dumps({"CheckpointToken": token, "Updates": updates})
        began = time.perf_counter()
        answer = await connection.call(request("lambda", "POST", path, body, content_type="application/json"))
        times.append(time.perf_counter() - began)
        token = orjson.loads(answer)["CheckpointToken"]
    event["CheckpointToken"] = token
    connection.close()
    return times


def _steps(name: str, count: int) -> Iterator[list[dict[str, str]]]:
    for number in range(count):
        step = {"Id": f"{name}-{number}", "Type": "STEP"}
        yield [{**step, "Action": "START"}, {**step, "Action": "SUCCEED", "Payload": '"' + "x" * 100 + '"'}]


if __name__ == "__main__":
    main()
