"""A table as AWS describes it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from penstock.kernel.scope import Scope
from penstock.services.dynamodb.operations import changes
from penstock.services.dynamodb.state import Index, Schema, Table
from penstock.storage.transactions import ReadTransaction

_ON_DEMAND_READS, _ON_DEMAND_WRITES = 12_000, 4_000
"""What a table on demand serves at once. Source:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/warm-throughput.html"""


def when(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def shown_schema(schema: Schema) -> list[dict[str, str]]:
    return [
        *({"AttributeName": name, "KeyType": "HASH"} for name in schema.hash),
        *({"AttributeName": name, "KeyType": "RANGE"} for name in schema.range),
    ]


def shown_types(table: Table) -> list[dict[str, str]]:
    return [{"AttributeName": name, "AttributeType": kind} for name, kind in table.types.items()]


def described(tx: ReadTransaction, scope: Scope, table: Table, *, status: str | None = None) -> dict[str, Any]:
    """TableDescription. `status`: what it is said to be while it changes."""
    counts = changes.counts(tx, table)
    items, size = counts.get("", (0, 0))
    shown: dict[str, Any] = {
        "AttributeDefinitions": shown_types(table),
        "TableName": table.name,
        "KeySchema": shown_schema(table.schema),
        "TableStatus": status or table.status,
        "CreationDateTime": when(table.created_ms),
        "ProvisionedThroughput": _provisioned(table),
        "TableSizeBytes": size,
        "ItemCount": items,
        "TableArn": table.arn(scope),
        "TableId": table.id,
        "DeletionProtectionEnabled": table.is_protected,
        "WarmThroughput": warm(table.warm, table.read_units, table.write_units),
    }
    if table.billing == "PAY_PER_REQUEST" or table.is_billing_stated:
        shown["BillingModeSummary"] = {"BillingMode": table.billing}
        if table.on_demand_ms:
            shown["BillingModeSummary"]["LastUpdateToPayPerRequestDateTime"] = when(table.on_demand_ms)
    for member, is_local in (("LocalSecondaryIndexes", True), ("GlobalSecondaryIndexes", False)):
        found = [_index(scope, table, index, counts) for index in table.indexes if index.is_local is is_local]
        if found:
            shown[member] = found
    shown.update(_settings(scope, table))
    return shown


def _settings(scope: Scope, table: Table) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if table.is_streaming:
        shown["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": table.stream_view}
    if table.stream_label:
        shown["LatestStreamLabel"] = table.stream_label
        shown["LatestStreamArn"] = table.stream_arn(scope)
    if table.encryption:
        shown["SSEDescription"] = table.encryption
    if table.table_class:
        shown["TableClassSummary"] = {"TableClass": table.table_class}
    if table.throughput:
        shown["OnDemandThroughput"] = table.throughput
    if table.restored:
        shown["RestoreSummary"] = {
            "SourceTableArn": table.restored["table"],
            "RestoreDateTime": when(table.restored["at_ms"]),
            "RestoreInProgress": table.status == "CREATING",
        } | ({"SourceBackupArn": table.restored["backup"]} if table.restored.get("backup") else {})
    return shown


def _provisioned(table: Table) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "NumberOfDecreasesToday": table.decreases,
        "ReadCapacityUnits": table.read_units,
        "WriteCapacityUnits": table.write_units,
    }
    if table.increased_ms:
        shown["LastIncreaseDateTime"] = when(table.increased_ms)
    if table.decreased_ms:
        shown["LastDecreaseDateTime"] = when(table.decreased_ms)
    return shown


def warm(stated: Mapping[str, Any], reads: int, writes: int) -> dict[str, Any]:
    return {
        "ReadUnitsPerSecond": stated.get("ReadUnitsPerSecond") or reads or _ON_DEMAND_READS,
        "WriteUnitsPerSecond": stated.get("WriteUnitsPerSecond") or writes or _ON_DEMAND_WRITES,
        "Status": "ACTIVE",
    }


def shown_projection(index: Index) -> dict[str, Any]:
    shown: dict[str, Any] = {"ProjectionType": index.projection}
    return shown | ({"NonKeyAttributes": index.included} if index.included else {})


def _index(scope: Scope, table: Table, index: Index, counts: Mapping[str, Any]) -> dict[str, Any]:
    items, size = counts.get(index.key, (0, 0))
    shown: dict[str, Any] = {
        "IndexName": index.name,
        "KeySchema": shown_schema(index.schema),
        "Projection": shown_projection(index),
        "IndexSizeBytes": size,
        "ItemCount": items,
        "IndexArn": f"{table.arn(scope)}/index/{index.name}",
    }
    if index.is_local:
        return shown
    shown["IndexStatus"] = index.status
    if index.status == "CREATING":
        shown["Backfilling"] = True
    shown["ProvisionedThroughput"] = {
        "NumberOfDecreasesToday": 0,
        "ReadCapacityUnits": index.read_units,
        "WriteCapacityUnits": index.write_units,
    }
    shown["WarmThroughput"] = warm({}, index.read_units, index.write_units)
    if index.throughput:
        shown["OnDemandThroughput"] = index.throughput
    return shown
