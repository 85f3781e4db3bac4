"""The store in one SQLite file: durable on return, many writers per fsync.

Transactions run one after another on the event loop, each upon what the ones before it wrote: first the batch that
is being committed, then the open batch, then its own writes (`_Overlay`). So they are serializable without a
lock, and an exception throws away nothing but its own overlay. A single thread writes the batches: one COMMIT,
one fsync, whatever number of transactions has gathered meanwhile. A batch is written by few large statements
because each statement costs a hand-over of the interpreter lock.

An answer is given out only when the batch it may depend on is durable, a refusal or a read-only answer too. If a
batch fails (full disk), everything that built on it fails with Unavailable and nothing of it remains.

`read` sees committed batches only, and is run at once on a second connection. No cursor is left open between
pages: an open one would hold back later reads.
"""

import asyncio
import contextlib
import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from penstock.kernel.errors import Unavailable
from penstock.storage.backends import sqlite_files
from penstock.storage.keys import pack, prefix_range, range_bounds, unpack_from
from penstock.storage.transactions import Key, ReadTransaction, T, Transaction

_PAGE_ROWS_FIRST, _PAGE_ROWS_MAX = 64, 1024
_ROWS_PER_STATEMENT = (256, 64, 16, 4, 1)
_DAMAGE_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class _Overlay:
    """Writes that are not in the file yet; None stands for a deletion."""

    __slots__ = ("_order", "rows")

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes | None] = {}
        self._order: list[bytes] | None = None

    def set(self, packed: bytes, value: bytes | None) -> None:
        if self._order is not None and packed not in self.rows:
            self._order = None
        self.rows[packed] = value

    def absorb(self, other: "_Overlay") -> None:
        self.rows.update(other.rows)
        self._order = None

    def between(self, low: bytes, high: bytes) -> list[bytes]:
        order = self.order()
        return order[bisect_left(order, low) : bisect_left(order, high)]

    def order(self) -> list[bytes]:
        if self._order is None:
            self._order = sorted(self.rows)
        return self._order


