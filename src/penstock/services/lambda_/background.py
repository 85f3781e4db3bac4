"""What follows from a change and what runs by itself: functions become active, asynchronous events are invoked,
their endings delivered, usage written."""

import asyncio
import logging
from collections import Counter
from dataclasses import replace
from typing import Any

from penstock.engines.delivery.attempts import RetryPolicy, next_attempt
from penstock.engines.functions.ports import Invocation, Outcome, Throttled
from penstock.framework.context import Context
from penstock.framework.service import background, on_intent
from penstock.framework.wakeups import wait
from penstock.kernel import arn
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.kernel.scope import Scope
from penstock.services.lambda_ import events, limits, messages, state
from penstock.services.lambda_.events import Ending
from penstock.services.lambda_.operations import invocations, metrics, packages, specs
from penstock.services.lambda_.operations.durable_runs import forget, run_durable_executions, wake
from penstock.services.lambda_.operations.log_shipper import LogShipper
from penstock.services.lambda_.operations.metering import meter_of
from penstock.services.lambda_.operations.provisioned import keep_provisioned
from penstock.services.lambda_.operations.queueing import FunctionKey, line_of
from penstock.services.lambda_.operations.role_credentials import RoleCredentials, role_principal
from penstock.services.lambda_.operations.source_supervision import Supervision
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import LATEST, Event, EventConfig, Function, Version
from penstock.storage import outbox
from penstock.storage.outbox import Intent
from penstock.storage.queue import Message, owners
from penstock.storage.transactions import ReadTransaction, Transaction

__all__ = [
    "LogShipper",
    "RoleCredentials",
    "activate",
    "deliver",
    "forget",
    "keep_provisioned",
    "run_asynchronous_events",
    "run_durable_executions",
    "wake",
    "write_usage",
]

log = logging.getLogger("penstock.lambda")

THROTTLE_RETRY = RetryPolicy(
    delay_ms_first=limits.THROTTLE_DELAY_MS_FIRST.value, delay_ms_max=limits.THROTTLE_DELAY_MS_MAX.value
)
_PENDING_DELAY_MS = 100
_AFTER_OUTAGE_MS = 1000
_AFTER_BUG_MS = 60_000


@on_intent(state.DELETE_BLOB)
async def delete_blob(ctx: Context, intent: Intent) -> None:
    await ctx.blobs.delete(str(intent.payload["blob"]))


@on_intent(state.DELETE_CODE)
async def delete_code(ctx: Context, intent: Intent) -> None:
    await packages.remove_unpacked(ctx, str(intent.payload["sha256"]))


@on_intent(state.ACTIVATE)
async def activate(ctx: Context, intent: Intent) -> None:
    """Unpack a new configuration, let it be invoked, and end the environments that run the old one."""
    told = intent.payload
    name, number, config_id = str(told["name"]), str(told["version"]), told["config_id"]

    def find(tx: ReadTransaction) -> Version | None:
        version = state.find_version(tx, ctx.scope, name, number)
        return version if version is not None and version.config_id == config_id else None

    version = await ctx.store.read(find)
    if version is None:
        return
    spec = await specs.prepare(ctx, ctx.scope, version, reserved=None)
    pool = ctx.platform.functions
    failure = await pool.snapshot(spec) if pool is not None and spec.snap_start else ""
    now_ms, revision_id = ctx.clock.now_ms(), ctx.entropy.uuid()

    def finish(tx: Transaction) -> None:
        current = find(tx)
        if current is not None:
            current.revision_id = revision_id
            _finish(tx, ctx.scope, current, failure, now_ms=now_ms)

    await ctx.store.transact(finish)
    if pool is not None and not failure and (number == LATEST or spec.snap_start):
        if number == LATEST:
            await pool.retire(spec.arn)
        await pool.warm(spec)


