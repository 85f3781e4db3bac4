"""One item changes: with it, in the same transaction, every index entry, the stream, the expiry and the counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from penstock.engines.expressions import values
from penstock.engines.expressions.values import Item
from penstock.kernel.scope import Scope
from penstock.services.dynamodb import limits, rules, state
from penstock.services.dynamodb.operations import destinations, stream_records
from penstock.services.dynamodb.rules import Cost
from penstock.services.dynamodb.state import Index, Table
from penstock.storage import outbox
from penstock.storage.transactions import Key, ReadTransaction, Transaction

EXPIRE = "dynamodb.expire"
EXPIRE_LAG_MS = 1000


@dataclass(slots=True)
class Stored:
    """An item as the store has it. `data` None: there is none."""

    key: Key
    data: bytes | None

    @property
    def item(self) -> Item | None:
        return values.decode(self.data) if self.data is not None else None

    @property
    def size(self) -> int:
        return values.stored_size(self.data) if self.data is not None else 0


def look(tx: ReadTransaction, table: Table, item: Mapping[str, Any]) -> Stored:
    """What is stored under the item's key."""
    key = state.item_key(table.schema, item)
    return Stored(key, tx.get((*state.ITEMS, table.key, *key)))


def apply(
    tx: Transaction,
    scope: Scope,
    table: Table,
    stored: Stored,
    old: Item | None,
    new: Item | None,
    *,
    size: int = 0,
    now_ms: int,
    is_expiry: bool = False,
) -> Cost:
    """Put `new`, of `size` bytes, in the place of `old`, or delete where it is None; what it cost."""
    cost = Cost(rules.write_units(max(size, stored.size)))
    if old == new:
        return cost
    place: Key = (*state.ITEMS, table.key, *stored.key)
    data = values.encode(new, size) if new is not None else None
    if table.is_recoverable:
        undo: Key = (*state.UNDO, table.key, now_ms, *stored.key)
        if tx.get(undo) is None:
            tx.put(undo, stored.data or b"")
    if data is None:
        tx.delete(place)
    else:
        tx.put(place, data)
    delta = {"": _difference(old, stored.size, new, size)}
    for index in table.indexes:
        changed = _apply_to_index(tx, table, index, stored, old, new, data)
        if changed is not None:
            units, count, bytes_ = changed
            cost.indexes[index.name] = units
            delta[index.key] = (count, bytes_)
    add_counts(tx, table, delta)
    if table.ttl:
        _move_expiry(tx, scope, table, stored.key, old, new, now_ms=now_ms)
    if table.is_streaming:
        stream_records.append(tx, scope, table, old, new, now_ms=now_ms, is_expiry=is_expiry)
    if table.destinations:
        destinations.tell(tx, scope, table, stored.key, old, new, now_ms=now_ms, is_expiry=is_expiry)
    return cost


def _difference(old: Item | None, old_size: int, new: Item | None, size: int) -> tuple[int, int]:
    return (new is not None) - (old is not None), size - old_size


def _apply_to_index(
    tx: Transaction, table: Table, index: Index, stored: Stored, old: Item | None, new: Item | None, data: bytes | None
) -> tuple[float, int, int] | None:
    """Units used, entries and bytes gained; None where the index doesn't change."""
    before = state.entry_key(table, index, old, stored.key) if old is not None else None
    after = state.entry_key(table, index, new, stored.key) if new is not None else None
    if before is None and after is None:
        return None
    place: Key = (*state.ENTRIES, index.key)
    was = tx.get((*place, *before)) if before is not None else None
    old_size = values.stored_size(was) if was is not None else 0
    entry: bytes | None = None
    if after is not None and new is not None:
        part = rules.projected(table, index, new)
        entry = data if part is new and data is not None else values.encode(part, values.size_of_item(part))
        if before == after and was == entry:
            return None
        tx.put((*place, *after), entry)
    if before is not None and before != after:
        tx.delete((*place, *before))
    size = values.stored_size(entry) if entry is not None else 0
    count = (entry is not None) - (was is not None)
    if before is not None and after is not None and before != after:
        return rules.write_units(old_size) + rules.write_units(size), count, size - old_size
    return rules.write_units(max(old_size, size)), count, size - old_size


def put_entry(tx: Transaction, table: Table, index: Index, key: Key, item: Item) -> int | None:
    """Write the entry of an item into a new index; its bytes, None where the index hasn't room for the item."""
    place = state.entry_key(table, index, item, key)
    if place is None:
        return None
    part = rules.projected(table, index, item)
    size = values.size_of_item(part)
    tx.put((*state.ENTRIES, index.key, *place), values.encode(part, size))
    return size


def counts(tx: ReadTransaction, table: Table) -> dict[str, list[int]]:
    """Items and bytes, by "" for the table and by an index's key."""
    data = tx.get((*state.COUNTS, table.key))
    found: dict[str, list[int]] = orjson.loads(data) if data is not None else {}
    return found


def add_counts(tx: Transaction, table: Table, delta: Mapping[str, tuple[int, int]]) -> None:
    known = counts(tx, table)
    for name, (items, size) in delta.items():
        have = known.setdefault(name, [0, 0])
        have[0] += items
        have[1] += size
    tx.put((*state.COUNTS, table.key), orjson.dumps(known))


def _move_expiry(
    tx: Transaction, scope: Scope, table: Table, key: Key, old: Item | None, new: Item | None, *, now_ms: int
) -> None:
    before = expiry_of(table, old, now_ms) if old is not None else None
    after = expiry_of(table, new, now_ms) if new is not None else None
    if before == after:
        return
    place = table.expiries
    if before is not None:
        tx.delete((*place, before, *key))
    if after is not None:
        put_expiry(tx, scope, table, key, after, now_ms=now_ms)


def put_expiry(tx: Transaction, scope: Scope, table: Table, key: Key, expiry_s: int, *, now_ms: int) -> None:
    tx.put((*table.expiries, expiry_s, *key), b"")
    due_ms = max(expiry_s * 1000, now_ms) + EXPIRE_LAG_MS
    waiting = outbox.find(tx, EXPIRE, table.key)
    if waiting is None or waiting.due_ms > due_ms:
        plan_expiry(tx, scope, table, due_ms)


def plan_expiry(tx: Transaction, scope: Scope, table: Table, due_ms: int) -> None:
    payload: dict[str, object] = {"account_id": scope.account_id, "region": scope.region, "name": table.name}
    outbox.add(tx, EXPIRE, payload | {"key": table.key}, due_ms=due_ms, id=table.key)


def expiry_of(table: Table, item: Mapping[str, Any], now_ms: int) -> int | None:
    """The second at which an item expires; None for never. One that expired five years ago stays.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html
    """
    value = item.get(table.ttl)
    if value is None or "N" not in value:
        return None
    second = int(Decimal(value["N"]))
    oldest = now_ms // 1000 - limits.EXPIRY_AGE_S_MAX.value
    return second if oldest < second < 2**60 else None
