"""Environments of all functions on one node: handed out, kept warm, bounded, retired.

Most recently used first. When all places are taken an idle environment of another function gives way; when none is
idle, invocations wait in order. The bound grows slowly while the machine has CPU to spare, so that functions that
only wait (or call each other) don't starve.
"""

import asyncio
import contextlib
import os
import shutil
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from penstock.engines.functions.concurrency import Concurrency
from penstock.engines.functions.environment import Environment
from penstock.engines.functions.file_systems import FileSystems
from penstock.engines.functions.libraries import Learned
from penstock.engines.functions.ports import (
    Allocation,
    CredentialsSource,
    FunctionSpec,
    Invocation,
    LogLine,
    LogSink,
    Outcome,
    Throttled,
)
from penstock.engines.functions.provisioned import InitialisationFailed, Provisions
from penstock.engines.functions.running import Runner
from penstock.engines.functions.runtime_api import RuntimeFaces
from penstock.engines.functions.runtimes import Runtimes
from penstock.engines.functions.snapstart import FunctionSnapshots, Held, SnapshotFailed
from penstock.engines.functions.starting import Isolation, Starter
from penstock.kernel.clock import Clock
from penstock.kernel.entropy import Entropy
from penstock.kernel.errors import Unavailable
from penstock.kernel.units import MIB, MINUTE_MS

IDLE_S_MAX = 600.0
SWEEP_S = 15.0
GROW_S = 0.1
GROW_AFTER_S = 0.3
STARVED_S = 3.0
IDLE_CPU_SHARE = 0.4
ENVIRONMENT_MB = 96
LIBRARIES_MAX = 8
_UNQUALIFIED_COLONS = 6
_STREAM_DAY = "%Y/%m/%d"


class Silence:
    """Takes the log of what isn't an environment of the function's: nobody invoked it."""

    def write(self, spec: FunctionSpec, stream: str, lines: Sequence[LogLine]) -> None: ...


@dataclass(slots=True)
class _Waiter:
    spec: FunctionSpec
    since_s: float
    given: asyncio.Future[Environment | None] = field(compare=False)


