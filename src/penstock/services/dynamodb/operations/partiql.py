"""PartiQL statements, carried out as the calls that they stand for.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from penstock.engines.expressions import values
from penstock.engines.expressions.errors import BadExpression
from penstock.engines.expressions.evaluate import holds, project
from penstock.engines.expressions.partiql import Change, Exists, Insert, Select, Statement, parse_statement
from penstock.engines.expressions.trees import Call, Literal, Path
from penstock.engines.expressions.values import Item
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.services.dynamodb import messages, rules, state
from penstock.services.dynamodb.operations import items, key_conditions, queries, throughput, transactions
from penstock.services.dynamodb.operations.items import Outcome, Write
from penstock.services.dynamodb.operations.key_conditions import KeyCondition
from penstock.services.dynamodb.operations.named import table_of
from penstock.services.dynamodb.operations.queries import Page, Request
from penstock.services.dynamodb.rules import Cost
from penstock.services.dynamodb.state import Table
from penstock.storage.transactions import ReadTransaction

Members = Mapping[str, Any]
_NO_KEY = "Where clause does not contain a mandatory equality on all key attributes"
_RETURNS = {"ALL_OLD": "ALL_OLD", "ALL_NEW": "ALL_NEW", "MODIFIED_OLD": "UPDATED_OLD", "MODIFIED_NEW": "UPDATED_NEW"}


def parsed(one: Members) -> Statement:
    """Raises ValidationException."""
    try:
        return parse_statement(one["Statement"], one.get("Parameters") or [])
    except BadExpression as error:
        raise messages.invalid(str(error)) from None


@operation
async def execute_statement(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    statement = parsed(req)
    if isinstance(statement, Exists):
        raise messages.invalid("Unsupported operation: EXISTS can be used in transactions only")
    if isinstance(statement, Select):
        return await _select(ctx, req, statement)
    write, returned = await _write_of(ctx, req, statement)
    outcome, cost = await items.carry_out(ctx, write)
    found = returned.of(outcome)
    answer: dict[str, Any] = {"Items": [found] if found else []}
    return answer | _shown_cost(req, outcome.table, cost)


def _shown_cost(req: Members, table: Table, cost: Cost) -> dict[str, Any]:
    shown = rules.shown_cost(table, table.name, cost, req.get("ReturnConsumedCapacity"))
    return {"ConsumedCapacity": shown} if shown is not None else {}


async def _select(ctx: Context, req: Members, select: Select) -> dict[str, Any]:
    start = _start_of(req.get("NextToken"), req)

    def run(tx: ReadTransaction) -> Page:
        request = _request(tx, ctx, req, select)
        table = state.get_table(tx, request.scope, request.name)
        throughput.check(ctx, table, is_read=True)
        return _pages(tx, table, request, start)

    page = await ctx.store.read(run)
    cost = queries.cost_of(page, is_consistent=bool(req.get("ConsistentRead")))
    throughput.use(ctx, page.table, read=cost)
    answer: dict[str, Any] = {"Items": [_selected(item, select.paths) for item in page.items]}
    if page.last_key is not None:
        answer["LastEvaluatedKey"] = page.last_key
        answer["NextToken"] = orjson.dumps([_statement_digest(req), page.last_key], default=values.as_json).hex()
    return answer | _shown_cost(req, page.table, cost)


def _statement_digest(req: Members) -> str:
    return transactions.digest_of([req["Statement"], req.get("Parameters")])


def _start_of(token: str | None, req: Members) -> Item | None:
    if token is None:
        return None
    try:
        told, key = orjson.loads(bytes.fromhex(token))
        if told == _statement_digest(req):
            return values.revived(key)
    except (ValueError, TypeError):
        pass
    raise messages.invalid("Given NextToken is invalid or was given for another statement")


def _pages(tx: ReadTransaction, table: Table, request: "_Wanted", start: Item | None) -> Page:
    """One page, of the partitions that are asked for one after another."""
    joined: Page | None = None
    for query in request.queries:
        if start is not None and query.conditions is not None and not _is_within(table, query, start):
            continue
        left = None if request.limit is None else request.limit - (joined.scanned if joined else 0)
        page = queries.read_page(tx, table, replace(query, start=start, limit=left))
        start = None
        if joined is not None:
            page.items[:0] = joined.items
            page.scanned, page.size = page.scanned + joined.scanned, page.size + joined.size
            page.fetched_units += joined.fetched_units
        joined = page
        if page.last_key is not None:
            break
    assert joined is not None
    return joined


def _is_within(table: Table, query: Request, start: Item) -> bool:
    assert query.conditions is not None
    return all(
        start.get(name) == condition.values[0]
        for name, condition in query.conditions.items()
        if name in table.schema.hash and condition.operator == "="
    )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The queries, or the one scan, that a SELECT stands for."""

    scope: Any
    name: str
    queries: list[Request]
    limit: int | None


