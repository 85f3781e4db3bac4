"""Durable executions on their way: handlers are invoked when something has changed, chained functions when asked for.

What is to be invoked lies in the store (durable_records.READY), so a node that starts finds what its predecessor
left; a handler that ran when its node died is invoked again, and replays.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import TypeVar

import orjson

from penstock.engines.durable import machine as machines
from penstock.engines.durable import shapes
from penstock.engines.durable.answers import Answer, answer_of, error_of_function
from penstock.engines.durable.machine import Machine
from penstock.engines.durable.model import ErrorObject, Execution, Operation
from penstock.engines.functions.ports import Invocation, Outcome, Throttled
from penstock.framework.context import Context
from penstock.framework.service import background, on_intent
from penstock.framework.wakeups import Wakeup
from penstock.kernel.clock import Clock
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.kernel.scope import Scope, service_principal
from penstock.services.lambda_ import limits, messages, rules, state
from penstock.services.lambda_.operations import durable_records as records
from penstock.services.lambda_.operations import durable_starts, invocations
from penstock.services.lambda_.operations.durable_ledger import FORGET, TELL, WAKE, Change, ledger_of
from penstock.services.lambda_.operations.durable_records import StoredOperations
from penstock.services.lambda_.operations.durable_starts import Start, chained_target
from penstock.services.lambda_.operations.role_credentials import role_principal
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import Function, Version
from penstock.storage.outbox import Intent
from penstock.storage.transactions import ReadTransaction, Transaction

log = logging.getLogger("penstock.lambda.durable")

_BELL = "lambda.durable_bell"
_Key = tuple[Scope, str, str]
T = TypeVar("T")


class Bell:
    """Rings when something was put to be invoked. Until that was looked at, virtual time may not jump."""

    def __init__(self, clock: Clock) -> None:
        self.wakeup = Wakeup()
        self._clock = clock
        self._busy = ExitStack()
        self._is_heard = False
        self._rings = self._seen = 0

    def ring(self) -> None:
        if self._is_heard and self._rings == self._seen:
            self._busy.enter_context(self._clock.busy())
        self._rings += 1
        self.wakeup.signal()

    @contextmanager
    def heard(self) -> Iterator[None]:
        self._is_heard, self._seen = True, self._rings
        try:
            yield
        finally:
            self._is_heard = False
            self._busy.close()

    @property
    def rings(self) -> int:
        return self._rings

    def on_looked(self, rings: int) -> None:
        """All that was put before that many rings has been seen."""
        self._seen = rings
        if self._seen == self._rings:
            self._busy.close()


def _bell_of(ctx: Context) -> Bell:
    bell: Bell | None = ctx.platform.volatile.get(_BELL)
    if bell is None:
        bell = ctx.platform.volatile[_BELL] = Bell(ctx.clock)
        ctx.store.on_commit(records.READY, bell.ring)
    return bell


@on_intent(WAKE)
async def wake(ctx: Context, intent: Intent) -> None:
    """Time has something to do with an execution."""
    id = str(intent.payload["id"])

    def pass_time(change: Change) -> None:
        if records.find(change.tx, ctx.scope, id) is not None:
            change.of(ctx.scope, id, Machine.on_time, is_timer=True)

    await ledger_of(ctx.platform).commit(pass_time)


@on_intent(FORGET)
async def forget(ctx: Context, intent: Intent) -> None:
    """The retention period of a closed execution is over."""
    id = str(intent.payload["id"])

    def delete(tx: Transaction) -> None:
        execution = records.find(tx, ctx.scope, id)
        if execution is not None:
            records.forget(tx, ctx.scope, execution)

    await ctx.store.transact(delete)


@on_intent(TELL)
async def tell_status(ctx: Context, intent: Intent) -> None:
    """Put the change of an execution's status on the account's event bus, unless this node has none.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/durable-monitoring.html
    """
    entry = {
        "Source": "aws.lambda",
        "DetailType": "Durable Execution Status Change",
        "Resources": [],
        "Detail": orjson.dumps(intent.payload["detail"]).decode(),
        "Time": rules.when(intent.due_ms),
    }
    principal = service_principal("lambda.amazonaws.com", account_id=ctx.scope.account_id)
    try:
        await ctx.call("events", "PutEvents", {"Entries": [entry]}, as_=principal)
    except ServiceError as error:
        if error.status == HTTPStatus.NOT_IMPLEMENTED:
            ledger_of(ctx.platform).has_bus = False
        elif error.status >= HTTPStatus.INTERNAL_SERVER_ERROR or error.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise
        else:
            log.warning("status change given up execution=%s reason=%s", intent.payload["id"], error)


@background
async def run_durable_executions(ctx: Context) -> None:
    await _Runner(ctx).run()


class _Runner:
    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._ledger = ledger_of(ctx.platform)
        self._bell = _bell_of(ctx)
        self._active: set[_Key] = set()

    async def run(self) -> None:
        with self._bell.heard():
            await self._recover()
            async with asyncio.TaskGroup() as tasks:
                while True:
                    changed, rings = self._bell.wakeup.changed, self._bell.rings
                    for key in await self._due():
                        self._active.add(key)
                        tasks.create_task(self._see_to(key), name="penstock-durable")
                    await self._ctx.clock.sleep(0)  # the new tasks hold the clock before the look lets go of it
                    self._bell.on_looked(rings)
                    await changed.wait()

    async def _recover(self) -> None:
        """Take up what a node left that died."""

        def recover(change: Change) -> None:
            for scope, id in list(records.running(change.tx)):
                change.of(scope, id, Machine.on_lost)

        await self._ledger.commit(recover)

    async def _due(self) -> list[_Key]:
        free = limits.DURABLE_IN_FLIGHT_MAX - len(self._active)

        def read(tx: ReadTransaction) -> list[_Key]:
            return list(islice((key for key in records.ready(tx) if key not in self._active), free))

        while free > 0:
            try:
                return await self._ctx.store.read(read)
            except Unavailable:
                await self._ctx.clock.sleep(limits.DURABLE_AFTER_OUTAGE_S)
        return []

    async def _see_to(self, key: _Key) -> None:
        scope, id, operation_id = key
        ctx = self._ctx.within(scope)
        try:
            await (_Chained(ctx, id, operation_id).run() if operation_id else _Handler(ctx, id).run())
        except Unavailable as error:
            log.warning("durable execution put off id=%s reason=%s", id, error)
            await ctx.clock.sleep(limits.DURABLE_AFTER_OUTAGE_S)
        except Exception:
            log.exception("durable execution failed in the node id=%s", id)
            await ctx.clock.sleep(limits.DURABLE_AFTER_BUG_S)
        finally:
            self._active.discard(key)
            self._bell.ring()


@dataclass(frozen=True, slots=True)
class _Begun:
    """An invocation of a handler that is about to be made."""

    execution: Execution
    function: Function
    version: Version
    invocation: Invocation


class _Handler:
    """One invocation of an execution's handler."""

    def __init__(self, ctx: Context, id: str) -> None:
        self._ctx = ctx
        self._id = id

    async def run(self) -> None:
        begun = await self._begin()
        if begun is None:
            return
        with self._ctx.clock.busy():
            answer = await self._invoke(begun)
        await self._end(begun.invocation.request_id, answer)

    async def _begin(self) -> _Begun | None:
        """Note who is invoked, and make its event; None where nobody is to be."""
        invocation_id = self._ctx.entropy.uuid()

        def begin(change: Change) -> _Begun | None:
            scope, tx = self._ctx.scope, change.tx
            execution = records.find(tx, scope, self._id)
            has_begun = execution is not None and execution.invocation_id == invocation_id
            if execution is None or not (execution.is_ready or has_begun):
                records.set_ready(tx, scope, self._id, "", is_ready=False)
                return None
            function = state.find_function(tx, scope, execution.function)
            version = state.find_version(tx, scope, execution.function, execution.version)
            if function is None or version is None:
                change.of(scope, self._id, lambda machine: machine.fail(_gone(scope, execution)))
                return None
            updated = change.of(scope, self._id, lambda machine: machine.begin(invocation_id))
            event = self._event(tx, updated)
            version = invocations.running(tx, scope, version)
            arn = state.arn_of(scope, version.name, version.version)
            invocation = Invocation(invocation_id, event, arn, execution.trace_id, tenant_id=execution.tenant_id)
            return _Begun(execution, function, version, invocation)

        return await commit_at_last(self._ctx, begin)

    def _event(self, tx: ReadTransaction, updated: list[str]) -> bytes:
        """What the SDK's handler is given.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/durable-basic-concepts.html
        """
        execution = records.get(tx, self._ctx.scope, self._id)
        operations = StoredOperations(tx, self._ctx.scope, self._id)
        page, after = records.page(
            operations, after=0, items_max=limits.DURABLE_PAGE_MAX.value, bytes_max=limits.DURABLE_PAGE_BYTES_MAX
        )
        shown = [shapes.operation_members(operation, lambda ms: ms) for operation in page]
        marker = rules.format_marker("", after) if after is not None else ""
        event = {
            "DurableExecutionArn": execution.arn,
            "CheckpointToken": machines.format_token(execution),
            "InitialExecutionState": {"Operations": shown, "NextMarker": marker},
            "UpdatedOperationIds": updated,
        }
        return orjson.dumps(event)

    async def _invoke(self, begun: _Begun) -> Answer:
        if invocations.is_pending(begun.version):
            return Answer("THROTTLED")
        ctx = self._ctx
        try:
            outcome = await invocations.run_environment(ctx, ctx.scope, begun.function, begun.version, begun.invocation)
        except (Throttled, Unavailable):
            return Answer("THROTTLED")
        except ServiceError as error:
            return Answer("CRASHED", error={"ErrorMessage": error.message, "ErrorType": error.code})
        except Exception:
            log.exception("durable handler failed in the node execution=%s", begun.execution.arn)
            return Answer("CRASHED", error={"ErrorMessage": "The node failed.", "ErrorType": "ServiceException"})
        return answer_of(outcome.payload, outcome.function_error)

    async def _end(self, invocation_id: str, answer: Answer) -> None:
        def end(change: Change) -> None:
            if records.find(change.tx, self._ctx.scope, self._id) is not None:
                change.of(self._ctx.scope, self._id, lambda machine: machine.on_invocation_end(invocation_id, answer))

        await commit_at_last(self._ctx, end)


