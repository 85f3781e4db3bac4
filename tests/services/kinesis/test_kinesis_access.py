import json

import pytest

from penstock.framework.service import snake_name
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Principal, Scope
from penstock.services import iam, kinesis
from penstock.testkit.kinesis_world import ARN, call, iterator, put, read, with_stream
from penstock.testkit.world import World

OTHER = "111111111111"
JOB = Principal("role", OTHER, f"arn:aws:sts::{OTHER}:assumed-role/job/s", "AROA:s")


def test_every_operation_is_in_the_table():
    assert {snake_name(name) for name in kinesis.SERVICE.access.permissions} == set(kinesis.SERVICE.operations)


async def test_an_arn_names_the_stream_of_its_account_and_region():
    world = await with_stream()
    for account in ("000000000000", OTHER):
        await call(world, "PutRecord", account=account, StreamARN=ARN, Data=b"x", PartitionKey="k")
    assert await read(world) == [b"x", b"x"]
    with pytest.raises(ServiceError, match="Stream s under account 000000000000 not found"):
        await call(world, "PutRecord", region="eu-west-1", StreamARN=ARN, Data=b"x", PartitionKey="k")
    with pytest.raises(ServiceError, match=f"Stream s under account {OTHER} not found"):
        await call(world, "PutRecord", account=OTHER, StreamName="s", Data=b"x", PartitionKey="k")


@pytest.mark.parametrize("text", ["nonsense", "bm9uc2Vuc2U=", "////", "A" * 500])
async def test_an_iterator_that_nobody_handed_out_is_refused(text):
    world = await with_stream()
    with pytest.raises(ServiceError, match="InvalidArgumentException: Invalid ShardIterator"):
        await call(world, "GetRecords", ShardIterator=text)


async def test_a_changed_iterator_is_refused_but_not_a_quoted_one():
    world = await with_stream()
    text = await iterator(world)
    await call(world, "GetRecords", ShardIterator=f'"{text}"')
    changed = text[:40] + ("A" if text[40] != "A" else "B") + text[41:]
    with pytest.raises(ServiceError, match="Invalid ShardIterator"):
        await call(world, "GetRecords", ShardIterator=changed)


async def test_reading_asks_for_the_stream_that_the_iterator_names():
    world = World(kinesis.SERVICE, iam.SERVICE)
    await call(world, "CreateStream", StreamName="s", ShardCount=2)
    await world.settle()
    await put(world, b"x")
    at = await iterator(world)
    token = (await call(world, "ListShards", StreamName="s", MaxResults=1))["NextToken"]
    world.platform.auth = "enforce"
    job = world.context(principal=JOB, scope=Scope(OTHER))
    for operation, params in [("GetRecords", {"ShardIterator": at}), ("ListShards", {"NextToken": token})]:
        with pytest.raises(ServiceError, match=f"kinesis:{operation} on resource: {ARN}"):
            await job.call("kinesis", operation, params)


async def test_a_policy_of_the_stream_is_kept_and_given_back():
    world = await with_stream()
    assert (await call(world, "GetResourcePolicy", ResourceARN=ARN))["Policy"] == "{}"
    statement = {"Effect": "Allow", "Principal": "*", "Action": "kinesis:PutRecord", "Resource": ARN}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    await call(world, "PutResourcePolicy", ResourceARN=ARN, Policy=policy)
    assert (await call(world, "GetResourcePolicy", ResourceARN=ARN))["Policy"] == policy
    await call(world, "DeleteResourcePolicy", ResourceARN=ARN)
    with pytest.raises(ServiceError, match="No resource policy found"):
        await call(world, "DeleteResourcePolicy", ResourceARN=ARN)
    for bad in ("", "x", "{}", '{"Statement": [{"Effect": "Perhaps"}]}'):
        with pytest.raises(ServiceError, match="InvalidArgumentException"):
            await call(world, "PutResourcePolicy", ResourceARN=ARN, Policy=bad)
