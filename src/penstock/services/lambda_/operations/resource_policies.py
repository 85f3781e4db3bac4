"""Resource policies as whole documents: the same policies that AddPermission writes statement by statement.

Source: https://docs.aws.amazon.com/lambda/latest/api/API_PutResourcePolicy.html
"""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.lambda_ import limits, messages, rules, state
from penstock.services.lambda_.operations import permissions
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import Policy
from penstock.storage.transactions import ReadTransaction, Transaction


@operation
async def put_resource_policy(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Replaces the policy, what AddPermission wrote included."""
    named = _named(ctx, req)
    document = rules.parse_policy(req["Policy"])
    revision_id = ctx.entropy.uuid()
    head = {name: value for name, value in document.items() if name != "Statement"}
    policy = Policy(revision_id, document["Statement"], head)
    size = len(policy.document())
    if size > limits.POLICY_BYTES_MAX.value:
        raise messages.policy_too_long(size, limits.POLICY_BYTES_MAX.value)

    def put(tx: Transaction) -> None:
        permissions.check_target(tx, named, req)
        permissions.write(tx, named, policy)

    await ctx.store.transact(put)
    return {"Policy": policy.document(), "RevisionId": revision_id}


@operation
async def get_resource_policy(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = _named(ctx, req)
    policy, revision_id = await ctx.store.read(lambda tx: _get(tx, named))
    return {"Policy": policy.document(), "RevisionId": revision_id}


@operation
async def delete_resource_policy(ctx: Context, req: dict[str, Any]) -> None:
    named = _named(ctx, req)
    revision_id = ctx.entropy.uuid()

    def delete(tx: Transaction) -> None:
        _get(tx, named)
        permissions.check_target(tx, named, req)
        permissions.write(tx, named, Policy(revision_id))

    await ctx.store.transact(delete)


def _named(ctx: Context, req: dict[str, Any]) -> Named:
    if ":runtime/" in req["ResourceArn"]:
        raise messages.no_policy()
    named = rules.named(ctx.scope, req["ResourceArn"])
    if named.qualifier == state.LATEST:
        raise messages.policy_of_latest()
    return named


def _get(tx: ReadTransaction, named: Named) -> tuple[Policy, str]:
    revision_id = permissions.revision_of(tx, named)
    policy = state.find_policy(tx, named.scope, named.name, named.qualifier)
    if policy is None:
        raise messages.no_policy()
    return policy, revision_id
