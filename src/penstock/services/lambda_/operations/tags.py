"""Tags of functions."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.lambda_ import messages, rules, state
from penstock.services.lambda_.operations import functions
from penstock.services.lambda_.rules import Named
from penstock.storage.transactions import Transaction


@operation
async def tag_resource(ctx: Context, req: dict[str, Any]) -> None:
    named = _named(ctx, req)

    def tag(tx: Transaction) -> None:
        function = functions.get_function_record(tx, named)
        function.tags |= req["Tags"]
        rules.check_tag_count(function.tags)
        state.put_function(tx, named.scope, function)

    await ctx.store.transact(tag)


@operation
async def untag_resource(ctx: Context, req: dict[str, Any]) -> None:
    named = _named(ctx, req)

    def untag(tx: Transaction) -> None:
        function = functions.get_function_record(tx, named)
        function.tags = {name: value for name, value in function.tags.items() if name not in req["TagKeys"]}
        state.put_function(tx, named.scope, function)

    await ctx.store.transact(untag)


@operation
async def list_tags(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = _named(ctx, req)
    function = await ctx.store.read(lambda tx: functions.get_function_record(tx, named))
    return {"Tags": function.tags}


def _named(ctx: Context, req: dict[str, Any]) -> Named:
    named = rules.named(ctx.scope, req["Resource"])
    if named.qualifier:
        raise messages.tags_of_versions()
    return named
