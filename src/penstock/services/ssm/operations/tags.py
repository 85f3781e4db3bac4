"""Tags of parameters."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.services.ssm import messages, state
from penstock.storage.transactions import ReadTransaction, Transaction


def _get(tx: ReadTransaction, ctx: Context, req: dict[str, Any]) -> state.Parameter:
    found = state.find(tx, ctx.scope, req["ResourceId"]) if req["ResourceType"] == "Parameter" else None
    if found is None:
        raise ServiceError("InvalidResourceId", messages.not_found(req["ResourceId"]))
    return found


@operation
async def add_tags_to_resource(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def add(tx: Transaction) -> None:
        parameter = _get(tx, ctx, req)
        parameter.tags.update({tag["Key"]: tag["Value"] for tag in req["Tags"]})
        state.put(tx, ctx.scope, parameter)

    await ctx.store.transact(add)
    return {}


@operation
async def remove_tags_from_resource(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def remove(tx: Transaction) -> None:
        parameter = _get(tx, ctx, req)
        parameter.tags = {key: value for key, value in parameter.tags.items() if key not in req["TagKeys"]}
        state.put(tx, ctx.scope, parameter)

    await ctx.store.transact(remove)
    return {}


@operation
async def list_tags_for_resource(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    parameter = await ctx.store.read(lambda tx: _get(tx, ctx, req))
    return {"TagList": [{"Key": key, "Value": value} for key, value in parameter.tags.items()]}
