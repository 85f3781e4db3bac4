"""A durable execution and its operations, as they are stored and as the API shows them. Pure.

Times are integer milliseconds since the epoch. An error is AWS's ErrorObject as a dict (ErrorMessage, ErrorType,
ErrorData, StackTrace).
Source: https://docs.aws.amazon.com/lambda/latest/dg/durable-functions.html
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

ErrorObject = dict[str, Any]
OPERATIONS_MAX = 3000
WRITTEN_BYTES_MAX = 100 * 1024 * 1024

RUNNING = "RUNNING"
CLOSED = frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED"})
ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "STOPPED"})


class Refused(Exception):
    """The caller's mistake: InvalidParameterValueException with this text."""


class CallbackClosed(Exception):
    """The callback has ended, or its execution has."""


@dataclass
class Operation:
    """One operation. `number` orders operations by their start.

    due_ms         when a WAIT ends, a STEP is tried again, a CALLBACK times out
    heartbeat_ms   when a CALLBACK times out unless it is heard of
    payload        what went in (EXECUTION, CHAINED_INVOKE); result, error: what came out
    """

    id: str
    type: str
    number: int
    started_ms: int
    status: str = "STARTED"
    parent_id: str = ""
    name: str = ""
    sub_type: str = ""
    ended_ms: int | None = None
    attempt: int = 0
    due_ms: int | None = None
    heartbeat_ms: int | None = None
    heartbeat_s: int = 0
    payload: str | None = None
    result: str | None = None
    error: ErrorObject | None = None
    has_replayed_children: bool = False
    callback_id: str = ""
    function: str = ""
    tenant_id: str = ""
    trace_id: str = ""
    child_arn: str = ""
    child_version: str = ""

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def wake_ms(self) -> int | None:
        """When time changes it, if nothing else does first."""
        return min((ms for ms in (self.due_ms, self.heartbeat_ms) if ms is not None), default=None)


@dataclass
class Execution:
    """The head of a durable execution; its operations and events are kept beside it.

    sequence        counts checkpoints; with `invocation_id` it makes the only valid token
    invocation_id   the invocation that may checkpoint; empty while none runs
    untold          the invocation whose end isn't in the history yet
    waiting         operations that someone or time will end, with their wake times (0: no time does)
    unseen          operations changed by others since the running handler was last told
    updated         operations changed by others since the last invocation began (UpdatedOperationIds)
    is_ready        an invocation of the handler is due; rerun_ms: one is due at that time, after a failed one
    failures        consecutive invocations that failed; idle: consecutive ones that waited for nothing
    """

    arn: str
    function: str
    version: str
    name: str
    id: str
    started_ms: int
    timeout_s: int
    retention_days: int
    architecture: str = "x86_64"
    request_sha256: str = ""
    trace_id: str = ""
    tenant_id: str = ""
    is_asynchronous: bool = False
    parent_arn: str = ""
    parent_operation: str = ""
    status: str = RUNNING
    ended_ms: int | None = None
    result: str | None = None
    error: ErrorObject | None = None
    sequence: int = 0
    invocation_id: str = ""
    untold: str = ""
    invoked_ms: int = 0
    waiting: dict[str, int] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    is_ready: bool = False
    rerun_ms: int | None = None
    failures: int = 0
    idle: int = 0
    throttles: int = 0
    operations: int = 0
    written_bytes: int = 0
    events: int = 0
    last_client_token: str = ""
    last_sequence: int = -1
    last_returned: list[str] = field(default_factory=list)

    @property
    def is_closed(self) -> bool:
        return self.status in CLOSED

    @property
    def deadline_ms(self) -> int:
        return self.started_ms + 1000 * self.timeout_s

    @property
    def wake_ms(self) -> int | None:
        """When time has something to do; None once it is closed."""
        if self.is_closed:
            return None
        times = [ms for ms in self.waiting.values() if ms]
        if self.rerun_ms is not None:
            times.append(self.rerun_ms)
        return min([*times, self.deadline_ms])


@dataclass
class Event:
    """One entry of the history.

    details    its data by the API's names; what a caller sees of it shapes.py decides
    has_own    payloads that are the operation's own for good are there and not here
    """

    number: int
    type: str
    at_ms: int
    details: dict[str, Any]
    id: str = ""
    name: str = ""
    parent_id: str = ""
    sub_type: str = ""
    has_own: bool = False


class Operations(Protocol):
    """An execution's operations, wherever they are kept."""

    def find(self, id: str) -> Operation | None: ...
    def put(self, operation: Operation) -> None: ...
