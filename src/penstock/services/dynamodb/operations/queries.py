"""Query and Scan: pages of items, of a table or of an index."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.engines.expressions import values
from penstock.engines.expressions.errors import BadExpression
from penstock.engines.expressions.evaluate import holds, project
from penstock.engines.expressions.trees import Call, Path, paths_of
from penstock.engines.expressions.values import Item
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.scope import Scope
from penstock.services.dynamodb import limits, messages, rules, state
from penstock.services.dynamodb.operations import legacy, requests, throughput
from penstock.services.dynamodb.operations.key_conditions import KeyCondition, KeyRange, conditions_of, range_of
from penstock.services.dynamodb.operations.named import table_of
from penstock.services.dynamodb.operations.requests import Expressions
from penstock.services.dynamodb.rules import Cost
from penstock.services.dynamodb.state import Index, Schema, Table
from penstock.storage.transactions import Key, ReadTransaction

Members = Mapping[str, Any]
_HASHES = 2**32


@dataclass(slots=True)
class Request:
    """A Query or Scan, parsed. conditions None: a Scan; segment: which of how many."""

    scope: Scope
    name: str
    index_name: str | None
    filter: Call | None
    filter_member: str
    paths: list[Path] | None
    select: str
    limit: int | None
    start: Item | None
    is_consistent: bool
    conditions: dict[str, KeyCondition] | None = None
    is_forward: bool = True
    segment: tuple[int, int] = (0, 1)
    is_filter_of_keys_allowed: bool = False


@dataclass(slots=True)
class Page:
    table: Table
    index: Index | None
    items: list[Item] = field(default_factory=list)
    count: int = 0
    scanned: int = 0
    last_key: Item | None = None
    size: int = 0
    fetched_units: float = 0.0


@operation
async def query(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    expressions = Expressions(
        req,
        ("ProjectionExpression", "FilterExpression", "KeyConditionExpression"),
        ("AttributesToGet", "QueryFilter", "ConditionalOperator", "KeyConditions"),
    )
    request = _request(ctx, req, expressions, "QueryFilter")
    request.conditions = _conditions(req, expressions)
    expressions.finish()
    request.is_forward = req.get("ScanIndexForward") is not False
    return await _answer(ctx, req, request)


def _conditions(req: Members, expressions: Expressions) -> dict[str, KeyCondition]:
    if req.get("KeyConditionExpression") is None and req.get("KeyConditions") is None:
        raise messages.invalid(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."
        )
    tree = expressions.condition("KeyConditionExpression")
    if tree is None:
        return legacy.key_conditions(req)
    try:
        return conditions_of(tree)
    except BadExpression as error:
        raise requests.bad("KeyConditionExpression", error) from None


@operation
async def scan(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    expressions = Expressions(
        req,
        ("ProjectionExpression", "FilterExpression"),
        ("AttributesToGet", "ScanFilter", "ConditionalOperator"),
    )
    request = _request(ctx, req, expressions, "ScanFilter")
    expressions.finish()
    request.segment = _segment(req)
    return await _answer(ctx, req, request)


def _segment(req: Members) -> tuple[int, int]:
    segment, count = req.get("Segment"), req.get("TotalSegments")
    if segment is None and count is None:
        return 0, 1
    if count is None:
        raise messages.invalid(
            "The TotalSegments parameter is required but was not present in the request when Segment parameter is "
            "present"
        )
    if segment is None:
        raise messages.invalid(
            "The Segment parameter is required but was not present in the request when parameter TotalSegments is "
            "present"
        )
    if segment >= count:
        raise messages.invalid(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: "
            f"{segment} is not less than TotalSegments: {count}"
        )
    return segment, count


def _request(ctx: Context, req: Members, expressions: Expressions, filter_member: str) -> Request:
    scope, name = table_of(ctx, req["TableName"])
    paths = expressions.projection()
    tree = expressions.condition("FilterExpression")
    if tree is None:
        tree = legacy.filter_of(req, filter_member)
    start = req.get("ExclusiveStartKey")
    return Request(
        scope,
        name,
        req.get("IndexName"),
        tree,
        "Filter Expression" if req.get("FilterExpression") is not None else filter_member,
        paths,
        _select(req, has_paths=paths is not None),
        req.get("Limit"),
        _start(start) if start is not None else None,
        bool(req.get("ConsistentRead")),
    )


def _start(given: Members) -> Item:
    try:
        return values.normal_item(given)
    except BadExpression as error:
        raise messages.invalid(f"The provided starting key is invalid: {error}") from None


def _select(req: Members, *, has_paths: bool) -> str:
    select: str | None = req.get("Select")
    if has_paths:
        member = "ProjectionExpression" if req.get("ProjectionExpression") is not None else "AttributesToGet"
        if select == "COUNT":
            raise messages.invalid(f"Cannot specify the {member} when choosing to get only the Count")
        if select not in (None, "SPECIFIC_ATTRIBUTES"):
            raise messages.invalid(f"Cannot specify the {member} when choosing to get {select}")
        return "SPECIFIC_ATTRIBUTES"
    if select == "SPECIFIC_ATTRIBUTES":
        raise messages.invalid(
            "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES"
        )
    if select == "ALL_PROJECTED_ATTRIBUTES" and req.get("IndexName") is None:
        raise messages.invalid("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName")
    return select or ("ALL_ATTRIBUTES" if req.get("IndexName") is None else "ALL_PROJECTED_ATTRIBUTES")


async def _answer(ctx: Context, req: Members, request: Request) -> dict[str, Any]:
    def run(tx: ReadTransaction) -> Page:
        table = state.get_table(tx, request.scope, request.name)
        page = read_page(tx, table, request)
        throughput.check(ctx, table, is_read=True)
        return page

    page = await ctx.store.read(run)
    cost = cost_of(page, is_consistent=request.is_consistent)
    throughput.use(ctx, page.table, read=cost)
    answer: dict[str, Any] = {"Count": page.count, "ScannedCount": page.scanned}
    if request.select != "COUNT":
        answer["Items"] = page.items
    if page.last_key is not None:
        answer["LastEvaluatedKey"] = page.last_key
    shown = rules.shown_cost(page.table, req["TableName"], cost, req.get("ReturnConsumedCapacity"))
    return answer | ({"ConsumedCapacity": shown} if shown is not None else {})


def cost_of(page: Page, *, is_consistent: bool) -> Cost:
    units = rules.read_units(page.size, is_consistent=is_consistent)
    if page.index is None:
        return Cost(units)
    return Cost(page.fetched_units, {page.index.name: units})


def read_page(tx: ReadTransaction, table: Table, request: Request) -> Page:
    """Raises ValidationException for what doesn't fit the table."""
    index = _index(table, request)
    schema = index.schema if index is not None else table.schema
    wanted = range_of(schema, table.types, request.conditions) if request.conditions is not None else None
    if wanted is not None and not request.is_filter_of_keys_allowed:
        _check_filter(request, schema)
    needs_item = _needs_item(table, index, request)
    if request.start is not None:
        _check_start(table, index, request, wanted)
    page = Page(table, index)
    last: Item = {}
    for place, data in _rows(tx, table, index, request, wanted):
        if request.limit is not None and page.scanned >= request.limit:
            break
        size = values.stored_size(data)
        if page.scanned and page.size + size > limits.PAGE_BYTES_MAX.value:
            page.last_key = _key_of(table, index, last)
            return page
        last = values.decode(data)
        page.scanned += 1
        page.size += size
        item = last
        if needs_item:
            item = _whole(tx, table, place, page, is_consistent=request.is_consistent)
        if request.filter is None or holds(request.filter, item):
            page.count += 1
            if request.select != "COUNT":
                page.items.append(project(item, request.paths) if request.paths is not None else item)
    if request.limit is not None and page.scanned >= request.limit:
        page.last_key = _key_of(table, index, last)
    return page


