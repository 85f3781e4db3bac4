"""Kinesis streams that are told of a table's changes.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/kds.html
"""

from typing import Any

import orjson

from penstock.engines.expressions import values
from penstock.engines.expressions.values import Item
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.scope import Scope
from penstock.services.dynamodb import messages, rules, state
from penstock.services.dynamodb.operations.named import table_of
from penstock.services.dynamodb.state import Destination, Table
from penstock.storage import outbox
from penstock.storage.journal import Journal
from penstock.storage.transactions import Key, ReadTransaction, Transaction

TELL = "dynamodb.tell_kinesis"


def told(table: Table) -> Journal:
    """What is still to be told, a log per stream."""
    return Journal((*state.TOLD, table.key))


def tell(
    tx: Transaction,
    scope: Scope,
    table: Table,
    key: Key,
    old: Item | None,
    new: Item | None,
    *,
    now_ms: int,
    is_expiry: bool,
) -> None:
    """Note the change for each stream; one intent for each tells them in order."""
    journal = told(table)
    for destination in table.destinations:
        if destination.status != "ACTIVE":
            continue
        event = _event(scope, table, old, new, now_ms=now_ms, is_expiry=is_expiry, precision=destination.precision)
        event["eventID"] = f"{table.id}-{journal.next_position(tx, destination.stream_arn):012d}"
        data = orjson.dumps([str(key[0]), event], default=values.as_json)
        position = journal.append(tx, destination.stream_arn, data, now_ms=now_ms).position
        name = f"{table.key}/{destination.stream_arn}"
        if outbox.find(tx, TELL, name) is None:
            payload: dict[str, object] = {
                "account_id": scope.account_id,
                "region": scope.region,
                "name": table.name,
                "key": table.key,
                "stream": destination.stream_arn,
                # So that it isn't taken for the one that is just being concluded.
                "position": position,
            }
            outbox.add(tx, TELL, payload, due_ms=now_ms, id=name)


def _event(
    scope: Scope, table: Table, old: Item | None, new: Item | None, *, now_ms: int, is_expiry: bool, precision: str
) -> dict[str, Any]:
    either = new if new is not None else old
    assert either is not None
    keys = rules.key_of(table.schema, either)
    change: dict[str, Any] = {
        "ApproximateCreationDateTime": now_ms if precision == "MILLISECOND" else now_ms * 1000,
        "Keys": keys,
        "SizeBytes": sum(values.size_of_item(item) for item in (keys, old, new) if item is not None),
    }
    if precision == "MICROSECOND":
        change["ApproximateCreationDateTimePrecision"] = precision
    if new is not None:
        change["NewImage"] = new
    if old is not None:
        change["OldImage"] = old
    identity = {"type": "Service", "principalId": "dynamodb.amazonaws.com"} if is_expiry else None
    return {
        "awsRegion": scope.region,
        "eventID": "",
        "eventName": "REMOVE" if new is None else "INSERT" if old is None else "MODIFY",
        "userIdentity": identity,
        "recordFormat": "application/json",
        "tableName": table.name,
        "dynamodb": change,
        "eventSource": "aws:dynamodb",
    }


@operation
async def enable_kinesis_streaming_destination(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    wanted = req.get("EnableKinesisStreamingConfiguration") or {}
    precision = wanted.get("ApproximateCreationDateTimePrecision") or "MILLISECOND"
    await ctx.call("kinesis", "DescribeStreamSummary", {"StreamARN": req["StreamArn"]})

    def enable(table: Table) -> None:
        known = _find(table, req["StreamArn"])
        if known is not None and known.status == "ACTIVE":
            raise messages.invalid(
                "Table is not in a valid state to enable Kinesis Streaming Destination: "
                "EnableKinesisStreamingDestination must be DISABLED or ENABLE_FAILED to perform ENABLE operation."
            )
        if known is not None:
            table.destinations.remove(known)
        table.destinations.append(Destination(req["StreamArn"], precision=precision))

    await _change(ctx, req, enable)
    return _shown(req, "ENABLING") | {
        "EnableKinesisStreamingConfiguration": {"ApproximateCreationDateTimePrecision": precision}
    }


@operation
async def disable_kinesis_streaming_destination(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def disable(table: Table) -> None:
        known = _find(table, req["StreamArn"])
        if known is None or known.status != "ACTIVE":
            raise messages.invalid(
                "Table is not in a valid state to disable Kinesis Streaming Destination: "
                "KinesisStreamingDestination must be ACTIVE to perform DISABLE operation."
            )
        known.status = "DISABLED"

    await _change(ctx, req, disable)
    return _shown(req, "DISABLING")


@operation
async def update_kinesis_streaming_destination(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    wanted = req.get("UpdateKinesisStreamingConfiguration") or {}
    precision = wanted.get("ApproximateCreationDateTimePrecision")
    if precision is None:
        raise messages.invalid("Streaming destination cannot be updated with given parameters")

    def update(table: Table) -> None:
        known = _find(table, req["StreamArn"])
        if known is None or known.status != "ACTIVE":
            raise messages.invalid("Streaming destination cannot be updated: it is not ACTIVE")
        known.precision = precision

    await _change(ctx, req, update)
    return _shown(req, "UPDATING") | {
        "UpdateKinesisStreamingConfiguration": {"ApproximateCreationDateTimePrecision": precision}
    }


@operation
async def describe_kinesis_streaming_destination(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = table_of(ctx, req["TableName"])

    def read(tx: ReadTransaction) -> list[Destination]:
        return state.edit_table(tx, scope, name).destinations

    found = await ctx.store.read(read)
    shown = [
        {
            "StreamArn": one.stream_arn,
            "DestinationStatus": one.status,
            "ApproximateCreationDateTimePrecision": one.precision,
        }
        for one in found
    ]
    return {"TableName": name, "KinesisDataStreamDestinations": shown}


def _find(table: Table, stream_arn: str) -> Destination | None:
    return next((one for one in table.destinations if one.stream_arn == stream_arn), None)


async def _change(ctx: Context, req: dict[str, Any], change: Any) -> None:
    scope, name = table_of(ctx, req["TableName"])

    def run(tx: Transaction) -> None:
        table = state.edit_table(tx, scope, name)
        change(table)
        state.put_table(tx, scope, table)

    await ctx.store.transact(run)


def _shown(req: dict[str, Any], status: str) -> dict[str, Any]:
    return {"TableName": req["TableName"], "StreamArn": req["StreamArn"], "DestinationStatus": status}
