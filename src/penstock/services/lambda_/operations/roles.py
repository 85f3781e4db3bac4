"""Whether a function's role is what the function needs, where IAM is enforced.

Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
"""

from dataclasses import replace
from typing import Any

from penstock.engines.policy.evaluate import Request, allows_principal, evaluate
from penstock.framework.authorization import read_policies
from penstock.framework.context import Context
from penstock.kernel import arn
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope, root_principal, service_principal
from penstock.services.lambda_ import messages, rules
from penstock.services.lambda_.operations.role_credentials import role_principal

_TARGETS = {
    "sqs": ("sqs:SendMessage", "SendMessage", "SQS"),
    "sns": ("sns:Publish", "Publish", "SNS"),
    "s3": ("s3:PutObject", "PutObject", "S3"),
}


async def check(ctx: Context, role_arn: str, name: str, req: dict[str, Any]) -> None:
    """The role exists, trusts Lambda, and may do what the request's settings need of it.

    Another account's is refused at the door, by iam:PassRole. Raises InvalidParameterValueException.
    """
    if ctx.platform.auth != "enforce":
        return
    await _check_trust(ctx, role_arn)
    await check_target(ctx, role_arn, name, (req.get("DeadLetterConfig") or {}).get("TargetArn"))
    has_network = bool((req.get("VpcConfig") or {}).get("SubnetIds"))
    if has_network and not await _may(ctx, role_arn, name, "ec2:CreateNetworkInterface", "*"):
        raise messages.role_lacks("CreateNetworkInterface", "EC2")


async def check_target(ctx: Context, role_arn: str, name: str, target: str | None) -> None:
    """The role may send what is given up to a queue, a topic or a bucket. Raises InvalidParameterValueException."""
    if ctx.platform.auth != "enforce" or not target or not arn.is_arn(target):
        return
    action, call, service = _TARGETS[arn.parse(target).service]
    resource = f"{target}/*" if service == "S3" else target
    if not await _may(ctx, role_arn, name, action, resource):
        raise messages.role_lacks(call, service)


async def _check_trust(ctx: Context, role_arn: str) -> None:
    role = arn.parse(role_arn)
    scope = Scope(role.account_id, ctx.scope.region, ctx.scope.partition)
    params = {"RoleName": role.resource.rpartition("/")[2]}
    try:
        found = await ctx.call("iam", "GetRole", params, as_=root_principal(role.account_id), scope=scope)
    except ServiceError:
        raise messages.role_not_assumable() from None
    principal = service_principal("lambda.amazonaws.com", account_id=role.account_id)
    request = Request(principal, "sts:AssumeRole", role_arn, role.account_id, {})
    if not allows_principal(rules.policy_text(found["Role"]["AssumeRolePolicyDocument"]), request):
        raise messages.role_not_assumable()


async def _may(ctx: Context, role_arn: str, name: str, action: str, resource: str) -> bool:
    """By the role's own policies."""
    principal = role_principal(role_arn, name)
    policies = await read_policies(replace(ctx, principal=principal), resource=None)
    return evaluate(Request(principal, action, resource, principal.account_id, {}), policies).allowed
