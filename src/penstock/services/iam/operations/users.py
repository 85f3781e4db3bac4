"""Users and their access keys."""

from penstock.framework.context import Context
from penstock.framework.service import Members, operation
from penstock.kernel.errors import ServiceError
from penstock.services.iam import limits, messages, rules, state
from penstock.services.iam.state import AccessKey, Entity
from penstock.storage.transactions import ReadTransaction, Transaction

_SECRET_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


@operation
async def create_user(ctx: Context, req: Members) -> Members:
    account, name, path = ctx.scope.account_id, str(req["UserName"]), str(req.get("Path") or "/")
    arn = f"arn:aws:iam::{account}:user{path}{name}"
    user = Entity("user", name, path, rules.new_id(ctx.entropy, "AIDA"), arn, ctx.clock.now_ms())
    user.boundary = str(req.get("PermissionsBoundary") or "")
    user.tags = {tag["Key"]: tag["Value"] for tag in req.get("Tags") or []}

    def create(tx: Transaction) -> None:
        if state.find_entity(tx, account, "user", name):
            raise rules.exists(messages.entity_exists("user", name))
        state.put_entity(tx, account, user)

    await ctx.store.transact(create)
    return {"User": _members(user)}


@operation
async def get_user(ctx: Context, req: Members) -> Members:
    """Without a name: the caller."""
    name = str(req.get("UserName") or "")
    if not name and ctx.principal.kind == "root":
        return {"User": {"UserId": ctx.principal.user_id, "Arn": ctx.principal.arn, "Path": "/", "UserName": "root"}}
    name = name or ctx.principal.arn.rsplit("/", 1)[-1]
    user = await ctx.store.read(lambda tx: state.get_entity(tx, ctx.scope.account_id, "user", name))
    return {"User": _members(user)}


@operation
async def list_users(ctx: Context, req: Members) -> Members:
    path = str(req.get("PathPrefix") or "/")
    users = await ctx.store.read(lambda tx: state.entities(tx, ctx.scope.account_id, "user", path))
    return {"Users": [_members(user) for user in users], "IsTruncated": False}


@operation
async def delete_user(ctx: Context, req: Members) -> None:
    account, name = ctx.scope.account_id, str(req["UserName"])

    def delete(tx: Transaction) -> None:
        user = state.get_entity(tx, account, "user", name)
        if state.keys_of(tx, account, name):
            raise rules.conflict(messages.MUST_DELETE_KEYS)
        if user.attached:
            raise rules.conflict(messages.MUST_DETACH_POLICIES)
        if user.inline:
            raise rules.conflict(messages.MUST_DELETE_POLICIES)
        state.delete_entity(tx, account, user)

    await ctx.store.transact(delete)


@operation
async def create_access_key(ctx: Context, req: Members) -> Members:
    account, name = ctx.scope.account_id, _user_name(ctx, req)
    secret = ctx.entropy.text(_SECRET_LETTERS, 40)
    key = AccessKey(rules.new_id(ctx.entropy, "AKIA"), secret, account, name, ctx.clock.now_ms())

    def create(tx: Transaction) -> None:
        state.get_entity(tx, account, "user", name)
        if len(state.keys_of(tx, account, name)) >= limits.ACCESS_KEYS_PER_USER_MAX.value:
            raise rules.over_quota("AccessKeysPerUser", limits.ACCESS_KEYS_PER_USER_MAX.value)
        state.put_key(tx, key)

    await ctx.store.transact(create)
    return {"AccessKey": {**_key_members(key), "SecretAccessKey": key.secret}}


@operation
async def list_access_keys(ctx: Context, req: Members) -> Members:
    account, name = ctx.scope.account_id, _user_name(ctx, req)

    def look(tx: ReadTransaction) -> list[AccessKey]:
        state.get_entity(tx, account, "user", name)
        return state.keys_of(tx, account, name)

    keys = await ctx.store.read(look)
    return {"AccessKeyMetadata": [_key_members(key) for key in keys], "IsTruncated": False}


@operation
async def update_access_key(ctx: Context, req: Members) -> None:
    def update(tx: Transaction) -> None:
        key = _get_key(tx, ctx, req)
        key.status = str(req["Status"])
        state.put_key(tx, key)

    await ctx.store.transact(update)


@operation
async def delete_access_key(ctx: Context, req: Members) -> None:
    await ctx.store.transact(lambda tx: tx.delete(("iam-key", _get_key(tx, ctx, req).id)))


def _get_key(tx: ReadTransaction, ctx: Context, req: Members) -> AccessKey:
    key = state.find_key(tx, str(req["AccessKeyId"]))
    if key is None or (key.account_id, key.user) != (ctx.scope.account_id, _user_name(ctx, req)):
        raise ServiceError("NoSuchEntity", messages.no_key(str(req["AccessKeyId"])), status=404)
    return key


def _user_name(ctx: Context, req: Members) -> str:
    return str(req.get("UserName") or ctx.principal.arn.rsplit("/", 1)[-1])


def _key_members(key: AccessKey) -> Members:
    created = state.time_of(key.created_ms)
    return {"UserName": key.user, "AccessKeyId": key.id, "Status": key.status, "CreateDate": created}


def _members(user: Entity) -> Members:
    members: Members = {
        "Path": user.path,
        "UserName": user.name,
        "UserId": user.id,
        "Arn": user.arn,
        "CreateDate": state.time_of(user.created_ms),
        "Tags": [{"Key": key, "Value": value} for key, value in user.tags.items()],
    }
    if user.boundary:
        members["PermissionsBoundary"] = {
            "PermissionsBoundaryType": "PermissionsBoundaryPolicy",
            "PermissionsBoundaryArn": user.boundary,
        }
    return members
