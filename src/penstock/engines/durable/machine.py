"""What happens to a durable execution: each method is one event, and changes execution, operations and history alike.

Who calls it keeps all that it changed in one transaction: the head, the operations that were put, `events`; then
invokes the handler if `is_ready`, the functions in `chained`, and comes back with `on_time` at `wake_ms`. Nothing is
told twice: a checkpoint that is repeated finds its own answer, an ending that comes late finds the operation ended.
Source: https://docs.aws.amazon.com/lambda/latest/dg/durable-functions.html
"""

import base64
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from penstock.engines.durable import checks
from penstock.engines.durable.answers import Answer
from penstock.engines.durable.checks import Update
from penstock.engines.durable.model import (
    CallbackClosed,
    ErrorObject,
    Event,
    Execution,
    Operation,
    Operations,
    Refused,
)

INVALID_TOKEN = "Invalid checkpoint token"
FAILURES_MAX = 5
IDLE_MAX = 3
EXCESS_TYPE = "DurableExecution.LimitExceeded"
STOPPED_TEXT = "Execution stopped by user request"
LOST_TEXT = "The invocation was cut off: its node stopped."
RERUN_MS = 5000
THROTTLE_MS_FIRST = 1000
THROTTLE_MS_MAX = 60_000

Resolve = Callable[[str], ErrorObject | None]
_EVENT_WORDS = {
    "STEP": "Step",
    "CONTEXT": "Context",
    "WAIT": "Wait",
    "CALLBACK": "Callback",
    "CHAINED_INVOKE": "ChainedInvoke",
    "EXECUTION": "Execution",
}
_STATUS_WORDS = {
    "SUCCEEDED": "Succeeded",
    "FAILED": "Failed",
    "TIMED_OUT": "TimedOut",
    "STOPPED": "Stopped",
    "CANCELLED": "Cancelled",
}


