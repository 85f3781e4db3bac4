"""The store in memory: for tests and simulation. Nothing survives the process."""

import copy
from collections.abc import Callable, Iterator

from penstock.storage.transactions import Key, ReadTransaction, T, Transaction


def _sort_key(key: Key) -> tuple[object, ...]:
    return tuple(_rank(part) for part in key)


def _rank(part: object) -> tuple[int, object]:
    if part is None:
        return (0, 0)
    if isinstance(part, bytes):
        return (1, part)
    if isinstance(part, str):
        return (2, part.encode())
    if isinstance(part, tuple):
        return (3, _sort_key(part))
    if isinstance(part, bool):
        return (5, part)
    if isinstance(part, int):
        return (4, part)
    raise TypeError(f"not a key part: {part!r}")


class _MemoryTransaction:
    def __init__(self, data: dict[Key, bytes]) -> None:
        self._data = data
        self.written: list[Key] = []

    def get(self, key: Key) -> bytes | None:
        return self._data.get(key)

    def range(
        self,
        prefix: Key,
        *,
        begin: Key | None = None,
        end: Key | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[Key, bytes]]:
        low = _sort_key(begin) if begin is not None else None
        high = _sort_key(end) if end is not None else None
        keys = [
            key
            for key in self._data
            if key[: len(prefix)] == prefix
            and (low is None or _sort_key(key) >= low)
            and (high is None or _sort_key(key) < high)
        ]
        keys.sort(key=_sort_key, reverse=reverse)
        return iter([(key, self._data[key]) for key in keys[:limit]])

    def put(self, key: Key, value: bytes) -> None:
        self._data[key] = value
        self.written.append(key)

    def delete(self, key: Key) -> None:
        self._data.pop(key, None)
        self.written.append(key)

    def clear(self, prefix: Key) -> None:
        for key, _ in self.range(prefix):
            self.delete(key)


class MemoryStore:
    """A dict behind the Store port."""

    def __init__(self, data: dict[Key, bytes] | None = None) -> None:
        self._data = data or {}
        self._listeners: list[tuple[Key, Callable[[], None]]] = []

    async def transact(self, fn: Callable[[Transaction], T]) -> T:
        draft = copy.copy(self._data)
        tx = _MemoryTransaction(draft)
        answer = fn(tx)
        self._data = draft
        for prefix, listener in self._listeners:
            if any(key[: len(prefix)] == prefix for key in tx.written):
                listener()
        return answer

    async def read(self, fn: Callable[[ReadTransaction], T]) -> T:
        return fn(_MemoryTransaction(self._data))

    def on_commit(self, prefix: Key, listener: Callable[[], None]) -> None:
        self._listeners.append((prefix, listener))

    async def branch(self, name: str) -> "MemoryStore":
        return MemoryStore(copy.copy(self._data))

    async def close(self) -> None:
        self._listeners.clear()
