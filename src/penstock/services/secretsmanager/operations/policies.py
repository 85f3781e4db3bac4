"""Resource policies of secrets."""

from typing import Any

import orjson

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.services.secretsmanager import state
from penstock.storage.transactions import Transaction


async def _set(ctx: Context, secret_id: str, policy: str | None) -> dict[str, Any]:
    def change(tx: Transaction) -> state.Secret:
        secret = state.get(tx, ctx.scope, secret_id)
        secret.policy = policy
        state.put(tx, ctx.scope, secret)
        return secret

    secret = await ctx.store.transact(change)
    return {"ARN": secret.arn, "Name": secret.name}


@operation
async def put_resource_policy(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    try:
        orjson.loads(req["ResourcePolicy"])
    except ValueError as error:
        raise ServiceError("MalformedPolicyDocumentException", "This resource policy contains invalid JSON.") from error
    return await _set(ctx, req["SecretId"], req["ResourcePolicy"])


@operation
async def delete_resource_policy(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    return await _set(ctx, req["SecretId"], None)


@operation
async def get_resource_policy(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    secret = await ctx.store.read(lambda tx: state.get(tx, ctx.scope, req["SecretId"]))
    answer = {"ARN": secret.arn, "Name": secret.name}
    return {**answer, "ResourcePolicy": secret.policy} if secret.policy is not None else answer
