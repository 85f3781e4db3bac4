"""Blobs as files: written beside their place, synced, then renamed into it.

ROOT/tmp/            what is being written; swept by `collect`
ROOT/xx/yy/zzz…      blobs, by id

A blob is an orphan until a transaction names it. Branches of a store share one root, so only who has looked at
every branch may call `collect`: `collection.live_blob_ids`.
"""

import asyncio
import ctypes
import errno
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from penstock.kernel.entropy import Entropy, SystemEntropy
from penstock.kernel.errors import Unavailable
from penstock.kernel.streams import ByteStream, FileRange, StreamTooLong
from penstock.kernel.units import KIB, MIB
from penstock.storage.blobs import BlobInfo, Digest

_READ_BYTES = 256 * KIB
_PIECE_BYTES = MIB
_PIECES_MAX = 512
_AHEAD = 4
_FLUSH_BYTES = 8 * MIB
_COPY_BYTES = 64 * MIB
_THREADS = 16
_UNREACHABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


class _Draft:
    """A file being written, and the digests of what it holds, side by side. `write` and `_digest` run on threads."""

    def __init__(self, path: Path, run: "_Run", options: "_Options") -> None:
        self.path = path
        self._run = run
        self._seal = options.seal
        self._digests = {name: make() for name, make in options.digests.items()}
        self._file: BinaryIO | None = None
        self._size = self._flushed = 0
        self._busy: deque[list[asyncio.Future[None]]] = deque()

    async def add(self, pieces: list[bytes]) -> None:
        """Hand pieces to the threads; waits only where they are behind."""
        while len(self._busy) >= _AHEAD:
            await self._wait()
        before = self._busy[-1] if self._busy else [None] * (len(self._digests) + 1)
        jobs: list[Callable[[], None]] = [partial(self._write, pieces)]
        jobs += [partial(_digest, digest, pieces) for digest in self._digests.values()]
        self._busy.append([self._after(job, last) for job, last in zip(jobs, before, strict=True)])

    async def finish(self, pieces: list[bytes], place: Path) -> dict[str, bytes]:
        await self.add(pieces)
        while self._busy:
            await self._wait()
        await asyncio.shield(self._run(partial(self._settle, place)))
        return {name: digest.digest() for name, digest in self._digests.items()}

    async def discard(self) -> None:
        while self._busy:
            with suppress(Exception):
                await asyncio.shield(self._wait())
        await asyncio.shield(self._run(self._remove))

    def _after(self, job: Callable[[], None], last: "asyncio.Future[None] | None") -> "asyncio.Future[None]":
        """Each lane (the file, every digest) takes its pieces in order."""
        if last is None or (last.done() and not last.cancelled() and last.exception() is None):
            return self._run(job)
        return asyncio.ensure_future(self._then(last, job))

    async def _then(self, last: "asyncio.Future[None]", job: Callable[[], None]) -> None:
        await last
        await self._run(job)

    async def _wait(self) -> None:
        jobs = self._busy.popleft()
        found = await asyncio.shield(asyncio.gather(*jobs, return_exceptions=True))
        for error in found:
            if isinstance(error, BaseException):
                raise error

    def _write(self, pieces: list[bytes]) -> None:
        if self._file is None:
            self._file = self.path.open("xb", buffering=0)
        fd = self._file.fileno()
        if self._seal is not None:
            pieces = [self._seal(piece) for piece in pieces]
        for at in range(0, len(pieces), _PIECES_MAX):
            _write_all(fd, pieces[at : at + _PIECES_MAX])
        self._size += sum(map(len, pieces))
        if self._size - self._flushed >= _FLUSH_BYTES:
            _start_flush(fd, self._flushed, self._size - self._flushed)
            self._flushed = self._size

    def _settle(self, place: Path) -> None:
        assert self._file is not None
        os.fsync(self._file.fileno())
        self._file.close()
        _move_in(self.path, place)

    def _remove(self) -> None:
        if self._file is not None:
            self._file.close()
        self.path.unlink(missing_ok=True)


_Run = Callable[[Callable[[], None]], "asyncio.Future[None]"]


