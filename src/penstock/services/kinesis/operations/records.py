"""Records: put and read."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.units import HOUR_MS
from penstock.services.kinesis import limits, messages, rules, state
from penstock.services.kinesis.operations.access import named
from penstock.services.kinesis.operations.shards import find
from penstock.services.kinesis.rules import Iterator
from penstock.services.kinesis.state import Shard, Stored, Stream
from penstock.storage.journal import Entry
from penstock.storage.transactions import ReadTransaction, Transaction


@operation
async def put_record(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    _check_size([req])
    [put], encryption = await _append(ctx, named(req), [req])
    return {**put, **({"EncryptionType": encryption} if encryption != "NONE" else {})}


@operation
async def put_records(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    _check_size(req["Records"])
    put, encryption = await _append(ctx, named(req), req["Records"])
    return {
        "FailedRecordCount": 0,
        "Records": put,
        **({"EncryptionType": encryption} if encryption != "NONE" else {}),
    }


def _check_size(records: list[dict[str, Any]]) -> None:
    size = sum(len(record["Data"]) + len(str(record.get("PartitionKey") or "").encode()) for record in records)
    if size > limits.BATCH_BYTES_MAX.value:
        raise messages.invalid("Records size exceeds 10 MB limit")


async def _append(ctx: Context, name: str, records: list[dict[str, Any]]) -> tuple[list[dict[str, str]], str]:
    """All in one transaction, in order per shard. What each was answered, and the stream's encryption."""
    now_ms = ctx.clock.now_ms()

    def append(tx: Transaction) -> tuple[list[dict[str, str]], str]:
        stream = _readable(tx, ctx, name)
        journal = state.records_of(ctx.scope, name)
        by_shard: dict[str, tuple[Shard, list[int], list[bytes]]] = {}
        for index, record in enumerate(records):
            key = str(record.get("PartitionKey") or "")
            shard = rules.shard_for(stream, rules.hash_of(key, record.get("ExplicitHashKey")))
            _, indexes, items = by_shard.setdefault(shard.id, (shard, [], []))
            indexes.append(index)
            items.append(Stored(key, bytes(record["Data"]), stream.encryption).encode())
        answers: list[dict[str, str]] = [{} for _ in records]
        for shard, indexes, items in by_shard.values():
            entries = journal.append_all(tx, shard.id, items, now_ms=now_ms)
            for index, entry in zip(indexes, entries, strict=True):
                number = rules.sequence_number(shard, entry.position, entry.at_ms)
                answers[index] = {"ShardId": shard.id, "SequenceNumber": number}
        return answers, stream.encryption

    return await ctx.store.transact(append)


def _readable(tx: ReadTransaction, ctx: Context, name: str) -> Stream:
    """A stream that is being made isn't there yet for those who put and read."""
    stream = state.get_stream(tx, ctx.scope, name)
    if stream.status in ("CREATING", "DELETING"):
        raise messages.no_stream(name, ctx.scope.account_id)
    return stream


@operation
async def get_shard_iterator(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    name, now_ms, kind = named(req), ctx.clock.now_ms(), req["ShardIteratorType"]

    def read(tx: ReadTransaction) -> str:
        stream = _readable(tx, ctx, name)
        shard = find(ctx, stream, req["ShardId"])
        return Iterator(name, shard.id, _start(tx, ctx, name, shard, kind, req), now_ms).encode()

    return {"ShardIterator": await ctx.store.read(read)}


def _start(tx: ReadTransaction, ctx: Context, name: str, shard: Shard, kind: str, req: dict[str, Any]) -> int:
    journal = state.records_of(ctx.scope, name)
    if kind == "LATEST":
        return journal.next_position(tx, shard.id)
    if kind == "AT_TIMESTAMP":
        if req.get("Timestamp") is None:
            raise messages.missing_start("timestampInMillis", kind, "timestamp")
        return journal.position_at(tx, shard.id, round(req["Timestamp"].timestamp() * 1000))
    if kind == "TRIM_HORIZON":
        return 1
    number = req.get("StartingSequenceNumber")
    position = rules.position_of(number) if number else None
    if position is None:
        if number is None:
            raise messages.missing_start("startingSequenceNumber", kind, "startingSequenceNumber")
        raise messages.bad_sequence(number, shard.id)
    return position + (kind == "AFTER_SEQUENCE_NUMBER")


@operation
async def get_records(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()
    iterator = rules.parse_iterator(req["ShardIterator"], now_ms)
    count = req.get("Limit") or limits.GET_RECORDS_MAX.value

    def read(tx: ReadTransaction) -> dict[str, Any]:
        stream = _readable(tx, ctx, iterator.stream)
        shard = find(ctx, stream, iterator.shard_id)
        journal = state.records_of(ctx.scope, stream.name)
        oldest_ms = now_ms - stream.retention_hours * HOUR_MS
        entries, size = list[Entry](), 0
        for entry in journal.entries(tx, shard.id, position=iterator.position, limit=count):
            size += len(entry.data)
            if entries and size > limits.GET_BYTES_MAX.value:
                break
            entries.append(entry)
        position = entries[-1].position + 1 if entries else iterator.position
        end = journal.next_position(tx, shard.id)
        behind_ms = now_ms - entries[-1].at_ms if entries and position < end else 0
        answer: dict[str, Any] = {
            "Records": [_shown(shard, entry) for entry in entries if entry.at_ms >= oldest_ms],
            "MillisBehindLatest": max(0, behind_ms),
        }
        if shard.closed_ms is None or position < end:
            answer["NextShardIterator"] = Iterator(stream.name, shard.id, position, now_ms).encode()
        else:
            answer["ChildShards"] = _children(stream, shard)
        return answer

    return await ctx.store.read(read)


def _shown(shard: Shard, entry: Entry) -> dict[str, Any]:
    stored = Stored.decode(entry.data)
    record: dict[str, Any] = {
        "SequenceNumber": rules.sequence_number(shard, entry.position, entry.at_ms),
        "ApproximateArrivalTimestamp": rules.when(entry.at_ms),
        "Data": stored.data,
        "PartitionKey": stored.partition_key,
    }
    return record | ({"EncryptionType": stored.encryption} if stored.encryption == "KMS" else {})


def _children(stream: Stream, shard: Shard) -> list[dict[str, Any]]:
    return [
        {
            "ShardId": child.id,
            "ParentShards": [parent for parent in (child.parent, child.adjacent_parent) if parent],
            "HashKeyRange": {"StartingHashKey": child.first_hash, "EndingHashKey": child.last_hash},
        }
        for child in stream.shards
        if shard.id in (child.parent, child.adjacent_parent)
    ]