async def commit_at_last(ctx: Context, fn: Callable[[Change], T]) -> T:
    """Commit, however often it takes. A commit of which nobody knows how it went is made again: `fn` must bear that."""
    while True:
        with ctx.clock.busy():
            try:
                return await ledger_of(ctx.platform).commit(fn)
            except Unavailable as error:
                log.warning("durable executions can't be written reason=%s", error)
        await ctx.clock.sleep(limits.DURABLE_AFTER_OUTAGE_S)


def _gone(scope: Scope, execution: Execution) -> ErrorObject:
    arn = state.arn_of(scope, execution.function, execution.version)
    return {"ErrorMessage": f"Function not found: {arn}", "ErrorType": "ResourceNotFoundException"}


def _traced(trace_id: str, named: Named) -> str:
    """A hop more, so that a function which invokes itself for ever is stopped."""
    return rules.with_hop(trace_id, state.arn_of(named.scope, named.name))


@dataclass(frozen=True, slots=True)
class _Ending:
    """What came of a plain function."""

    status: str
    result: str | None = None
    error: ErrorObject | None = None
    version: str = ""


def _ending_of(outcome: Outcome, version: str) -> _Ending:
    if outcome.function_error is not None:
        return _Ending("FAILED", error=error_of_function(outcome.payload), version=version)
    try:
        return _Ending("SUCCEEDED", outcome.payload.decode(), version=version)
    except UnicodeDecodeError:
        text = "CHAINED_INVOKE response could not be decoded as UTF-8."
        return _Ending("FAILED", error={"ErrorMessage": text}, version=version)


