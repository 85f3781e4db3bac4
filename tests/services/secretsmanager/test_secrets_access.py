import json

import pytest

from penstock.framework.service import snake_name
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Principal
from penstock.services import iam
from penstock.services.secretsmanager import SERVICE
from penstock.testkit.world import World

JOB = Principal("role", "000000000000", "arn:aws:sts::000000000000:assumed-role/job/s", "AROA:s")
HERE = "arn:aws:secretsmanager:us-east-1:000000000000"


@pytest.mark.parametrize(
    ("operation", "params", "wanted"),
    [
        ("CreateSecret", {"Name": "db"}, [("secretsmanager:CreateSecret", f"{HERE}:secret:db")]),
        (
            "GetSecretValue",
            {"SecretId": f"{HERE}:secret:db-abcdef"},
            [("secretsmanager:GetSecretValue", f"{HERE}:secret:db-abcdef")],
        ),
        ("ListSecrets", {}, [("secretsmanager:ListSecrets", "*")]),
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


async def test_secret_asked_for_by_name_is_judged_by_its_whole_arn_and_its_policy():
    world = World(SERVICE, iam.SERVICE)
    arn = (await world.call("secretsmanager", "CreateSecret", Name="db", SecretString="x"))["ARN"]
    world.platform.auth = "enforce"
    with pytest.raises(ServiceError, match=f"secretsmanager:GetSecretValue on resource: {arn}"):
        await world.context(principal=JOB).call("secretsmanager", "GetSecretValue", {"SecretId": "db"})
    statement = {"Effect": "Allow", "Principal": {"AWS": JOB.arn}, "Action": "*", "Resource": "*"}
    policy = json.dumps({"Statement": [statement]})
    await world.call("secretsmanager", "PutResourcePolicy", SecretId="db", ResourcePolicy=policy)
    got = await world.context(principal=JOB).call("secretsmanager", "GetSecretValue", {"SecretId": "db"})
    assert got["SecretString"] == "x"
