"""What SQS refuses, with its code and the words it says."""

import asyncio
import json

import pytest

from penstock.kernel.errors import ServiceError
from penstock.services.sqs import SERVICE
from penstock.testkit.world import World

HERE = "arn:aws:sqs:us-east-1:000000000000"
MIB = 1024 * 1024


async def _world(name="q", **attributes):
    world = World(SERVICE)
    url = (await world.call("sqs", "CreateQueue", QueueName=name, Attributes=attributes))["QueueUrl"]
    return world, url


async def _refused(world, operation, **params):
    with pytest.raises(ServiceError) as refused:
        await world.call("sqs", operation, **params)
    return refused.value.code, refused.value.message


def text(value, kind="String"):
    return {"DataType": kind, "StringValue": value}


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        pytest.param({"MessageBody": ""}, "MissingParameter", "MessageBody", id="no body"),
        pytest.param({"MessageBody": "a\x01"}, "InvalidMessageContents", "Valid unicode", id="control character"),
        pytest.param({"MessageBody": "\ufffe"}, "InvalidMessageContents", "Valid unicode", id="not a character"),
        pytest.param(
            {"DelaySeconds": 901}, "InvalidParameterValue", "DelaySeconds must be >= 0 and <= 900.", id="delay"
        ),
        pytest.param({"MessageBody": "x" * (MIB + 1)}, "InvalidParameterValue", "shorter than 1048576", id="too long"),
        pytest.param(
            {"MessageBody": "x" * (MIB - 7), "MessageAttributes": {"k": text("v")}},
            "InvalidParameterValue",
            "shorter than",
            id="attributes count",
        ),
        pytest.param(
            {"MessageAttributes": {f"k{n}": text("v") for n in range(11)}},
            "InvalidParameterValue",
            "[11] exceeds the allowed maximum [10]",
            id="eleven attributes",
        ),
        pytest.param({"MessageAttributes": {"AWS.x": text("v")}}, "InvalidParameterValue", "reserved", id="reserved"),
        pytest.param({"MessageAttributes": {"a..b": text("v")}}, "InvalidParameterValue", "'a..b'", id="two periods"),
        pytest.param(
            {"MessageAttributes": {"k": text("", "String")}}, "InvalidParameterValue", "non-empty", id="empty"
        ),
        pytest.param({"MessageAttributes": {"k": text("v", "Text")}}, "InvalidParameterValue", "prefixes", id="type"),
        pytest.param({"MessageAttributes": {"k": text("v", "Number")}}, "InvalidParameterValue", "number", id="number"),
        pytest.param({"MessageSystemAttributes": {"x": text("v")}}, "InvalidParameterValue", "'x'", id="system"),
        pytest.param({"MessageDeduplicationId": "d"}, "InvalidParameterValue", "not valid for this queue", id="dedup"),
        pytest.param({"MessageGroupId": "é"}, "InvalidParameterValue", "punctuation", id="group"),
    ],
)
async def test_a_message_that_cant_be_sent_is_refused(message, code, words):
    world, url = await _world()
    got = await _refused(world, "SendMessage", QueueUrl=url, **{"MessageBody": "x", **message})
    assert got[0] == code
    assert words in got[1]


async def test_a_message_of_a_mebibyte_is_sent_and_a_batch_beyond_it_is_refused_whole():
    world, url = await _world()
    await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="x" * MIB)
    entries = [{"Id": "a", "MessageBody": "x" * MIB}, {"Id": "b", "MessageBody": "y"}]
    assert await _refused(world, "SendMessageBatch", QueueUrl=url, Entries=entries) == (
        "BatchRequestTooLong",
        "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes.",
    )


