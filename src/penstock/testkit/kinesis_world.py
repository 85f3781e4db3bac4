"""A world with a Kinesis stream named `s`, and the few calls that every test of the room makes."""

from typing import Any

from penstock.kernel.scope import Scope
from penstock.services import kinesis
from penstock.testkit.world import World

ACCOUNT = "000000000000"
ARN = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/s"
FIRST = "shardId-000000000000"


async def with_stream(shards: int = 1, *, limits: str = "off", **members: Any) -> World:
    world = World(kinesis.SERVICE)
    world.platform.limits = limits
    if "StreamModeDetails" not in members:
        members["ShardCount"] = shards
    await call(world, "CreateStream", StreamName="s", **members)
    await world.settle()
    return world


async def call(
    world: World, operation: str, /, *, account: str = ACCOUNT, region: str = "us-east-1", **params: Any
) -> dict[str, Any]:
    return await world.context(scope=Scope(account, region)).call("kinesis", operation, params)


async def iterator(world: World, kind: str = "TRIM_HORIZON", shard: str = FIRST, **members: Any) -> str:
    answer = await call(world, "GetShardIterator", StreamName="s", ShardId=shard, ShardIteratorType=kind, **members)
    return str(answer["ShardIterator"])


async def read(world: World, kind: str = "TRIM_HORIZON", **members: Any) -> list[bytes]:
    answer = await call(world, "GetRecords", ShardIterator=await iterator(world, kind, **members))
    return [record["Data"] for record in answer["Records"]]


async def put(world: World, *items: bytes, key: str = "k") -> list[dict[str, Any]]:
    return [await call(world, "PutRecord", StreamName="s", Data=item, PartitionKey=key) for item in items]


async def shards(world: World, **members: Any) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = (await call(world, "ListShards", StreamName="s", **members))["Shards"]
    return listed
