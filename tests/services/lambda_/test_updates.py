from pathlib import Path

import pytest

from penstock.kernel.errors import ServiceError
from penstock.testkit.functions import create_function, zipped

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


async def call(world, operation, **params):
    return await world.call("lambda", operation, **{"FunctionName": "f", **params})


def code_of(spec):
    return (Path(spec.code_dir) / "app.py").read_text()


async def test_while_code_is_updated_the_old_code_runs_and_afterwards_the_new(world, pool):
    await create_function(world, Code={"ZipFile": zipped("old")})
    updated = await call(world, "UpdateFunctionCode", ZipFile=zipped("new"))
    assert (updated["LastUpdateStatus"], updated["State"]) == ("InProgress", "Active")
    await call(world, "Invoke")
    with pytest.raises(ServiceError, match=f"An update is in progress for resource: {ARN}") as raised:
        await call(world, "UpdateFunctionConfiguration", Timeout=9)
    assert raised.value.code == "ResourceConflictException"
    await world.settle()
    assert (await call(world, "GetFunctionConfiguration"))["LastUpdateStatus"] == "Successful"
    await call(world, "Invoke")
    assert [code_of(spec) for spec, _ in pool.invoked] == ["old", "new"]
    assert pool.invoked[0][0].id != pool.invoked[1][0].id
    assert pool.retired.count(f"{ARN}:$LATEST") == 2
    await world.advance(61)
    assert len([blob_id async for blob_id in world.platform.blobs.ids()]) == 1


async def test_a_configuration_update_changes_what_it_names_and_keeps_the_rest(world, pool):
    await create_function(world, Timeout=5, Environment={"Variables": {"A1": "x"}}, Description="d")
    changed = await call(world, "UpdateFunctionConfiguration", MemorySize=256, Environment={"Variables": {}})
    assert (changed["MemorySize"], changed["Timeout"], changed["Description"]) == (256, 5, "d")
    assert changed["Environment"] == {"Variables": {}}
    await world.settle()
    await call(world, "Invoke")
    assert (pool.invoked[0][0].memory_mb, pool.invoked[0][0].environment) == (256, {})


async def test_a_dry_run_of_new_code_changes_nothing(world):
    created = await create_function(world)
    answer = await call(world, "UpdateFunctionCode", ZipFile=zipped("other"), DryRun=True)
    assert answer["CodeSha256"] != created["CodeSha256"]
    assert (await call(world, "GetFunctionConfiguration"))["CodeSha256"] == created["CodeSha256"]


@pytest.mark.parametrize("operation", ["UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion"])
async def test_a_revision_that_is_not_the_latest_is_refused(world, operation):
    await create_function(world)
    members = {"ZipFile": zipped()} if operation == "UpdateFunctionCode" else {}
    with pytest.raises(ServiceError, match="Revision Id provided does not match") as raised:
        await call(world, operation, RevisionId="00000000-0000-0000-0000-000000000000", **members)
    assert (raised.value.code, raised.value.status) == ("PreconditionFailedException", 412)


async def test_only_latest_can_be_updated(world):
    await create_function(world, Publish=True)
    with pytest.raises(ServiceError, match="unpublished version"):
        await call(world, "UpdateFunctionConfiguration", FunctionName="f:1", Timeout=4)


async def test_tags_come_and_go(world):
    await create_function(world, Tags={"a": "1"})
    await world.call("lambda", "TagResource", Resource=ARN, Tags={"b": "2"})
    await world.call("lambda", "UntagResource", Resource=ARN, TagKeys=["a"])
    assert await world.call("lambda", "ListTags", Resource=ARN) == {"Tags": {"b": "2"}}
    with pytest.raises(ServiceError, match="Tags on function aliases and versions are not supported"):
        await world.call("lambda", "ListTags", Resource=f"{ARN}:1")


async def test_reserved_concurrency_reaches_the_engine_and_leaves_100_for_the_rest(world, pool):
    await create_function(world)
    assert await call(world, "PutFunctionConcurrency", ReservedConcurrentExecutions=900)
    await call(world, "Invoke")
    assert pool.invoked[0][0].reserved_concurrency == 900
    got = await call(world, "GetFunction")
    assert got["Concurrency"] == {"ReservedConcurrentExecutions": 900}
    settings = await world.call("lambda", "GetAccountSettings")
    assert settings["AccountLimit"]["UnreservedConcurrentExecutions"] == 100
    assert settings["AccountUsage"]["FunctionCount"] == 1
    with pytest.raises(ServiceError, match=r"below its minimum value of \[100\]"):
        await call(world, "PutFunctionConcurrency", ReservedConcurrentExecutions=901)
    await call(world, "DeleteFunctionConcurrency")
    assert await call(world, "GetFunctionConcurrency") == {}


async def test_a_function_without_concurrency_is_throttled_and_its_events_are_given_up_at_once(world, pool):
    async with world.background:
        await world.call("sqs", "CreateQueue", QueueName="dead")
        await create_function(world, DeadLetterConfig={"TargetArn": "arn:aws:sqs:us-east-1:000000000000:dead"})
        await call(world, "PutFunctionConcurrency", ReservedConcurrentExecutions=0)
        with pytest.raises(ServiceError, match="Rate Exceeded") as raised:
            await call(world, "Invoke")
        assert raised.value.fields["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
        await call(world, "Invoke", InvocationType="Event", Payload=b"[]")
        await world.advance(0)
        url = "http://localhost:4566/000000000000/dead"
        answer = await world.call("sqs", "ReceiveMessage", QueueUrl=url, MessageAttributeNames=["All"])
        (message,) = answer["Messages"]
        assert message["MessageAttributes"]["ErrorMessage"]["StringValue"]
        assert "ErrorCode" not in message["MessageAttributes"]
        assert pool.invoked == []
