"""Bucket policies: checked, kept, and whether they open the bucket to everyone.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
"""

import json
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.s3 import messages, state
from penstock.services.s3.operations.acls import public_block_of
from penstock.services.s3.operations.configurations import deleter, getter, under
from penstock.storage.transactions import ReadTransaction, Transaction

_BYTES_MAX = 20 * 1024
_VERSIONS = ("2012-10-17", "2008-10-17")
_NARROWING = (
    "aws:sourceip",
    "aws:sourcearn",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:sourceaccount",
    "aws:sourceowner",
    "aws:userid",
    "aws:principalarn",
    "aws:principalaccount",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
)

get_bucket_policy = getter("policy", under("Policy"), "NoSuchBucketPolicy", "The bucket policy does not exist")
delete_bucket_policy = deleter("policy")


@operation
async def put_bucket_policy(ctx: Context, req: dict[str, Any]) -> None:
    """Raises MalformedPolicy (400), or AccessDenied (403) for a public policy where those are blocked."""
    policy = _checked(req["Policy"], req["Bucket"])

    def write(tx: Transaction) -> None:
        bucket = state.bucket_of(tx, req)
        if public_block_of(tx, bucket).get("BlockPublicPolicy") and is_public(policy):
            raise messages.public_policy_blocked(ctx.principal.arn, bucket.name)
        state.put_config(tx, bucket.name, "policy", req["Policy"])

    await ctx.store.transact(write)


@operation
async def get_bucket_policy_status(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def read(tx: ReadTransaction) -> Any:
        bucket = state.bucket_of(tx, req)
        return state.find_config(tx, bucket.name, "policy")

    policy = await ctx.store.read(read)
    if policy is None:
        text = "The bucket policy does not exist"
        raise messages.no_such_configuration("NoSuchBucketPolicy", text, req["Bucket"])
    return {"PolicyStatus": {"IsPublic": is_public(json.loads(policy))}}


def _checked(text: str, bucket: str) -> dict[str, Any]:
    try:
        policy = json.loads(text)
    except ValueError:
        policy = None
    if not isinstance(policy, dict):
        raise messages.malformed_policy("Policies must be valid JSON and the first byte must be '{'")
    if len(text) > _BYTES_MAX:
        raise messages.invalid_argument("Policy document must not exceed 20480 bytes")
    if policy.get("Version") not in (None, *_VERSIONS):
        raise messages.malformed_policy("The policy must contain a valid version string")
    if not policy.get("Statement"):
        raise messages.malformed_policy("Missing required field Statement")
    for statement in statements_of(policy):
        _check_statement(statement, bucket)
    return policy


def statements_of(policy: dict[str, Any]) -> list[dict[str, Any]]:
    found = policy["Statement"]
    return found if isinstance(found, list) else [found]


def _check_statement(statement: Any, bucket: str) -> None:
    if not isinstance(statement, dict):
        raise messages.malformed_policy("Statement is invalid")
    for one, other in (("Effect", "Effect"), ("Principal", "NotPrincipal"), ("Action", "NotAction")):
        if one not in statement and other not in statement:
            raise messages.malformed_policy(f"Missing required field {one}")
    if "Resource" not in statement and "NotResource" not in statement:
        raise messages.malformed_policy("Missing required field Resource")
    if statement["Effect"] not in ("Allow", "Deny"):
        raise messages.malformed_policy(f"Invalid effect: {statement['Effect']}")
    for action in _listed(statement.get("Action", statement.get("NotAction"))):
        if action != "*" and not str(action).lower().startswith("s3:"):
            raise messages.malformed_policy("Policy has invalid action")
    for resource in _listed(statement.get("Resource")):
        name = str(resource).partition(":::")[2].partition("/")[0]
        if str(resource) != "*" and name != bucket and "*" not in name and "?" not in name and "$" not in name:
            raise messages.malformed_policy("Policy has invalid resource")


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def is_public(policy: dict[str, Any]) -> bool:
    """Whether a statement lets in everyone, with no condition that narrows who that is."""
    return any(_opens(statement) for statement in statements_of(policy))


def _opens(statement: dict[str, Any]) -> bool:
    if statement.get("Effect") != "Allow":
        return False
    principal = statement.get("Principal")
    named = (
        [name for kind in principal.values() for name in _listed(kind)] if isinstance(principal, dict) else [principal]
    )
    if "*" not in named and "NotPrincipal" not in statement:
        return False
    for kind, tests in (statement.get("Condition") or {}).items():
        for key, values in tests.items():
            if key.lower() in _NARROWING and "not" not in kind.lower() and not _is_anything(values):
                return False
    return True


def _is_anything(values: Any) -> bool:
    return any(str(value) == "*" or str(value) == "0.0.0.0/0" or str(value) == "::/0" for value in _listed(values))
