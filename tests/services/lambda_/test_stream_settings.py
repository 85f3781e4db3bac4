"""Settings of stream mappings: lanes, windows, destinations, updates while running."""

import asyncio
import base64

import orjson
import pytest

from penstock.engines.functions.ports import Throttled
from penstock.framework.background import BackgroundRunner
from penstock.kernel.errors import ServiceError
from penstock.services import kinesis, lambda_, logs, s3, sqs
from penstock.services.lambda_.operations.source_metrics import source_metrics_of
from penstock.testkit.functions import FakePool, create_function, outcome
from penstock.testkit.world import World

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
ROOMS = (lambda_.SERVICE, kinesis.SERVICE, sqs.SERVICE, s3.SERVICE, logs.SERVICE)


@pytest.fixture
def pool():
    return FakePool()


@pytest.fixture
def world(pool):
    return World(*ROOMS, functions=pool)


async def feed(world, *, shards=1, **members):
    await world.call("kinesis", "CreateStream", StreamName="s", ShardCount=shards)
    await create_function(world)
    params = {"EventSourceArn": ARN, "FunctionName": "f", "StartingPosition": "TRIM_HORIZON", **members}
    made = await world.call("lambda", "CreateEventSourceMapping", **params)
    await world.advance(0)
    return made["UUID"]


async def put(world, *pairs):
    records = [{"Data": word.encode(), "PartitionKey": key} for key, word in pairs]
    await world.call("kinesis", "PutRecords", StreamName="s", Records=records)
    await world.advance(0)


def events(pool):
    return [orjson.loads(invocation.payload) for _, invocation in pool.invoked]


def pairs(event):
    return [
        (record["kinesis"]["partitionKey"], base64.b64decode(record["kinesis"]["data"]).decode())
        for record in event["Records"]
    ]


def failing(test):
    def handler(spec, invocation):
        event = orjson.loads(invocation.payload)
        return outcome(b'{"errorMessage":"no"}', error="ValueError") if test(event) else outcome()

    return handler


async def described(world, id):
    return await world.call("lambda", "GetEventSourceMapping", UUID=id)


async def test_a_failing_key_holds_up_its_lane_and_no_other(world, pool):
    async with world.background:
        await feed(world, ParallelizationFactor=10, BatchSize=5)
        pool.handler = failing(lambda event: ("k0", "0") in pairs(event))
        await put(world, *[(f"k{n % 20}", str(n)) for n in range(200)])
        await world.advance(30)
        succeeded = [pair for event in events(pool) for pair in pairs(event) if pair[0] != "k0"]
        assert len(set(succeeded)) > 150
        pool.handler = lambda spec, invocation: outcome()
        await world.advance(120)
        for key in range(20):
            seen = dict.fromkeys(word for event in events(pool) for name, word in pairs(event) if name == f"k{key}")
            assert list(seen) == [str(n) for n in range(200) if n % 20 == key]


async def test_lanes_can_be_changed_while_records_wait_and_each_is_handed_over_in_order(world, pool):
    async with world.background:
        id = await feed(world, ParallelizationFactor=3, BatchSize=4)
        done = []

        def handler(spec, invocation):
            found = pairs(orjson.loads(invocation.payload))
            if len(done) > 20 and found[0][0] in ("k1", "k4"):
                raise Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
            done.extend(found)
            return outcome()

        pool.handler = handler
        await put(world, *[(f"k{n % 7}", f"{n:03d}") for n in range(70)])
        for begin, lanes in ((70, 7), (90, 1), (110, 10)):
            await world.call("lambda", "UpdateEventSourceMapping", UUID=id, ParallelizationFactor=lanes)
            await put(world, *[(f"k{n % 7}", f"{n:03d}") for n in range(begin, begin + 20)])
            await world.advance(3)
            assert (await described(world, id))["State"] == "Enabled"
        pool.handler = lambda spec, invocation: done.extend(pairs(orjson.loads(invocation.payload))) or outcome()
        await world.advance(60)
        assert len(done) == len(set(done)) == 130
        for key in range(7):
            words = [word for name, word in done if name == f"k{key}"]
            assert words == sorted(words)


