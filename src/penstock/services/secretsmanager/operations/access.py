"""What IAM is asked for each operation, and the policy of the secret that a request names.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecretsmanager.html
"""

from penstock.framework.context import Context
from penstock.framework.service import Access, Members, Permission
from penstock.services.secretsmanager import state
from penstock.storage.transactions import ReadTransaction

_OF_SECRETS = (
    "DescribeSecret",
    "UpdateSecret",
    "DeleteSecret",
    "RestoreSecret",
    "TagResource",
    "UntagResource",
    "GetSecretValue",
    "PutSecretValue",
    "UpdateSecretVersionStage",
    "ListSecretVersionIds",
    "PutResourcePolicy",
    "GetResourcePolicy",
    "DeleteResourcePolicy",
)
_OF_NONE = ("ListSecrets", "GetRandomPassword")


def _secret(ctx: Context, req: Members) -> str:
    """The ARN; a secret that isn't there yet has one without the random suffix."""
    name = str(req.get("SecretId") or req.get("Name") or "*")
    scope = ctx.scope
    if name.startswith("arn:"):
        return name
    return f"arn:{scope.partition}:secretsmanager:{scope.region}:{scope.account_id}:secret:{name}"


def _tagged(ctx: Context, req: Members) -> str:
    return _secret(ctx, req) if req.get("Tags") else ""


def with_arn(tx: ReadTransaction, ctx: Context, req: Members) -> Members:
    """Names and ARNs without the random suffix stand for the whole ARN, which is what policies match."""
    secret = state.find(tx, ctx.scope, req["SecretId"]) if req.get("SecretId") else None
    return req if secret is None else {**req, "SecretId": secret.arn}


def secret_policy(tx: ReadTransaction, ctx: Context, operation: str, req: Members) -> str | None:
    secret = state.find(tx, ctx.scope, req["SecretId"]) if req.get("SecretId") else None
    return None if secret is None else secret.policy


ACCESS = Access(
    permissions={
        **{name: [Permission(f"secretsmanager:{name}", _secret)] for name in _OF_SECRETS},
        **{name: [Permission(f"secretsmanager:{name}", lambda ctx, req: "*")] for name in _OF_NONE},
        "CreateSecret": [
            Permission("secretsmanager:CreateSecret", _secret),
            Permission("secretsmanager:TagResource", _tagged),
        ],
    },
    resource_policy=secret_policy,
    canonical=with_arn,
)
