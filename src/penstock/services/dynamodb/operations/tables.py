"""Tables: made, described, listed, deleted."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel import arn
from penstock.kernel.scope import Scope
from penstock.services.dynamodb import limits, messages, state
from penstock.services.dynamodb.operations import schemas, snapshots, table_streams
from penstock.services.dynamodb.operations.changes import EXPIRE
from penstock.services.dynamodb.operations.descriptions import described
from penstock.services.dynamodb.operations.named import table_of
from penstock.services.dynamodb.state import Backup, Table
from penstock.storage import outbox
from penstock.storage.transactions import Key, ReadTransaction, Transaction

CLEAR = "dynamodb.clear"
Members = Mapping[str, Any]


@operation
async def create_table(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """It is there and active at once; the answer says CREATING, as AWS's does."""
    scope, name = table_of(ctx, req["TableName"])
    now_ms = ctx.clock.now_ms()
    table = table_from(ctx, name, req, now_ms)
    if req.get("Tags"):
        _check_tags(req["Tags"])
        table.tags = {tag["Key"]: tag["Value"] for tag in req["Tags"]}
    table.policy = req.get("ResourcePolicy") or ""
    table.policy_id = str(now_ms) if table.policy else ""
    stream = req.get("StreamSpecification") or {}
    view = table_streams.checked_view(stream)
    stream_key = schemas.new_key(ctx)

    def create(tx: Transaction) -> dict[str, Any]:
        if state.find_table(tx, scope, name) is not None:
            raise messages.table_exists(name)
        if view:
            table_streams.enable(tx, scope, table, view, stream_key, now_ms)
        state.put_table(tx, scope, table)
        shown = described(tx, scope, table, status="CREATING")
        for index in shown.get("GlobalSecondaryIndexes", ()):
            index["IndexStatus"] = "CREATING"
        return shown

    return {"TableDescription": await ctx.store.transact(create)}


def table_from(ctx: Context, name: str, req: Members, now_ms: int) -> Table:
    """A new table of what CreateTable, a restore or an import says. Raises ValidationException."""
    definitions, elements = req.get("AttributeDefinitions"), req.get("KeySchema")
    if req.get("VectorIndexes"):
        raise messages.invalid("Vector indexes are not built")
    if not elements:
        raise messages.wrong("The table's KeySchema is not specified")
    types = schemas.types_of(definitions or [])
    schema = schemas.schema_of(elements)
    given = req.get("BillingMode")
    billing = given or "PROVISIONED"
    is_on_demand = billing == "PAY_PER_REQUEST"
    table = Table(name, ctx.entropy.uuid(), schemas.new_key(ctx), now_ms, schema, types, billing=billing)
    table.is_billing_stated = given is not None
    if is_on_demand:
        schemas.check_on_demand(req)
        table.on_demand_ms = now_ms
        table.throughput = dict(req.get("OnDemandThroughput") or {})
    else:
        table.read_units, table.write_units = schemas.units_of(req, "table")
    for member in ("LocalSecondaryIndexes", "GlobalSecondaryIndexes"):
        if req.get(member) == []:
            raise messages.wrong(f"List of {member} is empty")
    table.indexes = [
        *schemas.local_indexes(ctx, schema, req.get("LocalSecondaryIndexes") or []),
        *schemas.global_indexes(ctx, req.get("GlobalSecondaryIndexes") or [], is_on_demand=is_on_demand),
    ]
    schemas.check_names(table.indexes)
    schemas.check_definitions(schema, table.indexes, types)
    table.is_protected = bool(req.get("DeletionProtectionEnabled"))
    table.table_class = req.get("TableClass") or ""
    table.warm = dict(req.get("WarmThroughput") or {})
    table.encryption = encryption_of(ctx, req.get("SSESpecification"))
    return table


def encryption_of(ctx: Context, given: Members | None) -> dict[str, Any]:
    """A flag: items are kept as they are."""
    if not given or not given.get("Enabled"):
        return {}
    scope, key = ctx.scope, given.get("KMSMasterKeyId")
    if not key:
        # The account's own key of the service, the same for all of its tables.
        key = hashlib.sha256(f"dynamodb/{scope.account_id}/{scope.region}".encode()).hexdigest()[:32]
        key = "-".join((key[:8], key[8:12], key[12:16], key[16:20], key[20:]))
    if not str(key).startswith("arn:"):
        kind = "" if str(key).startswith("alias/") else "key/"
        key = f"arn:{scope.partition}:kms:{scope.region}:{scope.account_id}:{kind}{key}"
    return {"Status": "ENABLED", "SSEType": given.get("SSEType") or "KMS", "KMSMasterKeyArn": key}


