import orjson
import pytest

from penstock.kernel.errors import ServiceError

from .conftest import item, plain

HOUR = 3600


async def streamed(dynamo, view="NEW_AND_OLD_IMAGES", **members):
    told = await dynamo.table(StreamSpecification={"StreamEnabled": True, "StreamViewType": view}, **members)
    return told["LatestStreamArn"]


@pytest.mark.parametrize(
    ("view", "images"),
    [
        ("KEYS_ONLY", set()),
        ("NEW_IMAGE", {"NewImage"}),
        ("OLD_IMAGE", {"OldImage"}),
        ("NEW_AND_OLD_IMAGES", {"NewImage", "OldImage"}),
    ],
)
async def test_each_view_shows_its_images(dynamo, view, images):
    await streamed(dynamo, view)
    await dynamo.put(p="a", s=1, v=1)
    await dynamo.put(p="a", s=1, v=2)
    await dynamo.put(p="a", s=1, v=2)
    await dynamo.call("DeleteItem", TableName="table", Key=item(p="a", s=1))
    await dynamo.call("DeleteItem", TableName="table", Key=item(p="a", s=1))
    records = await dynamo.stream_records()
    assert [one["eventName"] for one in records] == ["INSERT", "MODIFY", "REMOVE"]
    modified = records[1]["dynamodb"]
    assert images == {"NewImage", "OldImage"} & modified.keys()
    assert plain(modified["Keys"]) == {"p": "a", "s": 1}
    assert modified["StreamViewType"] == view
    assert "OldImage" not in records[0]["dynamodb"]
    assert "NewImage" not in records[2]["dynamodb"]


async def test_numbers_rise_and_ids_differ(dynamo):
    await streamed(dynamo)
    for n in range(20):
        await dynamo.put(p=str(n % 3), s=1, v=n)
    records = await dynamo.stream_records()
    numbers = [int(one["dynamodb"]["SequenceNumber"]) for one in records]
    assert numbers == sorted(set(numbers))
    assert len({one["eventID"] for one in records}) == 20


async def test_expired_items_are_told_as_the_service_s_work(dynamo):
    await streamed(dynamo)
    await dynamo.call(
        "UpdateTimeToLive", TableName="table", TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"}
    )
    now_s = dynamo.world.clock.now_ms() // 1000
    await dynamo.put(p="a", s=1, ttl=now_s + 60)
    await dynamo.put(p="a", s=2, ttl=now_s + 600)
    await dynamo.world.advance(120)
    assert await dynamo.get(p="a", s=1) is None
    assert await dynamo.get(p="a", s=2) is not None
    removed = (await dynamo.stream_records())[-1]
    assert removed["eventName"] == "REMOVE"
    assert removed["userIdentity"] == {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}


async def test_a_shard_rolls_and_old_records_go(dynamo):
    arn = await streamed(dynamo)
    await dynamo.put(p="a", s=1)
    await dynamo.world.advance(5 * HOUR)
    await dynamo.put(p="a", s=2)
    told = (await dynamo.world.call("dynamodbstreams", "DescribeStream", StreamArn=arn))["StreamDescription"]
    first, second = told["Shards"]
    assert second["ParentShardId"] == first["ShardId"]
    records = await dynamo.stream_records()
    assert first["SequenceNumberRange"]["EndingSequenceNumber"] == records[0]["dynamodb"]["SequenceNumber"]
    for kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
        at = await dynamo.world.call(
            "dynamodbstreams",
            "GetShardIterator",
            StreamArn=arn,
            ShardId=second["ShardId"],
            ShardIteratorType=kind,
            SequenceNumber=second["SequenceNumberRange"]["StartingSequenceNumber"],
        )
        got = await dynamo.world.call("dynamodbstreams", "GetRecords", ShardIterator=at["ShardIterator"])
        assert got["Records"] == records[1:]
    assert [plain(one["dynamodb"]["Keys"])["s"] for one in await dynamo.stream_records()] == [1, 2]
    await dynamo.world.advance(20 * HOUR)
    assert [plain(one["dynamodb"]["Keys"])["s"] for one in await dynamo.stream_records()] == [2]