@dataclass(frozen=True, slots=True)
class _Options:
    digests: dict[str, Callable[[], Digest]]
    seal: Callable[[bytes], bytes] | None


def _digest(digest: Digest, pieces: list[bytes]) -> None:
    for piece in pieces:
        digest.update(piece)


def _write_all(fd: int, pieces: list[bytes]) -> None:
    left = sum(map(len, pieces)) - os.writev(fd, pieces)
    if left:  # a short write: finish by hand
        rest = memoryview(b"".join(pieces))[-left:]
        while rest:
            rest = rest[os.write(fd, rest) :]


def _start_flush(fd: int, offset: int, size: int) -> None:
    """Let the disk begin, so that the fsync at the end has less to wait for; nothing depends on it."""
    if _sync_file_range is not None:
        _sync_file_range(fd, ctypes.c_int64(offset), ctypes.c_int64(size), _SYNC_FILE_RANGE_WRITE)


_SYNC_FILE_RANGE_WRITE = 2
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)


class FileBlobStore:
    """The BlobStore port upon a folder. Owns its worker threads: `close` it."""

    def __init__(self, root: Path | str, *, entropy: Entropy | None = None) -> None:
        self._root = Path(root)
        self._tmp = self._root / "tmp"
        self._tmp.mkdir(parents=True, exist_ok=True)
        self._entropy = entropy or SystemEntropy()
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="penstock-blobs")

    async def put(
        self,
        body: ByteStream,
        *,
        digests: dict[str, Callable[[], Digest]] | None = None,
        bytes_max: int,
        seal: Callable[[bytes], bytes] | None = None,
    ) -> BlobInfo:
        if body.length is not None and body.length > bytes_max:
            raise StreamTooLong(f"more than {bytes_max} bytes")
        blob_id = self._new_id()
        draft = _Draft(self._tmp / blob_id.replace("/", ""), self._in_thread, _Options(digests or {}, seal))
        try:
            with _disk_errors():
                pieces: list[bytes] = []
                waiting = size = 0
                async for chunk in _inner_errors(body):
                    size += len(chunk)
                    if size > bytes_max:
                        raise StreamTooLong(f"more than {bytes_max} bytes")
                    pieces.append(bytes(chunk))
                    waiting += len(chunk)
                    if waiting >= _PIECE_BYTES:
                        await draft.add(pieces)
                        pieces, waiting = [], 0
                values = await draft.finish(pieces, self._root / blob_id)
        except _SourceFailed as failed:
            await draft.discard()
            raise failed.error from failed.error.__cause__
        except BaseException:
            await draft.discard()
            raise
        return BlobInfo(blob_id, size, values)

    def _in_thread(self, job: Callable[[], None]) -> "asyncio.Future[None]":
        return asyncio.get_running_loop().run_in_executor(self._executor, job)

    def open(self, blob_id: str, *, offset: int = 0, length: int | None = None) -> ByteStream:
        path = self._path(blob_id)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            raise KeyError(blob_id) from None
        offset = min(offset, size)
        span = size - offset if length is None else min(length, size - offset)
        return ByteStream(
            _FileChunks(self._executor, path, offset, span), length=span, file=FileRange(str(path), offset, span)
        )

    async def concat(self, blob_ids: list[str]) -> BlobInfo:
        blob_id = self._new_id()
        sources = [self._path(source) for source in blob_ids]
        draft = self._tmp / blob_id.replace("/", "")
        with _disk_errors():
            size = await asyncio.get_running_loop().run_in_executor(
                self._executor, _concat, sources, draft, self._root / blob_id
            )
        return BlobInfo(blob_id, size)

    async def delete(self, blob_id: str) -> None:
        path = self._path(blob_id)
        await asyncio.get_running_loop().run_in_executor(self._executor, lambda: path.unlink(missing_ok=True))

    async def collect(self, live_ids: set[str], *, older_than_ms: int) -> int:
        """Delete the blobs that nobody names and that were written before `older_than_ms` (since the epoch).

        Answers how many. `live_ids` must be read after `older_than_ms`, so that no young blob is taken for dead.
        """
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, _sweep, self._root, live_ids, older_than_ms
        )

    def ids(self) -> Iterator[str]:
        """Every blob that lies in the folder, named by anyone or not. Reads folders: run it off the loop."""
        for path in self._root.glob("??/??/*"):
            yield path.relative_to(self._root).as_posix()

    def drafts(self) -> list[Path]:
        """Files that are being written, or were when a process ended."""
        return list(self._tmp.iterdir())

    async def close(self) -> None:
        await asyncio.to_thread(self._executor.shutdown)

    def _new_id(self) -> str:
        name = self._entropy.token_hex(20)
        return f"{name[:2]}/{name[2:4]}/{name[4:]}"

    def _path(self, blob_id: str) -> Path:
        if not blob_id or blob_id.strip("0123456789abcdef/") or blob_id.startswith("/"):
            raise KeyError(blob_id)
        return self._root / blob_id


