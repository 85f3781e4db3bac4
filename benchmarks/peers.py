"""Queues and streams beside peers that happen to be installed; none of them is durable, a node here is.

Where they are is said by variables: PEER_MOTO (moto_server), PEER_KINESALITE (its cli.js), PEER_ELASTICMQ (a folder
of jars). Runs alternate, and the medians are printed with the node's ratio to each peer.
"""

import asyncio
import base64
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import boto3
import orjson
import uvloop

from benchmarks._node import Connection, per_second, request, running_node

CLIENTS, MESSAGES, BATCHES, ROUNDS = 16, 800, 60, 3
_PEERS = ("PEER_MOTO", "PEER_KINESALITE", "PEER_ELASTICMQ")
_SQS, _KINESIS = "application/x-amz-json-1.0", "application/x-amz-json-1.1"
Load = Callable[[int, int], Awaitable[float]]


def main() -> None:
    known = {name: os.environ[name] for name in _PEERS if os.environ.get(name)}
    if not known:
        print(f"no peer: set {', '.join(_PEERS)}")
        return
    with ExitStack() as stack:
        node = stack.enter_context(running_node())
        ports = {"penstock": node.port}
        for name, place in known.items():
            ports[name.removeprefix("PEER_").lower()] = stack.enter_context(_peer(name, place))
        for title, load, without in (
            ("SendMessage of 1 KB, 16 clients, messages/s", _send, ("kinesalite",)),
            ("ReceiveMessage + DeleteMessage, 16 clients, messages/s", _work_off, ("kinesalite",)),
            ("PutRecords of 100 x 1 KB, 16 clients, records/s", _put, ("elasticmq",)),
            ("GetRecords of 100 x 1 KB, 4 clients, records/s", _get, ("elasticmq",)),
        ):
            _compare(title, load, {name: port for name, port in ports.items() if name not in without})


def _compare(title: str, load: Load, ports: dict[str, int]) -> None:
    rates: dict[str, list[float]] = {name: [] for name in ports}
    for number in range(ROUNDS):
        for name, port in ports.items():
            rates[name].append(uvloop.run(load(port, number)))
    ours = statistics.median(rates["penstock"])
    print(title)
    for name, found in rates.items():
        rate = statistics.median(found)
        print(f"    {name:<16}{rate:>10,.0f}    {ours / rate:.1f} of it is ours" if name != "penstock" else
              f"    {name:<16}{rate:>10,.0f}")  # fmt: skip


@contextmanager
def _peer(name: str, place: str) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    elastic = [f"-Dnode-address.port={port}", f"-Drest-sqs.bind-port={port}", "-Drest-stats.enabled=false"]
    commands = {
        "PEER_MOTO": [place, "-p", str(port)],
        "PEER_KINESALITE": ["node", place, "--port", str(port), "--createStreamMs", "0", "--shardLimit", "99"],
        "PEER_ELASTICMQ": ["java", *elastic, "-cp", f"{place}/*", "org.elasticmq.server.Main"],
    }
    process = subprocess.Popen(commands[name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        else:
            sys.exit(f"{name} at {Path(place).name} doesn't answer")
        yield port
    finally:
        process.terminate()
        process.wait()


def _client(service: str, port: int) -> object:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    return boto3.client(service, endpoint_url=f"http://127.0.0.1:{port}", **keys)


def _queue(port: int, number: int) -> str:
    return str(_client("sqs", port).create_queue(QueueName=f"q{number}")["QueueUrl"])  # type: ignore[attr-defined]


def _sqs(operation: str, **members: object) -> bytes:
    body = orjson.dumps(members)
    return request("sqs", "POST", "/", body, x_amz_target=f"AmazonSQS.{operation}", content_type=_SQS)


async def _send(port: int, number: int) -> float:
    message = _sqs("SendMessage", QueueUrl=_queue(port, number), MessageBody="x" * 1000)
    return await per_second(port, lambda n: message, clients=CLIENTS, calls=MESSAGES)


async def _work_off(port: int, number: int) -> float:
    """What `_send` left there."""
    url = _queue(port, number)
    receive = _sqs("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=1, VisibilityTimeout=300)
    done = 0

    async def work(connection: Connection) -> None:
        nonlocal done
        while done < MESSAGES - CLIENTS:
            found = orjson.loads(await connection.call(receive)).get("Messages") or []
            for message in found:
                await connection.call(_sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"]))
                done += 1

    connections = [await Connection.open(port) for _ in range(CLIENTS)]
    began = time.perf_counter()
    await asyncio.gather(*map(work, connections))
    for connection in connections:
        connection.close()
    return done / (time.perf_counter() - began)


def _kinesis(operation: str, **members: object) -> bytes:
    body, target = orjson.dumps(members), f"Kinesis_20131202.{operation}"
    return request("kinesis", "POST", "/", body, x_amz_target=target, content_type=_KINESIS)


async def _put(port: int, number: int) -> float:
    client, data = _client("kinesis", port), base64.b64encode(b"x" * 1024).decode()
    client.create_stream(StreamName=f"s{number}", ShardCount=4)  # type: ignore[attr-defined]
    client.get_waiter("stream_exists").wait(StreamName=f"s{number}", WaiterConfig={"Delay": 1})  # type: ignore[attr-defined]

    def batch(place: int) -> bytes:
        records = [{"Data": data, "PartitionKey": f"{place}-{index}"} for index in range(100)]
        return _kinesis("PutRecords", StreamName=f"s{number}", Records=records)

    batches = [batch(place) for place in range(BATCHES)]
    return 100 * await per_second(port, lambda n: batches[n], clients=CLIENTS, calls=BATCHES)


async def _get(port: int, number: int) -> float:
    """All that `_put` left in the four shards, each read by one client."""
    done = 0

    async def read(index: int) -> None:
        nonlocal done
        connection = await Connection.open(port)
        place = {"StreamName": f"s{number}", "ShardId": f"shardId-{index:012d}", "ShardIteratorType": "TRIM_HORIZON"}
        at = orjson.loads(await connection.call(_kinesis("GetShardIterator", **place)))["ShardIterator"]
        while True:
            answer = orjson.loads(await connection.call(_kinesis("GetRecords", ShardIterator=at, Limit=100)))
            if not answer["Records"]:
                break
            done, at = done + len(answer["Records"]), answer["NextShardIterator"]
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(read(index) for index in range(4)))
    return done / (time.perf_counter() - began)
