"""Environments initialised ahead: used first, kept, replaced, and what comes beyond them."""

import asyncio
import json

import pytest

from penstock.engines.functions.ports import Invocation

KIND = "import os\ndef handler(event, context): return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']\n"
HOLD = (
    "import os\n"
    "def handler(event, context):\n"
    "    if event.get('die'): os._exit(3)\n"
    "    return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']\n"
)
LIVE = "arn:aws:lambda:us-east-1:000000000000:function:f:live"


async def settled(pool, arn=LIVE):
    """The allocation, once no environment of it is on the way."""
    while (found := pool.allocation(arn)).allocated != found.available and not found.failure:  # noqa: ASYNC110
        await asyncio.sleep(0)
    return found


async def through(b, spec, event=None, *, arn=LIVE):
    return await b.pool.invoke(spec, Invocation("request-1", json.dumps(event or {}).encode(), arn))


async def test_the_first_invocation_finds_an_environment_that_is_initialised(bench):
    async with bench() as b:
        spec = b.spec(KIND)
        b.pool.provision(LIVE, spec, 2)
        assert (await settled(b.pool)).available == 2
        outcome = await through(b, spec)
        assert (outcome.payload, outcome.init_ms, outcome.is_cold) == (b'"provisioned-concurrency"', None, False)
        assert outcome.is_provisioned
        other = await b.run(spec)  # not through the alias
        assert (other.payload, other.is_provisioned, other.is_cold) == (b'"on-demand"', False, True)


async def test_what_comes_beyond_it_spills_over(bench):
    async with bench() as b:
        spec = b.spec(HOLD)
        b.pool.provision(LIVE, spec, 1)
        await settled(b.pool)
        first = asyncio.create_task(through(b, spec))
        await asyncio.sleep(0)
        second = await through(b, spec)
        kinds = sorted([(await first).payload, second.payload])
        assert kinds == [b'"on-demand"', b'"provisioned-concurrency"']


async def test_one_that_dies_is_replaced(bench):
    async with bench() as b:
        spec = b.spec(HOLD)
        b.pool.provision(LIVE, spec, 1)
        await settled(b.pool)
        assert (await through(b, spec, {"die": True})).status == "crash"
        await settled(b.pool)
        again = await through(b, spec)
        assert (again.payload, again.init_ms) == (b'"provisioned-concurrency"', None)


async def test_a_function_that_cannot_be_initialised_says_so(bench):
    async with bench() as b:
        b.pool.provision(LIVE, b.spec("1 / 0"), 2)
        found = await settled(b.pool)
        assert (found.available, found.failure) == (0, "FUNCTION_ERROR_INIT_FAILURE")


@pytest.mark.parametrize("count", [0, 1])
async def test_fewer_are_kept_when_fewer_are_wanted(bench, count):
    async with bench() as b:
        spec = b.spec(KIND)
        b.pool.provision(LIVE, spec, 3)
        await settled(b.pool)
        b.pool.provision(LIVE, spec, count)
        assert (await settled(b.pool)).available == count
        assert b.pool.status()["environments"] == count


async def test_more_than_the_node_holds_is_refused_with_the_reason(bench):
    async with bench(max_environments=2) as b:
        b.pool.provision(LIVE, b.spec(KIND), 3)
        found = await settled(b.pool)
        assert "no place" in found.failure
