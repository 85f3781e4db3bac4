"""Managed policies attached to users and roles."""

from penstock.framework.context import Context
from penstock.framework.service import Members, operation
from penstock.kernel.errors import ServiceError
from penstock.services.iam import limits, messages, rules, state
from penstock.storage.transactions import Transaction


@operation
async def attach_role_policy(ctx: Context, req: Members) -> None:
    await _attach(ctx, req, "role")


@operation
async def attach_user_policy(ctx: Context, req: Members) -> None:
    await _attach(ctx, req, "user")


@operation
async def detach_role_policy(ctx: Context, req: Members) -> None:
    await _detach(ctx, req, "role")


@operation
async def detach_user_policy(ctx: Context, req: Members) -> None:
    await _detach(ctx, req, "user")


@operation
async def list_attached_role_policies(ctx: Context, req: Members) -> Members:
    return await _list(ctx, req, "role")


@operation
async def list_attached_user_policies(ctx: Context, req: Members) -> Members:
    return await _list(ctx, req, "user")


async def _attach(ctx: Context, req: Members, kind: str) -> None:
    account, arn = ctx.scope.account_id, str(req["PolicyArn"])

    def attach(tx: Transaction) -> None:
        entity = state.get_entity(tx, account, kind, str(req[f"{kind.capitalize()}Name"]))
        state.get_policy(tx, account, arn)
        if arn in entity.attached:
            return
        if len(entity.attached) >= limits.ATTACHED_POLICIES_MAX.value:
            raise rules.over_quota(f"PoliciesPer{kind.capitalize()}", limits.ATTACHED_POLICIES_MAX.value)
        entity.attached.append(arn)
        state.put_entity(tx, account, entity)

    await ctx.store.transact(attach)


async def _detach(ctx: Context, req: Members, kind: str) -> None:
    account, arn = ctx.scope.account_id, str(req["PolicyArn"])

    def detach(tx: Transaction) -> None:
        entity = state.get_entity(tx, account, kind, str(req[f"{kind.capitalize()}Name"]))
        if arn not in entity.attached:
            raise ServiceError("NoSuchEntity", messages.no_attachment(arn), status=404)
        entity.attached.remove(arn)
        state.put_entity(tx, account, entity)

    await ctx.store.transact(detach)


async def _list(ctx: Context, req: Members, kind: str) -> Members:
    name = str(req[f"{kind.capitalize()}Name"])
    entity = await ctx.store.read(lambda tx: state.get_entity(tx, ctx.scope.account_id, kind, name))
    attached = [{"PolicyName": arn.rsplit("/", 1)[1], "PolicyArn": arn} for arn in entity.attached]
    return {"AttachedPolicies": attached, "IsTruncated": False}
