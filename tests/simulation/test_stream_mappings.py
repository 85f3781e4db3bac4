"""Kinesis to a function, under everything that can go wrong: docs/delivery-invariants.md, S1 to S7.

A seed chooses the settings, the records, the function's moods, when the node dies, when the stream is resharded and
when the mapping is changed. A seed that found a bug is kept in seeds.txt; to repeat one, add it there and run
`pytest tests/simulation -k found`. PENSTOCK_SIMULATION_SEEDS says how many are tried.
"""

import asyncio
import base64
import os
import random
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from penstock.engines.functions.ports import Throttled
from penstock.framework.background import BackgroundRunner
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.services import kinesis, lambda_, sqs
from penstock.services.lambda_.operations import mappings
from penstock.testkit.functions import FakePool, create_function, outcome
from penstock.testkit.world import World

SEEDS = int(os.environ.get("PENSTOCK_SIMULATION_SEEDS", "80"))
CHUNKS = 8
ROOMS = [lambda_.SERVICE, kinesis.SERVICE, sqs.SERVICE]
ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
LOST = "arn:aws:sqs:us-east-1:000000000000:lost"
KNOWN = [
    int(line.split()[1])
    for line in (Path(__file__).parent / "seeds.txt").read_text().splitlines()
    if line.startswith("stream ")
]


@dataclass
class Run:
    """What a run has seen. A record is (key, number); numbers rise by one within a key."""

    chance: random.Random
    settings: dict
    put: list = field(default_factory=list)
    succeeded: set = field(default_factory=set)
    tries: dict = field(default_factory=lambda: defaultdict(int))
    too_early: list = field(default_factory=list)
    poison: set = field(default_factory=set)
    finals: list = field(default_factory=list)
    went_back: list = field(default_factory=list)
    wanted: set = field(default_factory=set)
    invocations: int = 0
    is_healthy: bool = False

    def __post_init__(self):
        self.is_partial = bool(self.settings.get("FunctionResponseTypes"))
        self.is_windowed = bool(self.settings.get("TumblingWindowInSeconds"))
        self.gives_up = self.settings.get("MaximumRetryAttempts", -1) >= 0


def settings_of(chance):
    found = {"BatchSize": chance.choice([1, 2, 5, 100]), "StartingPosition": "TRIM_HORIZON"}
    if chance.random() < 0.3:
        found["TumblingWindowInSeconds"] = chance.choice([1, 10, 60])
    elif chance.random() < 0.5:
        found["ParallelizationFactor"] = chance.randrange(2, 11)
    if chance.random() < 0.3:
        found["MaximumBatchingWindowInSeconds"] = chance.choice([1, 5])
    if chance.random() < 0.5:
        found["BisectBatchOnFunctionError"] = True
    if chance.random() < 0.5:
        found["FunctionResponseTypes"] = ["ReportBatchItemFailures"]
    if chance.random() < 0.5:
        found["MaximumRetryAttempts"] = chance.randrange(4)
        found["DestinationConfig"] = {"OnFailure": {"Destination": LOST}}
    if chance.random() < 0.2:
        found["FilterCriteria"] = {"Filters": [{"Pattern": '{"data": {"skip": [false]}}'}]}
    return found


def function_of(run):
    """A function that succeeds, fails, says what failed, is throttled, or is lost with its node."""
    chance = run.chance

    def answer(event, state):
        return outcome(orjson.dumps({"state": state})) if run.is_windowed else outcome()

    def failed(numbers, state):
        told = {"batchItemFailures": [{"itemIdentifier": one} for one in numbers]}
        return outcome(orjson.dumps(told | ({"state": state} if run.is_windowed else {})))

    async def invoke(spec, invocation):
        run.invocations += 1
        for _ in range(chance.choice([0, 3, 40])):
            await asyncio.sleep(0)
        mood = 1.0 if run.is_healthy else chance.random()
        if mood < 0.1:
            raise Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
        if mood < 0.15:
            raise Unavailable("away")
        event = orjson.loads(invocation.payload)
        records = [record_of(one) for one in event["Records"]]
        note_order(run, records)
        for record in records:
            run.tries[record] += 1
        bad = [index for index, record in enumerate(records) if record in run.poison]
        if mood < 0.25:
            return outcome(b'{"errorMessage":"x"}', error="X")
        if mood < 0.3 and run.is_partial:
            return failed([chance.choice(["", "unknown"])], event.get("state"))
        numbers = [one["kinesis"]["sequenceNumber"] for one in event["Records"]]
        if mood < 0.45 and records:
            bad = sorted({*bad, chance.randrange(len(records))})
        if bad and not run.is_partial:
            return outcome(b'{"errorMessage":"x"}', error="X")
        done = records[: bad[0]] if bad else records
        state = event.get("state")
        if run.is_windowed:
            state = {"seen": [*state.get("seen", []), *done]}
            if event["isFinalInvokeForWindow"]:
                run.finals.append((event["shardId"], event["window"]["start"], event["state"].get("seen", [])))
        run.succeeded.update(done)
        for _ in range(chance.randrange(4)):  # the node may die before it hears of this
            await asyncio.sleep(0)
        return failed([numbers[index] for index in bad], state) if bad else answer(event, state)

    return invoke


