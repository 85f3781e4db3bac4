import asyncio

import pytest

from penstock.kernel.errors import ServiceError
from penstock.testkit.kinesis_world import ARN, FIRST, call, put, with_stream


async def with_consumer(**members):
    world = await with_stream(**members)
    consumer = (await call(world, "RegisterStreamConsumer", StreamARN=ARN, ConsumerName="c"))["Consumer"]
    assert consumer["ConsumerStatus"] == "CREATING"
    await world.settle()
    return world, consumer["ConsumerARN"]


async def subscribe(world, arn, kind="TRIM_HORIZON", shard=FIRST, **members):
    answer = await call(
        world, "SubscribeToShard", ConsumerARN=arn, ShardId=shard, StartingPosition={"Type": kind, **members}
    )
    return answer["EventStream"]


async def event_of(events):
    name, event = await anext(events)
    assert name == "SubscribeToShardEvent"
    return event


def data(event):
    return [record["Data"] for record in event["Records"]]


async def test_a_consumer_is_registered_found_and_deregistered():
    world, arn = await with_consumer()
    assert arn.startswith(f"{ARN}/consumer/c:")
    for named in ({"ConsumerARN": arn}, {"StreamARN": ARN, "ConsumerName": "c"}):
        described = (await call(world, "DescribeStreamConsumer", **named))["ConsumerDescription"]
        assert (described["ConsumerStatus"], described["StreamARN"]) == ("ACTIVE", ARN)
    with pytest.raises(ServiceError, match="ResourceInUseException: Consumer c already exists"):
        await call(world, "RegisterStreamConsumer", StreamARN=ARN, ConsumerName="c")
    summary = (await call(world, "DescribeStreamSummary", StreamName="s"))["StreamDescriptionSummary"]
    assert summary["ConsumerCount"] == 1
    with pytest.raises(ServiceError, match="ResourceInUseException"):
        await call(world, "DeleteStream", StreamName="s")
    await call(world, "DeregisterStreamConsumer", ConsumerARN=arn)
    await world.settle()
    assert (await call(world, "ListStreamConsumers", StreamARN=ARN))["Consumers"] == []
    with pytest.raises(ServiceError, match="ResourceNotFoundException: Consumer c"):
        await call(world, "DescribeStreamConsumer", ConsumerARN=arn)


async def test_consumers_are_listed_by_pages_and_twenty_are_enough():
    world = await with_stream()
    for number in range(20):
        await call(world, "RegisterStreamConsumer", StreamARN=ARN, ConsumerName=f"c{number:02}")
    with pytest.raises(ServiceError, match="LimitExceededException"):
        await call(world, "RegisterStreamConsumer", StreamARN=ARN, ConsumerName="more")
    page = await call(world, "ListStreamConsumers", StreamARN=ARN, MaxResults=15)
    rest = await call(world, "ListStreamConsumers", StreamARN=ARN, NextToken=page["NextToken"])
    names = [consumer["ConsumerName"] for consumer in page["Consumers"] + rest["Consumers"]]
    assert names == [f"c{number:02}" for number in range(20)]


async def test_a_subscriber_is_sent_what_is_there_and_what_comes():
    world, arn = await with_consumer()
    await put(world, b"1", b"2")
    events = await subscribe(world, arn)
    first = await event_of(events)
    assert data(first) == [b"1", b"2"]
    coming = asyncio.ensure_future(event_of(events))
    await world.settle()
    assert not coming.done()
    await put(world, b"3")
    assert data(await coming) == [b"3"]
    again = await world.advance(6) or await subscribe(
        world, arn, "AFTER_SEQUENCE_NUMBER", SequenceNumber=first["ContinuationSequenceNumber"]
    )
    assert data(await event_of(again)) == [b"3"]


async def test_an_idle_subscription_sends_heartbeats_and_ends_after_five_minutes():
    world, arn = await with_consumer()
    events = await subscribe(world, arn, "LATEST")
    seen = []

    async def collect():
        seen.extend([event async for event in events])

    collecting = asyncio.ensure_future(collect())
    await world.advance(301)
    await collecting
    assert len(seen) >= 60
    assert all(event["Records"] == [] and event["ContinuationSequenceNumber"] for _, event in seen)


async def test_a_subscription_ends_with_the_children_of_a_closed_shard():
    world, arn = await with_consumer()
    events = await subscribe(world, arn)
    await event_of(events)
    await call(world, "SplitShard", StreamName="s", ShardToSplit=FIRST, NewStartingHashKey=str(2**127))
    last = await event_of(events)
    assert [child["ShardId"][-1] for child in last["ChildShards"]] == ["1", "2"]
    assert "ContinuationSequenceNumber" not in last
    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_a_second_subscription_waits_five_seconds_and_ends_the_first():
    world, arn = await with_consumer()
    first = await subscribe(world, arn)
    await event_of(first)
    with pytest.raises(ServiceError, match="ResourceInUseException"):
        await subscribe(world, arn)
    await world.advance(5)
    second = await subscribe(world, arn)
    with pytest.raises(StopAsyncIteration):
        await anext(first)
    assert data(await event_of(second)) == []


async def test_a_subscription_fails_once_its_consumer_is_gone():
    world, arn = await with_consumer()
    events = await subscribe(world, arn)
    await event_of(events)
    await call(world, "DeregisterStreamConsumer", ConsumerARN=arn)
    await world.settle()
    with pytest.raises(ServiceError, match="ResourceNotFoundException"):
        await anext(events)


async def test_consumers_have_tags():
    world, arn = await with_consumer()
    await call(world, "TagResource", ResourceARN=arn, Tags={"a": "1", "b": "2"})
    await call(world, "UntagResource", ResourceARN=arn, TagKeys=["a"])
    assert (await call(world, "ListTagsForResource", ResourceARN=arn))["Tags"] == [{"Key": "b", "Value": "2"}]
    assert (await call(world, "ListTagsForResource", ResourceARN=ARN))["Tags"] == []
    with pytest.raises(ServiceError, match="cannot have more than 50 tags"):
        await call(world, "TagResource", ResourceARN=ARN, Tags={str(number): "" for number in range(51)})
