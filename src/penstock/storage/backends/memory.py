"""The store and the blobs in memory: for tests and simulation. Nothing survives the process."""

import hashlib
from bisect import bisect_left, insort
from collections.abc import AsyncIterator, Callable, Iterator

from penstock.kernel.streams import BytesStream, ByteStream, StreamTooLong
from penstock.storage.blobs import BlobInfo, Digest
from penstock.storage.keys import pack, prefix_range, range_bounds
from penstock.storage.transactions import Key, ReadTransaction, T, Transaction


class _Table:
    """Packed keys in order, and what each stands for."""

    def __init__(self) -> None:
        self.order: list[bytes] = []
        self.pairs: dict[bytes, tuple[Key, bytes]] = {}

    def set(self, packed: bytes, pair: tuple[Key, bytes] | None) -> tuple[Key, bytes] | None:
        """Put or (with None) remove; answers what was there."""
        before = self.pairs.get(packed)
        if pair is not None:
            self.pairs[packed] = pair
            if before is None:
                if self.order and packed < self.order[-1]:
                    insort(self.order, packed)
                else:
                    self.order.append(packed)
        elif before is not None:
            del self.pairs[packed]
            del self.order[bisect_left(self.order, packed)]
        return before

    def copy(self) -> "_Table":
        twin = _Table()
        twin.order = self.order.copy()
        twin.pairs = self.pairs.copy()
        return twin


class _MemoryTransaction:
    def __init__(self, table: _Table) -> None:
        self._table = table
        self._undo: dict[bytes, tuple[Key, bytes] | None] = {}

    def get(self, key: Key) -> bytes | None:
        pair = self._table.pairs.get(pack(key))
        return pair[1] if pair is not None else None

    def range(
        self,
        prefix: Key,
        *,
        begin: Key | None = None,
        end: Key | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[Key, bytes]]:
        low, high = range_bounds(prefix, begin, end)
        order = self._table.order
        first, last = bisect_left(order, low), bisect_left(order, high)
        if limit is not None and last - first > limit:
            first, last = (last - limit, last) if reverse else (first, first + limit)
        pairs = self._table.pairs
        found = [pairs[packed] for packed in order[first:last]]
        if reverse:
            found.reverse()
        return iter(found)

    def put(self, key: Key, value: bytes) -> None:
        self._set(pack(key), (key, value))

    def delete(self, key: Key) -> None:
        self._set(pack(key), None)

    def clear(self, prefix: Key) -> None:
        for key, _ in self.range(prefix):
            self.delete(key)

    def undo(self) -> None:
        for packed, before in self._undo.items():
            self._table.set(packed, before)

    def has_written_below(self, prefix: Key) -> bool:
        low, high = prefix_range(prefix)
        return any(low <= packed < high for packed in self._undo)

    def _set(self, packed: bytes, pair: tuple[Key, bytes] | None) -> None:
        before = self._table.set(packed, pair)
        if packed not in self._undo:
            self._undo[packed] = before


class MemoryStore:
    """An ordered map behind the Store port."""

    def __init__(self, data: dict[Key, bytes] | None = None) -> None:
        self._table = _Table()
        for key, value in (data or {}).items():
            self._table.set(pack(key), (key, value))
        self._listeners: list[tuple[Key, Callable[[], None]]] = []

    async def transact(self, fn: Callable[[Transaction], T]) -> T:
        tx = _MemoryTransaction(self._table)
        try:
            answer = fn(tx)
        except BaseException:
            tx.undo()
            raise
        for prefix, listener in list(self._listeners):
            if tx.has_written_below(prefix):
                listener()
        return answer

    async def read(self, fn: Callable[[ReadTransaction], T]) -> T:
        return fn(_MemoryTransaction(self._table))

    def on_commit(self, prefix: Key, listener: Callable[[], None]) -> None:
        self._listeners.append((prefix, listener))

    @property
    def is_quiet(self) -> bool:
        return True

    async def settled(self) -> None:
        """A commit here is over when transact returns."""

    async def branch(self, name: str) -> "MemoryStore":
        twin = MemoryStore()
        twin._table = self._table.copy()
        return twin

    async def close(self) -> None:
        self._listeners.clear()


class MemoryBlobStore:
    """Blobs in a dict. Ids repeat from run to run, so a simulation does too."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._count = 0

    async def put(
        self,
        body: ByteStream,
        *,
        digests: dict[str, Callable[[], Digest]] | None = None,
        bytes_max: int,
        seal: Callable[[bytes], bytes] | None = None,
    ) -> BlobInfo:
        running = {name: make() for name, make in (digests or {}).items()}
        parts: list[bytes] = []
        size = 0
        async for chunk in body:
            size += len(chunk)
            if size > bytes_max:
                raise StreamTooLong(f"more than {bytes_max} bytes")
            parts.append(seal(bytes(chunk)) if seal else bytes(chunk))
            for digest in running.values():
                digest.update(chunk)
        values = {name: digest.digest() for name, digest in running.items()}
        return BlobInfo(self._keep(b"".join(parts)), size, values)

    def open(self, blob_id: str, *, offset: int = 0, length: int | None = None) -> ByteStream:
        data = self._blobs[blob_id]
        end = len(data) if length is None else offset + length
        return BytesStream(data[offset:end])

    async def concat(self, blob_ids: list[str]) -> BlobInfo:
        data = b"".join(self._blobs[blob_id] for blob_id in blob_ids)
        return BlobInfo(self._keep(data), len(data))

    async def delete(self, blob_id: str) -> None:
        self._blobs.pop(blob_id, None)

    async def ids(self) -> AsyncIterator[str]:
        """Every blob there is, for tests that look for leaks."""
        for blob_id in list(self._blobs):
            yield blob_id

    def _keep(self, data: bytes) -> str:
        self._count += 1
        name = hashlib.sha256(b"blob %d" % self._count).hexdigest()[:32]
        blob_id = f"{name[:2]}/{name[2:4]}/{name[4:]}"
        self._blobs[blob_id] = data
        return blob_id
