import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.errors import ServiceError
from penstock.services.kinesis import rules
from penstock.services.kinesis.state import HASH_MAX, Stream
from penstock.testkit.kinesis_world import ACCOUNT, FIRST, call, iterator, put, read, shards, with_stream

DAY_S = 24 * 3600


async def split(world, shard=FIRST, at=2**127):
    await call(world, "SplitShard", StreamName="s", ShardToSplit=shard, NewStartingHashKey=str(at))
    await world.settle()


def ids(found):
    return [int(shard["ShardId"][-4:]) for shard in found]


async def test_a_filter_holds_over_the_pages():
    world = await with_stream(shards=3)
    await split(world, at=2**60)
    first = await call(world, "ListShards", StreamName="s", ShardFilter={"Type": "AT_LATEST"}, MaxResults=2)
    assert ids(first["Shards"]) == [1, 2]
    rest = await call(world, "ListShards", NextToken=first["NextToken"], MaxResults=10)
    assert ids(rest["Shards"]) == [3, 4]
    assert "NextToken" not in rest


async def test_a_filter_chooses_shards_by_time():
    world = await with_stream()
    await world.advance(60)
    before = rules.when(world.clock.now_ms() - 1000)
    await split(world)
    after = rules.when(world.clock.now_ms())
    await world.advance(60)
    for shard_filter, expected in [
        ({"Type": "AT_TRIM_HORIZON"}, [0]),
        ({"Type": "FROM_TRIM_HORIZON"}, [0, 1, 2]),
        ({"Type": "AT_TIMESTAMP", "Timestamp": before}, [0]),
        ({"Type": "AT_TIMESTAMP", "Timestamp": after}, [1, 2]),
        ({"Type": "FROM_TIMESTAMP", "Timestamp": before}, [0, 1, 2]),
        ({"Type": "FROM_TIMESTAMP", "Timestamp": rules.when(world.clock.now_ms())}, [1, 2]),
        ({"Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000001"}, [2]),
        ({"Type": "AT_LATEST"}, [1, 2]),
    ]:
        assert ids(await shards(world, ShardFilter=shard_filter)) == expected, shard_filter


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"StreamName": "s", "ShardFilter": {"Type": "AFTER_SHARD_ID"}}, "Must specify ShardId"),
        ({"StreamName": "s", "ShardFilter": {"Type": "AT_TIMESTAMP"}}, "Must specify Timestamp"),
        ({"NextToken": "bm9uc2Vuc2U="}, "Invalid NextToken"),
        ({"NextToken": "x", "StreamName": "s"}, "NextToken and StreamName cannot be provided together"),
        ({}, "Either NextToken or StreamName should be provided"),
    ],
)
async def test_a_list_that_makes_no_sense_is_refused(members, told):
    world = await with_stream()
    with pytest.raises(ServiceError, match=told):
        await call(world, "ListShards", **members)


async def test_a_token_grows_old():
    world = await with_stream(shards=3)
    token = (await call(world, "ListShards", StreamName="s", MaxResults=1))["NextToken"]
    await world.advance(301)
    with pytest.raises(ServiceError, match="ExpiredNextTokenException"):
        await call(world, "ListShards", NextToken=token)


async def test_a_closed_shard_goes_with_its_last_records():
    world = await with_stream()
    await put(world, b"old")
    await split(world)
    await world.advance(DAY_S + 3600)
    assert ids(await shards(world)) == [1, 2]
    with pytest.raises(ServiceError, match=f"Shard {FIRST} in stream s under account {ACCOUNT} does not exist"):
        await iterator(world)
    described = (await call(world, "DescribeStream", StreamName="s"))["StreamDescription"]
    assert ids(described["Shards"]) == [1, 2]
    await split(world, "shardId-000000000001", 2**126)
    assert ids(await shards(world)) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("operation", "members", "told"),
    [
        ("SplitShard", {"ShardToSplit": FIRST, "NewStartingHashKey": "0"}, "is not both greater than one plus"),
        ("SplitShard", {"ShardToSplit": "shardId-9", "NewStartingHashKey": "5"}, "Could not find shard shardId-9"),
        (
            "MergeShards",
            {"ShardToMerge": FIRST, "AdjacentShardToMerge": "shardId-000000000002"},
            "are not an adjacent pair of shards eligible for merging",
        ),
        ("UpdateShardCount", {"TargetShardCount": 7, "ScalingType": "UNIFORM_SCALING"}, "scale up over double"),
        ("UpdateShardCount", {"TargetShardCount": 1, "ScalingType": "UNIFORM_SCALING"}, "scale down below half"),
    ],
)
async def test_a_change_of_shards_that_makes_no_sense_is_refused(operation, members, told):
    world = await with_stream(shards=3)
    with pytest.raises(ServiceError, match=told):
        await call(world, operation, StreamName="s", **members)


