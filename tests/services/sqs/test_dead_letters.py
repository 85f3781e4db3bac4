"""Dead letters: where they may go, where they came from, and how they are moved back."""

import json

import pytest

from penstock.kernel.errors import ServiceError
from penstock.services.sqs import SERVICE
from penstock.testkit.world import World

HERE = "arn:aws:sqs:us-east-1:000000000000"


def redrive(target, count=1):
    return {"RedrivePolicy": json.dumps({"deadLetterTargetArn": f"{HERE}:{target}", "maxReceiveCount": str(count)})}


async def _world(suffix="", allow=None):
    world = World(SERVICE)
    fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if suffix else {}
    more = {"RedriveAllowPolicy": json.dumps(allow)} if allow else {}
    dead = await world.call("sqs", "CreateQueue", QueueName=f"dead{suffix}", Attributes={**fifo, **more})
    attributes = {**fifo, "VisibilityTimeout": "0", **redrive(f"dead{suffix}")}
    work = await world.call("sqs", "CreateQueue", QueueName=f"work{suffix}", Attributes=attributes)
    return world, work["QueueUrl"], dead["QueueUrl"]


async def _bodies(world, url):
    found = await world.call("sqs", "ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"])
    return [message["Body"] for message in found.get("Messages", [])]


async def _kill(world, url, bodies, **params):
    for body in bodies:
        await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody=body, **params)
    for _ in bodies:
        await _bodies(world, url)
        await _bodies(world, url)


async def test_redrive_policy_is_given_back_with_a_number_and_its_queues_are_listed():
    world, work, dead = await _world()
    found = await world.call("sqs", "GetQueueAttributes", QueueUrl=work, AttributeNames=["RedrivePolicy"])
    policy = '{"deadLetterTargetArn":"' + HERE + ':dead","maxReceiveCount":1}'
    assert found["Attributes"] == {"RedrivePolicy": policy}
    assert (await world.call("sqs", "ListDeadLetterSourceQueues", QueueUrl=dead))["queueUrls"] == [work]
    assert (await world.call("sqs", "ListDeadLetterSourceQueues", QueueUrl=work))["queueUrls"] == []


async def test_dead_letter_queue_chooses_its_sources():
    world, _, _ = await _world(allow={"redrivePermission": "byQueue", "sourceQueueArns": [f"{HERE}:work"]})
    with pytest.raises(ServiceError, match="doesn't allow"):
        await world.call("sqs", "CreateQueue", QueueName="other", Attributes=redrive("dead"))


async def test_dead_letter_queue_is_of_the_same_type():
    world, _, _ = await _world()
    fifo = {"FifoQueue": "true"}
    with pytest.raises(ServiceError, match="same type"):
        await world.call("sqs", "CreateQueue", QueueName="x.fifo", Attributes=fifo | redrive("dead"))


async def test_dead_letters_go_back_to_where_they_came_from_as_new_messages():
    world, work, dead = await _world()
    await _kill(world, work, ["a", "b"])
    got = await world.call("sqs", "ReceiveMessage", QueueUrl=dead, AttributeNames=["All"], VisibilityTimeout=0)
    (message,) = got["Messages"]
    assert message["Attributes"]["DeadLetterQueueSourceArn"] == f"{HERE}:work"
    started = await world.call("sqs", "StartMessageMoveTask", SourceArn=f"{HERE}:dead")
    (task,) = (await world.call("sqs", "ListMessageMoveTasks", SourceArn=f"{HERE}:dead"))["Results"]
    assert (task["Status"], task["TaskHandle"]) == ("RUNNING", started["TaskHandle"])
    with pytest.raises(ServiceError, match="already a task running"):
        await world.call("sqs", "StartMessageMoveTask", SourceArn=f"{HERE}:dead")
    await world.settle()
    (task,) = (await world.call("sqs", "ListMessageMoveTasks", SourceArn=f"{HERE}:dead"))["Results"]
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 2)
    assert "TaskHandle" not in task
    again = (await world.call("sqs", "ReceiveMessage", QueueUrl=work, MaxNumberOfMessages=10))["Messages"]
    assert [item["Body"] for item in again] == ["a", "b"]
    assert message["MessageId"] not in [item["MessageId"] for item in again]


async def test_a_move_keeps_to_its_speed_and_can_be_cancelled():
    world, _, dead = await _world()
    for number in range(10):
        await world.call("sqs", "SendMessage", QueueUrl=dead, MessageBody=str(number))
    params = {"SourceArn": f"{HERE}:dead", "DestinationArn": f"{HERE}:work", "MaxNumberOfMessagesPerSecond": 2}
    handle = (await world.call("sqs", "StartMessageMoveTask", **params))["TaskHandle"]
    await world.advance(2)
    assert await world.call("sqs", "CancelMessageMoveTask", TaskHandle=handle) == {
        "ApproximateNumberOfMessagesMoved": 6
    }
    await world.advance(5)
    (task,) = (await world.call("sqs", "ListMessageMoveTasks", SourceArn=f"{HERE}:dead"))["Results"]
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("CANCELLED", 6)
    with pytest.raises(ServiceError, match="Only active tasks"):
        await world.call("sqs", "CancelMessageMoveTask", TaskHandle=handle)


async def test_a_message_without_a_source_makes_the_move_fail():
    world, _, dead = await _world()
    await world.call("sqs", "SendMessage", QueueUrl=dead, MessageBody="x")
    await world.call("sqs", "StartMessageMoveTask", SourceArn=f"{HERE}:dead")
    await world.settle()
    (task,) = (await world.call("sqs", "ListMessageMoveTasks", SourceArn=f"{HERE}:dead"))["Results"]
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert await _bodies(world, dead) == ["x"]


async def test_only_a_dead_letter_queue_is_emptied():
    world, _, _ = await _world()
    with pytest.raises(ServiceError, match="configured as a Dead Letter Queue"):
        await world.call("sqs", "StartMessageMoveTask", SourceArn=f"{HERE}:work")
    with pytest.raises(ServiceError, match="SourceArn parameter doesn't exist"):
        await world.call("sqs", "StartMessageMoveTask", SourceArn=f"{HERE}:none")


async def test_a_fifo_queues_dead_letters_keep_their_group_and_their_order():
    world, work, dead = await _world(".fifo")
    await _kill(world, work, ["1", "2", "3"], MessageGroupId="g")
    assert await _bodies(world, dead) == ["1", "2", "3"]
    assert await _bodies(world, dead) == []
    await world.advance(30)
    await world.call("sqs", "StartMessageMoveTask", SourceArn=f"{HERE}:dead.fifo")
    await world.settle()
    assert await _bodies(world, work) == ["1", "2", "3"]
