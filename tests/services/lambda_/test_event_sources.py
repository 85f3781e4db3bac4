import orjson
import pytest

from penstock.engines.functions.ports import Throttled
from penstock.kernel.errors import ServiceError
from penstock.services.lambda_.operations.batch_answers import failed_items
from penstock.testkit.functions import create_function, outcome

ARN = "arn:aws:sqs:us-east-1:000000000000:work"


async def feed(world, *, queue="work", attributes=None, **members):
    """A queue that feeds the function; its URL and the mapping's id."""
    url = (await world.call("sqs", "CreateQueue", QueueName=queue, Attributes=attributes or {}))["QueueUrl"]
    await create_function(world)
    arn = ARN.replace("work", queue)
    made = await world.call("lambda", "CreateEventSourceMapping", EventSourceArn=arn, FunctionName="f", **members)
    await world.advance(0)
    return url, made["UUID"]


def events(pool):
    return [orjson.loads(invocation.payload)["Records"] for _, invocation in pool.invoked]


async def left(world, url):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = await world.call("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=names)
    return tuple(int(answer["Attributes"][name]) for name in names)


async def test_a_message_is_handed_over_in_awss_shape_and_deleted(world, pool):
    async with world.background:
        url, _ = await feed(world)
        attributes = {"kind": {"DataType": "String", "StringValue": "x"}}
        await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="hello", MessageAttributes=attributes)
        await world.advance(0)
        [[record]] = events(pool)
        assert record["body"] == "hello"
        assert (record["eventSource"], record["eventSourceARN"], record["awsRegion"]) == ("aws:sqs", ARN, "us-east-1")
        assert record["messageAttributes"]["kind"] == {
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": "String",
            "stringValue": "x",
        }
        assert record["attributes"]["ApproximateReceiveCount"] == "1"
        assert record["md5OfBody"] == "5d41402abc4b2a76b9719d911017c592"
        assert await left(world, url) == (0, 0)


async def test_a_batch_holds_no_more_than_its_size(world, pool):
    async with world.background:
        url, _ = await feed(world, BatchSize=3)
        entries = [{"Id": str(n), "MessageBody": str(n)} for n in range(10)]
        await world.call("sqs", "SendMessageBatch", QueueUrl=url, Entries=entries)
        await world.advance(0)
        assert sorted(len(batch) for batch in events(pool)) == [1, 3, 3, 3]
        assert sorted(record["body"] for batch in events(pool) for record in batch) == [str(n) for n in range(10)]


async def test_a_window_waits_for_more(world, pool):
    async with world.background:
        url, _ = await feed(world, BatchSize=100, MaximumBatchingWindowInSeconds=5)
        for number in range(3):
            await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody=str(number))
            await world.advance(1)
        assert events(pool) == []
        await world.advance(3)
        assert [len(batch) for batch in events(pool)] == [3]


async def test_a_failed_batch_comes_back_and_ends_in_the_dead_letter_queue(world, pool):
    async with world.background:
        dead = (await world.call("sqs", "CreateQueue", QueueName="dead"))["QueueUrl"]
        redrive = {"deadLetterTargetArn": ARN.replace("work", "dead"), "maxReceiveCount": 2}
        attributes = {"RedrivePolicy": orjson.dumps(redrive).decode(), "VisibilityTimeout": "30"}
        url, _ = await feed(world, attributes=attributes)
        pool.handler = lambda spec, invocation: outcome(b'{"errorMessage":"no"}', error="ValueError")
        await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="bad")
        await world.advance(0)
        assert len(pool.invoked) == 1
        await world.advance(29)
        assert len(pool.invoked) == 1
        await world.advance(60)
        assert len(pool.invoked) == 2
        await world.advance(60)
        assert await left(world, url) == (0, 0)
        assert (await left(world, dead))[0] == 1


async def test_only_what_failed_comes_back(world, pool):
    async with world.background:
        url, _ = await feed(world, FunctionResponseTypes=["ReportBatchItemFailures"])

        def handler(spec, invocation):
            failed = [r["messageId"] for r in orjson.loads(invocation.payload)["Records"] if r["body"] == "bad"]
            return outcome(orjson.dumps({"batchItemFailures": [{"itemIdentifier": one} for one in failed]}))

        pool.handler = handler
        entries = [{"Id": word, "MessageBody": word} for word in ("good", "bad", "fine")]
        await world.call("sqs", "SendMessageBatch", QueueUrl=url, Entries=entries)
        await world.advance(0)
        assert await left(world, url) == (0, 1)
        pool.handler = lambda spec, invocation: outcome(b'{"batchItemFailures": []}')
        await world.advance(40)
        assert [record["body"] for record in events(pool)[-1]] == ["bad"]
        assert await left(world, url) == (0, 0)


@pytest.mark.parametrize(
    ("payload", "failed"),
    [
        (b"", set()),
        (b"null", set()),
        (b"{}", set()),
        (b'{"batchItemFailures": []}', set()),
        (b'{"batchItemFailures": null}', set()),
        (b'{"batchItemFailures": [{"itemIdentifier": "a"}]}', {"a"}),
        (b'{"batchItemFailures": [{"itemIdentifier": ""}]}', None),
        (b'{"batchItemFailures": [{"itemIdentifier": null}]}', None),
        (b'{"batchItemFailures": [{"wrong": "a"}]}', None),
        (b'{"batchItemFailures": [{"itemIdentifier": "unknown"}]}', None),
        (b'{"batchItemFailures": "a"}', None),
        (b"[]", None),
        (b"not json", None),
    ],
)
def test_an_answer_names_the_failures_or_fails_the_batch(payload, failed):
    assert failed_items(payload, {"a", "b"}) == failed


