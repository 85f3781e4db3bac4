"""Append-only logs, one per shard: numbered, dated, read from a position or a time, trimmed by age.

Below the journal's prefix:
    ("n", shard)                       the next position, and the time of the last entry
    ("e", shard, position)             entries that were appended together, the first at that position: their time,
                                       then each one's length and bytes
    ("t", shard, time, position)       the first entry of each time
Positions start at 1 and never come again, not even after a trim. Times within a shard never go back: an entry
that would is dated like the one before it.

Entries that are appended together lie together, up to `PIECE_BYTES`: a store's rows cost more than their bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from penstock.kernel.units import KIB
from penstock.storage.transactions import Key, ReadTransaction, Transaction

PIECE_BYTES = 64 * KIB
_TIME_BYTES, _LENGTH_BYTES = 8, 4
_PAGE_PIECES, _PAGE_PIECES_MAX = 8, 512


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
        position, at_ms = self.extend(tx, shard, items, now_ms=now_ms)
        return [Entry(position + index, at_ms, data) for index, data in enumerate(items)]

    def extend(self, tx: Transaction, shard: str, items: list[bytes], *, now_ms: int) -> tuple[int, int]:
        """As `append_all`; answers the position of the first, and the time of all."""
        position, last_ms = self._head(tx, shard)
        at_ms = max(now_ms, last_ms)
        if not items:
            return position, at_ms
        stamp = at_ms.to_bytes(_TIME_BYTES, "big")
        for first, piece in _pieces(items):
            tx.put((*self._prefix, "e", shard, position + first), stamp + piece)
        # Entries of one time lie together, so the first position of each time finds them all.
        if at_ms != last_ms or self.position_at(tx, shard, at_ms) == position:
            tx.put((*self._prefix, "t", shard, at_ms, position), b"")
        tx.put((*self._prefix, "n", shard), b"%d %d" % (position + len(items), at_ms))
        return position, at_ms

    def read(self, tx: ReadTransaction, shard: str, *, position: int, limit: int) -> list[Entry]:
        """From `position` on, itself included; what was trimmed away is passed over."""
        return list(self.entries(tx, shard, position=position, limit=limit))

    def entries(
        self, tx: ReadTransaction, shard: str, *, position: int = 0, limit: int | None = None
    ) -> Iterator[Entry]:
        left = limit
        for first, at_ms, items in self._from(tx, shard, position, limit):
            for number, data in enumerate(items, first):
                if number < position:
                    continue
                if left is not None:
                    if left == 0:
                        return
                    left -= 1
                yield Entry(number, at_ms, data)

    def position_at(self, tx: ReadTransaction, shard: str, at_ms: int) -> int:
        """Of the first entry dated `at_ms` or later; the next position if there is none."""
        prefix = (*self._prefix, "t", shard)
        for key, _ in tx.range(prefix, begin=(*prefix, at_ms), limit=1):
            return _int(key[-1])
        return self.next_position(tx, shard)

    def next_position(self, tx: ReadTransaction, shard: str) -> int:
        return self._head(tx, shard)[0]

    def last(self, tx: ReadTransaction, shard: str) -> tuple[int, int] | None:
        """Position and time of the newest entry ever, trimmed or not; None before the first."""
        position, at_ms = self._head(tx, shard)
        return (position - 1, at_ms) if position > 1 else None

    def first_position(self, tx: ReadTransaction, shard: str) -> int:
        """Of the oldest entry still there (TRIM_HORIZON)."""
        for key, _ in tx.range((*self._prefix, "e", shard), limit=1):
            return _int(key[-1])
        return self.next_position(tx, shard)

    def trim(self, tx: Transaction, shard: str, *, before_ms: int, limit: int) -> int:
        """Remove entries dated before `before_ms`, oldest first, until `limit` are gone; answers how many.

        Those that lie together go together, so that it may be more.
        """
        return self.drop(tx, shard, before=self.position_at(tx, shard, before_ms), limit=limit)

    def drop(self, tx: Transaction, shard: str, *, before: int, limit: int) -> int:
        """As `trim`, what stands before a position; what lies together with that position's entry stays."""
        prefix = (*self._prefix, "e", shard)
        gone = end = 0
        for key, value in tx.range(prefix, end=(*prefix, before), limit=limit):
            count = sum(1 for _ in _items(value))
            if gone >= limit or _int(key[-1]) + count > before:
                break
            tx.delete(key)
            gone += count
            end = _int(key[-1]) + count
        if gone:
            self._trim_times(tx, shard, end)
        return gone

    def delete(self, tx: Transaction, shard: str) -> None:
        """The whole shard, its numbering too."""
        for part in ("e", "t", "n"):
            tx.clear((*self._prefix, part, shard))

    def _from(
        self, tx: ReadTransaction, shard: str, position: int, limit: int | None
    ) -> Iterator[tuple[int, int, Iterator[bytes]]]:
        """The pieces from the one on in which `position` lies: the first's position, their time, their bytes."""
        prefix = (*self._prefix, "e", shard)
        begin = (*prefix, position)
        for key, _ in tx.range(prefix, end=(*prefix, position + 1), limit=1, reverse=True):
            begin = (*prefix, _int(key[-1]))
        page = _PAGE_PIECES if limit is None else min(limit, _PAGE_PIECES)
        while page:
            count = 0
            for key, value in tx.range(prefix, begin=begin, limit=page):
                count += 1
                begin = (*prefix, _int(key[-1]) + 1)
                yield _int(key[-1]), int.from_bytes(value[:_TIME_BYTES], "big"), _items(value)
            page = 0 if count < page else min(2 * page, _PAGE_PIECES_MAX)

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


def _pieces(items: list[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each piece with the index of its first item; an item that is longer than a piece has one of its own."""
    parts: list[bytes] = []
    first = size = 0
    for index, data in enumerate(items):
        if parts and size + len(data) > PIECE_BYTES:
            yield first, b"".join(parts)
            parts, first, size = [], index, 0
        parts += (len(data).to_bytes(_LENGTH_BYTES, "big"), data)
        size += len(data)
    yield first, b"".join(parts)


def _items(value: bytes) -> Iterator[bytes]:
    at = _TIME_BYTES
    while at < len(value):
        begin = at + _LENGTH_BYTES
        at = begin + int.from_bytes(value[at:begin], "big")
        yield value[begin:at]


def _int(part: object) -> int:
    assert isinstance(part, int)
    return part
