"""Environments of all functions on one node: handed out, kept warm, bounded, retired.

Most recently used first. When all places are taken an idle environment of another function gives way; when none is
idle, invocations wait in order. The bound grows slowly while the machine has CPU to spare, so that functions that
only wait (or call each other) don't starve.
"""

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import signal
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from penstock.engines.functions import imports, packages, reports
from penstock.engines.functions.bootstrap import runtime
from penstock.engines.functions.concurrency import Concurrency
from penstock.engines.functions.environment import (
    ERROR,
    EXITED,
    INIT_ERROR,
    OVERSIZE,
    READY,
    RESULT,
    Answer,
    Environment,
)
from penstock.engines.functions.ports import CredentialsSource, FunctionSpec, Invocation, LogSink, Outcome
from penstock.engines.functions.reports import Report, Status
from penstock.engines.sandbox import snapshots
from penstock.engines.sandbox.cgroups import Cgroups
from penstock.engines.sandbox.places import view_of
from penstock.engines.sandbox.snapshots import Template
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
TEMPLATES_MAX = 8
ENVIRONMENT_MB = 96
CLOSE_TURNS_MAX = 50
UID_FIRST = 100_000
UIDS = 50_000
MEMORY_FLOOR_MB = 24
_LIBRARY_DIRS = (
    *("/var/lang/lib", "/lib64", "/usr/lib64", "/var/runtime", "/var/runtime/lib", "/var/task", "/var/task/lib"),
    "/opt/lib",
)
_STREAM_DAY = "%Y/%m/%d"

Isolation = Literal["auto", "sandbox", "process"]


@dataclass(slots=True)
class _Waiter:
    spec: FunctionSpec
    since_s: float
    given: asyncio.Future[Environment | None] = field(compare=False)


