"""Reserved concurrency, what the account has, and whether events may run in circles.

Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
"""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.lambda_ import limits, messages, rules, state
from penstock.services.lambda_.operations import functions, packages, provisioned
from penstock.storage.transactions import ReadTransaction, Transaction


@operation
async def put_function_concurrency(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = rules.named_function(ctx.scope, req["FunctionName"])
    wanted = int(req["ReservedConcurrentExecutions"])

    def put(tx: Transaction) -> None:
        function = functions.get_function_record(tx, named)
        left = provisioned.unreserved(tx, named.scope) + (function.reserved_concurrency or 0) - wanted
        if wanted and left < limits.UNRESERVED_CONCURRENCY_MIN.value:
            raise messages.too_little_unreserved(limits.UNRESERVED_CONCURRENCY_MIN.value)
        function.reserved_concurrency = wanted
        state.put_function(tx, named.scope, function)

    await ctx.store.transact(put)
    return {"ReservedConcurrentExecutions": wanted}


@operation
async def get_function_concurrency(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = rules.named_function(ctx.scope, req["FunctionName"])
    function = await ctx.store.read(lambda tx: functions.get_function_record(tx, named))
    reserved = function.reserved_concurrency
    return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}


@operation
async def delete_function_concurrency(ctx: Context, req: dict[str, Any]) -> None:
    named = rules.named_function(ctx.scope, req["FunctionName"])

    def delete(tx: Transaction) -> None:
        function = functions.get_function_record(tx, named)
        function.reserved_concurrency = None
        state.put_function(tx, named.scope, function)

    await ctx.store.transact(delete)


@operation
async def put_function_recursion_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html"""
    named = rules.named_function(ctx.scope, req["FunctionName"])

    def put(tx: Transaction) -> None:
        function = functions.get_function_record(tx, named)
        function.recursion = req["RecursiveLoop"]
        state.put_function(tx, named.scope, function)

    await ctx.store.transact(put)
    return {"RecursiveLoop": req["RecursiveLoop"]}


@operation
async def get_function_recursion_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = rules.named_function(ctx.scope, req["FunctionName"])
    function = await ctx.store.read(lambda tx: functions.get_function_record(tx, named))
    return {"RecursiveLoop": function.recursion}


@operation
async def get_account_settings(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def read(tx: ReadTransaction) -> tuple[int, int, int]:
        count = sum(1 for _ in state.functions(tx, ctx.scope))
        return provisioned.unreserved(tx, ctx.scope), packages.code_bytes(tx, ctx.scope), count

    unreserved, code_bytes, count = await ctx.store.read(read)
    return {
        "AccountLimit": {
            "TotalCodeSize": limits.CODE_STORAGE_BYTES_MAX.value,
            "CodeSizeUnzipped": limits.UNZIPPED_BYTES_MAX.value,
            "CodeSizeZipped": limits.ZIPPED_BYTES_MAX.value,
            "ConcurrentExecutions": limits.CONCURRENCY.value,
            "UnreservedConcurrentExecutions": unreserved,
        },
        "AccountUsage": {"TotalCodeSize": code_bytes, "FunctionCount": count},
    }