class Machine:
    """One execution at one moment.

    events    what is new in the history; chained: operations whose functions are to be invoked
    has_closed  whether the execution has ended by what was told
    billed    durable operations that AWS would charge for; written: bytes likewise
    """

    def __init__(self, execution: Execution, operations: Operations, now_ms: int) -> None:
        self.execution = execution
        self.events: list[Event] = []
        self.chained: list[Operation] = []
        self.has_closed = False
        self.billed = 0
        self.written = 0
        self._operations = operations
        self._now_ms = now_ms
        self._touched: dict[str, None] = {}

    def start(self, payload: str) -> None:
        """Begin: the first operation is the execution itself, with what it was given."""
        operation = self._add({"Id": self.execution.id, "Type": "EXECUTION", "Name": self.execution.name})
        operation.payload = payload
        self._operations.put(operation)
        self._write(len(payload.encode()))
        self._tell(operation, "ExecutionStarted", {"Input": {}, "ExecutionTimeout": self.execution.timeout_s}, own=True)
        self.execution.is_ready = True

    def begin(self, invocation_id: str) -> list[str]:
        """An invocation of the handler begins; the operations that were changed by others since the last one."""
        execution = self.execution
        self._complete_due()
        execution.invocation_id = execution.untold = invocation_id
        execution.invoked_ms = self._now_ms
        execution.is_ready, execution.rerun_ms = False, None
        updated, execution.updated, execution.unseen = execution.updated, [], []
        return updated

    def checkpoint(self, token: str, client_token: str, updates: Sequence[Update], resolve: Resolve) -> list[Operation]:
        """Apply the handler's updates; the operations that it hasn't seen as they are now.

        `resolve` tells why a function can't be invoked, or None. Raises Refused.
        """
        execution = self.execution
        sequence, _ = read_token(token)
        if client_token and (client_token, sequence) == (execution.last_client_token, execution.last_sequence):
            return self._found(execution.last_returned)
        check_token(execution, token)
        checks.check_batch(self._operations, updates)
        excess = checks.find_excess(execution, self._operations, updates)
        if excess:
            self._close("FAILED", error={"ErrorMessage": excess, "ErrorType": EXCESS_TYPE})
            updates = ()
        for update in updates:
            current = self._operations.find(update["Id"]) if update["Type"] != "EXECUTION" else None
            checks.check_update(execution, current, update)
            self._apply(current, update, resolve)
        execution.sequence += 1
        if not execution.is_closed:
            self._complete_due()
        returned = [*self._touched, *(id for id in execution.unseen if id not in self._touched)]
        execution.unseen = []
        execution.last_client_token, execution.last_sequence = client_token, sequence
        execution.last_returned = returned
        return self._found(returned)

    def on_time(self) -> None:
        """Time has passed: what is due ends, or the whole execution does."""
        execution = self.execution
        if execution.is_closed:
            return
        if self._now_ms >= execution.deadline_ms:
            text = f"Execution timed out after {execution.timeout_s} seconds."
            self._close("TIMED_OUT", error={"ErrorMessage": text})
            return
        self._complete_due()
        if execution.rerun_ms is not None and execution.rerun_ms <= self._now_ms:
            execution.rerun_ms = None
            execution.is_ready = True

    def on_invocation_end(self, invocation_id: str, answer: Answer) -> None:
        """The handler came back, or didn't. `invocation_id` is the invocation's request id."""
        execution = self.execution
        details: dict[str, Any] = {
            "StartTimestamp": execution.invoked_ms,
            "EndTimestamp": self._now_ms,
            "RequestId": invocation_id,
            "Error": {"Payload": answer.error} if answer.error else {},
        }
        if answer.kind != "THROTTLED" and execution.untold == invocation_id:
            self._tell(None, "InvocationCompleted", details)
        execution.untold = "" if execution.untold == invocation_id else execution.untold
        if execution.is_closed or execution.invocation_id != invocation_id:
            return
        execution.invocation_id = ""
        if answer.kind == "THROTTLED":
            delay_ms = min(THROTTLE_MS_FIRST << min(execution.throttles, 10), THROTTLE_MS_MAX)
            execution.throttles += 1
            execution.rerun_ms = self._now_ms + delay_ms
            return
        execution.throttles = 0
        self._take(answer)

    def on_lost(self) -> None:
        """The node died that ran the handler. It is invoked again, and this counts as no failure of its own."""
        execution = self.execution
        if execution.is_closed or not execution.invocation_id:
            return
        times = {"StartTimestamp": execution.invoked_ms, "EndTimestamp": self._now_ms}
        details = {**times, "RequestId": execution.invocation_id, "Error": {"Payload": {"ErrorMessage": LOST_TEXT}}}
        self._tell(None, "InvocationCompleted", details)
        execution.invocation_id, execution.untold, execution.is_ready = "", "", True

    def _take(self, answer: Answer) -> None:
        execution = self.execution
        if answer.kind == "SUCCEEDED":
            too_large = len((answer.result or "").encode()) > checks.CHAINED_PAYLOAD_BYTES_MAX
            if execution.parent_arn and too_large:
                bound = checks.CHAINED_PAYLOAD_BYTES_MAX
                text = f"Execution output payload size must be less than or equal to {bound} bytes."
                self._close("FAILED", error={"ErrorMessage": text})
            else:
                self._close("SUCCEEDED", result=answer.result)
        elif answer.kind in ("FAILED", "INVALID"):
            self._close("FAILED", error=answer.error)
        elif answer.kind == "PENDING":
            self._on_pending()
        else:
            execution.failures += 1
            if execution.failures >= FAILURES_MAX:
                self._close("FAILED", error=answer.error)
            else:
                execution.rerun_ms = self._now_ms + RERUN_MS

    def _on_pending(self) -> None:
        """The handler waits for its operations; for one that has ended meanwhile it is invoked again at once."""
        execution = self.execution
        execution.failures = 0
        if execution.unseen:
            execution.idle, execution.is_ready = 0, True
        elif execution.waiting:
            execution.idle = 0
        elif execution.idle + 1 < IDLE_MAX:
            execution.idle += 1
            execution.rerun_ms = self._now_ms + RERUN_MS
        else:
            text = "Cannot return PENDING status with no pending operations."
            self._close("FAILED", error={"ErrorMessage": text, "ErrorType": "InvalidParameterValueException"})

    def on_callback(self, id: str, *, result: str | None = None, error: ErrorObject | None = None) -> None:
        """Someone outside answers. An error makes it FAILED. Raises CallbackClosed."""
        operation = self._open_callback(id)
        self._write(len((result or "").encode()) + (len(orjson.dumps(error)) if error is not None else 0))
        self._end_by_others(operation, "SUCCEEDED" if error is None else "FAILED", result=result, error=error)

    def on_heartbeat(self, id: str) -> None:
        """Someone outside is still at it. Raises CallbackClosed."""
        operation = self._open_callback(id)
        if operation.heartbeat_s:
            operation.heartbeat_ms = self._now_ms + 1000 * operation.heartbeat_s
            self.execution.waiting[id] = operation.wake_ms or 0
            self._operations.put(operation)

    def _open_callback(self, id: str) -> Operation:
        if not self.execution.is_closed:
            self._complete_due()
        operation = self._operations.find(id)
        if self.execution.is_closed or operation is None or operation.type != "CALLBACK" or operation.has_ended:
            raise CallbackClosed
        return operation

    def on_chained_end(
        self, id: str, status: str, *, result: str | None, error: ErrorObject | None, version: str = ""
    ) -> None:
        """The invoked function has ended. One that is told of twice, or too late, changes nothing."""
        operation = self._operations.find(id)
        if self.execution.is_closed or operation is None or operation.has_ended or operation.type != "CHAINED_INVOKE":
            return
        size = len((result or "").encode())
        if size > checks.CHAINED_PAYLOAD_BYTES_MAX:
            bound = checks.CHAINED_PAYLOAD_BYTES_MAX
            text = f"CHAINED_INVOKE output payload size must be less than or equal to {bound} bytes."
            status, result, error = "FAILED", None, {"ErrorMessage": text}
        self._write(size)
        operation.child_version = version or operation.child_version
        self._end_by_others(operation, status, result=result, error=error)

    def stop(self, error: ErrorObject | None) -> None:
        if not self.execution.is_closed:
            self._close("STOPPED", error=error or {"ErrorMessage": STOPPED_TEXT})

    def fail(self, error: ErrorObject) -> None:
        """The handler can't be invoked any more."""
        if not self.execution.is_closed:
            self._close("FAILED", error=error)

    def _apply(self, current: Operation | None, update: Update, resolve: Resolve) -> None:
        kind, action = update["Type"], update["Action"]
        self._write(checks.update_bytes(update))
        if kind == "EXECUTION":
            is_success = action == "SUCCEED"
            self._close(
                "SUCCEEDED" if is_success else "FAILED", result=update.get("Payload"), error=update.get("Error")
            )
            return
        operation = current or self._add(update)
        if action == "START":
            self._start_operation(operation, update, resolve)
        elif action == "RETRY":
            self._retry(operation, update)
        else:
            if kind == "STEP":
                operation.attempt += 1
            if kind == "CONTEXT":
                operation.has_replayed_children = bool((update.get("ContextOptions") or {}).get("ReplayChildren"))
            status = {"SUCCEED": "SUCCEEDED", "FAIL": "FAILED", "CANCEL": "CANCELLED"}[action]
            self._end(operation, status, result=update.get("Payload"), error=update.get("Error"))
        self._touched[operation.id] = None
        self._operations.put(operation)

    def _start_operation(self, operation: Operation, update: Update, resolve: Resolve) -> None:
        operation.status, operation.due_ms = "STARTED", None
        details: dict[str, Any] = {}
        if operation.type == "WAIT":
            seconds = int(update["WaitOptions"]["WaitSeconds"])
            operation.due_ms = self._now_ms + 1000 * seconds
            details = {"Duration": seconds, "ScheduledEndTimestamp": operation.due_ms}
        elif operation.type == "CALLBACK":
            details = self._start_callback(operation, update.get("CallbackOptions") or {})
        elif operation.type == "CHAINED_INVOKE":
            self._start_chained(operation, update, resolve)
            return
        if operation.type in ("WAIT", "CALLBACK"):
            self.execution.waiting[operation.id] = operation.wake_ms or 0
        self._tell(operation, f"{_EVENT_WORDS[operation.type]}Started", details)

    def _start_callback(self, operation: Operation, options: Update) -> dict[str, Any]:
        timeout_s = int(options.get("TimeoutSeconds") or 0)
        operation.heartbeat_s = int(options.get("HeartbeatTimeoutSeconds") or 0)
        operation.callback_id = callback_id(self.execution.arn, operation.id)
        operation.due_ms = self._now_ms + 1000 * timeout_s if timeout_s else None
        operation.heartbeat_ms = self._now_ms + 1000 * operation.heartbeat_s if operation.heartbeat_s else None
        times = {"Timeout": timeout_s, "HeartbeatTimeout": operation.heartbeat_s}
        return {"CallbackId": operation.callback_id, **{name: value for name, value in times.items() if value}}

    def _start_chained(self, operation: Operation, update: Update, resolve: Resolve) -> None:
        """A function that can't be invoked fails the operation in the answer to its own checkpoint."""
        options = update["ChainedInvokeOptions"]
        operation.function, operation.tenant_id = options["FunctionName"], options.get("TenantId") or ""
        operation.trace_id = options.get("XAmznTraceId") or ""
        error = resolve(operation.function)
        details: dict[str, Any] = {"FunctionName": operation.function}
        if operation.tenant_id:
            details["TenantId"] = operation.tenant_id
        if error is None:
            operation.payload = update.get("Payload")
            self.execution.waiting[operation.id] = 0
            self.chained.append(operation)
            details["Input"] = {}
        self._tell(operation, "ChainedInvokeStarted", details, own=True)
        if error is not None:
            self._end(operation, "FAILED", error=error)

    def _retry(self, operation: Operation, update: Update) -> None:
        delay_s = int(update["StepOptions"]["NextAttemptDelaySeconds"])
        operation.attempt += 1
        operation.status, operation.due_ms = "PENDING", self._now_ms + 1000 * delay_s
        operation.result, operation.error = update.get("Payload"), update.get("Error")
        self.execution.waiting[operation.id] = operation.due_ms
        self.billed += 1
        self._tell_attempt(operation, delay_s)

    def _tell_attempt(self, operation: Operation, delay_s: int = 0) -> None:
        """A step's try has ended: well, or with an error."""
        own, retry = operation.has_ended, {"CurrentAttempt": operation.attempt}
        if delay_s:
            retry["NextAttemptDelaySeconds"] = delay_s
        if operation.error is not None or operation.status == "FAILED":
            error = {} if own else {"Payload": operation.error or {}}
            self._tell(operation, "StepFailed", {"Error": error, "RetryDetails": retry}, own=own)
        else:
            result = {} if own else {"Payload": operation.result}
            self._tell(operation, "StepSucceeded", {"Result": result, "RetryDetails": retry}, own=own)

    def _complete_due(self) -> None:
        """End the waits and the overdue callbacks, and make the steps ready whose next try is due."""
        due = [id for id, wake_ms in self.execution.waiting.items() if wake_ms and wake_ms <= self._now_ms]
        for id in due:
            operation = self._operations.find(id)
            assert operation is not None, f"{self.execution.arn} waits for {id}, which isn't there"
            if operation.type == "STEP":
                operation.status, operation.due_ms = "READY", None
                self._on_changed(operation)
            elif operation.type == "WAIT":
                self._end_by_others(operation, "SUCCEEDED")
            else:
                self._end_by_others(operation, "TIMED_OUT", error=_callback_timeout(operation, self._now_ms))

    def _end_by_others(
        self, operation: Operation, status: str, *, result: str | None = None, error: ErrorObject | None = None
    ) -> None:
        self._end(operation, status, result=result, error=error)
        self._on_changed(operation)

    def _on_changed(self, operation: Operation) -> None:
        execution = self.execution
        self._operations.put(operation)
        execution.waiting.pop(operation.id, None)
        for known in (execution.unseen, execution.updated):
            if operation.id not in known:
                known.append(operation.id)
        if not execution.invocation_id:
            execution.is_ready = True

    def _end(
        self, operation: Operation, status: str, *, result: str | None = None, error: ErrorObject | None = None
    ) -> None:
        duration_s = (operation.due_ms - operation.started_ms) // 1000 if operation.due_ms else 0
        operation.status, operation.ended_ms = status, self._now_ms
        operation.result, operation.error = result, error
        operation.due_ms = operation.due_ms if operation.type == "WAIT" else None
        operation.heartbeat_ms = None
        self.execution.waiting.pop(operation.id, None)
        if operation.type == "STEP":
            self._tell_attempt(operation)
            return
        details: dict[str, Any] = {}
        if operation.type == "WAIT":
            details = {"Duration": duration_s} if status == "SUCCEEDED" else {}
        else:
            details = {"Result" if status == "SUCCEEDED" else "Error": {}}
        self._tell(operation, _EVENT_WORDS[operation.type] + _STATUS_WORDS[status], details, own=True)

    def _close(self, status: str, *, result: str | None = None, error: ErrorObject | None = None) -> None:
        """The execution ends. Nobody may checkpoint any more, and nothing is waited for."""
        execution = self.execution
        self.has_closed = True
        execution.status, execution.ended_ms = status, self._now_ms
        execution.result, execution.error = result, error
        execution.invocation_id, execution.is_ready, execution.rerun_ms = "", False, None
        execution.waiting, execution.unseen, execution.updated = {}, [], []
        operation = self._operations.find(execution.id)
        assert operation is not None, f"{execution.arn} lacks its first operation"
        operation.status, operation.ended_ms = status, self._now_ms
        self._operations.put(operation)
        details: dict[str, Any] = {"Result": {"Payload": result}}
        if status != "SUCCEEDED":
            details = {"Error": {"Payload": error or {}}}
        self._tell(operation, f"Execution{_STATUS_WORDS[status]}", details)

    def _add(self, update: Update) -> Operation:
        self.billed += 1
        self.execution.operations += 1
        return Operation(
            id=update["Id"],
            type=update["Type"],
            number=self.execution.operations,
            started_ms=self._now_ms,
            parent_id=update.get("ParentId") or "",
            name=update.get("Name") or "",
            sub_type=update.get("SubType") or "",
        )

    def _write(self, size: int) -> None:
        self.written += size
        self.execution.written_bytes += size

    def _tell(self, operation: Operation | None, kind: str, details: dict[str, Any], *, own: bool = False) -> None:
        """Add to the history. `own`: the payloads are to be read from the operation, which keeps them."""
        self.execution.events += 1
        event = Event(self.execution.events, kind, self._now_ms, details, has_own=own)
        if operation is not None:
            event.id, event.name = operation.id, operation.name
            event.parent_id, event.sub_type = operation.parent_id, operation.sub_type
        self.events.append(event)

    def _found(self, ids: Sequence[str]) -> list[Operation]:
        found = [operation for id in ids if (operation := self._operations.find(id)) is not None]
        return sorted(found, key=lambda operation: operation.number)