async def test_a_tumbling_window_carries_its_state_and_ends_with_an_empty_batch(world, pool):
    async with world.background:
        await feed(world, TumblingWindowInSeconds=60)

        def handler(spec, invocation):
            event = orjson.loads(invocation.payload)
            state = event["state"]
            state["n"] = state.get("n", 0) + len(event["Records"])
            return outcome(orjson.dumps({"state": state}))

        pool.handler = handler
        start_ms = -(-world.clock.now_ms() // 60_000) * 60_000
        await world.advance((start_ms - world.clock.now_ms()) / 1000)
        await put(world, ("a", "1"), ("b", "2"))
        await world.advance(30)
        await put(world, ("a", "3"))
        await world.advance(29)
        assert [event["state"] for event in events(pool)] == [{}, {"n": 2}]
        await world.advance(3)
        final = events(pool)[-1]
        assert (final["Records"], final["state"], final["isFinalInvokeForWindow"]) == ([], {"n": 3}, True)
        assert final["isWindowTerminatedEarly"] is False
        assert (final["shardId"], final["eventSourceARN"]) == ("shardId-000000000000", ARN)
        begin, end = final["window"]["start"], final["window"]["end"]
        assert (begin[-4:], end[-4:], begin < end) == (":00Z", ":00Z", True)
        await put(world, ("a", "4"))
        assert events(pool)[-1]["state"] == {}
        count = len(pool.invoked)
        await world.advance(600)
        assert len(pool.invoked) == count + 1


async def test_a_window_that_fails_to_end_holds_up_what_comes_after_it(world, pool):
    async with world.background:
        await feed(world, TumblingWindowInSeconds=10)
        pool.handler = lambda spec, invocation: (
            outcome(b'{"errorMessage":"no"}', error="E")
            if orjson.loads(invocation.payload)["isFinalInvokeForWindow"]
            else outcome(b'{"state": {"seen": 1}}')
        )
        await put(world, ("a", "1"))
        await world.advance(30)
        await put(world, ("a", "2"))
        await world.advance(30)
        assert all(event["Records"] == [] for event in events(pool)[1:])
        assert len(pool.invoked) < 15
        pool.handler = lambda spec, invocation: outcome(b'{"state": {}}')
        await world.advance(90)
        assert [pairs(event) for event in events(pool)][-2:] == [[("a", "2")], []]


async def test_an_answer_without_a_state_is_a_failure(world, pool):
    async with world.background:
        await feed(world, TumblingWindowInSeconds=60, MaximumRetryAttempts=1)
        pool.handler = lambda spec, invocation: outcome(b'{"batchItemFailures": []}')
        await put(world, ("a", "1"))
        await world.advance(5)
        assert len(pool.invoked) == 2


async def test_a_bucket_gets_the_whole_event_under_awss_key(world, pool):
    async with world.background:
        await world.call("s3", "CreateBucket", Bucket="lost")
        target = {"OnFailure": {"Destination": "arn:aws:s3:::lost"}}
        id = await feed(world, MaximumRetryAttempts=0, DestinationConfig=target)
        pool.handler = failing(lambda event: True)
        await put(world, ("k", "a"), ("k", "b"))
        await world.advance(1)
        [entry] = (await world.call("s3", "ListObjectsV2", Bucket="lost"))["Contents"]
        day = "/".join(entry["Key"].split("/")[4:7])
        assert entry["Key"].startswith(f"aws/lambda/{id}/shardId-000000000000/{day}/{day.replace('/', '-')}T")
        body = (await world.call("s3", "GetObject", Bucket="lost", Key=entry["Key"]))["Body"]
        told = orjson.loads(await body.read(bytes_max=10_000))
        assert pairs(orjson.loads(told["payload"])) == [("k", "a"), ("k", "b")]
        assert told["KinesisBatchInfo"]["batchSize"] == 2
        assert told["requestContext"]["condition"] == "RetryAttemptsExhausted"
        assert told["responseContext"] == {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        }
        assert (await described(world, id))["LastProcessingResult"] == "PROBLEM: Function call failed"


async def test_records_end_at_the_destination_when_the_stream_forgets_them(world, pool):
    async with world.background:
        url = (await world.call("sqs", "CreateQueue", QueueName="lost"))["QueueUrl"]
        target = {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:lost"}}
        await feed(world, DestinationConfig=target)
        pool.handler = failing(lambda event: ("k", "bad") in pairs(event))
        await put(world, ("k", "bad"))
        await world.advance(23 * 3600)
        await put(world, ("k", "good"))
        await world.advance(2 * 3600)
        [message] = (await world.call("sqs", "ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10))["Messages"]
        told = orjson.loads(message["Body"])
        assert told["requestContext"]["condition"] == "RecordAgeExceeded"
        assert told["requestContext"]["approximateInvokeCount"] > 1000
        assert pairs(events(pool)[-1]) == [("k", "good")]


async def test_news_do_not_shorten_the_pause_after_a_failure(world, pool):
    async with world.background:
        await feed(world)
        pool.handler = failing(lambda event: True)
        await put(world, ("k", "bad"))
        await world.advance(100)
        tried = len(pool.invoked)
        for number in range(50):
            await put(world, ("k", str(number)))
            await world.advance(0.2)
        assert len(pool.invoked) <= tried + 1


async def test_an_update_waits_for_what_is_being_tried_and_goes_on_from_there(world, pool):
    async with world.background:
        id = await feed(world, BatchSize=1)
        gate = asyncio.Event()
        asked = pool.invoke

        async def slow(spec, invocation):
            await gate.wait()
            return await asked(spec, invocation)

        pool.invoke = slow
        records = [{"Data": word.encode(), "PartitionKey": "k"} for word in "abc"]
        await world.call("kinesis", "PutRecords", StreamName="s", Records=records)
        for _ in range(30):
            await asyncio.sleep(0)
        await world.call("lambda", "UpdateEventSourceMapping", UUID=id, Enabled=False)
        assert (await described(world, id))["State"] == "Disabling"
        with pytest.raises(ServiceError, match="Cannot update the event source mapping because it is in use"):
            await world.call("lambda", "UpdateEventSourceMapping", UUID=id, Enabled=True)
        gate.set()
        await world.advance(1)
        assert (await described(world, id))["State"] == "Disabled"
        assert [pairs(event) for event in events(pool)] == [[("k", "a")]]
        await world.call("lambda", "UpdateEventSourceMapping", UUID=id, Enabled=True, BatchSize=10)
        await world.advance(1)
        assert [pairs(event) for event in events(pool)][1:] == [[("k", "b"), ("k", "c")]]
        await world.call("lambda", "DeleteEventSourceMapping", UUID=id)
        await world.advance(1)
        with pytest.raises(ServiceError, match="ResourceNotFoundException"):
            await described(world, id)


async def test_batches_wait_for_their_window_or_their_size(world, pool):
    async with world.background:
        await feed(world, BatchSize=3, MaximumBatchingWindowInSeconds=10)
        await put(world, ("k", "1"))
        await world.advance(9)
        assert events(pool) == []
        await world.advance(2)
        await put(world, *[("k", str(n)) for n in range(4)])
        assert [len(event["Records"]) for event in events(pool)] == [1, 3]
        await world.advance(11)
        assert [len(event["Records"]) for event in events(pool)] == [1, 3, 1]


async def test_an_event_never_exceeds_six_megabytes(world, pool):
    async with world.background:
        await feed(world)
        for _ in range(9):
            await world.call("kinesis", "PutRecord", StreamName="s", PartitionKey="k", Data=b"x" * 1_000_000)
        await world.advance(1)
        assert sorted(len(event["Records"]) for event in events(pool)) == [1, 4, 4]
        assert all(len(invocation.payload) <= 6 * 1024 * 1024 for _, invocation in pool.invoked)


async def test_the_age_of_the_last_record_and_the_counts_are_told(world, pool):
    async with world.background:
        pattern = {"Filters": [{"Pattern": '{"partitionKey": ["k"]}'}]}
        id = await feed(world, FilterCriteria=pattern)
        heard = []
        metrics = source_metrics_of(world.platform)
        metrics.listeners.append(lambda metric, scope, id, function, value: heard.append((metric, function, value)))
        pool.handler = failing(lambda event: True)
        await put(world, ("k", "1"), ("other", "2"))
        await world.advance(100)
        pool.handler = lambda spec, invocation: outcome()
        await world.advance(100)
        [age_ms] = [value for metric, function, value in heard if metric == "IteratorAge"]
        assert 100_000 <= age_ms <= 200_000
        assert metrics.counts[id, "PolledEventCount"] == 2
        assert metrics.counts[id, "FilteredOutEventCount"] == 1
        assert (await described(world, id))["LastProcessingResult"] == "OK"


async def test_a_node_that_starts_again_keeps_the_state_of_its_window(world, pool):
    async with world.background:
        await feed(world, TumblingWindowInSeconds=900)
        pool.handler = lambda spec, invocation: outcome(b'{"state": {"kept": true}}')
        await put(world, ("k", "1"))
    world.platform.volatile.clear()
    world.background = BackgroundRunner(world.platform, ROOMS)
    async with world.background:
        await put(world, ("k", "2"))
        assert events(pool)[-1]["state"] == {"kept": True}
        assert pairs(events(pool)[-1]) == [("k", "2")]


async def test_a_record_that_no_event_can_hold_is_given_up_and_told(world, pool):
    async with world.background:
        url = (await world.call("sqs", "CreateQueue", QueueName="lost"))["QueueUrl"]
        target = {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:lost"}}
        await feed(world, DestinationConfig=target)
        await world.call("kinesis", "UpdateMaxRecordSize", StreamARN=ARN, MaxRecordSizeInKiB=10240)
        await world.advance(1)
        for data in (b"a", b"x" * 5_000_000, b"b"):
            await world.call("kinesis", "PutRecord", StreamName="s", PartitionKey="k", Data=data)
            await world.advance(0)
        await world.advance(5)
        assert [pair for event in events(pool) for pair in pairs(event)] == [("k", "a"), ("k", "b")]
        [message] = (await world.call("sqs", "ReceiveMessage", QueueUrl=url))["Messages"]
        told = orjson.loads(message["Body"])
        assert told["requestContext"]["condition"] == "MaximumPayloadSizeExceeded"
        assert (told["requestContext"]["approximateInvokeCount"], told["responseContext"]) == (0, None)
