"""What a table's stream is told of a change, in the change's own transaction."""

from typing import Any

import orjson

from penstock.engines.expressions import values
from penstock.engines.expressions.values import Item
from penstock.kernel.errors import Bug
from penstock.kernel.scope import Scope
from penstock.services.dynamodb import limits, rules, state
from penstock.services.dynamodb.state import Shard, Stream, Table
from penstock.storage.transactions import Transaction

_PLAIN, _WITH_BINARY = b"0", b"1"
EXPIRED_BY = {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}


def append(
    tx: Transaction,
    scope: Scope,
    table: Table,
    old: Item | None,
    new: Item | None,
    *,
    now_ms: int,
    is_expiry: bool,
) -> None:
    """One record for one changed item."""
    stream = state.find_stream(tx, scope, table.name, table.stream_label)
    if stream is None:
        raise Bug(f"table {table.name} streams to {table.stream_label}, which isn't there")
    if now_ms - stream.shards[-1].created_ms >= limits.SHARD_MS.value:
        stream = _rolled(tx, scope, stream, now_ms)
    either = new if new is not None else old
    assert either is not None
    keys = rules.key_of(table.schema, either)
    size = values.size_of_item(keys)
    images: list[Item | None] = [None, None]
    if old is not None and stream.view in ("OLD_IMAGE", "NEW_AND_OLD_IMAGES"):
        images[0] = old
        size += values.size_of_item(old)
    if new is not None and stream.view in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES"):
        images[1] = new
        size += values.size_of_item(new)
    name = "REMOVE" if new is None else "INSERT" if old is None else "MODIFY"
    record = [name, keys, *images, size, int(is_expiry)]
    state.records_of(stream).append(tx, stream.shards[-1].id, _encoded(record), now_ms=now_ms)


def _rolled(tx: Transaction, scope: Scope, known: Stream, now_ms: int) -> Stream:
    """Every few hours a shard ends and a child follows it."""
    stream = state.edit_stream(tx, scope, known.table, known.label)
    assert stream is not None
    last = stream.shards[-1]
    last.closed_ms = now_ms
    stream.shards.append(new_shard(stream, now_ms, parent=last.id))
    state.put_stream(tx, scope, stream)
    return stream


def new_shard(stream: Stream, now_ms: int, *, parent: str = "") -> Shard:
    return Shard(f"shardId-{now_ms:020d}-{stream.key[:8]}", now_ms, parent)


def sequence_number(at_ms: int, position: int) -> str:
    """24 digits that rise from record to record and from shard to shard: when it was appended, and where.

    With position 0 it stands before all that was appended at that time or later.
    """
    return f"{at_ms:013d}{position:011d}"


def parse_sequence_number(number: str) -> tuple[int, int] | None:
    """Time in ms and position; None for what is no sequence number of ours."""
    if len(number) != 24 or not number.isdecimal():
        return None
    return int(number[:13]), int(number[13:])


def _encoded(record: list[Any]) -> bytes:
    try:
        return _PLAIN + orjson.dumps(record)
    except TypeError:
        return _WITH_BINARY + orjson.dumps(record, default=values.as_json)


def decoded(data: bytes) -> list[Any]:
    """event name, keys, old image, new image, bytes, whether it expired."""
    record: list[Any] = orjson.loads(memoryview(data)[1:])
    if data[:1] == _WITH_BINARY:
        record[1:4] = [values.revived(item) if item is not None else None for item in record[1:4]]
    return record
