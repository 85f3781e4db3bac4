"""Statements of a queue's policy, added and removed by their label."""

from typing import Any

import orjson

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.services.sqs import limits, messages, rules, state
from penstock.services.sqs.operations.queues import located
from penstock.storage.transactions import Transaction

Statement = dict[str, Any]


@operation
async def add_permission(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Let accounts do what only the owner may. Raises InvalidParameterValue for a label that is taken."""
    scope, name = located(ctx, req)
    label, actions, accounts = req["Label"], req["Actions"], req["AWSAccountIds"]
    if not actions:
        raise ServiceError("MissingParameter", "The request must contain the parameter Actions.")
    if not accounts:
        raise rules.invalid_value("[]", "PrincipalId", "Unable to verify.")
    for action in actions:
        if action not in limits.SHARED_ACTIONS:
            raise rules.invalid(messages.not_shared(action))

    def add(tx: Transaction) -> None:
        queue = state.get_queue(tx, scope, name)
        document, statements = _policy(queue, queue.arn(scope))
        if any(statement.get("Sid") == label for statement in statements):
            raise rules.invalid(messages.label_exists(label))
        principals = [f"arn:{scope.partition}:iam::{account}:root" for account in accounts]
        named = [f"SQS:{action}" for action in actions]
        statement = {
            "Sid": label,
            "Effect": "Allow",
            "Principal": {"AWS": principals[0] if len(principals) == 1 else principals},
            "Action": named[0] if len(named) == 1 else named,
            "Resource": queue.arn(scope),
        }
        document["Statement"] = [*statements, statement]
        queue.attributes["Policy"] = orjson.dumps(document).decode()
        state.put_queue(tx, scope, queue)

    await ctx.store.transact(add)
    return {}


@operation
async def remove_permission(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = located(ctx, req)

    def remove(tx: Transaction) -> None:
        queue = state.get_queue(tx, scope, name)
        document, statements = _policy(queue, queue.arn(scope))
        kept = [statement for statement in statements if statement.get("Sid") != req["Label"]]
        if len(kept) == len(statements):
            raise rules.invalid(messages.no_label(req["Label"]))
        if kept:
            queue.attributes["Policy"] = orjson.dumps({**document, "Statement": kept}).decode()
        else:
            queue.attributes.pop("Policy", None)
        state.put_queue(tx, scope, queue)

    await ctx.store.transact(remove)
    return {}


def _policy(queue: state.Queue, arn: str) -> tuple[dict[str, Any], list[Statement]]:
    """The queue's policy, or the one that AWS begins with."""
    text = queue.attributes.get("Policy")
    document: dict[str, Any] = (
        orjson.loads(text) if text else {"Version": "2008-10-17", "Id": f"{arn}/SQSDefaultPolicy"}
    )
    statements: list[Statement] | Statement = document.get("Statement") or []
    return document, [statements] if isinstance(statements, dict) else statements
