from dataclasses import replace
from urllib.parse import quote

import orjson
import pytest

from penstock.kernel.errors import ServiceError
from penstock.services.lambda_ import rules
from penstock.services.lambda_.operations.metering import meter_of
from penstock.storage import metrics
from penstock.storage.metrics import Series
from penstock.testkit.functions import create_function, outcome

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


def traced(world, trace_id):
    """A context as the gateway makes it for a function's SDK, which quotes the header."""
    ctx = world.context()
    return replace(ctx, request=replace(ctx.request, trace_id=quote(trace_id, safe="-=;:+&[]{}\"',")))


async def loop_through_s3(world, pool):
    """The function writes into the bucket that invokes it; answers how often it ran."""
    await world.call("s3", "CreateBucket", Bucket="loop")
    wanted = {"LambdaFunctionArn": ARN, "Events": ["s3:ObjectCreated:*"]}
    config = {"LambdaFunctionConfigurations": [wanted]}
    await world.call("s3", "PutBucketNotificationConfiguration", Bucket="loop", NotificationConfiguration=config)

    async def invoke(spec, invocation):
        pool.invoked.append((spec, invocation))
        number = len(pool.invoked)
        if number < 40:
            ctx = traced(world, invocation.trace_id)
            await ctx.call("s3", "PutObject", {"Bucket": "loop", "Key": str(number), "Body": b"x"})
        return outcome()

    pool.invoke = invoke
    await world.call("s3", "PutObject", Bucket="loop", Key="first", Body=b"x")
    await world.advance(60)
    return len(pool.invoked)


async def test_a_loop_through_a_bucket_is_stopped_after_sixteen_rounds_and_told(world, pool):
    async with world.background:
        await world.call("sqs", "CreateQueue", QueueName="dead")
        await create_function(world, DeadLetterConfig={"TargetArn": "arn:aws:sqs:us-east-1:000000000000:dead"})
        assert await loop_through_s3(world, pool) == 16
        answer = await world.call("sqs", "ReceiveMessage", QueueUrl="http://localhost:4566/000000000000/dead")
        (message,) = answer["Messages"]
        assert orjson.loads(message["Body"])["Records"][0]["s3"]["object"]["key"] == "16"


QUEUE_URL = "http://localhost:4566/000000000000/loop"


async def loop_through_sqs(world, pool, *, rounds_max=40, **queue):
    """The function sends on what it is sent; answers how often it ran with a looping message."""
    await world.call("sqs", "CreateQueue", QueueName="loop", **queue)
    source = "arn:aws:sqs:us-east-1:000000000000:loop"
    await world.call("lambda", "CreateEventSourceMapping", EventSourceArn=source, FunctionName="f")
    rounds = 0

    async def invoke(spec, invocation):
        nonlocal rounds
        pool.invoked.append((spec, invocation))
        bodies = [record["body"] for record in orjson.loads(invocation.payload)["Records"]]
        if "round" in bodies and rounds < rounds_max:
            rounds += 1
            ctx = traced(world, invocation.trace_id)
            await ctx.call("sqs", "SendMessage", {"QueueUrl": QUEUE_URL, "MessageBody": "round"})
        return outcome()

    pool.invoke = invoke
    await world.call("sqs", "SendMessage", QueueUrl=QUEUE_URL, MessageBody="round")
    await world.advance(200)
    return rounds


async def test_a_loop_through_a_queue_is_stopped_and_its_message_ends_in_the_queue_s_dead_letter_queue(world, pool):
    async with world.background:
        await create_function(world)
        await world.call("sqs", "CreateQueue", QueueName="dead")
        redrive = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 3}
        attributes = {"RedrivePolicy": orjson.dumps(redrive).decode(), "VisibilityTimeout": "30"}
        assert await loop_through_sqs(world, pool, Attributes=attributes) == 16
        answer = await world.call("sqs", "ReceiveMessage", QueueUrl="http://localhost:4566/000000000000/dead")
        assert answer["Messages"][0]["Body"] == "round"
        await world.call("sqs", "SendMessage", QueueUrl=QUEUE_URL, MessageBody="other")
        await world.advance(5)
        assert b'"body":"other"' in pool.invoked[-1][1].payload
        assert await dropped(world) == 3


async def dropped(world):
    await meter_of(world.platform).flush()
    scope = world.context().scope
    series = Series("AWS/Lambda", "RecursiveInvocationsDropped", (("FunctionName", "f"),), "Count")

    def read(tx):
        return sum(one.total for _, _, one in metrics.points(tx, scope, series, begin_s=0, end_s=2**40))

    return await world.platform.store.read(read)


async def test_a_loop_through_a_queue_that_is_allowed_goes_on(world, pool):
    async with world.background:
        await create_function(world)
        await world.call("lambda", "PutFunctionRecursionConfig", FunctionName="f", RecursiveLoop="Allow")
        assert await loop_through_sqs(world, pool) == 40


async def test_a_loop_that_is_allowed_goes_on(world, pool):
    async with world.background:
        await create_function(world)
        await world.call("lambda", "PutFunctionRecursionConfig", FunctionName="f", RecursiveLoop="Allow")
        assert await world.call("lambda", "GetFunctionRecursionConfig", FunctionName="f") == {"RecursiveLoop": "Allow"}
        assert await loop_through_s3(world, pool) == 40


async def test_a_function_that_invokes_itself_is_refused_the_seventeenth_time(world, pool):
    await create_function(world)
    trace_id = ""
    for _ in range(16):
        await traced(world, trace_id).call("lambda", "Invoke", {"FunctionName": "f"})
        trace_id = pool.invoked[-1][1].trace_id
    with pytest.raises(ServiceError, match="recursive loop") as raised:
        await traced(world, trace_id).call("lambda", "Invoke", {"FunctionName": "f"})
    assert raised.value.code == "RecursiveInvocationException"
    await create_function(world, "g")
    assert await traced(world, trace_id).call("lambda", "Invoke", {"FunctionName": "g"})


def test_the_lineage_counts_each_function_and_stays_bounded():
    trace_id = "Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0"
    for number in range(100):
        trace_id = rules.with_hop(trace_id, f"f{number}")
        trace_id = rules.with_hop(trace_id, "same")
    assert rules.hops(trace_id, "same") == 100
    assert rules.hops(trace_id, "f99") == 1
    assert rules.hops(trace_id, "f0") == 0
    assert trace_id.startswith("Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0;Lineage=")
    assert len(trace_id) < 600
    assert rules.hops("Root=1;Lineage=x:y|:3|", "same") == 0
