"""Tags of streams."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.kinesis import state
from penstock.services.kinesis.operations.access import named
from penstock.storage.transactions import Transaction


@operation
async def add_tags_to_stream(ctx: Context, req: dict[str, Any]) -> None:
    def add(tx: Transaction) -> None:
        stream = state.get_stream(tx, ctx.scope, named(req))
        stream.tags |= req["Tags"]
        state.put_stream(tx, ctx.scope, stream)

    await ctx.store.transact(add)


@operation
async def remove_tags_from_stream(ctx: Context, req: dict[str, Any]) -> None:
    def remove(tx: Transaction) -> None:
        stream = state.get_stream(tx, ctx.scope, named(req))
        stream.tags = {key: value for key, value in stream.tags.items() if key not in req["TagKeys"]}
        state.put_stream(tx, ctx.scope, stream)

    await ctx.store.transact(remove)


@operation
async def list_tags_for_stream(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    stream = await ctx.store.read(lambda tx: state.get_stream(tx, ctx.scope, named(req)))
    after, count = req.get("ExclusiveStartTagKey") or "", req.get("Limit") or 50
    tags = [{"Key": key, "Value": stream.tags[key]} for key in sorted(stream.tags) if key > after]
    return {"Tags": tags[:count], "HasMoreTags": len(tags) > count}
