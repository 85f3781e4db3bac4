"""Environments of all functions on one node: handed out, kept warm, bounded, retired.

Most recently used first. When all places are taken an idle environment of another function gives way; when none is
idle, invocations wait in order. The bound grows slowly while the machine has CPU to spare, so that functions that
only wait (or call each other) don't starve.
"""

import asyncio
import contextlib
import os
import re
import shutil
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from penstock.engines.functions import reports
from penstock.engines.functions.concurrency import Concurrency
from penstock.engines.functions.environment import (
    ERROR,
    INIT_ERROR,
    OVERSIZE,
    READY,
    RESULT,
    Answer,
    Environment,
)
from penstock.engines.functions.ports import CredentialsSource, FunctionSpec, Invocation, LogSink, Outcome
from penstock.engines.functions.reports import Report, Status
from penstock.engines.functions.runtime_api import RuntimeFaces
from penstock.engines.functions.runtimes import find_runtime
from penstock.engines.functions.starting import Isolation, Starter
from penstock.kernel.clock import Clock
from penstock.kernel.entropy import Entropy
from penstock.kernel.errors import Unavailable
from penstock.kernel.units import MIB, MINUTE_MS

INIT_S_MAX = 10.0
"""Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html"""
IDLE_S_MAX = 600.0
SWEEP_S = 15.0
GROW_S = 0.1
GROW_AFTER_S = 0.3
STARVED_S = 3.0
IDLE_CPU_SHARE = 0.4
ENVIRONMENT_MB = 96
_STREAM_DAY = "%Y/%m/%d"


@dataclass(slots=True)
class _Waiter:
    spec: FunctionSpec
    since_s: float
    given: asyncio.Future[Environment | None] = field(compare=False)


