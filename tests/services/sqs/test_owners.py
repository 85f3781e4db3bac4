"""What an owner does with a queue: tags, permissions, what is given back of a message."""

import hashlib
import json
import struct

import pytest

from penstock.framework.context import Context, RequestInfo
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Principal, Scope, root_principal
from penstock.services import iam
from penstock.services.sqs import SERVICE
from penstock.testkit.world import World

HERE = "arn:aws:sqs:us-east-1:000000000000"


async def _world(*rooms, **attributes):
    world = World(SERVICE, *rooms)
    url = (await world.call("sqs", "CreateQueue", QueueName="q", Attributes=attributes, tags={"a": "1"}))["QueueUrl"]
    return world, url


async def test_tags_are_added_and_removed():
    world, url = await _world()
    await world.call("sqs", "TagQueue", QueueUrl=url, Tags={"b": "2"})
    await world.call("sqs", "UntagQueue", QueueUrl=url, TagKeys=["a"])
    assert await world.call("sqs", "ListQueueTags", QueueUrl=url) == {"Tags": {"b": "2"}}
    with pytest.raises(ServiceError, match="Too many tags"):
        await world.call("sqs", "TagQueue", QueueUrl=url, Tags={str(n): "" for n in range(50)})


async def test_a_permission_opens_the_queue_to_another_account_until_it_is_removed():
    world, url = await _world(iam.SERVICE)
    world.platform.auth = "enforce"
    other = Context(world.platform, Scope("111122223333"), root_principal("111122223333"), RequestInfo("r"))
    message = {"QueueUrl": url, "MessageBody": "x"}
    with pytest.raises(ServiceError, match="AccessDenied"):
        await other.call("sqs", "SendMessage", message)
    grant = {"QueueUrl": url, "Label": "l", "AWSAccountIds": ["111122223333"], "Actions": ["SendMessage"]}
    await world.call("sqs", "AddPermission", **grant)
    await other.call("sqs", "SendMessage", message)
    with pytest.raises(ServiceError, match="AccessDenied"):
        await other.call("sqs", "ReceiveMessage", {"QueueUrl": url})
    with pytest.raises(ServiceError, match="Already exists"):
        await world.call("sqs", "AddPermission", **grant)
    await world.call("sqs", "RemovePermission", QueueUrl=url, Label="l")
    with pytest.raises(ServiceError, match="AccessDenied"):
        await other.call("sqs", "SendMessage", message)
    with pytest.raises(ServiceError, match="can't find label"):
        await world.call("sqs", "RemovePermission", QueueUrl=url, Label="l")
    with pytest.raises(ServiceError, match="Only the queue owner"):
        await world.call("sqs", "AddPermission", **{**grant, "Actions": ["DeleteQueue"]})


async def test_a_denial_in_the_policy_holds_against_the_owners_own_roles():
    world, url = await _world(iam.SERVICE)
    world.platform.auth = "enforce"
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": f"{HERE}:q"}
    job = Principal("role", "000000000000", "arn:aws:sts::000000000000:assumed-role/job/s", "AROA:s")
    allow = {"Effect": "Allow", "Principal": {"AWS": job.arn}, "Action": "sqs:*", "Resource": f"{HERE}:q"}
    for statements, is_allowed in (([allow], True), ([allow, deny], False)):
        policy = json.dumps({"Statement": statements})
        await world.context().call("sqs", "SetQueueAttributes", {"QueueUrl": url, "Attributes": {"Policy": policy}})
        call = world.context(principal=job).call("sqs", "SendMessage", {"QueueUrl": url, "MessageBody": "x"})
        if is_allowed:
            await call
        else:
            with pytest.raises(ServiceError, match="explicit deny"):
                await call


async def test_attributes_are_chosen_by_name_by_prefix_or_all():
    world, url = await _world(VisibilityTimeout="0")
    value = {"DataType": "String", "StringValue": "v"}
    attributes = {"foo.a": value, "foo.b": value, "bar": {"DataType": "Binary", "BinaryValue": b"\0\xff"}}
    await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="x", MessageAttributes=attributes)
    for names, expected in (
        (["All"], set(attributes)),
        ([".*"], set(attributes)),
        (["foo.*"], {"foo.a", "foo.b"}),
        (["bar", "none"], {"bar"}),
        ([], set()),
    ):
        got = await world.call("sqs", "ReceiveMessage", QueueUrl=url, MessageAttributeNames=names)
        assert set(got["Messages"][0].get("MessageAttributes", {})) == expected


def _digest(*attributes):
    """AWS's sum, written out once more."""
    out = b""
    for name, kind, marker, data in attributes:
        for part in (name, kind):
            out += struct.pack(">I", len(part)) + part
        out += marker + struct.pack(">I", len(data)) + data
    return hashlib.md5(out).hexdigest()


async def test_sums_of_body_attributes_and_system_attributes_are_awss():
    world, url = await _world()
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793"
    answer = await world.call(
        "sqs",
        "SendMessage",
        QueueUrl=url,
        MessageBody="é",
        MessageAttributes={
            "z": {"DataType": "Number.int", "StringValue": "5"},
            "b": {"DataType": "Binary", "BinaryValue": b"\0"},
        },
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": trace}},
    )
    assert answer["MD5OfMessageBody"] == hashlib.md5("é".encode()).hexdigest()
    assert answer["MD5OfMessageAttributes"] == _digest(
        (b"b", b"Binary", b"\x02", b"\0"), (b"z", b"Number.int", b"\x01", b"5")
    )
    assert answer["MD5OfMessageSystemAttributes"] == _digest((b"AWSTraceHeader", b"String", b"\x01", trace.encode()))
    got = await world.call("sqs", "ReceiveMessage", QueueUrl=url, MessageSystemAttributeNames=["AWSTraceHeader"])
    assert got["Messages"][0]["Attributes"] == {"AWSTraceHeader": trace}


async def test_what_is_beyond_the_retention_is_neither_counted_nor_received():
    world, url = await _world(MessageRetentionPeriod="60")
    await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="old")
    await world.advance(61)
    await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="new")
    names = ["ApproximateNumberOfMessages"]
    found = await world.call("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=names)
    assert found["Attributes"] == {"ApproximateNumberOfMessages": "1"}
    got = await world.call("sqs", "ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10)
    assert [message["Body"] for message in got["Messages"]] == ["new"]
