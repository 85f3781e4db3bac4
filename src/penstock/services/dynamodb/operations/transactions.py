"""TransactWriteItems and TransactGetItems: all or nothing, with the reasons where it is nothing.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from penstock.engines.expressions import values
from penstock.engines.expressions.values import size_of_item
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.services.dynamodb import limits, messages, rules, state
from penstock.services.dynamodb.operations import items, throughput
from penstock.services.dynamodb.operations.items import Outcome, Read, Write, collection_metrics
from penstock.services.dynamodb.rules import Cost
from penstock.services.dynamodb.state import Table
from penstock.storage.transactions import Key, ReadTransaction, Transaction

Members = Mapping[str, Any]
Costs = dict[str, tuple[Table, Cost]]
FACTOR = 2.0
"""A transaction prepares and commits: each of its units is two. Source:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html"""
_EXPRESSIONS = ("ConditionExpression", "UpdateExpression", "ProjectionExpression")
_CODES = {
    "ConditionalCheckFailedException": "ConditionalCheckFailed",
    "ValidationException": "ValidationError",
    "ProvisionedThroughputExceededException": "ProvisionedThroughputExceeded",
    "ThrottlingException": "ThrottlingError",
    "DuplicateItemException": "DuplicateItem",
}


@operation
async def transact_write_items(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    writes = [_write_of(ctx, one) for one in req["TransactItems"]]
    shown_names = [next(iter(one.values()))["TableName"] for one in req["TransactItems"]]
    token = req.get("ClientRequestToken")
    told = digest_of([req["TransactItems"], req.get("ReturnConsumedCapacity")]) if token else ""
    outcomes, is_repeated = await write_all(ctx, writes, token=token, digest=told)
    costs: Costs = {}
    metrics: dict[str, list[Any]] = {}
    for shown, (outcome, cost) in zip(shown_names, outcomes, strict=True):
        _, total = costs.setdefault(shown, (outcome.table, Cost()))
        total.add(cost, FACTOR)
        collection = collection_metrics(outcome)
        if collection is not None:
            metrics.setdefault(shown, []).append(collection)
    answer = shown_costs(req, costs, "Read" if is_repeated else "Write")
    if req.get("ReturnItemCollectionMetrics") == "SIZE" and metrics:
        answer["ItemCollectionMetrics"] = metrics
    return answer


def _write_of(ctx: Context, one: Members) -> Write:
    kinds: Mapping[str, Callable[[Context, Members], Write]] = {
        "ConditionCheck": items.check_of,
        "Put": items.put_of,
        "Delete": items.delete_of,
        "Update": lambda ctx, members: items.update_of(ctx, members)[0],
    }
    given = [kind for kind in kinds if one.get(kind) is not None]
    if len(given) != 1:
        raise messages.invalid("TransactItems can only contain one of Check, Put, Update or Delete")
    return kinds[given[0]](ctx, _with_use(one[given[0]]))


def _with_use(members: Members) -> Members:
    """Without names and values that no expression could use: only here DynamoDB doesn't mind them."""
    if any(members.get(name) is not None for name in _EXPRESSIONS):
        return members
    return {name: value for name, value in members.items() if not name.startswith("ExpressionAttribute")}


async def write_all(
    ctx: Context, writes: Sequence[Write], *, token: str | None, digest: str
) -> tuple[list[tuple[Outcome, Cost]], bool]:
    """Carry all out, or none; what each came to, and whether that was done before.

    Raises TransactionCanceledException with a reason for each.
    """
    now_ms = ctx.clock.now_ms()

    def run(tx: Transaction) -> tuple[list[tuple[Outcome, Cost]], bool]:
        is_repeated = token is not None and _is_repeated(tx, ctx, token, digest, now_ms)
        _check_targets(tx, writes)
        outcomes = decided(lambda write: _decide(ctx, tx, write, is_repeated=is_repeated), writes)
        size = sum(size_of_item(one.new or one.old or {}) for one in outcomes)
        if size > limits.TRANSACTION_BYTES_MAX.value:
            raise messages.invalid("The aggregate size of items in the transaction exceeds the maximum of 4 MB")
        if is_repeated:
            return [(one, Cost(rules.read_units(one.stored.size, is_consistent=True))) for one in outcomes], True
        if token is not None:
            tx.put(_token_key(ctx, token), orjson.dumps([digest, now_ms]))
        done = [
            (outcome, write.carry_out(tx, outcome, now_ms=now_ms))
            for write, outcome in zip(writes, outcomes, strict=True)
        ]
        return done, False

    outcomes, is_repeated = await ctx.store.transact(run)
    for outcome, cost in outcomes:
        throughput.use(ctx, outcome.table, **{"read" if is_repeated else "write": cost})
    return outcomes, is_repeated


