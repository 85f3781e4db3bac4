"""Tables imported from S3.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataImport.HowItWorks.html
"""

import csv
import io
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import orjson

from penstock.engines.expressions import values
from penstock.engines.expressions.errors import BadExpression
from penstock.engines.expressions.values import Item, size_of_item
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.dynamodb import limits, messages, rules, state
from penstock.services.dynamodb.operations import snapshots, tables
from penstock.services.dynamodb.operations.backups import start_filling
from penstock.services.dynamodb.operations.descriptions import when
from penstock.services.dynamodb.operations.exports import page_of
from penstock.services.dynamodb.operations.named import table_of
from penstock.services.dynamodb.state import Job, Table
from penstock.storage.transactions import ReadTransaction, Transaction

IMPORT = "dynamodb.import"
Members = Mapping[str, Any]
_TOLD = ("S3BucketSource", "InputFormat", "InputFormatOptions", "InputCompressionType", "TableCreationParameters")
_PAGE_MAX = 25
_GZIP_BITS = 31


@operation
async def import_table(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """The table is there at once, CREATING until all is read."""
    parameters, now_ms = req["TableCreationParameters"], ctx.clock.now_ms()
    if req["InputFormat"] == "ION":
        raise messages.invalid("Imports of Amazon Ion are not built")
    if req.get("InputCompressionType") == "ZSTD":
        raise messages.invalid("Imports of ZSTD are not built")
    scope, name = table_of(ctx, parameters["TableName"])
    table = tables.table_from(ctx, name, parameters, now_ms)
    told = {member: req[member] for member in (*_TOLD, "ClientToken") if req.get(member) is not None}
    job = Job(snapshots.new_id(ctx, now_ms), name, table.id, table.arn(scope), told, asdict(ctx.principal), now_ms)

    def start(tx: Transaction) -> Job:
        for known in state.jobs(tx, scope, "import", name):
            if told.get("ClientToken") and known.told.get("ClientToken") == told["ClientToken"]:
                return known
        if state.find_table(tx, scope, name) is not None:
            raise messages.table_exists(name)
        state.put_job(tx, scope, "import", job)
        start_filling(tx, scope, table, IMPORT, {"id": job.id}, now_ms)
        return job

    return {"ImportTableDescription": _shown(await ctx.store.transact(start))}


def _shown(job: Job) -> dict[str, Any]:
    shown: dict[str, Any] = dict(job.told)
    shown |= {
        "ImportArn": f"{job.table_arn}/import/{job.id}",
        "ImportStatus": job.status,
        "TableArn": job.table_arn,
        "TableId": job.table_id,
        "StartTime": when(job.started_ms),
        "ErrorCount": job.progress.get("errors", 0),
        "ProcessedItemCount": job.progress.get("processed", 0),
        "ImportedItemCount": job.progress.get("imported", 0),
        "ProcessedSizeBytes": job.progress.get("bytes", 0),
    }
    shown.setdefault("InputCompressionType", "NONE")
    if job.ended_ms:
        shown["EndTime"] = when(job.ended_ms)
    if job.failure_code:
        shown |= {"FailureCode": job.failure_code, "FailureMessage": job.failure}
    return shown


@operation
async def describe_import(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = table_of(ctx, "/".join(req["ImportArn"].split("/")[:2]))
    id = req["ImportArn"].rpartition("/")[2]
    job = await ctx.store.read(lambda tx: state.find_job(tx, scope, "import", name, id))
    if job is None:
        raise ServiceError("ImportNotFoundException", f"Import not found: {req['ImportArn']}")
    return {"ImportTableDescription": _shown(job)}


@operation
async def list_imports(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = table_of(ctx, req["TableArn"]) if req.get("TableArn") else (ctx.scope, None)
    found = await ctx.store.read(lambda tx: list(state.jobs(tx, scope, "import", name)))
    page, more = page_of(found, req.get("NextToken"), req.get("PageSize") or _PAGE_MAX)
    members = ("ImportArn", "ImportStatus", "TableArn", "S3BucketSource", "InputFormat", "StartTime", "EndTime")
    summaries = [{m: v for m, v in _shown(job).items() if m in members} for job in page]
    return {"ImportSummaryList": summaries} | ({"NextToken": more} if more else {})


def unpacked(data: bytes, compression: str | None) -> bytes:
    """Raises ValueError for what isn't gzip."""
    if compression != "GZIP":
        return data
    unpacker = zlib.decompressobj(_GZIP_BITS)
    try:
        found = unpacker.decompress(data, limits.IMPORT_FILE_BYTES_MAX)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    return found


def items_of(data: bytes, told: Members, table: Table) -> Iterator[Item | None]:
    """Each item of a file; None for what is none."""
    documents = _csv(data, told, table) if told["InputFormat"] == "CSV" else _json(data)
    for document in documents:
        try:
            if document is None:
                yield None
                continue
            item = rules.normal_item(values.revived(document))
            rules.check_item(table, item)
            yield item if size_of_item(item) <= limits.ITEM_BYTES_MAX.value else None
        except (ServiceError, BadExpression, ValueError, KeyError, TypeError, AttributeError):
            yield None


def _json(data: bytes) -> Iterator[dict[str, Any] | None]:
    for line in data.splitlines():
        if not line.strip():
            continue
        try:
            document = orjson.loads(line)
        except ValueError:
            yield None
            continue
        item = document.get("Item") if isinstance(document, dict) else None
        yield item if isinstance(item, dict) else None


def _csv(data: bytes, told: Members, table: Table) -> Iterator[dict[str, Any] | None]:
    """Keys have their kinds, everything else is text."""
    options = (told.get("InputFormatOptions") or {}).get("Csv") or {}
    reader = csv.reader(io.StringIO(data.decode("utf-8-sig", "replace")), delimiter=options.get("Delimiter") or ",")
    header = options.get("HeaderList") or next(reader, [])
    for row in reader:
        if not row:
            continue
        if len(row) > len(header):
            yield None
            continue
        named = zip(header, row, strict=False)
        yield {name: {table.types.get(name, "S"): text} for name, text in named if text or name not in table.types}


def note(tx: Transaction, scope: Scope, told: Job, **counts: int) -> None:
    """Add to an import's counts."""
    job = state.find_job(tx, scope, "import", told.table, told.id)
    assert job is not None
    for name, count in counts.items():
        job.progress[name] = job.progress.get(name, 0) + count
    state.put_job(tx, scope, "import", job)


def find(tx: ReadTransaction, scope: Scope, table: str, id: str) -> Job | None:
    return state.find_job(tx, scope, "import", table, id)