def _whole(tx: ReadTransaction, table: Table, place: Key, page: Page, *, is_consistent: bool) -> Item:
    """The item of a local index's entry, for attributes that the index doesn't have."""
    key = place[-len(table.schema.names) :]
    data = tx.get((*state.ITEMS, table.key, state.hash_of(key[: len(table.schema.hash)]), *key))
    assert data is not None, "a local index's entry has its item"
    page.fetched_units += rules.read_units(values.stored_size(data), is_consistent=is_consistent)
    return values.decode(data)


def _index(table: Table, request: Request) -> Index | None:
    name = request.index_name
    if name is None:
        return None
    index = table.find_index(name)
    if index is None:
        raise messages.no_index(name)
    if index.is_local:
        return index
    if request.is_consistent:
        raise messages.invalid("Consistent reads are not supported on global secondary indexes")
    if index.status == "CREATING":
        raise messages.invalid(f"Cannot read from backfilling global secondary index: {name}")
    if request.select == "ALL_ATTRIBUTES" and index.projection != "ALL":
        raise messages.wrong(
            f"Select type ALL_ATTRIBUTES is not supported for global secondary index {name} because its projection "
            "type is not ALL"
        )
    return index


def _check_filter(request: Request, schema: Schema) -> None:
    for path in paths_of(request.filter):
        if path.steps[0] in schema.names:
            raise messages.invalid(
                f"{request.filter_member} can only contain non-primary key attributes: Primary key attribute: "
                f"{path.steps[0]}"
            )


