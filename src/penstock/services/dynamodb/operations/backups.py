"""Backups on demand, point-in-time recovery, and tables made of either.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Backup-and-Restore.html
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.kernel.units import DAY_MS
from penstock.services.dynamodb import messages, state
from penstock.services.dynamodb.operations import changes, schemas, snapshots, tables
from penstock.services.dynamodb.operations.descriptions import (
    described,
    shown_projection,
    shown_schema,
    when,
)
from penstock.services.dynamodb.operations.named import table_of
from penstock.services.dynamodb.state import Backup, Index, Table
from penstock.storage import outbox
from penstock.storage.transactions import ReadTransaction, Transaction

RESTORE = "dynamodb.restore"
Members = Mapping[str, Any]
_PAGE_MAX = 100


def _get(tx: ReadTransaction, scope: Scope, name: str) -> Table:
    table = state.find_table(tx, scope, name)
    if table is None or table.status == "CREATING":
        raise messages.no_table_for(name)
    return table


@operation
async def create_backup(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """All items as of one moment."""
    scope, name = table_of(ctx, req["TableName"])
    now_ms = ctx.clock.now_ms()
    table, rows = await ctx.store.read(lambda tx: _rows(tx, scope, name))
    backup = await snapshots.backup_of(ctx, table, rows, req["BackupName"], now_ms)
    await ctx.store.transact(lambda tx: state.put_backup(tx, scope, backup))
    return {"BackupDetails": _details(scope, backup)}


def _rows(tx: ReadTransaction, scope: Scope, name: str) -> tuple[Table, list[bytes]]:
    table = _get(tx, scope, name)
    return table, list(snapshots.rows_now(tx, table))


def _details(scope: Scope, backup: Backup) -> dict[str, Any]:
    shown = {
        "BackupArn": backup.arn(scope),
        "BackupName": backup.name,
        "BackupSizeBytes": backup.size,
        "BackupStatus": "AVAILABLE",
        "BackupType": backup.kind,
        "BackupCreationDateTime": when(backup.created_ms),
    }
    return shown | ({"BackupExpiryDateTime": when(backup.expires_ms)} if backup.expires_ms else {})


def _find(tx: ReadTransaction, ctx: Context, arn: str) -> tuple[Scope, Backup]:
    """Raises BackupNotFoundException."""
    parts = arn.split("/")
    if len(parts) != 4 or parts[2] != "backup":
        raise messages.invalid(f"Invalid BackupArn: {arn}")
    scope, table = table_of(ctx, "/".join(parts[:2]))
    backup = state.find_backup(tx, scope, table, parts[3])
    if backup is None:
        raise messages.no_backup(arn)
    return scope, backup


@operation
async def describe_backup(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, backup = await ctx.store.read(lambda tx: _find(tx, ctx, req["BackupArn"]))
    return {"BackupDescription": _shown(scope, backup)}


@operation
async def delete_backup(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def delete(tx: Transaction) -> tuple[Scope, Backup]:
        scope, backup = _find(tx, ctx, req["BackupArn"])
        state.delete_backup(tx, scope, backup)
        return scope, backup

    scope, backup = await ctx.store.transact(delete)
    await ctx.blobs.delete(backup.blob)
    shown = _shown(scope, backup)
    shown["BackupDetails"]["BackupStatus"] = "DELETED"
    return {"BackupDescription": shown}


def _shown(scope: Scope, backup: Backup) -> dict[str, Any]:
    table = backup.source
    units = {"ReadCapacityUnits": table.read_units, "WriteCapacityUnits": table.write_units}
    features: dict[str, Any] = {}
    for member, is_local in (("LocalSecondaryIndexes", True), ("GlobalSecondaryIndexes", False)):
        found = [_index(index) for index in table.indexes if index.is_local is is_local]
        if found:
            features[member] = found
    if table.is_streaming:
        features["StreamDescription"] = {"StreamEnabled": True, "StreamViewType": table.stream_view}
    if table.ttl:
        features["TimeToLiveDescription"] = {"TimeToLiveStatus": "ENABLED", "AttributeName": table.ttl}
    if table.encryption:
        features["SSEDescription"] = table.encryption
    return {
        "BackupDetails": _details(scope, backup),
        "SourceTableDetails": {
            "TableName": table.name,
            "TableId": table.id,
            "TableArn": table.arn(scope),
            "TableSizeBytes": backup.size,
            "KeySchema": shown_schema(table.schema),
            "TableCreationDateTime": when(table.created_ms),
            "ProvisionedThroughput": units,
            "ItemCount": backup.count,
            "BillingMode": table.billing,
        },
        "SourceTableFeatureDetails": features,
    }


def _index(index: Index) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "IndexName": index.name,
        "KeySchema": shown_schema(index.schema),
        "Projection": shown_projection(index),
    }
    if not index.is_local:
        units = {"ReadCapacityUnits": index.read_units, "WriteCapacityUnits": index.write_units}
        shown["ProvisionedThroughput"] = units
    return shown


@operation
async def list_backups(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = table_of(ctx, req["TableName"]) if req.get("TableName") else (ctx.scope, None)
    after, count = req.get("ExclusiveStartBackupArn") or "", req.get("Limit") or _PAGE_MAX
    wanted = req.get("BackupType") or "ALL"
    lower, upper = req.get("TimeRangeLowerBound"), req.get("TimeRangeUpperBound")

    def is_wanted(backup: Backup) -> bool:
        made = when(backup.created_ms)
        return (
            wanted in ("ALL", backup.kind)
            and (lower is None or made >= lower)
            and (upper is None or made < upper)
            and backup.arn(scope) > after
        )

    found = await ctx.store.read(lambda tx: [one for one in state.backups(tx, scope, name) if is_wanted(one)])
    shown = [
        {"TableName": one.source.name, "TableId": one.source.id, "TableArn": one.source.arn(scope)}
        | _details(scope, one)
        for one in sorted(found, key=lambda one: one.arn(scope))[:count]
    ]
    more = {"LastEvaluatedBackupArn": shown[-1]["BackupArn"]} if len(found) > count else {}
    return {"BackupSummaries": shown, **more}


@operation
async def restore_table_from_backup(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, backup = await ctx.store.read(lambda tx: _find(tx, ctx, req["BackupArn"]))
    origin = {"table": backup.source.arn(scope), "backup": req["BackupArn"], "at_ms": backup.created_ms}
    return {"TableDescription": await _restore(ctx, req, backup.source, backup.blob, origin)}


@operation
async def restore_table_to_point_in_time(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    text = req.get("SourceTableArn") or req.get("SourceTableName")
    if not text:
        raise messages.invalid("Either SourceTableName or SourceTableArn must be specified")
    scope, name = table_of(ctx, text)
    now_ms, at = ctx.clock.now_ms(), req.get("RestoreDateTime")
    if at is None and not req.get("UseLatestRestorableTime"):
        raise messages.invalid("Either RestoreDateTime or UseLatestRestorableTime must be specified")
    at_ms = round(at.timestamp() * 1000) if at is not None else now_ms

    def read(tx: ReadTransaction) -> tuple[Table, list[bytes]]:
        table = _get(tx, scope, name)
        if not table.is_recoverable:
            raise messages.no_recovery(name)
        if not earliest_ms(table, now_ms) <= at_ms <= now_ms:
            raise ServiceError("InvalidRestoreTimeException", f"RestoreDateTime is out of range for table {name}")
        return table, list(snapshots.rows_at(tx, table, at_ms))

    table, rows = await ctx.store.read(read)
    kept = await snapshots.write(ctx, rows)
    return {"TableDescription": await _restore(ctx, req, table, kept.blob, {"table": table.arn(scope), "at_ms": at_ms})}


def earliest_ms(table: Table, now_ms: int) -> int:
    """How far back recovery reaches."""
    return max(table.recoverable_ms, now_ms - table.recovery_days * DAY_MS)


async def _restore(ctx: Context, req: Members, source: Table, blob: str, origin: dict[str, Any]) -> dict[str, Any]:
    """A table that fills from the blob; CREATING until it is full."""
    name, now_ms = req["TargetTableName"], ctx.clock.now_ms()
    table = _copy(ctx, req, source, now_ms)
    table.restored = origin

    def create(tx: Transaction) -> dict[str, Any]:
        if state.find_table(tx, ctx.scope, name) is not None:
            raise messages.table_there(name)
        start_filling(tx, ctx.scope, table, RESTORE, {"blob": blob, "is_kept": "backup" in origin}, now_ms)
        return described(tx, ctx.scope, table)

    return await ctx.store.transact(create)


def start_filling(
    tx: Transaction, scope: Scope, table: Table, kind: str, payload: dict[str, object], now_ms: int
) -> None:
    """Put the table and an intent that fills it."""
    table.status = "CREATING"
    state.put_table(tx, scope, table)
    told: dict[str, object] = {"account_id": scope.account_id, "region": scope.region}
    outbox.add(tx, kind, told | {"name": table.name, "key": table.key} | payload, due_ms=now_ms, id=table.key)


def _copy(ctx: Context, req: Members, source: Table, now_ms: int) -> Table:
    """The source's settings, but for what a restore leaves out: streams, time to live, tags, policies."""
    billing = req.get("BillingModeOverride") or source.billing
    units = req.get("ProvisionedThroughputOverride") or {}
    is_on_demand = billing == "PAY_PER_REQUEST"
    table = Table(
        req["TargetTableName"],
        ctx.entropy.uuid(),
        schemas.new_key(ctx),
        now_ms,
        source.schema,
        dict(source.types),
        billing=billing,
        is_billing_stated=source.is_billing_stated or billing != source.billing,
        on_demand_ms=now_ms if is_on_demand else 0,
        read_units=0 if is_on_demand else units.get("ReadCapacityUnits") or source.read_units or 1,
        write_units=0 if is_on_demand else units.get("WriteCapacityUnits") or source.write_units or 1,
        encryption=tables.encryption_of(ctx, req.get("SSESpecificationOverride")) or dict(source.encryption),
        table_class=source.table_class,
    )
    kept = list(source.indexes)
    for member, is_local in (("LocalSecondaryIndexOverride", True), ("GlobalSecondaryIndexOverride", False)):
        if req.get(member) is not None:
            names = {one["IndexName"] for one in req[member]}
            kept = [one for one in kept if one.is_local is not is_local or one.name in names]
    table.indexes = [replace(one, key=schemas.new_key(ctx), status="ACTIVE", after=b"") for one in kept]
    used = {name for one in table.indexes for name in one.schema.names} | set(table.schema.names)
    table.types = {name: kind for name, kind in table.types.items() if name in used}
    return table


