"""Managed policies and their versions."""

from collections.abc import Callable
from urllib.parse import quote

from penstock.framework.context import Context
from penstock.framework.service import Members, operation
from penstock.kernel.errors import ServiceError
from penstock.services.iam import limits, messages, rules, state
from penstock.services.iam.state import Policy
from penstock.storage.transactions import ReadTransaction, Transaction


@operation
async def create_policy(ctx: Context, req: Members) -> Members:
    account, name, path = ctx.scope.account_id, str(req["PolicyName"]), str(req.get("Path") or "/")
    arn, now_ms = f"arn:aws:iam::{account}:policy{path}{name}", ctx.clock.now_ms()
    policy = Policy(name, path, rules.new_id(ctx.entropy, "ANPA"), arn, now_ms, now_ms)
    policy.description = str(req.get("Description") or "")
    policy.versions["v1"] = (rules.check_document(str(req["PolicyDocument"])), now_ms)
    policy.tags = {tag["Key"]: tag["Value"] for tag in req.get("Tags") or []}

    def create(tx: Transaction) -> None:
        if state.find_policy(tx, account, arn):
            raise rules.exists(messages.policy_exists(name))
        state.put_policy(tx, account, policy)

    await ctx.store.transact(create)
    return {"Policy": _members(policy, attached=0)}


@operation
async def get_policy(ctx: Context, req: Members) -> Members:
    account, arn = ctx.scope.account_id, str(req["PolicyArn"])

    def look(tx: ReadTransaction) -> tuple[Policy, int]:
        return state.get_policy(tx, account, arn), len(state.attached_to(tx, account, arn))

    policy, attached = await ctx.store.read(look)
    return {"Policy": _members(policy, attached=attached)}


@operation
async def list_policies(ctx: Context, req: Members) -> Members:
    account = ctx.scope.account_id

    def look(tx: ReadTransaction) -> list[Members]:
        found = state.policies(tx, account) if req.get("Scope") != "AWS" else []
        return [_members(p, attached=len(state.attached_to(tx, account, p.arn))) for p in found]

    return {"Policies": await ctx.store.read(look), "IsTruncated": False}


@operation
async def delete_policy(ctx: Context, req: Members) -> None:
    account, arn = ctx.scope.account_id, str(req["PolicyArn"])

    def delete(tx: Transaction) -> None:
        policy = state.get_policy(tx, account, arn)
        if state.attached_to(tx, account, arn):
            raise rules.conflict(messages.POLICY_IN_USE)
        if len(policy.versions) > 1:
            raise rules.conflict(messages.POLICY_HAS_VERSIONS)
        tx.delete(("iam", account, "policy", arn))

    await ctx.store.transact(delete)


@operation
async def create_policy_version(ctx: Context, req: Members) -> Members:
    account, now_ms = ctx.scope.account_id, ctx.clock.now_ms()
    document = rules.check_document(str(req["PolicyDocument"]))

    def create(tx: Transaction) -> tuple[Policy, str]:
        policy = state.get_policy(tx, account, str(req["PolicyArn"]))
        if len(policy.versions) >= limits.POLICY_VERSIONS_MAX.value:
            raise rules.over_quota("PolicyVersions", limits.POLICY_VERSIONS_MAX.value)
        version = f"v{policy.next_version}"
        policy.next_version += 1
        policy.versions[version] = (document, now_ms)
        if req.get("SetAsDefault"):
            policy.default = version
        policy.updated_ms = now_ms
        state.put_policy(tx, account, policy)
        return policy, version

    policy, version = await ctx.store.transact(create)
    members = _version_members(policy, version)
    del members["Document"]
    return {"PolicyVersion": members}


@operation
async def get_policy_version(ctx: Context, req: Members) -> Members:
    arn, version = str(req["PolicyArn"]), str(req["VersionId"])
    policy = await ctx.store.read(lambda tx: state.get_policy(tx, ctx.scope.account_id, arn))
    if version not in policy.versions:
        raise ServiceError("NoSuchEntity", messages.no_version(arn, version), status=404)
    return {"PolicyVersion": _version_members(policy, version)}


@operation
async def list_policy_versions(ctx: Context, req: Members) -> Members:
    policy = await ctx.store.read(lambda tx: state.get_policy(tx, ctx.scope.account_id, str(req["PolicyArn"])))
    return {"Versions": [_version_members(policy, v) for v in reversed(policy.versions)], "IsTruncated": False}


@operation
async def set_default_policy_version(ctx: Context, req: Members) -> None:
    def change(policy: Policy, version: str) -> None:
        policy.default = version

    await _change_version(ctx, req, change)


@operation
async def delete_policy_version(ctx: Context, req: Members) -> None:
    def change(policy: Policy, version: str) -> None:
        if version == policy.default:
            raise rules.conflict(messages.DEFAULT_VERSION)
        del policy.versions[version]

    await _change_version(ctx, req, change)


async def _change_version(ctx: Context, req: Members, change: Callable[[Policy, str], None]) -> None:
    account, arn, version = ctx.scope.account_id, str(req["PolicyArn"]), str(req["VersionId"])

    def run(tx: Transaction) -> None:
        policy = state.get_policy(tx, account, arn)
        if version not in policy.versions:
            raise ServiceError("NoSuchEntity", messages.no_version(arn, version), status=404)
        change(policy, version)
        state.put_policy(tx, account, policy)

    await ctx.store.transact(run)


def _version_members(policy: Policy, version: str) -> Members:
    document, created_ms = policy.versions[version]
    return {
        "Document": quote(document, safe=""),
        "VersionId": version,
        "IsDefaultVersion": version == policy.default,
        "CreateDate": state.time_of(created_ms),
    }


def _members(policy: Policy, *, attached: int) -> Members:
    return {
        "PolicyName": policy.name,
        "PolicyId": policy.id,
        "Arn": policy.arn,
        "Path": policy.path,
        "DefaultVersionId": policy.default,
        "AttachmentCount": attached,
        "PermissionsBoundaryUsageCount": 0,
        "IsAttachable": True,
        "Description": policy.description,
        "CreateDate": state.time_of(policy.created_ms),
        "UpdateDate": state.time_of(policy.updated_ms),
        "Tags": [{"Key": key, "Value": value} for key, value in policy.tags.items()],
    }