class _SourceFailed(Exception):
    """What the body raised, kept apart from what the disk raised."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


async def _inner_errors(body: ByteStream) -> AsyncIterator[bytes]:
    chunks = body.__aiter__()
    while True:
        try:
            chunk = await chunks.__anext__()
        except StopAsyncIteration:
            return
        except Exception as error:
            raise _SourceFailed(error) from error
        yield chunk


class _FileChunks:
    """Pieces of a file, read off the loop; may be iterated again."""

    def __init__(self, executor: ThreadPoolExecutor, path: Path, offset: int, length: int) -> None:
        self._executor = executor
        self._path = path
        self._offset = offset
        self._length = length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        run = asyncio.get_running_loop().run_in_executor
        at, end = self._offset, self._offset + self._length
        if at >= end:
            return
        fd, data = await run(self._executor, _open_and_read, self._path, at, min(_READ_BYTES, end - at))
        try:
            while True:
                if not data:
                    raise Unavailable(f"{self._path} is shorter than it was")
                yield data
                at += len(data)
                if at >= end:
                    return
                data = await run(self._executor, os.pread, fd, min(_READ_BYTES, end - at), at)
        finally:
            os.close(fd)


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _UNREACHABLE:
            raise Unavailable(f"a blob can't be written: {error}") from error
        raise


def _open_and_read(path: Path, offset: int, size: int) -> tuple[int, bytes]:
    fd = os.open(path, os.O_RDONLY)
    try:
        return fd, os.pread(fd, size, offset)
    except BaseException:
        os.close(fd)
        raise


def _move_in(draft: Path, place: Path) -> None:
    """Rename, and make the name as durable as the bytes."""
    folder = place.parent
    try:
        os.rename(draft, place)
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        os.rename(draft, place)
        _sync_folder(folder.parent)
        _sync_folder(folder.parent.parent)
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _concat(sources: list[Path], draft: Path, place: Path) -> int:
    size = 0
    try:
        with draft.open("xb") as out:
            for source in sources:
                try:
                    piece = source.open("rb")
                except FileNotFoundError:
                    raise KeyError(str(source.relative_to(place.parents[2]))) from None
                with piece:
                    size += _copy(piece.fileno(), out.fileno())
            os.fsync(out.fileno())
        _move_in(draft, place)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return size


def _copy(source: int, target: int) -> int:
    """In the kernel, which shares the blocks where the file system can; else by hand."""
    size = 0
    while True:
        try:
            moved = os.copy_file_range(source, target, _COPY_BYTES)
        except OSError as error:
            if error.errno in _UNREACHABLE:
                raise
            moved = 0
            while data := os.read(source, _PIECE_BYTES):
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(target, rest) :]
                moved += len(data)
            return size + moved
        if moved == 0:
            return size
        size += moved


def _sweep(root: Path, live_ids: set[str], older_than_ms: int) -> int:
    removed = 0
    for path in root.glob("*/*/*"):
        if path.relative_to(root).as_posix() not in live_ids:
            removed += _remove_older(path, older_than_ms)
    for path in (root / "tmp").iterdir():
        _remove_older(path, older_than_ms)
    return removed


def _remove_older(path: Path, older_than_ms: int) -> int:
    with suppress(FileNotFoundError):
        if path.stat().st_mtime_ns // 1_000_000 < older_than_ms:
            path.unlink()
            return 1
    return 0
