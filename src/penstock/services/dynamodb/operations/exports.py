"""Tables exported to S3 as of a moment, whole or what changed within a time.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson

from penstock.engines.expressions import values
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.dynamodb import messages, rules, state
from penstock.services.dynamodb.operations import snapshots
from penstock.services.dynamodb.operations.backups import earliest_ms
from penstock.services.dynamodb.operations.descriptions import when
from penstock.services.dynamodb.operations.named import table_of
from penstock.services.dynamodb.state import Job, Table
from penstock.storage import outbox
from penstock.storage.transactions import Key, ReadTransaction, Transaction

EXPORT = "dynamodb.export"
Members = Mapping[str, Any]
_TIMES = ("ExportTime", "ExportFromTime", "ExportToTime")
_SHOWN = ("S3Bucket", "S3BucketOwner", "S3Prefix", "S3SseAlgorithm", "S3SseKmsKeyId", "ClientToken")
_PAGE_MAX = 25


@operation
async def export_table_to_point_in_time(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = table_of(ctx, req["TableArn"])
    if req.get("FilterSpecification"):
        raise messages.invalid("Exports with a FilterSpecification are not built")
    if req.get("ExportFormat") == "ION":
        raise messages.invalid("Exports in Amazon Ion are not built")
    now_ms = ctx.clock.now_ms()
    told = _told(req, now_ms)
    known = await ctx.store.read(lambda tx: _find_same(tx, scope, name, told.get("ClientToken")))
    if known is not None:
        return {"ExportDescription": shown(scope, known)}

    def read(tx: ReadTransaction) -> tuple[Table, list[bytes]]:
        table = state.find_table(tx, scope, name)
        if table is None:
            raise messages.no_table_for(name)
        if not table.is_recoverable:
            raise messages.no_recovery(name)
        for at_ms in (told[member] for member in _TIMES if member in told):
            if not earliest_ms(table, now_ms) <= at_ms <= now_ms:
                raise ServiceError("InvalidExportTimeException", "The export time is outside the recovery window")
        rows = (
            _changes(tx, table, told) if "ExportFromTime" in told else snapshots.rows_at(tx, table, told["ExportTime"])
        )
        return table, list(rows)

    table, rows = await ctx.store.read(read)
    kept = await snapshots.write(ctx, rows)
    job = Job(
        snapshots.new_id(ctx, now_ms),
        name,
        table.id,
        table.arn(scope),
        told,
        asdict(ctx.principal),
        now_ms,
        blob=kept.blob,
    )
    job.progress = {"items": kept.count, "bytes": kept.size}

    def start(tx: Transaction) -> None:
        state.put_job(tx, scope, "export", job)
        payload: dict[str, object] = {"account_id": scope.account_id, "region": scope.region, "table": name}
        outbox.add(tx, EXPORT, payload | {"id": job.id}, due_ms=now_ms, id=job.id)

    await ctx.store.transact(start)
    return {"ExportDescription": shown(scope, job)}


def _told(req: Members, now_ms: int) -> dict[str, Any]:
    """The request with its times in ms."""
    told: dict[str, Any] = {name: req[name] for name in _SHOWN if req.get(name)}
    if req.get("ExportType") == "INCREMENTAL_EXPORT":
        given = req.get("IncrementalExportSpecification") or {}
        if given.get("ExportFromTime") is None:
            raise messages.invalid("Incremental export needs an ExportFromTime")
        told["ExportFromTime"] = round(given["ExportFromTime"].timestamp() * 1000)
        to = given.get("ExportToTime")
        told["ExportToTime"] = round(to.timestamp() * 1000) if to is not None else now_ms
        told["ExportViewType"] = given.get("ExportViewType") or "NEW_AND_OLD_IMAGES"
        if told["ExportFromTime"] >= told["ExportToTime"]:
            raise messages.invalid("ExportFromTime must be before ExportToTime")
    else:
        at = req.get("ExportTime")
        told["ExportTime"] = round(at.timestamp() * 1000) if at is not None else now_ms
    return told


def _find_same(tx: ReadTransaction, scope: Scope, name: str, token: str | None) -> Job | None:
    if token is None:
        return None
    return next((job for job in state.jobs(tx, scope, "export", name) if job.told.get("ClientToken") == token), None)


def _changes(tx: ReadTransaction, table: Table, told: Members) -> list[bytes]:
    """A row for each item that isn't at the end what it was at the beginning."""
    first, last = told["ExportFromTime"], told["ExportToTime"]
    before, after = snapshots.undone(tx, table, first), snapshots.undone(tx, table, last)
    rows = []
    for key, was in before.items():
        now = after[key] if key in after else tx.get((*state.ITEMS, table.key, *key)) or b""
        if was != now:
            rows.append(_change(table, key, was, now, told))
    return rows


