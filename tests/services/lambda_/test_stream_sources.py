import base64

import orjson
import pytest

from penstock.engines.functions.ports import Throttled
from penstock.framework.background import BackgroundRunner
from penstock.kernel.errors import ServiceError
from penstock.services import kinesis, lambda_, logs, sqs
from penstock.testkit.functions import FakePool, create_function, outcome
from penstock.testkit.world import World

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s"


@pytest.fixture
def pool():
    return FakePool()


@pytest.fixture
def world(pool):
    return World(lambda_.SERVICE, kinesis.SERVICE, sqs.SERVICE, logs.SERVICE, functions=pool)


async def feed(world, *, shards=1, position="TRIM_HORIZON", **members):
    await world.call("kinesis", "CreateStream", StreamName="s", ShardCount=shards)
    await create_function(world)
    made = await world.call(
        "lambda",
        "CreateEventSourceMapping",
        EventSourceArn=ARN,
        FunctionName="f",
        StartingPosition=position,
        **members,
    )
    await world.advance(0)
    return made["UUID"]


async def put(world, *words, key="k"):
    records = [{"Data": word.encode(), "PartitionKey": key} for word in words]
    await world.call("kinesis", "PutRecords", StreamName="s", Records=records)
    await world.advance(0)


def batches(pool):
    return [
        [base64.b64decode(record["kinesis"]["data"]).decode() for record in orjson.loads(invocation.payload)["Records"]]
        for _, invocation in pool.invoked
    ]


def failing_on(*bad):
    def handler(spec, invocation):
        words = [
            base64.b64decode(record["kinesis"]["data"]).decode()
            for record in orjson.loads(invocation.payload)["Records"]
        ]
        return outcome(b'{"errorMessage":"no"}', error="ValueError") if set(bad) & set(words) else outcome()

    return handler


async def test_records_are_handed_over_in_awss_shape_and_in_order(world, pool):
    async with world.background:
        await feed(world)
        await put(world, "a", "b")
        await put(world, "c")
        assert batches(pool) == [["a", "b"], ["c"]]
        record = orjson.loads(pool.invoked[0][1].payload)["Records"][0]
        assert (record["eventSource"], record["eventName"], record["eventSourceARN"]) == (
            "aws:kinesis",
            "aws:kinesis:record",
            ARN,
        )
        assert record["eventID"] == f"shardId-000000000000:{record['kinesis']['sequenceNumber']}"
        assert record["kinesis"]["partitionKey"] == "k"
        assert record["kinesis"]["approximateArrivalTimestamp"] == pytest.approx(world.clock.now_ms() / 1000)


async def test_latest_begins_with_what_comes_after_the_mapping(world, pool):
    async with world.background:
        await world.call("kinesis", "CreateStream", StreamName="s", ShardCount=1)
        await world.advance(1)
        await put(world, "before")
        await world.advance(1)
        await create_function(world)
        params = {"EventSourceArn": ARN, "FunctionName": "f", "StartingPosition": "LATEST"}
        await world.call("lambda", "CreateEventSourceMapping", **params)
        await put(world, "after")
        assert batches(pool) == [["after"]]


async def test_a_failed_batch_holds_its_shard_until_it_succeeds(world, pool):
    async with world.background:
        await feed(world)
        pool.handler = failing_on("bad")
        await put(world, "bad", "x")
        await put(world, "y")
        await world.advance(10)
        tried = batches(pool)
        assert 3 <= len(tried) <= 9
        assert all(batch == ["bad", "x"] for batch in tried)
        pool.handler = lambda spec, invocation: outcome()
        await world.advance(60)
        assert batches(pool)[len(tried) :] == [["bad", "x"], ["y"]]


async def test_bisecting_finds_the_bad_record_and_tells_the_destination(world, pool):
    async with world.background:
        url = (await world.call("sqs", "CreateQueue", QueueName="lost"))["QueueUrl"]
        target = "arn:aws:sqs:us-east-1:000000000000:lost"
        await feed(
            world,
            BisectBatchOnFunctionError=True,
            MaximumRetryAttempts=1,
            DestinationConfig={"OnFailure": {"Destination": target}},
        )
        pool.handler = failing_on("bad")
        await put(world, "a", "b", "bad", "c")
        await put(world, "d")
        await world.advance(60)
        done = [batch for batch in batches(pool) if "bad" not in batch]
        assert done == [["a", "b"], ["c"], ["d"]]
        assert batches(pool).count(["bad"]) == 2
        message = (await world.call("sqs", "ReceiveMessage", QueueUrl=url))["Messages"][0]
        told = orjson.loads(message["Body"])
        assert told["requestContext"]["condition"] == "RetryAttemptsExhausted"
        assert told["requestContext"]["approximateInvokeCount"] == 2
        info = told["KinesisBatchInfo"]
        assert (info["batchSize"], info["shardId"], info["streamArn"]) == (1, "shardId-000000000000", ARN)
        assert info["startSequenceNumber"] == info["endSequenceNumber"]


async def test_what_lies_before_the_named_failure_is_not_tried_again(world, pool):
    async with world.background:
        await feed(world, FunctionResponseTypes=["ReportBatchItemFailures"])
        is_first = [True]

        def handler(spec, invocation):
            records = orjson.loads(invocation.payload)["Records"]
            if not is_first[0]:
                return outcome(b'{"batchItemFailures": []}')
            is_first[0] = False
            failed = {"itemIdentifier": records[1]["kinesis"]["sequenceNumber"]}
            return outcome(orjson.dumps({"batchItemFailures": [failed]}))

        pool.handler = handler
        await put(world, "a", "b", "c")
        await world.advance(5)
        assert batches(pool) == [["a", "b", "c"], ["b", "c"]]