def _finish(tx: Transaction, scope: Scope, version: Version, failure: str, *, now_ms: int) -> None:
    """`failure` is AWS's reason code where a SnapStart version couldn't be initialised."""
    version.state, version.state_reason, version.state_code = "Active", "", ""
    if failure:
        version.state, version.state_reason, version.state_code = "Failed", messages.INIT_FAILED, failure
    version.update_status, version.update_reason, version.update_code = "Successful", "", ""
    state.put_version(tx, scope, version)
    previous = state.find_previous(tx, scope, version.name) if version.version == LATEST else None
    if previous is not None:
        state.drop_previous(tx, scope, version.name)
        if not state.is_package_used(tx, scope, version.name, previous.package.blob_id):
            packages.drop(tx, previous.package, now_ms=now_ms)


@background
async def write_usage(ctx: Context) -> None:
    """Keep the daily counters up to date, a second late at most while the node runs."""
    meter = meter_of(ctx.platform)
    try:
        while True:
            changed = meter.wakeup.changed
            if meter.is_empty:
                await changed.wait()
            await ctx.platform.wall.sleep(limits.METER_LINGER_S)
            await meter.flush()
    finally:
        await meter.flush()


@background
async def run_asynchronous_events(ctx: Context) -> None:
    await _EventRunner(ctx).run()


@background
async def poll_event_sources(ctx: Context) -> None:
    """Run a poller for every enabled mapping; one that changes gets a new poller."""
    await Supervision(ctx).run()


