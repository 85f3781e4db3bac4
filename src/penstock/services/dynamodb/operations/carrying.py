"""What moves a table's items between the store, blobs and S3, once it has been asked for."""

import base64
import gzip
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import orjson

from penstock.engines.expressions import values
from penstock.engines.expressions.values import Item, size_of_item
from penstock.framework.context import Context
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Principal
from penstock.services.dynamodb import limits, state
from penstock.services.dynamodb.operations import backups, exports, imports, snapshots
from penstock.services.dynamodb.operations.descriptions import when
from penstock.services.dynamodb.state import Job
from penstock.storage.transactions import Transaction

_BATCH = 200


async def restore(ctx: Context, name: str, key: str, blob: str) -> bool:
    """Fill a table from a snapshot; whether it is still there to be filled."""
    batch: list[tuple[Item, int]] = []
    async for row in snapshots.read(ctx, blob):
        batch.append((values.decode(row), values.stored_size(row)))
        if len(batch) == _BATCH:
            if not await _fill(ctx, name, key, batch):
                return False
            batch = []
    if batch and not await _fill(ctx, name, key, batch):
        return False
    await ctx.store.transact(lambda tx: _finish(tx, ctx, name, key))
    return True


def _finish(tx: Transaction, ctx: Context, name: str, key: str) -> None:
    table = state.find_table(tx, ctx.scope, name)
    if table is not None and table.key == key:
        backups.finish(tx, ctx.scope, name, key)


async def _fill(ctx: Context, name: str, key: str, batch: list[tuple[Item, int]]) -> bool:
    now_ms = ctx.clock.now_ms()

    def fill(tx: Transaction) -> bool:
        table = state.find_table(tx, ctx.scope, name)
        if table is None or table.key != key:
            return False
        backups.fill(tx, ctx.scope, table, batch, now_ms)
        return True

    return await ctx.store.transact(fill)


def caller_of(job: Job) -> Principal:
    told = dict(job.caller)
    told["session_policies"] = tuple(told.get("session_policies") or ())
    return Principal(**told)


async def export(ctx: Context, job: Job) -> None:
    """Write the snapshot's rows and the manifests, as the caller."""
    try:
        await _Export(ctx, job).run()
        job.status = "COMPLETED"
    except ServiceError as error:
        job.status, job.failure_code, job.failure = "FAILED", _failure_code(error), error.message
    job.ended_ms, blob, job.blob = ctx.clock.now_ms(), job.blob, ""
    await ctx.store.transact(lambda tx: state.put_job(tx, ctx.scope, "export", job))
    await ctx.blobs.delete(blob)


def _failure_code(error: ServiceError) -> str:
    return {"NoSuchBucket": "S3NoSuchBucket", "AccessDenied": "AccessDenied"}.get(error.code, error.code)


class _Export:
    def __init__(self, ctx: Context, job: Job) -> None:
        self._ctx, self._job, self._told = ctx, job, job.told
        prefix = str(job.told.get("S3Prefix") or "").strip("/")
        self._root = f"{prefix}/AWSDynamoDB" if prefix else "AWSDynamoDB"
        self._folder = f"{self._root}/{job.id}"
        self._is_change = "ExportFromTime" in job.told
        self._files: list[dict[str, Any]] = []

    async def run(self) -> None:
        await self._put(f"{self._folder}/_started", b"")
        lines: list[bytes] = []
        async for row in snapshots.read(self._ctx, self._job.blob):
            lines.append(exports.line_of(row, is_change=self._is_change))
            if len(lines) == limits.EXPORT_FILE_ITEMS:
                await self._file(lines)
                lines = []
        if lines or not self._files:
            await self._file(lines)
        await self._manifests()

    async def _file(self, lines: list[bytes]) -> None:
        data = gzip.compress(b"".join(line + b"\n" for line in lines), mtime=0)
        name = base64.b32encode(hashlib.sha256(self._job.id.encode() + str(len(self._files)).encode()).digest()[:15])
        folder = self._root if self._is_change else self._folder
        key = f"{folder}/data/{name.decode().lower()}.json.gz"
        etag = await self._put(key, data)
        checksum = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        self._files.append({"itemCount": len(lines), "md5Checksum": checksum, "etag": etag, "dataFileS3Key": key})

    async def _manifests(self) -> None:
        job, told = self._job, self._told
        files_key, summary_key = f"{self._folder}/manifest-files.json", f"{self._folder}/manifest-summary.json"
        await self._with_checksum(files_key, b"".join(orjson.dumps(one) + b"\n" for one in self._files))
        summary: dict[str, Any] = {
            "version": "2023-08-01" if self._is_change else "2020-06-30",
            "exportArn": f"{job.table_arn}/export/{job.id}",
            "startTime": _iso(job.started_ms),
            "endTime": _iso(self._ctx.clock.now_ms()),
            "tableArn": job.table_arn,
            "tableId": job.table_id,
            "s3Bucket": told["S3Bucket"],
            "s3Prefix": told.get("S3Prefix"),
            "s3SseAlgorithm": told.get("S3SseAlgorithm") or "AES256",
            "s3SseKmsKeyId": told.get("S3SseKmsKeyId"),
            "manifestFilesS3Key": files_key,
            "billedSizeBytes": job.progress["bytes"],
            "itemCount": job.progress["items"],
            "outputFormat": "DYNAMODB_JSON",
        }
        if self._is_change:
            summary |= {
                "exportFromTime": _iso(told["ExportFromTime"]),
                "exportToTime": _iso(told["ExportToTime"]),
                "outputView": told["ExportViewType"],
                "exportType": "INCREMENTAL_EXPORT",
            }
        else:
            summary |= {"exportTime": _iso(told["ExportTime"]), "exportType": "FULL_EXPORT"}
        await self._with_checksum(summary_key, orjson.dumps(summary))
        job.manifest = summary_key

    async def _with_checksum(self, key: str, data: bytes) -> None:
        await self._put(key, data)
        checksum = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest())
        await self._put(key.removesuffix(".json") + ".md5", checksum)

    async def _put(self, key: str, data: bytes) -> str:
        params = {"Bucket": self._told["S3Bucket"], "Key": key, "Body": data}
        answer = await self._ctx.call("s3", "PutObject", params, as_=caller_of(self._job))
        return str(answer.get("ETag") or "").strip('"')


