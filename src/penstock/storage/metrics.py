"""Metric data: statistic sets by series and period, as CloudWatch keeps them.

A series is a namespace, a name, dimensions and a unit. What is recorded in one period is one statistic set, with the
values' distribution in buckets of 2 %, so that percentiles can be asked for later. As on CloudWatch, minutes are kept
15 days, periods of 5 minutes 63 days, hours 455 days: `roll` makes the longer ones of the shorter ones.
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#metrics-retention

    ("metrics", account, region, namespace, name, dimensions, unit, period, time)    a statistic set; times in seconds
    ("metric-series", account, region, namespace, name, dimensions, unit)            when it was last recorded
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from penstock.kernel.scope import Scope
from penstock.storage.transactions import Key, ReadTransaction, Transaction

DAY_S = 86_400
# (seconds of a period, seconds that it is kept, seconds of the period that it becomes)
PERIODS = ((60, 15 * DAY_S, 300), (300, 63 * DAY_S, 3600), (3600, 455 * DAY_S, 0))
BUCKETS_MAX = 2000
SERIES_ROLLED_MAX = 200
POINTS_ROLLED_MAX = 500  # of one series and period at a time; a minute makes one
_SEEN_EVERY_S = 3600
_GROWTH = math.log(1.02)
_ORIGIN = 1 << 20

Dimensions = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Series:
    """`dimensions` in order of name."""

    namespace: str
    name: str
    dimensions: Dimensions = ()
    unit: str = "None"


@dataclass(slots=True)
class Statistics:
    """What values came to: how many, their sum, the lowest and the highest, and how they are spread."""

    count: float = 0.0
    total: float = 0.0
    lowest: float = math.inf
    highest: float = -math.inf
    buckets: dict[int, float] = field(default_factory=dict)

    def add(self, value: float, count: float = 1.0) -> None:
        self.count += count
        self.total += value * count
        self.lowest = min(self.lowest, value)
        self.highest = max(self.highest, value)
        self._spread(_bucket(value), count)

    def merge(self, other: "Statistics") -> None:
        self.count += other.count
        self.total += other.total
        self.lowest = min(self.lowest, other.lowest)
        self.highest = max(self.highest, other.highest)
        for bucket, count in other.buckets.items():
            self._spread(bucket, count)

    def percentile(self, percent: float) -> float:
        """Within 1 % of the value that `percent` of the values don't exceed; 0 for none."""
        wanted, seen = self.count * percent / 100, 0.0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted - 1e-9:
                return min(max(_middle(bucket), self.lowest), self.highest)
        return self.highest if self.count else 0.0

    def encode(self) -> bytes:
        flat = [number for pair in sorted(self.buckets.items()) for number in pair]
        return orjson.dumps([self.count, self.total, self.lowest, self.highest, flat])

    @classmethod
    def decode(cls, stored: bytes) -> "Statistics":
        count, total, lowest, highest, flat = orjson.loads(stored)
        return cls(count, total, lowest, highest, dict(zip(flat[::2], flat[1::2], strict=True)))

    def _spread(self, bucket: int, count: float) -> None:
        if bucket not in self.buckets and len(self.buckets) >= BUCKETS_MAX:
            bucket = min(self.buckets, key=lambda known: abs(known - bucket))
        self.buckets[bucket] = self.buckets.get(bucket, 0.0) + count


def _bucket(value: float) -> int:
    """Ordered as the values are; 0 holds 0."""
    if value == 0:
        return 0
    index = _ORIGIN + math.ceil(math.log(abs(value)) / _GROWTH)
    return index if value > 0 else -index


def _middle(bucket: int) -> float:
    if bucket == 0:
        return 0.0
    size = math.exp((abs(bucket) - _ORIGIN - 0.5) * _GROWTH)
    return size if bucket > 0 else -size


def record(tx: Transaction, scope: Scope, series: Series, time_s: int, statistics: Statistics) -> None:
    """Add to what the minute of `time_s` holds."""
    period_s = PERIODS[0][0]
    time_s -= time_s % period_s
    _add(tx, (*_series_key("metrics", scope, series), period_s, time_s), statistics)
    key = _series_key("metric-series", scope, series)
    last_s = int(tx.get(key) or b"0")
    if time_s >= last_s + _SEEN_EVERY_S or not last_s:
        tx.put(key, str(time_s).encode())


def series_of(
    tx: ReadTransaction, scope: Scope, *, namespace: str = "", name: str = ""
) -> Iterator[tuple[Series, int]]:
    """Every series with the second in which it was last recorded, an hour early at most; `name` needs `namespace`."""
    prefix: Key = ("metric-series", scope.account_id, scope.region)
    prefix += (namespace,) if namespace else ()
    prefix += (name,) if namespace and name else ()
    for key, value in tx.range(prefix):
        _, _, _, space, title, dimensions, unit = key
        yield Series(str(space), str(title), _dimensions(dimensions), str(unit)), int(value)


def points(
    tx: ReadTransaction, scope: Scope, series: Series, *, begin_s: int, end_s: int
) -> Iterator[tuple[int, int, Statistics]]:
    """(time, period, statistics) from `begin_s` until before `end_s`; the longest periods first."""
    at = _series_key("metrics", scope, series)
    for period_s, _, _ in reversed(PERIODS):
        for key, value in tx.range((*at, period_s), begin=(*at, period_s, begin_s), end=(*at, period_s, end_s)):
            yield int(str(key[-1])), period_s, Statistics.decode(value)


def roll(tx: Transaction, *, now_s: int, after: Key | None = None, series_max: int = SERIES_ROLLED_MAX) -> Key | None:
    """Make longer periods of what is old, and drop what is too old, in so many series after one.

    Answers where to go on, None at the end: a transaction shouldn't take long.
    """
    begin = (*after, None) if after is not None else None
    page = list(tx.range(("metric-series",), begin=begin, limit=series_max))
    for key, value in page:
        at: Key = ("metrics", *key[1:])
        for period_s, kept_s, longer_s in PERIODS:
            old = tx.range((*at, period_s), end=(*at, period_s, now_s - kept_s), limit=POINTS_ROLLED_MAX)
            for point, stored in list(old):
                tx.delete(point)
                if longer_s:
                    time_s = int(str(point[-1]))
                    _add(tx, (*at, longer_s, time_s - time_s % longer_s), Statistics.decode(stored))
        if int(value) < now_s - PERIODS[-1][1]:
            tx.delete(key)
    return page[-1][0] if len(page) == series_max else None


def _add(tx: Transaction, key: Key, statistics: Statistics) -> None:
    known = tx.get(key)
    if known is not None:
        merged = Statistics.decode(known)
        merged.merge(statistics)
        statistics = merged
    tx.put(key, statistics.encode())


def _series_key(head: str, scope: Scope, series: Series) -> Key:
    return (head, scope.account_id, scope.region, series.namespace, series.name, series.dimensions, series.unit)


def _dimensions(stored: object) -> Dimensions:
    assert isinstance(stored, tuple)
    return tuple((str(name), str(value)) for name, value in stored)
