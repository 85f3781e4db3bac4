"""Nodes that die at any moment: what a durable execution was told is kept, and no step's success is written twice."""

import asyncio
import random
from collections import Counter

import orjson
import pytest

from penstock.framework.background import BackgroundRunner
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.services import lambda_
from penstock.testkit.functions import FakePool, create_function, outcome
from penstock.testkit.world import World

EXECUTIONS = 6
CONFIG = {"ExecutionTimeout": 86_400, "RetentionPeriodInDays": 90}


class Flaky:
    """A store to which executions can't be written now and then, and which doesn't always say that they were."""

    def __init__(self, store, chance):
        self._store = store
        self._chance = chance
        self.is_flaky = False

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def transact(self, fn):
        luck = self._chance.random() if self.is_flaky and fn.__qualname__.startswith("Ledger.") else 1.0
        if luck < 0.03:
            raise Unavailable("nobody could write")
        answer = await self._store.transact(fn)
        if luck < 0.06:
            raise Unavailable("nobody knows whether it was written")
        return answer


class Suspended(Exception):
    """The handler waits for one of its operations."""


class Program:
    """A replaying handler in small: `do` runs an operation once, or finds what came of it."""

    def __init__(self, simulation, event):
        self._simulation = simulation
        self._arn, self._token = event["DurableExecutionArn"], event["CheckpointToken"]
        self._operations = {one["Id"]: one for one in event["InitialExecutionState"]["Operations"]}
        assert not event["InitialExecutionState"]["NextMarker"]

    async def checkpoint(self, id, kind, action, **members):
        update = {"Id": id, "Type": kind, "Action": action, **members}
        answer = await self._simulation.checkpoint(self._arn, self._token, update)
        self._token = answer["CheckpointToken"]
        for one in answer["NewExecutionState"]["Operations"]:
            self._operations[one["Id"]] = one
        return self._operations[id]

    async def step(self, id, value):
        chance = self._simulation.chance
        known = self._operations.get(id)
        if known is not None and known["Status"] == "PENDING":
            raise Suspended
        if known is None or known["Status"] == "READY":
            await self.checkpoint(id, "STEP", "START")
        if known is None or known["Status"] in ("STARTED", "READY"):
            if chance.random() < 0.3:
                delay = {"NextAttemptDelaySeconds": chance.randrange(1, 60)}
                await self.checkpoint(id, "STEP", "RETRY", StepOptions=delay, Error={"ErrorMessage": "again"})
                raise Suspended
            known = await self.checkpoint(id, "STEP", "SUCCEED", Payload=orjson.dumps(value).decode())
            self._simulation.acknowledged[self._arn, id] = known["StepDetails"]["Result"]
        return orjson.loads(known["StepDetails"]["Result"])

    async def wait_for(self, id, kind, **members):
        known = self._operations.get(id) or await self.checkpoint(id, kind, "START", **members)
        if kind == "CALLBACK" and known["Status"] == "STARTED":
            self._simulation.callbacks.append(known["CallbackDetails"]["CallbackId"])
        if known["Status"] == "STARTED":
            raise Suspended
        assert known["Status"] == "SUCCEEDED", known
        return known

    async def run(self):
        """Ten operations whose kinds the execution's name decides; the sum of what the steps gave."""
        plan = random.Random(self._arn.split("/")[2])
        total = 0
        for number in range(10):
            id, kind = f"o{number}", plan.choice(["step", "step", "wait", "callback", "child", "plain"])
            if kind == "step":
                total += await self.step(id, number * 1000 + self._simulation.chance.randrange(1000))
            elif kind == "wait":
                await self.wait_for(id, "WAIT", WaitOptions={"WaitSeconds": plan.randrange(1, 300)})
            elif kind == "callback":
                await self.wait_for(id, "CALLBACK")
            else:
                options = {"FunctionName": "child:$LATEST" if kind == "child" else "plain"}
                found = await self.wait_for(id, "CHAINED_INVOKE", Payload=str(number), ChainedInvokeOptions=options)
                total += orjson.loads(found["ChainedInvokeDetails"]["Result"])
        return total


