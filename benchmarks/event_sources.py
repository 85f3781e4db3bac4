"""SQS to Lambda on a running node: how fast a full queue is drained in batches of ten. The aim is 5 s for 10,000."""

import asyncio
import time

import orjson
import uvloop

from benchmarks._node import BenchNode, per_second, request, running_node
from penstock.testkit.functions import ROLE, zipped

MESSAGES, AIM_S = 10_000, 5.0
SOURCE = "def handler(event, context):\n    return len(event['Records'])\n"
_JSON = {"content_type": "application/x-amz-json-1.0"}


def main() -> None:
    with running_node() as node:
        uvloop.run(_measure(node))


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
