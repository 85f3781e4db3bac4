"""The outbox under crashes: whatever was acknowledged is carried out at least once."""

import asyncio
import random
from types import ModuleType

import pytest

from penstock.framework.background import BackgroundRunner
from penstock.framework.service import Service, on_intent
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.storage import outbox
from penstock.testkit.world import World

SEEDS = range(20)


async def simulate(seed: int) -> list[str]:
    chance = random.Random(seed)
    carried_out: list[str] = []

    @on_intent("s3.notify")
    async def notify(ctx, intent):
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        fate = chance.random()
        if fate < 0.2:
            raise Unavailable("away")
        if fate < 0.3:
            raise ServiceError("SlowDown", "m", status=503)
        if fate < 0.35:
            raise KeyError("bug")
        carried_out.append(intent.id)

    module = ModuleType("background")
    module.notify = notify
    room = Service("s3", operations=[], background=module)
    world = World(room, seed=seed)
    acknowledged = []
    for lifetime in range(5):
        async with BackgroundRunner(world.platform, [room], concurrency_max=4):
            for n in range(chance.randrange(8)):
                name, due_ms = f"{lifetime}-{n}", world.clock.now_ms() + chance.randrange(3000)
                await world.platform.store.transact(
                    lambda tx, name=name, due_ms=due_ms: outbox.add(tx, "s3.notify", {}, due_ms=due_ms, id=name)
                )
                acknowledged.append(name)
                world.clock.advance_to(world.clock.now_ms() + chance.randrange(1000))
                for _ in range(chance.randrange(6)):
                    await asyncio.sleep(0)
        # leaving the block cancels whatever was running: the crash
    async with BackgroundRunner(world.platform, [room], concurrency_max=4) as runner:
        await runner.run_until_idle()
    assert set(acknowledged) == set(carried_out), f"seed {seed}"
    assert await world.platform.store.read(outbox.next_due_ms) is None, f"seed {seed}"
    return carried_out


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_acknowledged_intent_is_carried_out_and_a_seed_repeats_the_run(seed):
    assert await simulate(seed) == await simulate(seed)
