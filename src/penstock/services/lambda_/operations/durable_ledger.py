"""Every change of a durable execution goes through here: it and all that follows from it commit together.

What follows: operations and history are kept; a timer (an intent) is set for when time has something to do; what is
to be invoked is put where the runner finds it; the end of a child ends its parent's operation; the end of any
execution sets the time of its deletion, and wakes who waits for it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from penstock.engines.durable.answers import document_of_error
from penstock.engines.durable.machine import Machine
from penstock.engines.durable.model import ErrorObject, Execution
from penstock.framework.context import Context, Platform
from penstock.framework.wakeups import Wakeup
from penstock.kernel.scope import Scope
from penstock.kernel.units import DAY_MS
from penstock.services.lambda_ import events, state
from penstock.services.lambda_.operations import durable_records as records
from penstock.services.lambda_.operations.durable_records import StoredOperations
from penstock.services.lambda_.operations.metering import meter_of
from penstock.storage import outbox
from penstock.storage.transactions import Transaction

WAKE = "lambda.durable_wake"
FORGET = "lambda.durable_forget"
TELL = "lambda.durable_tell"
_LEDGER = "lambda.durable"
T = TypeVar("T")


@dataclass
class Change:
    """One transaction's changes.

    has_bus   whether EventBridge is there to be told of statuses
    changed   the executions that it concerns, with operations and bytes that count
    """

    tx: Transaction
    now_ms: int
    has_bus: bool = True
    changed: list[tuple[Scope, Machine]] = field(default_factory=list)

    def of(self, scope: Scope, id: str, apply: Callable[[Machine], T], *, is_timer: bool = False) -> T:
        """Apply an event to an execution that is there. `is_timer`: its timer is spent."""
        execution = records.get(self.tx, scope, id)
        before_ms = None if is_timer else execution.wake_ms
        operations = StoredOperations(self.tx, scope, id)
        machine = Machine(execution, operations, self.now_ms)
        result = apply(machine)
        self._keep(scope, machine, operations, before_ms)
        return result

    def add(self, scope: Scope, execution: Execution, payload: str) -> None:
        """Begin a new execution."""
        operations = StoredOperations(self.tx, scope, execution.id)
        machine = Machine(execution, operations, self.now_ms)
        records.add(self.tx, scope, execution)
        machine.start(payload)
        self._keep(scope, machine, operations, None)
        self._tell_status(scope, execution)

    def _keep(self, scope: Scope, machine: Machine, operations: StoredOperations, before_ms: int | None) -> None:
        tx, execution = self.tx, machine.execution
        operations.flush(tx)
        for event in machine.events:
            records.put_event(tx, scope, execution.id, event)
        records.put(tx, scope, execution)
        for operation in machine.chained:
            records.set_ready(tx, scope, execution.id, operation.id, is_ready=True)
        records.set_ready(tx, scope, execution.id, "", is_ready=execution.is_ready)
        records.set_running(tx, scope, execution.id, is_running=bool(execution.invocation_id))
        wake_ms = execution.wake_ms
        if wake_ms is None:
            outbox.cancel(tx, WAKE, execution.id)
        elif wake_ms != before_ms:
            outbox.add(tx, WAKE, _intent(scope, execution.id), due_ms=wake_ms, id=execution.id)
        self.changed.append((scope, machine))
        if machine.has_closed:
            self._on_closed(scope, execution, operations)

    def _on_closed(self, scope: Scope, execution: Execution, operations: StoredOperations) -> None:
        records.clear_ready(self.tx, scope, execution.id)
        due_ms = self.now_ms + execution.retention_days * DAY_MS
        outbox.add(self.tx, FORGET, _intent(scope, execution.id), due_ms=due_ms, id=execution.id)
        self._tell_status(scope, execution)
        if execution.parent_arn:
            self.end_chained(scope, execution)
        if execution.is_asynchronous and execution.status != "SUCCEEDED":
            self._send_to_dead_letters(scope, execution, operations)

    def _tell_status(self, scope: Scope, execution: Execution) -> None:
        if self.has_bus:
            payload = _intent(scope, execution.id) | {"detail": events.durable_status(scope, execution)}
            outbox.add(self.tx, TELL, payload, due_ms=self.now_ms, id=f"{execution.id}/{execution.status}")

    def end_chained(self, scope: Scope, child: Execution) -> None:
        """Tell the parent what came of a closed child."""
        parent_id = records.id_of(child.parent_arn)
        if records.find(self.tx, scope, parent_id) is None:
            return
        operation_id, error = child.parent_operation, _error_for_parent(child)
        self.of(
            scope,
            parent_id,
            lambda parent: parent.on_chained_end(operation_id, child.status, result=child.result, error=error),
        )

    def _send_to_dead_letters(self, scope: Scope, execution: Execution, operations: StoredOperations) -> None:
        """Source: https://docs.aws.amazon.com/lambda/latest/dg/durable-invoking.html"""
        version = state.find_version(self.tx, scope, execution.function, execution.version)
        if version is None or not version.dead_letter_arn:
            return
        started = operations.find(execution.id)
        assert started is not None, f"{execution.arn} lacks its first operation"
        text = (execution.error or {}).get("ErrorMessage") or document_of_error(
            execution.error, execution.status
        ).decode()
        attributes = {
            "RequestID": {"DataType": "String", "StringValue": execution.id},
            "ErrorCode": {"DataType": "Number", "StringValue": "200"},
            "ErrorMessage": {"DataType": "String", "StringValue": text[:1024] or execution.status},
        }
        payload: dict[str, object] = {
            "account_id": scope.account_id,
            "region": scope.region,
            "role": version.role,
            "function": execution.function,
            "target": version.dead_letter_arn,
            "body": started.payload or "",
            "attributes": attributes,
        }
        outbox.add(self.tx, state.DELIVER, payload, due_ms=self.now_ms, id=f"durable/{execution.id}")