async def test_a_shard_is_split_and_merged_once():
    world = await with_stream()
    await split(world)
    with pytest.raises(ServiceError, match="has already been merged or split"):
        await split(world)


async def test_a_stream_is_scaled_ten_times_a_day():
    world = await with_stream()
    for target in [2, 1, 2, 1, 2, 1, 2, 1, 2, 1]:
        await call(world, "UpdateShardCount", StreamName="s", TargetShardCount=target, ScalingType="UNIFORM_SCALING")
        await world.settle()
    scaling = {"StreamName": "s", "TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING"}
    with pytest.raises(ServiceError, match="LimitExceededException"):
        await call(world, "UpdateShardCount", **scaling)
    await world.advance(DAY_S)
    answer = await call(world, "UpdateShardCount", **scaling)
    assert (answer["CurrentShardCount"], answer["TargetShardCount"]) == (1, 2)


# How many shards there have been in the end, the closed ones included: moto's numbers, which it verified against AWS.
@pytest.mark.parametrize(("start", "target", "total"), [(2, 4, 6), (4, 5, 15), (10, 13, 37), (4, 2, 6), (5, 3, 7)])
def test_scaling_takes_as_many_splits_and_merges_as_on_aws(start, target, total):
    stream = Stream("s", 0, "PROVISIONED", shards=rules.new_shards(start, 0))
    rules.scale(stream, target, 1)
    assert (len(stream.open_shards), len(stream.shards)) == (target, total)


@given(start=st.integers(1, 12), targets=st.lists(st.integers(1, 24), max_size=5), key=st.integers(0, HASH_MAX))
def test_scaling_leaves_shards_that_cover_every_hash_key_once(start, targets, key):
    stream = Stream("s", 0, "PROVISIONED", shards=rules.new_shards(start, 0))
    for now_ms, target in enumerate(targets, 1):
        before = len(stream.open_shards)
        rules.rescale(stream, target, now_ms)
        ranges = sorted((int(shard.first_hash), int(shard.last_hash)) for shard in stream.open_shards)
        assert len(ranges) == target
        assert (ranges[0][0], ranges[-1][1]) == (0, HASH_MAX)
        assert all(left[1] + 1 == right[0] for left, right in zip(ranges, ranges[1:], strict=False))
        assert sum(shard.has_hash(key) for shard in stream.open_shards) == 1
        if now_ms == 1 and before in (2 * target, target // 2 if target % 2 == 0 else 0):
            widths = [last - first for first, last in ranges]
            assert max(widths) - min(widths) < 2 * start
    for shard in stream.shards:
        parents = [parent for parent in stream.shards if parent.id in (shard.parent, shard.adjacent_parent)]
        assert all(parent.closed_ms is not None and parent.epoch < shard.epoch for parent in parents)


async def test_sequence_numbers_rise_over_a_split_and_a_new_stream_of_the_same_name():
    world = await with_stream()
    numbers = [int(answer["SequenceNumber"]) for answer in await put(world, b"1", b"2")]
    await split(world)
    numbers += [int(answer["SequenceNumber"]) for answer in await put(world, b"3")]
    old = await iterator(world)
    await call(world, "DeleteStream", StreamName="s")
    await world.settle()
    await call(world, "CreateStream", StreamName="s", ShardCount=1)
    await world.settle()
    numbers += [int(answer["SequenceNumber"]) for answer in await put(world, b"4")]
    assert numbers == sorted(set(numbers))
    assert await read(world) == [b"4"]
    with pytest.raises(ServiceError, match="does not exist"):
        await call(world, "GetRecords", ShardIterator=old)
