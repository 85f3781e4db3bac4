"""Temporary credentials."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from penstock.engines.functions.ports import Credentials
from penstock.engines.policy.evaluate import Request, allows_principal, evaluate
from penstock.framework.authorization import read_policies
from penstock.framework.context import Context
from penstock.framework.credentials import temporary_credentials
from penstock.framework.service import Members, operation
from penstock.kernel import arn
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Principal, Scope, root_principal
from penstock.services.sts import limits, messages


@operation
async def assume_role(ctx: Context, req: Members) -> Members:
    """Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html"""
    role_arn = _role_arn(req)
    role = await _find_role(ctx, role_arn)
    await _check_trust(ctx, req, role_arn, role)
    _check_duration(ctx, req, role)
    name = role_arn.resource.rsplit("/", 1)[1]
    role_id = str(role["RoleId"]) if role else f"AROA{name.upper()}"
    session = str(req["RoleSessionName"])
    assumed = Principal(
        "role",
        role_arn.account_id,
        f"arn:{role_arn.partition}:sts::{role_arn.account_id}:assumed-role/{name}/{session}",
        f"{role_id}:{session}",
    )
    policies = [str(req["Policy"])] if req.get("Policy") else []
    minted = await _mint(ctx, assumed, policies, int(req.get("DurationSeconds") or limits.ASSUME_ROLE_S_DEFAULT.value))
    return {
        "Credentials": _members(minted),
        "AssumedRoleUser": {"AssumedRoleId": assumed.user_id, "Arn": assumed.arn},
        "PackedPolicySize": _packed_percent(policies),
    }


@operation
async def get_session_token(ctx: Context, req: Members) -> Members:
    """Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html"""
    if ctx.principal.kind == "role":
        raise ServiceError("AccessDenied", messages.SESSION_FROM_SESSION, status=403)
    seconds = int(req.get("DurationSeconds") or limits.SESSION_TOKEN_S_DEFAULT.value)
    return {"Credentials": _members(await _mint(ctx, ctx.principal, [], seconds))}


def _role_arn(req: Members) -> arn.Arn:
    try:
        parsed = arn.parse(str(req["RoleArn"]))
    except ValueError:
        raise ServiceError("ValidationError", messages.invalid_arn(req["RoleArn"])) from None
    if parsed.service != "iam" or not parsed.resource.startswith("role/"):
        raise ServiceError("ValidationError", messages.invalid_arn(req["RoleArn"]))
    return parsed


async def _find_role(ctx: Context, role_arn: arn.Arn) -> Mapping[str, Any] | None:
    """The role as IAM has it; open mode lends roles that nobody has made."""
    account = role_arn.account_id
    name = role_arn.resource.rsplit("/", 1)[1]
    scope = Scope(account, ctx.scope.region, ctx.scope.partition)
    try:
        answer = await ctx.call("iam", "GetRole", {"RoleName": name}, as_=root_principal(account), scope=scope)
    except ServiceError as error:
        if error.code in ("NoSuchEntity", "UnknownOperationException"):
            return None
        raise
    role: Mapping[str, Any] = answer["Role"]
    return role if role["Arn"] == str(role_arn) else None


async def _check_trust(ctx: Context, req: Members, role_arn: arn.Arn, role: Mapping[str, Any] | None) -> None:
    if ctx.platform.auth != "enforce":
        return
    values = {"sts:rolesessionname": [str(req["RoleSessionName"])], "aws:principalarn": [ctx.principal.arn]}
    if req.get("ExternalId"):
        values["sts:externalid"] = [str(req["ExternalId"])]
    request = Request(ctx.principal, "sts:AssumeRole", str(role_arn), role_arn.account_id, values)
    trust = unquote(str(role["AssumeRolePolicyDocument"])) if role else None
    is_trusted = trust is not None and allows_principal(trust, request)
    if not is_trusted or not evaluate(request, await read_policies(ctx, resource=trust)).allowed:
        raise ServiceError("AccessDenied", messages.not_trusted(ctx.principal.arn, str(role_arn)), status=403)


def _check_duration(ctx: Context, req: Members, role: Mapping[str, Any] | None) -> None:
    seconds = int(req.get("DurationSeconds") or limits.ASSUME_ROLE_S_DEFAULT.value)
    if role is not None and seconds > int(role.get("MaxSessionDuration") or limits.ASSUME_ROLE_S_DEFAULT.value):
        raise ServiceError("ValidationError", messages.DURATION_TOO_LONG)
    if ctx.principal.kind == "role" and seconds > limits.CHAINED_ROLE_S_MAX.value:
        raise ServiceError("ValidationError", messages.CHAIN_TOO_LONG)


async def _mint(ctx: Context, principal: Principal, policies: list[str], seconds: int) -> Credentials:
    temporary = await temporary_credentials(ctx.store, ctx.entropy)
    return temporary.mint(principal, policies, ctx.clock.now_ms() + seconds * 1000)


def _members(minted: Credentials) -> Members:
    return {
        "AccessKeyId": minted.access_key_id,
        "SecretAccessKey": minted.secret_access_key,
        "SessionToken": minted.session_token,
        "Expiration": datetime.fromtimestamp(minted.expires_ms // 1000, UTC),
    }


def _packed_percent(policies: list[str]) -> int:
    size = sum(len(policy) for policy in policies)
    return -(-size * 100 // limits.SESSION_POLICY_LETTERS_MAX.value)