@operation
async def describe_table(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = table_of(ctx, req["TableName"])

    def read(tx: ReadTransaction) -> dict[str, Any]:
        table = state.find_table(tx, scope, name)
        if table is None:
            raise messages.no_table(name)
        return described(tx, scope, table)

    return {"Table": await ctx.store.read(read)}


@operation
async def list_tables(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    count, after = req.get("Limit") or limits.TABLES_PAGE_MAX.value, req.get("ExclusiveStartTableName") or ""
    names = await ctx.store.read(lambda tx: [n for n in state.table_names(tx, ctx.scope) if n > after])
    more = {"LastEvaluatedTableName": names[count - 1]} if len(names) > count else {}
    return {"TableNames": names[:count], **more}


@operation
async def delete_table(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """It is gone at once; its items are cleared away afterwards, its stream stays readable for a day."""
    scope, name = table_of(ctx, req["TableName"])
    now_ms = ctx.clock.now_ms()
    last = await _last_backup(ctx, scope, name, now_ms)

    def delete(tx: Transaction) -> dict[str, Any]:
        table = state.edit_table(tx, scope, name)
        if table.is_protected:
            raise messages.protected(name)
        if table.status == "CREATING":
            raise messages.in_use(name)
        shown = described(tx, scope, table, status="DELETING")
        if table.is_streaming:
            table_streams.disable(tx, scope, table, now_ms)
        if last is not None:
            state.put_backup(tx, scope, last)
        state.delete_table(tx, scope, name)
        tx.delete((*state.COUNTS, table.key))
        outbox.cancel(tx, EXPIRE, table.key)
        clear(tx, scope, table, [table.expiries], now_ms)
        for prefix in (state.ITEMS, state.UNDO, state.TOLD):
            clear(tx, scope, table, [(*prefix, table.key)], now_ms)
        for index in table.indexes:
            clear(tx, scope, table, [(*state.ENTRIES, index.key)], now_ms)
        return {name: shown[name] for name in _SHOWN_WHEN_DELETED if name in shown}

    return {"TableDescription": await ctx.store.transact(delete)}


async def _last_backup(ctx: Context, scope: Scope, name: str, now_ms: int) -> Backup | None:
    """What recovery leaves of a table that is deleted, for 35 days."""

    def read(tx: ReadTransaction) -> tuple[Table, list[bytes]] | None:
        table = state.find_table(tx, scope, name)
        if table is None or not table.is_recoverable or table.is_protected:
            return None
        return table, list(snapshots.rows_now(tx, table))

    found = await ctx.store.read(read)
    if found is None:
        return None
    backup = await snapshots.backup_of(ctx, *found, f"{name}$DeletedTableBackup", now_ms, kind="SYSTEM")
    backup.expires_ms = now_ms + limits.SYSTEM_BACKUP_MS.value
    return backup


_SHOWN_WHEN_DELETED = (
    *("TableName", "TableStatus", "ProvisionedThroughput", "TableSizeBytes", "ItemCount", "TableArn", "TableId"),
    *("BillingModeSummary", "DeletionProtectionEnabled", "KeySchema", "AttributeDefinitions", "CreationDateTime"),
    *("LatestStreamArn", "LatestStreamLabel", "StreamSpecification", "TableClassSummary"),
)


def clear(tx: Transaction, scope: Scope, table: Table, prefixes: list[Key], now_ms: int) -> None:
    """See to it that all below the prefixes goes, some at a time."""
    for prefix in prefixes:
        payload: dict[str, object] = {
            "account_id": scope.account_id,
            "region": scope.region,
            "prefix": [str(part) for part in prefix],
        }
        outbox.add(tx, CLEAR, payload, due_ms=now_ms, id="/".join(str(part) for part in prefix))


@operation
async def describe_limits(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    return {
        "AccountMaxReadCapacityUnits": 80_000,
        "AccountMaxWriteCapacityUnits": 80_000,
        "TableMaxReadCapacityUnits": 40_000,
        "TableMaxWriteCapacityUnits": 40_000,
    }


@operation
async def describe_endpoints(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    address = ctx.endpoint.partition("://")[2]
    return {"Endpoints": [{"Address": address, "CachePeriodInMinutes": 1440}]}


@operation
async def tag_resource(ctx: Context, req: dict[str, Any]) -> None:
    scope, name = _named(ctx, req["ResourceArn"])
    _check_tags(req["Tags"])

    def tag(tx: Transaction) -> None:
        table = _tagged(tx, scope, name, req["ResourceArn"])
        table.tags |= {one["Key"]: one["Value"] for one in req["Tags"]}
        if len(table.tags) > limits.TAGS_MAX.value:
            raise messages.too_many_tags()
        state.put_table(tx, scope, table)

    await ctx.store.transact(tag)


def _check_tags(tags: Sequence[Members]) -> None:
    if not tags:
        raise messages.wrong("Atleast one Tag needs to be provided as Input.")
    keys = [tag["Key"] for tag in tags]
    if len(set(keys)) < len(keys):
        raise messages.wrong("Duplicate Tag Key provided as Input.")
    if any(key.lower().startswith("aws:") for key in keys):
        raise messages.wrong("Tag keys that begin with aws: are reserved for system use.")
    if len(keys) > limits.TAGS_MAX.value:
        raise messages.too_many_tags()


@operation
async def untag_resource(ctx: Context, req: dict[str, Any]) -> None:
    scope, name = _named(ctx, req["ResourceArn"])
    if not req["TagKeys"]:
        raise messages.wrong("Atleast one Tag Key needs to be provided as Input.")

    def untag(tx: Transaction) -> None:
        table = _tagged(tx, scope, name, req["ResourceArn"])
        for key in req["TagKeys"]:
            table.tags.pop(key, None)
        state.put_table(tx, scope, table)

    await ctx.store.transact(untag)


@operation
async def list_tags_of_resource(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = _named(ctx, req["ResourceArn"])

    def read(tx: ReadTransaction) -> dict[str, str]:
        return _tagged(tx, scope, name, req["ResourceArn"]).tags

    tags = await ctx.store.read(read)
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def _tagged(tx: ReadTransaction, scope: Scope, name: str, resource: str) -> Table:
    if state.find_table(tx, scope, name) is None:
        raise messages.no_resource_of(resource)
    return state.edit_table(tx, scope, name)


def _named(ctx: Context, resource: str) -> tuple[Scope, str]:
    """The table that an ARN names. What is wrong with the ARN decides which error it is."""
    try:
        found = arn.parse(resource)
    except ValueError:
        raise messages.wrong(f"Invalid TableArn: Invalid ResourceArn provided as input {resource}") from None
    if found.service != "dynamodb" or found.account_id != ctx.scope.account_id:
        raise messages.no_access(resource)
    kind, _, name = found.resource.partition("/")
    if kind != "table" or not name or "/" in name or found.region != ctx.scope.region:
        raise messages.wrong(f"Invalid TableArn: Invalid ResourceArn provided as input {resource}")
    return Scope(found.account_id, found.region, found.partition), name


@operation
async def update_time_to_live(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = table_of(ctx, req["TableName"])
    wanted, now_ms = req["TimeToLiveSpecification"], ctx.clock.now_ms()
    ttl_key = schemas.new_key(ctx)

    def update(tx: Transaction) -> None:
        table = state.edit_table(tx, scope, name)
        attribute = wanted["AttributeName"]
        if wanted["Enabled"]:
            if table.ttl:
                told = (
                    "TimeToLive is already enabled"
                    if table.ttl == attribute
                    else f"TimeToLive is active on a different AttributeName: current AttributeName is {table.ttl}"
                )
                raise messages.invalid(told)
            table.ttl, table.ttl_key = attribute, ttl_key
            index_expiries(tx, scope, table, now_ms)
        else:
            if not table.ttl:
                raise messages.invalid("TimeToLive is already disabled")
            if table.ttl != attribute:
                told = f"TimeToLive is active on a different AttributeName: current AttributeName is {table.ttl}"
                raise messages.invalid(told)
            table.ttl = ""
            outbox.cancel(tx, EXPIRE, table.key)
            clear(tx, scope, table, [table.expiries], now_ms)
        state.put_table(tx, scope, table)

    await ctx.store.transact(update)
    return {"TimeToLiveSpecification": wanted}


INDEX_EXPIRIES = "dynamodb.index_expiries"


def index_expiries(tx: Transaction, scope: Scope, table: Table, now_ms: int) -> None:
    """See to it that the items that are there already expire too."""
    payload: dict[str, object] = {
        "account_id": scope.account_id,
        "region": scope.region,
        "name": table.name,
        "key": table.key,
        "ttl_key": table.ttl_key,
    }
    outbox.add(tx, INDEX_EXPIRIES, payload, due_ms=now_ms, id=table.ttl_key)


@operation
async def describe_time_to_live(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = table_of(ctx, req["TableName"])

    def read(tx: ReadTransaction) -> dict[str, Any]:
        table = state.find_table(tx, scope, name)
        if table is None:
            raise messages.no_table(name)
        if not table.ttl:
            return {"TimeToLiveStatus": "DISABLED"}
        return {"TimeToLiveStatus": "ENABLED", "AttributeName": table.ttl}

    return {"TimeToLiveDescription": await ctx.store.read(read)}
