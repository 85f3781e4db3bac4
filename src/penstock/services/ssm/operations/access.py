"""What IAM is asked for each operation.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html
"""

from collections.abc import Callable

from penstock.framework.context import Context
from penstock.framework.service import Access, Members, Permission
from penstock.services.ssm import rules

# Names in one request. Source: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
_NAMES_MAX = 10


def _account(ctx: Context) -> str:
    scope = ctx.scope
    return f"arn:{scope.partition}:ssm:{scope.region}:{scope.account_id}:"


def _named(ctx: Context, text: str) -> str:
    return f"{_account(ctx)}parameter/{rules.split_selector(text)[0].removeprefix('/')}"


def _member(name: str) -> Callable[[Context, Members], str]:
    return lambda ctx, req: _named(ctx, req.get(name) or "*")


def _nth(index: int) -> Callable[[Context, Members], str]:
    """The ARN of one of many names; nothing is asked where there are fewer."""

    def resource(ctx: Context, req: Members) -> str:
        names = req.get("Names") or []
        return _named(ctx, names[index]) if index < len(names) else ""

    return resource


def _of_tags(ctx: Context, req: Members) -> str:
    return _named(ctx, req["Name"]) if req.get("Tags") else ""


_OF_ONE = (
    "PutParameter",
    "GetParameter",
    "GetParameterHistory",
    "DeleteParameter",
    "LabelParameterVersion",
    "UnlabelParameterVersion",
)
_OF_MANY = ("GetParameters", "DeleteParameters")
_OF_TAGS = ("AddTagsToResource", "RemoveTagsFromResource", "ListTagsForResource")
_OF_ALL = Permission("ssm:DescribeParameters", lambda ctx, req: f"{_account(ctx)}*")
ACCESS = Access(
    permissions={
        **{name: [Permission(f"ssm:{name}", _member("Name"))] for name in _OF_ONE},
        **{name: [Permission(f"ssm:{name}", _nth(index)) for index in range(_NAMES_MAX)] for name in _OF_MANY},
        **{name: [Permission(f"ssm:{name}", _member("ResourceId"))] for name in _OF_TAGS},
        "PutParameter": [
            Permission("ssm:PutParameter", _member("Name")),
            Permission("ssm:AddTagsToResource", _of_tags),
        ],
        "GetParametersByPath": [Permission("ssm:GetParametersByPath", _member("Path"))],
        "DescribeParameters": [_OF_ALL],
    }
)
