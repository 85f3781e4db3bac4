"""Time as an argument: the platform never asks the machine, it asks its Clock.

SystemClock is the only reader of real time. VirtualClock stands still until told to move, and jumps to
the next sleeper's due time when everything is idle. Epoch times are integer milliseconds.
"""

import asyncio
import heapq
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Clock(Protocol):
    """What time it is, and waiting."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""

    def monotonic_s(self) -> float:
        """Seconds on a clock that never goes back; only differences mean something."""

    async def sleep(self, seconds: float) -> None:
        """Wait; a wait that must outlive the process is a durable timer instead."""

    @contextmanager
    def busy(self) -> Iterator[None]:
        """While held, virtual time may not jump by itself: something is going on."""

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Within `busy`, by the task that entered it: it only waits, for something that time may have to bring."""


class SystemClock:
    """Real time."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @contextmanager
    def busy(self) -> Iterator[None]:
        yield

    @contextmanager
    def idle(self) -> Iterator[None]:
        yield


class VirtualClock:
    """Time that moves only when it is told to: `advance`, or `next_due_ms` and a jump."""

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms
        self._start_ms = start_ms
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._busy: Counter[asyncio.Task[Any] | None] = Counter()

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_s(self) -> float:
        return (self._now_ms - self._start_ms) / 1000

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        due_ms = self._now_ms + max(1, round(seconds * 1000))
        heapq.heappush(self._sleepers, (due_ms, next(self._order), woken))
        await woken

    @contextmanager
    def busy(self) -> Iterator[None]:
        task = _current_task()
        self._hold(task, 1)
        try:
            yield
        finally:
            self._hold(task, -1)

    @contextmanager
    def idle(self) -> Iterator[None]:
        task = _current_task()
        held = self._busy[task]
        self._hold(task, -held)
        try:
            yield
        finally:
            self._hold(task, held)

    def _hold(self, task: asyncio.Task[Any] | None, more: int) -> None:
        self._busy[task] += more
        if not self._busy[task]:
            del self._busy[task]

    @property
    def is_idle(self) -> bool:
        """No one holds `busy`."""
        return not self._busy

    def next_due_ms(self) -> int | None:
        """When the earliest sleeper wakes, or None if nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def advance_to(self, now_ms: int) -> None:
        """Move to `now_ms` and wake every sleeper that is due by then. Never goes back."""
        self._now_ms = max(self._now_ms, now_ms)
        while (due_ms := self.next_due_ms()) is not None and due_ms <= self._now_ms:
            heapq.heappop(self._sleepers)[2].set_result(None)


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
