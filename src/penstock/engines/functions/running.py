"""One invocation in one environment: initialise or restore it first, invoke, judge how it went, report.

Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from penstock.engines.functions import reports
from penstock.engines.functions.environment import (
    ERROR,
    INIT_ERROR,
    OVERSIZE,
    READY,
    RESTORE_ERROR,
    RESULT,
    Answer,
    Environment,
)
from penstock.engines.functions.ports import FunctionSpec, Invocation, Outcome, RestoreFailed
from penstock.engines.functions.reports import Report, Status
from penstock.engines.functions.runtimes import find_runtime
from penstock.engines.functions.snapstart import Held
from penstock.engines.functions.starting import Starter
from penstock.kernel.clock import Clock

INIT_S_MAX = 10.0
"""Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html"""
LONG_INIT_S_MAX = 130.0
"""Of what is initialised ahead of invocations, where the function's timeout isn't longer. Source: as above."""
_ERROR_TYPE = re.compile(rb'"errorType"\s*:\s*"([^"\\]{1,200})"')


@dataclass(frozen=True, slots=True)
class _Ended:
    status: Status
    payload: bytes
    error_type: str


class Runner:
    """Sees environments through their phases. `clock` dates log lines, `wall` measures."""

    def __init__(
        self, starter: Starter, *, snapshot_of: Callable[[FunctionSpec], Awaitable[Held]], clock: Clock, wall: Clock
    ) -> None:
        self._starter = starter
        self._snapshot_of = snapshot_of
        self._clock, self._wall = clock, wall

    async def run(self, environment: Environment, spec: FunctionSpec, invocation: Invocation) -> Outcome:
        """Raises RestoreFailed, Unavailable."""
        environment.tail = b""
        init_ms: float | None = None
        restored: tuple[float, float] | None = None
        if not environment.is_initialised and self._starter.is_restorable(spec):
            restored = await self._restore(environment)
        elif not environment.is_initialised:
            began_s = self._wall.monotonic_s()
            ready = await self._initialise(environment, time_s=INIT_S_MAX)
            init_ms = (self._wall.monotonic_s() - began_s) * 1000
            if ready is None or ready.kind != READY:
                return await self._initialise_again(environment, invocation, ready, init_ms)
        environment.log([reports.start_line(spec, self._clock.now_ms(), invocation.request_id)])
        began_s = self._wall.monotonic_s()
        answer = await self._answer(environment, spec, invocation)
        duration_ms = (self._wall.monotonic_s() - began_s) * 1000
        return self._concluded(environment, invocation, answer, duration_ms, init_ms=init_ms, restored=restored)

    async def initialise_ahead(self, environment: Environment, *, kind: str) -> str:
        """Initialise without an invocation; AWS's reason code where that failed, "" where it didn't.

        kind   the initialization type: provisioned-concurrency or snap-start
        """
        spec = environment.spec
        began_s = self._wall.monotonic_s()
        answer = await self._initialise(environment, time_s=max(LONG_INIT_S_MAX, spec.timeout_s), kind=kind)
        init_ms = (self._wall.monotonic_s() - began_s) * 1000
        status, reason, error_type = "success", "", ""
        if answer is None:
            environment.reset()
            status, reason = "timeout", "FunctionError.InitTimeout"
        elif answer.kind != READY:
            ended = self._judge(environment, "", answer)
            status, reason, error_type = "error", _reason_code(ended.error_type), ended.error_type
        now_ms = self._clock.now_ms()
        line = reports.init_report_line(spec, now_ms, init_ms=init_ms, status=status, error_type=error_type, kind=kind)
        environment.log([line])
        return reason

    async def _answer(self, environment: Environment, spec: FunctionSpec, invocation: Invocation) -> Answer | None:
        """None when its time ran out."""
        deadline_ms = self._wall.now_ms() + spec.timeout_s * 1000
        try:
            async with asyncio.timeout(spec.timeout_s):
                return await environment.invoke(invocation, deadline_ms=deadline_ms)
        except TimeoutError:
            return None

    async def _initialise(self, environment: Environment, *, time_s: float, kind: str = "on-demand") -> Answer | None:
        """Start the process and run the function's own initialisation; None when the time for that ran out.

        Its packages' template comes first: that is the node's affair, not the function's.
        """
        spec = environment.spec
        if not environment.has_started:
            environment.has_started = True
            environment.log(_first_lines(spec, self._clock.now_ms(), kind))
        await self._starter.template(spec)
        try:
            async with asyncio.timeout(time_s):
                return await self._starter.start(environment, kind=kind)
        except TimeoutError:
            return None

    async def _restore(self, environment: Environment) -> tuple[float, float]:
        """A fork of the function's snapshot: how long that took, and its hooks in that, in ms.

        Where the node has lost the snapshot (it was started anew, or made room), it is made again first.
        """
        spec = environment.spec
        snapshot = await self._snapshot_of(spec)
        began_s = self._wall.monotonic_s()
        environment.log([reports.restore_start_line(spec, self._clock.now_ms())])
        answer: Answer | None
        try:
            async with asyncio.timeout(INIT_S_MAX):
                answer = await self._starter.restore(environment, snapshot)
        except TimeoutError:
            answer = None
        restore_ms = (self._wall.monotonic_s() - began_s) * 1000
        is_restored = answer is not None and answer.kind == READY
        status = "success" if is_restored else "timeout" if answer is None else "error"
        now_ms = self._clock.now_ms()
        environment.log([reports.restore_report_line(spec, now_ms, restore_ms=restore_ms, status=status)])
        if answer is None or not is_restored:
            environment.reset()
            raise RestoreFailed(is_timeout=answer is None)
        return restore_ms, float(answer.body or b"0")

    async def _initialise_again(
        self, environment: Environment, invocation: Invocation, failed: Answer | None, init_ms: float
    ) -> Outcome:
        """An initialisation that failed is run once more, within the invocation and its timeout.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib
        """
        spec, now_ms = environment.spec, self._clock.now_ms()
        if failed is None:
            environment.reset()
            line = reports.init_report_line(spec, now_ms, init_ms=init_ms, status="timeout")
        else:
            first = self._judge(environment, invocation.request_id, failed)
            line = reports.init_report_line(spec, now_ms, init_ms=init_ms, status="error", error_type=first.error_type)
        environment.log([line, reports.start_line(spec, now_ms, invocation.request_id)])
        began_s = self._wall.monotonic_s()
        answer = await self._initialise(environment, time_s=spec.timeout_s)
        if answer is not None and answer.kind == READY:
            answer = await self._answer(environment, spec, invocation)
        duration_ms = (self._wall.monotonic_s() - began_s) * 1000
        return self._concluded(environment, invocation, answer, duration_ms)

    def _judge(self, environment: Environment, request_id: str, answer: Answer | None) -> _Ended:
        spec = environment.spec
        if answer is None:
            text = reports.timeout_text(spec.timeout_s)
            environment.log([f"{_iso(self._clock.now_ms())} {request_id} {text}\n\n"])
            environment.reset()
            return _Ended("timeout", reports.platform_error(request_id, "Sandbox.Timedout", text), "Sandbox.Timedout")
        if answer.kind == RESULT:
            return _Ended("success", answer.body, "")
        if answer.kind == OVERSIZE:
            return _Ended("error", reports.too_large_error(), "Function.ResponseSizeTooLarge")
        if answer.kind in (ERROR, INIT_ERROR, RESTORE_ERROR):
            if answer.kind != ERROR:
                environment.reset()
            return _Ended("error", answer.body, _error_type(answer.body))
        killed = environment.group is not None and environment.group.was_out_of_memory()
        is_out_of_memory = environment.is_out_of_memory or killed
        text = reports.exit_text(answer.wait_status)
        environment.reset()
        error_type = "Runtime.OutOfMemory" if is_out_of_memory else "Runtime.ExitError"
        if is_out_of_memory:
            environment.max_memory_mb = spec.memory_mb
        return _Ended("crash", reports.platform_error(request_id, "Runtime.ExitError", text), error_type)

    def _concluded(
        self,
        environment: Environment,
        invocation: Invocation,
        answer: Answer | None,
        duration_ms: float,
        *,
        init_ms: float | None = None,
        restored: tuple[float, float] | None = None,
    ) -> Outcome:
        ended = self._judge(environment, invocation.request_id, answer)
        restore_ms, hook_ms = restored or (None, 0.0)
        report = Report(
            invocation.request_id,
            duration_ms if answer is not None else max(duration_ms, environment.spec.timeout_s * 1000.0),
            init_ms,
            environment.max_memory_mb,
            ended.status,
            ended.error_type,
            restore_ms,
            hook_ms,
        )
        environment.log(reports.end_lines(environment.spec, self._clock.now_ms(), report))
        return Outcome(
            payload=ended.payload,
            function_error=None if ended.status == "success" else "Unhandled",
            status=ended.status,
            log_tail=environment.tail,
            duration_ms=report.duration_ms,
            billed_ms=report.billed_ms,
            init_ms=init_ms,
            max_memory_mb=report.max_memory_mb,
            is_cold=init_ms is not None or restored is not None,
            error_type=ended.error_type,
            restore_ms=restore_ms,
        )


def _first_lines(spec: FunctionSpec, now_ms: int, kind: str) -> list[str]:
    found = find_runtime(spec.runtime)
    warning = "" if isinstance(found, str) else found.warning
    return [reports.init_start_line(spec, now_ms, kind=kind), *([f"[WARNING] {warning}\n"] if warning else [])]


def _reason_code(error_type: str) -> str:
    """Why a version failed, in the words of AWS's StateReasonCode."""
    if error_type == "Runtime.InvalidEntrypoint":
        return "FunctionError.InvalidEntryPoint"
    if error_type == "Runtime.OutOfMemory":
        return "FunctionError.InitResourceExhausted"
    if error_type.startswith("Extension."):
        return "FunctionError.ExtensionInitError"
    return "FunctionError.RuntimeInitError"


def _error_type(body: bytes) -> str:
    found = _ERROR_TYPE.search(body)
    return found[1].decode("utf-8", "replace") if found else ""


def _iso(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
