"""Throughput that is provisioned, or stated as the most on demand, held to on a node with AWS's limits.

Each table and index has a bucket that fills by its units a second and holds 300 seconds' worth, as AWS's burst does.
Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/burst-adaptive-capacity.html
"""

from dataclasses import dataclass, field

from penstock.framework.context import Context
from penstock.services.dynamodb import messages
from penstock.services.dynamodb.rules import Cost
from penstock.services.dynamodb.state import Index, Table

BURST_S = 300
_BUCKETS = "dynamodb.buckets"


@dataclass(slots=True)
class _Bucket:
    """Units used beyond what has come back since; `at_ms` when that was reckoned."""

    used: float = 0.0
    at_ms: int = 0

    def spent(self, rate: int, now_ms: int) -> float:
        self.used = max(0.0, self.used - rate * (now_ms - self.at_ms) / 1000)
        self.at_ms = now_ms
        return self.used


@dataclass(slots=True)
class _Buckets:
    of: dict[tuple[str, str], _Bucket] = field(default_factory=dict)


def check(ctx: Context, table: Table, *, is_read: bool = False) -> None:
    """Raises ProvisionedThroughputExceededException or ThrottlingException where a bucket is empty."""
    if ctx.platform.limits != "aws":
        return
    now_ms = ctx.clock.now_ms()
    for key, rate in _rates(table, is_read=is_read).items():
        if _bucket(ctx, key, is_read=is_read).spent(rate, now_ms) >= rate * BURST_S:
            raise messages.throttled() if table.billing == "PROVISIONED" else messages.throttled_on_demand()


def use(ctx: Context, table: Table, *, read: Cost | None = None, write: Cost | None = None) -> None:
    """Take what a read or a write cost out of the buckets."""
    if ctx.platform.limits != "aws":
        return
    for cost, is_read in ((read, True), (write, False)):
        if cost is None:
            continue
        _bucket(ctx, table.key, is_read=is_read).used += cost.table
        for index in table.indexes:
            key = table.key if index.is_local else index.key
            _bucket(ctx, key, is_read=is_read).used += cost.indexes.get(index.name, 0.0)


def _rates(table: Table, *, is_read: bool) -> dict[str, int]:
    """Units a second, of the table and of the indexes that a write reaches; what is on demand has none if unstated."""
    found = {table.key: _rate(table, table, is_read=is_read)}
    if not is_read:
        found |= {index.key: _rate(table, index, is_read=False) for index in table.indexes if not index.is_local}
    return {key: rate for key, rate in found.items() if rate > 0}


def _rate(table: Table, holder: Table | Index, *, is_read: bool) -> int:
    if table.billing == "PROVISIONED":
        return holder.read_units if is_read else holder.write_units
    return int(holder.throughput.get("MaxReadRequestUnits" if is_read else "MaxWriteRequestUnits") or 0)


def _bucket(ctx: Context, key: str, *, is_read: bool) -> _Bucket:
    buckets = ctx.platform.volatile.setdefault(_BUCKETS, _Buckets())
    assert isinstance(buckets, _Buckets)
    found = buckets.of.get((key, "r" if is_read else "w"))
    if found is None:
        found = buckets.of[key, "r" if is_read else "w"] = _Bucket(at_ms=ctx.clock.now_ms())
    return found
