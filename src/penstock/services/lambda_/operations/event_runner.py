"""Asynchronous events on their way from the queue to their ending.

A try is three steps: the event is leased, the function runs, and one transaction concludes the try: the event goes
back with what is now known of it, or it leaves the queue and what tells of its ending is intended. A crash before the
conclusion repeats the try; one after it repeats nothing.
Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from penstock.engines.delivery.attempts import RetryPolicy, next_attempt
from penstock.engines.functions.ports import Invocation, Outcome, Throttled
from penstock.framework.context import Context
from penstock.framework.wakeups import wait
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.kernel.units import MINUTE_MS
from penstock.services.lambda_ import events, limits, state
from penstock.services.lambda_.events import Ending
from penstock.services.lambda_.operations import invocations, metrics
from penstock.services.lambda_.operations.metering import meter_of
from penstock.services.lambda_.operations.queueing import FunctionKey, line_of
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import LATEST, Event, EventConfig, Function, Version
from penstock.storage import outbox
from penstock.storage.queue import Message, owners
from penstock.storage.transactions import Transaction

log = logging.getLogger("penstock.lambda")

Conclusion = Callable[[Transaction], None]

_CONCLUSION_RETRY = RetryPolicy(delay_ms_max=MINUTE_MS)
_PENDING_DELAY_MS_FIRST = 100
_PENDING_DELAY_MS_MAX = 10_000
_PENDING_SHARE = 8  # of an event's age: how long it waits for a function that is being made
_AFTER_OUTAGE_MS = 1000
_AFTER_BUG_MS = 60_000


class EventRunner:
    """Takes events from the functions' queues as they are committed or become due, and sees each to its end.

    An event that is being run is leased to this runner; a new one takes over what its predecessor held, for a store
    has one node. A function's places shrink to what ran when it was throttled and grow by one with each round
    that ran, so that a full node is kept busy instead of being asked in vain. Beyond its places one event a second is
    let through, for what was in the way may have been others' load, and what runs may run long.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._line = line_of(ctx.platform)
        self._owner = ctx.entropy.uuid()
        self._taken = 0
        self._in_flight: Counter[FunctionKey] = Counter()
        self._full: set[FunctionKey] = set()
        self._due_ms: dict[FunctionKey, int] = {}
        self._places: dict[FunctionKey, float] = {}
        self._probe_ms: dict[FunctionKey, int] = {}

    async def run(self) -> None:
        await self._recover()
        with self._line.consumed():
            await self._consume()

    async def _consume(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                changed = self._line.wakeup.changed
                await self._pump(tasks)
                await self._ctx.clock.sleep(0)  # the new tasks hold the clock before the look lets go of it
                self._line.on_looked()
                await wait(changed, self._ctx.clock, min(self._due_ms.values(), default=None))

    async def _recover(self) -> None:
        now_ms = self._ctx.clock.now_ms()

        def release(tx: Transaction) -> list[FunctionKey]:
            known = list(state.known_queues(tx))
            for scope, name in known:
                prefix = state.events_prefix(scope, name)
                for owner in list(owners(tx, prefix)):
                    state.events_of(scope, name).release_owner(tx, owner, now_ms=now_ms)
            return known

        for key in await self._ctx.store.transact(release):
            self._line.mark(key)

    async def _pump(self, tasks: asyncio.TaskGroup) -> None:
        now_ms = self._ctx.clock.now_ms()
        wanted = self._line.take() | {key for key, due_ms in self._due_ms.items() if due_ms <= now_ms}
        for key in sorted(wanted, key=lambda key: (key[1], key[0].account_id, key[0].region)):
            self._due_ms.pop(key, None)
            try:
                await self._take(tasks, key, now_ms)
            except Unavailable:
                self._due_ms[key] = now_ms + _AFTER_OUTAGE_MS

    async def _take(self, tasks: asyncio.TaskGroup, key: FunctionKey, now_ms: int) -> None:
        """Lease what is visible in the function's queue, up to its free places, and note when to look again."""
        scope, name = key
        free = self._free(key, now_ms)
        if free <= 0:
            self._wait_for_place(key, now_ms)
            return

        def take(tx: Transaction) -> tuple[list[Message], int | None]:
            function = state.find_function(tx, scope, name)
            queue = state.events_of(scope, name)
            if function is None:
                state.forget_events(tx, scope, name)
                return [], None
            reserved = function.reserved_concurrency
            places = min(free, reserved - self._in_flight[key]) if reserved else free
            next_ms = queue.next_visible_ms(tx)
            if next_ms is None or next_ms > now_ms or places <= 0:
                return [], next_ms
            tokens = [f"{self._owner}/{self._taken + n}" for n in range(places)]
            found = queue.receive(
                tx, now_ms=now_ms, visibility_ms=limits.ASYNC_LEASE_MS, tokens=tokens, owner=self._owner
            )
            return found, queue.next_visible_ms(tx)

        found, next_ms = await self._ctx.store.transact(take)
        self._taken += len(found)
        for message in found:
            self._in_flight[key] += 1
            tasks.create_task(self._see_to(key, message))
        if next_ms is not None and next_ms > now_ms:
            self._due_ms[key] = next_ms
        elif next_ms is not None:
            self._wait_for_place(key, now_ms)

    def _free(self, key: FunctionKey, now_ms: int) -> int:
        """How many more events of the function may be tried now."""
        anywhere = limits.ASYNC_IN_FLIGHT_MAX - self._in_flight.total()
        places = int(self._places.get(key, limits.ASYNC_IN_FLIGHT_OF_FUNCTION_MAX)) - self._in_flight[key]
        if places <= 0 and key in self._places and now_ms >= self._probe_ms.get(key, 0):
            self._probe_ms[key] = now_ms + limits.THROTTLE_DELAY_MS_FIRST.value
            places = 1
        return min(anywhere, places)

    def _wait_for_place(self, key: FunctionKey, now_ms: int) -> None:
        """Look again when a try ends, or when the function's next one may be let through."""
        self._full.add(key)
        if key in self._places:
            self._due_ms[key] = max(self._probe_ms.get(key, 0), now_ms + limits.THROTTLE_DELAY_MS_FIRST.value)

    async def _see_to(self, key: FunctionKey, message: Message) -> None:
        """Try the event once, and conclude the try; a store that pauses is asked again, not the function."""
        attempt = 0
        conclude: Conclusion | None = None
        clock = self._ctx.clock
        try:
            while True:
                with clock.busy():
                    conclude = conclude or await self._tried(key, message)
                    try:
                        return await self._ctx.store.transact(conclude)
                    except Unavailable:
                        attempt += 1
                    except Exception:
                        log.exception("a try can't be concluded function=%s id=%s", key[1], message.id)
                        attempt, conclude = attempt + 1, self._released(key, message, _AFTER_BUG_MS)
                now_ms = clock.now_ms()
                due_ms = next_attempt(_CONCLUSION_RETRY, attempt, now_ms, now_ms, 0.0)
                await clock.sleep(((due_ms or now_ms) - now_ms) / 1000)
        finally:
            self._on_end(key)

    def _on_end(self, key: FunctionKey) -> None:
        self._in_flight[key] -= 1
        if not self._in_flight[key]:
            del self._in_flight[key]
        full, self._full = self._full, set()
        for waiting in (key, *full):
            self._line.mark(waiting)

    async def _tried(self, key: FunctionKey, message: Message) -> Conclusion:
        """What follows from a try of the event. Whatever goes wrong in the node itself leaves it for later."""
        try:
            return await self._try(key, message, Event.decode(message.body))
        except Unavailable as error:
            log.warning("asynchronous event waits function=%s id=%s reason=%s", key[1], message.id, error)
            return self._released(key, message, _AFTER_OUTAGE_MS)
        except Exception:
            log.exception("asynchronous event failed in the node function=%s id=%s", key[1], message.id)
            return self._released(key, message, _AFTER_BUG_MS)

    def _released(self, key: FunctionKey, message: Message, delay_ms: int) -> Conclusion:
        """The event as it was, to be taken again in a while."""
        due_ms = self._ctx.clock.now_ms() + delay_ms
        return lambda tx: _put_back(tx, key, message, message.body, due_ms)

    async def _try(self, key: FunctionKey, message: Message, event: Event) -> Conclusion:
        scope, name = key
        ctx = self._ctx.within(scope)
        named = Named(scope, name, event.qualifier)
        try:
            function, version = await invocations.find_target(ctx, named)
            config = await ctx.store.read(lambda tx: state.find_event_config(tx, scope, name, event.qualifier))
        except ServiceError as error:
            log.warning("asynchronous event dropped function=%s id=%s reason=%s", name, event.request_id, error)
            subject = metrics.subject_of(scope, name, event.qualifier)
            meter_of(ctx.platform).metrics.count(subject, "AsyncEventsDropped")
            return lambda tx: _drop(tx, key, message)
        step = _Step(ctx, key, message, event, function, version, config)
        now_ms = ctx.clock.now_ms()
        if now_ms >= step.deadline_ms:
            return step.end(step.expiry())
        if invocations.is_recursive(function, event.trace_id, named):
            log.warning("recursive loop stopped function=%s id=%s", name, event.request_id)
            step.count("RecursiveInvocationsDropped")
            return step.end(Ending("RecursiveInvocation", 400, event.failures))
        if invocations.is_pending(version):
            waited_ms = max((now_ms - event.sent_ms) // _PENDING_SHARE, _PENDING_DELAY_MS_FIRST)
            return step.put_back(event, now_ms + min(waited_ms, _PENDING_DELAY_MS_MAX))
        conclude, has_run = await step.invoke()
        self._adapt(key, has_run=has_run)
        return conclude

    def _adapt(self, key: FunctionKey, *, has_run: bool) -> None:
        places = self._places.get(key, limits.ASYNC_IN_FLIGHT_OF_FUNCTION_MAX)
        places = places + 1 / places if has_run else min(places, self._in_flight[key] - 1)
        if places >= limits.ASYNC_IN_FLIGHT_OF_FUNCTION_MAX:
            self._places.pop(key, None)
            self._probe_ms.pop(key, None)
        else:
            self._places[key] = max(places, 1)


class _Step:
    """One try of one event, and what follows from how it went."""

    def __init__(
        self,
        ctx: Context,
        key: FunctionKey,
        message: Message,
        event: Event,
        function: Function,
        version: Version,
        config: EventConfig | None,
    ) -> None:
        self._ctx = ctx
        self._key = key
        self._scope, self._name = key
        self._message = message
        self._event = event
        self._function = function
        self._version = version
        self._config = config
        age_s_max = config.age_s_max if config else None
        self.deadline_ms = event.sent_ms + 1000 * (age_s_max or limits.EVENT_AGE_S_DEFAULT.value)

    async def invoke(self) -> tuple[Conclusion, bool]:
        """What follows, and whether the function has run: not where it was throttled or couldn't."""
        event = self._event
        invocation = Invocation(
            event.request_id,
            event.payload,
            event.invoked_arn,
            event.trace_id,
            is_paced=False,
            tenant_id=event.tenant_id,
        )
        self.count("AsyncEventAge", self._ctx.clock.now_ms() - event.sent_ms)
        try:
            outcome = await invocations.run(self._ctx, self._scope, self._function, self._version, invocation)
        except Throttled:
            if self._function.reserved_concurrency == 0:
                return self.end(Ending("ZeroReservedConcurrency", 0, event.failures)), False
            return self._back_off(429), False
        except Unavailable:
            return self._back_off(500), False
        return self._on_outcome(outcome), True

    def count(self, metric: str, value: float = 1.0) -> None:
        subject = metrics.subject_of(self._scope, self._name, self._event.qualifier, self._version.version)
        meter_of(self._ctx.platform).metrics.count(subject, metric, value)

    def _on_outcome(self, outcome: Outcome) -> Conclusion:
        """A function error is tried again after one minute, then after two; a success is the end."""
        event, tries = self._event, self._event.failures + 1
        retries_max = self._config.retries_max if self._config else None
        retries_max = limits.RETRIES_DEFAULT.value if retries_max is None else retries_max
        if outcome.function_error is None:
            return self.end(self._ending("Success", tries, outcome))
        if tries > retries_max:
            return self.end(self._ending("RetriesExhausted", tries, outcome))
        due_ms = self._ctx.clock.now_ms() + limits.RETRY_DELAYS_MS[tries - 1]
        if due_ms >= self.deadline_ms:
            return self.end(self._ending("EventAgeExceeded", tries, outcome))
        return self.put_back(replace(event, failures=tries, last_status=200), due_ms)

    def _ending(self, condition: str, tries: int, outcome: Outcome) -> Ending:
        return Ending(condition, 200, tries, self._version.version, outcome.function_error or "", outcome.payload)

    def expiry(self) -> Ending:
        """The end of an event that waited too long; it says how the last try went."""
        event = self._event
        has_failed = event.last_status == 200
        return Ending(
            "EventAgeExceeded",
            event.last_status,
            event.failures,
            self._version.version if has_failed else "",
            "Unhandled" if has_failed else "",
        )

    def _back_off(self, status: int) -> Conclusion:
        """Throttles and faults of the platform don't count as tries; they are repeated until the event is too old."""
        throttles, now_ms = self._event.throttles + 1, self._ctx.clock.now_ms()
        due_ms = now_ms + throttle_delay_ms(throttles, self._ctx.entropy.uniform(0, 1))
        event = replace(self._event, throttles=throttles, last_status=status)
        return self.put_back(event, min(due_ms, self.deadline_ms))

    def put_back(self, event: Event, due_ms: int) -> Conclusion:
        """Let it be taken again at `due_ms`."""
        return lambda tx: _put_back(tx, self._key, self._message, event.encode(), due_ms)

    def end(self, ending: Ending) -> Conclusion:
        """Take the event out of the queue, and in the same transaction intend what tells of its ending."""
        now_ms, unique = self._ctx.clock.now_ms(), self._ctx.entropy.uuid()
        if not ending.is_success:
            self.count("AsyncEventsDropped")

        def finish(tx: Transaction) -> None:
            if state.events_of(self._scope, self._name).delete(tx, self._message.handle):
                for number, payload in enumerate(self._deliveries(ending, now_ms, unique)):
                    outbox.add(tx, state.DELIVER, payload, due_ms=now_ms, id=f"{unique}/{number}")

        return finish

    def _deliveries(self, ending: Ending, now_ms: int, unique: str) -> list[dict[str, object]]:
        """To the destination of that condition, and a failure to the dead-letter target as well."""
        event, config, version = self._event, self._config, self._version
        head: dict[str, object] = {
            "account_id": self._scope.account_id,
            "region": self._scope.region,
            "role": version.role,
            "function": self._name,
            "qualifier": event.qualifier,
            "trace_id": event.trace_id,
        }
        found: list[dict[str, object]] = []
        target = (config.on_success if ending.is_success else config.on_failure) if config else ""
        function_arn = state.arn_of(self._scope, self._name, event.qualifier or LATEST)
        if target:
            body = events.invocation_record(event, function_arn, ending, now_ms=now_ms)
            told = {"target": target, "body": body, "resource": function_arn, "is_success": ending.is_success}
            found.append(head | told | {"key": events.object_key(self._name, now_ms, unique)})
        if version.dead_letter_arn and not ending.is_success:
            told = {"target": version.dead_letter_arn, "body": event.payload.decode("utf-8", "replace")}
            found.append(head | told | {"attributes": events.dead_letter_attributes(event, ending)})
        return found


def throttle_delay_ms(throttles: int, chance: float) -> int:
    """How long an event waits after so many throttles or faults: a second, doubling up to five minutes.

    `chance`, drawn from [0, 1), adds up to half, so that a burst comes back spread out and never early.
    """
    policy = RetryPolicy(limits.THROTTLE_DELAY_MS_FIRST.value, limits.THROTTLE_DELAY_MS_MAX.value)
    whole_ms = next_attempt(policy, throttles, 0, 0, 0.0) or 0
    return min(round(whole_ms * (1 + chance / 2)), policy.delay_ms_max)


def _put_back(tx: Transaction, key: FunctionKey, message: Message, body: bytes, due_ms: int) -> None:
    queue = state.events_of(*key)
    if queue.delete(tx, message.handle):
        queue.send(tx, body, id=message.id, now_ms=message.sent_at_ms, delay_ms=max(due_ms - message.sent_at_ms, 0))


def _drop(tx: Transaction, key: FunctionKey, message: Message) -> None:
    state.events_of(*key).delete(tx, message.handle)
