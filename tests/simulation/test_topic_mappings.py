"""Kafka (made up) to a function, under everything that can go wrong: docs/delivery-invariants.md, K1 to K3."""

import asyncio
import base64
import os
import random
from collections import defaultdict
from pathlib import Path

import orjson
import pytest

from penstock.engines.functions.ports import Throttled
from penstock.engines.polling.kafka import KafkaRecord
from penstock.framework.background import BackgroundRunner
from penstock.framework.wakeups import Wakeup
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.services import lambda_, sqs
from penstock.services.lambda_.operations import kafka_source, mappings, source_checks
from penstock.testkit.functions import FakePool, create_function, outcome
from penstock.testkit.world import World

SEEDS = int(os.environ.get("PENSTOCK_SIMULATION_SEEDS", "48"))
CHUNKS = 4
ROOMS = [lambda_.SERVICE, sqs.SERVICE]
LOST = "arn:aws:sqs:us-east-1:000000000000:lost"
KNOWN = [
    int(line.split()[1])
    for line in (Path(__file__).parent / "seeds.txt").read_text().splitlines()
    if line.startswith("topic ")
]


class Brokers:
    """Partitions that outlive nodes, and what the group has committed."""

    def __init__(self, chance, partitions):
        self.chance = chance
        self.records = [[] for _ in range(partitions)]
        self.committed = defaultdict(int)
        self.stored = defaultdict(int)
        self.too_far = []
        self.news = Wakeup()
        self.is_healthy = False

    def put(self, partition, value, at_ms):
        log = self.records[partition]
        log.append(KafkaRecord(partition, len(log), at_ms, "CREATE_TIME", b"k", value))
        self.news.signal()

    def topic(self, name, settings):
        return Topic(self, name)


class Topic:
    """engines/polling/kafka.py's KafkaTopic, as far as the mapping uses it."""

    def __init__(self, brokers, name):
        self.topic, self._brokers = name, brokers
        self._positions, self._paused = {}, set()

    async def _pause(self):
        chance = self._brokers.chance
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
        if not self._brokers.is_healthy and chance.random() < 0.03:
            raise Unavailable("brokers are away")

    async def partitions(self):
        await self._pause()
        return list(range(len(self._brokers.records)))

    async def start(self, partition, offset, *, at_ms, group_first):
        await self._pause()
        known = self._brokers.committed.get(partition)
        self._positions[partition] = offset if offset is not None else known or 0
        self._brokers.news.signal()  # a poll looks again after a moment
        for _ in range(self._brokers.chance.randrange(8)):
            await asyncio.sleep(0)

    async def poll(self):
        changed = self._brokers.news.changed
        await self._pause()
        found = []
        for partition, position in self._positions.items():
            if partition not in self._paused:
                fresh = self._brokers.records[partition][position : position + self._brokers.chance.randrange(1, 8)]
                self._positions[partition] += len(fresh)
                found += fresh
        if not found:
            await changed.wait()
        return found

    async def pause(self, partition, *, is_paused):
        (self._paused.add if is_paused else self._paused.discard)(partition)
        self._brokers.news.signal()

    async def commit(self, partition, offset):
        """K3: no further than what is stored."""
        if offset > self._brokers.stored[partition] + 1:
            self._brokers.too_far.append((partition, offset))
        self._brokers.committed[partition] = offset
        await self._pause()

    async def close(self):
        pass


def function_of(chance, seen, settings):
    is_partial = bool(settings.get("FunctionResponseTypes"))

    async def invoke(spec, invocation):
        for _ in range(chance.choice([0, 3, 30])):
            await asyncio.sleep(0)
        mood = 1.0 if seen["healthy"] else chance.random()
        if mood < 0.15:
            raise Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
        [(place, shown)] = orjson.loads(invocation.payload)["records"].items()
        records = [int(base64.b64decode(one["value"])) for one in shown]
        partition = shown[0]["partition"]
        for number in records:
            before = {n for n in seen["put"][partition] if n < number} - seen["succeeded"] - set(records)
            if before:
                seen["early"].append((min(before), number))
        if mood < 0.3:
            return outcome(b"{}", error="X")
        at = chance.randrange(len(records)) if mood < 0.5 else len(records)
        bad = next((i for i, number in enumerate(records) if number in seen["poison"]), at)
        at = min(at, bad)
        if at < len(records) and not is_partial:
            return outcome(b"{}", error="X")
        seen["succeeded"].update(records[:at])
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        items = [{"itemIdentifier": {"partition": place, "offset": shown[at]["offset"]}}] if at < len(records) else []
        return outcome(orjson.dumps({"batchItemFailures": items}))

    return invoke


