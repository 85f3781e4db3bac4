"""A table's stream: switched on, switched off."""

from collections.abc import Mapping
from typing import Any

from penstock.kernel.scope import Scope
from penstock.services.dynamodb import messages, state
from penstock.services.dynamodb.operations.descriptions import when
from penstock.services.dynamodb.operations.stream_records import new_shard
from penstock.services.dynamodb.state import Stream, Table
from penstock.storage.transactions import Transaction


def checked_view(given: Mapping[str, Any]) -> str:
    """The view that a StreamSpecification asks for, "" for no stream. Raises ValidationException."""
    view = given.get("StreamViewType")
    if given.get("StreamEnabled") and not view:
        raise messages.wrong("Table is being created with a stream enabled, UpdateViewType should be specified")
    if view and not given.get("StreamEnabled"):
        raise messages.wrong("Table is being created with a stream disabled, UpdateViewType should not be specified")
    return str(view or "")


def enable(tx: Transaction, scope: Scope, table: Table, view: str, key: str, now_ms: int) -> None:
    """A new stream with a new label; what was read of an older one stays readable for its day."""
    if table.is_streaming:
        raise messages.invalid(f"Table already has an enabled stream: TableName: {table.name}")
    at_ms = now_ms
    while state.find_stream(tx, scope, table.name, _label(at_ms)) is not None:
        at_ms += 1
    stream = Stream(table.name, _label(at_ms), key, view, now_ms, table.schema)
    stream.shards.append(new_shard(stream, now_ms))
    state.put_stream(tx, scope, stream)
    table.stream_label, table.stream_view, table.is_streaming = stream.label, view, True


def disable(tx: Transaction, scope: Scope, table: Table, now_ms: int) -> None:
    if not table.is_streaming:
        raise messages.invalid(f"Table has no stream to disable: TableName: {table.name}")
    stream = state.edit_stream(tx, scope, table.name, table.stream_label)
    if stream is not None:
        stream.closed_ms = now_ms
        stream.shards[-1].closed_ms = now_ms
        state.put_stream(tx, scope, stream)
    table.is_streaming = False


def _label(time_ms: int) -> str:
    return when(time_ms).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_ms % 1000:03d}"
