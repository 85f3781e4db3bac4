"""Asynchronous events under everything that can go wrong: docs/delivery-invariants.md, A1 to A9.

A seed chooses the events, the functions' moods, what the targets refuse, when the store pauses, when time jumps and at
which step a node dies: before or after any commit, before or after a function ran, before or after a delivery. The
dead node writes nothing more; the next one begins on the same store. A seed repeats its run; put the number of one
that failed into seeds.txt as `event N`.
"""

import asyncio
import os
import random
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from penstock.engines.functions.ports import Throttled
from penstock.framework.background import BackgroundRunner
from penstock.framework.caller import LocalCaller
from penstock.framework.context import Context, Platform, RequestInfo
from penstock.framework.service import Service, operation
from penstock.kernel.clock import VirtualClock
from penstock.kernel.entropy import SeededEntropy
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.kernel.scope import Scope, root_principal
from penstock.services import lambda_
from penstock.services.lambda_ import state
from penstock.services.lambda_.state import Event, EventConfig
from penstock.storage.backends.memory import MemoryBlobStore, MemoryStore
from penstock.testkit.functions import FakePool, create_function, outcome

SEEDS = int(os.environ.get("PENSTOCK_SIMULATION_SEEDS", "160"))
CHUNKS = 8
KNOWN = [
    int(line.split()[1])
    for line in (Path(__file__).parent / "seeds.txt").read_text().splitlines()
    if line.startswith("event ")
]
START_MS = 1_780_000_000_000
TURNS = 30
RETRY_MS = (60_000, 120_000)
DAY_MS = 86_400_000
LEASE_MS_LEAST = 3_600_000  # no jump beyond what any live node needs to conclude a try
QUEUE = "arn:aws:sqs:us-east-1:000000000000:"
OVER, BAD = QUEUE + "over", QUEUE + "bad"
SINK = "arn:aws:lambda:us-east-1:000000000000:function:sink"
BUS = "arn:aws:events:us-east-1:000000000000:event-bus/default"
MOODS = ("ok", "error", "timeout", "flaky", "throttled", "starved", "outage", "bug", "slow")

# name: (retries_max, age_s_max, on_success, on_failure, dead letters, reserved concurrency)
FUNCTIONS = {
    "plain": (None, None, OVER, OVER, BAD, None),
    "once": (0, None, OVER, BUS, "", None),
    "twice": (1, 400, OVER, "arn:aws:s3:::failed", BAD, None),
    "hasty": (2, 60, OVER, OVER, BAD, None),
    "narrow": (2, 21_600, SINK, SINK, "", 2),
    "closed": (2, 3600, OVER, OVER, BAD, 0),
    "refused": (0, None, QUEUE + "gone", QUEUE + "gone", QUEUE + "gone", None),
    "doomed": (2, None, OVER, OVER, "", None),
}


@dataclass
class Try:
    node: int
    start_ms: int
    kind: str = ""
    end_ms: int | None = None
    is_lost: bool = False


@dataclass
class Sent:
    number: int
    function: str
    mood: str
    sent_ms: int
    request_id: str
    is_acknowledged: bool = False
    is_over: bool = False
    tries: list = field(default_factory=list)
    told: list = field(default_factory=list)
    refusals: int = 0

    def counted(self, *kinds):
        return [one for one in self.tries if one.kind in kinds and not one.is_lost]


