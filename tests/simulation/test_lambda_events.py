"""Nodes that die at any moment: every accepted event runs to an ending, and every failure is told."""

import asyncio
import random

import orjson
import pytest

from penstock.framework.background import BackgroundRunner
from penstock.services import lambda_, sqs
from penstock.testkit.functions import FakePool, create_function, outcome
from penstock.testkit.world import World

EVENTS = 25
DEAD = "arn:aws:sqs:us-east-1:000000000000:dead"


async def dead_letters(world):
    found = []
    while True:
        url = "http://localhost:4566/000000000000/dead"
        answer = await world.call("sqs", "ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10)
        if not answer.get("Messages"):
            return found
        found += [orjson.loads(message["Body"]) for message in answer["Messages"]]


@pytest.mark.parametrize("seed", range(20))
async def test_every_event_ends_though_nodes_die_in_the_middle(seed):
    chance = random.Random(seed)
    pool, rooms = FakePool(), [lambda_.SERVICE, sqs.SERVICE]
    world = World(*rooms, seed=seed, functions=pool)
    await world.call("sqs", "CreateQueue", QueueName="dead")
    await create_function(world, DeadLetterConfig={"TargetArn": DEAD})
    succeeded = set()

    async def invoke(spec, invocation):
        for _ in range(chance.randrange(6)):
            await asyncio.sleep(0)
        number = orjson.loads(invocation.payload)
        if number % 5 == 0 or chance.random() < 0.3:
            return outcome(b'{"errorMessage":"x"}', error="X")
        succeeded.add(number)
        return outcome()

    pool.invoke = invoke
    sent = 0
    while sent < EVENTS or chance.random() < 0.8:
        async with BackgroundRunner(world.platform, rooms) as node:
            for _ in range(chance.randrange(4)):
                if sent < EVENTS:
                    payload = str(sent).encode()
                    await world.call("lambda", "Invoke", FunctionName="f", InvocationType="Event", Payload=payload)
                    sent += 1
            for _ in range(chance.randrange(40)):
                await asyncio.sleep(0)
            if chance.random() < 0.3:
                await node.run_until(world.clock.now_ms() + chance.randrange(90_000))
        world.platform.volatile.clear()
    async with BackgroundRunner(world.platform, rooms) as node:
        await node.run_until(world.clock.now_ms() + 3_600_000)
    told = set(await dead_letters(world))
    assert succeeded | told == set(range(EVENTS)), f"seed {seed}"
    assert {number for number in range(EVENTS) if number % 5 == 0} <= told, f"seed {seed}"
