"""Roles and whom they trust."""

from collections.abc import Callable
from urllib.parse import quote

from penstock.framework.context import Context
from penstock.framework.service import Members, operation
from penstock.services.iam import limits, messages, rules, state
from penstock.services.iam.state import Entity
from penstock.storage.transactions import Transaction


@operation
async def create_role(ctx: Context, req: Members) -> Members:
    account, name, path = ctx.scope.account_id, str(req["RoleName"]), str(req.get("Path") or "/")
    arn = f"arn:aws:iam::{account}:role{path}{name}"
    role = Entity("role", name, path, rules.new_id(ctx.entropy, "AROA"), arn, ctx.clock.now_ms())
    role.trust = rules.check_document(str(req["AssumeRolePolicyDocument"]))
    role.description = str(req.get("Description") or "")
    role.session_s_max = int(req.get("MaxSessionDuration") or limits.SESSION_S_DEFAULT.value)
    role.boundary = str(req.get("PermissionsBoundary") or "")
    role.tags = {tag["Key"]: tag["Value"] for tag in req.get("Tags") or []}

    def create(tx: Transaction) -> None:
        if state.find_entity(tx, account, "role", name):
            raise rules.exists(messages.entity_exists("role", name))
        state.put_entity(tx, account, role)

    await ctx.store.transact(create)
    return {"Role": _members(role)}


@operation
async def get_role(ctx: Context, req: Members) -> Members:
    role = await ctx.store.read(lambda tx: state.get_entity(tx, ctx.scope.account_id, "role", str(req["RoleName"])))
    return {"Role": _members(role)}


@operation
async def list_roles(ctx: Context, req: Members) -> Members:
    path = str(req.get("PathPrefix") or "/")
    roles = await ctx.store.read(lambda tx: state.entities(tx, ctx.scope.account_id, "role", path))
    return {"Roles": [_members(role) for role in roles], "IsTruncated": False}


@operation
async def update_role(ctx: Context, req: Members) -> Members:
    def change(role: Entity) -> None:
        role.description = str(req.get("Description", role.description))
        role.session_s_max = int(req.get("MaxSessionDuration") or role.session_s_max)

    await _change(ctx, req, change)
    return {}


@operation
async def update_assume_role_policy(ctx: Context, req: Members) -> None:
    trust = rules.check_document(str(req["PolicyDocument"]))
    await _change(ctx, req, lambda role: setattr(role, "trust", trust))


@operation
async def delete_role(ctx: Context, req: Members) -> None:
    account = ctx.scope.account_id

    def delete(tx: Transaction) -> None:
        role = state.get_entity(tx, account, "role", str(req["RoleName"]))
        if role.attached:
            raise rules.conflict(messages.MUST_DETACH_POLICIES)
        if role.inline:
            raise rules.conflict(messages.MUST_DELETE_POLICIES)
        state.delete_entity(tx, account, role)

    await ctx.store.transact(delete)


@operation
async def tag_role(ctx: Context, req: Members) -> None:
    tags = {tag["Key"]: tag["Value"] for tag in req["Tags"]}
    await _change(ctx, req, lambda role: role.tags.update(tags))


@operation
async def untag_role(ctx: Context, req: Members) -> None:
    def change(role: Entity) -> None:
        for key in req["TagKeys"]:
            role.tags.pop(key, None)

    await _change(ctx, req, change)


@operation
async def list_role_tags(ctx: Context, req: Members) -> Members:
    role = await get_role(ctx, req)
    return {"Tags": role["Role"]["Tags"], "IsTruncated": False}


@operation
async def put_role_permissions_boundary(ctx: Context, req: Members) -> None:
    boundary = str(req["PermissionsBoundary"])
    await _change(ctx, req, lambda role: setattr(role, "boundary", boundary))


@operation
async def delete_role_permissions_boundary(ctx: Context, req: Members) -> None:
    await _change(ctx, req, lambda role: setattr(role, "boundary", ""))


@operation
async def list_instance_profiles_for_role(ctx: Context, req: Members) -> Members:
    """There are no instances here, so no profiles; Terraform asks before it deletes a role."""
    await get_role(ctx, req)
    return {"InstanceProfiles": [], "IsTruncated": False}


async def _change(ctx: Context, req: Members, change: Callable[[Entity], None]) -> None:
    account = ctx.scope.account_id

    def run(tx: Transaction) -> None:
        role = state.get_entity(tx, account, "role", str(req["RoleName"]))
        change(role)
        state.put_entity(tx, account, role)

    await ctx.store.transact(run)


def _members(role: Entity) -> Members:
    members: Members = {
        "Path": role.path,
        "RoleName": role.name,
        "RoleId": role.id,
        "Arn": role.arn,
        "CreateDate": state.time_of(role.created_ms),
        "AssumeRolePolicyDocument": quote(role.trust, safe=""),
        "MaxSessionDuration": role.session_s_max,
        "Tags": [{"Key": key, "Value": value} for key, value in role.tags.items()],
    }
    if role.description:
        members["Description"] = role.description
    if role.boundary:
        members["PermissionsBoundary"] = {
            "PermissionsBoundaryType": "PermissionsBoundaryPolicy",
            "PermissionsBoundaryArn": role.boundary,
        }
    return members
