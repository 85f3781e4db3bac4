"""BatchGetItem and BatchWriteItem: many items at once, each for itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.engines.expressions.values import Item
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.dynamodb import limits, messages, rules, state
from penstock.services.dynamodb.operations import items, throughput
from penstock.services.dynamodb.operations.items import Read, Write, collection_metrics
from penstock.services.dynamodb.operations.named import table_of
from penstock.services.dynamodb.rules import Cost
from penstock.services.dynamodb.state import Table
from penstock.storage.transactions import ReadTransaction, Transaction

Members = Mapping[str, Any]
_DUPLICATES = "Provided list of item keys contains duplicates"


@dataclass(slots=True)
class _Writes:
    """What one table is to be written: each with the request it came from."""

    scope: Scope
    name: str
    pairs: list[tuple[Members, Write]]


@operation
async def batch_write_item(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """All that isn't throttled is written in one transaction."""
    given: Mapping[str, Sequence[Members]] = req["RequestItems"]
    _check_requests("BatchWriteItem", given)
    if sum(map(len, given.values())) > limits.WRITE_BATCH_MAX.value:
        raise messages.invalid("Too many items requested for the BatchWriteItem call")
    tables = {shown: _writes(ctx, shown, requests) for shown, requests in given.items()}
    now_ms = ctx.clock.now_ms()

    def run(tx: Transaction) -> tuple[dict[str, tuple[Table, Cost]], dict[str, list[Any]], dict[str, list[Any]]]:
        found = {shown: state.get_table(tx, wanted.scope, wanted.name) for shown, wanted in tables.items()}
        for shown, wanted in tables.items():
            _check_writes(found[shown], wanted)
        costs: dict[str, tuple[Table, Cost]] = {}
        metrics: dict[str, list[Any]] = {}
        left: dict[str, list[Any]] = {}
        for shown, wanted in tables.items():
            table, cost = found[shown], Cost()
            if _is_throttled(ctx, table, is_read=False):
                left[shown] = [request for request, _ in wanted.pairs]
                continue
            for _, write in wanted.pairs:
                outcome = write.decide(tx)
                cost.add(write.carry_out(tx, outcome, now_ms=now_ms))
                told = collection_metrics(outcome)
                if told is not None:
                    metrics.setdefault(shown, []).append(told)
            costs[shown] = table, cost
        return costs, metrics, left

    costs, metrics, left = await ctx.store.transact(run)
    if not costs:
        raise messages.throttled()
    for table, cost in costs.values():
        throughput.use(ctx, table, write=cost)
    answer: dict[str, Any] = {"UnprocessedItems": left}
    if req.get("ReturnItemCollectionMetrics") == "SIZE":
        answer["ItemCollectionMetrics"] = metrics
    return answer | _shown_costs(req, costs)


def _check_requests(operation: str, given: Mapping[str, Any]) -> None:
    if not given:
        raise messages.invalid(f"The requestItems parameter is required for {operation}")


def _writes(ctx: Context, shown: str, requests: Sequence[Members]) -> _Writes:
    scope, name = table_of(ctx, shown)
    pairs: list[tuple[Members, Write]] = []
    for one in requests:
        put, delete = one.get("PutRequest"), one.get("DeleteRequest")
        if (put is None) == (delete is None):
            told = "has more than one" if put is not None else "is empty, must contain exactly one"
            raise messages.invalid(f"Supplied WriteRequest {told} of PutRequest and DeleteRequest")
        members = {"TableName": shown, **(put or delete or {})}
        pairs.append((one, items.put_of(ctx, members) if put is not None else items.delete_of(ctx, members)))
    return _Writes(scope, name, pairs)