async def test_what_the_filters_do_not_want_is_deleted_unseen(world, pool):
    async with world.background:
        pattern = '{"body": {"kind": ["order"]}}'
        url, _ = await feed(world, FilterCriteria={"Filters": [{"Pattern": pattern}]})
        for body in ('{"kind": "order"}', '{"kind": "other"}', "no json"):
            await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody=body)
        await world.advance(0)
        assert [record["body"] for batch in events(pool) for record in batch] == ['{"kind": "order"}']
        assert await left(world, url) == (0, 0)


async def test_a_throttled_function_slows_its_poller_and_loses_nothing(world, pool):
    async with world.background:
        url, _ = await feed(world, attributes={"VisibilityTimeout": "10"})

        def throttled(spec, invocation):
            raise Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")

        pool.handler = throttled
        await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="x")
        await world.advance(25)
        tried = len(pool.invoked)
        assert 4 <= tried <= 12
        pool.handler = lambda spec, invocation: outcome()
        await world.advance(25)
        assert len(pool.invoked) == tried + 1
        assert await left(world, url) == (0, 0)
        [record] = events(pool)[-1]
        assert int(record["attributes"]["ApproximateReceiveCount"]) <= 4


async def test_a_disabled_mapping_rests_and_an_enabled_one_goes_on(world, pool):
    async with world.background:
        url, id = await feed(world)
        await world.call("lambda", "UpdateEventSourceMapping", UUID=id, Enabled=False)
        await world.advance(0)
        await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="x")
        await world.advance(60)
        assert events(pool) == []
        assert (await world.call("lambda", "GetEventSourceMapping", UUID=id))["State"] == "Disabled"
        await world.call("lambda", "UpdateEventSourceMapping", UUID=id, Enabled=True)
        await world.advance(0)
        assert len(events(pool)) == 1
        await world.call("lambda", "DeleteEventSourceMapping", UUID=id)
        await world.advance(0)
        await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="y")
        await world.advance(60)
        assert len(events(pool)) == 1


async def test_time_stands_still_once_an_empty_queue_is_all_there_is(world, pool):
    async with world.background:
        url, _ = await feed(world)
        await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="x", DelaySeconds=600)
        began_ms = world.clock.now_ms()
        await world.background.run_until_idle()
        assert len(events(pool)) == 1
        assert 600_000 <= world.clock.now_ms() - began_ms < 700_000


@pytest.mark.parametrize(
    ("members", "queue", "attributes", "text"),
    [
        ({"BatchSize": 11}, "work", {}, "Maximum batch window in seconds must be greater than 0"),
        ({"BatchSize": 11}, "work.fifo", {"FifoQueue": "true"}, "Maximum batch size for FIFO queues is 10"),
        (
            {},
            "work",
            {"VisibilityTimeout": "1"},
            "Queue visibility timeout: 1 seconds is less than Function timeout: 3",
        ),
        ({"FilterCriteria": {"Filters": [{"Pattern": "{"}]}}, "work", {}, "Invalid filter pattern"),
    ],
)
async def test_what_does_not_go_together_is_refused(world, pool, members, queue, attributes, text):
    with pytest.raises(ServiceError, match=text):
        await feed(world, queue=queue, attributes=attributes, **members)


async def test_a_second_mapping_and_an_unknown_one_are_refused(world, pool):
    _, id = await feed(world)
    with pytest.raises(ServiceError, match=f"ResourceConflictException.*{id}"):
        await world.call("lambda", "CreateEventSourceMapping", EventSourceArn=ARN, FunctionName="f")
    with pytest.raises(ServiceError, match="ResourceNotFoundException"):
        await world.call("lambda", "GetEventSourceMapping", UUID="0" * 36)
    missing = ARN.replace("work", "none")
    with pytest.raises(ServiceError, match="Error occurred while ReceiveMessage"):
        await world.call("lambda", "CreateEventSourceMapping", EventSourceArn=missing, FunctionName="f")
    found = await world.call("lambda", "ListEventSourceMappings", FunctionName="f")
    assert [one["UUID"] for one in found["EventSourceMappings"]] == [id]


async def test_a_fifo_queue_keeps_its_groups_in_order(world, pool):
    async with world.background:
        url, _ = await feed(world, queue="work.fifo", attributes={"FifoQueue": "true"}, BatchSize=2)
        for number in range(6):
            group, dedup = f"g{number % 2}", str(number)
            await world.call(
                "sqs",
                "SendMessage",
                QueueUrl=url,
                MessageBody=str(number),
                MessageGroupId=group,
                MessageDeduplicationId=dedup,
            )
        await world.advance(5)
        seen = [record for batch in events(pool) for record in batch]
        for group in ("g0", "g1"):
            bodies = [r["body"] for r in seen if r["attributes"]["MessageGroupId"] == group]
            assert bodies == sorted(bodies)
        assert len(seen) == 6
