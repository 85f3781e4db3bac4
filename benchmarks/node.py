"""A running node from outside: its start, its memory, invocations and objects over HTTP.

Ratios are to the aims of docs/performance.md; above 1 is better than the aim.
"""

import asyncio
import io
import os
import statistics
import time
import zipfile

import uvloop

from benchmarks._node import BenchNode, Connection, latency_ms, per_second, request, running_node
from penstock.engines.functions.runtimes import OWN_PYTHON
from penstock.testkit.functions import ROLE, zipped

STARTS, CALLS, BURST, IDLE_FUNCTIONS = 5, 2000, 300, 1000
RIC = f"#!/bin/sh\nexec /var/lang/bin/{OWN_PYTHON} -m awslambdaric app.handler\n"
"""AWS's own client in a process of its own, over the Runtime API, in the node's sandbox."""
ECHO = "def handler(event, context):\n    return event\n"
NOTE_ENTRY = "import time\nENTERED = []\ndef handler(event, context):\n    print('entered', time.time())\n"
_INVOKE = "/2015-03-31/functions/echo/invocations"


def main() -> None:
    rows: list[tuple[str, float, str, float | None]] = []
    starts = []
    for _ in range(STARTS):
        with running_node() as node:
            starts.append(node.start_ms)
    rows.append(("start to first answer", statistics.median(starts), "ms", 500))
    with running_node() as node:
        time.sleep(1)
        rows.append(("idle memory", node.resident_mb(), "MB", 60))
        rows += uvloop.run(_invocations(node))
        rows += uvloop.run(_objects(node))
        rows += uvloop.run(_pipeline(node))
        before = node.resident_mb()
        for number in range(IDLE_FUNCTIONS):
            _deploy(node, f"idle-{number}")
        rows.append((f"memory of {IDLE_FUNCTIONS} idle functions", node.resident_mb() - before, "MB", None))
        rows.append(("memory after all that", node.resident_mb(), "MB", None))
    for name, value, unit, aim in rows:
        is_rate = unit in ("/s", "MB/s")
        ratio = "" if aim is None else f"{(value / aim if is_rate else aim / value):6.2f} of the aim ({aim:g} {unit})"
        print(f"{name:<40}{value:>10.2f} {unit:<5}{ratio}")


async def _invocations(node: BenchNode) -> list[tuple[str, float, str, float | None]]:
    _create(node, "echo", ECHO)
    call = request("lambda", "POST", _INVOKE, b'{"a":1}')
    latency = await latency_ms(node.port, lambda n: call, calls=CALLS)
    before = node.cpu_ms()
    await latency_ms(node.port, lambda n: call, calls=CALLS, warm_up=0)
    cpu = (node.cpu_ms() - before) / CALLS
    rate = await per_second(node.port, lambda n: call, clients=16, calls=3 * CALLS)
    _create_http(node)
    through_http = request("lambda", "POST", _INVOKE.replace("echo", "http"), b'{"a":1}')
    http = await latency_ms(node.port, lambda n: through_http, calls=CALLS)
    return [
        ("warm invoke, AWS's client over HTTP", http, "ms", 1.2),
        ("warm invoke, 1 client", latency, "ms", 1.0),
        ("warm invoke, node's CPU", cpu, "ms", None),
        ("warm invoke, 16 clients", rate, "/s", 2000),
    ]


