"""Waiting for a signal or a time, whichever is first."""

import asyncio

from penstock.kernel.clock import Clock


class Wakeup:
    """Whoever holds `changed` is woken by the next signal; take it before looking, wait for it after."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    def signal(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


async def wait(changed: asyncio.Event, clock: Clock, until_ms: int | None) -> None:
    if until_ms is None:
        await changed.wait()
        return
    told = asyncio.ensure_future(changed.wait())
    slept = asyncio.ensure_future(clock.sleep(max(until_ms - clock.now_ms(), 1) / 1000))
    try:
        await asyncio.wait({told, slept}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        told.cancel()
        slept.cancel()
        await asyncio.gather(told, slept, return_exceptions=True)
