"""The mapping's own API: settings as they are shown, lists and pages, roles that may not, texts of refusals."""

import orjson
import pytest

from penstock.kernel.errors import ServiceError
from penstock.services import dynamodb, iam, kinesis, lambda_, logs, s3, sqs
from penstock.testkit.functions import FakePool, create_function
from penstock.testkit.world import World

QUEUE = "arn:aws:sqs:us-east-1:000000000000:work"
STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/s"


@pytest.fixture
def world():
    rooms = (lambda_.SERVICE, kinesis.SERVICE, dynamodb.SERVICE, sqs.SERVICE, s3.SERVICE, logs.SERVICE, iam.SERVICE)
    return World(*rooms, functions=FakePool())


async def queue_mapping(world, *, queue="work", attributes=None, **members):
    await world.call("sqs", "CreateQueue", QueueName=queue, Attributes=attributes or {})
    arn = QUEUE.replace("work", queue)
    return await world.call(
        "lambda", "CreateEventSourceMapping", EventSourceArn=arn, **{"FunctionName": "f", **members}
    )


async def stream_mapping(world, **members):
    await world.call("kinesis", "CreateStream", StreamName="s", ShardCount=1)
    params = {"EventSourceArn": STREAM, "FunctionName": "f", "StartingPosition": "LATEST", **members}
    return await world.call("lambda", "CreateEventSourceMapping", **params)


async def test_a_stream_s_mapping_is_shown_with_its_defaults(world):
    async with world.background:
        await create_function(world)
        made = await stream_mapping(world)
        shown = {name: value for name, value in made.items() if name not in ("UUID", "LastModified")}
        assert shown == {
            "BatchSize": 100,
            "MaximumBatchingWindowInSeconds": 0,
            "ParallelizationFactor": 1,
            "EventSourceArn": STREAM,
            "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
            "LastProcessingResult": "No records processed",
            "State": "Creating",
            "StateTransitionReason": "User action",
            "DestinationConfig": {"OnFailure": {}},
            "MaximumRecordAgeInSeconds": -1,
            "BisectBatchOnFunctionError": False,
            "MaximumRetryAttempts": -1,
            "TumblingWindowInSeconds": 0,
            "FunctionResponseTypes": [],
            "StartingPosition": "LATEST",
            "EventSourceMappingArn": f"arn:aws:lambda:us-east-1:000000000000:event-source-mapping:{made['UUID']}",
        }


async def test_a_queue_s_mapping_is_shown_with_what_a_queue_has(world):
    await create_function(world)
    made = await queue_mapping(world, MetricsConfig={"Metrics": ["EventCount"]}, BisectBatchOnFunctionError=False)
    assert set(made) == {
        "UUID", "BatchSize", "MaximumBatchingWindowInSeconds", "EventSourceArn", "FunctionArn", "LastModified",
        "State", "StateTransitionReason", "FunctionResponseTypes", "EventSourceMappingArn", "MetricsConfig",
    }  # fmt: skip
    assert (made["BatchSize"], made["StateTransitionReason"]) == (10, "USER_INITIATED")


async def test_settings_are_set_and_taken_back(world):
    async with world.background:
        await create_function(world)
        await world.call("sqs", "CreateQueue", QueueName="lost")
        target = "arn:aws:sqs:us-east-1:000000000000:lost"
        made = await stream_mapping(
            world,
            DestinationConfig={"OnFailure": {"Destination": target}},
            FilterCriteria={"Filters": [{"Pattern": '{"data": {"a": [1]}}'}]},
            MaximumRetryAttempts=3,
            MaximumRecordAgeInSeconds=60,
        )
        await world.advance(0)
        changed = await world.call(
            "lambda",
            "UpdateEventSourceMapping",
            UUID=made["UUID"],
            DestinationConfig={"OnFailure": {"Destination": ""}},
            FilterCriteria={},
            MaximumRetryAttempts=-1,
            MaximumRecordAgeInSeconds=-1,
        )
        assert changed["State"] == "Updating"
        assert changed["DestinationConfig"] == {"OnFailure": {}}
        assert "FilterCriteria" not in changed
        assert (changed["MaximumRetryAttempts"], changed["MaximumRecordAgeInSeconds"]) == (-1, -1)


async def test_provisioned_pollers_and_concurrency_exclude_each_other(world):
    async with world.background:
        await create_function(world)
        made = await queue_mapping(world, ProvisionedPollerConfig={"MinimumPollers": 3})
        assert made["ProvisionedPollerConfig"] == {"MinimumPollers": 3, "MaximumPollers": 200}
        await world.advance(0)
        change = {"UUID": made["UUID"], "ScalingConfig": {"MaximumConcurrency": 5}}
        with pytest.raises(ServiceError, match="InvalidParameterValueException"):
            await world.call("lambda", "UpdateEventSourceMapping", **change)
        changed = await world.call("lambda", "UpdateEventSourceMapping", **change, ProvisionedPollerConfig={})
        assert changed["ScalingConfig"] == {"MaximumConcurrency": 5}
        await world.advance(0)
        changed = await world.call("lambda", "UpdateEventSourceMapping", UUID=made["UUID"], ScalingConfig={})
        assert "ScalingConfig" not in changed


