"""Resource policies of layer versions: which other accounts may use them.

Source: https://docs.aws.amazon.com/lambda/latest/dg/permissions-layer-cross-account.html
"""

from collections.abc import Sequence
from typing import Any

import orjson

from penstock.engines.policy.evaluate import Request, evaluate
from penstock.framework.authorization import read_policies
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel import arn
from penstock.kernel.scope import Scope
from penstock.services.lambda_ import limits, messages, rules
from penstock.services.lambda_.operations import layer_messages, layer_records, layers
from penstock.services.lambda_.state import Policy
from penstock.storage.transactions import ReadTransaction, Transaction


@operation
async def add_layer_version_permission(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name, number = _named(ctx, req)
    statement = rules.layer_statement_of(layer_records.layer_arn(scope, name, number), req)
    revision_id = ctx.entropy.uuid()

    def add(tx: Transaction) -> None:
        policy = _find(tx, scope, name, number) or Policy("")
        _check_revision(policy, req)
        if any(known["Sid"] == statement["Sid"] for known in policy.statements):
            raise messages.statement_exists(statement["Sid"])
        policy.statements.append(statement)
        policy.revision_id = revision_id
        size = len(policy.document())
        if size > limits.POLICY_BYTES_MAX.value:
            raise messages.policy_too_long(size, limits.POLICY_BYTES_MAX.value)
        layer_records.put_layer_policy(tx, scope, name, number, policy)

    await ctx.store.transact(add)
    return {"Statement": orjson.dumps(statement).decode(), "RevisionId": revision_id}


@operation
async def remove_layer_version_permission(ctx: Context, req: dict[str, Any]) -> None:
    scope, name, number = _named(ctx, req)
    revision_id = ctx.entropy.uuid()

    def remove(tx: Transaction) -> None:
        policy = _find(tx, scope, name, number) or Policy("")
        _check_revision(policy, req)
        kept = [known for known in policy.statements if known["Sid"] != req["StatementId"]]
        if len(kept) == len(policy.statements):
            raise messages.no_statement(req["StatementId"])
        layer_records.put_layer_policy(tx, scope, name, number, Policy(revision_id, kept))

    await ctx.store.transact(remove)


@operation
async def get_layer_version_policy(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name, number = _named(ctx, req)
    policy = await ctx.store.read(lambda tx: _find(tx, scope, name, number))
    if policy is None:
        raise messages.no_policy_associated()
    return {"Policy": policy.document(), "RevisionId": policy.revision_id}


def _named(ctx: Context, req: dict[str, Any]) -> tuple[Scope, str, int]:
    scope, name, _ = layers.named(ctx.scope, req["LayerName"])
    return scope, name, int(req["VersionNumber"])


def _find(tx: ReadTransaction, scope: Scope, name: str, number: int) -> Policy | None:
    """The version's policy. Raises ResourceNotFoundException where there is no such version."""
    if layer_records.find_layer(tx, scope, name, number) is None:
        raise layer_messages.layer_version_not_found(layer_records.layer_arn(scope, name, number))
    return layer_records.find_layer_policy(tx, scope, name, number)


def _check_revision(policy: Policy, req: dict[str, Any]) -> None:
    if req.get("RevisionId") and req["RevisionId"] != policy.revision_id:
        raise layer_messages.layer_revision_mismatch()


async def check_use(ctx: Context, layer_arns: Sequence[str]) -> None:
    """Where IAM is enforced, another account's layer needs its owner's permission. Raises AccessDeniedException."""
    if ctx.platform.auth != "enforce":
        return
    for layer_arn in layer_arns:
        owner = arn.parse(layer_arn).account_id if arn.is_arn(layer_arn) else ""
        if not owner or owner == ctx.scope.account_id or layers.is_managed(layer_arn):
            continue
        scope, name, number = layers.named(ctx.scope, layer_arn)
        policy = await ctx.store.read(lambda tx, at=(scope, name, number): layer_records.find_layer_policy(tx, *at))  # type: ignore[misc]
        policies = await read_policies(ctx, resource=policy.document() if policy else None)
        request = Request(ctx.principal, "lambda:GetLayerVersion", layer_arn, owner, {})
        decision = evaluate(request, policies)
        if not decision.allowed:
            raise messages.access_denied(decision.message(request))