class Simulation:
    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.pool = FakePool()
        self.pool.invoke = self.invoke
        self.rooms = [lambda_.SERVICE]
        self.world = World(*self.rooms, seed=seed, functions=self.pool)
        self.world.platform.store = self.store = Flaky(self.world.platform.store, self.chance)
        self.acknowledged = {}
        self.callbacks = []
        self.outliving = set()
        self.surprises = []

    async def checkpoint(self, arn, token, update):
        await self.stumble()
        params = {"DurableExecutionArn": arn, "CheckpointToken": token, "ClientToken": f"{self.chance.random()}"}
        return await self.call("CheckpointDurableExecution", Updates=[update], **params)

    async def call(self, operation, **params):
        """As an SDK calls: what isn't available is asked again, in the same words."""
        while True:
            try:
                return await self.world.call("lambda", operation, **params)
            except ServiceError as error:
                if error.code != "ServiceUnavailable":
                    raise

    async def stumble(self):
        for _ in range(self.chance.randrange(5)):
            await asyncio.sleep(0)

    async def invoke(self, spec, invocation):
        """Some environments outlive their node for a while, and go on checkpointing."""
        running = asyncio.ensure_future(self.run(spec, invocation))
        if self.chance.random() < 0.5:
            return await running
        self.outliving.add(running)
        running.add_done_callback(self.outliving.discard)
        return await asyncio.shield(running)

    async def run(self, spec, invocation):
        await self.stumble()
        event = orjson.loads(invocation.payload)
        if spec.name == "plain":
            return outcome(b"1")
        if spec.name == "child":
            given = event["InitialExecutionState"]["Operations"][0]["ExecutionDetails"]["InputPayload"]
            return outcome(orjson.dumps({"Status": "SUCCEEDED", "Result": given}))
        if self.chance.random() < 0.1:
            return outcome(b'{"errorMessage":"crashed"}', error="Runtime.ExitError")
        try:
            answer = {"Status": "SUCCEEDED", "Result": str(await Program(self, event).run())}
        except Suspended:
            answer = {"Status": "PENDING"}
        except ServiceError as error:
            if error.message != "Invalid checkpoint token":
                self.surprises.append(error)
            return outcome(b'{"errorMessage":"superseded"}', error="CheckpointError")
        await self.stumble()
        return outcome(orjson.dumps(answer))

    async def answer_callbacks(self):
        for id in self.callbacks[:]:
            self.callbacks.remove(id)
            try:
                await self.call("SendDurableExecutionCallbackSuccess", CallbackId=id, Result=b"1")
            except ServiceError as error:
                if error.code != "CallbackTimeoutException":
                    raise

    async def node(self, begin):
        """One node's life: it starts some executions, works for a while, and dies."""
        async with BackgroundRunner(self.world.platform, self.rooms) as node:
            for _ in range(begin):
                name = f"execution-{self.chance.random()}".replace(".", "-")
                start = {"Qualifier": "$LATEST", "InvocationType": "Event", "DurableExecutionName": name}
                await self.call("Invoke", FunctionName="f", Payload=b"{}", **start)
            for _ in range(self.chance.randrange(60)):
                await asyncio.sleep(0)
            if self.chance.random() < 0.5:
                await node.run_until(self.world.clock.now_ms() + self.chance.randrange(200_000))
            await self.answer_callbacks()
        self.world.platform.volatile.clear()

    async def executions(self):
        answer = await self.world.call("lambda", "ListDurableExecutionsByFunction", FunctionName="f")
        return answer["DurableExecutions"]


@pytest.mark.parametrize("seed", range(25))
async def test_executions_end_as_they_were_told_though_nodes_die_in_the_middle(seed):
    simulation = Simulation(seed)
    for name, config in (("f", CONFIG), ("child", CONFIG), ("plain", None)):
        await create_function(simulation.world, name, **({"DurableConfig": config} if config else {}))
    simulation.store.is_flaky = True
    begun = 0
    while begun < EXECUTIONS:
        count = min(simulation.chance.randrange(3), EXECUTIONS - begun)
        begun += count
        await simulation.node(count)
    for _ in range(200):
        await simulation.node(0)
        if all(one["Status"] != "RUNNING" for one in await simulation.executions()):
            break
    found = await simulation.executions()
    assert simulation.surprises == []
    assert len(found) == EXECUTIONS
    for one in found:
        arn = one["DurableExecutionArn"]
        told = await simulation.world.call(
            "lambda", "GetDurableExecutionHistory", DurableExecutionArn=arn, MaxItems=1000
        )
        kinds = Counter((event["EventType"], event.get("Id")) for event in told["Events"])
        steps = {
            event["Id"]: event["StepSucceededDetails"]["Result"]["Payload"]
            for event in told["Events"]
            if event["EventType"] == "StepSucceeded"
        }
        assert [event["EventId"] for event in told["Events"]] == list(range(1, len(told["Events"]) + 1))
        assert all(count == 1 for (kind, _), count in kinds.items() if kind.endswith("Succeeded")), f"seed {seed}"
        for (of, id), result in simulation.acknowledged.items():
            assert of != arn or steps[id] == result, f"seed {seed}"
        assert one["Status"] in ("SUCCEEDED", "FAILED"), f"seed {seed}"
        if one["Status"] == "FAILED":  # five crashes in a row are the end, as on AWS
            error = (await simulation.world.call("lambda", "GetDurableExecution", DurableExecutionArn=arn))["Error"]
            assert error["ErrorMessage"] in ("crashed", "superseded"), f"seed {seed}"