@pytest.mark.parametrize(
    ("ids", "code", "words"),
    [
        pytest.param([], "EmptyBatchRequest", "at least one SendMessageBatchRequestEntry", id="none"),
        pytest.param([str(n) for n in range(11)], "TooManyEntriesInBatchRequest", "You have sent 11", id="eleven"),
        pytest.param(["a", "a"], "BatchEntryIdsNotDistinct", "Id a repeated", id="twice"),
        pytest.param(["a b"], "InvalidBatchEntryId", "hyphens and underscores", id="space"),
        pytest.param(["x" * 81], "InvalidBatchEntryId", "80 letters", id="long"),
    ],
)
async def test_a_batch_that_cant_be_is_refused(ids, code, words):
    world, url = await _world()
    entries = [{"Id": id, "MessageBody": "x"} for id in ids]
    got = await _refused(world, "SendMessageBatch", QueueUrl=url, Entries=entries)
    assert got[0] == code
    assert words in got[1]


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"VisibilityTimeout": "43201"}, "InvalidAttributeValue"),
        ({"VisibilityTimeout": "x"}, "InvalidAttributeValue"),
        ({"MaximumMessageSize": "1023"}, "InvalidAttributeValue"),
        ({"MessageRetentionPeriod": "59"}, "InvalidAttributeValue"),
        ({"Nonsense": "1"}, "InvalidAttributeName"),
        ({"FifoQueue": "false"}, "InvalidAttributeName"),
        ({"ContentBasedDeduplication": "true"}, "InvalidAttributeName"),
        ({"Policy": "{"}, "InvalidAttributeValue"),
        ({"RedrivePolicy": "x"}, "InvalidParameterValue"),
        ({"RedrivePolicy": '{"maxReceiveCount": 1}'}, "InvalidParameterValue"),
        ({"RedrivePolicy": json.dumps({"deadLetterTargetArn": f"{HERE}:d", "maxReceiveCount": 0})}, None),
        ({"RedrivePolicy": json.dumps({"deadLetterTargetArn": f"{HERE}:d", "maxReceiveCount": 1001})}, None),
        ({"RedrivePolicy": json.dumps({"deadLetterTargetArn": f"{HERE}:none", "maxReceiveCount": 3})}, None),
        ({"RedriveAllowPolicy": '{"redrivePermission": "byQueue"}'}, "InvalidParameterValue"),
        ({"KmsMasterKeyId": "alias/k", "SqsManagedSseEnabled": "true"}, "InvalidAttributeValue"),
    ],
)
async def test_an_attribute_that_cant_be_is_refused_by_create_and_by_set(attributes, code):
    world, url = await _world()
    code = code or "InvalidParameterValue"
    assert (await _refused(world, "CreateQueue", QueueName="new", Attributes=attributes))[0] == code
    assert (await _refused(world, "SetQueueAttributes", QueueUrl=url, Attributes=attributes))[0] == code


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"MaxNumberOfMessages": 11}, "InvalidParameterValue"),
        ({"MaxNumberOfMessages": 0}, "InvalidParameterValue"),
        ({"WaitTimeSeconds": 21}, "InvalidParameterValue"),
        ({"VisibilityTimeout": 43201}, "InvalidParameterValue"),
        ({"AttributeNames": ["Nonsense"]}, "InvalidAttributeName"),
        ({"ReceiveRequestAttemptId": "a"}, "InvalidParameterValue"),
    ],
)
async def test_a_receive_that_cant_be_is_refused(params, code):
    world, url = await _world()
    assert (await _refused(world, "ReceiveMessage", QueueUrl=url, **params))[0] == code


async def test_a_queue_is_created_again_only_with_the_attributes_it_has_and_a_minute_after_its_end():
    world, url = await _world(VisibilityTimeout="7")
    again = await world.call("sqs", "CreateQueue", QueueName="q", Attributes={"VisibilityTimeout": "7"})
    assert again["QueueUrl"] == url
    got = await _refused(world, "CreateQueue", QueueName="q", Attributes={"VisibilityTimeout": "8"})
    assert got == (
        "QueueNameExists",
        "A queue already exists with the same name and a different value for attribute VisibilityTimeout",
    )
    await world.call("sqs", "DeleteQueue", QueueUrl=url)
    assert (await _refused(world, "CreateQueue", QueueName="q"))[0] == "QueueDeletedRecently"
    await world.advance(60)
    await world.call("sqs", "CreateQueue", QueueName="q")


