"""What runs without being asked: due intents, and the rooms' loops.

Every due intent of the outbox is carried out at least once. An intent stays in the outbox until its handler has
returned, so a crash anywhere leads to another try; a handler that mustn't act twice removes the intent
(outbox.cancel) in the transaction in which it acts.
"""

import asyncio
import logging
from collections.abc import Sequence
from types import TracebackType

from penstock.engines.delivery.attempts import RetryPolicy, next_attempt
from penstock.framework.context import Context, Platform, RequestInfo
from penstock.framework.service import IntentHandler, Loop, Service
from penstock.kernel.clock import VirtualClock
from penstock.kernel.errors import Bug, ServiceError, Unavailable
from penstock.kernel.scope import DEFAULT_ACCOUNT_ID, DEFAULT_REGION, Scope, service_principal
from penstock.kernel.units import MINUTE_MS
from penstock.storage import outbox
from penstock.storage.outbox import Intent
from penstock.storage.transactions import ReadTransaction, Transaction

log = logging.getLogger("penstock.background")

CONCURRENCY_MAX = 32
RETRY = RetryPolicy()
RETRY_AFTER_BUG = RetryPolicy(delay_ms_first=MINUTE_MS)
LOOP_RESTART = RetryPolicy(delay_ms_max=MINUTE_MS)
HORIZON_S = 7 * 24 * 3600.0
STEPS_MAX = 100_000
_TURNS_TO_SETTLE = 20
_BUSY_POLL_S = 0.001
_THROTTLES = frozenset(
    {
        "ThrottlingException",
        "Throttling",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "ProvisionedThroughputExceededException",
        "SlowDown",
    }
)