def _intent(scope: Scope, id: str) -> dict[str, object]:
    return {"account_id": scope.account_id, "region": scope.region, "id": id}


def _error_for_parent(child: Execution) -> ErrorObject | None:
    if child.status != "TIMED_OUT":
        return child.error
    text = f"CHAINED_INVOKE timed out after {child.timeout_s} seconds."
    return {"ErrorMessage": text, "ErrorType": "ChainedInvoke.Timeout"}


class Ledger:
    """Commits changes; a caller that goes away in the middle takes nothing back and keeps nobody waiting."""

    def __init__(self, platform: Platform) -> None:
        self.has_bus = True
        self._platform = platform
        self._commits: set[asyncio.Task[object]] = set()
        self._endings: dict[str, tuple[Wakeup, int]] = {}

    async def commit(self, fn: Callable[[Change], T]) -> T:
        """Run `fn` in a transaction; on return it and its consequences are durable."""
        task: asyncio.Task[T] = asyncio.get_running_loop().create_task(self._commit(fn))
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)
        return await asyncio.shield(task)

    async def _commit(self, fn: Callable[[Change], T]) -> T:
        now_ms = self._platform.clock.now_ms()

        def run(tx: Transaction) -> tuple[T, list[tuple[Scope, Machine]]]:
            change = Change(tx, now_ms, self.has_bus)
            return fn(change), change.changed

        result, changed = await self._platform.store.transact(run)
        for scope, machine in changed:
            self._on_changed(scope, machine)
        return result

    def _on_changed(self, scope: Scope, machine: Machine) -> None:
        execution = machine.execution
        if machine.billed or machine.written or machine.has_closed:
            meter_of(self._platform).on_durable(scope, execution, machine.billed, machine.written)
        if machine.has_closed and execution.id in self._endings:
            self._endings[execution.id][0].signal()

    async def ending(self, scope: Scope, id: str) -> Execution:
        """The execution, once it has ended."""
        wakeup, waiting = self._endings.get(id) or (Wakeup(), 0)
        self._endings[id] = wakeup, waiting + 1
        try:
            while True:
                changed = wakeup.changed
                execution = await self._platform.store.read(lambda tx: records.get(tx, scope, id))
                if execution.is_closed:
                    return execution
                with self._platform.clock.idle():
                    await changed.wait()
        finally:
            wakeup, waiting = self._endings.pop(id)
            if waiting > 1:
                self._endings[id] = wakeup, waiting - 1


def ledger_of(platform: Platform) -> Ledger:
    ledger: Ledger | None = platform.volatile.get(_LEDGER)
    if ledger is None:
        ledger = platform.volatile[_LEDGER] = Ledger(platform)
    return ledger


async def change(ctx: Context, id: str, apply: Callable[[Machine], T]) -> T:
    """One event for one execution that is known to be there."""
    return await ledger_of(ctx.platform).commit(lambda change: change.of(ctx.scope, id, apply))
