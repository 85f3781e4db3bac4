import pytest

from penstock.kernel.errors import ServiceError
from penstock.testkit.kinesis_world import ACCOUNT, ARN, FIRST, call, iterator, put, read, with_stream

KIB = 1024
TOO_FAST = f"Rate exceeded for shard {FIRST} in stream s under account {ACCOUNT}."
ON_DEMAND = {"StreamMode": "ON_DEMAND"}


def records(count, size=1):
    return [{"Data": b"x" * size, "PartitionKey": "k"} for _ in range(count)]


async def test_a_shard_takes_a_thousand_records_a_second_when_limits_are_kept():
    world = await with_stream(limits="aws")
    for _ in range(2):
        assert (await call(world, "PutRecords", StreamName="s", Records=records(500)))["FailedRecordCount"] == 0
    answer = await call(world, "PutRecords", StreamName="s", Records=records(2))
    assert answer["FailedRecordCount"] == 2
    assert answer["Records"][0] == {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": TOO_FAST}
    with pytest.raises(ServiceError, match="ProvisionedThroughputExceededException: Rate exceeded"):
        await put(world, b"x")
    await world.advance(1)
    await put(world, b"x")


async def test_a_batch_that_a_shard_has_no_room_for_fails_in_part():
    world = await with_stream(limits="aws")
    answer = await call(world, "PutRecords", StreamName="s", Records=records(5, 300 * KIB))
    assert ["ErrorCode" in record for record in answer["Records"]] == [False, False, False, True, True]
    assert answer["FailedRecordCount"] == 2
    assert len(await read(world)) == 3


async def test_a_shard_is_read_five_times_a_second_when_limits_are_kept():
    world = await with_stream(limits="aws")
    at = await iterator(world)
    for _ in range(5):
        await call(world, "GetRecords", ShardIterator=at)
    with pytest.raises(ServiceError, match="ProvisionedThroughputExceededException"):
        await call(world, "GetRecords", ShardIterator=at)
    await world.advance(0.2)
    await call(world, "GetRecords", ShardIterator=at)


async def test_a_large_read_makes_the_next_ones_wait():
    world = await with_stream(limits="aws")
    for _ in range(10):
        await put(world, b"x" * (1024 * KIB - 1))
        await world.advance(1)
    at = await iterator(world)
    answer = await call(world, "GetRecords", ShardIterator=at)
    assert 9 <= len(answer["Records"]) <= 10
    await world.advance(2)
    with pytest.raises(ServiceError, match="ProvisionedThroughputExceededException"):
        await call(world, "GetRecords", ShardIterator=at)
    await world.advance(3)
    await call(world, "GetRecords", ShardIterator=at)


async def test_nothing_is_bounded_where_nobody_asks_for_it():
    world = await with_stream()
    for _ in range(3):
        assert (await call(world, "PutRecords", StreamName="s", Records=records(500, 5000)))["FailedRecordCount"] == 0


async def test_a_record_may_be_as_long_as_its_stream_allows():
    world = await with_stream()
    await put(world, b"x" * (1024 * KIB - 1))
    with pytest.raises(ServiceError, match="'data' failed to satisfy .* less than or equal to 1048576"):
        await put(world, b"x" * (1024 * KIB))
    with pytest.raises(ServiceError, match=r"'records\.2\.member\.data' failed"):
        await call(world, "PutRecords", StreamName="s", Records=[*records(1), *records(1, 1024 * KIB + 1)])
    await call(world, "UpdateMaxRecordSize", StreamARN=ARN, MaxRecordSizeInKiB=2048)
    await world.settle()
    await put(world, b"x" * (2048 * KIB - 1))


async def test_an_on_demand_stream_is_warmed_at_once():
    world = await with_stream(StreamModeDetails=ON_DEMAND)
    answer = await call(world, "UpdateStreamWarmThroughput", StreamARN=ARN, WarmThroughputMiBps=10)
    assert answer["WarmThroughput"] == {"TargetMiBps": 10, "CurrentMiBps": 4}
    await world.settle()
    summary = (await call(world, "DescribeStreamSummary", StreamName="s"))["StreamDescriptionSummary"]
    assert (summary["OpenShardCount"], summary["WarmThroughput"]["CurrentMiBps"]) == (10, 10)
    with pytest.raises(ServiceError, match="Stream s under account 000000000000 is in On-Demand mode"):
        await call(world, "UpdateShardCount", StreamName="s", TargetShardCount=5, ScalingType="UNIFORM_SCALING")


async def test_an_account_has_five_hundred_provisioned_shards():
    world = await with_stream(shards=499)
    await call(world, "CreateStream", StreamName="free", StreamModeDetails=ON_DEMAND)
    with pytest.raises(ServiceError, match="LimitExceededException: This request would exceed the shard limit"):
        await call(world, "CreateStream", StreamName="more", ShardCount=2)
    await call(world, "CreateStream", StreamName="last", ShardCount=1)
    described = await call(world, "DescribeLimits")
    assert (described["OpenShardCount"], described["OnDemandStreamCount"]) == (500, 1)


async def test_an_on_demand_stream_grows_with_its_writers():
    world = await with_stream(limits="aws", StreamModeDetails=ON_DEMAND)
    acknowledged = 0

    async def put_batch(count):
        batch = [{"Data": b"x" * 10_000, "PartitionKey": f"{count}-{n}"} for n in range(count)]
        answer = await call(world, "PutRecords", StreamName="s", Records=batch)
        await world.settle()
        return count - answer["FailedRecordCount"]

    async def open_shards():
        described = await call(world, "DescribeStreamSummary", StreamName="s")
        return described["StreamDescriptionSummary"]["OpenShardCount"]

    acknowledged += await put_batch(150)
    assert await open_shards() == 4
    acknowledged += await put_batch(100)
    assert await open_shards() == 8
    await world.advance(2)
    for _ in range(4):
        acknowledged += await put_batch(100)
        await world.advance(1)
    assert await open_shards() == 8
    assert acknowledged == 650
    assert await put_batch(500) < 500 or await open_shards() == 16


async def test_monitoring_is_switched_by_metric():
    world = await with_stream()
    await call(world, "EnableEnhancedMonitoring", StreamName="s", ShardLevelMetrics=["ALL"])
    await world.settle()
    answer = await call(world, "DisableEnhancedMonitoring", StreamName="s", ShardLevelMetrics=["IncomingBytes"])
    assert (len(answer["CurrentShardLevelMetrics"]), len(answer["DesiredShardLevelMetrics"])) == (7, 6)


async def test_a_commitment_holds_a_day():
    world = await with_stream()
    name = "MinimumThroughputBillingCommitment"
    assert (await call(world, "DescribeAccountSettings"))[name] == {"Status": "DISABLED"}
    assert (await call(world, "UpdateAccountSettings", **{name: {"Status": "ENABLED"}}))[name]["Status"] == "ENABLED"
    with pytest.raises(ServiceError, match="ValidationException"):
        await call(world, "UpdateAccountSettings", **{name: {"Status": "DISABLED"}})
    await world.advance(24 * 3600)
    assert (await call(world, "UpdateAccountSettings", **{name: {"Status": "DISABLED"}}))[name]["EndedAt"]


async def test_a_raised_retention_brings_nothing_back():
    world = await with_stream()
    await put(world, b"old")
    await world.advance(23 * 3600)
    await put(world, b"kept")
    await world.advance(2 * 3600)
    await call(world, "IncreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=8760)
    assert await read(world) == [b"kept"]
    await world.advance(48 * 3600)
    assert await read(world) == [b"kept"]


async def test_records_bear_the_encryption_of_their_time():
    world = await with_stream()
    await put(world, b"plain")
    await call(world, "StartStreamEncryption", StreamName="s", EncryptionType="KMS", KeyId="alias/aws/kinesis")
    await world.settle()
    assert (await put(world, b"sealed"))[0]["EncryptionType"] == "KMS"
    answer = await call(world, "GetRecords", ShardIterator=await iterator(world))
    assert [record.get("EncryptionType") for record in answer["Records"]] == [None, "KMS"]
    described = (await call(world, "DescribeStream", StreamName="s"))["StreamDescription"]
    assert (described["EncryptionType"], described["KeyId"]) == ("KMS", "alias/aws/kinesis")