def _needs_item(table: Table, index: Index | None, request: Request) -> bool:
    """Whether items must be fetched beside a local index's entries; a global one can't."""
    if index is None or index.projection == "ALL":
        return False
    wanted = [str(path.steps[0]) for path in request.paths or ()]
    missing = [name for name in dict.fromkeys(wanted) if not rules.projects(table, index, name)]
    filtered = [str(path.steps[0]) for path in paths_of(request.filter)]
    unseen = [name for name in dict.fromkeys(filtered) if not rules.projects(table, index, name)]
    if not index.is_local:
        if missing:
            raise messages.wrong(f"Global secondary index {index.name} does not project [{', '.join(missing)}]")
        if unseen:
            raise messages.wrong(
                f"Global secondary index {index.name} does not project one or more filter attributes: "
                f"[{', '.join(unseen)}]"
            )
        return False
    return bool(missing or unseen) or request.select == "ALL_ATTRIBUTES"


def _check_start(table: Table, index: Index | None, request: Request, wanted: KeyRange | None) -> None:
    start = request.start
    assert start is not None
    names = dict.fromkeys([*table.schema.names, *(index.schema.names if index is not None else ())])
    if wanted is not None and start.keys() != names.keys():
        raise messages.invalid("The provided starting key is invalid")
    if len(start) != len(names) or any(name not in start or table.types[name] not in start[name] for name in names):
        told = "" if index is not None else ": The provided key element does not match the schema"
        raise messages.invalid(f"The provided starting key is invalid{told}")
    if wanted is not None:
        wanted.check_start(start)
        return
    segment, count = request.segment
    low, high = _segment_bounds(segment, count)
    if not low <= _place(table, index, start)[0] < high:  # type: ignore[operator]  # the hash is an int
        raise messages.invalid(
            "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with "
            f"correct Segment. TotalSegments: {count} Segment: {segment}"
        )


def _segment_bounds(segment: int, count: int) -> tuple[int, int]:
    return segment * _HASHES // count, (segment + 1) * _HASHES // count


def _place(table: Table, index: Index | None, key: Item) -> Key:
    own = state.item_key(table.schema, key)
    return own if index is None else (*state.item_key(index.schema, key), *own[1:])


def _rows(
    tx: ReadTransaction, table: Table, index: Index | None, request: Request, wanted: KeyRange | None
) -> Iterator[tuple[Key, bytes]]:
    prefix: Key = (*state.ITEMS, table.key) if index is None else (*state.ENTRIES, index.key)
    below = wanted.head if wanted is not None else ()
    begin: Key | None = None
    end: Key | None = None
    if wanted is not None:
        begin = (*prefix, *wanted.begin) if wanted.begin is not None else None
        end = (*prefix, *wanted.end) if wanted.end is not None else None
    elif request.segment[1] > 1:
        low, high = _segment_bounds(*request.segment)
        begin, end = (*prefix, low), (*prefix, high)
    if request.start is not None:
        # It lies within the bounds, so it takes the place of one.
        place = (*prefix, *_place(table, index, request.start))
        if request.is_forward:
            begin = (*place, None)
        else:
            end = place
    return tx.range((*prefix, *below), begin=begin, end=end, reverse=not request.is_forward)


def _key_of(table: Table, index: Index | None, item: Item) -> Item:
    names = dict.fromkeys([*table.schema.names, *(index.schema.names if index is not None else ())])
    return {name: item[name] for name in names}
