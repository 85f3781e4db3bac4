import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.errors import ServiceError
from penstock.services import kinesis
from penstock.services.kinesis import rules
from penstock.services.kinesis.state import HASH_MAX, Shard, Stream
from penstock.testkit.kinesis_world import ACCOUNT, iterator, put, read, with_stream
from penstock.testkit.world import World


async def test_a_stream_is_made_and_deleted():
    world = World(kinesis.SERVICE)
    await world.call("kinesis", "CreateStream", StreamName="s", ShardCount=2)
    summary = (await world.call("kinesis", "DescribeStreamSummary", StreamName="s"))["StreamDescriptionSummary"]
    assert (summary["StreamStatus"], summary["OpenShardCount"]) == ("ACTIVE", 2)
    await put(world, b"early")
    await world.settle()
    described = (await world.call("kinesis", "DescribeStream", StreamName="s"))["StreamDescription"]
    assert described["StreamStatus"] == "ACTIVE"
    ranges = [shard["HashKeyRange"] for shard in described["Shards"]]
    assert ranges[0]["StartingHashKey"] == "0"
    assert int(ranges[0]["EndingHashKey"]) + 1 == int(ranges[1]["StartingHashKey"])
    assert ranges[1]["EndingHashKey"] == str(HASH_MAX)
    with pytest.raises(ServiceError, match=f"Stream s under account {ACCOUNT} already exists"):
        await world.call("kinesis", "CreateStream", StreamName="s", ShardCount=1)
    await world.call("kinesis", "DeleteStream", StreamName="s")
    await world.settle()
    with pytest.raises(ServiceError, match=f"Stream s under account {ACCOUNT} not found"):
        await world.call("kinesis", "DescribeStream", StreamName="s")


async def test_records_come_back_in_order_from_every_kind_of_start():
    world = await with_stream()
    numbers = [answer["SequenceNumber"] for answer in await put(world, b"1", b"2", b"3")]
    assert [len(number) for number in numbers] == [56, 56, 56]
    assert sorted(numbers, key=int) == numbers
    assert await read(world) == [b"1", b"2", b"3"]
    assert await read(world, "LATEST") == []
    assert await read(world, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[1]) == [b"2", b"3"]
    assert await read(world, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[1]) == [b"3"]
    await world.advance(10)
    await put(world, b"4")
    assert await read(world, "AT_TIMESTAMP", Timestamp=rules.when(world.clock.now_ms() - 5000)) == [b"4"]


async def test_an_iterator_goes_on_where_it_stood_and_ends_in_time():
    world = await with_stream()
    await put(world, b"1", b"2", b"3")
    first = await world.call("kinesis", "GetRecords", ShardIterator=await iterator(world), Limit=2)
    assert [record["Data"] for record in first["Records"]] == [b"1", b"2"]
    await world.advance(1)
    rest = await world.call("kinesis", "GetRecords", ShardIterator=first["NextShardIterator"])
    assert [record["Data"] for record in rest["Records"]] == [b"3"]
    assert rest["MillisBehindLatest"] == 0
    await world.advance(301)
    with pytest.raises(ServiceError, match="ExpiredIteratorException"):
        await world.call("kinesis", "GetRecords", ShardIterator=rest["NextShardIterator"])
    with pytest.raises(ServiceError, match="Invalid ShardIterator"):
        await world.call("kinesis", "GetRecords", ShardIterator="nonsense")


async def test_a_batch_goes_to_its_shards():
    world = await with_stream(shards=3)
    records = [{"Data": b"%d" % n, "PartitionKey": f"key-{n}"} for n in range(30)]
    answer = await world.call("kinesis", "PutRecords", StreamName="s", Records=records)
    assert answer["FailedRecordCount"] == 0
    shards = {record["ShardId"] for record in answer["Records"]}
    assert len(shards) == 3
    found = [data for shard in shards for data in await read(world, shard=shard)]
    assert sorted(found) == sorted(record["Data"] for record in records)


