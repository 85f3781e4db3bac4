"""Resource policies of functions: who else may invoke them.

Source: https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html
"""

from typing import Any

import orjson

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.lambda_ import limits, messages, rules, state
from penstock.services.lambda_.operations import functions
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import LATEST, Policy
from penstock.storage.transactions import ReadTransaction, Transaction


@operation
async def add_permission(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = _named(ctx, req)
    if named.qualifier == LATEST:
        raise messages.policy_of_latest()
    statement = rules.statement_of(named, req)
    revision_id = ctx.entropy.uuid()

    def add(tx: Transaction) -> None:
        functions.get_version(tx, named)
        policy = state.find_policy(tx, named.scope, named.name, named.qualifier) or Policy("")
        _check_revision(policy, req)
        if any(known["Sid"] == statement["Sid"] for known in policy.statements):
            raise messages.statement_exists(statement["Sid"])
        policy.statements.append(statement)
        policy.revision_id = revision_id
        size = len(policy.document())
        if size > limits.POLICY_BYTES_MAX.value:
            raise messages.policy_too_long(size, limits.POLICY_BYTES_MAX.value)
        state.put_policy(tx, named.scope, named.name, named.qualifier, policy)

    await ctx.store.transact(add)
    return {"Statement": orjson.dumps(statement).decode()}


@operation
async def remove_permission(ctx: Context, req: dict[str, Any]) -> None:
    named = _named(ctx, req)
    revision_id = ctx.entropy.uuid()

    def remove(tx: Transaction) -> None:
        policy = _get(tx, named)
        _check_revision(policy, req)
        kept = [known for known in policy.statements if known["Sid"] != req["StatementId"]]
        if len(kept) == len(policy.statements):
            raise messages.no_statement(req["StatementId"])
        state.put_policy(tx, named.scope, named.name, named.qualifier, Policy(revision_id, kept))

    await ctx.store.transact(remove)


@operation
async def get_policy(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = _named(ctx, req)
    policy = await ctx.store.read(lambda tx: _get(tx, named))
    return {"Policy": policy.document(), "RevisionId": policy.revision_id}


def _named(ctx: Context, req: dict[str, Any]) -> Named:
    return rules.named(ctx.scope, req["FunctionName"], req.get("Qualifier"))


def _get(tx: ReadTransaction, named: Named) -> Policy:
    functions.get_version(tx, named)
    policy = state.find_policy(tx, named.scope, named.name, named.qualifier)
    if policy is None:
        raise messages.no_policy()
    return policy


def _check_revision(policy: Policy, req: dict[str, Any]) -> None:
    if req.get("RevisionId") and req["RevisionId"] != policy.revision_id:
        raise messages.revision_mismatch()
