"""SQS on a running node, durable: messages sent one by one, and received and deleted one by one and in tens."""

import asyncio
import statistics
import time

import orjson
import uvloop

from benchmarks._node import BenchNode, Connection, latency_ms, per_second, request, running_node

MESSAGES, CLIENTS, AIM_SEND, AIM_WORK = 6000, 16, 3000, 1500
_JSON = {"content_type": "application/x-amz-json-1.0"}


def main() -> None:
    with running_node() as node:
        for name, attributes in (("standard", {}), ("fifo", {"FifoQueue": "true"})):
            uvloop.run(_measure(node, name, attributes))


def _call(operation: str, **members: object) -> bytes:
    return request("sqs", "POST", "/", orjson.dumps(members), x_amz_target=f"AmazonSQS.{operation}", **_JSON)


async def _measure(node: BenchNode, kind: str, attributes: dict[str, str]) -> None:
    suffix = ".fifo" if attributes else ""
    url = node.sdk("sqs").create_queue(QueueName=f"q{suffix}", Attributes=attributes)["QueueUrl"]

    def send(number: int) -> bytes:
        fifo = {"MessageGroupId": str(number % 100), "MessageDeduplicationId": str(number)} if attributes else {}
        return _call("SendMessage", QueueUrl=url, MessageBody="x" * 1000, **fifo)

    sends = [send(number) for number in range(MESSAGES + 550)]
    latency = await latency_ms(node.port, lambda number: sends[MESSAGES + number], calls=500)
    print(f"{kind + ': SendMessage, 1 client':<44}{latency:>10.2f} ms")
    before = node.cpu_ms()
    rate = await per_second(node.port, lambda number: sends[number], clients=CLIENTS, calls=MESSAGES)
    cpu = f"    node's CPU {(node.cpu_ms() - before) * 1000 / MESSAGES:.0f} us each"
    print(f"{kind + ': SendMessage, 16 clients':<44}{rate:>10,.0f}/s    {rate / AIM_SEND:.2f} of the aim{cpu}")
    for count, calls in ((1, MESSAGES // 4), (10, MESSAGES)):
        before = node.cpu_ms()
        rate, waited_ms = await _work_off(node.port, url, count, calls)
        aim = f"    {rate / AIM_WORK:.2f} of the aim" if count == 1 else ""
        print(
            f"{f'{kind}: receive {count} + delete, 16 clients':<44}{rate:>10,.0f}/s    receive {waited_ms:.2f} ms{aim}"
            f"    node's CPU {(node.cpu_ms() - before) * 1000 / calls:.0f} us each"
        )


async def _work_off(port: int, url: str, count: int, messages: int) -> tuple[float, float]:
    """Messages per second, and a receive's median."""
    receive = _call("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=count, VisibilityTimeout=300)
    left = messages
    times: list[float] = []

    async def work(connection: Connection) -> None:
        nonlocal left
        while left > 0:
            began = time.perf_counter()
            found = orjson.loads(await connection.call(receive)).get("Messages") or []
            times.append((time.perf_counter() - began) * 1000)
            if not found:
                return
            left -= len(found)
            handles = [message["ReceiptHandle"] for message in found]
            if count == 1:
                await connection.call(_call("DeleteMessage", QueueUrl=url, ReceiptHandle=handles[0]))
                continue
            entries = [{"Id": str(index), "ReceiptHandle": handle} for index, handle in enumerate(handles)]
            await connection.call(_call("DeleteMessageBatch", QueueUrl=url, Entries=entries))

    connections = [await Connection.open(port) for _ in range(CLIENTS)]
    began = time.perf_counter()
    await asyncio.gather(*map(work, connections))
    for connection in connections:
        connection.close()
    return (messages - left) / (time.perf_counter() - began), statistics.median(times)
