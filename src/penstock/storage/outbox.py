"""Intents: what a change causes, written in the transaction that changes.

An intent is due at a time, so a durable timer is an intent due later, under a name by which it can be moved
or cancelled. The background runner (framework/background.py) carries due intents out at least once.
"""

from dataclasses import dataclass

import orjson

from penstock.storage.transactions import ReadTransaction, Transaction

_BY_DUE = "outbox"
_BY_NAME = "outbox-name"


@dataclass(frozen=True, slots=True)
class Intent:
    """`kind` names the handler (`s3.notify`); `payload` is JSON; `attempt` counts from 1.

    replaced   how often one of that name was replaced by the next while it waited or ran: tells two alike apart
    """

    kind: str
    payload: dict[str, object]
    due_ms: int
    id: str
    attempt: int = 1
    replaced: int = 0


def add(tx: Transaction, kind: str, payload: dict[str, object], *, due_ms: int, id: str) -> Intent:
    """Write an intent. A second one with the same `kind` and `id` replaces the first (a timer moved)."""
    earlier = find(tx, kind, id)
    intent = Intent(kind, payload, due_ms, id, replaced=0 if earlier is None else earlier.replaced + 1)
    _write(tx, intent)
    return intent


def cancel(tx: Transaction, kind: str, id: str) -> bool:
    """Whether there was one to cancel; also how a carried-out intent is removed."""
    due = tx.get((_BY_NAME, kind, id))
    if due is None:
        return False
    tx.delete((_BY_DUE, int(due), kind, id))
    tx.delete((_BY_NAME, kind, id))
    return True


def retry(tx: Transaction, intent: Intent, *, due_ms: int) -> None:
    """Put a failed intent back for its next attempt."""
    _write(tx, Intent(intent.kind, intent.payload, due_ms, intent.id, intent.attempt + 1, intent.replaced))


def find(tx: ReadTransaction, kind: str, id: str) -> Intent | None:
    """The intent of that name, due or not."""
    due_ms = tx.get((_BY_NAME, kind, id))
    if due_ms is None:
        return None
    key = (_BY_DUE, int(due_ms), kind, id)
    value = tx.get(key)
    return _read(key, value) if value is not None else None


def due(tx: ReadTransaction, now_ms: int, *, limit: int) -> list[Intent]:
    """The intents due by now, earliest first."""
    pairs = tx.range((_BY_DUE,), end=(_BY_DUE, now_ms + 1), limit=limit)
    return [_read(key, value) for key, value in pairs]


def next_due_ms(tx: ReadTransaction) -> int | None:
    for key, _ in tx.range((_BY_DUE,), limit=1):
        return int(str(key[1]))
    return None


def _write(tx: Transaction, intent: Intent) -> None:
    cancel(tx, intent.kind, intent.id)
    value = orjson.dumps({"payload": intent.payload, "attempt": intent.attempt, "replaced": intent.replaced})
    tx.put((_BY_DUE, intent.due_ms, intent.kind, intent.id), value)
    tx.put((_BY_NAME, intent.kind, intent.id), str(intent.due_ms).encode())


def _read(key: tuple[object, ...], value: bytes) -> Intent:
    stored = orjson.loads(value)
    return Intent(
        str(key[2]), stored["payload"], int(str(key[1])), str(key[3]), stored["attempt"], stored.get("replaced", 0)
    )
