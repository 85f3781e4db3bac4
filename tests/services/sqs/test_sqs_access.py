import json

import pytest

from penstock.framework.service import snake_name
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Principal
from penstock.services import iam
from penstock.services.sqs import SERVICE
from penstock.testkit.world import World

JOB = Principal("role", "000000000000", "arn:aws:sts::000000000000:assumed-role/job/s", "AROA:s")
HERE = "arn:aws:sqs:us-east-1:000000000000"


@pytest.mark.parametrize(
    ("operation", "params", "wanted"),
    [
        ("SendMessageBatch", {"QueueUrl": "http://localhost/000000000000/q"}, [("sqs:SendMessage", f"{HERE}:q")]),
        (
            "CreateQueue",
            {"QueueName": "q", "tags": {"k": "v"}},
            [("sqs:CreateQueue", f"{HERE}:q"), ("sqs:TagQueue", f"{HERE}:q")],
        ),
        ("ListQueues", {}, [("sqs:ListQueues", "*")]),
    ],
)
def test_operation_asks_for_the_action_on_the_resource(operation, params, wanted):
    ctx = World(SERVICE).context()
    asked = [
        (permission.action, permission.resource(ctx, params)) for permission in SERVICE.access.permissions[operation]
    ]
    assert [pair for pair in asked if pair[1]] == wanted


def test_every_operation_is_in_the_table():
    assert {snake_name(name) for name in SERVICE.access.permissions} == set(SERVICE.operations)


async def test_queue_policy_lets_a_role_in_that_has_no_policy_of_its_own():
    world = World(SERVICE, iam.SERVICE)
    url = (await world.call("sqs", "CreateQueue", QueueName="q"))["QueueUrl"]
    world.platform.auth = "enforce"
    message = {"QueueUrl": url, "MessageBody": "x"}
    with pytest.raises(ServiceError, match=f"sqs:SendMessage on resource: {HERE}:q"):
        await world.context(principal=JOB).call("sqs", "SendMessage", message)
    statement = {"Effect": "Allow", "Principal": {"AWS": JOB.arn}, "Action": "sqs:SendMessage", "Resource": f"{HERE}:q"}
    policy = json.dumps({"Statement": [statement]})
    await world.call("sqs", "SetQueueAttributes", QueueUrl=url, Attributes={"Policy": policy})
    assert (await world.context(principal=JOB).call("sqs", "SendMessage", message))["MessageId"]
