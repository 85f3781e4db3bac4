import asyncio
import types

import orjson
import pytest
from tests.services.s3.conftest import Room

from penstock.framework.background import BackgroundRunner
from penstock.framework.service import Service, operation
from penstock.kernel.errors import ServiceError
from penstock.services import s3
from penstock.testkit.world import World

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:f"


def world_with_lambda(blobs, invoked):
    @operation
    async def invoke(ctx, req):
        invoked.append((ctx.principal, req))
        if req["FunctionName"].endswith("gone"):
            raise ServiceError("ResourceNotFoundException", "no", status=404)
        return {}

    room = types.ModuleType("room")
    room.invoke = invoke
    lambda_room = Service("lambda", operations=[room])
    world = World(s3.SERVICE, lambda_room, blobs=blobs)
    return world, BackgroundRunner(world.platform, [s3.SERVICE, lambda_room])


def wanting(*rules, events=("s3:ObjectCreated:*",), arn=FUNCTION):
    filters = {"Key": {"FilterRules": [{"Name": name, "Value": value} for name, value in rules]}}
    return {"LambdaFunctionArn": arn, "Events": list(events), "Filter": filters}


async def configure(world, *items):
    await world.call("s3", "CreateBucket", Bucket="bucket")
    config = {"LambdaFunctionConfigurations": list(items)}
    await world.call("s3", "PutBucketNotificationConfiguration", Bucket="bucket", NotificationConfiguration=config)


def test_a_matching_put_invokes_the_function_as_s3_with_the_encoded_key(blobs):
    invoked = []
    world, runner = world_with_lambda(blobs, invoked)

    async def go():
        await configure(world, wanting(("prefix", "in/"), ("Suffix", ".csv")))
        await world.call("s3", "PutObject", Bucket="bucket", Key="in/a b.csv", Body=b"1")
        await world.call("s3", "PutObject", Bucket="bucket", Key="out/a.csv", Body=b"1")
        await runner.drain()

    asyncio.run(go())
    (_, dry), (principal, call) = invoked
    assert dry["InvocationType"] == "DryRun"
    assert (principal.arn, principal.source_arn) == ("s3.amazonaws.com", "arn:aws:s3:::bucket")
    (record,) = orjson.loads(call["Payload"])["Records"]
    assert (record["eventName"], record["eventVersion"]) == ("ObjectCreated:Put", "2.1")
    assert record["s3"]["object"]["key"] == "in/a+b.csv"
    assert record["s3"]["object"]["size"] == 1


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([wanting(("prefix", "a")), wanting(("prefix", "ab"))], "overlapping suffixes"),
        ([wanting(arn=FUNCTION + "gone")], "Unable to validate the following destination"),
        ([wanting(("middle", "a"))], "either prefix or suffix"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(blobs, items, text):
    world, _ = world_with_lambda(blobs, [])
    with pytest.raises(ServiceError, match=text):
        asyncio.run(configure(world, *items))


QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
ALL = ("ObjectCreated:*", "ObjectRemoved:*", "ObjectRestore:*", "LifecycleExpiration:*", "LifecycleTransition")
ALL += ("ObjectTagging:*", "ObjectAcl:Put", "ObjectRetention:Put")
FIVE_MIB = b"a" * (5 * 1024 * 1024)


class Destinations:
    """SQS, SNS and EventBridge that note what they are sent."""

    def __init__(self):
        self.sent = []

    def services(self):
        made = []
        for name, called in (("sqs", "SendMessage"), ("sns", "Publish"), ("events", "PutEvents")):

            @operation
            async def take(ctx, req, name=name):
                self.sent.append((name, req))
                return {}

            room = types.ModuleType(name)
            setattr(
                room, {"SendMessage": "send_message", "Publish": "publish", "PutEvents": "put_events"}[called], take
            )
            made.append(Service(name, operations=[room]))
        return made

    def names(self):
        """What was told, by destination."""
        found = {"sqs": [], "sns": [], "events": []}
        for name, req in self.sent:
            if name == "events":
                entry = req["Entries"][0]
                found[name].append((entry["DetailType"], orjson.loads(entry["Detail"]).get("reason")))
                continue
            body = orjson.loads(req["MessageBody"] if name == "sqs" else req["Message"])
            found[name] += [record["eventName"] for record in body.get("Records", [])]
        return found


@pytest.fixture
def told(blobs):
    destinations = Destinations()
    made = Room(World(s3.SERVICE, *destinations.services(), blobs=blobs))
    made("CreateBucket", ObjectLockEnabledForBucket=True)
    made.destinations = destinations
    yield made
    made.runner.close()


def everything(*, queue=QUEUE):
    wanted = [f"s3:{name}" for name in ALL]
    topic = "arn:aws:sns:us-east-1:000000000000:t"
    return {
        "QueueConfigurations": [{"QueueArn": queue, "Events": wanted, "Filter": only("a/")}],
        "TopicConfigurations": [{"TopicArn": topic, "Events": wanted, "Filter": only("b/")}],
        "EventBridgeConfiguration": {},
    }


def only(prefix):
    return {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}}


