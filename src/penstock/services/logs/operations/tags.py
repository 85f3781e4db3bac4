"""Tags of log groups, by the old and the new operations."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.services.logs import limits, messages, rules, state
from penstock.storage.transactions import Transaction


async def _change(ctx: Context, req: dict[str, Any], *, add: dict[str, str], remove: list[str]) -> None:
    name = rules.group_name(req)

    def change(tx: Transaction) -> None:
        group = state.get_group(tx, ctx.scope, name)
        kept = {key: value for key, value in group.tags.items() if key not in remove}
        group.tags = {**kept, **add}
        if len(group.tags) > limits.TAGS_MAX.value:
            raise ServiceError("TooManyTagsException", messages.TOO_MANY_TAGS)
        state.put_group(tx, ctx.scope, group)

    await ctx.store.transact(change)


async def _tags(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    group = await ctx.store.read(lambda tx: state.get_group(tx, ctx.scope, rules.group_name(req)))
    return {"tags": group.tags}


@operation
async def tag_log_group(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    await _change(ctx, req, add=req["tags"], remove=[])
    return {}


@operation
async def untag_log_group(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    await _change(ctx, req, add={}, remove=req["tags"])
    return {}


@operation
async def list_tags_log_group(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    return await _tags(ctx, req)


@operation
async def tag_resource(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    await _change(ctx, req, add=req["tags"], remove=[])
    return {}


@operation
async def untag_resource(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    await _change(ctx, req, add={}, remove=req["tagKeys"])
    return {}


@operation
async def list_tags_for_resource(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    return await _tags(ctx, req)
