"""What was run, counted in memory and written soon after: daily counters per function, and CloudWatch's metrics.

A crash may lose the last second's counts; AWS's bill is late as well.
"""

from functools import lru_cache

from penstock.engines.durable.model import Execution
from penstock.engines.functions.ports import Outcome
from penstock.framework.context import Platform
from penstock.framework.wakeups import Wakeup
from penstock.kernel.scope import Scope
from penstock.kernel.units import DAY_MS, MIB
from penstock.services.lambda_ import limits, rules, state
from penstock.services.lambda_.operations import metrics
from penstock.services.lambda_.operations.source_metrics import source_metrics_of
from penstock.services.lambda_.state import Usage, Version
from penstock.storage.metrics import roll
from penstock.storage.transactions import Key, Transaction

FREE_EPHEMERAL_MB = 512
FREE_STREAMED_BYTES = 6 * MIB
_METER = "lambda.meter"
_Key = tuple[Scope, str, str, str]


class Meter:
    """Counts by account and region, day, function and architecture."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._counts: dict[_Key, Usage] = {}
        self._rolled_ms = 0
        self._rolled_to: Key | None = None
        self.wakeup = Wakeup()
        self.metrics = metrics.Metrics(platform.clock, self.wakeup)
        self.allocated: metrics.Allocated | None = None
        source_metrics_of(platform).listeners.append(self._on_source)

    def _on_source(self, metric: str, scope: Scope, id: str, function: str, value: float) -> None:
        is_own = metric != "IteratorAge"
        subject = metrics.Subject(scope, mapping=id) if is_own else metrics.subject_of(scope, function)
        self.metrics.count(subject, metric, value)

    def on_outcome(self, scope: Scope, version: Version, outcome: Outcome) -> None:
        counts = self._of(scope, version)
        counts.requests += 1
        counts.errors += outcome.function_error is not None
        counts.cold_starts += outcome.is_cold
        counts.billed_ms += outcome.billed_ms
        counts.mb_ms += outcome.billed_ms * version.memory_mb
        if outcome.is_provisioned:
            counts.provisioned_mb_ms += outcome.billed_ms * version.memory_mb
        if version.ephemeral_mb > FREE_EPHEMERAL_MB:
            counts.ephemeral_mb_ms += outcome.billed_ms * (version.ephemeral_mb - FREE_EPHEMERAL_MB)
        if version.is_tenant_isolated and outcome.is_cold:
            counts.tenant_mb += version.memory_mb
        if outcome.restore_ms is not None:
            counts.restored_mb += version.memory_mb
        counts.streamed_bytes += max(outcome.streamed_bytes - FREE_STREAMED_BYTES, 0)

    def on_throttle(self, scope: Scope, version: Version) -> None:
        self._of(scope, version).throttles += 1

    def on_durable(self, scope: Scope, execution: Execution, operations: int, written_bytes: int) -> None:
        """An execution went on by so many operations and bytes."""
        counts = self._counted(scope, execution.function, execution.architecture)
        counts.durable_operations += operations
        counts.durable_bytes += written_bytes
        subject = metrics.subject_of(scope, execution.function, execution.version)
        if execution.events == 1:
            self.metrics.count(subject, "DurableExecutionStarted")
        if execution.is_closed:
            word = {"TIMED_OUT": "TimedOut"}.get(execution.status, execution.status.capitalize())
            self.metrics.count(subject, f"DurableExecution{word}")
            duration_ms = (execution.ended_ms or execution.started_ms) - execution.started_ms
            self.metrics.count(subject, "DurableExecutionDuration", duration_ms)
            self.metrics.count(subject, "DurableExecutionOperations", execution.operations)
            self.metrics.count(subject, "DurableExecutionStorageWrittenBytes", execution.written_bytes)

    def _of(self, scope: Scope, version: Version) -> Usage:
        return self._counted(scope, version.name, version.architecture)

    def _counted(self, scope: Scope, name: str, architecture: str) -> Usage:
        day = _day(self._platform.clock.now_ms() // DAY_MS)
        if not self._counts:
            self.wakeup.signal()
        return self._counts.setdefault((scope, day, name, architecture), Usage())

    @property
    def is_empty(self) -> bool:
        return not self._counts and self.metrics.is_empty

    async def flush(self) -> None:
        """Write what was counted; on Unavailable it is kept for the next time."""
        counts, self._counts = self._counts, {}
        minutes = self.metrics.take()
        if not counts and not minutes:
            return
        now_ms = self._platform.clock.now_ms()
        is_time_to_roll = now_ms >= self._rolled_ms + limits.METRICS_ROLLED_MS

        def write(tx: Transaction) -> Key | None:
            for (scope, day, name, architecture), more in counts.items():
                state.add_usage(tx, scope, day, name, architecture, more)
            metrics.write(tx, minutes, self.allocated)
            return roll(tx, now_s=now_ms // 1000, after=self._rolled_to) if is_time_to_roll else None

        try:
            rolled_to = await self._platform.store.transact(write)
        except Exception:
            for key, more in counts.items():
                self._counts[key] = _sum(more, self._counts.get(key))
            self.metrics.give_back(minutes)
            raise
        if is_time_to_roll:
            self._rolled_to = rolled_to
            self._rolled_ms = now_ms if rolled_to is None else self._rolled_ms


@lru_cache(maxsize=8)
def _day(number: int) -> str:
    """YYYY-MM-DD of the day so many days after the epoch began."""
    return rules.when(number * DAY_MS).strftime("%Y-%m-%d")


def _sum(first: Usage, second: Usage | None) -> Usage:
    if second is None:
        return first
    names = Usage.__dataclass_fields__
    return Usage(**{name: getattr(first, name) + getattr(second, name) for name in names})


def meter_of(platform: Platform) -> Meter:
    meter: Meter | None = platform.volatile.get(_METER)
    if meter is None:
        meter = platform.volatile[_METER] = Meter(platform)
    return meter
