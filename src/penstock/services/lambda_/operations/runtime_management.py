"""When a function's runtime is updated.

A node has one version of each runtime. So the settings are kept and given back; they change nothing.
Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-update.html
"""

from dataclasses import replace
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.lambda_ import messages, rules, state
from penstock.services.lambda_.operations import functions
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import LATEST, Function
from penstock.storage.transactions import ReadTransaction, Transaction

_DEFAULT = {"UpdateRuntimeOn": "Auto"}


@operation
async def put_runtime_management_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = _named(ctx, req)
    wanted, runtime_arn = req["UpdateRuntimeOn"], req.get("RuntimeVersionArn")
    if wanted == "Manual" and not runtime_arn:
        raise messages.invalid("RuntimeVersionArn is required when UpdateRuntimeOn is Manual.")
    if wanted != "Manual" and runtime_arn:
        raise messages.invalid(f"RuntimeVersionArn is not allowed when UpdateRuntimeOn is {wanted}.")
    settings = {"UpdateRuntimeOn": wanted} | ({"RuntimeVersionArn": runtime_arn} if runtime_arn else {})

    def put(tx: Transaction) -> None:
        function = _get(tx, named)
        function.runtime_updates[named.qualifier] = settings
        state.put_function(tx, named.scope, function)

    await ctx.store.transact(put)
    return {**settings, "FunctionArn": named.arn}


@operation
async def get_runtime_management_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = _named(ctx, req)
    function = await ctx.store.read(lambda tx: _get(tx, named))
    return {**function.runtime_updates.get(named.qualifier, _DEFAULT), "FunctionArn": named.arn}


def _named(ctx: Context, req: dict[str, Any]) -> Named:
    named = rules.named(ctx.scope, req["FunctionName"], req.get("Qualifier"))
    return replace(named, qualifier=named.qualifier or LATEST)


def _get(tx: ReadTransaction, named: Named) -> Function:
    if named.qualifier != LATEST and not named.qualifier.isdigit():
        raise messages.invalid("A runtime management configuration is of $LATEST or a published version.")
    functions.get_version(tx, named)
    return functions.get_function_record(tx, named)
