import asyncio

import orjson
import pytest

from penstock.engines.functions.ports import Throttled
from penstock.framework.background import BackgroundRunner
from penstock.kernel.errors import Unavailable
from penstock.services import lambda_, s3, sqs
from penstock.services.lambda_ import state
from penstock.services.lambda_.state import EventConfig
from penstock.testkit.functions import create_function, outcome

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
QUEUE_ARN = "arn:aws:sqs:us-east-1:000000000000:dead"


async def send(world, payload=b'{"n":1}', name="f"):
    answer = await world.call("lambda", "Invoke", FunctionName=name, InvocationType="Event", Payload=payload)
    assert answer == {"StatusCode": 202}


async def configure(world, **members):
    scope = world.context().scope
    config = EventConfig("$LATEST", 0, **members)
    await world.platform.store.transact(lambda tx: state.put_event_config(tx, scope, "f", config))


async def make_queue(world, name="dead"):
    return (await world.call("sqs", "CreateQueue", QueueName=name))["QueueUrl"]


async def received(world, url):
    answer = await world.call("sqs", "ReceiveMessage", QueueUrl=url, MessageAttributeNames=["All"])
    return answer.get("Messages", [])


async def are_queues_empty(world):
    scope = world.context().scope
    counts = await world.platform.store.read(
        lambda tx: state.events_of(scope, "f").counts(tx, now_ms=world.clock.now_ms())
    )
    return (counts.visible, counts.in_flight, counts.delayed) == (0, 0, 0)


def failing(times):
    """Notes when it ran; fails."""

    def handler(spec, invocation):
        times.append(invocation.request_id)
        return outcome(b'{"errorMessage":"boom","errorType":"ValueError"}', error="ValueError")

    return handler


async def test_an_accepted_event_runs_at_once_with_the_request_id_of_its_answer(world, pool):
    async with world.background:
        await create_function(world)
        await send(world)
        await world.advance(0)
        ((_, invocation),) = pool.invoked
        assert (invocation.payload, invocation.request_id, invocation.invoked_arn) == (b'{"n":1}', "test-request", ARN)
        assert await are_queues_empty(world)


async def test_an_event_of_a_pending_function_runs_when_it_is_active(world, pool):
    async with world.background:
        await create_function(world, settle=False)
        await send(world)
        await world.advance(1)
        assert len(pool.invoked) == 1


async def test_function_errors_are_tried_again_after_one_and_two_minutes_and_then_go_to_the_dead_letter_queue(
    world, pool
):
    async with world.background:
        url = await make_queue(world)
        await create_function(world, DeadLetterConfig={"TargetArn": QUEUE_ARN})
        tries = []
        pool.handler = failing(tries)
        await send(world)
        await world.advance(59.9)
        assert len(tries) == 1
        await world.advance(0.1)
        assert len(tries) == 2
        await world.advance(119.9)
        assert len(tries) == 2
        await world.advance(0.1)
        assert tries == ["test-request"] * 3
        (message,) = await received(world, url)
        assert message["Body"] == '{"n":1}'
        attributes = {name: (a["DataType"], a["StringValue"]) for name, a in message["MessageAttributes"].items()}
        assert attributes == {
            "RequestID": ("String", "test-request"),
            "ErrorCode": ("Number", "200"),
            "ErrorMessage": ("String", "boom"),
        }
        await world.advance(3600)
        assert len(tries) == 3
        assert await are_queues_empty(world)


@pytest.mark.parametrize(("retries", "tried"), [(0, 1), (1, 2), (2, 3)])
async def test_maximum_retry_attempts_bounds_the_tries_and_the_destination_is_told(world, pool, retries, tried):
    async with world.background:
        url = await make_queue(world)
        await create_function(world)
        await configure(world, retries_max=retries, on_failure=QUEUE_ARN)
        tries = []
        pool.handler = failing(tries)
        await send(world)
        await world.advance(600)
        assert len(tries) == tried
        (message,) = await received(world, url)
        record = orjson.loads(message["Body"])
        assert record["requestContext"] == {
            "requestId": "test-request",
            "functionArn": f"{ARN}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": tried,
        }
        assert record["requestPayload"] == {"n": 1}
        assert record["responseContext"] == {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        }
        assert record["responsePayload"] == {"errorMessage": "boom", "errorType": "ValueError"}
        assert (record["version"], record["timestamp"][-1]) == ("1.0", "Z")


