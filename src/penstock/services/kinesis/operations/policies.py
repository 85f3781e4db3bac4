"""Policies of streams and consumers: who of other accounts may use them.

Source: https://docs.aws.amazon.com/streams/latest/dev/resource-based-policy-examples.html
"""

from typing import Any

import orjson

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.scope import Scope
from penstock.services.kinesis import messages, state
from penstock.services.kinesis.operations.access import consumer_of, located_resource
from penstock.services.kinesis.operations.consumers import get_consumer
from penstock.storage.transactions import ReadTransaction, Transaction


@operation
async def put_resource_policy(ctx: Context, req: dict[str, Any]) -> None:
    """Raises InvalidArgumentException for what is no policy."""
    scope, resource = located_resource(ctx, req["ResourceARN"])
    _check_policy(req["Policy"])

    def put(tx: Transaction) -> None:
        _check_resource(tx, scope, resource, req["ResourceARN"])
        state.put_policy(tx, scope, resource, req["Policy"])

    await ctx.store.transact(put)


@operation
async def get_resource_policy(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, resource = located_resource(ctx, req["ResourceARN"])

    def read(tx: ReadTransaction) -> str:
        _check_resource(tx, scope, resource, req["ResourceARN"])
        return state.find_policy(tx, scope, resource) or "{}"

    return {"Policy": await ctx.store.read(read)}


@operation
async def delete_resource_policy(ctx: Context, req: dict[str, Any]) -> None:
    """Raises ResourceNotFoundException where there is none."""
    scope, resource = located_resource(ctx, req["ResourceARN"])

    def delete(tx: Transaction) -> None:
        _check_resource(tx, scope, resource, req["ResourceARN"])
        if state.find_policy(tx, scope, resource) is None:
            raise messages.no_policy(req["ResourceARN"])
        state.put_policy(tx, scope, resource, "")

    await ctx.store.transact(delete)


def _check_resource(tx: ReadTransaction, scope: Scope, resource: str, asked: str) -> None:
    """Raises ResourceNotFoundException, in which these operations name a stream by its ARN."""
    stream, consumer = consumer_of(resource)
    if state.find_stream(tx, scope, stream) is None:
        raise messages.no_stream(asked, scope.account_id)
    if consumer:
        get_consumer(tx, scope, stream, consumer)


def _check_policy(text: str) -> None:
    try:
        policy = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise messages.bad_policy() from None
    statements = policy.get("Statement") if isinstance(policy, dict) else None
    if isinstance(statements, dict):
        statements = [statements]
    if not statements or not isinstance(statements, list):
        raise messages.bad_policy()
    for statement in statements:
        if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
            raise messages.bad_policy()
        if "Principal" not in statement or not ("Action" in statement or "NotAction" in statement):
            raise messages.bad_policy()
