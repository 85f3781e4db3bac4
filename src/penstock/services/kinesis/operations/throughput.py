"""How much a shard takes and gives in a second, counted in memory where a node is told to keep AWS's limits.

A shard's allowance fills up evenly, to a second's worth; a read may overdraw the bytes, and the next ones wait for it.
Source: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
"""

from penstock.framework.context import Context, Platform
from penstock.kernel.scope import Scope
from penstock.services.kinesis import limits

_METERS = "kinesis.throughput"
_LOADS = "kinesis.on-demand"
Place = tuple[Scope, str, str, str]


class Bucket:
    """What is left of a second's worth."""

    def __init__(self, per_second: int, now_ms: int) -> None:
        self._per_second = per_second
        self._left = float(per_second)
        self._at_ms = now_ms

    def left(self, now_ms: int) -> float:
        grown = self._left + (now_ms - self._at_ms) * self._per_second / 1000
        self._left, self._at_ms = min(float(self._per_second), grown), now_ms
        return self._left

    def take(self, amount: int) -> None:
        self._left -= amount


def may_write(ctx: Context, scope: Scope, stream: str, shard_id: str, size: int) -> bool:
    """Whether the shard takes one more record of that size now; then it is counted."""
    if ctx.platform.limits != "aws":
        return True
    now_ms = ctx.clock.now_ms()
    records = _bucket(ctx.platform, (scope, stream, shard_id, "w"), limits.WRITE_RECORDS_A_SECOND.value, now_ms)
    octets = _bucket(ctx.platform, (scope, stream, shard_id, "W"), limits.WRITE_BYTES_A_SECOND.value, now_ms)
    room = octets.left(now_ms)
    is_large = size > limits.WRITE_BYTES_A_SECOND.value and room == limits.WRITE_BYTES_A_SECOND.value
    if records.left(now_ms) < 1 or (room < size and not is_large):
        return False
    records.take(1)
    octets.take(size)
    return True


def shards_wanted(ctx: Context, scope: Scope, stream: str, *, shards: int, size: int, count: int) -> int:
    """How many shards an on-demand stream needs after a write: twice as many once this second takes half of them.

    Source: https://docs.aws.amazon.com/streams/latest/dev/how-do-i-size-a-stream.html#ondemandmode
    """
    now_s = ctx.clock.now_ms() // 1000
    loads: dict[tuple[Scope, str], tuple[int, int, int]] = ctx.platform.volatile.setdefault(_LOADS, {})
    known_s, octets, records = loads.get((scope, stream), (0, 0, 0))
    if known_s != now_s:
        octets = records = 0
    octets, records = octets + size, records + count
    loads[(scope, stream)] = (now_s, octets, records)
    half = shards / 2
    is_busy = octets > half * limits.WRITE_BYTES_A_SECOND.value or records > half * limits.WRITE_RECORDS_A_SECOND.value
    return min(2 * shards, limits.ON_DEMAND_SHARDS_MAX.value) if is_busy else shards


def may_read(ctx: Context, scope: Scope, stream: str, shard_id: str) -> bool:
    """Whether one more GetRecords is answered now; then it is counted."""
    if ctx.platform.limits != "aws":
        return True
    now_ms = ctx.clock.now_ms()
    calls = _bucket(ctx.platform, (scope, stream, shard_id, "r"), limits.READS_A_SECOND.value, now_ms)
    octets = _bucket(ctx.platform, (scope, stream, shard_id, "R"), limits.READ_BYTES_A_SECOND.value, now_ms)
    if calls.left(now_ms) < 1 or octets.left(now_ms) <= 0:
        return False
    calls.take(1)
    return True


def note_read(ctx: Context, scope: Scope, stream: str, shard_id: str, size: int) -> None:
    """What was given out: 10 MB make the next five seconds empty."""
    if ctx.platform.limits == "aws":
        place = (scope, stream, shard_id, "R")
        _bucket(ctx.platform, place, limits.READ_BYTES_A_SECOND.value, ctx.clock.now_ms()).take(size)


def _bucket(platform: Platform, place: Place, per_second: int, now_ms: int) -> Bucket:
    meters: dict[Place, Bucket] = platform.volatile.setdefault(_METERS, {})
    if place not in meters:
        meters[place] = Bucket(per_second, now_ms)
    return meters[place]
