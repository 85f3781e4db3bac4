import asyncio

from penstock.kernel.clock import VirtualClock


def test_virtual_sleepers_wake_in_the_order_they_are_due() -> None:
    async def scenario() -> list[str]:
        clock = VirtualClock(0)
        woken: list[str] = []

        async def sleeper(name: str, seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append(name)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(sleeper("late", 2))
            tasks.create_task(sleeper("early", 1))
            await asyncio.sleep(0)
            assert clock.next_due_ms() == 1000
            clock.advance_to(5000)
        return woken

    assert asyncio.run(scenario()) == ["early", "late"]


def test_virtual_time_stands_still_until_advanced() -> None:
    clock = VirtualClock(1000)
    assert (clock.now_ms(), clock.monotonic_s()) == (1000, 0.0)
    clock.advance_to(3500)
    assert (clock.now_ms(), clock.monotonic_s()) == (3500, 2.5)


async def test_a_task_that_only_waits_lets_go_of_the_clock_and_of_nobody_elses_hold() -> None:
    clock = VirtualClock(0)
    let_go, go_on = asyncio.Event(), asyncio.Event()

    async def waiter() -> None:
        with clock.busy(), clock.busy():
            with clock.idle():
                let_go.set()
                await go_on.wait()
            assert not clock.is_idle

    task = asyncio.ensure_future(waiter())
    await let_go.wait()
    assert clock.is_idle
    with clock.busy():
        assert not clock.is_idle
    go_on.set()
    await task
    assert clock.is_idle
    with clock.idle():
        assert clock.is_idle