async def test_lists_are_filtered_and_come_in_pages(world):
    await create_function(world)
    await create_function(world, "g")
    ids = []
    for number in range(5):
        made = await queue_mapping(world, queue=f"q{number}", FunctionName="f" if number % 2 else "g")
        ids.append(made["UUID"])
    first = await world.call("lambda", "ListEventSourceMappings", MaxItems=3)
    rest = await world.call("lambda", "ListEventSourceMappings", MaxItems=3, Marker=first["NextMarker"])
    assert sorted(ids) == [one["UUID"] for page in (first, rest) for one in page["EventSourceMappings"]]
    assert "NextMarker" not in rest
    of_f = await world.call("lambda", "ListEventSourceMappings", FunctionName="f")
    assert sorted(ids[1::2]) == [one["UUID"] for one in of_f["EventSourceMappings"]]
    arn = QUEUE.replace("work", "q2")
    [one] = (await world.call("lambda", "ListEventSourceMappings", EventSourceArn=arn))["EventSourceMappings"]
    assert one["UUID"] == ids[2]


async def test_a_second_mapping_of_the_same_kind_is_refused_in_awss_words(world):
    await create_function(world)
    id = (await queue_mapping(world))["UUID"]
    with pytest.raises(ServiceError) as refused:
        await world.call("lambda", "CreateEventSourceMapping", EventSourceArn=QUEUE, FunctionName="f")
    assert refused.value.message == (
        f'An event source mapping with SQS arn (" {QUEUE} ") and function (" f ") already exists. '
        f"Please update or delete the existing mapping with UUID {id}"
    )
    id = (await stream_mapping(world))["UUID"]
    params = {"EventSourceArn": STREAM, "FunctionName": "f", "StartingPosition": "LATEST"}
    with pytest.raises(ServiceError) as refused:
        await world.call("lambda", "CreateEventSourceMapping", **params)
    assert refused.value.message == (
        f'The event source arn (" {STREAM} ") and function (" f ") provided mapping already exists. '
        f"Please update or delete the existing mapping with UUID {id}"
    )
    assert (refused.value.code, refused.value.status) == ("ResourceConflictException", 409)


async def allow(world, *actions, resource="*"):
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resource}]}
    await world.call(
        "iam", "PutRolePolicy", RoleName="worker", PolicyName="p", PolicyDocument=orjson.dumps(document).decode()
    )


async def enforced(world):
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    await world.call("iam", "CreateRole", RoleName="worker", AssumeRolePolicyDocument=orjson.dumps(trust).decode())
    await create_function(world)
    world.platform.auth = "enforce"


async def test_a_role_that_may_not_read_the_queue_is_refused_in_awss_words(world):
    await enforced(world)
    await world.call("sqs", "CreateQueue", QueueName="work")
    actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
    for allowed, missing in ((0, "ReceiveMessage"), (1, "DeleteMessage"), (2, "GetQueueAttributes")):
        await allow(world, *actions[:allowed], "sqs:ListQueues", resource="*")
        with pytest.raises(ServiceError) as refused:
            await world.call("lambda", "CreateEventSourceMapping", EventSourceArn=QUEUE, FunctionName="f")
        text = f"The provided execution role does not have permissions to call {missing} on SQS"
        assert (refused.value.code, refused.value.message) == ("InvalidParameterValueException", text)
    await allow(world, *actions, resource=QUEUE)
    await world.call("lambda", "CreateEventSourceMapping", EventSourceArn=QUEUE, FunctionName="f")


async def test_a_queue_is_read_as_the_role_with_no_more_than_aws_needs(world):
    async with world.background:
        await enforced(world)
        url = (await world.call("sqs", "CreateQueue", QueueName="work"))["QueueUrl"]
        await allow(world, "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", resource=QUEUE)
        await world.call("lambda", "CreateEventSourceMapping", EventSourceArn=QUEUE, FunctionName="f")
        await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="x")
        await world.advance(1)
        assert len(world.platform.functions.invoked) == 1