def _decide(ctx: Context, tx: ReadTransaction, write: Write, *, is_repeated: bool) -> Outcome:
    if is_repeated:
        return write.repeated(tx)
    outcome = write.decide(tx)
    throughput.check(ctx, outcome.table)
    return outcome


def decided(decide: Callable[[Any], Any], asked: Sequence[Any]) -> list[Any]:
    """Every decision, or TransactionCanceledException with what each came to."""
    outcomes: list[Any] = []
    reasons: list[dict[str, Any]] = []
    for one in asked:
        try:
            outcomes.append(decide(one))
        except ServiceError as error:
            if error.code not in _CODES or isinstance(error, messages.EmptyKey):
                raise
            reasons.append({"Code": _CODES[error.code], "Message": error.message, **error.fields})
        else:
            reasons.append({"Code": "None"})
    if len(outcomes) < len(asked):
        raise messages.canceled(reasons)
    return outcomes


def _check_targets(tx: ReadTransaction, writes: Sequence[Write]) -> None:
    """One operation for an item. A key that is wrong is told with the reasons."""
    seen: set[tuple[str, Key]] = set()
    for write in writes:
        table = state.get_table(tx, write.scope, write.name)
        if any(name not in write.given or table.types[name] not in write.given[name] for name in table.schema.names):
            continue
        target = (table.key, state.item_key(table.schema, write.given))
        if target in seen:
            raise messages.invalid("Transaction request cannot include multiple operations on one item")
        seen.add(target)


def _token_key(ctx: Context, token: str) -> Key:
    return (*state.TOKENS, ctx.scope.account_id, ctx.scope.region, token)


def _is_repeated(tx: ReadTransaction, ctx: Context, token: str, digest: str, now_ms: int) -> bool:
    """Raises IdempotentParameterMismatchException for a token that came with another request."""
    data = tx.get(_token_key(ctx, token))
    if data is None:
        return False
    known, at_ms = orjson.loads(data)
    if now_ms - at_ms >= limits.TOKEN_MS.value:
        return False
    if known != digest:
        raise messages.token_mismatch()
    return True


def digest_of(request: Any) -> str:
    """What makes two requests the same."""
    told = orjson.dumps(request, default=values.as_json, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(told, digest_size=16).hexdigest()


@operation
async def transact_get_items(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    reads = [items.read_of(ctx, _with_use(one["Get"])) for one in req["TransactItems"]]

    def run(tx: ReadTransaction) -> list[Any]:
        def decide(read: Read) -> Any:
            found = read.get(tx)
            throughput.check(ctx, found[0], is_read=True)
            return found

        return decided(decide, reads)

    found = await ctx.store.read(run)
    if sum(size for _, _, size in found) > limits.TRANSACTION_BYTES_MAX.value:
        raise messages.invalid("The aggregate size of items in the transaction exceeds the maximum of 4 MB")
    costs: Costs = {}
    for one, (table, _, size) in zip(req["TransactItems"], found, strict=True):
        cost = Cost(rules.read_units(size, is_consistent=True))
        costs.setdefault(one["Get"]["TableName"], (table, Cost()))[1].add(cost, FACTOR)
    for table, cost in costs.values():
        throughput.use(ctx, table, read=cost)
    responses = [{"Item": item} if item else {} for _, item, _ in found]
    return {"Responses": responses} | shown_costs(req, costs, "Read")


def shown_costs(req: Members, costs: Costs, kind: str) -> dict[str, Any]:
    how = req.get("ReturnConsumedCapacity")
    if how not in ("TOTAL", "INDEXES"):
        return {}
    shown = [rules.shown_cost(table, name, cost, how, kind=kind) for name, (table, cost) in costs.items()]
    return {"ConsumedCapacity": shown}
