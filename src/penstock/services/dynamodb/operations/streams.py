"""DynamoDB Streams: which there are, their shards, and the records in them.

A sequence number is 13 digits of time (ms) and 11 of a position, so NUMBER = time + eleven zeros may be given as
AFTER_SEQUENCE_NUMBER to start with the first record of that time or later.
Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
"""

import binascii
from dataclasses import dataclass
from typing import Any

import orjson

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel import arn
from penstock.kernel.scope import Scope
from penstock.services.dynamodb import limits, messages, state
from penstock.services.dynamodb.operations.descriptions import shown_schema, when
from penstock.services.dynamodb.operations.named import table_of
from penstock.services.dynamodb.operations.stream_records import (
    EXPIRED_BY,
    decoded,
    parse_sequence_number,
    sequence_number,
)
from penstock.services.dynamodb.state import Shard, Stream
from penstock.storage.journal import Entry, Journal
from penstock.storage.transactions import ReadTransaction

_STREAMS_MAX = _SHARDS_MAX = 100


@operation
async def list_streams(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, table = table_of(ctx, req["TableName"]) if req.get("TableName") else (ctx.scope, None)
    count, after = _count(req, _STREAMS_MAX), req.get("ExclusiveStartStreamArn") or ""
    now_ms = ctx.clock.now_ms()

    def read(tx: ReadTransaction) -> list[Stream]:
        return [one for one in state.streams(tx, scope, table) if not _is_gone(one, now_ms)]

    found = [one for one in await ctx.store.read(read) if one.arn(scope) > after]
    shown = [{"StreamArn": one.arn(scope), "TableName": one.table, "StreamLabel": one.label} for one in found[:count]]
    return {"Streams": shown} | ({"LastEvaluatedStreamArn": shown[-1]["StreamArn"]} if len(found) > count else {})


def _count(req: dict[str, Any], most: int) -> int:
    count = req.get("Limit") or most
    if count > most:
        raise messages.above("limit", count, most)
    return int(count)


def _is_gone(stream: Stream, now_ms: int) -> bool:
    return stream.closed_ms is not None and stream.closed_ms < now_ms - limits.STREAM_MS.value


@operation
async def describe_stream(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    count, after = _count(req, _SHARDS_MAX), req.get("ExclusiveStartShardId") or ""
    parent = (req.get("ShardFilter") or {}).get("ShardId")

    def read(tx: ReadTransaction) -> dict[str, Any]:
        scope, stream = _get(tx, ctx, req["StreamArn"])
        shards = [one for one in stream.shards if one.id > after and (parent is None or one.parent == parent)]
        shown: dict[str, Any] = {
            "StreamArn": stream.arn(scope),
            "StreamLabel": stream.label,
            "StreamStatus": "ENABLED" if stream.closed_ms is None else "DISABLED",
            "StreamViewType": stream.view,
            "CreationRequestDateTime": when(stream.created_ms),
            "TableName": stream.table,
            "KeySchema": shown_schema(stream.schema),
            "Shards": [_shown_shard(tx, stream, shard) for shard in shards[:count]],
        }
        if len(shards) > count:
            shown["LastEvaluatedShardId"] = shards[count - 1].id
        return shown

    return {"StreamDescription": await ctx.store.read(read)}


def _shown_shard(tx: ReadTransaction, stream: Stream, shard: Shard) -> dict[str, Any]:
    numbers = {"StartingSequenceNumber": sequence_number(shard.created_ms, 0)}
    if shard.closed_ms is not None:
        position, at_ms = state.records_of(stream).last(tx, shard.id) or (0, shard.created_ms)
        numbers["EndingSequenceNumber"] = sequence_number(at_ms, position)
    shown: dict[str, Any] = {"ShardId": shard.id, "SequenceNumberRange": numbers}
    return shown | ({"ParentShardId": shard.parent} if shard.parent else {})


def parse_stream_arn(text: str) -> tuple[Scope, str, str] | None:
    """Scope, table and label; None for what is no stream's ARN."""
    try:
        found = arn.parse(text)
    except ValueError:
        return None
    parts = found.resource.split("/")
    if found.service != "dynamodb" or len(parts) != 4 or parts[0] != "table" or parts[2] != "stream":
        return None
    return Scope(found.account_id, found.region, found.partition), parts[1], parts[3]


def _get(tx: ReadTransaction, ctx: Context, text: str) -> tuple[Scope, Stream]:
    """Raises ResourceNotFoundException, ValidationException."""
    named = parse_stream_arn(text)
    if named is None:
        raise messages.invalid("Invalid StreamArn")
    scope, table, label = named
    stream = state.find_stream(tx, scope, table, label)
    if stream is None or _is_gone(stream, ctx.clock.now_ms()):
        raise messages.no_stream(text)
    return scope, stream


def _get_shard(stream: Stream, shard_id: str, text: str) -> Shard:
    shard = next((one for one in stream.shards if one.id == shard_id), None)
    if shard is None:
        raise messages.no_shard(shard_id, text)
    return shard


@dataclass(frozen=True, slots=True)
class _Iterator:
    """Where a reader stands: the stream's ARN, a shard, the next position, when it was given out."""

    stream_arn: str
    shard_id: str
    position: int
    at_ms: int

    def encode(self) -> str:
        told = orjson.dumps([self.shard_id, self.position, self.at_ms])
        return f"{self.stream_arn}|1|{binascii.b2a_base64(told, newline=False).decode()}"


def iterator_stream_arn(text: str) -> str:
    """The stream that an iterator reads; never raises."""
    return text.partition("|")[0] or "*"


def _parse_iterator(text: str, now_ms: int) -> _Iterator:
    stream_arn, _, rest = text.partition("|1|")
    try:
        shard_id, position, at_ms = orjson.loads(binascii.a2b_base64(rest, strict_mode=True))
        found = _Iterator(stream_arn, str(shard_id), int(position), int(at_ms))
    except (ValueError, TypeError):
        raise messages.invalid("Invalid ShardIterator") from None
    if now_ms - found.at_ms > limits.ITERATOR_MS.value:
        raise messages.expired_iterator()
    return found


@operation
async def get_shard_iterator(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    kind, number, now_ms = req["ShardIteratorType"], req.get("SequenceNumber"), ctx.clock.now_ms()
    is_numbered = kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER")
    if is_numbered and number is None:
        raise messages.invalid(
            "The parameter SequenceNumber is required but was not present in the request when parameter "
            f"ShardIteratorType is set to {kind}"
        )
    if not is_numbered and number is not None:
        raise messages.invalid(
            "The parameter SequenceNumber must not be present in the request when parameter ShardIteratorType is set "
            f"to {kind}"
        )

    def read(tx: ReadTransaction) -> str:
        _, stream = _get(tx, ctx, req["StreamArn"])
        shard = _get_shard(stream, req["ShardId"], req["StreamArn"])
        journal = state.records_of(stream)
        if number is not None:
            position = _position_of(tx, journal, shard, number, is_after=kind == "AFTER_SEQUENCE_NUMBER")
            if position < journal.position_at(tx, shard.id, now_ms - limits.STREAM_MS.value):
                raise messages.trimmed()
        elif kind == "LATEST":
            position = journal.next_position(tx, shard.id)
        else:
            position = journal.position_at(tx, shard.id, now_ms - limits.STREAM_MS.value)
        return _Iterator(req["StreamArn"], shard.id, position, now_ms).encode()

    return {"ShardIterator": await ctx.store.read(read)}


def _position_of(tx: ReadTransaction, journal: Journal, shard: Shard, number: str, *, is_after: bool) -> int:
    parsed = parse_sequence_number(number)
    if parsed is None:
        raise messages.invalid(f"Invalid SequenceNumber: {number}")
    at_ms, position = parsed
    if position == 0:
        return journal.position_at(tx, shard.id, at_ms)
    if at_ms < shard.created_ms or (shard.closed_ms is not None and at_ms > shard.closed_ms):
        raise messages.invalid(f"SequenceNumber {number} is not in the range of shard {shard.id}")
    return position + is_after


@operation
async def get_records(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()
    iterator = _parse_iterator(req["ShardIterator"], now_ms)
    count = _count(req, limits.STREAM_RECORDS_MAX.value)

    def read(tx: ReadTransaction) -> dict[str, Any]:
        scope, stream = _get(tx, ctx, iterator.stream_arn)
        shard = _get_shard(stream, iterator.shard_id, iterator.stream_arn)
        journal = state.records_of(stream)
        first = journal.position_at(tx, shard.id, now_ms - limits.STREAM_MS.value)
        if iterator.position < first:
            raise messages.trimmed()
        entries, size = list[Entry](), 0
        for entry in journal.entries(tx, shard.id, position=iterator.position, limit=count):
            size += len(entry.data)
            if entries and size > limits.STREAM_BYTES_MAX.value:
                break
            entries.append(entry)
        position = entries[-1].position + 1 if entries else iterator.position
        answer: dict[str, Any] = {"Records": [_shown(scope, stream, entry) for entry in entries]}
        if shard.closed_ms is None or position < journal.next_position(tx, shard.id):
            answer["NextShardIterator"] = _Iterator(iterator.stream_arn, shard.id, position, now_ms).encode()
        return answer

    return await ctx.store.read(read)


def _shown(scope: Scope, stream: Stream, entry: Entry) -> dict[str, Any]:
    """Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_Record.html"""
    name, keys, old, new, size, is_expiry = decoded(entry.data)
    number = sequence_number(entry.at_ms, entry.position)
    change: dict[str, Any] = {
        "ApproximateCreationDateTime": when(entry.at_ms // 1000 * 1000),
        "Keys": keys,
        "SequenceNumber": number,
        "SizeBytes": size,
        "StreamViewType": stream.view,
    }
    if new is not None:
        change["NewImage"] = new
    if old is not None:
        change["OldImage"] = old
    shown: dict[str, Any] = {
        "eventID": _event_id(stream, number),
        "eventName": name,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": scope.region,
        "dynamodb": change,
    }
    return shown | ({"userIdentity": EXPIRED_BY} if is_expiry else {})


def _event_id(stream: Stream, number: str) -> str:
    """32 hexadecimal digits that the same record always has."""
    return f"{stream.key[:12]:0<12}{int(number):020x}"