def _change(table: Table, key: Key, was: bytes, now: bytes, told: Members) -> bytes:
    old, new = (values.decode(data) if data else None for data in (was, now))
    either = new if new is not None else old
    assert either is not None
    change: dict[str, Any] = {
        "Metadata": {"M": {"WriteTimestampMicros": {"N": str(told["ExportToTime"] * 1000)}}},
        "Keys": {"M": rules.key_of(table.schema, either)},
    }
    if new is not None:
        change["NewImage"] = {"M": new}
    if old is not None and told["ExportViewType"] == "NEW_AND_OLD_IMAGES":
        change["OldImage"] = {"M": old}
    return values.encode(change, values.size_of_item(change))


def line_of(row: bytes, *, is_change: bool) -> bytes:
    """A row as a line of DynamoDB JSON."""
    item = values.decode(row)
    document: dict[str, Any] = {name: value["M"] for name, value in item.items()} if is_change else {"Item": item}
    return orjson.dumps(document, default=values.as_json)


def shown(scope: Scope, job: Job) -> dict[str, Any]:
    told = job.told
    found: dict[str, Any] = {name: told[name] for name in _SHOWN if name in told}
    found |= {
        "ExportArn": f"{job.table_arn}/export/{job.id}",
        "ExportStatus": job.status,
        "StartTime": when(job.started_ms),
        "TableArn": job.table_arn,
        "TableId": job.table_id,
        "ExportFormat": "DYNAMODB_JSON",
        "ExportType": "INCREMENTAL_EXPORT" if "ExportFromTime" in told else "FULL_EXPORT",
    }
    if "ExportTime" in told:
        found["ExportTime"] = when(told["ExportTime"])
    else:
        found["IncrementalExportSpecification"] = {
            "ExportFromTime": when(told["ExportFromTime"]),
            "ExportToTime": when(told["ExportToTime"]),
            "ExportViewType": told["ExportViewType"],
        }
    if job.ended_ms:
        found["EndTime"] = when(job.ended_ms)
    if job.status == "COMPLETED":
        found |= {"ItemCount": job.progress["items"], "BilledSizeBytes": job.progress["bytes"]}
        found["ExportManifest"] = job.manifest
    if job.failure_code:
        found |= {"FailureCode": job.failure_code, "FailureMessage": job.failure}
    return found


@operation
async def describe_export(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = table_of(ctx, "/".join(req["ExportArn"].split("/")[:2]))
    id = req["ExportArn"].rpartition("/")[2]
    job = await ctx.store.read(lambda tx: state.find_job(tx, scope, "export", name, id))
    if job is None:
        raise ServiceError("ExportNotFoundException", f"Export not found: {req['ExportArn']}")
    return {"ExportDescription": shown(scope, job)}


@operation
async def list_exports(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = table_of(ctx, req["TableArn"]) if req.get("TableArn") else (ctx.scope, None)
    found = await ctx.store.read(lambda tx: list(state.jobs(tx, scope, "export", name)))
    page, more = page_of(found, req.get("NextToken"), req.get("MaxResults") or _PAGE_MAX)
    summaries = [{m: v for m, v in shown(scope, job).items() if m in _SUMMARY} for job in page]
    return {"ExportSummaries": summaries} | ({"NextToken": more} if more else {})


_SUMMARY = ("ExportArn", "ExportStatus", "ExportType")


def page_of(found: list[Job], token: str | None, count: int) -> tuple[list[Job], str | None]:
    """The newest first. A token is where to go on, in as many digits as AWS wants."""
    ordered = sorted(found, key=lambda job: job.id, reverse=True)
    try:
        start = int(token or "0", 16)
    except ValueError:
        raise messages.invalid("Invalid NextToken") from None
    end = start + count
    return ordered[start:end], f"{end:0112x}" if len(ordered) > end else None