async def _objects(node: BenchNode) -> list[tuple[str, float, str, float | None]]:
    node.sdk("s3").create_bucket(Bucket="bench")
    small, rows = b"x" * 1024, list[tuple[str, float, str, float | None]]()
    for name, make in (
        ("S3 put 1 KB (durable)", lambda n: request("s3", "PUT", f"/bench/k{n}", small)),
        ("S3 get 1 KB", lambda n: request("s3", "GET", f"/bench/k{n % CALLS}")),
        ("S3 head", lambda n: request("s3", "HEAD", f"/bench/k{n % CALLS}")),
    ):
        before = node.cpu_ms()
        latency = await latency_ms(node.port, make, calls=CALLS, warm_up=0)
        cpu = (node.cpu_ms() - before) / CALLS
        rate = await per_second(node.port, make, clients=16, calls=2 * CALLS)
        rows.append((f"{name}, 1 client", latency, "ms", None))
        rows.append((f"{name}, node's CPU", cpu, "ms", 0.3))
        rows.append((f"{name}, 16 clients", rate, "/s", 2000 if "put" in name else 5000))
    big = os.urandom(64 << 20)
    connection = await Connection.open(node.port)
    puts, gets = [], []
    for _ in range(5):
        began = time.perf_counter()
        await connection.call(request("s3", "PUT", "/bench/big", big))
        puts.append(64 / (time.perf_counter() - began))
        began = time.perf_counter()
        await connection.call(request("s3", "GET", "/bench/big"))
        gets.append(64 / (time.perf_counter() - began))
    connection.close()
    rows.append(("S3 put 64 MB", statistics.median(puts), "MB/s", None))
    rows.append(("S3 get 64 MB (client-bound)", statistics.median(gets), "MB/s", None))
    return rows


async def _pipeline(node: BenchNode) -> list[tuple[str, float, str, float | None]]:
    """From a put to the handler, by the log's own time stamps; and a burst."""
    arn = _create(node, "entered", NOTE_ENTRY)
    s3, logs = node.sdk("s3"), node.sdk("logs")
    s3.create_bucket(Bucket="pipe")
    rule = {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(
        Bucket="pipe", NotificationConfiguration={"LambdaFunctionConfigurations": [rule]}
    )

    def entered() -> list[float]:
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName="/aws/lambda/entered", filterPattern="entered"
        )
        return [float(event["message"].split()[1]) for page in pages for event in page["events"]]

    connection = await Connection.open(node.port)
    sent = []
    for number in range(60):
        sent.append(time.time())
        await connection.call(request("s3", "PUT", f"/pipe/k{number}", b"x"))
        await asyncio.sleep(0.02)
    # Both waits ask the log anew: nothing tells a client that a line has come.
    while len(found := sorted(entered())[1:]) < len(sent):  # noqa: ASYNC110 - the first was when it was created
        await asyncio.sleep(0.1)
    delays = [(at - began) * 1000 for began, at in zip(sent, found, strict=True)]
    began = time.time()
    make = [request("s3", "PUT", f"/pipe/b{number}", b"x") for number in range(BURST)]
    await per_second(node.port, lambda n: make[n], clients=16, calls=BURST)
    while len(found := sorted(entered())[1:]) < len(sent) + BURST:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    connection.close()
    return [
        ("put -> handler entered, warm", statistics.median(delays[10:]), "ms", 5.0),
        (f"burst of {BURST} puts, all entered", (found[-1] - began) * 1000, "ms", 2000),
    ]


def _create_http(node: BenchNode) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("app.py", ECHO)
        bootstrap = zipfile.ZipInfo("bootstrap")
        bootstrap.external_attr = 0o755 << 16
        package.writestr(bootstrap, RIC)
    client = node.sdk("lambda")
    client.create_function(
        FunctionName="http",
        Runtime="provided.al2023",
        Role=ROLE,
        Handler="app.handler",
        MemorySize=512,
        Code={"ZipFile": archive.getvalue()},
    )
    client.get_waiter("function_active_v2").wait(FunctionName="http")
    answer = client.invoke(FunctionName="http", Payload=b"{}")
    assert "FunctionError" not in answer, answer["Payload"].read()


def _deploy(node: BenchNode, name: str) -> None:
    node.sdk("lambda").create_function(
        FunctionName=name, Runtime="python3.12", Role=ROLE, Handler="app.handler", Code={"ZipFile": zipped(ECHO)}
    )


def _create(node: BenchNode, name: str, source: str) -> str:
    client = node.sdk("lambda")
    made = client.create_function(
        FunctionName=name, Runtime="python3.12", Role=ROLE, Handler="app.handler", Code={"ZipFile": zipped(source)}
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    client.invoke(FunctionName=name, Payload=b"{}")
    return str(made["FunctionArn"])