class Node:
    """One life of a node. Once dead, nothing that it still tries to do has any effect."""

    def __init__(self, sim, number, *, points=None):
        self.sim, self.number, self.points = sim, number, points
        self.is_dead = False
        self.rooms = [lambda_.SERVICE, *sim.targets(self)]
        self.pool = FakePool()
        self.pool.invoke = self.invoke
        self.platform = Platform(
            clock=sim.clock,
            wall=sim.clock,
            entropy=SeededEntropy(sim.seed * 1000 + number),
            store=self,
            blobs=sim.blobs,
            caller=LocalCaller(self.rooms),
            data_dir=sim.folder,
            functions=self.pool,
        )
        self.runner = BackgroundRunner(self.platform, self.rooms)

    def point(self):
        """A step at which the node may die."""
        if self.points is not None:
            self.points -= 1
            self.is_dead = self.is_dead or self.points <= 0
        if self.is_dead:
            raise asyncio.CancelledError

    async def pause(self):
        for _ in range(self.sim.chance.choice((0, 0, 1, 3)) if self.points is not None else 0):
            await asyncio.sleep(0)

    async def transact(self, fn):
        await self.pause()
        self.point()
        self.sim.transactions += 1
        if self.points is not None and self.sim.chance.random() < 0.02:
            raise Unavailable("the store pauses")
        answer = await self.sim.store.transact(fn)
        self.point()
        await self.pause()
        return answer

    async def read(self, fn):
        self.point()
        self.sim.reads += 1
        return await self.sim.store.read(fn)

    def on_commit(self, prefix, listener):
        self.sim.store.on_commit(prefix, lambda: self.is_dead or listener())

    is_quiet = True

    async def settled(self):
        pass

    async def invoke(self, spec, invocation):
        told = orjson.loads(invocation.payload)
        self.point()
        if spec.name == "sink":
            self.sim.note(told["requestContext"]["requestId"], SINK, invocation.payload)
            return outcome()
        event = self.sim.events[told["n"]]
        self.sim.check(invocation.request_id == event.request_id, f"A6 request id of {event}")
        mine = Try(self.number, self.sim.clock.now_ms())
        event.tries.append(mine)
        mine.kind = kind = self.sim.fate(event)
        await self.pause()
        if kind == "timeout" or event.mood == "slow":
            await self.sim.clock.sleep(self.sim.chance.choice((3, 30, 900)))
        self.point()
        mine.end_ms = self.sim.clock.now_ms()
        if kind == "throttled":
            raise Throttled("ConcurrentInvocationLimitExceeded")
        if kind == "outage":
            raise Unavailable("no memory for another environment")
        if kind == "bug":
            raise KeyError("a bug of the node")
        return outcome(invocation.payload) if kind == "ok" else outcome(b'{"errorMessage":"boom"}', error="X")

    def context(self, request_id="setup"):
        return Context(self.platform, Scope(), root_principal("000000000000"), RequestInfo(request_id))

    async def call(self, service, name, /, **params):
        return await self.context().call(service, name, params)

    async def settle(self):
        await self.runner.drain()