async def test_a_receive_that_waits_hears_at_once_that_its_queue_is_deleted():
    world, url = await _world()
    waiting = asyncio.ensure_future(_refused(world, "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20))
    await world.settle()
    await world.call("sqs", "DeleteQueue", QueueUrl=url)
    assert (await waiting)[0] == "QueueDoesNotExist"


async def test_a_queue_is_purged_once_a_minute():
    world, url = await _world()
    await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="x")
    await world.call("sqs", "PurgeQueue", QueueUrl=url)
    assert await world.call("sqs", "ReceiveMessage", QueueUrl=url) == {}
    assert (await _refused(world, "PurgeQueue", QueueUrl=url))[0] == "PurgeQueueInProgress"
    await world.advance(60)
    await world.call("sqs", "PurgeQueue", QueueUrl=url)


async def test_visibility_can_be_changed_only_in_flight_and_for_twelve_hours_in_all():
    world, url = await _world()
    await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="x")
    handle = (await world.call("sqs", "ReceiveMessage", QueueUrl=url))["Messages"][0]["ReceiptHandle"]
    await world.advance(10)
    params = {"QueueUrl": url, "ReceiptHandle": handle}
    await world.call("sqs", "ChangeMessageVisibility", **params, VisibilityTimeout=43_190)
    got = await _refused(world, "ChangeMessageVisibility", **params, VisibilityTimeout=43_191)
    assert got == (
        "InvalidParameterValue",
        "Value 43191 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is "
        "beyond the limit [43200 seconds]",
    )
    entries = [{"Id": "a", "ReceiptHandle": handle, "VisibilityTimeout": 0}, {"Id": "b", "ReceiptHandle": "x"}]
    answer = await world.call("sqs", "ChangeMessageVisibilityBatch", QueueUrl=url, Entries=entries)
    assert answer["Successful"] == [{"Id": "a"}]
    assert [(item["Id"], item["Code"]) for item in answer["Failed"]] == [("b", "MissingParameter")]
    assert (await _refused(world, "ChangeMessageVisibility", **params, VisibilityTimeout=5))[0] == "MessageNotInflight"
    await world.call("sqs", "DeleteMessage", **params)
    got = await _refused(world, "ChangeMessageVisibility", **params, VisibilityTimeout=5)
    assert "Message does not exist" in got[1]


async def test_too_many_messages_in_flight_end_a_short_poll_but_not_a_long_one(monkeypatch):
    monkeypatch.setattr("penstock.services.sqs.limits.IN_FLIGHT_MAX", type("L", (), {"value": 3}))
    world, url = await _world()
    for number in range(5):
        await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody=str(number))
    for _ in range(3):
        assert len((await world.call("sqs", "ReceiveMessage", QueueUrl=url))["Messages"]) == 1
    await world.advance(2)
    assert (await _refused(world, "ReceiveMessage", QueueUrl=url))[0] == "OverLimit"
    await world.advance(30)
    assert len((await world.call("sqs", "ReceiveMessage", QueueUrl=url))["Messages"]) == 1


@pytest.mark.parametrize(
    ("operation", "params", "code", "words"),
    [
        ("TagQueue", {"Tags": {}}, "MissingParameter", "The request must contain the parameter Tags."),
        ("UntagQueue", {"TagKeys": []}, "InvalidParameterValue", "Tag keys must be between 1 and 128 characters"),
        ("RemovePermission", {"Label": "x"}, "InvalidParameterValue", "can't find label on existing policy."),
        (
            "AddPermission",
            {"Label": "x", "Actions": ["SendMessage"], "AWSAccountIds": []},
            "InvalidParameterValue",
            "Value [] for parameter PrincipalId is invalid. Reason: Unable to verify.",
        ),
    ],
)
async def test_what_lacks_its_subject_is_refused(operation, params, code, words):
    world, url = await _world()
    got = await _refused(world, operation, QueueUrl=url, **params)
    assert got[0] == code
    assert words in got[1]


async def test_any_receives_handle_changes_a_standard_messages_visibility():
    world, url = await _world()
    await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="x")
    first = (await world.call("sqs", "ReceiveMessage", QueueUrl=url, VisibilityTimeout=1))["Messages"][0]
    await world.advance(2)
    await world.call("sqs", "ReceiveMessage", QueueUrl=url, VisibilityTimeout=300)
    params = {"QueueUrl": url, "ReceiptHandle": first["ReceiptHandle"]}
    await world.call("sqs", "ChangeMessageVisibility", **params, VisibilityTimeout=0)
    assert len((await world.call("sqs", "ReceiveMessage", QueueUrl=url))["Messages"]) == 1
