"""UpdateTable: capacity, indexes, streams and settings of a table that is there."""

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.engines.expressions import values
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.dynamodb import limits, messages, state
from penstock.services.dynamodb.operations import changes, schemas, table_streams, tables
from penstock.services.dynamodb.operations.descriptions import described
from penstock.services.dynamodb.operations.named import table_of
from penstock.services.dynamodb.state import Index, Table
from penstock.storage import outbox
from penstock.storage.keys import pack, unpack
from penstock.storage.transactions import Transaction

BACKFILL = "dynamodb.backfill"
Members = Mapping[str, Any]
_CHANGES = (
    *("ProvisionedThroughput", "BillingMode", "StreamSpecification", "GlobalSecondaryIndexUpdates"),
    *("SSESpecification", "ReplicaUpdates", "TableClass", "DeletionProtectionEnabled", "OnDemandThroughput"),
    *("WarmThroughput", "GlobalTableWitnessUpdates", "MultiRegionConsistency"),
)


@operation
async def update_table(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = table_of(ctx, req["TableName"])
    now_ms = ctx.clock.now_ms()
    if all(req.get(member) is None or req[member] == [] for member in _CHANGES):
        raise messages.invalid(
            "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or "
            "SSESpecification or ReplicaUpdates is required"
        )
    if req.get("ReplicaUpdates") or req.get("GlobalTableWitnessUpdates"):
        raise messages.invalid("Replicas in other regions are not built: a Penstock node is one region's")
    stream_key = schemas.new_key(ctx)

    def update(tx: Transaction) -> dict[str, Any]:
        table = state.edit_table(tx, scope, name)
        if table.status != "ACTIVE":
            raise messages.in_use(name)
        _change_capacity(table, req, now_ms)
        _change_settings(ctx, table, req)
        stream = req.get("StreamSpecification")
        if stream is not None and req.get("ProvisionedThroughput") is not None:
            raise messages.wrong("You cannot modify stream status while updating table IOPS")
        if stream is not None:
            view = table_streams.checked_view(stream)
            if view:
                table_streams.enable(tx, scope, table, view, stream_key, now_ms)
            else:
                table_streams.disable(tx, scope, table, now_ms)
        shown = _change_indexes(ctx, tx, scope, table, req, now_ms)
        state.put_table(tx, scope, table)
        answer = described(tx, scope, table, status="UPDATING")
        for index in answer.get("GlobalSecondaryIndexes", ()):
            index["IndexStatus"] = shown.get(index["IndexName"], index["IndexStatus"])
        return answer

    return {"TableDescription": await ctx.store.transact(update)}


def _change_capacity(table: Table, req: Members, now_ms: int) -> None:
    billing = req.get("BillingMode")
    given = req.get("ProvisionedThroughput")
    if billing == "PAY_PER_REQUEST":
        schemas.check_on_demand(req)
        table.billing, table.on_demand_ms, table.is_billing_stated = billing, now_ms, True
        table.read_units = table.write_units = 0
        for index in table.indexes:
            index.read_units = index.write_units = 0
        return
    if billing == "PROVISIONED" and table.billing != billing:
        table.read_units, table.write_units = schemas.units_of(req, "table")
        table.billing, table.is_billing_stated = billing, True
        return
    if given is None:
        return
    if table.billing == "PAY_PER_REQUEST":
        schemas.check_on_demand(req)
    reads, writes = given["ReadCapacityUnits"], given["WriteCapacityUnits"]
    if (reads, writes) == (table.read_units, table.write_units):
        raise messages.invalid(
            "The provisioned throughput for the table will not change. The requested value equals the current value. "
            f"Current ReadCapacityUnits provisioned for the table: {table.read_units}. Requested ReadCapacityUnits: "
            f"{reads}. Current WriteCapacityUnits provisioned for the table: {table.write_units}. Requested "
            f"WriteCapacityUnits: {writes}. Refer to the Amazon DynamoDB Developer Guide for current limits and how to "
            "request higher limits."
        )
    if reads > table.read_units or writes > table.write_units:
        table.increased_ms = now_ms
    if reads < table.read_units or writes < table.write_units:
        table.decreased_ms, table.decreases = now_ms, table.decreases + 1
    table.read_units, table.write_units = reads, writes


def _change_settings(ctx: Context, table: Table, req: Members) -> None:
    if req.get("DeletionProtectionEnabled") is not None:
        table.is_protected = req["DeletionProtectionEnabled"]
    if req.get("TableClass"):
        table.table_class = req["TableClass"]
    if req.get("SSESpecification") is not None:
        table.encryption = tables.encryption_of(ctx, req["SSESpecification"])
    if req.get("OnDemandThroughput") is not None:
        table.throughput = dict(req["OnDemandThroughput"])
    if req.get("WarmThroughput") is not None:
        table.warm = dict(req["WarmThroughput"])


def _change_indexes(
    ctx: Context, tx: Transaction, scope: Scope, table: Table, req: Members, now_ms: int
) -> dict[str, str]:
    """What each changed index is said to be doing."""
    shown: dict[str, str] = {}
    _check_changes(req.get("GlobalSecondaryIndexUpdates") or ())
    for change in req.get("GlobalSecondaryIndexUpdates") or ():
        if change.get("Create"):
            index = _new_index(ctx, table, req, change["Create"])
            table.indexes.append(index)
            shown[index.name] = "CREATING"
            if not backfill(tx, table, index):
                plan_backfill(tx, scope, table, index, now_ms)
        elif change.get("Update"):
            index = _global(table, change["Update"]["IndexName"])
            _change_index(table, index, change["Update"])
            shown[index.name] = "UPDATING"
        elif change.get("Delete"):
            index = _global(table, change["Delete"]["IndexName"])
            table.indexes.remove(index)
            tables.clear(tx, scope, table, [(*state.ENTRIES, index.key)], now_ms)
            used = {name for one in table.indexes for name in one.schema.names} | set(table.schema.names)
            table.types = {name: kind for name, kind in table.types.items() if name in used}
    return shown


def _check_changes(changes: Sequence[Members]) -> None:
    """One action in each, one index made or deleted at a time, none changed twice."""
    names = []
    for change in changes:
        given = [action for action in ("Create", "Update", "Delete") if change.get(action) is not None]
        if len(given) != 1:
            raise messages.wrong(
                "Only one of Create, Update or Delete may be specified for a GlobalSecondaryIndexUpdate"
            )
        names.append(change[given[0]]["IndexName"])
    if len(set(names)) < len(names):
        raise messages.wrong("Only one global secondary index update per index is allowed simultaneously")
    if sum(change.get("Update") is None for change in changes) > 1:
        raise _one_at_a_time()


def _new_index(ctx: Context, table: Table, req: Members, given: Members) -> Index:
    if table.find_index(given["IndexName"]) is not None:
        raise messages.wrong(f"Attempting to create an index which already exists: {given['IndexName']}")
    if any(one.status == "CREATING" for one in table.indexes):
        raise _one_at_a_time()
    index = schemas.global_index(ctx, given, is_on_demand=table.billing == "PAY_PER_REQUEST")
    types = schemas.types_of(req.get("AttributeDefinitions") or [])
    for name, kind in types.items():
        if table.types.get(name, kind) != kind:
            raise messages.wrong(f"AttributeDefinitions change the type of a key attribute: {name}")
    missing = [name for name in index.schema.names if name not in types]
    if missing:
        raise messages.undefined_keys(missing, types)
    table.types |= {name: kind for name, kind in types.items() if name in index.schema.names}
    schemas.check_definitions(table.schema, [*table.indexes, index], {**types, **table.types})
    if sum(not one.is_local for one in table.indexes) >= limits.INDEXES_GLOBAL_MAX.value:
        raise messages.wrong("GlobalSecondaryIndex count exceeds the per-table limit of 20")
    schemas.check_names([*table.indexes, index])
    index.status = "CREATING"
    return index


def _one_at_a_time() -> ServiceError:
    return ServiceError(
        "LimitExceededException",
        "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table",
    )


def _global(table: Table, name: str) -> Index:
    index = table.find_index(name)
    if index is None or index.is_local:
        raise messages.no_resource()
    return index


def _change_index(table: Table, index: Index, given: Members) -> None:
    if given.get("ProvisionedThroughput"):
        if table.billing == "PAY_PER_REQUEST":
            schemas.check_on_demand(given)
        index.read_units, index.write_units = schemas.units_of(given, index.name)
    if given.get("OnDemandThroughput"):
        index.throughput = dict(given["OnDemandThroughput"])


def plan_backfill(tx: Transaction, scope: Scope, table: Table, index: Index, now_ms: int) -> None:
    payload: dict[str, object] = {
        "account_id": scope.account_id,
        "region": scope.region,
        "name": table.name,
        "index": index.key,
    }
    outbox.add(tx, BACKFILL, payload, due_ms=now_ms, id=index.key)


def backfill(tx: Transaction, table: Table, index: Index) -> bool:
    """Give a new index some more of the items that were there before it; whether it has them all.

    The caller stores the table. What has been written since has its entry already.
    """
    prefix = (*state.ITEMS, table.key)
    begin = (*unpack(index.after), None) if index.after else None
    count = size = seen = 0
    last = b""
    for place, data in tx.range(prefix, begin=begin, limit=limits.WORKED_AT_ONCE):
        seen += 1
        key, item, last = place[len(prefix) :], values.decode(data), pack(place)
        entry = state.entry_key(table, index, item, key)
        if entry is None or tx.get((*state.ENTRIES, index.key, *entry)) is not None:
            continue
        size += changes.put_entry(tx, table, index, key, item) or 0
        count += 1
    if count:
        changes.add_counts(tx, table, {index.key: (count, size)})
    index.after = last
    if seen < limits.WORKED_AT_ONCE:
        index.status, index.after = "ACTIVE", b""
        return True
    return False
