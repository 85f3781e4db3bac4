"""Resource policies of functions: who else may invoke them.

A policy has no revision of its own: it is the one of the version or alias that it guards, and changes with it.
Source: https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html
"""

from typing import Any

import orjson

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.lambda_ import limits, messages, rules, state
from penstock.services.lambda_.operations import functions
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import LATEST, Alias, Policy, Version
from penstock.storage.transactions import ReadTransaction, Transaction


@operation
async def add_permission(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = _named(ctx, req)
    if named.qualifier == LATEST:
        raise messages.policy_of_latest()
    statement = rules.statement_of(named, req)
    revision_id = ctx.entropy.uuid()

    def add(tx: Transaction) -> None:
        check_target(tx, named, req)
        policy = state.find_policy(tx, named.scope, named.name, named.qualifier) or Policy("")
        if any(known.get("Sid") == statement["Sid"] for known in policy.statements):
            raise messages.statement_exists(statement["Sid"])
        policy.statements.append(statement)
        policy.revision_id = revision_id
        size = len(policy.document())
        if size > limits.POLICY_BYTES_MAX.value:
            raise messages.policy_too_long(size, limits.POLICY_BYTES_MAX.value)
        write(tx, named, policy)

    await ctx.store.transact(add)
    return {"Statement": orjson.dumps(statement).decode()}


@operation
async def remove_permission(ctx: Context, req: dict[str, Any]) -> None:
    named = _named(ctx, req)
    revision_id = ctx.entropy.uuid()

    def remove(tx: Transaction) -> None:
        if state.find_function(tx, named.scope, named.name) is None:
            raise messages.no_policy_found(state.arn_of(named.scope, named.name))
        revision_of(tx, named)
        policy = state.find_policy(tx, named.scope, named.name, named.qualifier)
        if policy is None:
            raise messages.no_policy_associated()
        kept = [known for known in policy.statements if known.get("Sid") != req["StatementId"]]
        if len(kept) == len(policy.statements):
            raise messages.no_statement(req["StatementId"])
        check_target(tx, named, req)
        write(tx, named, Policy(revision_id, kept, policy.head))

    await ctx.store.transact(remove)


@operation
async def get_policy(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = _named(ctx, req)

    def read(tx: ReadTransaction) -> tuple[Policy, str]:
        revision_id = revision_of(tx, named)
        policy = state.find_policy(tx, named.scope, named.name, named.qualifier)
        if policy is None:
            raise messages.no_policy()
        return policy, revision_id

    policy, revision_id = await ctx.store.read(read)
    return {"Policy": policy.document(), "RevisionId": revision_id}


def _named(ctx: Context, req: dict[str, Any]) -> Named:
    return rules.named(ctx.scope, req["FunctionName"], req.get("Qualifier"))


def revision_of(tx: ReadTransaction, named: Named) -> str:
    """The revision of what the policy guards. Raises ResourceNotFoundException where it isn't there."""
    return _target(tx, named).revision_id


def check_target(tx: ReadTransaction, named: Named, req: dict[str, Any]) -> None:
    """Raises ResourceNotFoundException, and PreconditionFailedException for another revision than the request's."""
    revision_id = revision_of(tx, named)
    if req.get("RevisionId") and req["RevisionId"] != revision_id:
        raise messages.revision_mismatch()


def write(tx: Transaction, named: Named, policy: Policy) -> None:
    """Store the policy, and give what it guards the policy's revision."""
    target = _target(tx, named)
    target.revision_id = policy.revision_id
    if isinstance(target, Alias):
        state.put_alias(tx, named.scope, target)
    else:
        state.put_version(tx, named.scope, target)
    state.put_policy(tx, named.scope, named.name, named.qualifier, policy)


def _target(tx: ReadTransaction, named: Named) -> Version | Alias:
    functions.get_function_record(tx, named)
    if not rules.is_alias(named.qualifier):
        return functions.get_version(tx, named)
    alias = state.find_alias(tx, named.scope, named.name, named.qualifier)
    if alias is None:
        raise messages.no_such_alias(named.arn)
    return alias
