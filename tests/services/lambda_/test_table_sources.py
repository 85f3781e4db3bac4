"""DynamoDB streams that feed functions."""

import orjson
import pytest

from penstock.kernel.errors import ServiceError
from penstock.services import dynamodb, kinesis, lambda_, logs, s3, sqs
from penstock.testkit.functions import FakePool, create_function, outcome
from penstock.testkit.world import World


@pytest.fixture
def pool():
    return FakePool()


@pytest.fixture
def world(pool):
    rooms = (lambda_.SERVICE, dynamodb.SERVICE, kinesis.SERVICE, sqs.SERVICE, s3.SERVICE, logs.SERVICE)
    return World(*rooms, functions=pool)


async def table(world, view="NEW_AND_OLD_IMAGES"):
    params = {
        "TableName": "items",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": view},
    }
    made = await world.call("dynamodb", "CreateTable", **params)
    await world.advance(1)
    return made["TableDescription"]["LatestStreamArn"]


async def feed(world, *, position="TRIM_HORIZON", **members):
    arn = await table(world)
    await create_function(world)
    made = await world.call(
        "lambda", "CreateEventSourceMapping", EventSourceArn=arn, FunctionName="f", StartingPosition=position, **members
    )
    await world.advance(0)
    return arn, made["UUID"]


async def put(world, id, **attributes):
    item = {"id": {"S": id}, **{name: {"N": str(value)} for name, value in attributes.items()}}
    await world.call("dynamodb", "PutItem", TableName="items", Item=item)
    await world.advance(0)


def events(pool):
    return [orjson.loads(invocation.payload)["Records"] for _, invocation in pool.invoked]


async def test_changes_are_handed_over_in_awss_shape_and_in_order(world, pool):
    async with world.background:
        arn, _ = await feed(world)
        await put(world, "a", n=1)
        await put(world, "a", n=2)
        await world.call("dynamodb", "DeleteItem", TableName="items", Key={"id": {"S": "a"}})
        await world.advance(0)
        [[first], [second], [third]] = events(pool)
        assert [one["eventName"] for one in (first, second, third)] == ["INSERT", "MODIFY", "REMOVE"]
        assert (first["eventSource"], first["eventVersion"], first["awsRegion"]) == ("aws:dynamodb", "1.1", "us-east-1")
        assert first["eventSourceARN"] == arn
        assert set(second) == {
            "eventID", "eventName", "eventVersion", "eventSource", "awsRegion", "dynamodb", "eventSourceARN"
        }  # fmt: skip
        change = second["dynamodb"]
        assert change["Keys"] == {"id": {"S": "a"}}
        assert change["OldImage"] == {"id": {"S": "a"}, "n": {"N": "1"}}
        assert change["NewImage"] == {"id": {"S": "a"}, "n": {"N": "2"}}
        assert change["StreamViewType"] == "NEW_AND_OLD_IMAGES"
        assert isinstance(change["ApproximateCreationDateTime"], int | float)
        assert int(change["SequenceNumber"]) > int(first["dynamodb"]["SequenceNumber"])


async def test_binary_values_come_as_base64(world, pool):
    async with world.background:
        await feed(world)
        await world.call("dynamodb", "PutItem", TableName="items", Item={"id": {"S": "a"}, "b": {"B": b"\0\1"}})
        await world.advance(0)
        assert events(pool)[0][0]["dynamodb"]["NewImage"]["b"] == {"B": "AAE="}


async def test_latest_begins_with_what_comes_after_the_mapping(world, pool):
    async with world.background:
        arn = await table(world)
        await put(world, "before")
        await world.advance(1)
        await create_function(world)
        params = {"EventSourceArn": arn, "FunctionName": "f", "StartingPosition": "LATEST"}
        await world.call("lambda", "CreateEventSourceMapping", **params)
        await put(world, "after")
        await world.advance(1)
        assert [one["dynamodb"]["Keys"]["id"]["S"] for batch in events(pool) for one in batch] == ["after"]