def _check_writes(table: Table, wanted: _Writes) -> None:
    """Everything is right, or nothing is written."""
    keys = set()
    for _, write in wanted.pairs:
        if write.is_whole:
            types = table.types
            if any(name not in write.given or types[name] not in write.given[name] for name in table.schema.names):
                raise messages.key_mismatch()
            rules.check_item(table, write.given)
            key = write.given
        else:
            key = rules.checked_key(table, write.given)
        keys.add(state.item_key(table.schema, key))
    if len(keys) != len(wanted.pairs):
        raise messages.invalid(_DUPLICATES)


def _is_throttled(ctx: Context, table: Table, *, is_read: bool) -> bool:
    try:
        throughput.check(ctx, table, is_read=is_read)
    except ServiceError:
        return True
    return False


@operation
async def batch_get_item(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    given: Mapping[str, Members] = req["RequestItems"]
    _check_requests("BatchGetItem", given)
    said = {member for one in given.values() for member, value in one.items() if value is not None}
    if {"ProjectionExpression", "AttributesToGet"} <= said:
        raise messages.mixed(["ProjectionExpression"], ["AttributesToGet"])
    for shown, one in given.items():
        if len(one["Keys"]) > limits.GET_BATCH_MAX.value:
            raise messages.too_many_keys(shown)
    if sum(len(one["Keys"]) for one in given.values()) > limits.GET_BATCH_MAX.value:
        raise messages.invalid("Too many items requested for the BatchGetItem call")
    tables = {shown: _reads(ctx, shown, one) for shown, one in given.items()}

    def run(tx: ReadTransaction) -> _Found:
        for reads in tables.values():
            _check_reads(tx, reads)
        found = _Found({}, {}, {})
        size = 0
        for shown, reads in tables.items():
            size = _read_some(ctx, tx, found, shown, reads, given[shown], size)
        return found

    found = await ctx.store.read(run)
    if not found.costs:
        raise messages.throttled()
    for table, cost in found.costs.values():
        throughput.use(ctx, table, read=cost)
    return {"Responses": found.responses, "UnprocessedKeys": found.left} | _shown_costs(req, found.costs)


@dataclass(slots=True)
class _Found:
    responses: dict[str, list[Item]]
    left: dict[str, Any]
    costs: dict[str, tuple[Table, Cost]]


def _reads(ctx: Context, shown: str, one: Members) -> list[Read]:
    first = items.read_of(ctx, {**one, "TableName": shown, "Key": one["Keys"][0]})
    return [first, *(Read(first.scope, first.name, rules.normal_item(key), first.paths) for key in one["Keys"][1:])]


def _check_reads(tx: ReadTransaction, reads: Sequence[Read]) -> None:
    table = state.get_table(tx, reads[0].scope, reads[0].name)
    keys = {state.item_key(table.schema, rules.checked_key(table, read.key)) for read in reads}
    if len(keys) != len(reads):
        raise messages.invalid(_DUPLICATES)


def _read_some(
    ctx: Context, tx: ReadTransaction, found: _Found, shown: str, reads: Sequence[Read], given: Members, size: int
) -> int:
    """As many as 16 MB hold; the rest stays unprocessed. The bytes so far."""
    table = state.get_table(tx, reads[0].scope, reads[0].name)
    if _is_throttled(ctx, table, is_read=True):
        found.left[shown] = given
        return size
    response, cost = found.responses.setdefault(shown, []), Cost()
    found.costs[shown] = table, cost
    for index, read in enumerate(reads):
        if size >= limits.GET_BATCH_BYTES_MAX.value:
            found.left[shown] = {**given, "Keys": given["Keys"][index:]}
            return size
        _, item, stored = read.get(tx)
        size += stored
        cost.table += rules.read_units(stored, is_consistent=bool(given.get("ConsistentRead")))
        if item is not None:
            response.append(item)
    return size


def _shown_costs(req: Members, costs: Mapping[str, tuple[Table, Cost]]) -> dict[str, Any]:
    how = req.get("ReturnConsumedCapacity")
    if how not in ("TOTAL", "INDEXES"):
        return {}
    return {"ConsumedCapacity": [rules.shown_cost(table, shown, cost, how) for shown, (table, cost) in costs.items()]}
