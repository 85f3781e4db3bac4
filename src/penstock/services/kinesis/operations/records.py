"""Records: put and read."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.kernel.units import KIB
from penstock.services.kinesis import limits, messages, rules, state
from penstock.services.kinesis.operations import throughput
from penstock.services.kinesis.operations.access import located, secret_of
from penstock.services.kinesis.operations.arrivals import arrivals_of
from penstock.services.kinesis.operations.reading import (
    Page,
    find_visible,
    read_page,
    readable,
    shown_record,
    start_position,
)
from penstock.services.kinesis.rules import Iterator
from penstock.services.kinesis.state import Shard, Stored, View
from penstock.storage.transactions import ReadTransaction, Transaction

Put = dict[str, str]


@operation
async def put_record(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Raises ProvisionedThroughputExceededException where the node keeps AWS's limits."""
    number = req.get("SequenceNumberForOrdering")
    if number is not None and rules.position_of(number) is None:
        raise messages.bad_ordering(number, located(ctx, req)[1], ctx.scope.account_id)
    [put], encryption = await _put(ctx, req, [req])
    if "ErrorCode" in put:
        raise ServiceError(put["ErrorCode"], put["ErrorMessage"])
    return {**put, **_shown_encryption(encryption)}


@operation
async def put_records(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """One that the shard has no room for fails by itself; the caller sends it again."""
    put, encryption = await _put(ctx, req, req["Records"])
    failed = sum("ErrorCode" in one for one in put)
    return {"FailedRecordCount": failed, "Records": put, **_shown_encryption(encryption)}


def _shown_encryption(encryption: str) -> dict[str, str]:
    return {"EncryptionType": encryption} if encryption != "NONE" else {}


async def _put(ctx: Context, req: dict[str, Any], records: Sequence[dict[str, Any]]) -> tuple[list[Put], str]:
    """All in one transaction, in order per shard. What each was answered, and the stream's encryption."""
    scope, name = located(ctx, req)
    now_ms, salt = ctx.clock.now_ms(), ctx.entropy.token_hex(4)
    size = sum(map(_bytes_of, records))
    if size > limits.BATCH_BYTES_MAX.value:
        raise messages.invalid("Records size exceeds 10 MB limit")
    view = await ctx.store.read(lambda tx: readable(tx, scope, name))
    _check(view, records, is_batch="Records" in req)
    if req.get("DryRun"):
        raise messages.dry_run()
    keys = _hash_keys(view, records, salt)
    refused = _refused(ctx, scope, view, records, keys)

    def append(tx: Transaction) -> tuple[list[Put], str]:
        return _append(tx, scope, readable(tx, scope, name), records, keys, refused, now_ms)

    answer = await ctx.store.transact(append)
    arrivals_of(ctx.platform).signal((scope, name))
    if ctx.platform.limits == "aws" and view.stream.mode == "ON_DEMAND":
        await _grow(ctx, scope, view, size=size, count=len(records))
    return answer


async def _grow(ctx: Context, scope: Scope, view: View, *, size: int, count: int) -> None:
    """Give an on-demand stream more shards if its writers need them; not while it is changed otherwise."""
    name, shards, now_ms = view.stream.name, len(view.open_shards), ctx.clock.now_ms()
    target = throughput.shards_wanted(ctx, scope, name, shards=shards, size=size, count=count)
    if target == shards:
        return

    def grow(tx: Transaction) -> None:
        stream = state.find_stream(tx, scope, name)
        if stream is not None and stream.status == "ACTIVE" and len(stream.open_shards) == shards:
            rules.rescale(stream, target, now_ms)
            state.put_stream(tx, scope, stream)

    await ctx.store.transact(grow)


def _bytes_of(record: dict[str, Any]) -> int:
    """Data and key, which both count."""
    return len(record["Data"]) + len(str(record.get("PartitionKey") or "").encode())


def _check(view: View, records: Sequence[dict[str, Any]], *, is_batch: bool) -> None:
    """Raises ValidationException for a record that is too long, or has no key."""
    size_max = view.stream.max_record_kib * KIB
    for index, record in enumerate(records, 1):
        within = f"records.{index}.member." if is_batch else ""
        if _bytes_of(record) > size_max:
            raise messages.record_too_long(f"{within}data", size_max)
        if record.get("PartitionKey") is None and view.stream.distribution != "AUTO":
            raise messages.null_member(f"{within}partitionKey")


def _hash_keys(view: View, records: Sequence[dict[str, Any]], salt: str) -> list[int]:
    if view.stream.distribution == "AUTO":
        return [rules.hash_of(f"{salt}{index}", None) for index in range(len(records))]
    return [rules.hash_of(str(record["PartitionKey"]), record.get("ExplicitHashKey")) for record in records]


def _refused(
    ctx: Context, scope: Scope, view: View, records: Sequence[dict[str, Any]], keys: list[int]
) -> dict[int, ServiceError]:
    """By its place, why a record isn't taken: its shard has no room this second."""
    if ctx.platform.limits != "aws":
        return {}
    refused = {}
    for index, (record, key) in enumerate(zip(records, keys, strict=True)):
        shard_id, name = view.shard_for(key).id, view.stream.name
        if not throughput.may_write(ctx, scope, name, shard_id, _bytes_of(record)):
            refused[index] = messages.rate_exceeded(shard_id, name, scope.account_id)
    return refused


def _append(
    tx: Transaction,
    scope: Scope,
    view: View,
    records: Sequence[dict[str, Any]],
    keys: list[int],
    refused: dict[int, ServiceError],
    now_ms: int,
) -> tuple[list[Put], str]:
    journal, encryption = state.records_of(scope, view.stream.name), view.stream.encryption
    by_shard: dict[str, tuple[Shard, list[int], list[bytes]]] = {}
    for index, (record, key) in enumerate(zip(records, keys, strict=True)):
        if index in refused:
            continue
        shard = view.shard_for(key)
        _, indexes, items = by_shard.setdefault(shard.id, (shard, [], []))
        indexes.append(index)
        items.append(Stored(str(record.get("PartitionKey") or ""), bytes(record["Data"]), encryption).encode())
    answers: list[Put] = [{} for _ in records]
    for index, error in refused.items():
        answers[index] = {"ErrorCode": error.code, "ErrorMessage": error.message}
    for shard, indexes, items in by_shard.values():
        position, at_ms = journal.extend(tx, shard.id, items, now_ms=now_ms)
        for index, number in zip(indexes, rules.sequence_numbers(shard, position, len(items), at_ms), strict=True):
            answers[index] = {"ShardId": shard.id, "SequenceNumber": number}
    return answers, encryption


@operation
async def get_shard_iterator(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    (scope, name), now_ms, secret = located(ctx, req), ctx.clock.now_ms(), await secret_of(ctx)
    wanted = {
        "Type": req["ShardIteratorType"],
        "SequenceNumber": req.get("StartingSequenceNumber"),
        "Timestamp": req.get("Timestamp"),
    }

    def read(tx: ReadTransaction) -> str:
        stream = readable(tx, scope, name).stream
        shard = find_visible(scope, stream, req["ShardId"], now_ms)
        position = start_position(tx, scope, stream, shard, wanted, now_ms)
        iterator = Iterator(scope.account_id, scope.region, name, shard.epoch, shard.id, position, now_ms)
        return iterator.sealed(secret)

    found = await ctx.store.read(read)
    if req.get("DryRun"):
        raise messages.dry_run()
    return {"ShardIterator": found}


@operation
async def get_records(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Up to 10,000 records or 10 MiB. A closed shard's last page names its children instead of another iterator."""
    now_ms, secret = ctx.clock.now_ms(), await secret_of(ctx)
    iterator = rules.read_iterator(secret, req["ShardIterator"])
    scope, name = iterator.scope, iterator.stream
    if iterator.region != ctx.scope.region or req.get("StreamARN", state.stream_arn(scope, name)) != state.stream_arn(
        scope, name
    ):
        raise messages.bad_iterator()
    rules.check_age(iterator, now_ms)
    count = req.get("Limit") or limits.GET_RECORDS_MAX.value

    def read(tx: ReadTransaction) -> tuple[View, Shard, Page]:
        view = readable(tx, scope, name)
        shard = find_visible(scope, view.stream, iterator.shard_id, now_ms)
        if shard.epoch != iterator.epoch:
            raise messages.shard_gone(shard.id, name, scope.account_id)
        if req.get("DryRun"):
            raise messages.dry_run()
        if not throughput.may_read(ctx, scope, name, shard.id):
            raise messages.rate_exceeded(shard.id, name, scope.account_id)
        page = read_page(
            tx,
            scope,
            view.stream,
            shard,
            position=iterator.position,
            now_ms=now_ms,
            count=count,
            bytes_max=limits.GET_BYTES_MAX.value,
        )
        return view, shard, page

    view, shard, page = await ctx.store.read(read)
    throughput.note_read(ctx, scope, name, shard.id, page.size)
    answer: dict[str, Any] = {
        "Records": [shown_record(shard, entry) for entry in page.entries],
        "MillisBehindLatest": page.behind_ms,
    }
    if page.is_end:
        answer["ChildShards"] = rules.children_of(view.stream, shard)
    else:
        answer["NextShardIterator"] = replace(iterator, position=page.next_position, created_ms=now_ms).sealed(secret)
    return answer