class LocalFunctionPool:
    """The FunctionPool of one node.

    faces        where custom runtimes reach the Runtime API; None: they can't run
    endpoint     where functions reach the node (AWS_ENDPOINT_URL)
    memory_mb    bounds how many environments may ever exist at once; None: half of the machine's
    Raises Unavailable from the constructor where `sandbox` is insisted on and can't be had.
    """

    def __init__(
        self,
        *,
        work_dir: Path,
        clock: Clock,
        wall: Clock,
        entropy: Entropy,
        sink: LogSink,
        credentials: CredentialsSource,
        endpoint: Callable[[], str],
        isolation: Isolation = "auto",
        memory_mb: int | None = None,
        max_environments: int | None = None,
        faces: RuntimeFaces | None = None,
    ) -> None:
        self._work_dir = work_dir
        self._clock, self._wall, self._entropy = clock, wall, entropy
        self._sink = sink
        self._starter = Starter(
            work_dir=work_dir,
            wall=wall,
            entropy=entropy,
            credentials=credentials,
            endpoint=endpoint,
            isolation=isolation,
            faces=faces,
        )
        cores = os.cpu_count() or 1
        self._hard_max = max_environments or max(16, (memory_mb or _half_of_memory_mb()) // ENVIRONMENT_MB)
        self._soft_max = min(self._hard_max, max(8, 4 * cores))
        self._concurrency = Concurrency()
        self._idle: dict[str, list[Environment]] = {}
        self._environments: set[Environment] = set()
        self._starting = 0
        self._waiters: deque[_Waiter] = deque()
        self._retired: dict[str, int] = {}
        self._ended_s = 0.0
        self._counts = {"cold": 0, "warm": 0}
        self._growing: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self._cpu = _CpuMeter()
        shutil.rmtree(work_dir / "environments", ignore_errors=True)
        (work_dir / "environments").mkdir(mode=0o755, parents=True, exist_ok=True)

    async def invoke(self, spec: FunctionSpec, invocation: Invocation) -> Outcome:
        """Run it in a warm environment or a new one. Raises Throttled, Unavailable."""
        function = spec.arn.removesuffix(f":{spec.version}")
        self._concurrency.on_start(spec.account_id, function, spec.reserved_concurrency)
        try:
            environment = await self._acquire(spec)
            try:
                return await self._run(environment, spec, invocation)
            finally:
                self._release(environment)
        finally:
            self._concurrency.on_end(spec.account_id, function, spec.reserved_concurrency)

    async def warm(self, spec: FunctionSpec) -> None:
        """Have the packages' template ready; best effort."""
        with contextlib.suppress(Unavailable, OSError):
            await self._starter.template(spec)

    async def retire(self, function_arn: str) -> None:
        """End a deleted or replaced function's environments: idle ones now, busy ones when they are done."""
        self._retired[function_arn] = self._retired.get(function_arn, 0) + 1
        for environments in list(self._idle.values()):
            for environment in [item for item in environments if _is_of(item.spec, function_arn)]:
                environments.remove(environment)
                self._end(environment)

    def status(self) -> dict[str, object]:
        """Environments, templates and isolation, for people."""
        return {
            "isolation": self._starter.isolation,
            "not_enforced": self._starter.gaps,
            "environments": len(self._environments),
            "idle": sum(map(len, self._idle.values())),
            "waiting": len(self._waiters),
            "environments_max": self._hard_max,
            "templates": self._starter.loaded(),
            "starts": dict(self._counts),
        }

    async def close(self) -> None:
        """End every environment and template."""
        for timer in (self._growing, self._sweeping):
            if timer is not None:
                timer.cancel()
        for environment in list(self._environments):
            self._end(environment)
        await self._starter.close()

    # Places

    async def _acquire(self, spec: FunctionSpec) -> Environment:
        ready = self._take_idle(spec)
        if ready is not None:
            return ready
        if self._has_place():
            return self._new(spec)
        waiter = _Waiter(spec, self._wall.monotonic_s(), asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._watch_growth()
        try:
            return await waiter.given or self._new(spec)
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif waiter.given.done() and not waiter.given.cancelled() and (given := waiter.given.result()):
                self._release(given)
            raise

    def _take_idle(self, spec: FunctionSpec) -> Environment | None:
        idle = self._idle.get(spec.id)
        while idle:
            environment = idle.pop()
            if environment.is_initialised and self._is_current(environment):
                return environment
            self._end(environment)
        return None

    def _is_current(self, environment: Environment) -> bool:
        margin_ms = 5 * MINUTE_MS + environment.spec.timeout_s * 1000
        return environment.credentials_expire_ms > self._clock.now_ms() + margin_ms

    def _has_place(self) -> bool:
        """Whether one more may be made; an idle environment of another function gives way."""
        if len(self._environments) < self._soft_max:
            return True
        idle = [environment for environments in self._idle.values() for environment in environments]
        if not idle:
            return False
        oldest = min(idle, key=lambda environment: environment.idle_since_s)
        self._idle[oldest.spec.id].remove(oldest)
        self._end(oldest)
        return True

    def _new(self, spec: FunctionSpec) -> Environment:
        now_ms = self._clock.now_ms()
        name = self._entropy.token_hex(16)
        stream = f"{_day(now_ms)}/[{spec.version}]{name}"
        tmp_dir = str(self._work_dir / "environments" / name)
        environment = Environment(spec, stream=stream, tmp_dir=tmp_dir, clock=self._clock, sink=self._sink)
        environment.generation = self._generation(spec)
        self._environments.add(environment)
        self._watch_age()
        return environment

    def _generation(self, spec: FunctionSpec) -> int:
        return sum(count for known, count in self._retired.items() if _is_of(spec, known))

    def _release(self, environment: Environment) -> None:
        """Back from an invocation: to whoever waits, or to rest."""
        self._ended_s = self._wall.monotonic_s()
        if not environment.is_initialised or environment.generation != self._generation(environment.spec):
            self._end(environment)
            self._serve_waiters()
            return
        waiter = self._waiter_for(environment)
        if waiter is not None:
            waiter.given.set_result(environment)
            return
        if self._waiters:
            self._end(environment)
            self._serve_waiters()
            return
        environment.rest(self._wall.monotonic_s())
        self._idle.setdefault(environment.spec.id, []).append(environment)

    def _waiter_for(self, environment: Environment) -> _Waiter | None:
        """Who gets an environment that has become free; None where it should give way to another function's.

        It stays with its function as long as that has waiters, unless the first in line has none at all and has
        waited long, or twice as many wait per environment there as here: else two busy functions would take each
        other's places all the time, and start cold each time.
        """
        if not self._waiters or not self._is_current(environment):
            return None
        head, own_id = self._waiters[0], environment.spec.id
        if head.spec.id != own_id and self._should_give_way(own_id, head):
            return None
        waiter = next((waiter for waiter in self._waiters if waiter.spec.id == own_id), None)
        if waiter is not None:
            self._waiters.remove(waiter)
        return waiter

    def _should_give_way(self, own_id: str, head: _Waiter) -> bool:
        other_id = head.spec.id
        wanted = Counter(waiter.spec.id for waiter in self._waiters)
        held = Counter(environment.spec.id for environment in self._environments)
        if not held[other_id]:
            return self._wall.monotonic_s() - head.since_s > GROW_AFTER_S
        return held[own_id] > 1 and wanted[other_id] * held[own_id] > 2 * wanted[own_id] * held[other_id]

    def _serve_waiters(self) -> None:
        while self._waiters and self._has_place():
            waiter = self._waiters.popleft()
            if not waiter.given.done():
                waiter.given.set_result(None)
                return  # it makes its environment at its next turn; another place is seen to then

    def _end(self, environment: Environment) -> None:
        self._environments.discard(environment)
        environment.end()
        self._starter.retire(environment)

    def _watch_growth(self) -> None:
        if self._growing is None:
            self._cpu.idle_share()
            self._growing = asyncio.get_running_loop().call_later(GROW_S, self._grow)

    def _grow(self) -> None:
        """One more place, if the first in line has waited and the machine isn't what it waits for.

        Where nothing has ended for long, those who hold the places may be waiting for those who wait for one.
        """
        self._growing = None
        if not self._waiters:
            return
        now_s = self._wall.monotonic_s()
        has_waited = now_s - self._waiters[0].since_s > GROW_AFTER_S
        has_cpu = self._cpu.idle_share() > IDLE_CPU_SHARE
        is_stuck = now_s - max(self._ended_s, self._waiters[0].since_s) > STARVED_S
        if len(self._environments) < self._hard_max and ((has_cpu and has_waited) or is_stuck):
            waiter = self._waiters.popleft()
            if not waiter.given.done():
                waiter.given.set_result(None)
        self._watch_growth()

    def _watch_age(self) -> None:
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """End what has been idle for long, and what is above the soft bound."""
        self._sweeping = None
        now_s = self._wall.monotonic_s()
        for environments in self._idle.values():
            for environment in list(environments):
                is_extra = len(self._environments) > self._soft_max
                if now_s - environment.idle_since_s > IDLE_S_MAX or is_extra:
                    environments.remove(environment)
                    self._end(environment)
        self._idle = {key: environments for key, environments in self._idle.items() if environments}
        self._starter.sweep()
        if self._environments:
            self._watch_age()

    # Running

    async def _run(self, environment: Environment, spec: FunctionSpec, invocation: Invocation) -> Outcome:
        environment.tail = b""
        is_cold = not environment.is_initialised
        self._counts["cold" if is_cold else "warm"] += 1
        init_ms: float | None = None
        if is_cold:
            began_s = self._wall.monotonic_s()
            ready = await self._initialise(environment, time_s=INIT_S_MAX)
            init_ms = (self._wall.monotonic_s() - began_s) * 1000
            if ready is None or ready.kind != READY:
                return await self._initialise_again(environment, invocation, ready, init_ms)
        environment.log([reports.start_line(spec, self._clock.now_ms(), invocation.request_id)])
        began_s = self._wall.monotonic_s()
        answer_or_none = await self._answer(environment, spec, invocation)
        duration_ms = (self._wall.monotonic_s() - began_s) * 1000
        ended = self._judge(environment, invocation, answer_or_none)
        if answer_or_none is None:
            duration_ms = max(duration_ms, spec.timeout_s * 1000.0)
        report = Report(
            invocation.request_id, duration_ms, init_ms, environment.max_memory_mb, ended.status, ended.error_type
        )
        return self._concluded(environment, report, ended)

    async def _answer(self, environment: Environment, spec: FunctionSpec, invocation: Invocation) -> Answer | None:
        """None when its time ran out."""
        deadline_ms = self._wall.now_ms() + spec.timeout_s * 1000
        try:
            async with asyncio.timeout(spec.timeout_s):
                return await environment.invoke(invocation, deadline_ms=deadline_ms)
        except TimeoutError:
            return None

    async def _initialise(self, environment: Environment, *, time_s: float) -> Answer | None:
        """Start the process and run the function's own initialisation; None when the time for that ran out.

        Its packages' template comes first: that is the node's affair, not the function's.
        """
        spec = environment.spec
        if not environment.has_started:
            environment.has_started = True
            environment.log(_first_lines(spec, self._clock.now_ms()))
        await self._starter.template(spec)
        try:
            async with asyncio.timeout(time_s):
                return await self._starter.start(environment)
        except TimeoutError:
            return None

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
            first = self._judge(environment, invocation, failed)
            line = reports.init_report_line(spec, now_ms, init_ms=init_ms, status="error", error_type=first.error_type)
        environment.log([line, reports.start_line(spec, now_ms, invocation.request_id)])
        began_s = self._wall.monotonic_s()
        answer = await self._initialise(environment, time_s=spec.timeout_s)
        if answer is not None and answer.kind == READY:
            answer = await self._answer(environment, spec, invocation)
        duration_ms = (self._wall.monotonic_s() - began_s) * 1000
        ended = self._judge(environment, invocation, answer)
        if answer is None:
            duration_ms = max(duration_ms, spec.timeout_s * 1000.0)
        report = Report(
            invocation.request_id, duration_ms, None, environment.max_memory_mb, ended.status, ended.error_type
        )
        return self._concluded(environment, report, ended)

    def _judge(self, environment: Environment, invocation: Invocation, answer: Answer | None) -> "_Ended":
        spec, request_id = environment.spec, invocation.request_id
        if answer is None:
            text = reports.timeout_text(spec.timeout_s)
            environment.log([f"{_iso(self._clock.now_ms())} {request_id} {text}\n\n"])
            environment.reset()
            return _Ended("timeout", reports.platform_error(request_id, "Sandbox.Timedout", text), "Sandbox.Timedout")
        if answer.kind == RESULT:
            return _Ended("success", answer.body, "")
        if answer.kind == OVERSIZE:
            return _Ended("error", reports.too_large_error(), "Function.ResponseSizeTooLarge")
        if answer.kind in (ERROR, INIT_ERROR):
            if answer.kind == INIT_ERROR:
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

    def _concluded(self, environment: Environment, report: Report, ended: "_Ended") -> Outcome:
        environment.log(reports.end_lines(environment.spec, self._clock.now_ms(), report))
        return Outcome(
            payload=ended.payload,
            function_error=None if ended.status == "success" else "Unhandled",
            status=ended.status,
            log_tail=environment.tail,
            duration_ms=report.duration_ms,
            billed_ms=report.billed_ms,
            init_ms=report.init_ms,
            max_memory_mb=report.max_memory_mb,
            is_cold=report.init_ms is not None,
            error_type=ended.error_type,
        )


@dataclass(frozen=True, slots=True)
class _Ended:
    status: Status
    payload: bytes
    error_type: str


class _CpuMeter:
    """How much of the machine's CPU was idle since it was last asked."""

    def __init__(self) -> None:
        self._last = (0, 0)

    def idle_share(self) -> float:
        try:
            with open("/proc/stat") as stat:
                ticks = [int(part) for part in stat.readline().split()[1:9]]
        except (OSError, ValueError):
            return 1.0
        idle, total = ticks[3] + ticks[4], sum(ticks)
        before, self._last = self._last, (idle, total)
        return (idle - before[0]) / max(total - before[1], 1)


def _first_lines(spec: FunctionSpec, now_ms: int) -> list[str]:
    found = find_runtime(spec.runtime)
    warning = "" if isinstance(found, str) else found.warning
    return [reports.init_start_line(spec, now_ms), *([f"[WARNING] {warning}\n"] if warning else [])]


def _day(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).strftime(_STREAM_DAY)


def _iso(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_of(spec: FunctionSpec, function_arn: str) -> bool:
    return spec.arn == function_arn or spec.arn.startswith(f"{function_arn}:")


_ERROR_TYPE = re.compile(rb'"errorType"\s*:\s*"([^"\\]{1,200})"')


def _error_type(body: bytes) -> str:
    found = _ERROR_TYPE.search(body)
    return found[1].decode("utf-8", "replace") if found else ""


def _half_of_memory_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB // 2