async def test_a_split_shard_is_read_to_its_end_and_names_its_children():
    world = await with_stream()
    await put(world, b"before")
    await world.call(
        "kinesis", "SplitShard", StreamName="s", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127)
    )
    await world.settle()
    await put(world, b"after")
    answer = await world.call("kinesis", "GetRecords", ShardIterator=await iterator(world))
    assert [record["Data"] for record in answer["Records"]] == [b"before"]
    assert "NextShardIterator" not in answer
    children = [child["ShardId"] for child in answer["ChildShards"]]
    assert children == ["shardId-000000000001", "shardId-000000000002"]
    assert [data for shard in children for data in await read(world, shard=shard)] == [b"after"]
    await world.call(
        "kinesis", "MergeShards", StreamName="s", ShardToMerge=children[0], AdjacentShardToMerge=children[1]
    )
    await world.settle()
    shards = (await world.call("kinesis", "ListShards", StreamName="s"))["Shards"]
    assert (shards[3]["ParentShardId"], shards[3]["AdjacentParentShardId"]) == tuple(children)
    assert "EndingSequenceNumber" in shards[1]["SequenceNumberRange"]


async def test_records_beyond_the_retention_are_gone():
    world = await with_stream()
    await put(world, b"old")
    await world.advance(20 * 3600)
    await put(world, b"new")
    await world.advance(5 * 3600)
    assert await read(world) == [b"new"]
    await world.call("kinesis", "IncreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=48)
    with pytest.raises(ServiceError, match="Use DecreaseRetentionPeriod API"):
        await world.call("kinesis", "IncreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=24)


async def test_a_stream_may_be_named_by_its_arn():
    world = await with_stream()
    arn = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/s"
    await world.call("kinesis", "AddTagsToStream", StreamARN=arn, Tags={"a": "1"})
    tags = await world.call("kinesis", "ListTagsForStream", StreamARN=arn)
    assert tags["Tags"] == [{"Key": "a", "Value": "1"}]
    with pytest.raises(ServiceError, match="Either StreamName or StreamARN"):
        await world.call("kinesis", "ListTagsForStream")


@given(position=st.integers(0, 2**60), other=st.integers(0, 2**60), at_ms=st.integers(0, 2**42))
def test_sequence_numbers_keep_the_order_and_name_their_position(position, other, at_ms):
    shard = Shard("shardId-000000000003", "0", "1", 1_780_000_000_000)
    number = rules.sequence_number(shard, position, at_ms)
    assert len(number) == 56
    assert rules.position_of(number) == position
    assert (int(number) < int(rules.sequence_number(shard, other, at_ms))) == (position < other)


@given(count=st.integers(1, 50), key=st.integers(0, HASH_MAX))
def test_every_hash_key_has_one_shard(count, key):
    stream = Stream("s", 0, "PROVISIONED", shards=rules.new_shards(count, 0))
    assert sum(shard.has_hash(key) for shard in stream.shards) == 1


async def test_a_stream_that_holds_much_is_deleted_bit_by_bit(monkeypatch):
    monkeypatch.setattr("penstock.services.kinesis.limits.TRIM_AT_ONCE", 2)
    world = await with_stream()
    await put(world, *[b"x"] * 9)
    await world.call("kinesis", "DeleteStream", StreamName="s")
    described = (await world.call("kinesis", "DescribeStream", StreamName="s"))["StreamDescription"]
    assert described["StreamStatus"] == "DELETING"
    for operation, params in [
        ("PutRecord", {"Data": b"x", "PartitionKey": "k"}),
        ("UpdateShardCount", {"TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING"}),
        ("CreateStream", {"ShardCount": 1}),
    ]:
        with pytest.raises(ServiceError, match="not found|in state DELETING|already exists"):
            await world.call("kinesis", operation, StreamName="s", **params)
    await world.settle()
    assert (await world.call("kinesis", "ListStreams"))["StreamNames"] == []
    await world.call("kinesis", "CreateStream", StreamName="s", ShardCount=1)
    assert await read(world) == []