class LocalFunctionPool:
    """The FunctionPool of one node.

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
    ) -> None:
        self._work_dir = work_dir
        self._clock, self._wall, self._entropy = clock, wall, entropy
        self._sink, self._credentials, self._endpoint = sink, credentials, endpoint
        self._cgroups = Cgroups(f"penstock-{hashlib.sha256(str(work_dir).encode()).hexdigest()[:12]}")
        self._isolation, self._gaps = self._choose(isolation)
        cores = os.cpu_count() or 1
        self._hard_max = max_environments or max(16, (memory_mb or _half_of_memory_mb()) // ENVIRONMENT_MB)
        self._soft_max = min(self._hard_max, max(8, 4 * cores))
        self._concurrency = Concurrency()
        self._idle: dict[str, list[Environment]] = {}
        self._environments: set[Environment] = set()
        self._starting = 0
        self._waiters: deque[_Waiter] = deque()
        self._templates: dict[str, asyncio.Task[Template]] = {}
        self._retired: dict[str, int] = {}
        self._counts = {"cold": 0, "warm": 0}
        self._next_uid = 0
        self._growing: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self._cpu = _CpuMeter()
        self._closing: set[asyncio.Task[None]] = set()
        shutil.rmtree(work_dir / "environments", ignore_errors=True)
        for folder in ("environments", "view"):
            (work_dir / folder).mkdir(mode=0o755, parents=True, exist_ok=True)

    async def invoke(self, spec: FunctionSpec, invocation: Invocation) -> Outcome:
        """Run it in a warm environment or a new one. Raises Throttled, Unavailable."""
        function = spec.arn.removesuffix(f":{spec.version}") if spec.version != "$LATEST" else spec.arn
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
            await self._template(spec)

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
            "isolation": self._isolation,
            "not_enforced": self._gaps,
            "environments": len(self._environments),
            "idle": sum(map(len, self._idle.values())),
            "waiting": len(self._waiters),
            "environments_max": self._hard_max,
            "templates": {
                task.result().key: task.result().loaded
                for task in self._templates.values()
                if task.done() and not task.cancelled() and task.exception() is None
            },
            "starts": dict(self._counts),
        }

    async def close(self) -> None:
        """End every environment and template."""
        for timer in (self._growing, self._sweeping):
            if timer is not None:
                timer.cancel()
        for environment in list(self._environments):
            self._end(environment)
        for task in self._templates.values():
            with contextlib.suppress(Unavailable, OSError, asyncio.CancelledError):
                await (await task).close()
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)
        for _ in range(CLOSE_TURNS_MAX):  # what was killed has yet to end
            if self._cgroups.close():
                return
            await self._wall.sleep(0.01)

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
        """The first in line who wants this function; unless another has waited so long that it must give way."""
        if not self._waiters or not self._is_current(environment):
            return None
        head = self._waiters[0]
        is_starved = self._wall.monotonic_s() - head.since_s > GROW_AFTER_S
        if head.spec.id != environment.spec.id and is_starved:
            return None
        for waiter in self._waiters:
            if waiter.spec.id == environment.spec.id:
                self._waiters.remove(waiter)
                return waiter
        return None

    def _serve_waiters(self) -> None:
        while self._waiters and self._has_place():
            waiter = self._waiters.popleft()
            if not waiter.given.done():
                waiter.given.set_result(None)
                return  # it makes its environment at its next turn; another place is seen to then

    def _end(self, environment: Environment) -> None:
        self._environments.discard(environment)
        environment.end()
        if environment.group is not None:
            self._cgroups.retire(environment.group)

    def _watch_growth(self) -> None:
        if self._growing is None:
            self._cpu.idle_share()
            self._growing = asyncio.get_running_loop().call_later(GROW_S, self._grow)

    def _grow(self) -> None:
        """One more place, if the first in line has waited and the machine isn't what it waits for."""
        self._growing = None
        if not self._waiters:
            return
        waited_s = self._wall.monotonic_s() - self._waiters[0].since_s
        has_cpu = self._cpu.idle_share() > IDLE_CPU_SHARE
        if len(self._environments) < self._hard_max and ((has_cpu and waited_s > GROW_AFTER_S) or waited_s > STARVED_S):
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
        self._cgroups.sweep()
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
            answer = await self._initialise(environment)
            init_ms = (self._wall.monotonic_s() - began_s) * 1000
            if answer.kind != READY:
                return self._failed_init(environment, invocation, answer, init_ms)
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

    async def _initialise(self, environment: Environment) -> Answer:
        """Start the process and run the function's own initialisation."""
        spec = environment.spec
        if not environment.has_started:
            environment.has_started = True
            environment.log([reports.init_start_line(spec, self._clock.now_ms())])
        template = await self._template(spec)
        request = await self._request(environment, template)
        template.used_s = self._wall.monotonic_s()
        try:
            async with asyncio.timeout(max(INIT_S_MAX, float(spec.timeout_s))):
                return await environment.start(template, request)
        except TimeoutError:
            return Answer(EXITED, wait_status=signal.SIGKILL)

    def _failed_init(self, environment: Environment, invocation: Invocation, answer: Answer, init_ms: float) -> Outcome:
        """An initialisation that failed is the invocation's failure."""
        spec, now_ms = environment.spec, self._clock.now_ms()
        ended = self._judge(environment, invocation, answer)
        lines = [
            reports.init_report_line(spec, now_ms, init_ms=init_ms, status="error", error_type=ended.error_type),
            reports.start_line(spec, now_ms, invocation.request_id),
        ]
        environment.log(lines)
        report = Report(invocation.request_id, init_ms, None, environment.max_memory_mb, ended.status, ended.error_type)
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
        is_out_of_memory = environment.group is not None and environment.group.was_out_of_memory()
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

    # Starting

    async def _request(self, environment: Environment, template: Template) -> dict[str, object]:
        """What the template needs to know to make the environment."""
        spec = environment.spec
        credentials = await self._credentials.credentials_for(spec)
        environment.credentials_expire_ms = credentials.expires_ms
        runtime_dir = packages.runtime_dir(str(self._work_dir))
        opt_dir = packages.merged_layers(spec.layer_dirs, str(self._work_dir))
        variables = {
            **_base_variables(spec, environment.stream),
            **spec.environment,
            "AWS_ACCESS_KEY_ID": credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
            "AWS_SESSION_TOKEN": credentials.session_token,
        }
        variables.setdefault("AWS_ENDPOINT_URL", self._endpoint())
        request: dict[str, object] = {
            "environment": variables,
            "handler": spec.handler,
            "log_format": spec.log_format,
            "cgroup_files": self._grouped(environment, template),
        }
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        if self._isolation != "sandbox":
            opt = [f"{opt_dir}/python/lib/{version}/site-packages", f"{opt_dir}/python"] if opt_dir else []
            variables |= {"TMPDIR": environment.tmp_dir, "LAMBDA_TASK_ROOT": spec.code_dir}
            return request | {
                "mounts": None,
                "sys_path": [spec.code_dir, *opt, runtime_dir],
                "task_root": spec.code_dir,
            }
        view = view_of(
            data_dir=str(self._work_dir.parent),
            code_dir=spec.code_dir,
            opt_dir=opt_dir,
            runtime_dir=runtime_dir,
            layer_dirs=spec.layer_dirs,
            own_hidden=(),
        )
        uid = UID_FIRST + self._next_uid % UIDS
        self._next_uid += 1
        os.chown(environment.tmp_dir, uid, uid)
        mounts = {
            "view": str(self._work_dir / "view"),
            "hidden": view.hidden,
            "binds": view.binds,
            "tmp_dir": environment.tmp_dir,
            "uid": uid,
        }
        return request | {
            "mounts": mounts,
            "sys_path": ["/var/task", f"/opt/python/lib/{version}/site-packages", "/opt/python", "/var/runtime"],
            "task_root": "/var/task",
        }

    def _grouped(self, environment: Environment, template: Template) -> list[str]:
        """The control groups that the process joins. What it shares with its template counts, as it would on AWS."""
        if environment.group is not None:
            self._cgroups.retire(environment.group)
            environment.group = None
        if not self._cgroups.can_limit_memory:
            return []
        memory_mb = max(environment.spec.memory_mb - template.resident_mb, MEMORY_FLOOR_MB)
        name = self._entropy.token_hex(6)
        environment.group = self._cgroups.create(
            name, memory_bytes=memory_mb * MIB, memory_mb=environment.spec.memory_mb
        )
        return environment.group.files if environment.group else []

    async def _template(self, spec: FunctionSpec) -> Template:
        """The warm interpreter that has this function's packages loaded; started once for all who share them."""
        runtime_dir = packages.runtime_dir(str(self._work_dir))
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        layers = [folder for layer in reversed(spec.layer_dirs) for folder in _python_dirs(layer, version)]
        folders = [*layers, runtime_dir]
        predicted = imports.predicted_packages(spec.code_dir, spec.handler, folders)
        key = ", ".join(predicted) + ("; " + ":".join(layers) if predicted and layers else "")
        task = self._templates.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception() or not task.result().is_alive)):
            self._make_room()
            starting = snapshots.start_template(
                key or "interpreter",
                runtime_file=runtime.__file__,
                interpreter=sys.executable,
                sys_path=folders if predicted else [runtime_dir],
                packages=predicted,
            )
            task = self._templates[key] = asyncio.get_running_loop().create_task(starting, name="penstock-template")
        return await asyncio.shield(task)

    def _make_room(self) -> None:
        """Close the template that forked longest ago and has nobody left."""
        if len(self._templates) < TEMPLATES_MAX:
            return
        closable = [
            (task.result().used_s, key)
            for key, task in self._templates.items()
            if task.done() and not task.cancelled() and not task.exception() and not task.result().has_children
        ]
        if closable:
            task = self._templates.pop(min(closable)[1])
            closing = asyncio.get_running_loop().create_task(task.result().close(), name="penstock-template-end")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _choose(self, wanted: Isolation) -> tuple[str, list[str]]:
        gaps = []
        can_sandbox = sys.platform == "linux" and os.geteuid() == 0
        if wanted == "sandbox" and not can_sandbox:
            raise Unavailable("--isolation sandbox needs Linux and root: namespaces can't be made otherwise")
        chosen = "sandbox" if can_sandbox and wanted != "process" else "process"
        if not self._cgroups.can_limit_memory:
            gaps.append("memory limit and CPU share (control groups can't be made)")
        if chosen == "process":
            gaps.append("private /tmp, read-only code, separate users and process trees (needs Linux and root)")
        gaps.append("size of /tmp")
        return chosen, gaps


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