def record_of(shown):
    told = orjson.loads(base64.b64decode(shown["kinesis"]["data"]))
    return (shown["kinesis"]["partitionKey"], told["n"])


def note_order(run, records):
    """S1: when a record is handed over, all before it of its key have been done, or are given up."""
    inside = set()
    for key, number in records:
        for earlier in range(number):
            before = (key, earlier)
            if before not in run.succeeded and before not in inside and before in run.wanted:
                run.too_early.append((before, (key, number)))
        inside.add((key, number))


async def put_some(world, run, count):
    for _ in range(count):
        key = f"k{run.chance.randrange(6)}"
        record = (key, sum(one[0] == key for one in run.put))
        is_skipped = "FilterCriteria" in run.settings and run.chance.random() < 0.4
        run.put.append(record)
        if not is_skipped:
            run.wanted.add(record)
            if run.gives_up and run.chance.random() < 0.1:
                run.poison.add(record)
        data = orjson.dumps({"n": record[1], "skip": is_skipped})
        await world.call("kinesis", "PutRecord", StreamName="s", PartitionKey=key, Data=data)


async def disturb(world, run, id):
    """Reshard the stream, or change the mapping; whatever is refused now is left."""
    chance = run.chance
    try:
        if chance.random() < 0.3:
            shards = (await world.call("kinesis", "ListShards", StreamName="s"))["Shards"]
            is_open = [one for one in shards if "EndingSequenceNumber" not in one["SequenceNumberRange"]]
            one = chance.choice(is_open)
            low, high = (int(one["HashKeyRange"][f"{end}HashKey"]) for end in ("Starting", "Ending"))
            middle = str((low + high) // 2)
            await world.call(
                "kinesis", "SplitShard", StreamName="s", ShardToSplit=one["ShardId"], NewStartingHashKey=middle
            )
        elif chance.random() < 0.3:
            change = {"BatchSize": chance.choice([1, 3, 50])}
            if "ParallelizationFactor" in run.settings:
                change["ParallelizationFactor"] = chance.randrange(1, 11)
            await world.call("lambda", "UpdateEventSourceMapping", UUID=id, **change)
        elif chance.random() < 0.3:
            await world.call("lambda", "UpdateEventSourceMapping", UUID=id, Enabled=chance.random() < 0.5)
    except ServiceError:
        pass


def faulty(run):
    async def fault(service, operation):
        if not run.is_healthy and service == "kinesis" and operation.startswith(("Get", "List")):
            for _ in range(run.chance.randrange(3)):
                await asyncio.sleep(0)
            if run.chance.random() < 0.05:
                raise ServiceError("ProvisionedThroughputExceededException", "Rate exceeded")
            if run.chance.random() < 0.02:
                raise Unavailable("away")

    return fault


async def given_up(world):
    """The ranges that the destination was told of, by shard."""
    found = []
    while True:
        url = "http://localhost:4566/000000000000/lost"
        answer = await world.call("sqs", "ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10)
        if not answer.get("Messages"):
            return found
        found += [orjson.loads(message["Body"])["KinesisBatchInfo"] for message in answer["Messages"]]


async def all_records(world):
    """Every record with its shard and number, for what the destination's ranges name."""
    found = []
    for shard in (await world.call("kinesis", "ListShards", StreamName="s"))["Shards"]:
        params = {"StreamName": "s", "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = (await world.call("kinesis", "GetShardIterator", **params))["ShardIterator"]
        for one in (await world.call("kinesis", "GetRecords", ShardIterator=iterator))["Records"]:
            record = (one["PartitionKey"], orjson.loads(one["Data"])["n"])
            found.append((shard["ShardId"], int(one["SequenceNumber"]), record))
    return found


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


def watch_checkpoints(run, monkeypatch):
    put = mappings.put_progress

    def checked(tx, scope, id, shard_id, progress):
        """S5: a lane's checkpoint never goes back."""
        for index, lane in enumerate(progress.lanes):
            place = (shard_id, len(progress.lanes), index)
            now = int(lane.checkpoint or -1)
            stored = mappings.find_progress(tx, scope, id, shard_id)
            before = int(stored.lanes[index].checkpoint or -1) if len(stored.lanes) == len(progress.lanes) else -1
            if now < before:
                run.went_back.append(place)
        put(tx, scope, id, shard_id, progress)

    monkeypatch.setattr(mappings, "put_progress", checked)


async def simulate(seed, monkeypatch):
    chance = random.Random(seed)
    run = Run(chance, settings_of(chance))
    watch_checkpoints(run, monkeypatch)
    pool = FakePool()
    world = World(*ROOMS, seed=seed, functions=pool)
    pool.invoke = function_of(run)
    world.platform.caller.fault = faulty(run)
    delay_commits(run, world)
    await world.call("sqs", "CreateQueue", QueueName="lost")
    await world.call("kinesis", "CreateStream", StreamName="s", ShardCount=chance.randrange(1, 3))
    await create_function(world)
    run.is_healthy = True
    params = {"EventSourceArn": ARN, "FunctionName": "f", **run.settings}
    id = (await world.call("lambda", "CreateEventSourceMapping", **params))["UUID"]
    run.is_healthy = False
    began_ms = world.clock.now_ms()
    for _ in range(chance.randrange(2, 6)):
        async with BackgroundRunner(world.platform, ROOMS) as node:
            for _ in range(chance.randrange(1, 4)):
                await put_some(world, run, chance.randrange(8))
                for _ in range(chance.randrange(60)):
                    await asyncio.sleep(0)
                if chance.random() < 0.5:
                    await disturb(world, run, id)
                if chance.random() < 0.6:
                    await node.run_until(world.clock.now_ms() + chance.choice([100, 1000, 5000, 70_000]))
                await disturb(world, run, id)
        world.platform.volatile.clear()  # leaving the block cancels whatever was running: the crash
    run.is_healthy = True
    async with BackgroundRunner(world.platform, ROOMS) as node:
        for _ in range(3):
            await node.run_until(world.clock.now_ms() + 1000)
            try:
                await world.call("lambda", "UpdateEventSourceMapping", UUID=id, Enabled=True)
            except ServiceError:
                continue
        await node.run_until(world.clock.now_ms() + 400_000)
        check(run, seed, await given_up(world), await all_records(world), (world.clock.now_ms() - began_ms) / 1000)


def check(run, seed, ranges, stored, seconds):
    named = {
        record
        for info in ranges
        for shard, number, record in stored
        if shard == info["shardId"] and int(info["startSequenceNumber"]) <= number <= int(info["endSequenceNumber"])
    }
    about = f"seed {seed} {run.settings}"
    assert run.wanted <= run.succeeded | named, f"S2 {about}: lost {sorted(run.wanted - run.succeeded - named)}"
    assert run.succeeded <= run.wanted, f"S3 {about}: handed over though filtered"
    if not run.gives_up:
        assert not ranges, f"S4 {about}: given up without a limit"
    assert run.poison <= named | (run.wanted - set(run.tries)), f"S4 {about}: poison that wasn't told"
    early = [pair for pair in run.too_early if pair[0] not in named]
    assert not early, f"S1 {about}: {early[:3]}"
    assert not run.went_back, f"S5 {about}: checkpoints of {run.went_back[:3]}"
    lanes = 10 * 8
    bound = 60 * (len(run.put) + 20) + lanes * seconds * 0.2
    assert run.invocations <= bound, f"S6 {about}: {run.invocations} invocations in {seconds:.0f} s"
    if run.is_windowed:
        check_windows(run, named, about)


def check_windows(run, named, about):
    """S7: a window's final state holds each of its records once, however often a batch was repeated."""
    finals = {}
    for shard, start, seen in run.finals:
        known = finals.setdefault((shard, start), [])
        if seen not in known:
            known.append(seen)
    counted = [tuple(one) for known in finals.values() for seen in known for one in seen]
    twice = {one for one in counted if counted.count(one) > 1}
    assert not twice, f"S7 {about}: counted twice {sorted(twice)[:3]}"
    assert run.wanted <= set(counted) | named, (
        f"S7 {about}: not counted {sorted(run.wanted - set(counted) - named)[:3]}"
    )


@pytest.mark.parametrize("chunk", range(CHUNKS))
async def test_streams_keep_their_promises_whatever_happens(chunk, monkeypatch):
    for seed in range(chunk, SEEDS, CHUNKS):
        with monkeypatch.context() as patched:
            await simulate(seed, patched)


@pytest.mark.parametrize("seed", KNOWN)
async def test_seeds_that_once_found_a_bug_find_it_no_more(seed, monkeypatch):
    await simulate(seed, monkeypatch)