def _iso(time_ms: int) -> str:
    return when(time_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def import_(ctx: Context, job: Job, key: str) -> None:
    """Read every object below the prefix into the table; an import that fails leaves the table as it has come."""
    failure: ServiceError | None = None
    job.progress = {}
    await ctx.store.transact(lambda tx: state.put_job(tx, ctx.scope, "import", job))
    try:
        async for data in _objects(ctx, job):
            await _import_file(ctx, job, key, data)
    except ServiceError as error:
        failure = error
    await ctx.store.transact(lambda tx: _end(tx, ctx, job, key, failure))


def _end(tx: Transaction, ctx: Context, told: Job, key: str, error: ServiceError | None) -> None:
    job = imports.find(tx, ctx.scope, told.table, told.id)
    assert job is not None
    job.status, job.ended_ms = "COMPLETED" if error is None else "FAILED", ctx.clock.now_ms()
    if error is not None:
        job.failure_code, job.failure = _failure_code(error), error.message
    state.put_job(tx, ctx.scope, "import", job)
    _finish(tx, ctx, told.table, key)


async def _objects(ctx: Context, job: Job) -> AsyncIterator[bytes]:
    source, caller = job.told["S3BucketSource"], caller_of(job)
    params: dict[str, Any] = {"Bucket": source["S3Bucket"], "Prefix": source.get("S3KeyPrefix") or ""}
    while True:
        page = await ctx.call("s3", "ListObjectsV2", params, as_=caller)
        for one in page.get("Contents") or ():
            answer = await ctx.call("s3", "GetObject", {"Bucket": source["S3Bucket"], "Key": one["Key"]}, as_=caller)
            yield await answer["Body"].read(bytes_max=limits.IMPORT_FILE_BYTES_MAX)
        if not page.get("NextContinuationToken"):
            return
        params["ContinuationToken"] = page["NextContinuationToken"]


async def _import_file(ctx: Context, job: Job, key: str, packed: bytes) -> None:
    table = await ctx.store.read(lambda tx: state.find_table(tx, ctx.scope, job.table))
    if table is None or table.key != key:
        raise ServiceError("ResourceNotFoundException", "The table was deleted while it was imported")
    try:
        data = imports.unpacked(packed, job.told.get("InputCompressionType"))
    except ValueError as error:
        raise ServiceError("InvalidFile", str(error)) from None
    batch: list[tuple[Item, int]] = []
    errors = processed = 0
    for item in imports.items_of(data, job.told, table):
        processed += 1
        if item is None:
            errors += 1
            continue
        batch.append((item, size_of_item(item)))
        if len(batch) == _BATCH:
            await _fill(ctx, job.table, key, batch)
            batch = []
    await _fill(ctx, job.table, key, batch)
    counts = {"errors": errors, "processed": processed, "imported": processed - errors, "bytes": len(data)}
    await ctx.store.transact(lambda tx: imports.note(tx, ctx.scope, job, **counts))