class Simulation:
    def __init__(self, seed, folder):
        self.seed, self.chance, self.folder = seed, random.Random(seed), folder
        self.clock, self.store, self.blobs = VirtualClock(START_MS), MemoryStore(), MemoryBlobStore()
        self.events: list[Sent] = []
        self.transactions = self.reads = self.deaths = 0
        self.doomed_ms = None

    def check(self, holds, claim):
        assert holds, f"seed {self.seed}: {claim}"

    def fate(self, event):
        number = len(event.tries)
        match event.mood:
            case "throttled" | "outage":
                return event.mood if number < 6 else self.chance.choice(("ok", "error"))
            case "starved":
                return "throttled"
            case "bug":
                return "bug" if number == 1 else "ok"
            case "flaky" | "slow":
                return self.chance.choice(("ok", "error", "error"))
        return event.mood

    def targets(self, node):
        """Rooms that take what is delivered, or don't."""

        async def take(target, request_id, body):
            node.point()
            if target.endswith("gone"):
                self.by_id(request_id).refusals += 1
                raise ServiceError("AWS.SimpleQueueService.NonExistentQueue", "gone", status=400)
            if node.points is not None and self.chance.random() < 0.1:
                raise ServiceError("ServiceUnavailable", "later", status=503)
            self.note(request_id, target, body)
            node.point()
            return {}

        @operation
        async def send_message(ctx, req):
            body, attributes = req["MessageBody"].encode(), req.get("MessageAttributes")
            told = orjson.loads(body)
            request_id = attributes["RequestID"]["StringValue"] if attributes else told["requestContext"]["requestId"]
            return await take(QUEUE + req["QueueUrl"].rsplit("/", 1)[1], request_id, body)

        @operation
        async def put_events(ctx, req):
            (entry,) = req["Entries"]
            body = entry["Detail"].encode()
            return await take(entry["EventBusName"], orjson.loads(body)["requestContext"]["requestId"], body)

        @operation
        async def put_object(ctx, req):
            request_id = orjson.loads(req["Body"])["requestContext"]["requestId"]
            return await take("arn:aws:s3:::" + req["Bucket"], request_id, req["Body"])

        return [
            Service("sqs", operations=[SimpleNamespace(send_message=send_message)]),
            Service("events", operations=[SimpleNamespace(put_events=put_events)]),
            Service("s3", operations=[SimpleNamespace(put_object=put_object)]),
        ]

    def by_id(self, request_id):
        return self.events[int(request_id.rsplit("-", 1)[1])]

    def note(self, request_id, target, body):
        self.by_id(request_id).told.append((target, bytes(body), self.clock.now_ms()))

    async def prepare(self):
        node = Node(self, 0)
        await create_function(node, "sink")
        for name, (retries, age, success, failure, dead, reserved) in FUNCTIONS.items():
            await create_function(node, name, **({"DeadLetterConfig": {"TargetArn": dead}} if dead else {}))
            config = EventConfig("$LATEST", 0, age_s_max=age, retries_max=retries, on_success=success)
            config = replace(config, on_failure=failure)
            await node.transact(lambda tx, name=name, config=config: state.put_event_config(tx, Scope(), name, config))
            if reserved is not None:
                await node.call(
                    "lambda", "PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=reserved
                )
        node.is_dead = True

    async def send(self, node):
        number = len(self.events)
        function, mood = self.chance.choice(list(FUNCTIONS)), self.chance.choice(MOODS)
        event = Sent(number, function, mood, self.clock.now_ms(), f"request-{number}")
        self.events.append(event)
        params = {"FunctionName": function, "InvocationType": "Event", "Payload": orjson.dumps({"n": number})}
        call = asyncio.ensure_future(node.context(event.request_id).call("lambda", "Invoke", params))
        await asyncio.wait({call})
        if not call.cancelled() and call.exception() is None:
            event.is_acknowledged = call.result() == {"StatusCode": 202}

    async def turns(self, node, count=TURNS):
        for _ in range(count):
            await asyncio.sleep(0)
            if node.is_dead:
                return

    async def live(self, number):
        """A node that does this and that until it dies."""
        node = Node(self, number, points=self.chance.randrange(1, 150))
        async with node.runner:
            for _ in range(self.chance.randrange(60)):
                await self.turns(node, self.chance.choice((1, 5, TURNS)))
                if node.is_dead:
                    break
                await self.act(node)
            node.is_dead = True
        await self.on_death()

    async def act(self, node):
        dice = self.chance.random()
        try:
            if dice < 0.4 and len(self.events) < 40:
                await self.send(node)
            elif dice < 0.43:
                update = {"FunctionName": self.chance.choice(("plain", "twice")), "Timeout": 3 + number_of(dice)}
                await self.tell(node, "UpdateFunctionConfiguration", update)
            elif dice < 0.44 and self.doomed_ms is None:
                await self.tell(node, "DeleteFunction", {"FunctionName": "doomed"})
            else:
                due_ms = self.clock.next_due_ms()
                if due_ms is not None and due_ms - self.clock.now_ms() < LEASE_MS_LEAST:
                    self.clock.advance_to(due_ms)
        except ServiceError:
            pass

    async def tell(self, node, name, params):
        call = asyncio.ensure_future(node.context().call("lambda", name, params))
        await asyncio.wait({call})
        if name == "DeleteFunction" and (call.cancelled() or call.exception() is None):
            self.doomed_ms = self.clock.now_ms()

    async def queued(self):
        """What the store holds of every event that has not ended."""

        def read(tx):
            found = {}
            for name in FUNCTIONS:
                for message in state.events_of(Scope(), name).peek(tx, limit=1000):
                    found[message.id] = Event.decode(message.body)
            return found

        return await self.store.read(read)

    async def on_death(self):
        """Tries that the store knows nothing of were in vain, and only those; time passes until the next node."""
        self.deaths += 1
        queued = await self.queued()
        for event in self.events:
            for one in event.tries:
                one.is_lost = one.is_lost or one.end_ms is None
            kept = queued.get(event.request_id)
            if kept is None:
                event.is_over = event.is_over or bool(event.tries) or event.is_acknowledged
                continue
            self.check(not event.is_over, f"A2 an event that had ended is back: {event}")
            lost = list(event.counted("ok"))
            failed = event.counted("error", "timeout")
            lost += failed[kept.failures :]
            held_up = event.counted("throttled", "outage")
            lost += held_up[kept.throttles :]
            self.check(len(failed) >= kept.failures and len(held_up) >= kept.throttles, f"A3 tries made up: {event}")
            self.check(len(lost) <= 1, f"A3 more than one try in flight: {event}")
            for one in lost:
                one.is_lost = True
        self.clock.advance_to(self.clock.now_ms() + self.chance.choice((0, 0, 100, 5_000, 90_000, 4_000_000)))

    async def finish(self, number):
        """A last node that nothing happens to: within a day everything has ended, and then nothing moves."""
        node = Node(self, number)
        async with node.runner:
            end_ms = self.clock.now_ms() + DAY_MS
            while True:
                await self.turns(node)
                due_ms = self.clock.next_due_ms()
                if due_ms is None or due_ms > end_ms:
                    break
                self.clock.advance_to(due_ms)
            self.check(not await self.queued(), "A1 events are left")
            self.check(node.platform.store is node and await node.runner.is_idle(), "A1 intents are left")
            before = self.transactions, self.reads
            self.clock.advance_to(end_ms + 7 * DAY_MS)
            await self.turns(node)
            self.check((self.transactions, self.reads) == before, "A8 the idle node does something")
            node.is_dead = True

    def judge(self):
        for event in self.events:
            self.judge_tries(event)
            if event.is_acknowledged and event.function != "doomed":
                self.judge_ending(event)
        tries = sum(len(event.tries) for event in self.events)
        told = sum(len(event.told) + event.refusals for event in self.events)
        bound = 200 + 12 * tries + 8 * told + 60 * len(self.events) + 60 * self.deaths
        self.check(self.transactions <= bound, f"A8 {self.transactions} transactions for {tries} tries, {told} told")

    def judge_tries(self, event):
        age_ms = 1000 * (FUNCTIONS[event.function][1] or 21_600)
        failures = throttles = 0
        self.check(event.function != "closed" or not event.tries, f"A5 {event}")
        for number, one in enumerate(event.tries):
            self.check(one.start_ms < event.sent_ms + age_ms, f"A4 tried too old: {event}")
            if one.is_lost or number + 1 == len(event.tries):
                continue
            after = event.tries[number + 1]
            self.check(one.kind != "ok", f"A3 tried after its success: {event}")
            if one.kind in ("error", "timeout"):
                failures += 1
                self.check(failures <= 2, f"A3 {event}")
                least_ms = most_ms = RETRY_MS[failures - 1]
            elif one.kind == "bug":
                least_ms = most_ms = 60_000 if one.node == after.node else 0
            else:
                throttles += 1
                least_ms = min(1000 << (throttles - 1), 300_000)
                most_ms = min(3 * least_ms // 2, 300_000)
            waited_ms = after.start_ms - one.end_ms
            self.check(waited_ms >= least_ms, f"A4 waited {waited_ms} of {least_ms} ms: {event}")
            is_undisturbed = one.node == after.node == self.deaths + 1 and event.function != "narrow"
            self.check(not is_undisturbed or waited_ms <= most_ms + 60_000, f"A8 waited {waited_ms} ms: {event}")

    def judge_ending(self, event):
        retries, _, success, failure, dead, _ = FUNCTIONS[event.function]
        condition, count = self.ending(event, 2 if retries is None else retries)
        if event.function == "closed" and any(b"EventAgeExceeded" in body for _, body, _ in event.told):
            condition = "EventAgeExceeded"  # no node was there in time
        target = success if condition == "Success" else failure
        wanted = {target} | ({dead} if dead and condition != "Success" else set())
        if event.function == "refused":
            self.check(event.refusals >= len(wanted) and not event.told, f"A7 {event}")
            return
        self.check({told[0] for told in event.told} == wanted, f"A1 told {event.told} instead of {wanted}: {event}")
        for where in wanted:
            bodies = {body for target, body, _ in event.told if target == where}
            self.check(len(bodies) == 1, f"A7 the same ending told differently: {event}")
            if where == BAD:
                self.check(bodies == {orjson.dumps({"n": event.number})}, f"A7 {event}")
                continue
            record = orjson.loads(bodies.pop())
            asked = record["requestContext"]
            self.check(
                (asked["condition"], asked["approximateInvokeCount"]) == (condition, count), f"A3 {record} {event}"
            )
            self.check(record["requestPayload"] == {"n": event.number}, f"A7 {record}")

    def ending(self, event, retries):
        """What the tries that counted come to."""
        if event.function == "closed":
            return "ZeroReservedConcurrency", 0
        failed, ok = event.counted("error", "timeout"), event.counted("ok")
        self.check(len(ok) <= 1 and len(failed) <= retries + 1, f"A3 {event}")
        if ok:
            return "Success", len(failed) + 1
        return ("RetriesExhausted" if len(failed) == retries + 1 else "EventAgeExceeded"), len(failed)


def number_of(dice):
    return int(dice * 1000) % 60


async def simulate(seed, folder):
    sim = Simulation(seed, folder)
    await sim.prepare()
    lives = sim.chance.randrange(1, 8)
    for number in range(1, lives + 1):
        await sim.live(number)
    await sim.finish(lives + 1)
    sim.judge()
    return sim


@pytest.mark.parametrize("chunk", range(CHUNKS))
async def test_every_acknowledged_event_ends_as_configured_wherever_nodes_die(chunk, caplog):
    caplog.set_level(100)
    seeds = [*(KNOWN if chunk == 0 else ()), *range(chunk, SEEDS, CHUNKS)]
    ended = deaths = 0
    with tempfile.TemporaryDirectory(prefix="penstock-simulation-") as folder:
        for seed in seeds:
            sim = await simulate(seed, Path(folder))
            ended += sum(event.is_acknowledged for event in sim.events)
            deaths += sim.deaths
    assert ended > 3 * len(seeds)
    assert deaths >= len(seeds)


async def test_a_seed_repeats_its_run(tmp_path, caplog):
    caplog.set_level(100)
    runs = [await simulate(7, tmp_path) for _ in range(2)]
    first, second = ([repr(event) for event in run.events] for run in runs)
    assert first == second
