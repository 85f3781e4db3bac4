"""A shard read from a position on: what GetRecords and SubscribeToShard give out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.kernel.scope import Scope
from penstock.services.kinesis import messages, rules, state
from penstock.services.kinesis.state import Shard, Stored, Stream
from penstock.storage.journal import Entry
from penstock.storage.transactions import ReadTransaction


@dataclass(frozen=True, slots=True)
class Page:
    """Some records of a shard, and where the next begin. `is_end`: the shard is closed, and there are none."""

    entries: list[Entry]
    next_position: int
    behind_ms: int
    size: int
    is_end: bool


def readable(tx: ReadTransaction, scope: Scope, name: str) -> state.View:
    """A stream that is being deleted isn't there for those who put and read.

    On AWS one that is being made isn't either, for many seconds; here it takes records at once.
    """
    view = state.get_view(tx, scope, name)
    if view.stream.status == "DELETING":
        raise messages.no_stream(name, scope.account_id)
    return view


def find_visible(scope: Scope, stream: Stream, shard_id: str, now_ms: int) -> Shard:
    """Raises ResourceNotFoundException, for a shard too all of whose records are beyond the retention."""
    if not shard_id.removeprefix("shardId-").isdecimal():
        raise messages.no_shard(shard_id, stream.name, scope.account_id)
    shard = rules.find_shard(stream, shard_id)
    if shard is None or (shard.closed_ms is not None and shard.closed_ms < stream.oldest_ms(now_ms)):
        raise messages.shard_gone(shard_id, stream.name, scope.account_id)
    return shard


def read_page(
    tx: ReadTransaction,
    scope: Scope,
    stream: Stream,
    shard: Shard,
    *,
    position: int,
    now_ms: int,
    count: int,
    bytes_max: int,
) -> Page:
    """Up to `count` records within the retention, and up to `bytes_max` of them, but one at least."""
    journal = state.records_of(scope, stream.name)
    begin = max(position, journal.position_at(tx, shard.id, stream.oldest_ms(now_ms)))
    entries, size = list[Entry](), 0
    for entry in journal.entries(tx, shard.id, position=begin, limit=count):
        if entries and size + len(entry.data) > bytes_max:
            break
        size += len(entry.data)
        entries.append(entry)
    next_position = entries[-1].position + 1 if entries else begin
    is_last = next_position >= journal.next_position(tx, shard.id)
    behind_ms = 0 if is_last or not entries else max(0, now_ms - entries[-1].at_ms)
    return Page(entries, next_position, behind_ms, size, is_last and shard.closed_ms is not None)


def start_position(
    tx: ReadTransaction, scope: Scope, stream: Stream, shard: Shard, wanted: Mapping[str, Any], now_ms: int
) -> int:
    """The first position of an iterator: `wanted` has Type, SequenceNumber and Timestamp.

    Raises InvalidArgumentException.
    """
    journal, kind = state.records_of(scope, stream.name), wanted["Type"]
    if kind in ("LATEST", "TRIM_HORIZON") and wanted.get("SequenceNumber"):
        raise messages.needless_sequence(kind)
    if kind == "LATEST":
        return journal.next_position(tx, shard.id)
    if kind == "TRIM_HORIZON":
        return 1
    if kind == "AT_TIMESTAMP":
        if wanted.get("Timestamp") is None:
            raise messages.missing_start("timestampInMillis", kind, "timestamp")
        at_ms: int = rules.ms_of(wanted["Timestamp"])
        if at_ms > now_ms:
            raise messages.future_time(at_ms, now_ms)
        return journal.position_at(tx, shard.id, at_ms)
    position = _position_of(scope, stream, shard, kind, wanted.get("SequenceNumber"))
    return position + 1 if kind == "AFTER_SEQUENCE_NUMBER" else position


def _position_of(scope: Scope, stream: Stream, shard: Shard, kind: str, number: str | None) -> int:
    if number is None:
        raise messages.missing_start("startingSequenceNumber", kind, "startingSequenceNumber")
    position = rules.position_of(number)
    if position is None:
        raise messages.bad_sequence(number, shard.id, stream.name, scope.account_id)
    if rules.shard_of(number) != shard.id:
        raise messages.sequence_of_another(rules.shard_of(number), shard.id)
    if not rules.is_of_stream(number, shard):
        raise messages.foreign_sequence(number, shard.id, stream.name, scope.account_id)
    return position


def shown_record(shard: Shard, entry: Entry) -> dict[str, Any]:
    stored = Stored.decode(entry.data)
    record: dict[str, Any] = {
        "SequenceNumber": rules.sequence_number(shard, entry.position, entry.at_ms),
        "ApproximateArrivalTimestamp": rules.when(entry.at_ms),
        "Data": stored.data,
        "PartitionKey": stored.partition_key,
    }
    return record | ({"EncryptionType": stored.encryption} if stored.encryption == "KMS" else {})