def _request(tx: ReadTransaction, ctx: Context, req: Members, select: Select) -> _Wanted:
    scope, name = table_of(ctx, select.table)
    table = state.get_table(tx, scope, name)
    index = table.find_index(select.index) if select.index is not None else None
    if select.index is not None and index is None:
        raise messages.no_index(select.index)
    schema = index.schema if index is not None else table.schema
    request = Request(
        scope,
        name,
        select.index,
        None,
        "Where clause",
        None,
        "ALL_ATTRIBUTES" if index is None else "ALL_PROJECTED_ATTRIBUTES",
        req.get("Limit"),
        None,
        bool(req.get("ConsistentRead")),
    )
    partitions, sort, rest = _split(select.where, schema.hash[0], schema.range[0] if schema.range else "")
    request.filter = rest
    request.is_filter_of_keys_allowed = True
    if select.order:
        if not partitions:
            raise messages.invalid("Must have WHERE clause in the statement when using ORDER BY clause.")
        if any(attribute not in schema.names for attribute, _ in select.order):
            raise messages.invalid("Variable in ORDER BY clause is not part of the primary key")
        request.is_forward = not select.order[-1][1]
    if not partitions or len(schema.hash) > 1:
        request.filter = select.where
        return _Wanted(scope, name, [request], req.get("Limit"))
    found = [replace(request, conditions={schema.hash[0]: KeyCondition("=", (value,))} | sort) for value in partitions]
    return _Wanted(scope, name, found, req.get("Limit"))


def _conjuncts(tree: Call | None) -> Iterator[Call]:
    if tree is None:
        return
    if tree.name == "AND":
        for argument in tree.arguments:
            yield from _conjuncts(argument)
    else:
        yield tree


def _split(
    where: Call | None, partition: str, sort: str
) -> tuple[list[Mapping[str, Any]], dict[str, KeyCondition], Call | None]:
    """The partition key's values, the condition on the sort key, and what is left to filter by."""
    partitions: list[Mapping[str, Any]] = []
    found: dict[str, KeyCondition] = {}
    rest: Call | None = None
    for call in _conjuncts(where):
        if not partitions and call.name in ("=", "IN") and call.arguments[0] == Path((partition,)):
            partitions = [argument.value for argument in call.arguments[1:] if isinstance(argument, Literal)]
            if len(partitions) == len(call.arguments) - 1:
                continue
            partitions = []
        try:
            told = key_conditions.conditions_of(call)
        except BadExpression:
            told = {}
        if sort and sort not in found and list(told) == [sort]:
            found |= told
        else:
            rest = call if rest is None else Call("AND", (rest, call))
    return partitions, found, rest


def _selected(item: Item, paths: list[Path] | None) -> Item:
    """Each path's value under its own last name, as PartiQL names it."""
    if paths is None:
        return item
    found: Item = {}
    for path in paths:
        part: Any = project(item, [path])
        if part:
            value: Any = {"M": part}
            for step in path.steps:
                value = value["M"][step] if isinstance(step, str) else value["L"][0]
            found[next(str(step) for step in reversed(path.steps) if isinstance(step, str))] = value
    return found


