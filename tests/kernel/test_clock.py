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