def test_every_kind_of_event_reaches_queue_topic_and_bus(told):
    told("PutBucketNotificationConfiguration", NotificationConfiguration=everything())
    told("PutObject", Key="a/put", Body=b"x")
    told("PutObject", Key="b/put", Body=b"x")
    told("CopyObject", Key="a/copy", CopySource="bucket/a/put")
    told.upload(FIVE_MIB, key="a/parts")
    told("PutObjectTagging", Key="a/put", Tagging={"TagSet": []})
    told("DeleteObjectTagging", Key="a/put")
    told("PutObjectAcl", Key="a/put", ACL="public-read")
    version = told("DeleteObject", Key="a/put")["VersionId"]
    told("DeleteObject", Key="a/put", VersionId=version)
    told("PutObject", Key="a/cold", Body=b"x", StorageClass="GLACIER")
    told("RestoreObject", Key="a/cold", RestoreRequest={"Days": 1})
    told.runner.run(told.world.settle())
    told.days(3)
    found = told.destinations.names()
    assert sorted(found["sqs"]) == sorted(
        ["ObjectCreated:Put", "ObjectCreated:Copy", "ObjectCreated:CompleteMultipartUpload", "ObjectTagging:Put"]
        + ["ObjectTagging:Delete", "ObjectAcl:Put", "ObjectRemoved:DeleteMarkerCreated", "ObjectRemoved:Delete"]
        + ["ObjectCreated:Put", "ObjectRestore:Post", "ObjectRestore:Completed", "ObjectRestore:Delete"]
    )
    assert found["sns"] == ["ObjectCreated:Put"]
    assert ("Object Created", "PutObject") in found["events"]
    kinds = {"Object Created", "Object Deleted", "Object Tags Added", "Object Tags Deleted", "Object ACL Updated"}
    kinds |= {"Object Restore Initiated", "Object Restore Completed", "Object Restore Expired"}
    assert {kind for kind, _ in found["events"]} == kinds


def test_what_time_does_is_told_too(told):
    told("PutBucketNotificationConfiguration", NotificationConfiguration=everything())
    told("PutObject", Key="a/old", Body=b"x" * 200_000)
    rules = [
        {"ID": "m", "Status": "Enabled", "Filter": {}, "Transitions": [{"Days": 1, "StorageClass": "GLACIER_IR"}]},
        {"ID": "e", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 3}},
        {"ID": "n", "Status": "Enabled", "Filter": {}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}},
    ]
    told("PutBucketLifecycleConfiguration", LifecycleConfiguration={"Rules": rules})
    told.days(8)
    found = told.destinations.names()
    assert found["sqs"] == [
        "ObjectCreated:Put",
        "LifecycleTransition",
        "LifecycleExpiration:DeleteMarkerCreated",
        "LifecycleExpiration:Delete",
        "LifecycleExpiration:Delete",  # the marker, once nothing is behind it
    ]
    assert ("Object Storage Class Changed", None) in found["events"]
    assert ("Object Deleted", "Lifecycle Expiration") in found["events"]


@pytest.mark.parametrize(
    ("queue", "events", "text"),
    [
        (QUEUE + ".fifo", ["s3:ObjectCreated:*"], "Unable to validate"),
        (QUEUE.replace("us-east-1", "eu-west-1"), ["s3:ObjectCreated:*"], "region is not valid"),
        (QUEUE.replace("sqs", "sns"), ["s3:ObjectCreated:*"], "not well formed"),
        ("queue", ["s3:ObjectCreated:*"], "could not be parsed"),
        (QUEUE, ["s3:ObjectShrunk"], "not supported for notifications"),
    ],
)
def test_a_destination_or_an_event_that_s3_does_not_know_is_refused(told, queue, events, text):
    config = {"QueueConfigurations": [{"QueueArn": queue, "Events": events}]}
    assert told.error("PutBucketNotificationConfiguration", NotificationConfiguration=config)[0] == "InvalidArgument"
    assert text in told.refusal.message


def test_destinations_are_tried_when_they_are_configured(told):
    told("PutBucketNotificationConfiguration", NotificationConfiguration=everything())
    tried = [
        (name, orjson.loads(req.get("MessageBody") or req.get("Message"))["Event"])
        for name, req in told.destinations.sent
    ]
    assert sorted(tried) == [("sns", "s3:TestEvent"), ("sqs", "s3:TestEvent")]
