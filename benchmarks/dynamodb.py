"""DynamoDB on a running node, durable: items put, got, updated and queried; a table with an index and a stream."""

import statistics
import time

import orjson
import uvloop

from benchmarks._node import BenchNode, Connection, latency_ms, per_second, request, running_node

CALLS, CLIENTS = 6000, 16
AIM_PUT, AIM_GET, AIM_QUERY_MS = 3000, 5000, 3.0
_JSON = {"content_type": "application/x-amz-json-1.0"}


def main() -> None:
    with running_node() as node:
        uvloop.run(_measure(node))


def _call(operation: str, **members: object) -> bytes:
    body = orjson.dumps({"TableName": "plain", **members})
    return request("dynamodb", "POST", "/", body, x_amz_target=f"DynamoDB_20120810.{operation}", **_JSON)


def _item(number: int) -> dict[str, object]:
    """About 500 bytes."""
    return {
        "pk": {"S": f"customer-{number % 1000}"},
        "sk": {"N": str(number)},
        "kind": {"S": ("order", "refund", "invoice")[number % 3]},
        "total": {"N": f"{number}.25"},
        "lines": {"L": [{"M": {"sku": {"S": f"sku-{n}"}, "count": {"N": str(n)}}} for n in range(4)]},
        "note": {"S": "x" * 250},
    }


def _make(node: BenchNode) -> None:
    client = node.sdk("dynamodb")
    keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    types = [{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "N"}]
    common = {"KeySchema": keys, "BillingMode": "PAY_PER_REQUEST"}
    client.create_table(TableName="plain", AttributeDefinitions=types, **common)
    kind = {"IndexName": "kind", "KeySchema": [{"AttributeName": "kind", "KeyType": "HASH"}, keys[1]]}
    client.create_table(
        TableName="full",
        AttributeDefinitions=[*types, {"AttributeName": "kind", "AttributeType": "S"}],
        GlobalSecondaryIndexes=[{**kind, "Projection": {"ProjectionType": "ALL"}}],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        **common,
    )


async def _measure(node: BenchNode) -> None:
    _make(node)
    puts = [_call("PutItem", Item=_item(number)) for number in range(CALLS + 550)]
    latency = await latency_ms(node.port, lambda number: puts[CALLS + number], calls=500)
    print(f"{'PutItem, 1 client':<44}{latency:>10.2f} ms")
    await _rate(node, "PutItem", puts, AIM_PUT)
    full = [_call("PutItem", TableName="full", Item=_item(number)) for number in range(CALLS)]
    await _rate(node, "PutItem with an index and a stream", full)
    keys = [{"pk": {"S": f"customer-{number % 1000}"}, "sk": {"N": str(number)}} for number in range(CALLS)]
    await _rate(node, "GetItem", [_call("GetItem", Key=key) for key in keys], AIM_GET)
    value = {":n": {"N": "1"}}
    updates = [
        _call("UpdateItem", Key=key, UpdateExpression="ADD seen :n", ExpressionAttributeValues=value) for key in keys
    ]
    await _rate(node, "UpdateItem (a counter)", updates)
    await _query(node)


async def _rate(node: BenchNode, what: str, calls: list[bytes], aim: int = 0) -> None:
    before_ms = node.cpu_ms()
    rate = await per_second(node.port, lambda number: calls[number], clients=CLIENTS, calls=CALLS)
    cpu_ms = (node.cpu_ms() - before_ms) / CALLS
    told = f"    {rate / aim:.2f} of the aim" if aim else ""
    print(f"{what + ', 16 clients':<44}{rate:>10,.0f}/s    {cpu_ms:.2f} ms of the node's CPU each{told}")


async def _query(node: BenchNode) -> None:
    """A hundred items of half a kilobyte."""
    for number in range(0, 100, 25):
        puts = [{"PutRequest": {"Item": {**_item(n), "pk": {"S": "one"}}}} for n in range(number, number + 25)]
        node.sdk("dynamodb").batch_write_item(RequestItems={"plain": puts})
    members = {"KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "one"}}}
    query = _call("Query", **members)
    times = []
    connection = await Connection.open(node.port)
    for _ in range(300):
        began = time.perf_counter()
        answer = await connection.call(query)
        times.append((time.perf_counter() - began) * 1000)
    connection.close()
    assert orjson.loads(answer)["Count"] == 100
    middle = statistics.median(times)
    print(f"{'Query of 100 items, 1 client':<44}{middle:>10.2f} ms    {middle / AIM_QUERY_MS:.2f} of the aim")
