"""One invocation in one environment: initialise or restore it first, invoke, judge how it went, report.

Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal

from penstock.engines.functions import reports
from penstock.engines.functions.environment import (
    ERROR,
    EXTENSION_FAILED,
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
from penstock.engines.functions.snapstart import Held
from penstock.engines.functions.starting import Starter
from penstock.kernel.clock import Clock

INIT_S_MAX = 10.0
"""Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html"""
ON_DEMAND = "on-demand"
LONG_INIT_S_MAX = 130.0
"""Of what is initialised ahead of invocations, where the function's timeout isn't longer. Source: as above."""
_ERROR_TYPE = re.compile(rb'"errorType"\s*:\s*"([^"\\]{1,200})"')


@dataclass(frozen=True, slots=True)
class _Ended:
    status: Status
    payload: bytes
    error_type: str


class Runner:
    """Sees environments through their phases. `clock` dates log lines, `wall` measures.

    snapshot_of    a SnapStart version's snapshot
    libraries_of   a process that has a function's libraries loaded, if there is one
    learn          is told what an initialisation imported, and how long it took in ms
    """

    def __init__(
        self,
        starter: Starter,
        *,
        snapshot_of: Callable[[FunctionSpec], Awaitable[Held]],
        libraries_of: Callable[[FunctionSpec], Held | None],
        learn: Callable[[FunctionSpec, bytes, float], None],
        clock: Clock,
        wall: Clock,
    ) -> None:
        self._starter = starter
        self._snapshot_of, self._libraries_of, self._learn = snapshot_of, libraries_of, learn
        self._clock, self._wall = clock, wall

    async def run(
        self, environment: Environment, spec: FunctionSpec, invocation: Invocation, *, is_provisioned: bool = False
    ) -> Outcome:
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
            if ready is not None and ready.kind == READY:
                self._learn(spec, ready.body, init_ms)
            else:
                return await self._initialise_again(environment, invocation, ready, init_ms)
            environment.emit(
                reports.init_runtime_done(kind=ON_DEMAND, status="success"),
                reports.init_report(kind=ON_DEMAND, init_ms=init_ms, status="success", is_logged=False),
            )
        environment.emit(reports.start(spec, invocation.request_id, invocation.trace_id))
        began_s = self._wall.monotonic_s()
        answer = await self._answer(environment, spec, invocation)
        duration_ms = (self._wall.monotonic_s() - began_s) * 1000
        outcome = await self._concluded(
            environment, invocation, answer, duration_ms, init_ms=init_ms, restored=restored
        )
        return replace(outcome, is_provisioned=True) if is_provisioned else outcome

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
            await self._reset(environment, "timeout")
            status, reason = "timeout", "FunctionError.InitTimeout"
        elif answer.kind != READY:
            ended = await self._judge(environment, "", answer)
            status, reason, error_type = "error", _reason_code(ended.error_type), ended.error_type
        environment.emit(
            reports.init_runtime_done(kind=kind, status=status, error_type=error_type),
            reports.init_report(kind=kind, init_ms=init_ms, status=status, error_type=error_type),
        )
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
            environment.emit(reports.init_start(spec, kind=kind))
            found = self._starter.runtime_of(spec)
            if not isinstance(found, str) and found.warning:
                environment.log([f"[WARNING] {found.warning}\n"])
        held = self._libraries_of(spec) if kind != "snap-start" else None
        if held is None:
            await self._starter.template(spec)
        try:
            async with asyncio.timeout(time_s):
                return await self._starter.start(environment, kind=kind, held=held)
        except TimeoutError:
            return None

    async def _restore(self, environment: Environment) -> tuple[float, float]:
        """A fork of the function's snapshot: how long that took, and its hooks in that, in ms.

        Where the node has lost the snapshot (it was started anew, or made room), it is made again first.
        """
        spec = environment.spec
        snapshot = await self._snapshot_of(spec)
        is_held = environment.is_held
        began_s = self._wall.monotonic_s()
        environment.emit(reports.restore_start(spec))
        answer: Answer | None
        try:
            async with asyncio.timeout(INIT_S_MAX):
                restoring = environment.initialised() if is_held else self._starter.restore(environment, snapshot)
                answer = await restoring
        except TimeoutError:
            answer = None
        restore_ms = (self._wall.monotonic_s() - began_s) * 1000
        is_restored = answer is not None and answer.kind == READY
        status = "success" if is_restored else "timeout" if answer is None else "error"
        environment.emit(reports.restore_report(restore_ms=restore_ms, status=status))
        if answer is None or not is_restored:
            await self._reset(environment, "failure")
            raise RestoreFailed(is_timeout=answer is None)
        return restore_ms, float(answer.body or b"0")

    async def _initialise_again(
        self, environment: Environment, invocation: Invocation, failed: Answer | None, init_ms: float
    ) -> Outcome:
        """An initialisation that failed is run once more, within the invocation and its timeout.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib
        """
        spec = environment.spec
        status, error_type = "timeout", ""
        if failed is None:
            await self._reset(environment, "timeout")
        else:
            status, error_type = "error", (await self._judge(environment, invocation.request_id, failed)).error_type
        environment.emit(
            reports.init_runtime_done(kind=ON_DEMAND, status=status, error_type=error_type),
            reports.init_report(kind=ON_DEMAND, init_ms=init_ms, status=status, error_type=error_type),
            reports.start(spec, invocation.request_id, invocation.trace_id),
        )
        began_s = self._wall.monotonic_s()
        answer = await self._initialise(environment, time_s=spec.timeout_s)
        if answer is not None and answer.kind == READY:
            answer = await self._answer(environment, spec, invocation)
        duration_ms = (self._wall.monotonic_s() - began_s) * 1000
        return await self._concluded(environment, invocation, answer, duration_ms)

    async def _reset(self, environment: Environment, reason: Literal["timeout", "failure"]) -> None:
        await environment.shut_down(reason)
        environment.reset()

    async def _judge(self, environment: Environment, request_id: str, answer: Answer | None) -> _Ended:
        spec = environment.spec
        if answer is None:
            text = reports.timeout_text(spec.timeout_s)
            environment.log([f"{reports.iso(self._clock.now_ms())} {request_id} {text}\n\n"])
            await self._reset(environment, "timeout")
            return _Ended("timeout", reports.platform_error(request_id, "Sandbox.Timedout", text), "Sandbox.Timedout")
        if answer.kind == RESULT:
            return _Ended("success", answer.body, "")
        if answer.kind == OVERSIZE:
            return _Ended("error", reports.too_large_error(), "Function.ResponseSizeTooLarge")
        if answer.kind in (ERROR, INIT_ERROR, RESTORE_ERROR):
            if answer.kind != ERROR:
                await self._reset(environment, "failure")
            return _Ended("error", answer.body, _error_type(answer.body))
        if answer.kind == EXTENSION_FAILED:
            await self._reset(environment, "failure")
            told = json.loads(answer.body)
            body = reports.platform_error(request_id, told["errorType"], told["errorMessage"])
            return _Ended("crash", body, told["errorType"])
        killed = environment.group is not None and environment.group.was_out_of_memory()
        is_out_of_memory = environment.is_out_of_memory or killed
        text = reports.exit_text(answer.wait_status)
        await self._reset(environment, "failure")
        error_type = "Runtime.OutOfMemory" if is_out_of_memory else "Runtime.ExitError"
        if is_out_of_memory:
            environment.max_memory_mb = spec.memory_mb
        return _Ended("crash", reports.platform_error(request_id, "Runtime.ExitError", text), error_type)

    async def _concluded(
        self,
        environment: Environment,
        invocation: Invocation,
        answer: Answer | None,
        duration_ms: float,
        *,
        init_ms: float | None = None,
        restored: tuple[float, float] | None = None,
    ) -> Outcome:
        ended = await self._judge(environment, invocation.request_id, answer)
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
        environment.emit(
            reports.runtime_done(report, produced_bytes=len(ended.payload)),
            reports.report_event(environment.spec, report),
        )
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
            stream_error=None if answer is None else answer.stream_error,
            streamed_bytes=0 if answer is None else answer.streamed_bytes,
        )


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