async def test_filters_see_the_record_as_it_is(world, pool):
    async with world.background:
        pattern = '{"eventName": ["INSERT"], "dynamodb": {"NewImage": {"n": {"N": ["7"]}}}}'
        await feed(world, FilterCriteria={"Filters": [{"Pattern": pattern}]})
        for id, n in (("a", 7), ("b", 8), ("a", 7)):
            await put(world, id, n=n)
        assert [one["dynamodb"]["Keys"]["id"]["S"] for batch in events(pool) for one in batch] == ["a"]


async def test_an_item_s_changes_stay_in_order_across_lanes_and_failures(world, pool):
    async with world.background:
        await feed(world, ParallelizationFactor=5, BatchSize=3)
        failures = iter(range(20))
        done = []

        def handler(spec, invocation):
            records = orjson.loads(invocation.payload)["Records"]
            if next(failures, None) is not None:
                return outcome(b"{}", error="X")
            done.extend((one["dynamodb"]["Keys"]["id"]["S"], one["dynamodb"]["NewImage"]["n"]["N"]) for one in records)
            return outcome()

        pool.handler = handler
        for n in range(60):
            await world.call(
                "dynamodb", "PutItem", TableName="items", Item={"id": {"S": f"k{n % 7}"}, "n": {"N": f"{n:02d}"}}
            )
        await world.advance(300)
        assert len(done) == 60
        for key in range(7):
            mine = [int(n) for id, n in done if id == f"k{key}"]
            assert mine == sorted(mine)


async def test_the_destination_is_told_of_ddb_batches(world, pool):
    async with world.background:
        url = (await world.call("sqs", "CreateQueue", QueueName="lost"))["QueueUrl"]
        target = {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:lost"}}
        arn, _ = await feed(world, MaximumRetryAttempts=0, DestinationConfig=target)
        pool.handler = lambda spec, invocation: outcome(b"{}", error="X")
        await put(world, "a")
        await world.advance(5)
        [message] = (await world.call("sqs", "ReceiveMessage", QueueUrl=url))["Messages"]
        info = orjson.loads(message["Body"])["DDBStreamBatchInfo"]
        assert (info["batchSize"], info["streamArn"]) == (1, arn)
        assert info["shardId"].startswith("shardId-")


async def test_an_expired_item_s_removal_says_who_removed_it(world, pool):
    async with world.background:
        await feed(world)
        spec = {"Enabled": True, "AttributeName": "expires"}
        await world.call("dynamodb", "UpdateTimeToLive", TableName="items", TimeToLiveSpecification=spec)
        await put(world, "a", expires=world.clock.now_ms() // 1000 + 60)
        await world.advance(48 * 3600)
        removed = [one for batch in events(pool) for one in batch if one["eventName"] == "REMOVE"]
        assert [one["userIdentity"] for one in removed] == [
            {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
        ]


async def test_shards_roll_and_nothing_is_missed(world, pool):
    async with world.background:
        await feed(world)
        for n in range(20):
            await put(world, f"k{n}")
            await world.advance(3 * 3600)
        assert [one["dynamodb"]["Keys"]["id"]["S"] for batch in events(pool) for one in batch] == [
            f"k{n}" for n in range(20)
        ]


@pytest.mark.parametrize(
    ("arn", "members", "text"),
    [
        (None, {"StartingPosition": "AT_TIMESTAMP"}, "Unsupported starting position for arn type"),
        (
            "arn:aws:dynamodb:us-east-1:000000000000:table/items",
            {"StartingPosition": "LATEST"},
            "Unrecognized event source",
        ),
        (
            "arn:aws:dynamodb:us-east-1:000000000000:table/none/stream/2026-01-01T00:00:00.000",
            {"StartingPosition": "LATEST"},
            "Stream not found",
        ),
    ],
)
async def test_what_is_no_stream_is_refused(world, arn, members, text):
    stream = await table(world)
    await create_function(world)
    with pytest.raises(ServiceError, match=text):
        await world.call(
            "lambda", "CreateEventSourceMapping", EventSourceArn=arn or stream, FunctionName="f", **members
        )