class _ReadView:
    def __init__(self, connection: sqlite3.Connection, overlays: tuple[_Overlay, ...] = ()) -> None:
        self._connection = connection
        self._overlays = overlays

    def get(self, key: Key) -> bytes | None:
        packed = pack(key)
        for overlay in self._overlays:
            if packed in overlay.rows:
                return overlay.rows[packed]
        row = self._connection.execute("SELECT value FROM kv WHERE key = ?", (packed,)).fetchone()
        return row[0] if row else None

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
        known = len(pack(prefix))  # every key found starts with it, so only the rest is read
        rows = self._rows(low, high, limit, reverse=reverse)
        return (((*prefix, *unpack_from(packed, known)), value) for packed, value in rows)

    def _rows(self, low: bytes, high: bytes, limit: int | None, *, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
        changed: dict[bytes, bytes | None] = {}
        for overlay in reversed(self._overlays):
            if overlay.rows:
                changed.update((packed, overlay.rows[packed]) for packed in overlay.between(low, high))
        if not changed:
            return _pages(self._connection, low, high, limit, reverse=reverse)
        below = _pages(self._connection, low, high, None if limit is None else limit + len(changed), reverse=reverse)
        return islice(_merged(below, changed, reverse=reverse), limit)


class _WriteView(_ReadView):
    def __init__(self, connection: sqlite3.Connection, overlays: tuple[_Overlay, ...]) -> None:
        self.own = _Overlay()
        super().__init__(connection, (self.own, *overlays))

    def put(self, key: Key, value: bytes) -> None:
        self.own.set(pack(key), value)

    def delete(self, key: Key) -> None:
        self.own.set(pack(key), None)

    def clear(self, prefix: Key) -> None:
        for packed, _ in self._rows(*prefix_range(prefix), None, reverse=False):
            self.own.set(packed, None)


def _pages(
    connection: sqlite3.Connection, low: bytes, high: bytes, limit: int | None, *, reverse: bool
) -> Iterator[tuple[bytes, bytes]]:
    page_rows = _PAGE_ROWS_FIRST
    order = "DESC" if reverse else "ASC"
    query = f"SELECT key, value FROM kv WHERE key >= ? AND key < ? ORDER BY key {order} LIMIT ?"
    while limit is None or limit > 0:
        wanted = page_rows if limit is None else min(limit, page_rows)
        rows = connection.execute(query, (low, high, wanted)).fetchall()
        yield from rows
        if len(rows) < wanted:
            return
        if limit is not None:
            limit -= wanted
        low, high = (low, rows[-1][0]) if reverse else (rows[-1][0] + b"\0", high)
        page_rows = min(page_rows * 2, _PAGE_ROWS_MAX)


def _merged(
    below: Iterator[tuple[bytes, bytes]], changed: dict[bytes, bytes | None], *, reverse: bool
) -> Iterator[tuple[bytes, bytes]]:
    """`below` with `changed` laid over it, in order."""
    waiting = sorted(changed, reverse=reverse)
    position = 0
    for packed, value in below:
        while position < len(waiting) and (waiting[position] > packed if reverse else waiting[position] < packed):
            new = changed[waiting[position]]
            if new is not None:
                yield waiting[position], new
            position += 1
        if packed not in changed:
            yield packed, value
    for late in waiting[position:]:
        new = changed[late]
        if new is not None:
            yield late, new


class _Batch:
    __slots__ = ("overlay", "outcomes")

    def __init__(self) -> None:
        self.overlay = _Overlay()
        self.outcomes: list[tuple[asyncio.Future[object], object, BaseException | None]] = []


class SqliteStore:
    """The Store port upon a folder: `store = SqliteStore.open(data_dir)`."""

    def __init__(self, folder: Path, lock: sqlite_files.FolderLock) -> None:
        self._folder = folder
        self._lock = lock
        self._path = sqlite_files.prepare(folder)
        self._writer = sqlite_files.connect(self._path)
        self._reader = sqlite_files.connect(self._path)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="penstock-store")
        self._listeners: list[tuple[tuple[bytes, bytes], Callable[[], None]]] = []
        self._open = _Batch()
        self._flying: _Batch | None = None
        self._is_scheduled = False
        self._idle: asyncio.Future[None] | None = None
        self._is_closed = False

    @classmethod
    def open(cls, path: Path | str) -> "SqliteStore":
        """The store in folder `path`, made if there is none. Raises StoreLocked, StoreDamaged, OSError."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        lock = sqlite_files.FolderLock(folder)
        try:
            return cls(folder, lock)
        except sqlite3.DatabaseError as error:
            lock.release()
            raise sqlite_files.damaged(folder, error) from error
        except BaseException:
            lock.release()
            raise

    async def transact(self, fn: Callable[[Transaction], T]) -> T:
        self._check_open()
        flying = self._flying
        below = (self._open.overlay,) if flying is None else (self._open.overlay, flying.overlay)
        tx = _WriteView(self._reader, below)
        failure: Exception | None = None
        answer: T | None = None
        try:
            answer = fn(tx)
        except sqlite3.DatabaseError as error:
            raise self._translated(error) from error
        except StopIteration as error:
            failure = RuntimeError("StopIteration out of a transaction")  # no future can carry one
            failure.__cause__ = error
        except Exception as error:
            failure = error
        if failure is None and tx.own.rows:
            self._open.overlay.absorb(tx.own)
        elif flying is None and not self._open.overlay.rows:
            if failure is not None:
                raise failure
            return answer  # type: ignore[return-value]  # no failure, so it is fn's
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._open.outcomes.append((waiter, answer, failure))  # type: ignore[arg-type]  # Future is invariant
        self._schedule()
        return await waiter

    async def read(self, fn: Callable[[ReadTransaction], T]) -> T:
        self._check_open()
        try:
            self._reader.execute("BEGIN")
            try:
                return fn(_ReadView(self._reader))
            finally:
                self._reader.execute("ROLLBACK")
        except sqlite3.DatabaseError as error:
            raise self._translated(error) from error

    def on_commit(self, prefix: Key, listener: Callable[[], None]) -> None:
        self._listeners.append((prefix_range(prefix), listener))

    async def branch(self, name: str) -> "SqliteStore":
        """A copy in `branches/NAME` below this folder. Blobs are not copied: all branches share one pool.

        FileExistsError if there is one of that name; ValueError for a name that is no plain file name.
        """
        self._check_open()
        target = sqlite_files.branch_folder(self._folder, name)
        await self.settled()
        await asyncio.get_running_loop().run_in_executor(
            self._executor, sqlite_files.copy_to_branch, self._writer, self._path, target
        )
        return SqliteStore.open(target)

    async def close(self) -> None:
        """Commit what is waiting, then let go of the files and the folder."""
        if self._is_closed:
            return
        await self.settled()
        self._is_closed = True
        await asyncio.to_thread(self._executor.shutdown)
        self._listeners.clear()
        self._reader.close()
        with contextlib.suppress(sqlite3.OperationalError):
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._writer.close()
        self._lock.release()

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("the store is closed")

    @property
    def is_quiet(self) -> bool:
        return self._flying is None and not self._open.outcomes

    async def settled(self) -> None:
        while not self.is_quiet:
            if self._idle is None:
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    def _schedule(self) -> None:
        if self._flying is None and not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._launch)

    def _launch(self) -> None:
        self._is_scheduled = False
        batch, self._open = self._open, _Batch()
        self._flying = batch
        written = asyncio.get_running_loop().run_in_executor(self._executor, _write, self._writer, batch.overlay)
        written.add_done_callback(self._on_written)

    def _on_written(self, written: "asyncio.Future[None]") -> None:
        batch, self._flying = self._flying, None
        assert batch is not None
        error = written.exception()
        if error is not None:
            # What gathered meanwhile was built upon the batch that failed.
            later, self._open = self._open, _Batch()
            failure = self._translated(error)
            for waiter, _, _ in batch.outcomes + later.outcomes:
                if not waiter.done():
                    waiter.set_exception(failure)
        else:
            for waiter, answer, refused in batch.outcomes:
                if waiter.done():
                    continue
                if refused is not None:
                    waiter.set_exception(refused)
                else:
                    waiter.set_result(answer)
        if self._open.outcomes:
            self._schedule()
        elif self._idle is not None:
            idle, self._idle = self._idle, None
            idle.set_result(None)
        if error is None:
            self._tell(batch.overlay)  # last: a listener's own failure must not stop the store

    def _tell(self, overlay: _Overlay) -> None:
        if not self._listeners or not overlay.rows:
            return
        order = overlay.order()
        for (low, high), listener in list(self._listeners):
            at = bisect_left(order, low)
            if at < len(order) and order[at] < high:
                listener()

    def _translated(self, error: BaseException) -> BaseException:
        code = getattr(error, "sqlite_errorcode", None)
        if isinstance(error, sqlite3.DatabaseError) and code is not None and code & 0xFF in _DAMAGE_CODES:
            return sqlite_files.damaged(self._folder, error)
        if isinstance(error, (sqlite3.OperationalError, OSError)):
            return Unavailable(f"{self._path} can't be written: {error}; nothing of this transaction was kept")
        return error


def _write(connection: sqlite3.Connection, overlay: _Overlay) -> None:
    """Commit the overlay; on the writer's thread."""
    puts: list[bytes] = []
    deletes: list[bytes] = []
    for packed, value in overlay.rows.items():
        if value is None:
            deletes.append(packed)
        else:
            puts += (packed, value)
    if not puts and not deletes:
        return
    try:
        connection.execute("BEGIN IMMEDIATE")
        _in_pieces(connection, "INSERT OR REPLACE INTO kv VALUES ", "(?,?)", "", puts, 2)
        _in_pieces(connection, "DELETE FROM kv WHERE key IN (", "?", ")", deletes, 1)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _in_pieces(
    connection: sqlite3.Connection, head: str, row: str, tail: str, values: list[bytes], columns: int
) -> None:
    at = 0
    for rows in _ROWS_PER_STATEMENT:
        size = rows * columns
        while len(values) - at >= size:
            connection.execute(head + ",".join([row] * rows) + tail, values[at : at + size])
            at += size
