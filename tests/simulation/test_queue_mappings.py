"""SQS to a function, under everything that can go wrong: docs/delivery-invariants.md, Q1 to Q5."""

import asyncio
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
from penstock.services import lambda_, sqs
from penstock.testkit.functions import FakePool, create_function, outcome
from penstock.testkit.world import World

SEEDS = int(os.environ.get("PENSTOCK_SIMULATION_SEEDS", "32"))
CHUNKS = 8
ROOMS = [lambda_.SERVICE, sqs.SERVICE]
ACCOUNT = "arn:aws:sqs:us-east-1:000000000000:"
KNOWN = [
    int(line.split()[1])
    for line in (Path(__file__).parent / "seeds.txt").read_text().splitlines()
    if line.startswith("queue ")
]


@dataclass
class Run:
    """What a run has seen. A message is (group, number); numbers rise by one within a group."""

    chance: random.Random
    settings: dict
    is_fifo: bool
    receives_max: int
    sent: list = field(default_factory=list)
    wanted: set = field(default_factory=set)
    poison: set = field(default_factory=set)
    succeeded: set = field(default_factory=set)
    tries: dict = field(default_factory=lambda: defaultdict(int))
    too_early: list = field(default_factory=list)
    running: int = 0
    most: int = 0
    too_many: int = 0
    invocations: int = 0
    is_healthy: bool = False

    @property
    def queue(self):
        return "q.fifo" if self.is_fifo else "q"

    @property
    def dead(self):
        return "dead.fifo" if self.is_fifo else "dead"


def run_of(chance):
    is_fifo = chance.random() < 0.4
    found = {"BatchSize": chance.choice([1, 2, 10])}
    if not is_fifo and chance.random() < 0.3:
        found |= {"BatchSize": chance.choice([10, 50]), "MaximumBatchingWindowInSeconds": chance.choice([1, 5])}
    if chance.random() < 0.5:
        found["FunctionResponseTypes"] = ["ReportBatchItemFailures"]
    if chance.random() < 0.4:
        found["ScalingConfig"] = {"MaximumConcurrency": chance.choice([2, 5])}
    if chance.random() < 0.3:
        found["FilterCriteria"] = {"Filters": [{"Pattern": '{"body": {"skip": [false]}}'}]}
    return Run(chance, found, is_fifo, chance.randrange(3, 6))


def function_of(run):
    chance, is_partial = run.chance, bool(run.settings.get("FunctionResponseTypes"))

    async def answered(records, ids, mood):
        bad = [index for index, record in enumerate(records) if record in run.poison]
        if mood < 0.25:
            return outcome(b'{"errorMessage":"x"}', error="X")
        if mood < 0.3 and is_partial:
            return outcome(b'{"batchItemFailures": [{"itemIdentifier": "unknown"}]}')
        if mood < 0.4:
            bad = sorted({*bad, chance.randrange(len(records))})
        if bad and not is_partial:
            return outcome(b'{"errorMessage":"x"}', error="X")
        if bad and run.is_fifo:
            bad = list(range(bad[0], len(records)))  # as AWS asks of such functions
        run.succeeded.update(record for index, record in enumerate(records) if index not in bad)
        for _ in range(chance.randrange(4)):  # the node may die before it hears of this
            await asyncio.sleep(0)
        return outcome(orjson.dumps({"batchItemFailures": [{"itemIdentifier": ids[index]} for index in bad]}))

    async def invoke(spec, invocation):
        run.invocations += 1
        run.running += 1
        limit = (run.settings.get("ScalingConfig") or {}).get("MaximumConcurrency", 1250)
        run.too_many += run.running > limit
        try:
            for _ in range(chance.choice([0, 3, 40])):
                await asyncio.sleep(0)
            mood = 1.0 if run.is_healthy else chance.random()
            if mood < 0.1:
                raise Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
            if mood < 0.15:
                raise Unavailable("away")
            shown = orjson.loads(invocation.payload)["Records"]
            records = [tuple(orjson.loads(one["body"])["id"]) for one in shown]
            if run.is_fifo:
                note_order(run, records)
            for record in records:
                run.tries[record] += 1
            return await answered(records, [one["messageId"] for one in shown], mood)
        finally:
            run.running -= 1

    return invoke


def note_order(run, records):
    """Q3: a message is handed over only when all before it of its group are done with."""
    inside = set()
    for group, number in records:
        for before in ((group, earlier) for earlier in range(number)):
            if before in run.wanted and before not in run.succeeded and before not in inside:
                run.too_early.append((before, (group, number)))
        inside.add((group, number))


async def send_some(world, run, count):
    for _ in range(count):
        group = f"g{run.chance.randrange(4)}"
        message = (group, sum(one[0] == group for one in run.sent))
        is_skipped = "FilterCriteria" in run.settings and run.chance.random() < 0.4
        run.sent.append(message)
        if not is_skipped:
            run.wanted.add(message)
            if run.chance.random() < 0.1:
                run.poison.add(message)
        more = {"MessageGroupId": group, "MessageDeduplicationId": f"{group}-{message[1]}"} if run.is_fifo else {}
        body = orjson.dumps({"id": message, "skip": is_skipped}).decode()
        await world.call("sqs", "SendMessage", QueueUrl=url_of(run.queue), MessageBody=body, **more)


