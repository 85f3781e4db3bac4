"""Tenant isolation and file systems, as a function's configuration has them."""

import re
from contextlib import contextmanager

import pytest

from penstock.kernel.errors import ServiceError
from penstock.testkit.functions import create_function

TENANTS = {"TenantIsolationMode": "PER_TENANT"}
POINT = {"Arn": "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-0123456789abcdef0"}
MOUNTED = [{**POINT, "LocalMountPath": "/mnt/shared"}]


@contextmanager
def raises(code, text):
    with pytest.raises(ServiceError, match=re.escape(text)) as caught:
        yield
    assert caught.value.code == code


async def invoke(world, **members):
    return await world.call("lambda", "Invoke", FunctionName="f", **members)


async def test_each_tenant_has_environments_of_its_own(world, pool):
    created = await create_function(world, TenancyConfig=TENANTS)
    assert created["TenancyConfig"] == TENANTS
    await invoke(world, TenantId="blue")
    await invoke(world, TenantId="green")
    await invoke(world, TenantId="blue")
    ids = [spec.id for spec, _ in pool.invoked]
    assert ids[0] == ids[2] != ids[1]
    assert [invocation.tenant_id for _, invocation in pool.invoked] == ["blue", "green", "blue"]


async def test_an_event_keeps_its_tenant(world, pool):
    await create_function(world, TenancyConfig=TENANTS)
    async with world.background:
        await invoke(world, TenantId="blue", InvocationType="Event")
        await world.advance(1)
    assert [invocation.tenant_id for _, invocation in pool.invoked] == ["blue"]


async def test_a_tenant_must_be_named_where_there_are_tenants_and_only_there(world):
    await create_function(world, TenancyConfig=TENANTS)
    with raises("InvalidParameterValueException", "is enabled with tenancy configuration. Add a valid tenant ID"):
        await invoke(world)
    await create_function(world, "g")
    with raises("InvalidParameterValueException", "is not enabled with tenancy configuration"):
        await world.call("lambda", "Invoke", FunctionName="g", TenantId="blue", InvocationType="Event")


async def test_what_tenants_exclude_is_refused(world):
    with raises("InvalidParameterValueException", "tenant isolation"):
        await create_function(
            world, TenancyConfig=TENANTS, Runtime="python3.12", SnapStart={"ApplyOn": "PublishedVersions"}
        )
    await create_function(world, TenancyConfig=TENANTS)
    with raises("InvalidParameterValueException", "tenant isolation"):
        await world.call("lambda", "CreateFunctionUrlConfig", FunctionName="f", AuthType="NONE")
    await world.call("lambda", "PublishVersion", FunctionName="f")
    with raises("InvalidParameterValueException", "tenant isolation"):
        await world.call(
            "lambda",
            "PutProvisionedConcurrencyConfig",
            FunctionName="f",
            Qualifier="1",
            ProvisionedConcurrentExecutions=1,
        )


async def test_file_systems_reach_the_engine(world, pool):
    created = await create_function(world, FileSystemConfigs=MOUNTED)
    assert created["FileSystemConfigs"] == MOUNTED
    await invoke(world)
    assert pool.invoked[0][0].file_systems == ((POINT["Arn"], "/mnt/shared"),)
    await world.call("lambda", "UpdateFunctionConfiguration", FunctionName="f", FileSystemConfigs=[])
    await world.settle()
    found = await world.call("lambda", "GetFunctionConfiguration", FunctionName="f")
    assert "FileSystemConfigs" not in found
