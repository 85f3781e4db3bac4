import pytest

from penstock.framework.service import snake_name
from penstock.services.logs import SERVICE
from penstock.testkit.world import World

HERE = "arn:aws:logs:us-east-1:000000000000"


@pytest.mark.parametrize(
    ("operation", "params", "wanted"),
    [
        ("CreateLogGroup", {"logGroupName": "g"}, [("logs:CreateLogGroup", f"{HERE}:log-group:g:log-stream:")]),
        (
            "PutLogEvents",
            {"logGroupName": "g", "logStreamName": "s"},
            [("logs:PutLogEvents", f"{HERE}:log-group:g:log-stream:s")],
        ),
        (
            "FilterLogEvents",
            {"logGroupIdentifier": f"{HERE}:log-group:g"},
            [("logs:FilterLogEvents", f"{HERE}:log-group:g:log-stream:")],
        ),
        ("TagResource", {"resourceArn": f"{HERE}:log-group:g"}, [("logs:TagResource", f"{HERE}:log-group:g")]),
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
