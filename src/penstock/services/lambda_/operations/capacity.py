"""Capacity providers and what scales with them: a node has none, and says so.

Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances.html
"""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.lambda_ import messages, rules
from penstock.services.lambda_.operations import functions


@operation
async def create_capacity_provider(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    raise messages.invalid("Capacity providers are not supported by this node: functions run on the node itself.")


@operation
async def list_capacity_providers(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    return {"CapacityProviders": []}


@operation
async def get_capacity_provider(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    raise messages.not_found(f"Capacity provider not found: {req['CapacityProviderName']}")


@operation
async def update_capacity_provider(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    raise messages.not_found(f"Capacity provider not found: {req['CapacityProviderName']}")


@operation
async def delete_capacity_provider(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    raise messages.not_found(f"Capacity provider not found: {req['CapacityProviderName']}")


@operation
async def list_function_versions_by_capacity_provider(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    raise messages.not_found(f"Capacity provider not found: {req['CapacityProviderName']}")


@operation
async def put_function_scaling_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    return await _refuse(ctx, req)


@operation
async def get_function_scaling_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    return await _refuse(ctx, req)


async def _refuse(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = rules.named(ctx.scope, req["FunctionName"])
    await ctx.store.read(lambda tx: functions.get_function_record(tx, named))
    raise messages.invalid(f"The function {named.name} has no capacity provider, which a scaling configuration is of.")