def fill(tx: Transaction, scope: Scope, table: Table, rows: list[tuple[Any, int]], now_ms: int) -> None:
    """Put items, each with its size, into a table that nobody else writes; those that are there stay."""
    for item, size in rows:
        stored = changes.look(tx, table, item)
        if stored.data is None:
            changes.apply(tx, scope, table, stored, None, item, size=size, now_ms=now_ms)


def finish(tx: Transaction, scope: Scope, name: str, key: str) -> None:
    table = state.edit_table(tx, scope, name)
    if table.key == key:
        table.status = "ACTIVE"
        state.put_table(tx, scope, table)


@operation
async def update_continuous_backups(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = table_of(ctx, req["TableName"])
    wanted, now_ms = req["PointInTimeRecoverySpecification"], ctx.clock.now_ms()

    def update(tx: Transaction) -> Table:
        _get(tx, scope, name)
        table = state.edit_table(tx, scope, name)
        is_on = wanted["PointInTimeRecoveryEnabled"]
        if is_on and not table.is_recoverable:
            table.recoverable_ms = now_ms
        if table.is_recoverable and not is_on:
            tables.clear(tx, scope, table, [(*state.UNDO, table.key)], now_ms)
        table.is_recoverable = is_on
        table.recovery_days = wanted.get("RecoveryPeriodInDays") or table.recovery_days
        state.put_table(tx, scope, table)
        return table

    return {"ContinuousBackupsDescription": _recovery(await ctx.store.transact(update), now_ms)}


@operation
async def describe_continuous_backups(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = table_of(ctx, req["TableName"])
    table = await ctx.store.read(lambda tx: _get(tx, scope, name))
    return {"ContinuousBackupsDescription": _recovery(table, ctx.clock.now_ms())}


def _recovery(table: Table, now_ms: int) -> dict[str, Any]:
    shown: dict[str, Any] = {"PointInTimeRecoveryStatus": "ENABLED" if table.is_recoverable else "DISABLED"}
    if table.is_recoverable:
        shown["RecoveryPeriodInDays"] = table.recovery_days
        shown["EarliestRestorableDateTime"] = when(earliest_ms(table, now_ms))
        shown["LatestRestorableDateTime"] = when(now_ms)
    return {"ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": shown}
