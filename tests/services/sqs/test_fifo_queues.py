import pytest

from penstock.kernel.errors import ServiceError
from penstock.services.sqs import SERVICE
from penstock.testkit.world import World


async def _fifo(**attributes):
    world = World(SERVICE)
    attributes = {"FifoQueue": "true", **attributes}
    url = (await world.call("sqs", "CreateQueue", QueueName="q.fifo", Attributes=attributes))["QueueUrl"]
    return world, url


async def _send(world, url, body, group="g", **params):
    return await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody=body, MessageGroupId=group, **params)


async def _receive(world, url):
    answer = await world.call("sqs", "ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"])
    return answer.get("Messages", [])


async def test_group_comes_in_order_and_waits_for_its_messages_in_flight():
    world, url = await _fifo(ContentBasedDeduplication="true")
    sent = [await _send(world, url, body, group) for body, group in (("1", "a"), ("2", "a"), ("3", "b"))]
    assert [item["SequenceNumber"] for item in sent] == sorted({item["SequenceNumber"] for item in sent})
    got = await _receive(world, url)
    assert [item["Body"] for item in got] == ["1", "2", "3"]
    assert got[0]["Attributes"]["MessageGroupId"] == "a"
    assert got[0]["Attributes"]["SequenceNumber"] == sent[0]["SequenceNumber"]
    await _send(world, url, "4", "a")
    assert await _receive(world, url) == []
    for item in got[:2]:
        await world.call("sqs", "DeleteMessage", QueueUrl=url, ReceiptHandle=item["ReceiptHandle"])
    assert [item["Body"] for item in await _receive(world, url)] == ["4"]


async def test_duplicate_is_dropped_for_five_minutes_even_after_delete():
    world, url = await _fifo()
    first = await _send(world, url, "x", MessageDeduplicationId="d")
    (got,) = await _receive(world, url)
    await world.call("sqs", "DeleteMessage", QueueUrl=url, ReceiptHandle=got["ReceiptHandle"])
    again = await _send(world, url, "y", MessageDeduplicationId="d")
    assert (again["MessageId"], again["SequenceNumber"]) == (first["MessageId"], first["SequenceNumber"])
    assert await _receive(world, url) == []
    world.clock.advance_to(world.clock.now_ms() + 300_000)
    await _send(world, url, "y", MessageDeduplicationId="d")
    assert [item["Body"] for item in await _receive(world, url)] == ["y"]


async def test_a_purge_forgets_what_was_sent():
    world, url = await _fifo(ContentBasedDeduplication="true")
    first = await _send(world, url, "x")
    await world.call("sqs", "PurgeQueue", QueueUrl=url)
    again = await _send(world, url, "x")
    assert again["MessageId"] != first["MessageId"]
    assert int(again["SequenceNumber"]) > int(first["SequenceNumber"])
    assert [item["Body"] for item in await _receive(world, url)] == ["x"]


async def test_fifo_queue_needs_its_suffix_a_group_and_a_deduplication_id():
    world, url = await _fifo()
    with pytest.raises(ServiceError, match="ContentBasedDeduplication enabled"):
        await _send(world, url, "x")
    with pytest.raises(ServiceError, match="MessageGroupId"):
        await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="x")
    with pytest.raises(ServiceError, match=".fifo suffix"):
        await world.call("sqs", "CreateQueue", QueueName="q", Attributes={"FifoQueue": "true"})


async def test_handle_of_no_receive_is_refused():
    world, url = await _fifo()
    for handle in ("x", "WzEsMl0=", "WyJ6eiIsMV0="):
        with pytest.raises(ServiceError, match="not a valid receipt handle"):
            await world.call("sqs", "DeleteMessage", QueueUrl=url, ReceiptHandle=handle)


async def test_a_receive_with_the_same_attempt_id_gives_the_same_messages_while_they_are_hidden():
    world, url = await _fifo(ContentBasedDeduplication="true")
    for body in ("1", "2"):
        await _send(world, url, body)
    params = {"QueueUrl": url, "MaxNumberOfMessages": 1, "ReceiveRequestAttemptId": "a"}
    first = (await world.call("sqs", "ReceiveMessage", **params))["Messages"]
    await world.advance(20)
    again = (await world.call("sqs", "ReceiveMessage", **params))["Messages"]
    assert again == first
    await world.advance(20)
    assert "Messages" not in await world.call("sqs", "ReceiveMessage", QueueUrl=url)
    await world.call("sqs", "DeleteMessage", QueueUrl=url, ReceiptHandle=again[0]["ReceiptHandle"])
    assert [item["Body"] for item in (await world.call("sqs", "ReceiveMessage", **params))["Messages"]] == ["2"]


async def test_a_handle_that_has_run_out_deletes_nothing_from_a_fifo_queue():
    world, url = await _fifo(ContentBasedDeduplication="true", VisibilityTimeout="5")
    await _send(world, url, "x")
    (got,) = await _receive(world, url)
    await world.advance(5)
    with pytest.raises(ServiceError, match="The receipt handle has expired"):
        await world.call("sqs", "DeleteMessage", QueueUrl=url, ReceiptHandle=got["ReceiptHandle"])
    assert len(await _receive(world, url)) == 1


async def test_duplicates_are_of_their_group_where_the_queue_says_so():
    with pytest.raises(ServiceError, match="only when the value for DeduplicationScope"):
        await _fifo(FifoThroughputLimit="perMessageGroupId")
    world, url = await _fifo(FifoThroughputLimit="perMessageGroupId", DeduplicationScope="messageGroup")
    for group in ("a", "b", "a"):
        await _send(world, url, "x", group, MessageDeduplicationId="d")
    assert len(await _receive(world, url)) == 2


async def _fill(world, url, count, groups=1):
    """Just as many are taken as that."""
    for number in range(count):
        await _send(world, url, str(number), f"g{number % groups}")
    with pytest.raises(ServiceError, match="RequestThrottled"):
        await _send(world, url, "more", "g0")


async def test_a_fifo_queue_takes_three_hundred_calls_a_second_where_limits_are_kept():
    world, url = await _fifo(ContentBasedDeduplication="true")
    world.platform.limits = "aws"
    await _fill(world, url, 300)
    await world.advance(1)
    await _send(world, url, "later")
    plain = (await world.call("sqs", "CreateQueue", QueueName="plain"))["QueueUrl"]
    for _ in range(400):
        await world.call("sqs", "SendMessage", QueueUrl=plain, MessageBody="x")


async def test_a_queue_of_high_throughput_bounds_its_groups():
    high = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    world, url = await _fifo(ContentBasedDeduplication="true", **high)
    world.platform.limits = "aws"
    await _fill(world, url, 1200, groups=4)


@pytest.mark.parametrize(
    ("lacking", "code"), [("MessageGroupId", "MissingParameter"), ("MessageDeduplicationId", "InvalidParameterValue")]
)
async def test_a_batch_of_which_one_entry_lacks_what_fifo_needs_is_refused_whole(lacking, code):
    world, url = await _fifo()
    whole = {"MessageBody": "x", "MessageGroupId": "g"}
    entries = [{"Id": str(n), **whole, "MessageDeduplicationId": str(n)} for n in range(2)]
    del entries[1][lacking]
    with pytest.raises(ServiceError, match=code):
        await world.call("sqs", "SendMessageBatch", QueueUrl=url, Entries=entries)
    assert await _receive(world, url) == []
