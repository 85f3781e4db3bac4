"""A world with DynamoDB in it, and the shortest way to a table."""

import pytest

from penstock.kernel.errors import ServiceError
from penstock.services import dynamodb, kinesis
from penstock.testkit.world import World

KIND = {"p": "S", "s": "N", "g": "S", "h": "S", "n": "N", "b": "B"}


class Dynamo:
    """`await dynamo.put(p="a", s=1)`: plain values become attribute values; `call` takes AWS's own."""

    def __init__(self):
        self.world = World(dynamodb.SERVICE, kinesis.SERVICE)

    async def call(self, operation, **members):
        return await self.world.call("dynamodb", operation, **members)

    async def table(self, name="table", *, keys="ps", gsi=(), lsi=(), **members):
        """`keys`: one letter per key; gsi: (name, keys, projection...), lsi likewise."""

        def schema(letters):
            kinds = ["HASH", "RANGE"]
            return [{"AttributeName": letter, "KeyType": kinds[at]} for at, letter in enumerate(letters)]

        def index(name, letters, kind="ALL", *included):
            projection = {"ProjectionType": kind} | ({"NonKeyAttributes": list(included)} if included else {})
            return {"IndexName": name, "KeySchema": schema(letters), "Projection": projection}

        used = dict.fromkeys(keys + "".join(one[1] for one in (*gsi, *lsi)))
        definitions = [{"AttributeName": one, "AttributeType": KIND[one]} for one in used]
        if gsi:
            members["GlobalSecondaryIndexes"] = [index(*one) for one in gsi]
        if lsi:
            members["LocalSecondaryIndexes"] = [index(*one) for one in lsi]
        if "ProvisionedThroughput" not in members:
            members.setdefault("BillingMode", "PAY_PER_REQUEST")
        answer = await self.call(
            "CreateTable", TableName=name, KeySchema=schema(keys), AttributeDefinitions=definitions, **members
        )
        return answer["TableDescription"]

    async def put(self, table="table", /, **values):
        return await self.call("PutItem", TableName=table, Item=item(**values))

    async def get(self, table="table", /, **key):
        answer = await self.call("GetItem", TableName=table, Key=item(**key), ConsistentRead=True)
        return plain(answer["Item"]) if "Item" in answer else None

    async def update(self, expression, values=None, *, key=None, **members):
        if values:
            members["ExpressionAttributeValues"] = {f":{name}": typed(value) for name, value in values.items()}
        key = item(**(key or {"p": "a", "s": 1}))
        return await self.call("UpdateItem", TableName="table", Key=key, UpdateExpression=expression, **members)

    async def query(self, condition, values=None, **members):
        members["ExpressionAttributeValues"] = {f":{name}": typed(value) for name, value in (values or {}).items()}
        answer = await self.call("Query", TableName="table", KeyConditionExpression=condition, **members)
        return [plain(one) for one in answer["Items"]]

    async def refused(self, operation, **members):
        """Code and text of the error that the call must get."""
        with pytest.raises(ServiceError) as caught:
            await self.call(operation, **members)
        return caught.value.code, caught.value.message

    async def invalid(self, operation, **members):
        """The text of the ValidationException that the call must get."""
        code, text = await self.refused(operation, **members)
        assert code == "ValidationException", (code, text)
        return text

    async def stream_records(self, table="table"):
        """Every record of the table's latest stream, shard after shard."""
        arn = (await self.call("DescribeTable", TableName=table))["Table"]["LatestStreamArn"]
        told = await self.world.call("dynamodbstreams", "DescribeStream", StreamArn=arn)
        records = []
        for shard in told["StreamDescription"]["Shards"]:
            at = await self.world.call(
                "dynamodbstreams",
                "GetShardIterator",
                StreamArn=arn,
                ShardId=shard["ShardId"],
                ShardIteratorType="TRIM_HORIZON",
            )
            got = await self.world.call("dynamodbstreams", "GetRecords", ShardIterator=at["ShardIterator"])
            records += got["Records"]
        return records


def typed(value):
    """An attribute value: str, int, bytes, bool, None, list, dict, set; a dict of one type name is itself."""
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("S", "N", "B", "SS", "NS", "BS", "L"):
        return value
    if isinstance(value, bool):
        return {"BOOL": value}
    if value is None:
        return {"NULL": True}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bytes):
        return {"B": value}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, list):
        return {"L": [typed(one) for one in value]}
    if isinstance(value, set):
        kind = "SS" if all(isinstance(one, str) for one in value) else "NS"
        return {kind: [str(one) for one in value]}
    return {"M": item(**value)}


def item(**values):
    return {name: typed(value) for name, value in values.items()}


def plain(values):
    return {name: _plain(value) for name, value in values.items()}


def _plain(value):
    [(kind, content)] = value.items()
    if kind == "N":
        return int(content) if content.lstrip("-").isdecimal() else float(content)
    if kind == "NULL":
        return None
    if kind == "L":
        return [_plain(one) for one in content]
    if kind == "M":
        return plain(content)
    if kind == "NS":
        return {int(one) for one in content}
    return set(content) if kind in ("SS", "BS") else content


@pytest.fixture
def dynamo():
    return Dynamo()