class _Chained:
    """One function that a durable execution invokes: a durable one begins, another is run at least once."""

    def __init__(self, ctx: Context, id: str, operation_id: str) -> None:
        self._ctx = ctx
        self._id = id
        self._operation_id = operation_id
        self._ledger = ledger_of(ctx.platform)

    async def run(self) -> None:
        delay_ms = limits.THROTTLE_DELAY_MS_FIRST.value
        while True:
            with self._ctx.clock.busy():
                try:
                    ending = await self._try()
                    break
                except Throttled:
                    pass
            await self._ctx.clock.sleep(delay_ms / 1000)
            delay_ms = min(2 * delay_ms, limits.THROTTLE_DELAY_MS_MAX.value)
        if ending is not None:
            await self._end(ending)

    async def _try(self) -> _Ending | None:
        """How it ended; None where it runs on as a durable execution. Raises Throttled, Unavailable."""
        execution, operation = await self._find()
        if execution is None or operation is None:
            return None
        try:
            named = chained_target(self._ctx.scope, operation.function)
            await self._check_allowed(execution, named)
            function, version = await invocations.find_target(self._ctx, named)
            invocations.check_tenant(version, operation.tenant_id)
            trace_id = _traced(operation.trace_id or execution.trace_id, named)
            if invocations.is_recursive(function, trace_id, named):
                raise messages.recursive_loop()
            if version.durable is not None:
                await self._begin_child(execution, operation, named, version, trace_id)
                return None
            payload = (operation.payload or "{}").encode()
            request_id, tenant_id = self._ctx.entropy.uuid(), operation.tenant_id
            invocation = Invocation(request_id, payload, named.arn, trace_id, tenant_id=tenant_id)
            outcome = await invocations.run(self._ctx, named.scope, function, version, invocation)
        except ServiceError as error:
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise Unavailable(error.message) from error
            return _Ending("FAILED", error={"ErrorMessage": error.message, "ErrorType": error.code})
        return _ending_of(outcome, version.version)

    async def _find(self) -> tuple[Execution | None, Operation | None]:
        """The operation, unless it has ended; what is no longer to be invoked is taken off."""

        def read(change: Change) -> tuple[Execution | None, Operation | None]:
            scope = self._ctx.scope
            execution = records.find(change.tx, scope, self._id)
            operation = StoredOperations(change.tx, scope, self._id).find(self._operation_id)
            if execution is None or execution.is_closed or operation is None or operation.has_ended:
                records.set_ready(change.tx, scope, self._id, self._operation_id, is_ready=False)
                return None, None
            return execution, operation

        return await self._ledger.commit(read)

    async def _check_allowed(self, execution: Execution, named: Named) -> None:
        """The parent's role must be allowed to invoke it. Raises ServiceError."""
        if self._ctx.platform.auth != "enforce":
            return
        scope = self._ctx.scope
        version = await self._ctx.store.read(
            lambda tx: state.find_version(tx, scope, execution.function, execution.version)
        )
        if version is not None:
            principal = role_principal(version.role, version.name)
            params = {"FunctionName": named.arn, "InvocationType": "DryRun"}
            await self._ctx.call("lambda", "Invoke", params, as_=principal)

    async def _begin_child(
        self, parent: Execution, operation: Operation, named: Named, version: Version, trace_id: str
    ) -> None:
        """Its execution, and that the operation waits for it, in one transaction."""
        durable_starts.check_invocable(named, version, "")
        start = Start(
            named=named,
            version=version,
            payload=(operation.payload or "{}").encode(),
            id=self._ctx.entropy.uuid(),
            trace_id=trace_id,
            tenant_id=operation.tenant_id,
            parent_arn=parent.arn,
            parent_operation=operation.id,
        )

        def begin(change: Change) -> None:
            scope = self._ctx.scope
            records.set_ready(change.tx, scope, self._id, self._operation_id, is_ready=False)
            operations = StoredOperations(change.tx, scope, self._id)
            current = operations.find(self._operation_id)
            if current is None or current.has_ended or records.get(change.tx, scope, self._id).is_closed:
                return
            current.child_arn = durable_starts.begin(change, start).arn
            current.child_version = version.version
            operations.put(current)
            operations.flush(change.tx)

        await self._ledger.commit(begin)

    async def _end(self, ending: _Ending) -> None:
        def tell(machine: Machine) -> None:
            id, result, error = self._operation_id, ending.result, ending.error
            machine.on_chained_end(id, ending.status, result=result, error=error, version=ending.version)

        def end(change: Change) -> None:
            scope = self._ctx.scope
            records.set_ready(change.tx, scope, self._id, self._operation_id, is_ready=False)
            if records.find(change.tx, scope, self._id) is not None:
                change.of(scope, self._id, tell)

        await commit_at_last(self._ctx, end)