async def given_up(world):
    found = set()
    while True:
        url = "http://localhost:4566/000000000000/lost"
        answer = await world.call("sqs", "ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10)
        if not answer.get("Messages"):
            return found
        for message in answer["Messages"]:
            info = orjson.loads(message["Body"])["KafkaBatchInfo"]["recordsInfo"]
            for place, told in info.items():
                first, last = int(told["firstRecordOffset"]), int(told["lastRecordOffset"])
                found |= {(int(place.rpartition("-")[2]), offset) for offset in range(first, last + 1)}


async def simulate(seed, monkeypatch):
    chance = random.Random(seed)
    brokers = Brokers(chance, chance.randrange(1, 4))
    settings = {"BatchSize": chance.choice([1, 3, 50])}
    if chance.random() < 0.5:
        settings["FunctionResponseTypes"] = ["ReportBatchItemFailures"]
    if chance.random() < 0.5:
        settings["BisectBatchOnFunctionError"] = True
    if has_limit := chance.random() < 0.5:
        settings |= {"MaximumRetryAttempts": 2, "DestinationConfig": {"OnFailure": {"Destination": LOST}}}
    monkeypatch.setattr(kafka_source, "KafkaTopic", brokers.topic)
    monkeypatch.setattr(source_checks, "is_installed", lambda: True)
    watch(monkeypatch, brokers)
    pool = FakePool()
    world = World(*ROOMS, seed=seed, functions=pool)
    seen = {"put": defaultdict(list), "succeeded": set(), "early": [], "poison": set(), "healthy": False}
    pool.invoke = function_of(chance, seen, settings)
    await world.call("sqs", "CreateQueue", QueueName="lost")
    await create_function(world)
    params = {"SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["b:9092"]}}, "Topics": ["topic"]}
    params |= {"FunctionName": "f", "StartingPosition": "TRIM_HORIZON", **settings}
    id = (await world.call("lambda", "CreateEventSourceMapping", **params))["UUID"]
    places, count = {}, 0
    for _ in range(chance.randrange(2, 6)):
        async with BackgroundRunner(world.platform, ROOMS) as node:
            for _ in range(chance.randrange(1, 4)):
                for _ in range(chance.randrange(10)):
                    partition = chance.randrange(len(brokers.records))
                    places[(partition, len(brokers.records[partition]))] = count
                    seen["put"][partition].append(count)
                    if has_limit and chance.random() < 0.1:
                        seen["poison"].add(count)
                    brokers.put(partition, b"%d" % count, world.clock.now_ms())
                    count += 1
                for _ in range(chance.randrange(60)):
                    await asyncio.sleep(0)
                if chance.random() < 0.3:
                    try:
                        size = chance.choice([1, 10])
                        await world.call("lambda", "UpdateEventSourceMapping", UUID=id, BatchSize=size)
                    except ServiceError:
                        pass
                if chance.random() < 0.6:
                    await node.run_until(world.clock.now_ms() + chance.choice([100, 1000, 20_000]))
        world.platform.volatile.clear()
    seen["healthy"] = brokers.is_healthy = True
    async with BackgroundRunner(world.platform, ROOMS) as node:
        for _ in range(6):
            await node.run_until(world.clock.now_ms() + 60_000)
        named = {places[place] for place in await given_up(world) if place in places}
    about = f"seed {seed} {settings}"
    lost = set(range(count)) - seen["succeeded"] - named
    assert not lost, f"K1 {about}: lost {sorted(lost)}"
    early = [pair for pair in seen["early"] if pair[0] not in named]
    assert not early, f"K2 {about}: {early[:3]}"
    assert has_limit or not named, f"K1 {about}: given up without a limit"
    assert not brokers.too_far, f"K3 {about}: committed before it was stored {brokers.too_far[:3]}"


def watch(monkeypatch, brokers):
    put = mappings.put_progress

    def noted(tx, scope, id, shard_id, progress):
        checkpoint = progress.lanes[0].checkpoint
        if checkpoint is not None:
            brokers.stored[int(shard_id.rpartition("-")[2])] = int(checkpoint)
        put(tx, scope, id, shard_id, progress)

    monkeypatch.setattr(mappings, "put_progress", noted)


@pytest.mark.parametrize("chunk", range(CHUNKS))
async def test_topics_keep_their_promises_whatever_happens(chunk, monkeypatch):
    for seed in range(chunk, SEEDS, CHUNKS):
        with monkeypatch.context() as patched:
            await simulate(seed, patched)


@pytest.mark.parametrize("seed", KNOWN)
async def test_seeds_that_once_found_a_bug_find_it_no_more(seed, monkeypatch):
    await simulate(seed, monkeypatch)
