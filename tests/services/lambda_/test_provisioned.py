"""Provisioned concurrency as its user asks for it, sees it and pays for it."""

import re
from contextlib import asynccontextmanager, contextmanager

import pytest

from penstock.insight.cost import bill
from penstock.kernel.errors import ServiceError
from penstock.services import lambda_
from penstock.testkit.functions import FakePool, create_function
from penstock.testkit.world import World

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


@contextmanager
def raises(code, text):
    with pytest.raises(ServiceError, match=re.escape(text)) as caught:
        yield
    assert caught.value.code == code


@asynccontextmanager
async def prepared(**members):
    """A function with version 1 and an alias of it, its node running."""
    world = World(lambda_.SERVICE, functions=FakePool())
    await create_function(world, **members)
    await world.call("lambda", "PublishVersion", FunctionName="f")
    await world.settle()
    await world.call("lambda", "CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    async with world.background:
        yield world


async def put(world, count=2, qualifier="live", name="f"):
    return await world.call(
        "lambda",
        "PutProvisionedConcurrencyConfig",
        FunctionName=name,
        Qualifier=qualifier,
        ProvisionedConcurrentExecutions=count,
    )


async def test_it_is_in_progress_then_ready_and_survives_a_restart():
    async with prepared() as world:
        answer = await put(world)
        assert (answer["Status"], answer["RequestedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 2)
        await world.advance(0)
        found = await world.call("lambda", "GetProvisionedConcurrencyConfig", FunctionName="f", Qualifier="live")
        assert (found["Status"], found["AvailableProvisionedConcurrentExecutions"]) == ("READY", 2)
        assert "StatusReason" not in found
        listed = await world.call("lambda", "ListProvisionedConcurrencyConfigs", FunctionName="f")
        assert [one["FunctionArn"] for one in listed["ProvisionedConcurrencyConfigs"]] == [f"{ARN}:live"]
    world.platform.functions.provisions.clear()
    async with world.background:
        await world.advance(0)
        held = world.platform.functions.provisions
        assert {arn: count for arn, (_, count) in held.items()} == {f"{ARN}:live": 2}


async def test_an_alias_that_moves_takes_it_along():
    async with prepared() as world:
        await put(world)
        await world.call("lambda", "UpdateFunctionConfiguration", FunctionName="f", Timeout=9)
        await world.advance(0)
        await world.call("lambda", "PublishVersion", FunctionName="f")
        await world.call("lambda", "UpdateAlias", FunctionName="f", Name="live", FunctionVersion="2")
        await world.advance(0)
        spec, _ = world.platform.functions.provisions[f"{ARN}:live"]
        assert spec.version == "2"


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("DeleteProvisionedConcurrencyConfig", {"Qualifier": "live"}),
        ("DeleteAlias", {"Name": "live"}),
        ("DeleteFunction", {}),
    ],
)
async def test_it_ends_when_it_or_what_it_is_for_is_deleted(operation, members):
    async with prepared() as world:
        await put(world)
        await world.advance(0)
        await world.call("lambda", operation, FunctionName="f", **members)
        await world.advance(0)
        assert world.platform.functions.provisions == {}


async def test_why_it_failed_is_told():
    async with prepared() as world:
        world.platform.functions.provision_failure = "FUNCTION_ERROR_INIT_FAILURE"
        await put(world)
        await world.advance(0)
        found = await world.call("lambda", "GetProvisionedConcurrencyConfig", FunctionName="f", Qualifier="live")
        assert (found["Status"], found["StatusReason"]) == ("FAILED", "FUNCTION_ERROR_INIT_FAILURE")


async def test_what_cannot_be_provisioned_is_refused():
    async with prepared() as world:
        with raises("InvalidParameterValueException", "cannot be applied to unpublished function versions"):
            await put(world, qualifier="$LATEST")
        with raises("ResourceNotFoundException", "Function not found"):
            await put(world, qualifier="7")
        with raises("ProvisionedConcurrencyConfigNotFoundException", "No Provisioned Concurrency Config found"):
            await world.call("lambda", "GetProvisionedConcurrencyConfig", FunctionName="f", Qualifier="live")
        with raises("InvalidParameterValueException", "below its minimum value of [100]"):
            await put(world, 901)
        await put(world, 900)
        with raises("ResourceConflictException", "Version is pointed by a Provisioned Concurrency alias"):
            await put(world, qualifier="1")
        settings = await world.call("lambda", "GetAccountSettings")
        assert settings["AccountLimit"]["UnreservedConcurrentExecutions"] == 100


async def test_a_reserved_share_bounds_it():
    async with prepared() as world:
        await world.call("lambda", "PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=3)
        with raises("InvalidParameterValueException", "should not be greater than the reservedConcurrentExecution"):
            await put(world, 4)
        await put(world, 3)
        settings = await world.call("lambda", "GetAccountSettings")
        assert settings["AccountLimit"]["UnreservedConcurrentExecutions"] == 997


async def test_it_is_paid_for_by_five_minutes_begun_whether_it_is_used_or_not():
    async with prepared(MemorySize=1024) as world:
        await put(world, 2)
        await world.advance(11 * 60)
        whole = await bill(world.platform)
        assert whole.functions[0].provisioned_usd == pytest.approx(2 * 15 * 60 * 0.0000041667)
        await world.call("lambda", "DeleteProvisionedConcurrencyConfig", FunctionName="f", Qualifier="live")
        await world.advance(3600)
        assert (await bill(world.platform)).usd == pytest.approx(whole.usd)