async def test_an_event_of_at_most_a_minute_is_tried_once(world, pool):
    async with world.background:
        url = await make_queue(world)
        await create_function(world)
        await configure(world, age_s_max=60, on_failure=QUEUE_ARN)
        tries = []
        pool.handler = failing(tries)
        await send(world)
        await world.advance(600)
        assert len(tries) == 1
        (message,) = await received(world, url)
        assert orjson.loads(message["Body"])["requestContext"]["condition"] == "EventAgeExceeded"


async def test_a_success_is_told_to_its_destination(world):
    async with world.background:
        url = await make_queue(world)
        await create_function(world)
        await configure(world, on_success=QUEUE_ARN)
        await send(world)
        await world.advance(0)
        (message,) = await received(world, url)
        record = orjson.loads(message["Body"])
        assert record["requestContext"]["condition"] == "Success"
        assert record["responsePayload"] == {"n": 1}
        assert "functionError" not in record["responseContext"]


async def test_a_failure_may_go_to_a_bucket(world, pool):
    async with world.background:
        await world.call("s3", "CreateBucket", Bucket="failed")
        await create_function(world)
        await configure(world, retries_max=0, on_failure="arn:aws:s3:::failed")
        pool.handler = failing([])
        await send(world)
        await world.advance(0)
        listed = await world.call("s3", "ListObjectsV2", Bucket="failed")
        (item,) = listed["Contents"]
        assert item["Key"].startswith("aws/lambda/async/f/2026/")


@pytest.mark.parametrize("error", [Throttled("ConcurrentInvocationLimitExceeded"), Unavailable("full")])
async def test_throttles_back_off_from_a_second_to_five_minutes_and_count_as_no_try(world, pool, error):
    async with world.background:
        await create_function(world)
        times = []

        def throttle(spec, invocation):
            times.append(world.clock.now_ms())
            if len(times) <= 12:
                raise error
            return outcome(b'{"errorMessage":"x"}', error="X")

        pool.handler = throttle
        await send(world)
        await world.advance(3600)
        waits = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
        assert 1000 <= waits[0] <= 1500
        assert all(wait <= 300_000 for wait in waits[:12])
        assert all(wait >= min(1000 << n, 300_000) for n, wait in enumerate(waits[:12]))
        assert waits[12:] == [60_000, 120_000]
        assert await are_queues_empty(world)


async def test_throttles_end_after_six_hours(world, pool):
    async with world.background:
        url = await make_queue(world)
        await create_function(world)
        await configure(world, on_failure=QUEUE_ARN)

        def throttle(spec, invocation):
            raise Throttled("ConcurrentInvocationLimitExceeded")

        pool.handler = throttle
        await send(world)
        await world.advance(6 * 3600 - 1)
        assert await received(world, url) == []
        await world.advance(1)
        (message,) = await received(world, url)
        assert orjson.loads(message["Body"])["requestContext"]["condition"] == "EventAgeExceeded"


async def test_a_burst_runs_whole_and_a_failed_event_of_the_node_is_not_lost(world, pool):
    async with world.background:
        await create_function(world)
        seen = []

        def handler(spec, invocation):
            seen.append(orjson.loads(invocation.payload))
            if seen.count(7) == 1 and seen[-1] == 7:
                raise KeyError("a bug of ours")
            return outcome()

        pool.handler = handler
        for number in range(250):
            await send(world, str(number).encode())
        await world.advance(0)
        assert sorted(set(seen)) == list(range(250))
        await world.advance(60)
        assert seen.count(7) == 2
        assert await are_queues_empty(world)


