"""What was run, read from the rooms' own counters."""

from dataclasses import dataclass

from penstock.framework.context import Platform
from penstock.kernel.scope import Scope
from penstock.kernel.units import GIB
from penstock.services.lambda_ import state
from penstock.services.lambda_.operations import provisioned, snapshot_cache
from penstock.services.lambda_.operations.metering import meter_of
from penstock.storage.transactions import ReadTransaction, Transaction

MB_MS_PER_GB_S = 1024 * 1000


@dataclass(frozen=True, slots=True)
class DayOfFunction:
    """What one function ran on one day (UTC, YYYY-MM-DD) on one architecture.

    gb_s     billed time by memory; provisioned_gb_s: that of it which ran in provisioned concurrency
    held     GB-seconds of provisioned concurrency itself, busy or not
    """

    day: str
    function: str
    architecture: str
    requests: int
    errors: int
    throttles: int
    cold_starts: int
    billed_ms: int
    gb_s: float
    provisioned_gb_s: float = 0.0
    held_gb_s: float = 0.0
    ephemeral_gb_s: float = 0.0
    restored_gb: float = 0.0
    cached_gb_s: float = 0.0
    streamed_gb: float = 0.0
    tenant_gb: float = 0.0
    durable_operations: int = 0
    durable_gb: float = 0.0


async def function_days(
    platform: Platform, scope: Scope, *, day_first: str = "", day_last: str = "9"
) -> list[DayOfFunction]:
    """In order of day, function and architecture; what is still in memory is written first."""
    await meter_of(platform).flush()
    now_ms = platform.clock.now_ms()
    await platform.store.transact(lambda tx: _settle(tx, now_ms))

    def read(tx: ReadTransaction) -> list[DayOfFunction]:
        return [
            DayOfFunction(
                day,
                name,
                architecture,
                usage.requests,
                usage.errors,
                usage.throttles,
                usage.cold_starts,
                usage.billed_ms,
                usage.mb_ms / MB_MS_PER_GB_S,
                usage.provisioned_mb_ms / MB_MS_PER_GB_S,
                usage.held_mb_ms / MB_MS_PER_GB_S,
                usage.ephemeral_mb_ms / MB_MS_PER_GB_S,
                usage.restored_mb / 1024,
                usage.cached_mb_ms / MB_MS_PER_GB_S,
                usage.streamed_bytes / GIB,
                usage.tenant_mb / 1024,
                usage.durable_operations,
                usage.durable_bytes / GIB,
            )
            for day, name, architecture, usage in state.usage(tx, scope, day_first=day_first, day_last=day_last)
        ]

    return await platform.store.read(read)


def _settle(tx: Transaction, now_ms: int) -> None:
    """Count what is paid for by time, used or not."""
    provisioned.settle_all(tx, now_ms=now_ms)
    snapshot_cache.settle_all(tx, now_ms=now_ms)