def url_of(name):
    return f"http://localhost:4566/000000000000/{name}"


async def disturb(world, run, id):
    """Change the mapping; whatever is refused now is left."""
    try:
        if run.chance.random() < 0.5:
            await world.call("lambda", "UpdateEventSourceMapping", UUID=id, BatchSize=run.chance.choice([1, 3, 10]))
        else:
            await world.call("lambda", "UpdateEventSourceMapping", UUID=id, Enabled=run.chance.random() < 0.6)
    except ServiceError:
        pass


def faulty(run):
    async def fault(service, operation):
        if not run.is_healthy and service == "sqs" and operation.startswith(("Receive", "Delete", "Get")):
            for _ in range(run.chance.randrange(3)):
                await asyncio.sleep(0)
            if run.chance.random() < 0.05:
                raise Unavailable("away")

    return fault


async def left_in(world, run):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = await world.call("sqs", "GetQueueAttributes", QueueUrl=url_of(run.queue), AttributeNames=names)
    return answer["Attributes"]


async def dead_letters(world, run):
    found = []
    while True:
        answer = await world.call("sqs", "ReceiveMessage", QueueUrl=url_of(run.dead), MaxNumberOfMessages=10)
        if not answer.get("Messages"):
            return found
        found += [tuple(orjson.loads(message["Body"])["id"]) for message in answer["Messages"]]
        for message in answer["Messages"]:
            await world.call("sqs", "DeleteMessage", QueueUrl=url_of(run.dead), ReceiptHandle=message["ReceiptHandle"])


async def simulate(seed, monkeypatch=None):
    chance = random.Random(seed)
    run = run_of(chance)
    pool = FakePool()
    world = World(*ROOMS, seed=seed, functions=pool)
    pool.invoke = function_of(run)
    fifo = {"FifoQueue": "true"} if run.is_fifo else {}
    await world.call("sqs", "CreateQueue", QueueName=run.dead, Attributes=fifo)
    redrive = {"deadLetterTargetArn": ACCOUNT + run.dead, "maxReceiveCount": run.receives_max}
    attributes = {"VisibilityTimeout": "20", "RedrivePolicy": orjson.dumps(redrive).decode(), **fifo}
    await world.call("sqs", "CreateQueue", QueueName=run.queue, Attributes=attributes)
    await create_function(world)
    params = {"EventSourceArn": ACCOUNT + run.queue, "FunctionName": "f", **run.settings}
    id = (await world.call("lambda", "CreateEventSourceMapping", **params))["UUID"]
    world.platform.caller.fault = faulty(run)
    began_ms = world.clock.now_ms()
    for _ in range(chance.randrange(2, 6)):
        async with BackgroundRunner(world.platform, ROOMS) as node:
            for _ in range(chance.randrange(1, 4)):
                await send_some(world, run, chance.randrange(12))
                for _ in range(chance.randrange(60)):
                    await asyncio.sleep(0)
                if chance.random() < 0.4:
                    await disturb(world, run, id)
                if chance.random() < 0.6:
                    await node.run_until(world.clock.now_ms() + chance.choice([100, 1000, 5000, 30_000]))
        world.platform.volatile.clear()  # leaving the block cancels whatever was running: the crash
        run.running = 0
    run.is_healthy = True
    async with BackgroundRunner(world.platform, ROOMS) as node:
        for _ in range(3):
            await node.run_until(world.clock.now_ms() + 1000)
            try:
                await world.call("lambda", "UpdateEventSourceMapping", UUID=id, Enabled=True)
            except ServiceError:
                continue
        left = {"all": "1"}
        for _ in range(8):  # poison follows poison in a group, and each takes its receives
            if set(left.values()) != {"0"}:
                await node.run_until(world.clock.now_ms() + 200_000)
                left = await left_in(world, run)
        seconds = (world.clock.now_ms() - began_ms) / 1000
        check(run, seed, left, await dead_letters(world, run), seconds)


def check(run, seed, left, dead, seconds):
    about = f"seed {seed} {run.queue} {run.settings}"
    assert set(left.values()) == {"0"}, f"Q1 {about}: still there {left}"
    gone = run.wanted - run.succeeded - set(dead)
    assert not gone, f"Q1 {about}: lost {sorted(gone)}"
    assert run.succeeded <= run.wanted, f"Q2 {about}: handed over though filtered"
    assert run.poison <= set(dead), f"Q4 {about}: poison that isn't a dead letter {sorted(run.poison - set(dead))}"
    early = [pair for pair in run.too_early if pair[0] not in dead]
    assert not early, f"Q3 {about}: {early[:3]}"
    assert not run.too_many, f"Q5 {about}: more at a time than its maximum concurrency"
    bound = 12 * run.receives_max * (len(run.sent) + 10) + seconds
    assert run.invocations <= bound, f"Q5 {about}: {run.invocations} invocations in {seconds:.0f} s"


@pytest.mark.parametrize("chunk", range(CHUNKS))
async def test_queues_keep_their_promises_whatever_happens(chunk):
    for seed in range(chunk, SEEDS, CHUNKS):
        await simulate(seed)


@pytest.mark.parametrize("seed", KNOWN)
async def test_seeds_that_once_found_a_bug_find_it_no_more(seed):
    await simulate(seed)