@dataclass(frozen=True, slots=True)
class _Returned:
    """What a statement's RETURNING asks for."""

    how: str
    change: Change | None

    def of(self, outcome: Outcome) -> Item | None:
        update = self.change.update if self.change is not None else None
        return items.returned(_RETURNS.get(self.how), outcome, update)


async def _write_of(ctx: Context, req: Members, statement: Insert | Change) -> tuple[Write, _Returned]:
    return await ctx.store.read(lambda tx: write_of(tx, ctx, req, statement))


def write_of(tx: ReadTransaction, ctx: Context, req: Members, statement: Insert | Change) -> tuple[Write, _Returned]:
    """The statement as a write. Raises ValidationException, ResourceNotFoundException."""
    scope, name = table_of(ctx, statement.table)
    table = state.get_table(tx, scope, name)
    shows_item = req.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
    if isinstance(statement, Insert):
        item = rules.normal_item(statement.item)

        def insert(table: Table, key: Item, old: Item | None) -> Item | None:
            if old is not None:
                raise messages.duplicate_item()
            return item

        return Write(scope, name, item, None, insert, shows_item, is_whole=True), _Returned("", None)
    key, condition = _key_and_condition(table, statement.where)
    update = statement.update
    if update is None:
        if statement.returning not in ("", "ALL_OLD"):
            raise messages.invalid("RETURNING of a DELETE statement can only be ALL OLD *")
        return (
            Write(scope, name, key, condition, lambda table, key, old: None, shows_item),
            _Returned(statement.returning, statement),
        )
    there = Call("attribute_exists", (Path((table.schema.hash[0],)),))
    must = there if condition is None else Call("AND", (there, condition))
    write = Write(scope, name, key, must, items.updater(update), shows_item)
    return write, _Returned(statement.returning, statement)


def _key_and_condition(table: Table, where: Call | None) -> tuple[Item, Call | None]:
    key: Item = {}
    rest: Call | None = None
    for call in _conjuncts(where):
        first = call.arguments[0]
        name = first.steps[0] if isinstance(first, Path) and len(first.steps) == 1 else None
        is_key = name in table.schema.names and name not in key and call.name == "="
        if is_key and isinstance(call.arguments[1], Literal):
            key[str(name)] = dict(call.arguments[1].value)
            continue
        rest = call if rest is None else Call("AND", (rest, call))
    if len(key) < len(table.schema.names):
        raise messages.invalid(_NO_KEY)
    return key, rest