async def test_iterators(dynamo):
    arn = await streamed(dynamo)
    call = dynamo.world.call
    shard = (await call("dynamodbstreams", "DescribeStream", StreamArn=arn))["StreamDescription"]["Shards"][0][
        "ShardId"
    ]

    async def read(kind, **members):
        at = await call(
            "dynamodbstreams", "GetShardIterator", StreamArn=arn, ShardId=shard, ShardIteratorType=kind, **members
        )
        answer = await call("dynamodbstreams", "GetRecords", ShardIterator=at["ShardIterator"])
        return [plain(one["dynamodb"]["Keys"])["s"] for one in answer["Records"]], answer

    await dynamo.put(p="a", s=1)
    await dynamo.world.advance(1)
    since_ms = dynamo.world.clock.now_ms()
    await dynamo.put(p="a", s=2)
    await dynamo.put(p="a", s=3)
    numbers = [one["dynamodb"]["SequenceNumber"] for one in await dynamo.stream_records()]
    assert (await read("LATEST"))[0] == []
    assert (await read("AT_SEQUENCE_NUMBER", SequenceNumber=numbers[1]))[0] == [2, 3]
    assert (await read("AFTER_SEQUENCE_NUMBER", SequenceNumber=numbers[1]))[0] == [3]
    assert (await read("AFTER_SEQUENCE_NUMBER", SequenceNumber=f"{since_ms}{0:011d}"))[0] == [2, 3]
    _, answer = await read("TRIM_HORIZON")
    await dynamo.world.advance(16 * 60)
    with pytest.raises(ServiceError) as caught:
        await call("dynamodbstreams", "GetRecords", ShardIterator=answer["NextShardIterator"])
    assert caught.value.code == "ExpiredIteratorException"


async def test_a_stream_that_is_switched_off_ends(dynamo):
    arn = await streamed(dynamo)
    await dynamo.put(p="a", s=1)
    await dynamo.call("UpdateTable", TableName="table", StreamSpecification={"StreamEnabled": False})
    await dynamo.put(p="a", s=2)
    told = (await dynamo.world.call("dynamodbstreams", "DescribeStream", StreamArn=arn))["StreamDescription"]
    assert told["StreamStatus"] == "DISABLED"
    at = await dynamo.world.call(
        "dynamodbstreams",
        "GetShardIterator",
        StreamArn=arn,
        ShardId=told["Shards"][0]["ShardId"],
        ShardIteratorType="TRIM_HORIZON",
    )
    answer = await dynamo.world.call("dynamodbstreams", "GetRecords", ShardIterator=at["ShardIterator"])
    assert len(answer["Records"]) == 1
    assert "NextShardIterator" not in answer
    listed = await dynamo.world.call("dynamodbstreams", "ListStreams", TableName="table")
    assert [one["StreamArn"] for one in listed["Streams"]] == [arn]


async def test_a_kinesis_stream_is_told_of_each_change_in_order(dynamo):
    call = dynamo.world.call
    await dynamo.table()
    await call("kinesis", "CreateStream", StreamName="changes", ShardCount=2)
    await dynamo.world.settle()
    summary = await call("kinesis", "DescribeStreamSummary", StreamName="changes")
    stream = summary["StreamDescriptionSummary"]["StreamARN"]
    await dynamo.call("EnableKinesisStreamingDestination", TableName="table", StreamArn=stream)
    for n in range(30):
        await dynamo.put(p=str(n % 3), s=1, v=n, b=b"\xff")
        await dynamo.put(p=str(n % 3), s=1, v=n, b=b"\xff")
    await dynamo.call("DeleteItem", TableName="table", Key=item(p="0", s=1))
    await dynamo.world.settle()
    seen = {"0": [], "1": [], "2": []}
    for shard in (await call("kinesis", "ListShards", StreamName="changes"))["Shards"]:
        at = await call(
            "kinesis",
            "GetShardIterator",
            StreamName="changes",
            ShardId=shard["ShardId"],
            ShardIteratorType="TRIM_HORIZON",
        )
        for record in (await call("kinesis", "GetRecords", ShardIterator=at["ShardIterator"]))["Records"]:
            event = orjson.loads(record["Data"])
            change = event["dynamodb"]
            seen[change["Keys"]["p"]["S"]].append((event["eventName"], change.get("NewImage", {}).get("v")))
    assert {key: len(events) for key, events in seen.items()} == {"0": 11, "1": 10, "2": 10}
    assert seen["0"][-1] == ("REMOVE", None)
    for key, events in seen.items():
        numbers = [int(v["N"]) for _, v in events if v is not None]
        assert numbers == list(range(int(key), 30, 3))
