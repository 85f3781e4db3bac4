"""Tables under everything that can go wrong: docs/delivery-invariants.md, T1 to T6."""

import asyncio
import os
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from penstock.framework.background import BackgroundRunner
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.services import dynamodb, kinesis
from penstock.services.dynamodb import limits
from penstock.testkit.world import World

SEEDS = int(os.environ.get("PENSTOCK_SIMULATION_SEEDS", "32"))
CHUNKS = 8
ROOMS = [dynamodb.SERVICE, kinesis.SERVICE]
KEYS = [{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"}]
TYPES = [{"AttributeName": name, "AttributeType": kind} for name, kind in (("p", "S"), ("s", "N"), ("g", "S"))]
KNOWN = [
    int(line.split()[1])
    for line in (Path(__file__).parent / "seeds.txt").read_text().splitlines()
    if line.startswith("table ")
]


@dataclass
class Run:
    """What a run has done. counted: increments that were acknowledged; moments: the items at some times."""

    chance: random.Random
    counted: int = 0
    moments: list = field(default_factory=list)
    has_late_index: bool = False
    is_healthy: bool = False


def index(name):
    schema = [{"AttributeName": "g", "KeyType": "HASH"}]
    return {"IndexName": name, "KeySchema": schema, "Projection": {"ProjectionType": "ALL"}}


async def write(world, run):
    """One write of any kind; what is refused now is left."""
    chance = run.chance
    key = {"p": {"S": chance.choice("ab")}, "s": {"N": str(chance.randrange(4))}}
    item = {**key, "v": {"N": str(chance.randrange(3))}}
    if chance.random() < 0.7:
        item["g"] = {"S": chance.choice("xy")}
    if chance.random() < 0.4:
        item["ttl"] = {"N": str(world.clock.now_ms() // 1000 + chance.choice([-5, 0, 3, 30, 3000]))}
    counter = {"TableName": "tbl", "Key": {"p": {"S": "count"}, "s": {"N": "0"}}, "UpdateExpression": "ADD n :one"}
    counter["ExpressionAttributeValues"] = {":one": {"N": "1"}}
    kind = chance.randrange(6)
    call = world.call
    if kind == 0:
        await call("dynamodb", "PutItem", TableName="tbl", Item=item)
    elif kind == 1:
        await call("dynamodb", "DeleteItem", TableName="tbl", Key=key)
    elif kind == 2:
        values = {":v": item["v"], ":g": {"S": chance.choice("xy")}}
        expression = "SET v = :v, g = :g" if chance.random() < 0.7 else "SET v = :v REMOVE g"
        values = {name: value for name, value in values.items() if name in expression}
        await call(
            "dynamodb", "UpdateItem", TableName="tbl", Key=key, UpdateExpression=expression,
            ExpressionAttributeValues=values,
        )  # fmt: skip
    elif kind == 3:
        await call("dynamodb", "UpdateItem", **counter)
        run.counted += 1
    elif kind == 4:
        items = [{"Update": counter}, {"Put": {"TableName": "tbl", "Item": item}}]
        token = {"ClientRequestToken": f"{chance.random()}"}
        await call("dynamodb", "TransactWriteItems", TransactItems=items, **token)
        await call("dynamodb", "TransactWriteItems", TransactItems=items, **token)
        run.counted += 1
    else:
        others = [{**item, "s": {"N": str(n)}} for n in chance.sample(range(4), 2)]
        requests = [{"PutRequest": {"Item": one}} for one in others]
        await call("dynamodb", "BatchWriteItem", RequestItems={"tbl": requests})


async def live(world, run, node):
    chance = run.chance
    for _ in range(chance.randrange(1, 4)):
        await asyncio.gather(*(write(world, run) for _ in range(chance.randrange(8))))
        for _ in range(chance.randrange(40)):
            await asyncio.sleep(0)
        if not run.has_late_index and chance.random() < 0.3:
            run.has_late_index = True
            updates = [{"Create": index("late")}]
            await world.call(
                "dynamodb",
                "UpdateTable",
                TableName="tbl",
                AttributeDefinitions=TYPES,
                GlobalSecondaryIndexUpdates=updates,
            )
        if chance.random() < 0.6:
            await node.run_until(world.clock.now_ms() + chance.choice([100, 2000, 40_000, 5 * 3600_000]))
        if chance.random() < 0.4:
            await world.platform.store.settled()
            run.moments.append((world.clock.now_ms(), await items_of(world, "tbl")))
            await node.run_until(world.clock.now_ms() + 1)


def faulty(run):
    async def fault(service, operation):
        if not run.is_healthy and operation == "PutRecords":
            for _ in range(run.chance.randrange(3)):
                await asyncio.sleep(0)
            if run.chance.random() < 0.2:
                raise ServiceError("ProvisionedThroughputExceededException", "Rate exceeded")
            if run.chance.random() < 0.1:
                raise Unavailable("away")

    return fault


def delay_commits(run, world):
    """A commit takes a while, and others come between it and its answer; a crash may too."""
    transact = world.platform.store.transact

    async def slow(fn):
        with world.clock.busy():
            for _ in range(run.chance.choice([0, 0, 2])):
                await asyncio.sleep(0)
            answer = await transact(fn)
            for _ in range(run.chance.choice([0, 1, 5])):
                await asyncio.sleep(0)
            return answer

    world.platform.store.transact = slow


async def make(world):
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    made = await world.call(
        "dynamodb", "CreateTable", TableName="tbl", KeySchema=KEYS, AttributeDefinitions=TYPES,
        BillingMode="PAY_PER_REQUEST", GlobalSecondaryIndexes=[index("early")], StreamSpecification=stream,
    )  # fmt: skip
    ttl = {"Enabled": True, "AttributeName": "ttl"}
    await world.call("dynamodb", "UpdateTimeToLive", TableName="tbl", TimeToLiveSpecification=ttl)
    recovery = {"PointInTimeRecoveryEnabled": True}
    await world.call("dynamodb", "UpdateContinuousBackups", TableName="tbl", PointInTimeRecoverySpecification=recovery)
    await world.call("kinesis", "CreateStream", StreamName="told", ShardCount=2)
    await world.background.run_until(world.clock.now_ms() + 1000)
    summary = await world.call("kinesis", "DescribeStreamSummary", StreamName="told")
    arn = summary["StreamDescriptionSummary"]["StreamARN"]
    await world.call("dynamodb", "EnableKinesisStreamingDestination", TableName="tbl", StreamArn=arn)
    return made["TableDescription"]["LatestStreamArn"]


async def simulate(seed):
    run = Run(random.Random(seed))
    world = World(*ROOMS, seed=seed)
    world.platform.caller.fault = faulty(run)
    delay_commits(run, world)
    stream = await make(world)
    for _ in range(run.chance.randrange(2, 5)):
        async with BackgroundRunner(world.platform, ROOMS) as node:
            await live(world, run, node)
        world.platform.volatile.clear()  # leaving the block cancels whatever was running: the crash
    run.is_healthy = True
    async with BackgroundRunner(world.platform, ROOMS) as node:
        await node.run_until(world.clock.now_ms() + 120_000)
        await check(world, run, stream, f"seed {seed}")
        await check_moments(world, run, node, f"seed {seed}")


def key_of(item):
    return item["p"]["S"], item["s"]["N"]


async def items_of(world, table, **members):
    page = await world.call("dynamodb", "Scan", TableName=table, **members)
    return {key_of(one): one for one in page["Items"]}


async def check(world, run, stream, about):
    items = await items_of(world, "tbl")
    count = int(items.get(("count", "0"), {"n": {"N": "0"}})["n"]["N"])
    assert count == run.counted, f"T1 {about}: {count} increments of {run.counted}"
    for name in ("early", *(["late"] if run.has_late_index else [])):
        indexed = await items_of(world, "tbl", IndexName=name)
        wanted = {key: one for key, one in items.items() if "g" in one}
        assert indexed == wanted, f"T2 {about}: index {name}"
    described = (await world.call("dynamodb", "DescribeTable", TableName="tbl"))["Table"]
    assert described["ItemCount"] == len(items), f"T2 {about}: {described['ItemCount']} items"
    counts = {one["ItemCount"] for one in described["GlobalSecondaryIndexes"]}
    assert counts == {sum("g" in one for one in items.values())}, f"T2 {about}: {counts} entries"
    records = await records_of(world, "dynamodbstreams", {"StreamArn": stream})
    check_stream(items, records, about)
    told = [orjson.loads(one["Data"]) for one in await records_of(world, "kinesis", {"StreamName": "told"})]
    check_told(records, told, about)
    now_s, oldest_s = world.clock.now_ms() // 1000, world.clock.now_ms() // 1000 - 5 * 365 * 86400
    late = [one for one in items.values() if "ttl" in one and oldest_s < int(one["ttl"]["N"]) < now_s - 5]
    assert not late, f"T5 {about}: {late[:2]} stayed"
    for record in records:
        if "userIdentity" in record:
            gone = record["dynamodb"]
            assert int(gone["OldImage"]["ttl"]["N"]) <= gone["ApproximateCreationDateTime"].timestamp(), f"T5 {about}"


async def records_of(world, service, named):
    """Every record, shard after shard."""
    if service == "kinesis":
        shards = (await world.call(service, "ListShards", **named))["Shards"]
    else:
        shards = (await world.call(service, "DescribeStream", **named))["StreamDescription"]["Shards"]
    found = []
    for shard in shards:
        params = {**named, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = (await world.call(service, "GetShardIterator", **params))["ShardIterator"]
        found += (await world.call(service, "GetRecords", ShardIterator=iterator))["Records"]
    return found


def check_stream(items, records, about):
    """T3: each record begins where the last one of its item ended, and in the end there is the table."""
    replayed = {}
    first = {}
    for record in records:
        change = record["dynamodb"]
        key, old, new = key_of(change["Keys"]), change.get("OldImage"), change.get("NewImage")
        first.setdefault(key, old)
        if key in replayed:
            assert old == replayed[key], f"T3 {about}: {key} was told twice, or not"
        assert old != new, f"T3 {about}: {key} didn't change"
        replayed[key] = new
    is_whole = all(old is None for old in first.values())  # else what is older than a day is gone
    left = {key: item for key, item in replayed.items() if item is not None}
    if is_whole:
        assert left == items, f"T3 {about}: the stream's end isn't the table"
    else:
        assert all(items.get(key) == item for key, item in replayed.items()), f"T3 {about}"


def check_told(records, told, about):
    """T4: a Kinesis stream hears of every change, of each item in order; after a crash some twice."""
    heard, seen = {}, set()
    for event in told:
        if event["eventID"] not in seen:
            seen.add(event["eventID"])
            change = event["dynamodb"]
            heard.setdefault(key_of(change["Keys"]), []).append((change.get("OldImage"), change.get("NewImage")))
    for key in {key_of(record["dynamodb"]["Keys"]) for record in records}:
        wanted = [
            (record["dynamodb"].get("OldImage"), record["dynamodb"].get("NewImage"))
            for record in records
            if key_of(record["dynamodb"]["Keys"]) == key
        ]
        assert heard.get(key, [])[-len(wanted) :] == wanted, f"T4 {about}: {key}"


async def check_moments(world, run, node, about):
    """T6: recovery gives back what was there."""
    for number, (at_ms, items) in enumerate(run.moments):
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
        name = f"again-{number}"
        await world.call(
            "dynamodb", "RestoreTableToPointInTime", SourceTableName="tbl", TargetTableName=name, RestoreDateTime=at
        )
        await node.run_until(world.clock.now_ms() + 10)
        assert await items_of(world, name) == items, f"T6 {about}: {at}"


@pytest.fixture
def small_steps(monkeypatch):
    """What is done some at a time takes many steps, so that crashes and writes come between them."""
    for name, count in (("WORKED_AT_ONCE", 2), ("EXPIRED_AT_ONCE", 1), ("TOLD_AT_ONCE", 3), ("CLEARED_AT_ONCE", 2)):
        monkeypatch.setattr(limits, name, count)


@pytest.mark.parametrize("chunk", range(CHUNKS))
async def test_tables_keep_their_promises_whatever_happens(chunk, small_steps):
    for seed in range(chunk, SEEDS, CHUNKS):
        await simulate(seed)


@pytest.mark.parametrize("seed", KNOWN)
async def test_seeds_that_once_found_a_bug_find_it_no_more(seed, small_steps):
    await simulate(seed)