async def test_events_in_flight_at_a_crash_run_again_at_once_on_the_next_node(world, pool):
    await create_function(world)
    await send(world)

    def crash(spec, invocation):
        raise SystemError

    rooms = [lambda_.SERVICE, s3.SERVICE, sqs.SERVICE]
    scope = world.context().scope
    queue = state.events_of(scope, "f")
    await world.platform.store.transact(
        lambda tx: queue.receive(
            tx, now_ms=world.clock.now_ms(), visibility_ms=3_600_000, tokens=["dead/1"], owner="dead"
        )
    )
    world.platform.volatile.clear()
    async with BackgroundRunner(world.platform, rooms) as runner:
        await runner.run_until(world.clock.now_ms())
        assert len(pool.invoked) == 1
        assert await are_queues_empty(world)


async def test_events_of_a_deleted_function_go_with_it(world, pool):
    async with world.background:
        await create_function(world)
        pool.handler = failing([])
        await send(world)
        await world.advance(0)
        await world.call("lambda", "DeleteFunction", FunctionName="f")
        await world.advance(3600)
        assert len(pool.invoked) == 1
        assert await are_queues_empty(world)


async def test_an_upload_invokes_the_function_that_the_bucket_notifies(world, pool):
    async with world.background:
        await create_function(world)
        await world.call("s3", "CreateBucket", Bucket="uploads")
        wanted = {"LambdaFunctionArn": ARN, "Events": ["s3:ObjectCreated:*"]}
        await world.call(
            "s3",
            "PutBucketNotificationConfiguration",
            Bucket="uploads",
            NotificationConfiguration={"LambdaFunctionConfigurations": [wanted]},
        )
        await world.call("s3", "PutObject", Bucket="uploads", Key="a b.csv", Body=b"1")
        await world.advance(0)
        ((_, invocation),) = pool.invoked
        assert orjson.loads(invocation.payload)["Records"][0]["s3"]["object"]["key"] == "a+b.csv"


async def test_a_burst_beyond_what_the_node_can_run_keeps_it_busy(world, pool):
    async with world.background:
        await create_function(world)
        running = peak = throttled = done = 0

        async def invoke(spec, invocation):
            nonlocal running, peak, throttled, done
            if running >= 8:
                throttled += 1
                raise Throttled("ConcurrentInvocationLimitExceeded")
            running += 1
            peak = max(peak, running)
            for _ in range(5):
                await asyncio.sleep(0)
            running -= 1
            done += 1
            return outcome()

        pool.invoke = invoke
        for number in range(300):
            await send(world, str(number).encode())
        await world.advance(0)
        assert done >= 190
        await world.advance(10)
        assert (done, peak) == (300, 8)
        assert throttled < 150
        assert await are_queues_empty(world)


