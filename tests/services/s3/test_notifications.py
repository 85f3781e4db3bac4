import asyncio
import types

import orjson
import pytest

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
