import asyncio
import json

import pytest

from penstock.kernel.errors import ServiceError
from penstock.services.sqs import SERVICE
from penstock.testkit.world import World


def run(coroutine):
    return asyncio.run(coroutine)


async def _world(**attributes):
    world = World(SERVICE)
    url = (await world.call("sqs", "CreateQueue", QueueName="q", Attributes=attributes))["QueueUrl"]
    return world, url


def test_message_is_hidden_while_in_flight_comes_back_and_is_deleted():
    async def scenario():
        world, url = await _world(VisibilityTimeout="5")
        sent = await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="hello")
        assert sent["MD5OfMessageBody"] == "5d41402abc4b2a76b9719d911017c592"
        first = (await world.call("sqs", "ReceiveMessage", QueueUrl=url))["Messages"][0]
        assert first["Body"] == "hello"
        assert await world.call("sqs", "ReceiveMessage", QueueUrl=url) == {}
        world.clock.advance_to(world.clock.now_ms() + 5000)
        again = await world.call("sqs", "ReceiveMessage", QueueUrl=url, AttributeNames=["All"])
        assert again["Messages"][0]["Attributes"]["ApproximateReceiveCount"] == "2"
        await world.call("sqs", "DeleteMessage", QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
        world.clock.advance_to(world.clock.now_ms() + 5000)
        assert await world.call("sqs", "ReceiveMessage", QueueUrl=url) == {}

    run(scenario())


def test_message_received_too_often_goes_to_the_dead_letter_queue():
    async def scenario():
        world, url = await _world(VisibilityTimeout="0")
        dead = (await world.call("sqs", "CreateQueue", QueueName="dead"))["QueueUrl"]
        policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": "2"}
        await world.call("sqs", "SetQueueAttributes", QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(policy)})
        await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="x")
        got = [bool(await world.call("sqs", "ReceiveMessage", QueueUrl=url)) for _ in range(3)]
        assert got == [True, True, False]
        assert (await world.call("sqs", "ReceiveMessage", QueueUrl=dead))["Messages"][0]["Body"] == "x"

    run(scenario())


def test_long_poll_ends_when_a_message_comes():
    async def scenario():
        world, url = await _world()
        waiting = asyncio.ensure_future(world.call("sqs", "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20))
        await asyncio.sleep(0)
        await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="x")
        while not waiting.done():
            await asyncio.sleep(0)
            if (due_ms := world.clock.next_due_ms()) is not None:
                world.clock.advance_to(due_ms)
        assert len((await waiting)["Messages"]) == 1

    run(scenario())


def test_attributes_have_awss_md5_and_batches_fail_by_entry():
    async def scenario():
        world, url = await _world(MaximumMessageSize="1024")
        attributes = {"city": {"DataType": "String", "StringValue": "Any City"}}
        entries = [
            {"Id": "a", "MessageBody": "x", "MessageAttributes": attributes},
            {"Id": "b", "MessageBody": "x" * 1025},
        ]
        answer = await world.call("sqs", "SendMessageBatch", QueueUrl=url, Entries=entries)
        assert [item["Id"] for item in answer["Successful"]] == ["a"]
        assert [item["Id"] for item in answer["Failed"]] == ["b"]
        got = await world.call("sqs", "ReceiveMessage", QueueUrl=url, MessageAttributeNames=["All"])
        assert got["Messages"][0]["MessageAttributes"] == attributes
        assert got["Messages"][0]["MD5OfMessageAttributes"] == answer["Successful"][0]["MD5OfMessageAttributes"]
        with pytest.raises(ServiceError, match="does not exist"):
            await world.call("sqs", "SendMessage", QueueUrl=url + "x", MessageBody="x")

    run(scenario())
