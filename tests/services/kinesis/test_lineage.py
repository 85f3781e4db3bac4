"""No acknowledged record is lost, and none passes another of its key, however shards are split, merged and scaled."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.kernel.errors import ServiceError
from penstock.testkit.kinesis_world import call, with_stream

KEYS = [f"key-{number}" for number in range(7)]
MOVES = ("put", "put", "batch", "batch", "split", "merge", "scale", "rest")


class Producers:
    """Each key's next record is sent once the one before it was answered, as a careful producer does."""

    def __init__(self, world, rnd):
        self.world, self.rnd = world, rnd
        self.acknowledged = {key: [] for key in KEYS}
        self.sequence = dict.fromkeys(KEYS, 0)
        self.locks = {key: asyncio.Lock() for key in KEYS}

    async def put(self):
        key = self.rnd.choice(KEYS)
        async with self.locks[key]:
            data = self._next(key)
            await call(self.world, "PutRecord", StreamName="s", Data=data, PartitionKey=key)
            self.acknowledged[key].append(data)

    async def batch(self):
        key = self.rnd.choice(KEYS)
        async with self.locks[key]:
            items = [self._next(key) for _ in range(self.rnd.randrange(1, 6))]
            records = [{"Data": data, "PartitionKey": key} for data in items]
            answer = await call(self.world, "PutRecords", StreamName="s", Records=records)
            taken = [data for data, one in zip(items, answer["Records"], strict=True) if "SequenceNumber" in one]
            self.acknowledged[key].extend(taken)

    def _next(self, key):
        self.sequence[key] += 1
        return f"{key}:{self.sequence[key]}".encode()


async def open_shards(world):
    listed = await call(world, "ListShards", StreamName="s", ShardFilter={"Type": "AT_LATEST"})
    return sorted(listed["Shards"], key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))


async def split(world, rnd):
    shard = rnd.choice(await open_shards(world))
    low, high = (int(shard["HashKeyRange"][f"{end}ingHashKey"]) for end in ("Start", "End"))
    at = str((low + high) // 2)
    await call(world, "SplitShard", StreamName="s", ShardToSplit=shard["ShardId"], NewStartingHashKey=at)


async def merge(world, rnd):
    shards = await open_shards(world)
    if len(shards) < 2:
        return
    at = rnd.randrange(len(shards) - 1)
    one, other = shards[at]["ShardId"], shards[at + 1]["ShardId"]
    await call(world, "MergeShards", StreamName="s", ShardToMerge=one, AdjacentShardToMerge=other)


async def scale(world, rnd):
    count = len(await open_shards(world))
    target = rnd.choice([max(1, (count + 1) // 2), min(count * 2, 40), count + 1])
    await call(world, "UpdateShardCount", StreamName="s", TargetShardCount=target, ScalingType="UNIFORM_SCALING")


async def reshard(world, rnd, how):
    """A change that comes while another is under way is refused; that is part of the game."""
    try:
        await how(world, rnd)
    except ServiceError as error:
        if error.code not in ("ResourceInUseException", "InvalidArgumentException", "LimitExceededException"):
            raise


async def every_shard(world):
    page = await call(world, "ListShards", StreamName="s")
    found = page["Shards"]
    while "NextToken" in page:
        page = await call(world, "ListShards", NextToken=page["NextToken"])
        found += page["Shards"]
    return found


async def read_lineage(world):
    """Every record in the order of a reader that finishes parents before it begins with their children."""
    shards = await every_shard(world)
    todo = [shard["ShardId"] for shard in shards]
    parents = {
        shard["ShardId"]: {shard.get("ParentShardId"), shard.get("AdjacentParentShardId")} - {None} for shard in shards
    }
    done, seen = set(), []
    while todo:
        shard = next(one for one in todo if parents[one] <= done)
        at = (await call(world, "GetShardIterator", StreamName="s", ShardId=shard, ShardIteratorType="TRIM_HORIZON"))[
            "ShardIterator"
        ]
        numbers = []
        while at:
            answer = await call(world, "GetRecords", ShardIterator=at, Limit=3)
            numbers += [int(record["SequenceNumber"]) for record in answer["Records"]]
            seen += answer["Records"]
            is_open = "NextShardIterator" in answer and not answer["Records"]
            at = None if is_open else answer.get("NextShardIterator")
        assert numbers == sorted(set(numbers))
        done.add(shard)
        todo.remove(shard)
    return seen


async def run_moves(seed, moves, *, at_once):
    rnd = random.Random(seed)
    world = await with_stream(shards=rnd.randrange(1, 4))
    producers = Producers(world, rnd)
    acts = {
        "put": producers.put,
        "batch": producers.batch,
        "split": lambda: reshard(world, rnd, split),
        "merge": lambda: reshard(world, rnd, merge),
        "scale": lambda: reshard(world, rnd, scale),
        "rest": world.settle,
    }
    for begin in range(0, len(moves), at_once):
        await asyncio.gather(*(acts[move]() for move in moves[begin : begin + at_once]))
    await world.settle()
    found = {key: [] for key in KEYS}
    for record in await read_lineage(world):
        found[record["PartitionKey"]].append(record["Data"])
    assert found == producers.acknowledged
    ranges = [shard["HashKeyRange"] for shard in await open_shards(world)]
    edges = [(int(one["StartingHashKey"]), int(one["EndingHashKey"])) for one in ranges]
    assert edges[0][0] == 0
    assert edges[-1][1] == 2**128 - 1
    assert all(left[1] + 1 == right[0] for left, right in zip(edges, edges[1:], strict=False))


@given(seed=st.integers(0, 2**32), moves=st.lists(st.sampled_from(MOVES), max_size=40))
@settings(max_examples=25, deadline=None)
def test_acknowledged_records_come_in_order_over_resharding(seed, moves):
    asyncio.run(run_moves(seed, moves, at_once=1))


@pytest.mark.parametrize("seed", range(30))
def test_acknowledged_records_come_in_order_while_producers_and_resharding_run_together(seed):
    rnd = random.Random(seed)
    asyncio.run(run_moves(seed, rnd.choices(MOVES, k=120), at_once=8))