def _base_variables(spec: FunctionSpec, stream: str) -> dict[str, str]:
    """Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html"""
    return {
        "AWS_LAMBDA_FUNCTION_NAME": spec.name,
        "AWS_LAMBDA_FUNCTION_VERSION": spec.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
        "AWS_LAMBDA_LOG_GROUP_NAME": spec.log_group or f"/aws/lambda/{spec.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "AWS_LAMBDA_LOG_FORMAT": spec.log_format,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{spec.runtime}",
        "AWS_REGION": spec.region,
        "AWS_DEFAULT_REGION": spec.region,
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:2000",
        "_AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129",
        "_AWS_XRAY_DAEMON_PORT": "2000",
        "LAMBDA_TASK_ROOT": "/var/task",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "_HANDLER": spec.handler,
        "TZ": ":UTC",
        "LANG": "en_US.UTF-8",
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "LD_LIBRARY_PATH": ":".join(_LIBRARY_DIRS),
        "PYTHONPATH": "/var/runtime",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _day(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).strftime(_STREAM_DAY)


def _iso(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_of(spec: FunctionSpec, function_arn: str) -> bool:
    return spec.arn == function_arn or spec.arn.startswith(f"{function_arn}:")


def _python_dirs(layer: str, version: str) -> list[str]:
    return [
        folder for folder in (f"{layer}/python/lib/{version}/site-packages", f"{layer}/python") if os.path.isdir(folder)
    ]


_ERROR_TYPE = re.compile(rb'"errorType"\s*:\s*"([^"\\]{1,200})"')


def _error_type(body: bytes) -> str:
    found = _ERROR_TYPE.search(body)
    return found[1].decode("utf-8", "replace") if found else ""


def _half_of_memory_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB // 2
