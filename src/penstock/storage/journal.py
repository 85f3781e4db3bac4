"""Append-only logs, one per shard: numbered, dated, read from a position or a time, trimmed by age.

Below the journal's prefix:
    ("n", shard)                       the next position
    ("e", shard, position)             time and bytes of an entry
    ("t", shard, time, position)       entries by time
Positions start at 1 and never come again, not even after a trim. Times within a shard never go back: an entry
that would is dated like the one before it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from penstock.storage.transactions import Key, ReadTransaction, Transaction

_TIME_BYTES = 8


@dataclass(frozen=True, slots=True)
class Entry:
    position: int
    at_ms: int
    data: bytes


class Journal:
    """The logs below one prefix."""

    def __init__(self, prefix: Key) -> None:
        self._prefix = prefix

    def append(self, tx: Transaction, shard: str, data: bytes, *, now_ms: int) -> Entry:
        return self.append_all(tx, shard, [data], now_ms=now_ms)[0]

    def append_all(self, tx: Transaction, shard: str, items: list[bytes], *, now_ms: int) -> list[Entry]:
        """One after another, at consecutive positions."""
        position, last_ms = self._head(tx, shard)
        at_ms = max(now_ms, last_ms)
        entries = [Entry(position + index, at_ms, data) for index, data in enumerate(items)]
        stamp = at_ms.to_bytes(_TIME_BYTES, "big")
        for entry in entries:
            tx.put((*self._prefix, "e", shard, entry.position), stamp + entry.data)
        if entries:
            # Entries of one time lie together, so the first position of each time finds them all.
            if at_ms != last_ms or self.position_at(tx, shard, at_ms) == position:
                tx.put((*self._prefix, "t", shard, at_ms, position), b"")
            tx.put((*self._prefix, "n", shard), b"%d %d" % (position + len(entries), at_ms))
        return entries

    def read(self, tx: ReadTransaction, shard: str, *, position: int, limit: int) -> list[Entry]:
        """From `position` on, itself included; what was trimmed away is passed over."""
        return list(self.entries(tx, shard, position=position, limit=limit))

    def entries(
        self, tx: ReadTransaction, shard: str, *, position: int = 0, limit: int | None = None
    ) -> Iterator[Entry]:
        prefix = (*self._prefix, "e", shard)
        for key, value in tx.range(prefix, begin=(*prefix, position), limit=limit):
            yield Entry(_int(key[-1]), int.from_bytes(value[:_TIME_BYTES], "big"), value[_TIME_BYTES:])

    def position_at(self, tx: ReadTransaction, shard: str, at_ms: int) -> int:
        """Of the first entry dated `at_ms` or later; the next position if there is none."""
        prefix = (*self._prefix, "t", shard)
        for key, _ in tx.range(prefix, begin=(*prefix, at_ms), limit=1):
            return _int(key[-1])
        return self.next_position(tx, shard)

    def next_position(self, tx: ReadTransaction, shard: str) -> int:
        return self._head(tx, shard)[0]

    def first_position(self, tx: ReadTransaction, shard: str) -> int:
        """Of the oldest entry still there (TRIM_HORIZON)."""
        for entry in self.entries(tx, shard, limit=1):
            return entry.position
        return self.next_position(tx, shard)

    def trim(self, tx: Transaction, shard: str, *, before_ms: int, limit: int) -> int:
        """Remove up to `limit` entries dated before `before_ms`, oldest first; answers how many."""
        return self.drop(tx, shard, before=self.position_at(tx, shard, before_ms), limit=limit)

    def drop(self, tx: Transaction, shard: str, *, before: int, limit: int) -> int:
        """Remove up to `limit` entries that stand before a position, oldest first; answers how many."""
        prefix = (*self._prefix, "e", shard)
        gone = 0
        last = 0
        for key, _ in tx.range(prefix, end=(*prefix, before), limit=limit):
            tx.delete(key)
            gone += 1
            last = _int(key[-1])
        if gone:
            self._trim_times(tx, shard, last + 1)
        return gone

    def delete(self, tx: Transaction, shard: str) -> None:
        """The whole shard, its numbering too."""
        for part in ("e", "t", "n"):
            tx.clear((*self._prefix, part, shard))

    def _trim_times(self, tx: Transaction, shard: str, first: int) -> None:
        """Forget the times all of whose entries are gone, and move the one that is half gone."""
        prefix = (*self._prefix, "t", shard)
        half: Key | None = None
        reached = False
        for key, _ in tx.range(prefix):
            if _int(key[-1]) >= first:
                reached = _int(key[-1]) == first
                break
            half = key
            tx.delete(key)
        if half is not None and not reached and self.first_position(tx, shard) < self.next_position(tx, shard):
            tx.put((*half[:-1], first), b"")

    def _head(self, tx: ReadTransaction, shard: str) -> tuple[int, int]:
        value = tx.get((*self._prefix, "n", shard))
        if value is None:
            return 1, 0
        position, at_ms = value.split()
        return int(position), int(at_ms)


def _int(part: object) -> int:
    assert isinstance(part, int)
    return part