@operation
async def batch_execute_statement(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Each for itself; one that fails says so in its place."""
    statements = [_parsed_or_error(one) for one in req["Statements"]]
    good = [one for one in statements if not isinstance(one, ServiceError)]
    if len({isinstance(one, Select) for one in good}) > 1:
        raise messages.invalid("All statements of a batch must be reads, or all must be writes")
    responses: list[dict[str, Any]] = []
    costs: list[dict[str, Any]] = []
    for one, statement in zip(req["Statements"], statements, strict=True):
        members = {**one, "ReturnConsumedCapacity": req.get("ReturnConsumedCapacity")}
        try:
            if isinstance(statement, ServiceError):
                raise statement
            if isinstance(statement, Select):
                await ctx.store.read(lambda tx, s=statement: _check_single(tx, ctx, s))  # type: ignore[misc]
            answer = await execute_statement(ctx, members)
        except ServiceError as error:
            responses.append({"Error": _shown_error(error)})
            continue
        found = answer["Items"]
        table = "" if isinstance(statement, ServiceError | Exists) else statement.table
        responses.append({"TableName": table} | ({"Item": found[0]} if found else {}))
        if "ConsumedCapacity" in answer:
            costs.append(answer["ConsumedCapacity"])
    return {"Responses": responses} | ({"ConsumedCapacity": costs} if costs else {})


def _parsed_or_error(one: Members) -> Statement | ServiceError:
    try:
        return parsed(one)
    except ServiceError as error:
        return error


def _shown_error(error: ServiceError) -> dict[str, Any]:
    code = {"ValidationException": "ValidationError", "ThrottlingException": "ThrottlingError"}.get(
        error.code, error.code.removesuffix("Exception")
    )
    return {"Code": code, "Message": error.message, **error.fields}


def _check_single(tx: ReadTransaction, ctx: Context, select: Select) -> tuple[Table, Item, Call | None]:
    scope, name = table_of(ctx, select.table)
    table = state.get_table(tx, scope, name)
    try:
        key, rest = _key_and_condition(table, select.where)
    except ServiceError:
        raise messages.invalid(
            "Select statements within BatchExecuteStatement must specify the primary key in the where clause."
        ) from None
    return table, key, rest


@operation
async def execute_transaction(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """All reads, or all writes and checks."""
    given = req["TransactStatements"]
    statements = [parsed(one) for one in given]
    if len({isinstance(one, Select) for one in statements}) > 1:
        raise messages.invalid("A transaction's statements must be all reads, or all writes and EXISTS")
    if any(isinstance(one, Change) and one.returning for one in statements):
        raise messages.invalid("RETURNING clause is not supported in a transaction")
    token = req.get("ClientRequestToken")
    costs: transactions.Costs = {}
    if isinstance(statements[0], Select):
        found = await ctx.store.read(lambda tx: transactions.decided(lambda s: _get(tx, ctx, s), statements))
        for table, _, size in found:
            cost = Cost(rules.read_units(size, is_consistent=True))
            costs.setdefault(table.name, (table, Cost()))[1].add(cost, transactions.FACTOR)
        responses = [{"Item": item} if item is not None else {} for _, item, _ in found]
        return {"Responses": responses} | transactions.shown_costs(req, costs, "Read")

    def prepare(tx: ReadTransaction) -> list[tuple[Write, _Returned]]:
        return [_step(tx, ctx, one, statement) for one, statement in zip(given, statements, strict=True)]

    steps = await ctx.store.read(prepare)
    digest = transactions.digest_of(given) if token else ""
    outcomes, is_repeated = await transactions.write_all(ctx, [write for write, _ in steps], token=token, digest=digest)
    responses = []
    for (_, returned), (outcome, cost) in zip(steps, outcomes, strict=True):
        item = returned.of(outcome)
        responses.append({"Item": item} if item else {})
        costs.setdefault(outcome.table.name, (outcome.table, Cost()))[1].add(cost, transactions.FACTOR)
    return {"Responses": responses} | transactions.shown_costs(req, costs, "Read" if is_repeated else "Write")


def _get(tx: ReadTransaction, ctx: Context, select: Select) -> tuple[Table, Item | None, int]:
    scope, name = table_of(ctx, select.table)
    table, key, rest = _check_single(tx, ctx, select)
    read = items.Read(scope, name, key, None)
    _, item, size = read.get(tx)
    if item is None or (rest is not None and not holds(rest, item)):
        return table, None, size
    return table, _selected(item, select.paths), size


def _step(tx: ReadTransaction, ctx: Context, one: Members, statement: Statement) -> tuple[Write, _Returned]:
    if isinstance(statement, Exists):
        scope, name = table_of(ctx, statement.select.table)
        table, key, rest = _check_single(tx, ctx, statement.select)
        there = Call("attribute_exists", (Path((table.schema.hash[0],)),))
        must = there if rest is None else Call("AND", (there, rest))
        return Write(scope, name, key, must, lambda table, key, old: old, is_check=True), _Returned("", None)
    assert isinstance(statement, Insert | Change)
    return write_of(tx, ctx, one, statement)
