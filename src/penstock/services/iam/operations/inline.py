"""Policies that live inside a user or a role."""

from urllib.parse import quote

from penstock.framework.context import Context
from penstock.framework.service import Members, operation
from penstock.kernel.errors import ServiceError
from penstock.services.iam import messages, rules, state
from penstock.storage.transactions import Transaction


@operation
async def put_role_policy(ctx: Context, req: Members) -> None:
    await _put(ctx, req, "role")


@operation
async def put_user_policy(ctx: Context, req: Members) -> None:
    await _put(ctx, req, "user")


@operation
async def get_role_policy(ctx: Context, req: Members) -> Members:
    return await _get(ctx, req, "role")


@operation
async def get_user_policy(ctx: Context, req: Members) -> Members:
    return await _get(ctx, req, "user")


@operation
async def delete_role_policy(ctx: Context, req: Members) -> None:
    await _delete(ctx, req, "role")


@operation
async def delete_user_policy(ctx: Context, req: Members) -> None:
    await _delete(ctx, req, "user")


@operation
async def list_role_policies(ctx: Context, req: Members) -> Members:
    return await _list(ctx, req, "role")


@operation
async def list_user_policies(ctx: Context, req: Members) -> Members:
    return await _list(ctx, req, "user")


def _name(req: Members, kind: str) -> str:
    return str(req[f"{kind.capitalize()}Name"])


async def _put(ctx: Context, req: Members, kind: str) -> None:
    document = rules.check_document(str(req["PolicyDocument"]))

    def put(tx: Transaction) -> None:
        entity = state.get_entity(tx, ctx.scope.account_id, kind, _name(req, kind))
        entity.inline[str(req["PolicyName"])] = document
        state.put_entity(tx, ctx.scope.account_id, entity)

    await ctx.store.transact(put)


async def _get(ctx: Context, req: Members, kind: str) -> Members:
    name, policy = _name(req, kind), str(req["PolicyName"])
    entity = await ctx.store.read(lambda tx: state.get_entity(tx, ctx.scope.account_id, kind, name))
    if policy not in entity.inline:
        raise _missing(kind, policy)
    document = quote(entity.inline[policy], safe="")
    return {f"{kind.capitalize()}Name": name, "PolicyName": policy, "PolicyDocument": document}


async def _delete(ctx: Context, req: Members, kind: str) -> None:
    def delete(tx: Transaction) -> None:
        entity = state.get_entity(tx, ctx.scope.account_id, kind, _name(req, kind))
        if entity.inline.pop(str(req["PolicyName"]), None) is None:
            raise _missing(kind, str(req["PolicyName"]))
        state.put_entity(tx, ctx.scope.account_id, entity)

    await ctx.store.transact(delete)


async def _list(ctx: Context, req: Members, kind: str) -> Members:
    entity = await ctx.store.read(lambda tx: state.get_entity(tx, ctx.scope.account_id, kind, _name(req, kind)))
    return {"PolicyNames": sorted(entity.inline), "IsTruncated": False}


def _missing(kind: str, policy: str) -> ServiceError:
    return ServiceError("NoSuchEntity", messages.no_inline(kind, policy), status=404)
