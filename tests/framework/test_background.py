import asyncio
from types import ModuleType

import pytest

from penstock.framework.background import BackgroundRunner
from penstock.framework.service import Service, background, on_intent
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.storage import outbox
from penstock.testkit.world import START_MS, World


def room(*marked) -> Service:
    module = ModuleType("background")
    for fn in marked:
        setattr(module, fn.__name__, fn)
    return Service("s3", operations=[], background=module)


async def intend(world, id="a", *, due_ms=START_MS, **payload):
    await world.platform.store.transact(lambda tx: outbox.add(tx, "s3.do", payload, due_ms=due_ms, id=id))


async def is_outbox_empty(world) -> bool:
    return await world.platform.store.read(outbox.next_due_ms) is None


async def test_due_intent_is_carried_out_in_its_scope_and_removed():
    seen = []

    @on_intent("s3.do")
    async def do(ctx, intent):
        seen.append((ctx.principal.arn, ctx.scope.account_id, ctx.scope.region, intent.payload["n"]))

    world = World(room(do))
    await intend(world, n=1, account_id="111122223333", region="eu-west-1")
    await world.settle()
    assert seen == [("s3.amazonaws.com", "111122223333", "eu-west-1", 1)]
    assert await is_outbox_empty(world)


@pytest.mark.parametrize(
    "error", [Unavailable("x"), ServiceError("SlowDown", "x", status=503), ServiceError("Throttling", "x"), KeyError(1)]
)
async def test_failed_intent_is_tried_again_later(error):
    tries = []

    @on_intent("s3.do")
    async def do(ctx, intent):
        tries.append((intent.attempt, ctx.clock.now_ms()))
        if intent.attempt < 4:
            raise error

    world = World(room(do))
    await intend(world)
    await world.settle()
    assert [attempt for attempt, _ in tries] == [1]
    await world.advance(3600)
    assert [attempt for attempt, _ in tries] == [1, 2, 3, 4]
    times = [at for _, at in tries]
    assert times == sorted(set(times))
    assert await is_outbox_empty(world)


async def test_intents_caused_by_intents_are_settled_and_timers_wait_for_their_time():
    seen = []

    @on_intent("s3.do")
    async def do(ctx, intent):
        seen.append((intent.id, ctx.clock.now_ms() - START_MS))
        if intent.id == "a":
            await intend(world, "b")
            await intend(world, "timer", due_ms=START_MS + 5000)

    world = World(room(do))
    await intend(world)
    await world.settle()
    assert seen == [("a", 0), ("b", 0)]
    await world.advance(4.999)
    assert len(seen) == 2
    await world.advance(1)
    assert seen[2] == ("timer", 5000)


async def test_the_same_intent_added_while_it_is_carried_out_is_carried_out_again():
    runs = []

    @on_intent("s3.do")
    async def do(ctx, intent):
        runs.append(intent.payload)
        if len(runs) == 1:
            await intend(world, n=1)  # alike in all, in the same millisecond

    world = World(room(do))
    await intend(world, n=1)
    await world.settle()
    assert len(runs) == 2
    assert await is_outbox_empty(world)


async def test_timer_moved_by_its_own_handler_stays():
    @on_intent("s3.do")
    async def do(ctx, intent):
        await intend(world, due_ms=START_MS + 60_000)

    world = World(room(do))
    await intend(world)
    await world.settle()
    assert await world.platform.store.read(outbox.next_due_ms) == START_MS + 60_000


async def test_started_runner_is_woken_by_commits_and_by_the_clock_and_is_bounded():
    running, peak, seen = 0, 0, []

    @on_intent("s3.do")
    async def do(ctx, intent):
        nonlocal running, peak
        running, peak = running + 1, max(peak, running + 1)
        await asyncio.sleep(0)
        running -= 1
        seen.append(intent.id)

    service = room(do)
    world = World(service)
    async with BackgroundRunner(world.platform, [service], concurrency_max=3) as runner:
        for n in range(10):
            await intend(world, f"now{n}")
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(seen) == 10
        assert peak == 3
        await intend(world, "later", due_ms=START_MS + 1000)
        await runner.run_until_idle()
        assert seen[-1] == "later"
        assert world.clock.now_ms() == START_MS + 1000
        assert await runner.is_idle()


async def test_failed_loop_is_restarted():
    starts = []

    @background
    async def sweep(ctx):
        starts.append(ctx.clock.now_ms())
        if len(starts) < 3:
            raise Unavailable("away")
        await asyncio.Event().wait()

    service = room(sweep)
    world = World(service)
    async with BackgroundRunner(world.platform, [service]) as runner:
        await runner.run_until(START_MS + 60_000)
    assert len(starts) == 3
