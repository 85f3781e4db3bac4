import pytest

from penstock.framework.service import snake_name
from penstock.services.ssm import SERVICE
from penstock.testkit.world import World

HERE = "arn:aws:ssm:us-east-1:000000000000"


@pytest.mark.parametrize(
    ("operation", "params", "wanted"),
    [
        ("GetParameter", {"Name": "/db/url:3"}, [("ssm:GetParameter", f"{HERE}:parameter/db/url")]),
        (
            "GetParameters",
            {"Names": ["/a", "b"]},
            [("ssm:GetParameters", f"{HERE}:parameter/a"), ("ssm:GetParameters", f"{HERE}:parameter/b")],
        ),
        ("GetParametersByPath", {"Path": "/db"}, [("ssm:GetParametersByPath", f"{HERE}:parameter/db")]),
        (
            "PutParameter",
            {"Name": "a", "Tags": [{"Key": "k", "Value": "v"}]},
            [("ssm:PutParameter", f"{HERE}:parameter/a"), ("ssm:AddTagsToResource", f"{HERE}:parameter/a")],
        ),
        ("DescribeParameters", {}, [("ssm:DescribeParameters", f"{HERE}:*")]),
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