async def test_a_stream_is_read_as_the_role_with_rights_on_its_arn(world):
    async with world.background:
        await enforced(world)
        with pytest.raises(ServiceError) as refused:
            await stream_mapping(world, StartingPosition="TRIM_HORIZON")
        assert refused.value.message == (
            f"Cannot access stream {STREAM}. Please ensure the role can perform the GetRecords, GetShardIterator, "
            "DescribeStream, ListShards, and ListStreams Actions on your stream in IAM."
        )
        needed = ["GetRecords", "GetShardIterator", "DescribeStream", "DescribeStreamSummary", "ListShards"]
        await allow(world, *[f"kinesis:{name}" for name in needed], resource=STREAM)
        params = {"EventSourceArn": STREAM, "FunctionName": "f", "StartingPosition": "TRIM_HORIZON"}
        await world.advance(1)
        id = (await world.call("lambda", "CreateEventSourceMapping", **params))["UUID"]
        await world.call("kinesis", "PutRecord", StreamName="s", PartitionKey="k", Data=b"x")
        await world.advance(1)
        assert len(world.platform.functions.invoked) == 1
        await allow(world, "kinesis:ListShards", resource=STREAM)
        await world.call("kinesis", "PutRecord", StreamName="s", PartitionKey="k", Data=b"y")
        await world.advance(30)
        assert len(world.platform.functions.invoked) == 1
        found = await world.call("lambda", "GetEventSourceMapping", UUID=id)
        assert found["LastProcessingResult"].startswith(f"PROBLEM: Cannot access stream {STREAM}.")
        await allow(world, *[f"kinesis:{name}" for name in needed], resource=STREAM)
        await world.advance(120)
        assert len(world.platform.functions.invoked) == 2


async def test_tables_streams_need_their_own_rights(world):
    await enforced(world)
    made = await world.call(
        "dynamodb",
        "CreateTable",
        TableName="items",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
    )
    arn = made["TableDescription"]["LatestStreamArn"]
    params = {"EventSourceArn": arn, "FunctionName": "f", "StartingPosition": "LATEST"}
    with pytest.raises(ServiceError, match="Cannot access stream"):
        await world.call("lambda", "CreateEventSourceMapping", **params)
    needed = ["GetRecords", "GetShardIterator", "DescribeStream", "ListStreams"]
    await allow(world, *[f"dynamodb:{name}" for name in needed], resource=arn)
    await world.call("lambda", "CreateEventSourceMapping", **params)


async def test_a_deleted_function_stops_its_queue_from_being_read(world):
    async with world.background:
        await create_function(world)
        url = (await world.call("sqs", "CreateQueue", QueueName="work"))["QueueUrl"]
        await world.call("lambda", "CreateEventSourceMapping", EventSourceArn=QUEUE, FunctionName="f")
        await world.advance(0)
        await world.call("lambda", "DeleteFunction", FunctionName="f")
        await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="x")
        await world.advance(300)
        names = ["ApproximateNumberOfMessages"]
        found = await world.call("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=names)
        assert found["Attributes"] == {"ApproximateNumberOfMessages": "1"}
        [message] = (await world.call("sqs", "ReceiveMessage", QueueUrl=url, AttributeNames=["All"]))["Messages"]
        assert message["Attributes"]["ApproximateReceiveCount"] == "1"


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"StartingPosition": "LATEST"}, "Unsupported StartingPosition parameter for given event source mapping type."),
        ({"ParallelizationFactor": 2}, "Unsupported ParallelizationFactor parameter for given event source mapping"),
        ({"BisectBatchOnFunctionError": True}, "Unsupported BisectBatchOnFunctionError parameter"),
        ({"MaximumRetryAttempts": 0}, "Unsupported MaximumRetryAttempts parameter"),
        ({"DestinationConfig": {"OnFailure": {"Destination": QUEUE}}}, "Unsupported DestinationConfig parameter"),
        ({"ProvisionedPollerConfig": {"MinimumPollers": 5, "MaximumPollers": 2}}, "MinimumPollers must be less than"),
        ({"BatchSize": 0}, "1 validation error detected: Value '0' at 'batchSize'"),
        ({"BatchSize": 10_001}, "1 validation error detected: Value '10001' at 'batchSize'"),
        ({"MaximumBatchingWindowInSeconds": 301}, "maximumBatchingWindowInSeconds"),
        ({"ScalingConfig": {"MaximumConcurrency": 1}}, "scalingConfig.maximumConcurrency"),
        ({"ScalingConfig": {"MaximumConcurrency": 1001}}, "scalingConfig.maximumConcurrency"),
    ],
)
async def test_settings_that_a_queue_does_not_take_are_refused(world, members, text):
    await create_function(world)
    with pytest.raises(ServiceError, match=text):
        await queue_mapping(world, **members)


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"ParallelizationFactor": 11}, "Value '11' at 'parallelizationFactor' failed to satisfy constraint"),
        ({"ParallelizationFactor": 0}, "Value '0' at 'parallelizationFactor' failed to satisfy constraint"),
        ({"TumblingWindowInSeconds": 901}, "tumblingWindowInSeconds"),
        ({"MaximumRecordAgeInSeconds": 59}, "MaximumRecordAgeInSeconds must be -1, or between 60 and 604800"),
        ({"MaximumRecordAgeInSeconds": 604_801}, "maximumRecordAgeInSeconds"),
        ({"MaximumRetryAttempts": 10_001}, "maximumRetryAttempts"),
        ({"DestinationConfig": {"OnFailure": {"Destination": STREAM}}}, "destination config"),
        ({"FunctionName": "none"}, "Function not found"),
    ],
)
async def test_settings_that_a_stream_does_not_take_are_refused(world, members, text):
    await create_function(world)
    with pytest.raises(ServiceError, match=text):
        await stream_mapping(world, **members)
