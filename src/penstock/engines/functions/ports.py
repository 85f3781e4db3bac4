"""What the function engine takes and gives; it knows no AWS operation and no HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from penstock.kernel.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_ms: int


@dataclass(frozen=True)
class FunctionSpec:
    """A function version as the engine runs it.

    id            unique per version and configuration: a change of either is another id (a new pool)
    arn           qualified as it was published; `version` is $LATEST or a number
    code_dir      an unpacked, read-only folder: /var/task; layer_dirs, merged in order: /opt
    environment   the user's variables
    file_systems  (ARN of an access point, where it's mounted) pairs
    snap_start    its environments are forks of one that was initialised when the version was published
    """

    id: str
    arn: str
    name: str
    version: str
    account_id: str
    region: str
    runtime: str
    handler: str
    code_dir: str
    layer_dirs: tuple[str, ...] = ()
    memory_mb: int = 128
    timeout_s: int = 3
    ephemeral_mb: int = 512
    environment: dict[str, str] = field(default_factory=dict)
    role_arn: str = ""
    architecture: str = "x86_64"
    log_group: str = ""
    log_format: Literal["Text", "JSON"] = "Text"
    application_log_level: str = ""
    system_log_level: Literal["DEBUG", "INFO", "WARN"] = "INFO"
    reserved_concurrency: int | None = None
    snap_start: bool = False
    file_systems: tuple[tuple[str, str], ...] = ()


class ResponseStream(Protocol):
    """Where a streamed answer goes while it is made; each call waits until it may go on."""

    async def begin(self, content_type: str) -> None: ...
    async def write(self, chunk: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Invocation:
    """One event for a function. `request_id` is stable over asynchronous retries.

    stream     takes an answer that is streamed; None: it's collected
    tenant_id  for whom, where a function has environments by tenant; it runs in the tenant's spec
    is_paced   counts against the requests a second that concurrency allows; asynchronous ones don't
    """

    request_id: str
    payload: bytes
    invoked_arn: str
    trace_id: str = ""
    client_context: str = ""
    stream: ResponseStream | None = field(default=None, compare=False)
    is_paced: bool = True
    tenant_id: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an invocation ended, with what AWS would have billed.

    restore_ms      how long a SnapStart environment took to be restored
    is_provisioned  it ran in provisioned concurrency
    stream_error    (type, details) of an error that came after the answer had begun to be streamed
    function_error  None for success, else X-Amz-Function-Error (`Unhandled`)
    billed_ms       ceil(duration + init); log_tail  the last 4 KiB of its log
    """

    payload: bytes
    function_error: str | None
    status: Literal["success", "error", "timeout", "crash"]
    log_tail: bytes
    duration_ms: float
    billed_ms: int
    init_ms: float | None
    max_memory_mb: int
    is_cold: bool
    error_type: str = ""
    restore_ms: float | None = None
    stream_error: tuple[str, str] | None = None
    is_provisioned: bool = False
    streamed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Allocation:
    """Provisioned concurrency of one qualified ARN: environments on the way or ready, those ready, why no more came.

    busy   those ready that run something now
    """

    allocated: int
    available: int
    failure: str = ""
    busy: int = 0


@dataclass(frozen=True, slots=True)
class LogLine:
    time_ms: int
    message: str


class Throttled(Exception):
    """No environment may be started or reused. `reason` is AWS's own word for it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RestoreFailed(Unavailable):
    """A SnapStart environment couldn't be restored: its hook failed, or ran beyond its time."""

    def __init__(self, *, is_timeout: bool) -> None:
        super().__init__("timeout" if is_timeout else "error")
        self.is_timeout = is_timeout


class FileSystemUnavailable(Unavailable):
    """A function's file system can't be mounted here."""


class LogSink(Protocol):
    def write(self, spec: FunctionSpec, stream: str, lines: Sequence[LogLine]) -> None:
        """Take log lines; never waits. Lines in flight may be lost in a crash, as on AWS."""


class CredentialsSource(Protocol):
    async def credentials_for(self, spec: FunctionSpec) -> Credentials:
        """Temporary credentials of the function's role."""


class FunctionPool(Protocol):
    """Environments of all functions on this node."""

    async def invoke(self, spec: FunctionSpec, invocation: Invocation) -> Outcome:
        """Run it in a warm environment or a new one. Raises Throttled, RestoreFailed."""

    def runtime_refusal(self, runtime: str) -> str:
        """Why functions of this runtime are refused here (--strict-runtimes); "" where they aren't."""

    async def warm(self, spec: FunctionSpec) -> None:
        """Prepare what makes the first start of `spec` fast (its packages' template); best effort."""

    async def snapshot(self, spec: FunctionSpec) -> str:
        """Initialise a SnapStart version; its environments are forks of it. Why it failed: AWS's reason code, or ""."""

    def provision(self, arn: str, spec: FunctionSpec, count: int) -> None:
        """Hold `count` environments for what is invoked as `arn`, which is qualified; 0 ends that."""

    def allocation(self, arn: str) -> Allocation:
        """How far that has come."""

    async def retire(self, function_arn: str, *, keep: str = "") -> None:
        """End a deleted or replaced function's environments when they are idle; not those of the spec `keep`."""

    def status(self) -> dict[str, object]:
        """Environments, templates, memory and isolation, for people."""

    async def close(self) -> None: ...
