"""Items: put, got, updated, deleted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.engines.expressions.errors import BadExpression
from penstock.engines.expressions.evaluate import Refused, apply, get, holds, project
from penstock.engines.expressions.trees import Call, Path, Update
from penstock.engines.expressions.values import DEPTH_MAX, Item, depth_of, size_of_item
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.scope import Scope
from penstock.services.dynamodb import limits, messages, rules, state
from penstock.services.dynamodb.operations import changes, legacy, throughput
from penstock.services.dynamodb.operations.changes import Stored
from penstock.services.dynamodb.operations.named import table_of
from penstock.services.dynamodb.operations.requests import Expressions
from penstock.services.dynamodb.rules import Cost
from penstock.services.dynamodb.state import Table
from penstock.storage.transactions import ReadTransaction, Transaction

Members = Mapping[str, Any]
_SAYING = frozenset(
    (
        *("ConditionExpression", "ProjectionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues"),
        *("Expected", "ConditionalOperator", "AttributesToGet"),
    )
)
"""Members by which a request says more than which item; most say nothing."""


@dataclass(slots=True)
class Outcome:
    """A write that is decided: what was there, what will be and its size."""

    table: Table
    stored: Stored
    old: Item | None
    new: Item | None
    size: int = 0


@dataclass(slots=True)
class Write:
    """A write as it was asked for, parsed: its table, what must hold, and what becomes of the item.

    make        the item that is to be, of the table, the item's key and what is there
    is_whole    whether `given` is a whole item; else it is a key
    size        of a whole item, where it is known
    """

    scope: Scope
    name: str
    given: Item
    condition: Call | None
    make: Callable[[Table, Item, Item | None], Item | None]
    shows_item: bool = False
    is_whole: bool = False
    is_check: bool = False
    size: int = 0

    def decide(self, tx: ReadTransaction) -> Outcome:
        """Raises ConditionalCheckFailedException, ValidationException, ResourceNotFoundException."""
        table = state.get_table(tx, self.scope, self.name)
        if self.is_whole:
            rules.check_item(table, self.given)
            key = self.given
        else:
            key = rules.checked_key(table, self.given)
        stored = changes.look(tx, table, key)
        old = stored.item
        if self.condition is not None and not holds(self.condition, old or {}):
            raise messages.condition_failed(old if self.shows_item else None)
        new = old if self.is_check else self.make(table, key, old)
        if new is None or new is old:
            return Outcome(table, stored, old, new, stored.size if new is not None else 0)
        size = self.size or size_of_item(new)
        if size > limits.ITEM_BYTES_MAX.value:
            raise messages.item_too_large(is_update=not self.is_whole)
        return Outcome(table, stored, old, new, size)

    def repeated(self, tx: ReadTransaction) -> Outcome:
        """What is there now, for a transaction that was carried out before."""
        table = state.get_table(tx, self.scope, self.name)
        stored = changes.look(tx, table, self.given)
        return Outcome(table, stored, stored.item, stored.item)

    def carry_out(self, tx: Transaction, outcome: Outcome, *, now_ms: int) -> Cost:
        stored, old, new = outcome.stored, outcome.old, outcome.new
        return changes.apply(tx, self.scope, outcome.table, stored, old, new, size=outcome.size, now_ms=now_ms)


def put_of(ctx: Context, req: Members) -> Write:
    """PutItem, or a Put of a transaction. Raises ValidationException."""
    scope, name = table_of(ctx, req["TableName"])
    item, size = rules.measured_item(req["Item"])
    condition = _condition(req)
    if size > limits.ITEM_BYTES_MAX.value:
        raise messages.item_too_large()
    return Write(scope, name, item, condition, lambda table, key, old: item, _shows_item(req), is_whole=True, size=size)


def delete_of(ctx: Context, req: Members) -> Write:
    scope, name = table_of(ctx, req["TableName"])
    key = rules.normal_item(req["Key"])
    return Write(scope, name, key, _condition(req), lambda table, key, old: None, _shows_item(req))


def check_of(ctx: Context, req: Members) -> Write:
    """A ConditionCheck of a transaction."""
    scope, name = table_of(ctx, req["TableName"])
    key = rules.normal_item(req["Key"])
    write = Write(scope, name, key, _condition(req), lambda table, key, old: old, _shows_item(req))
    write.is_check = True
    return write


def update_of(ctx: Context, req: Members) -> tuple[Write, Update | None]:
    scope, name = table_of(ctx, req["TableName"])
    key = rules.normal_item(req["Key"])
    expressions = Expressions(
        req, ("UpdateExpression", "ConditionExpression"), ("AttributeUpdates", "Expected", "ConditionalOperator")
    )
    update, condition = expressions.update(), expressions.condition()
    expressions.finish()
    if update is None:
        update = legacy.updates(req)
    if condition is None:
        condition = legacy.expected(req)
    return Write(scope, name, key, condition, updater(update), _shows_item(req)), update


def updater(update: Update | None) -> Callable[[Table, Item, Item | None], Item | None]:
    """What an update makes of an item. One that only takes away makes no item where there was none."""
    return lambda table, key, old: _updated(table, key, old, update)


def _updated(table: Table, key: Item, old: Item | None, update: Update | None) -> Item | None:
    if update is None:
        return dict(key) if old is None else old
    keys = table.schema.names
    for path in update.paths:
        if path.steps[0] in keys:
            raise messages.key_update(str(path.steps[0]))
    if old is None and not update.sets and not update.adds and update.paths:
        return None
    try:
        new = apply(update, old if old is not None else {})
    except Refused as error:
        raise messages.invalid(str(error)) from None
    except BadExpression as error:
        raise messages.invalid(str(error)) from None
    if old is None:
        new = {**key, **new}
    for path, _ in update.sets:
        value = get(new, path) if len(path.steps) > 1 else None
        if value is not None and len(path.steps) - 1 + depth_of(value) > DEPTH_MAX:
            raise messages.too_deep()
    if table.indexes:
        _check_index_update(table, update, old or {}, new)
    return new


def _check_index_update(table: Table, update: Update, old: Item, new: Item) -> None:
    """Of the attributes that change: what was wrong before there was an index may stay."""
    written = {path.steps[0] for path, _ in [*update.sets, *update.adds]}
    for index in rules.named_in_order(table):
        for name in index.schema.names:
            if name in written and name in new and table.types[name] not in new[name]:
                raise messages.invalid(
                    "The update expression attempted to update the secondary index key to unsupported type"
                )
            if name in written and name in new and new[name] in ({"S": ""}, {"B": b""}):
                raise messages.empty_index_key(name, table.types[name], index.name, is_update=True)
    changed = {name: value for name, value in new.items() if old.get(name) != value}
    rules.check_index_keys(table, changed)


def _condition(req: Members) -> Call | None:
    if _SAYING.isdisjoint(req):
        return None
    expressions = Expressions(req, ("ConditionExpression",), ("Expected", "ConditionalOperator"))
    condition = expressions.condition()
    expressions.finish()
    return condition if condition is not None else legacy.expected(req)


def _shows_item(req: Members) -> bool:
    return bool(req.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD")


@operation
async def put_item(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    if req.get("ReturnValues") not in (None, "NONE", "ALL_OLD"):
        raise messages.invalid("ReturnValues can only be ALL_OLD or NONE")
    write = put_of(ctx, req)
    outcome, cost = await carry_out(ctx, write)
    return _answer(req, outcome, cost, outcome.old if req.get("ReturnValues") == "ALL_OLD" else None)


@operation
async def delete_item(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    if req.get("ReturnValues") not in (None, "NONE", "ALL_OLD"):
        raise messages.invalid("ReturnValues can only be ALL_OLD or NONE")
    write = delete_of(ctx, req)
    outcome, cost = await carry_out(ctx, write)
    return _answer(req, outcome, cost, outcome.old if req.get("ReturnValues") == "ALL_OLD" else None)


@operation
async def update_item(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    write, update = update_of(ctx, req)
    outcome, cost = await carry_out(ctx, write)
    return _answer(req, outcome, cost, returned(req.get("ReturnValues"), outcome, update))


def returned(how: str | None, outcome: Outcome, update: Update | None) -> Item | None:
    if how in (None, "NONE"):
        return None
    source = outcome.old if how in ("ALL_OLD", "UPDATED_OLD") else outcome.new
    if source is None or how in ("ALL_OLD", "ALL_NEW"):
        return source
    return project(source, update.paths) if update is not None else None


async def carry_out(ctx: Context, write: Write) -> tuple[Outcome, Cost]:
    now_ms = ctx.clock.now_ms()

    def run(tx: Transaction) -> tuple[Outcome, Cost]:
        outcome = write.decide(tx)
        throughput.check(ctx, outcome.table)
        return outcome, write.carry_out(tx, outcome, now_ms=now_ms)

    outcome, cost = await ctx.store.transact(run)
    throughput.use(ctx, outcome.table, write=cost)
    return outcome, cost


def _answer(req: Members, outcome: Outcome, cost: Cost, attributes: Item | None) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    if attributes:
        answer["Attributes"] = attributes
    shown = rules.shown_cost(outcome.table, req["TableName"], cost, req.get("ReturnConsumedCapacity"))
    if shown is not None:
        answer["ConsumedCapacity"] = shown
    if req.get("ReturnItemCollectionMetrics") == "SIZE":
        metrics = collection_metrics(outcome)
        if metrics is not None:
            answer["ItemCollectionMetrics"] = metrics
    return answer


def collection_metrics(outcome: Outcome) -> dict[str, Any] | None:
    """Only tables with local indexes have item collections. The estimate is AWS's range for a small one."""
    if not any(index.is_local for index in outcome.table.indexes):
        return None
    item = outcome.new if outcome.new is not None else outcome.old
    if item is None:
        return None
    [name] = outcome.table.schema.hash
    return {"ItemCollectionKey": {name: item[name]}, "SizeEstimateRangeGB": [0.0, 1.0]}


