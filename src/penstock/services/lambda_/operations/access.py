"""What IAM is asked for each operation, and the policy of the function that a request names.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html
"""

from penstock.framework.authorization import pass_role
from penstock.framework.context import Context
from penstock.framework.service import Access, Members, Permission
from penstock.kernel.errors import ServiceError
from penstock.services.lambda_ import rules

_OF_FUNCTIONS = (
    "GetFunction",
    "GetFunctionConfiguration",
    "DeleteFunction",
)
_OF_NONE = ("ListFunctions",)
_PASSED_TO = "lambda.amazonaws.com"


def _function(ctx: Context, req: Members) -> str:
    try:
        return rules.named(ctx.scope, str(req.get("FunctionName") or "*"), req.get("Qualifier")).arn
    except ServiceError:
        return "*"


def _any(ctx: Context, req: Members) -> str:
    return "*"


ACCESS = Access(
    permissions={
        **{name: [Permission(f"lambda:{name}", _function)] for name in _OF_FUNCTIONS},
        **{name: [Permission(f"lambda:{name}", _any)] for name in _OF_NONE},
        "CreateFunction": [Permission("lambda:CreateFunction", _function), pass_role("Role", _PASSED_TO)],
        "Invoke": [Permission("lambda:InvokeFunction", _function)],
    },
)