class LocalFunctionPool:
    """The FunctionPool of one node.

    strict_runtimes   a runtime that isn't installed is an error
    file_systems   folders by access point; others get one beside the work folder
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
        strict_runtimes: bool = False,
        file_systems: Mapping[str, Path] | None = None,
    ) -> None:
        self._work_dir = work_dir
        self._clock, self._wall, self._entropy = clock, wall, entropy
        self._sink = sink
        self._runtimes = Runtimes(is_strict=strict_runtimes)
        self._starter = Starter(
            work_dir=work_dir,
            wall=wall,
            entropy=entropy,
            credentials=credentials,
            endpoint=endpoint,
            isolation=isolation,
            faces=faces,
            runtimes=self._runtimes,
            file_systems=FileSystems(work_dir.parent / "file-systems", file_systems or {}),
        )
        self._snapshots = FunctionSnapshots(self._make_snapshot, self._make_spare, self._end)
        self._learned = Learned(work_dir)
        self._libraries = FunctionSnapshots(self._hold_libraries, None, self._end, count_max=LIBRARIES_MAX)
        self._runner = Runner(
            self._starter,
            snapshot_of=self._snapshots.get,
            libraries_of=self._libraries.find,
            learn=self._learn,
            clock=clock,
            wall=wall,
        )
        cores = os.cpu_count() or 1
        self._hard_max = max_environments or max(16, (memory_mb or _half_of_memory_mb()) // ENVIRONMENT_MB)
        self._soft_max = min(self._hard_max, max(8, 4 * cores))
        self._concurrency = Concurrency()
        self._provisions = Provisions(
            self._provisioned, self._end, lambda unmade: len(self._environments) + unmade < self._hard_max
        )
        self._idle: dict[str, list[Environment]] = {}
        self._environments: set[Environment] = set()
        self._waiters: deque[_Waiter] = deque()
        self._ended_s = 0.0
        self._counts = {"cold": 0, "warm": 0}
        self._growing: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self._cpu = _CpuMeter()
        self._endings: set[asyncio.Task[None]] = set()
        shutil.rmtree(work_dir / "environments", ignore_errors=True)
        (work_dir / "environments").mkdir(mode=0o755, parents=True, exist_ok=True)

    async def invoke(self, spec: FunctionSpec, invocation: Invocation) -> Outcome:
        """Run it in a warm environment or a new one. Raises Throttled, RestoreFailed, Unavailable."""
        function = spec.arn.removesuffix(f":{spec.version}")
        provisioned = self._provisions.take(invocation.invoked_arn, spec, self._is_current)
        try:
            ticket = self._concurrency.on_start(
                spec.account_id,
                function,
                spec.reserved_concurrency,
                now_s=self._clock.now_ms() / 1000,
                is_paced=invocation.is_paced,
                is_provisioned=provisioned is not None,
            )
        except Throttled:
            if provisioned is not None:
                self._provisions.give_back(provisioned)
            raise
        try:
            environment = provisioned or await self._acquire(spec)
            try:
                self._counts["warm" if environment.is_initialised else "cold"] += 1
                return await self._runner.run(environment, spec, invocation, is_provisioned=provisioned is not None)
            finally:
                self._release(environment)
        finally:
            self._concurrency.on_end(ticket)

    def provision(self, arn: str, spec: FunctionSpec, count: int) -> None:
        """Hold `count` environments for what is invoked as `arn`; 0 ends that."""
        self._concurrency.on_provision(spec.account_id, arn, count)
        if count:
            self._provisions.want(arn, spec, count)
        else:
            self._provisions.drop(arn)

    def allocation(self, arn: str) -> Allocation:
        return self._provisions.allocation(arn)

    async def _provisioned(self, spec: FunctionSpec) -> Environment:
        environment = self._new(spec)
        try:
            reason = await self._runner.initialise_ahead(environment, kind="provisioned-concurrency")
        except BaseException:
            self._end(environment)
            raise
        if reason:
            self._end(environment)
            raise InitialisationFailed("FUNCTION_ERROR_INIT_FAILURE")
        environment.rest(self._wall.monotonic_s())
        return environment

    async def warm(self, spec: FunctionSpec) -> None:
        """Have the packages' template ready; best effort."""
        with contextlib.suppress(Unavailable, OSError):
            await self._starter.template(spec)

    async def snapshot(self, spec: FunctionSpec) -> str:
        """Initialise a SnapStart version ahead of its invocations; AWS's reason code where that failed."""
        if not self._starter.is_restorable(spec):
            return ""
        try:
            await self._snapshots.get(spec)
        except SnapshotFailed as failure:
            return failure.reason_code
        return ""

    async def _make_snapshot(self, spec: FunctionSpec) -> Held:
        environment = self._new(spec)
        reason = await self._runner.initialise_ahead(environment, kind="snap-start")
        server = self._starter.take_snapshot(environment)
        if reason or server is None:
            self._end(environment)
            raise SnapshotFailed(reason or "FunctionError.RuntimeInitError")
        return Held(environment, server)

    def _learn(self, spec: FunctionSpec, told: bytes, init_ms: float) -> None:
        """After an initialisation: have its libraries held for the next one, where that is worth it."""
        if self._libraries.find(spec) is not None or not self._starter.can_hold_libraries(spec):
            return
        known = self._learned.find(spec)
        if known is None:
            known = self._learned.learn(spec, told, init_ms=init_ms)
        if known:
            holding = asyncio.get_running_loop().create_task(self._have_libraries(spec), name="penstock-libraries")
            self._endings.add(holding)
            holding.add_done_callback(self._endings.discard)

    async def _have_libraries(self, spec: FunctionSpec) -> None:
        """Best effort: without them a cold start is slower, no more."""
        with contextlib.suppress(Unavailable, OSError, TimeoutError):
            await self._libraries.get(spec)

    async def _hold_libraries(self, spec: FunctionSpec) -> Held:
        environment = self._made(spec, sink=Silence())
        self._environments.add(environment)
        is_held = False
        try:
            is_held = await self._starter.hold_libraries(environment, self._learned.find(spec) or [])
        finally:
            server = self._starter.take_snapshot(environment)
            if not is_held or server is None:
                self._end(environment)
        if not is_held or server is None:
            self._learned.forget(spec)
            raise Unavailable("the function's libraries can't be forked")
        return Held(environment, server)

    async def _make_spare(self, held: Held) -> Environment:
        environment = self._made(held.environment.spec)
        try:
            await self._starter.restore_ahead(environment, held)
        except BaseException:
            self._end(environment)
            raise
        return environment

    async def retire(self, function_arn: str, *, keep: str = "") -> None:
        """End a deleted or replaced function's environments: idle ones now, busy ones when they are done.

        keep   the id of a spec that replaces the others
        """

        def is_retired(spec: FunctionSpec) -> bool:
            is_kept = bool(keep) and (spec.id == keep or spec.id.startswith(f"{keep}#"))
            return _is_of(spec, function_arn) and not is_kept

        if function_arn.count(":") == _UNQUALIFIED_COLONS:
            self._concurrency.on_retire(function_arn.split(":")[4], function_arn)
        for environment in self._environments:
            environment.is_retired |= is_retired(environment.spec)
        for environments in list(self._idle.values()):
            for environment in [item for item in environments if item.is_retired]:
                environments.remove(environment)
                self._end(environment)
        for arn in self._provisions.arns():
            if arn == function_arn or arn.startswith(f"{function_arn}:"):
                self._provisions.drop(arn)
        self._libraries.retire(is_retired)
        self._snapshots.retire(is_retired)

    def runtime_refusal(self, runtime: str) -> str:
        """Why functions of this runtime are refused here; "" where they aren't."""
        return self._runtimes.refusal(runtime)

    def status(self) -> dict[str, object]:
        """Environments, templates and isolation, for people."""
        return {
            "isolation": self._starter.isolation,
            "not_enforced": self._starter.gaps,
            "environments": len(self._environments),
            "idle": sum(map(len, self._idle.values())),
            "waiting": len(self._waiters),
            "provisioned": self._provisions.count,
            "environments_max": self._hard_max,
            "runtimes": self._runtimes.mapping(),
            "package_sets": self._starter.loaded(),
            "snapshots": self._snapshots.loaded(),
            "libraries": self._libraries.loaded(),
            "starts": dict(self._counts),
        }

    async def close(self) -> None:
        """End every environment and template."""
        for timer in (self._growing, self._sweeping):
            if timer is not None:
                timer.cancel()
        await self._provisions.close()
        self._snapshots.close()
        self._libraries.close()
        for environment in list(self._environments):
            self._end(environment)
        if self._endings:
            await asyncio.gather(*self._endings, return_exceptions=True)
        await self._starter.close()

    # Places

    async def _acquire(self, spec: FunctionSpec) -> Environment:
        ready = self._take_idle(spec)
        if ready is not None:
            return ready
        if self._has_place():
            return self._new_for_invocation(spec)
        waiter = _Waiter(spec, self._wall.monotonic_s(), asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._watch_growth()
        try:
            return await waiter.given or self._new_for_invocation(spec)
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif waiter.given.done() and not waiter.given.cancelled() and (given := waiter.given.result()):
                self._release(given)
            raise

    def _new_for_invocation(self, spec: FunctionSpec) -> Environment:
        """Raises Throttled where the function grows too fast; the place goes to who waits for one."""
        try:
            self._concurrency.on_scale(spec.arn.removesuffix(f":{spec.version}"), now_s=self._clock.now_ms() / 1000)
        except Throttled:
            self._serve_waiters()
            raise
        return self._new(spec)

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
        if len(self._environments) - self._provisions.count < self._soft_max:
            return True
        idle = [environment for environments in self._idle.values() for environment in environments]
        if not idle:
            return False
        oldest = min(idle, key=lambda environment: environment.idle_since_s)
        self._idle[oldest.spec.id].remove(oldest)
        self._end(oldest)
        return True

    def _new(self, spec: FunctionSpec) -> Environment:
        environment = self._snapshots.take_spare(spec) or self._made(spec)
        self._environments.add(environment)
        self._watch_age()
        return environment

    def _made(self, spec: FunctionSpec, *, sink: LogSink | None = None) -> Environment:
        now_ms = self._clock.now_ms()
        name = self._entropy.token_hex(16)
        stream = f"{_day(now_ms)}/[{spec.version}]{name}"
        tmp_dir = str(self._work_dir / "environments" / name)
        return Environment(spec, stream=stream, tmp_dir=tmp_dir, clock=self._clock, sink=sink or self._sink)

    def _release(self, environment: Environment) -> None:
        """Back from an invocation: to whoever waits, or to rest."""
        self._ended_s = self._wall.monotonic_s()
        if environment in self._provisions:
            if environment.is_initialised:
                environment.rest(self._ended_s)
            self._provisions.give_back(environment)
            return
        if not environment.is_initialised or environment.is_retired:
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
        if environment.is_initialised and environment.shutdown_s:
            ending = asyncio.get_running_loop().create_task(self._shut_down(environment), name="penstock-shutdown")
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)
            return
        environment.end()
        self._starter.retire(environment)

    async def _shut_down(self, environment: Environment) -> None:
        """Its extensions may finish what they hold first."""
        try:
            await environment.shut_down("spindown")
        finally:
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
                is_extra = len(self._environments) - self._provisions.count > self._soft_max
                if now_s - environment.idle_since_s > IDLE_S_MAX or is_extra:
                    environments.remove(environment)
                    self._end(environment)
        self._idle = {key: environments for key, environments in self._idle.items() if environments}
        self._provisions.refresh(self._is_current)
        self._starter.sweep()
        self._snapshots.sweep()
        self._libraries.drop_unused(now_s - IDLE_S_MAX)
        self._libraries.sweep()
        if self._environments:
            self._watch_age()


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


def _day(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).strftime(_STREAM_DAY)


def _is_of(spec: FunctionSpec, function_arn: str) -> bool:
    return spec.arn == function_arn or spec.arn.startswith(f"{function_arn}:")


def _half_of_memory_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB // 2