@dataclass(slots=True)
class Read:
    """A read of one item as it was asked for."""

    scope: Scope
    name: str
    key: Item
    paths: list[Path] | None

    def get(self, tx: ReadTransaction) -> tuple[Table, Item | None, int]:
        """The table, the item's wanted parts and its size. Raises ValidationException, ResourceNotFoundException."""
        table = state.get_table(tx, self.scope, self.name)
        stored = changes.look(tx, table, rules.checked_key(table, self.key))
        item = stored.item
        if item is not None and self.paths is not None:
            return table, project(item, self.paths), stored.size
        return table, item, stored.size


def read_of(ctx: Context, req: Members) -> Read:
    """GetItem, or a Get of a transaction. Raises ValidationException."""
    scope, name = table_of(ctx, req["TableName"])
    paths = None
    if not _SAYING.isdisjoint(req):
        expressions = Expressions(req, ("ProjectionExpression",), ("AttributesToGet",))
        paths = expressions.projection()
        expressions.finish()
    return Read(scope, name, rules.normal_item(req["Key"]), paths)


@operation
async def get_item(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    read = read_of(ctx, req)

    def run(tx: ReadTransaction) -> tuple[Table, Item | None, int]:
        found = read.get(tx)
        throughput.check(ctx, found[0], is_read=True)
        return found

    table, item, size = await ctx.store.read(run)
    cost = Cost(rules.read_units(size, is_consistent=bool(req.get("ConsistentRead"))))
    throughput.use(ctx, table, read=cost)
    answer: dict[str, Any] = {}
    if item is not None:
        answer["Item"] = item
    shown = rules.shown_cost(table, req["TableName"], cost, req.get("ReturnConsumedCapacity"))
    return answer | ({"ConsumedCapacity": shown} if shown is not None else {})