class BackgroundRunner:
    """Carries out intents and runs loops while `async with` holds it; `drain` works without that too."""

    def __init__(
        self, platform: Platform, services: Sequence[Service], *, concurrency_max: int = CONCURRENCY_MAX
    ) -> None:
        self._platform = platform
        self._concurrency_max = concurrency_max
        self._handlers: dict[str, tuple[Service, IntentHandler]] = {
            kind: (room, handler) for room in services for kind, handler in room.intents.items()
        }
        self._loops: list[tuple[Service, Loop]] = [(room, loop) for room in services for loop in room.loops]
        self._running: dict[tuple[str, str], Intent] = {}
        self._changed = asyncio.Event()
        self._main: asyncio.Task[None] | None = None
        platform.store.on_commit(("outbox",), self._signal)

    async def __aenter__(self) -> "BackgroundRunner":
        self._main = asyncio.get_running_loop().create_task(self._run(), name="penstock-background")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._main is None:
            return
        self._main.cancel()
        await asyncio.gather(self._main, return_exceptions=True)
        self._main = None

    async def is_idle(self) -> bool:
        """Whether nothing is being carried out and nothing is due."""
        due, _ = await self._look()
        return not due and not self._running

    async def drain(self) -> None:
        """Carry out due intents, and what they cause, until none is due and none is running."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                changed = self._changed
                due, _ = await self._look()
                self._start(tasks, due)
                if not self._running:
                    return
                await changed.wait()

    async def run_until(self, until_ms: int) -> None:
        """Move virtual time to `until_ms`, stopping wherever an intent or a sleeper is due on the way."""
        clock = self._virtual_clock()
        await self._settle(clock)
        for _ in range(STEPS_MAX):
            due_ms = await self._next_due_ms(clock)
            if due_ms is None or due_ms > until_ms:
                clock.advance_to(until_ms)
                await self._settle(clock)
                return
            clock.advance_to(due_ms)
            await self._settle(clock)
        raise Bug(f"no end to what is due before {until_ms}")

    async def run_until_idle(self, *, horizon_s: float = HORIZON_S) -> None:
        """Move virtual time from one due thing to the next until nothing is left within the horizon."""
        clock = self._virtual_clock()
        until_ms = clock.now_ms() + round(horizon_s * 1000)
        await self._settle(clock)
        for _ in range(STEPS_MAX):
            due_ms = await self._next_due_ms(clock)
            if due_ms is None or due_ms > until_ms:
                return
            clock.advance_to(due_ms)
            await self._settle(clock)
        raise Bug(f"no end to what is due before {until_ms}")

    def _virtual_clock(self) -> VirtualClock:
        if not isinstance(self._platform.clock, VirtualClock):
            raise Bug("only virtual time can be moved")
        return self._platform.clock

    async def _settle(self, clock: VirtualClock) -> None:
        """Let woken tasks take their turns, and carry out what is due, until all stand still.

        A task that waits for a commit stands still only once the store does, one that runs a function only once it
        lets go of the clock; and between two things that hold the clock there are turns in which nobody does.
        """
        store, wall = self._platform.store, self._platform.wall
        while True:
            is_still = True
            for _ in range(_TURNS_TO_SETTLE):
                await clock.sleep(0)
                is_still = is_still and clock.is_idle and store.is_quiet
            if not store.is_quiet:
                await store.settled()
            elif not clock.is_idle:
                await wall.sleep(0 if wall is clock else _BUSY_POLL_S)
            elif not is_still:
                continue
            elif await self.is_idle():
                return
            else:
                await self.drain()

    async def _next_due_ms(self, clock: VirtualClock) -> int | None:
        _, intent_ms = await self._look()
        times = [due_ms for due_ms in (intent_ms, clock.next_due_ms()) if due_ms is not None]
        return min(times, default=None)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for room, loop in self._loops:
                tasks.create_task(self._supervise(room, loop))
            await self._pump(tasks)

    async def _pump(self, tasks: asyncio.TaskGroup) -> None:
        failures = 0
        while True:
            changed = self._changed
            try:
                due, next_due_ms = await self._look()
            except Unavailable:
                failures += 1
                log.warning("outbox unreadable attempt=%d", failures)
                await self._wait_before_restart(failures)
                continue
            failures = 0
            self._start(tasks, due)
            await self._wait_for_change(changed, next_due_ms)

    def _start(self, tasks: asyncio.TaskGroup, due: list[Intent]) -> None:
        for intent in due[: self._concurrency_max - len(self._running)]:
            key = (intent.kind, intent.id)
            if key not in self._running:
                self._running[key] = intent
                tasks.create_task(self._carry_out(intent))

    async def _wait_for_change(self, changed: asyncio.Event, next_due_ms: int | None) -> None:
        if next_due_ms is None or len(self._running) >= self._concurrency_max:
            await changed.wait()
            return
        delay_s = max(next_due_ms - self._platform.clock.now_ms(), 1) / 1000
        told = asyncio.ensure_future(changed.wait())
        slept = asyncio.ensure_future(self._platform.clock.sleep(delay_s))
        try:
            await asyncio.wait({told, slept}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()
            slept.cancel()
            await asyncio.gather(told, slept, return_exceptions=True)

    def _signal(self) -> None:
        """Wake whoever looked before now; those who look later wait for the next change."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _look(self) -> tuple[list[Intent], int | None]:
        """The due intents that nobody carries out yet, and when the next one after them is due."""
        now_ms = self._platform.clock.now_ms()
        limit = len(self._running) + self._concurrency_max + 1

        def look(tx: ReadTransaction) -> list[Intent]:
            return outbox.due(tx, 2**62, limit=limit)

        first = [i for i in await self._platform.store.read(look) if (i.kind, i.id) not in self._running]
        later_ms = [i.due_ms for i in first if i.due_ms > now_ms]
        return [i for i in first if i.due_ms <= now_ms], min(later_ms, default=None)

    async def _carry_out(self, intent: Intent) -> None:
        failures = 0
        try:
            retry = await self._attempt(intent)
            jitter = self._platform.entropy.uniform(0, 1) if retry else 0.0
            while True:
                try:
                    await self._platform.store.transact(lambda tx: self._conclude(tx, intent, retry, jitter))
                    return
                except Unavailable:
                    failures += 1
                    await self._wait_before_restart(failures)
        finally:
            self._running.pop((intent.kind, intent.id), None)
            self._signal()

    async def _attempt(self, intent: Intent) -> RetryPolicy | None:
        """Run the handler; None where it is done, else how it is tried again."""
        found = self._handlers.get(intent.kind)
        if found is None:
            log.error("intent without a handler kind=%s id=%s", intent.kind, intent.id)
            return RETRY_AFTER_BUG
        room, handler = found
        try:
            await handler(self._context(room, intent.payload), intent)
        except Unavailable as error:
            self._note_failure(intent, str(error))
            return RETRY
        except ServiceError as error:
            self._note_failure(intent, str(error))
            is_passing = error.status >= 500 or error.status == 429 or error.code in _THROTTLES
            return RETRY if is_passing else RETRY_AFTER_BUG
        except Exception:
            log.exception("intent failed kind=%s id=%s attempt=%d", intent.kind, intent.id, intent.attempt)
            return RETRY_AFTER_BUG
        return None

    def _note_failure(self, intent: Intent, reason: str) -> None:
        log.info("intent put back kind=%s id=%s attempt=%d reason=%s", intent.kind, intent.id, intent.attempt, reason)

    def _conclude(self, tx: Transaction, intent: Intent, retry: RetryPolicy | None, jitter: float) -> None:
        """Remove or put back the intent, unless its handler removed it or someone has replaced it."""
        if not _is_unchanged(tx, intent):
            return
        if retry is None:
            outbox.cancel(tx, intent.kind, intent.id)
            return
        now_ms = self._platform.clock.now_ms()
        due_ms = next_attempt(retry, intent.attempt, intent.due_ms, now_ms, jitter)
        if due_ms is None:
            raise Bug("an intent's retries have no end")
        outbox.retry(tx, intent, due_ms=due_ms)

    def _context(self, room: Service, payload: dict[str, object]) -> Context:
        account_id = str(payload.get("account_id") or DEFAULT_ACCOUNT_ID)
        scope = Scope(account_id, str(payload.get("region") or DEFAULT_REGION))
        principal = service_principal(f"{room.name}.amazonaws.com", account_id=account_id)
        return Context(self._platform, scope, principal, RequestInfo(self._platform.entropy.uuid()))

    async def _supervise(self, room: Service, loop: Loop) -> None:
        failures = 0
        while True:
            started_ms = self._platform.clock.now_ms()
            try:
                await loop(self._context(room, {}))
                return
            except Exception:
                log.exception("loop failed room=%s loop=%s", room.name, getattr(loop, "__name__", loop))
            ran_long = self._platform.clock.now_ms() - started_ms > MINUTE_MS
            failures = 1 if ran_long else failures + 1
            await self._wait_before_restart(failures)

    async def _wait_before_restart(self, failures: int) -> None:
        now_ms = self._platform.clock.now_ms()
        due_ms = next_attempt(LOOP_RESTART, failures, now_ms, now_ms, self._platform.entropy.uniform(0, 1))
        await self._platform.clock.sleep(((due_ms or now_ms) - now_ms) / 1000)


def _is_unchanged(tx: ReadTransaction, intent: Intent) -> bool:
    return outbox.find(tx, intent.kind, intent.id) == intent