class _EventRunner:
    """Takes events from the functions' queues as they are committed or become due, and sees each to its end.

    An event that is being run is leased to this runner; a new one takes over what its predecessor held, for a store
    has one node. A function's places shrink to what ran when it was throttled and grow by one with each round
    that ran, so that a full node is kept busy instead of being asked in vain.
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
        free = min(
            limits.ASYNC_IN_FLIGHT_MAX - self._in_flight.total(),
            int(self._places.get(key, limits.ASYNC_IN_FLIGHT_OF_FUNCTION_MAX)) - self._in_flight[key],
        )
        if free <= 0:
            self._full.add(key)
            return

        def take(tx: Transaction) -> tuple[list[Message], int | None]:
            function = state.find_function(tx, scope, name)
            queue = state.events_of(scope, name)
            if function is None:
                state.forget_events(tx, scope, name)
                return [], None
            places = min(free, (function.reserved_concurrency or free) - self._in_flight[key])
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
            self._full.add(key)

    async def _see_to(self, key: FunctionKey, message: Message) -> None:
        with self._ctx.clock.busy():
            try:
                await self._run_event(key, message, Event.decode(message.body))
            except Exception:
                log.exception("asynchronous event failed in the node function=%s id=%s", key[1], message.id)
                await self._release(key, message)
            finally:
                self._on_end(key)

    def _on_end(self, key: FunctionKey) -> None:
        self._in_flight[key] -= 1
        if not self._in_flight[key]:
            del self._in_flight[key]
        full, self._full = self._full, set()
        for waiting in full:
            self._line.mark(waiting)

    async def _release(self, key: FunctionKey, message: Message) -> None:
        """Let the event be taken again in a while; where even that fails, its lease runs out."""
        now_ms = self._ctx.clock.now_ms()
        queue = state.events_of(*key)
        try:
            await self._ctx.store.transact(
                lambda tx: queue.change_visibility(tx, message.handle, now_ms=now_ms, visibility_ms=_AFTER_BUG_MS)
            )
        except Unavailable:
            log.warning("asynchronous event stays leased function=%s id=%s", key[1], message.id)
        self._line.mark(key)

    async def _run_event(self, key: FunctionKey, message: Message, event: Event) -> None:
        scope, name = key
        ctx = self._ctx.within(scope)
        named = Named(scope, name, event.qualifier)
        try:
            function, version = await invocations.find_target(ctx, named)
            config = await ctx.store.read(lambda tx: state.find_event_config(tx, scope, name, event.qualifier))
        except ServiceError as error:
            log.warning("asynchronous event dropped function=%s id=%s reason=%s", name, event.request_id, error)
            await ctx.store.transact(lambda tx: state.events_of(scope, name).delete(tx, message.handle))
            return
        deadline_ms = event.sent_ms + 1000 * (_given(config, "age_s_max") or limits.EVENT_AGE_S_DEFAULT.value)
        step = _Step(ctx, key, message, event, function, version, config, deadline_ms)
        now_ms = ctx.clock.now_ms()
        if now_ms >= deadline_ms:
            await step.end(Ending("EventAgeExceeded", 500 if not event.throttles else 429, event.failures))
        elif invocations.is_recursive(function, event.trace_id, named):
            log.warning("recursive loop stopped function=%s id=%s", name, event.request_id)
            step.count("RecursiveInvocationsDropped")
            await step.end(Ending("RecursiveInvocation", 400, event.failures))
        elif version.state == "Pending":
            await step.put_back(event, now_ms + _PENDING_DELAY_MS)
        else:
            self._adapt(key, has_run=await step.invoke())

    def _adapt(self, key: FunctionKey, *, has_run: bool) -> None:
        places = self._places.get(key, limits.ASYNC_IN_FLIGHT_OF_FUNCTION_MAX)
        places = places + 1 / places if has_run else min(places, self._in_flight[key] - 1)
        if places >= limits.ASYNC_IN_FLIGHT_OF_FUNCTION_MAX:
            self._places.pop(key, None)
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
        deadline_ms: int,
    ) -> None:
        self._ctx = ctx
        self._scope, self._name = key
        self._message = message
        self._event = event
        self._function = function
        self._version = version
        self._config = config
        self._deadline_ms = deadline_ms

    async def invoke(self) -> bool:
        """Whether the function has run; False where it was throttled or couldn't."""
        event = self._event
        invocation = Invocation(event.request_id, event.payload, event.invoked_arn, event.trace_id, is_paced=False)
        self.count("AsyncEventAge", self._ctx.clock.now_ms() - event.sent_ms)
        try:
            outcome = await invocations.run(self._ctx, self._scope, self._function, self._version, invocation)
        except Throttled:
            if self._function.reserved_concurrency == 0:
                await self.end(Ending("RetriesExhausted", 429, event.failures))
            else:
                await self._back_off()
        except Unavailable:
            await self._back_off()
        else:
            await self._on_outcome(outcome)
            return True
        return False

    def count(self, metric: str, value: float = 1.0) -> None:
        subject = metrics.subject_of(self._scope, self._name, self._event.qualifier, self._version.version)
        meter_of(self._ctx.platform).metrics.count(subject, metric, value)

    async def _on_outcome(self, outcome: Outcome) -> None:
        """A function error is tried again after one minute, then after two; a success is the end.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
        """
        event, tries = self._event, self._event.failures + 1
        retries_max = _given(self._config, "retries_max")
        retries_max = limits.RETRIES_DEFAULT.value if retries_max is None else retries_max
        if outcome.function_error is None:
            await self.end(self._ending("Success", tries, outcome))
        elif tries > retries_max:
            await self.end(self._ending("RetriesExhausted", tries, outcome))
        else:
            due_ms = self._ctx.clock.now_ms() + limits.RETRY_DELAYS_MS[tries - 1]
            if due_ms >= self._deadline_ms:
                await self.end(self._ending("EventAgeExceeded", tries, outcome))
            else:
                await self.put_back(replace(event, failures=tries), due_ms)

    def _ending(self, condition: str, tries: int, outcome: Outcome) -> Ending:
        return Ending(condition, 200, tries, self._version.version, outcome.function_error or "", outcome.payload)

    async def _back_off(self) -> None:
        """Throttles and faults of the platform don't count as tries; they are repeated until the event is too old."""
        throttles, now_ms = self._event.throttles + 1, self._ctx.clock.now_ms()
        due_ms = next_attempt(THROTTLE_RETRY, throttles, now_ms, now_ms, self._ctx.entropy.uniform(0, 1))
        await self.put_back(replace(self._event, throttles=throttles), min(due_ms or now_ms, self._deadline_ms))

    async def put_back(self, event: Event, due_ms: int) -> None:
        """Let it be taken again at `due_ms`."""
        now_ms = self._ctx.clock.now_ms()

        def put(tx: Transaction) -> None:
            queue = state.events_of(self._scope, self._name)
            if queue.delete(tx, self._message.handle):
                queue.send(tx, event.encode(), id=event.request_id, now_ms=now_ms, delay_ms=max(due_ms - now_ms, 0))

        await self._ctx.store.transact(put)
        line_of(self._ctx.platform).mark((self._scope, self._name))

    async def end(self, ending: Ending) -> None:
        """Take the event out of the queue, and in the same transaction intend what tells of its ending."""
        now_ms, unique = self._ctx.clock.now_ms(), self._ctx.entropy.uuid()

        def finish(tx: Transaction) -> None:
            if state.events_of(self._scope, self._name).delete(tx, self._message.handle):
                for number, payload in enumerate(self._deliveries(ending, now_ms, unique)):
                    outbox.add(tx, state.DELIVER, payload, due_ms=now_ms, id=f"{unique}/{number}")

        await self._ctx.store.transact(finish)
        if not ending.is_success:
            self.count("AsyncEventsDropped")

    def _deliveries(self, ending: Ending, now_ms: int, unique: str) -> list[dict[str, object]]:
        """To the destination of that condition, and a failure to the dead-letter target as well."""
        event, config, version = self._event, self._config, self._version
        head: dict[str, object] = {
            "account_id": self._scope.account_id,
            "region": self._scope.region,
            "role": version.role,
            "function": self._name,
            "qualifier": event.qualifier,
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


def _given(config: EventConfig | None, member: str) -> int | None:
    value: int | None = getattr(config, member) if config is not None else None
    return value


@on_intent(state.DELIVER)
async def deliver(ctx: Context, intent: Intent) -> None:
    """Send one document to a queue, topic, bus, bucket or function, as the function's role.

    A target that refuses for good is given up, as on AWS, which counts DestinationDeliveryFailures.
    """
    told: dict[str, Any] = dict(intent.payload)
    target = arn.parse(told["target"])
    service, operation, params = delivery_call(ctx, target, told)
    scope = Scope(target.account_id or ctx.scope.account_id, target.region or ctx.scope.region, target.partition)
    try:
        await ctx.call(service, operation, params, as_=role_principal(told["role"], told["function"]), scope=scope)
    except ServiceError as error:
        metric = "DeadLetterErrors" if told.get("attributes") else "DestinationDeliveryFailures"
        subject = metrics.subject_of(ctx.scope, told["function"], told.get("qualifier") or "")
        meter_of(ctx.platform).metrics.count(subject, metric)
        is_passing = error.status >= 500 or error.status == 429 or "Throttl" in error.code
        if is_passing and error.status != 501 and intent.attempt < limits.DELIVERY_ATTEMPTS_MAX:
            raise
        log.warning("delivery given up function=%s target=%s reason=%s", told["function"], told["target"], error)


def delivery_call(ctx: Context, target: arn.Arn, told: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """The call that hands a document to its target."""
    body, attributes = told["body"], told.get("attributes")
    extra = {"MessageAttributes": attributes} if attributes else {}
    if target.service == "sqs":
        url = f"{ctx.endpoint}/{target.account_id}/{target.resource}"
        return "sqs", "SendMessage", {"QueueUrl": url, "MessageBody": body, **extra}
    if target.service == "sns":
        return "sns", "Publish", {"TopicArn": str(target), "Message": body, **extra}
    if target.service == "lambda":
        params = {"FunctionName": str(target), "InvocationType": "Event", "Payload": body.encode()}
        return "lambda", "Invoke", params
    if target.service == "s3":
        return "s3", "PutObject", {"Bucket": target.resource, "Key": told["key"], "Body": body.encode()}
    word = "Success" if told["is_success"] else "Failure"
    entry = {
        "Source": "lambda",
        "DetailType": f"Lambda Function Invocation Result - {word}",
        "Resources": [told["resource"], str(target)],
        "Detail": body,
        "EventBusName": str(target),
    }
    return "events", "PutEvents", {"Entries": [entry]}