def _callback_timeout(operation: Operation, now_ms: int) -> ErrorObject:
    """Which of a callback's two times has run out."""
    if operation.due_ms is not None and operation.due_ms <= now_ms:
        return {"ErrorMessage": "Callback timed out", "ErrorType": "Callback.Timeout"}
    return {"ErrorMessage": "Callback timed out on heartbeat", "ErrorType": "Callback.Heartbeat"}


def format_token(execution: Execution) -> str:
    """The token that the running invocation checkpoints with next."""
    return base64.b64encode(orjson.dumps([execution.sequence, execution.invocation_id])).decode()


def check_token(execution: Execution, token: str) -> None:
    """Only the invocation that runs, and only with the token that it was given last. Raises Refused."""
    if execution.is_closed or read_token(token) != (execution.sequence, execution.invocation_id):
        raise Refused(INVALID_TOKEN)


def read_token(token: str) -> tuple[int, str]:
    """Its sequence number and invocation. Raises Refused."""
    try:
        sequence, invocation_id = orjson.loads(base64.b64decode(token, validate=True))
        return int(sequence), str(invocation_id)
    except (ValueError, TypeError):
        raise Refused(INVALID_TOKEN) from None


def callback_id(arn: str, operation_id: str) -> str:
    return base64.b64encode(orjson.dumps([arn, operation_id])).decode()


def read_callback_id(text: str) -> tuple[str, str]:
    """The execution's ARN and the operation. Raises Refused."""
    try:
        arn, operation_id = orjson.loads(base64.b64decode(text, validate=True))
        return str(arn), str(operation_id)
    except (ValueError, TypeError):
        raise Refused("Invalid callback token") from None
