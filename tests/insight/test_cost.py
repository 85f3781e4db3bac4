import pytest

from penstock.insight.cost import bill, price, tiered_usd
from penstock.insight.metering import DayOfFunction, function_days
from penstock.kernel.scope import Scope
from penstock.services import lambda_
from penstock.services.lambda_.operations.metering import meter_of
from penstock.testkit.functions import FakePool, create_function, outcome
from penstock.testkit.world import World


def day(name="f", *, date="2026-05-01", architecture="x86_64", requests=0, gb_s=0.0):
    return DayOfFunction(date, name, architecture, requests, 0, 0, 0, 0, gb_s)


def test_three_million_requests_of_a_fifth_of_a_second_at_half_a_gigabyte_cost_what_aws_says():
    used = [day(requests=3_000_000, gb_s=300_000)]
    (line,) = price(used).functions
    assert (line.request_usd, line.duration_usd) == (pytest.approx(0.60), pytest.approx(5.0, abs=0.001))
    assert price(used, has_free_tier=True).usd == pytest.approx(0.40)


def test_the_free_tier_and_the_tiers_begin_anew_each_month():
    month = [day(requests=1_000_000, gb_s=400_000)]
    two = [*month, day(date="2026-06-01", requests=1_000_000, gb_s=400_000)]
    assert price(two, has_free_tier=True).usd == pytest.approx(0)
    assert price(month * 2, has_free_tier=True).usd == pytest.approx(0.2 + 400_000 * 0.0000166667)


def test_functions_share_a_month_by_what_they_used():
    bill = price([day("a", gb_s=9e9), day("b", gb_s=3e9), day("c", architecture="arm64", gb_s=1)])
    assert [line.function for line in bill.functions] == ["a", "b", "c"]
    assert bill.functions[0].usd == pytest.approx(3 * bill.functions[1].usd)
    assert bill.functions[0].usd + bill.functions[1].usd == pytest.approx(6e9 * 0.0000166667 + 6e9 * 0.000015)
    assert bill.functions[2].usd == pytest.approx(0.0000133334)


def test_tiers_are_filled_one_after_the_other():
    assert tiered_usd(35, [[10, 3.0], [20, 2.0], [None, 1.0]]) == 30 + 40 + 5


async def test_every_invocation_is_counted_on_its_day_and_outlives_the_counter():
    pool = FakePool()
    world = World(lambda_.SERVICE, functions=pool)
    await create_function(world, MemorySize=512)
    pool.handler = lambda spec, invocation: outcome(billed_ms=2000, error="E", is_cold=True)
    await world.call("lambda", "Invoke", FunctionName="f")
    pool.handler = lambda spec, invocation: outcome(billed_ms=1000)
    await world.call("lambda", "Invoke", FunctionName="f")
    await meter_of(world.platform).flush()
    await world.call("lambda", "Invoke", FunctionName="f")
    await world.advance(24 * 3600)
    await world.call("lambda", "Invoke", FunctionName="f")
    await meter_of(world.platform).flush()
    world.platform.volatile.clear()
    first, second = await function_days(world.platform, Scope())
    assert (first.requests, first.errors, first.cold_starts, first.billed_ms) == (3, 1, 1, 4000)
    assert (first.gb_s, second.gb_s) == (2.0, 0.5)
    whole = await bill(world.platform)
    assert (whole.functions[0].requests, whole.functions[0].gb_s) == (4, 2.5)
    assert whole.usd == pytest.approx(4 * 0.0000002 + 2.5 * 0.0000166667)
    assert (await bill(world.platform, day_last=first.day)).functions[0].requests == 3


async def test_usage_is_written_a_second_after_it_was_made():
    world = World(lambda_.SERVICE, functions=FakePool())
    async with world.background:
        await create_function(world)
        await world.call("lambda", "Invoke", FunctionName="f")
        await world.advance(1)
        assert meter_of(world.platform).is_empty