async def test_reserved_concurrency_of_zero_ends_an_event_at_once_untried(world, pool):
    async with world.background:
        dead, told = await make_queue(world), await make_queue(world, "told")
        await create_function(world, DeadLetterConfig={"TargetArn": QUEUE_ARN})
        await configure(world, on_failure="arn:aws:sqs:us-east-1:000000000000:told")
        await world.call("lambda", "PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=0)
        await send(world)
        await world.advance(0)
        assert pool.invoked == []
        (message,) = await received(world, dead)
        attributes = {name: told["StringValue"] for name, told in message["MessageAttributes"].items()}
        assert attributes == {
            "RequestID": "test-request",
            "ErrorMessage": "Function not invoked. Function isconfigured with zero reserved concurrent executions",
        }
        record = orjson.loads((await received(world, told))[0]["Body"])
        asked = record["requestContext"]
        assert (asked["condition"], asked["approximateInvokeCount"]) == ("ZeroReservedConcurrency", 0)
        assert not {"responseContext", "responsePayload"} & set(record)


async def test_one_long_run_does_not_keep_the_others_waiting_after_a_throttle(world, pool):
    await create_function(world)
    done, release = [], asyncio.Event()

    async def invoke(spec, invocation):
        number = orjson.loads(invocation.payload)
        if number == 0:
            await release.wait()
        elif number == 1 and 1 not in done:
            done.append(1)
            raise Throttled("ConcurrentInvocationLimitExceeded")
        done.append(number)
        return outcome()

    pool.invoke = invoke
    async with world.background:
        for number in range(8):
            await send(world, str(number).encode())
        for _ in range(10):
            for _ in range(100):
                await asyncio.sleep(0)
            world.clock.advance_to(world.clock.now_ms() + 1000)
        assert sorted(done) == [1, 1, 2, 3, 4, 5, 6, 7]
        release.set()
        await world.advance(0)
        assert await are_queues_empty(world)


async def test_a_store_that_pauses_is_asked_again_and_the_function_is_not(world, pool):
    async with world.background:
        url = await make_queue(world)
        await create_function(world)
        await configure(world, on_success=QUEUE_ARN)
        transact, paused = world.platform.store.transact, []

        async def pausing(fn):
            if pool.invoked and len(paused) < 4:
                paused.append(fn)
                raise Unavailable("the disk is full")
            return await transact(fn)

        world.platform.store.transact = pausing
        await send(world)
        await world.advance(60)
        assert (len(paused), len(pool.invoked), len(await received(world, url))) == (4, 1, 1)
        assert await are_queues_empty(world)


async def test_a_record_holds_what_went_in_and_out_as_it_was(world, pool):
    deep = b"[" * 900 + b"12345678901234567890123" + b"]" * 900
    async with world.background:
        url = await make_queue(world)
        await create_function(world)
        await configure(world, on_success=QUEUE_ARN)
        pool.handler = lambda spec, invocation: outcome(b"\xff\x00 no json")
        await send(world, deep)
        await world.advance(0)
        (message,) = await received(world, url)
        assert f'"requestPayload":{deep.decode()},' in message["Body"]
        assert '"responsePayload":"\ufffd\\u0000 no json"' in message["Body"]
        assert len(pool.invoked) == 1


@pytest.mark.parametrize("kind", ["destination", "dead letters"])
async def test_what_is_too_large_for_its_target_is_dropped_and_counted(world, pool, kind):
    async with world.background:
        url = await make_queue(world)
        members = {"DeadLetterConfig": {"TargetArn": QUEUE_ARN}} if kind == "dead letters" else {}
        await create_function(world, **members)
        await configure(world, retries_max=0, on_failure="" if members else QUEUE_ARN)
        pool.handler = lambda spec, invocation: outcome(b'{"errorMessage":"%s"}' % (b"x" * 1000), error="X")
        await send(world, b'"' + b"y" * ((1 << 20) - 3) + b'"')
        await world.advance(3600)
        assert await received(world, url) == []
        assert await are_queues_empty(world)
        assert await world.background.is_idle()


async def test_an_event_of_a_deleted_alias_is_dropped_at_its_next_try(world, pool):
    async with world.background:
        await create_function(world)
        await world.call("lambda", "PublishVersion", FunctionName="f")
        await world.call("lambda", "CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
        tries = []
        pool.handler = failing(tries)
        await send(world, name="f:live")
        await world.advance(0)
        await world.call("lambda", "DeleteAlias", FunctionName="f", Name="live")
        await world.advance(3600)
        assert len(tries) == 1
        assert await are_queues_empty(world)


async def test_functions_that_tell_each_other_without_end_are_stopped(world, pool):
    pool.handler = lambda spec, invocation: outcome(b"1")
    async with world.background:
        for name, other in (("f", "g"), ("g", "f")):
            await create_function(world, name)
            target = f"arn:aws:lambda:us-east-1:000000000000:function:{other}"
            config = EventConfig("$LATEST", 0, on_success=target)
            scope = world.context().scope
            await world.platform.store.transact(lambda tx, at=(scope, name, config): state.put_event_config(tx, *at))
        await send(world)
        await world.advance(60)
        assert len(pool.invoked) == 32
        assert await are_queues_empty(world)
