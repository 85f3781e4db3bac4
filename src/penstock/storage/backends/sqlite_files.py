"""The files of a SQLite store: made whole or not at all, held by one process, never overwritten when damaged.

FOLDER/lock                flock'd; holds the owner's process id
FOLDER/kv.sqlite3          the map (with -wal and -shm while open)
FOLDER/branches/NAME/      a branch: a folder of the same shape
"""

import errno
import fcntl
import os
import re
import shutil
import sqlite3
from pathlib import Path

from penstock.kernel.units import MIB
from penstock.storage.transactions import StoreDamaged, StoreLocked

FILE_NAME = "kv.sqlite3"
BRANCHES = "branches"
_FORMAT = 1
_CHECKED_WHOLE_BYTES_MAX = 16 * MIB
_WAL_PAGES_MAX = 4000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FICLONE = 0x40049409  # linux/fs.h


class FolderLock:
    """Held until released or the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        path = folder / "lock"
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise StoreLocked(
                f"{folder} is in use by process {owner}; stop that node, or start this one on another folder"
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def prepare(folder: Path) -> Path:
    """The path of the store's file, made if there is none; StoreDamaged if what is there can't be trusted."""
    path = folder / FILE_NAME
    if not path.exists():
        _create(path)
        return path
    size = path.stat().st_size
    if size == 0:
        raise damaged(folder, "the file is empty")
    connection = connect(path)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != _FORMAT:
            raise damaged(folder, f"it has format {version}, this Penstock reads {_FORMAT}")
        connection.execute("SELECT key, value FROM kv LIMIT 1").fetchone()
        if size <= _CHECKED_WHOLE_BYTES_MAX:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise damaged(folder, found)
    finally:
        connection.close()
    return path


def connect(path: Path) -> sqlite3.Connection:
    """Autocommitting, usable from any one thread at a time."""
    connection = sqlite3.connect(
        f"file:{path.as_posix().replace('?', '%3f').replace('#', '%23')}?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=10,
    )
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES_MAX}")
    connection.execute(f"PRAGMA journal_size_limit={64 * MIB}")
    connection.execute("PRAGMA cache_size=-32768")
    connection.execute("PRAGMA temp_store=MEMORY")
    return connection


def damaged(folder: Path, reason: object) -> StoreDamaged:
    return StoreDamaged(
        f"{folder / FILE_NAME} is damaged ({reason}). It was left untouched: move it away with its -wal and -shm "
        f"files and restore a snapshot, or start on another folder"
    )


def branch_folder(folder: Path, name: str) -> Path:
    """Branches lie side by side: a branch of a branch is its neighbour."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a branch name: {name!r}")
    root = folder.parent.parent if folder.parent.name == BRANCHES else folder
    target = root / BRANCHES / name
    if target.exists():
        raise FileExistsError(f"there is a branch {name!r} already: {target}")
    return target


def copy_to_branch(connection: sqlite3.Connection, path: Path, target: Path) -> None:
    """Copy the store; `target` appears whole or not at all. Runs where nothing else writes."""
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    copy_store(connection, path, draft / FILE_NAME)
    os.rename(draft, target)
    sync_folder(target.parent)


def copy_store(connection: sqlite3.Connection, path: Path, target: Path) -> None:
    """One consistent file at `target`: a clone where the file system can, else a copy by SQLite."""
    busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if busy or not clone(path, target):
        copy = sqlite3.connect(target, isolation_level=None)
        try:
            connection.backup(copy)
        finally:
            copy.close()
    with target.open("rb") as written:
        os.fsync(written.fileno())
    sync_folder(target.parent)


def clone(source: Path, target: Path) -> bool:
    """Share the blocks of `source` (copy on write); False where the file system can't."""
    with source.open("rb") as old, target.open("wb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            return False
    return True


def sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _create(path: Path) -> None:
    """Under another name first, so that an empty or half-made file is never taken for a store."""
    draft = path.with_name(f"{FILE_NAME}.new")
    for left_over in (draft, path.with_name(f"{draft.name}-wal"), path.with_name(f"{draft.name}-shm")):
        left_over.unlink(missing_ok=True)
    draft.touch()
    connection = connect(draft)
    connection.execute("PRAGMA page_size=8192")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
    connection.execute(f"PRAGMA user_version={_FORMAT}")
    connection.close()
    os.rename(draft, path)
    sync_folder(path.parent)
