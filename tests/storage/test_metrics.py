import random

import pytest

from penstock.kernel.scope import Scope
from penstock.storage import metrics
from penstock.storage.backends.memory import MemoryStore
from penstock.storage.metrics import DAY_S, Series, Statistics

SCOPE = Scope()
SERIES = Series("AWS/Lambda", "Duration", (("FunctionName", "f"), ("Resource", "f")), "Milliseconds")
NOW_S = 1_780_000_000 - 1_780_000_000 % 3600


def statistics(*values):
    made = Statistics()
    for value in values:
        made.add(value)
    return made


async def recorded(*at):
    """A store in which each (time, value) was recorded."""
    store = MemoryStore()
    for time_s, value in at:
        await store.transact(lambda tx, t=time_s, v=value: metrics.record(tx, SCOPE, SERIES, t, statistics(v)))
    return store


async def points(store, begin_s=0, end_s=2 * NOW_S):
    return await store.read(lambda tx: list(metrics.points(tx, SCOPE, SERIES, begin_s=begin_s, end_s=end_s)))


async def test_what_is_recorded_in_a_minute_is_one_statistic_set():
    store = await recorded((NOW_S, 1.0), (NOW_S + 59, 3.0), (NOW_S + 60, 5.0))
    first, second = await points(store)
    assert first[:2] == (NOW_S, 60)
    assert (first[2].count, first[2].total, first[2].lowest, first[2].highest) == (2, 4, 1, 3)
    assert (second[0], second[2].total) == (NOW_S + 60, 5)
    assert await points(store, NOW_S + 60, NOW_S + 61) == [second]


async def test_series_are_listed_by_namespace_and_name():
    store = await recorded((NOW_S, 1.0))
    other = Series("Mine", "Duration")
    await store.transact(lambda tx: metrics.record(tx, SCOPE, other, NOW_S, statistics(1)))

    async def listed(**by):
        return [one for one, _ in await store.read(lambda tx: list(metrics.series_of(tx, SCOPE, **by)))]

    assert await listed() == [SERIES, other]
    assert await listed(namespace="AWS/Lambda", name="Duration") == [SERIES]
    assert await listed(namespace="AWS/Lambda", name="Errors") == []


@pytest.mark.parametrize(
    ("age_s", "periods"),
    [(15 * DAY_S, [60]), (15 * DAY_S + 60, [300]), (64 * DAY_S, [3600]), (456 * DAY_S, [])],
)
async def test_old_periods_become_longer_ones_and_go(age_s, periods):
    store = await recorded((NOW_S, 1.0), (NOW_S + 30, 2.0))
    await store.transact(lambda tx: metrics.roll(tx, now_s=NOW_S + age_s))
    found = await points(store)
    assert [period_s for _, period_s, _ in found] == periods
    assert sum(one.total for _, _, one in found) == (3 if periods else 0)


@pytest.mark.parametrize("percent", [0.1, 10, 50, 90, 99, 100])
@pytest.mark.parametrize("kind", ["even", "steep", "signed"])
def test_percentiles_are_within_one_percent(percent, kind):
    chance = random.Random(7)
    make = {
        "even": lambda: chance.uniform(1, 1000),
        "steep": lambda: chance.lognormvariate(3, 2),
        "signed": lambda: chance.uniform(-50, 50),
    }[kind]
    values = sorted(make() for _ in range(5000))
    exact = values[max(-(-len(values) * percent // 100), 1).__int__() - 1]
    made = Statistics.decode(statistics(*values).encode())
    assert made.percentile(percent) == pytest.approx(exact, rel=0.011)
    assert (made.count, made.lowest, made.highest) == (5000, values[0], values[-1])


def test_a_distribution_stays_bounded_and_merging_loses_nothing():
    chance = random.Random(3)
    one, two = Statistics(), Statistics()
    for _ in range(4000):
        one.add(10 ** chance.uniform(-200, 200))
        two.add(chance.uniform(0, 1))
    one.merge(two)
    assert len(one.buckets) <= metrics.BUCKETS_MAX
    assert sum(one.buckets.values()) == one.count == 8000


async def test_rolling_goes_on_where_it_stopped_until_all_series_were_seen():
    store = MemoryStore()
    many = [Series("Mine", f"m{number}") for number in range(7)]
    for one in many:
        await store.transact(lambda tx, one=one: metrics.record(tx, SCOPE, one, NOW_S, statistics(1)))
    at, rounds = None, 0
    while True:
        at = await store.transact(lambda tx, at=at: metrics.roll(tx, now_s=NOW_S + 16 * DAY_S, after=at, series_max=3))
        rounds += 1
        if at is None:
            break
    assert rounds == 3
    for one in many:
        found = await store.read(lambda tx, one=one: list(metrics.points(tx, SCOPE, one, begin_s=0, end_s=2 * NOW_S)))
        assert [period_s for _, period_s, _ in found] == [300]