async def test_records_that_grow_too_old_are_given_up(world, pool):
    async with world.background:
        await feed(world, MaximumRecordAgeInSeconds=60)
        pool.handler = failing_on("bad")
        await put(world, "bad")
        await world.advance(130)
        tried = len(pool.invoked)
        await put(world, "good")
        await world.advance(60)
        assert batches(pool)[tried:] == [["good"]]


async def test_a_throttled_function_slows_its_reader_and_uses_up_no_retries(world, pool):
    async with world.background:
        await feed(world, MaximumRetryAttempts=0)

        def throttled(spec, invocation):
            raise Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")

        pool.handler = throttled
        await put(world, "a")
        await world.advance(60)
        assert 3 <= len(pool.invoked) <= 10
        pool.handler = lambda spec, invocation: outcome()
        await world.advance(60)
        assert batches(pool)[-1] == ["a"]


async def test_children_are_read_after_their_parents(world, pool):
    async with world.background:
        await feed(world)
        pool.handler = failing_on("p")
        await put(world, "p")
        await world.call(
            "kinesis", "SplitShard", StreamName="s", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127)
        )
        await world.advance(1)
        await put(world, "c")
        await world.advance(5)
        assert all(batch == ["p"] for batch in batches(pool))
        pool.handler = lambda spec, invocation: outcome()
        await world.advance(60)
        assert batches(pool)[-1] == ["c"]


async def test_filters_pass_over_what_they_do_not_want(world, pool):
    async with world.background:
        await feed(world, FilterCriteria={"Filters": [{"Pattern": '{"data": {"kind": ["a"]}}'}]})
        await put(world, '{"kind": "a"}', '{"kind": "b"}', "no json")
        assert batches(pool) == [['{"kind": "a"}']]


async def test_a_node_that_starts_again_goes_on_where_it_stood(world, pool):
    async with world.background:
        await feed(world)
        await put(world, "a")
        pool.handler = failing_on("b")
        await put(world, "b")
    pool.handler = lambda spec, invocation: outcome()
    rooms = (lambda_.SERVICE, kinesis.SERVICE, sqs.SERVICE, logs.SERVICE)
    world.background = BackgroundRunner(world.platform, rooms)
    async with world.background:
        await world.advance(60)
        await put(world, "c")
    assert batches(pool)[0] == ["a"]
    assert [batch for batch in batches(pool)[1:] if batch != ["b"]] == [["c"]]


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"StartingPosition": None}, "startingPosition"),
        ({"StartingPosition": "AT_TIMESTAMP"}, "StartingPositionTimestamp is required"),
        (
            {"StartingPosition": "LATEST", "ParallelizationFactor": 2, "TumblingWindowInSeconds": 60},
            "ParallelizationFactor must be 1",
        ),
        ({"StartingPosition": "LATEST", "ScalingConfig": {"MaximumConcurrency": 2}}, "Unsupported ScalingConfig"),
        ({"StartingPosition": "LATEST", "EventSourceArn": ARN + "x"}, "Stream not found"),
        ({"StartingPosition": "LATEST", "EventSourceArn": "arn:aws:s3:::b"}, "Unrecognized event source"),
    ],
)
async def test_what_does_not_go_together_is_refused(world, members, text):
    await world.call("kinesis", "CreateStream", StreamName="s", ShardCount=1)
    await create_function(world)
    params = {"EventSourceArn": ARN, "FunctionName": "f", **members}
    with pytest.raises(ServiceError, match=text):
        await world.call("lambda", "CreateEventSourceMapping", **params)


async def test_a_stream_that_is_deleted_and_made_again_is_read_from_its_new_beginning(world, pool):
    async with world.background:
        id = await feed(world)
        await put(world, "old")
        await world.call("kinesis", "SplitShard", StreamName="s", ShardToSplit="shardId-000000000000",
                         NewStartingHashKey=str(2**127))  # fmt: skip
        await world.advance(1)
        await put(world, "older")
        await world.call("kinesis", "DeleteStream", StreamName="s")
        await world.advance(120)
        described = await world.call("lambda", "GetEventSourceMapping", UUID=id)
        assert described["LastProcessingResult"].startswith("PROBLEM: Cannot access stream")
        await world.call("kinesis", "CreateStream", StreamName="s", ShardCount=1)
        await world.advance(120)
        await put(world, "new")
        await world.advance(120)
        assert [word for batch in batches(pool) for word in batch] == ["old", "older", "new"]


async def test_a_consumer_of_a_stream_feeds_a_function_too(world, pool):
    async with world.background:
        await world.call("kinesis", "CreateStream", StreamName="s", ShardCount=1)
        await world.advance(1)
        made = await world.call("kinesis", "RegisterStreamConsumer", StreamARN=ARN, ConsumerName="c")
        consumer = made["Consumer"]["ConsumerARN"]
        await create_function(world)
        params = {"FunctionName": "f", "StartingPosition": "TRIM_HORIZON"}
        with pytest.raises(ServiceError, match="Stream not found"):
            await world.call("lambda", "CreateEventSourceMapping", **params, EventSourceArn=f"{consumer}0")
        await world.call("lambda", "CreateEventSourceMapping", **params, EventSourceArn=consumer)
        await put(world, "a")
        assert batches(pool) == [["a"]]
        assert orjson.loads(pool.invoked[0][1].payload)["Records"][0]["eventSourceARN"] == consumer
