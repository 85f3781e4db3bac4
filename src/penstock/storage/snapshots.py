"""Snapshots of a data folder: its map is copied, its blobs are shared.

DATA/snapshots/NAME/kv.sqlite3. Blobs are immutable and `collection.live_blob_ids` counts snapshots too, so a
snapshot costs the size of the map (nothing, where the file system clones files), whatever the objects weigh.
"""

import os
import re
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from penstock.storage.backends.sqlite_files import FILE_NAME, FolderLock, sync_folder
from penstock.storage.transactions import StoreDamaged

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`created_ms` since the epoch; `map_bytes` is the size of the copied map."""

    name: str
    created_ms: int
    map_bytes: int


def save(data_dir: Path, name: str) -> Snapshot:
    """Copy the store of a stopped or running node as of one commit.

    FileExistsError if there is one of that name, FileNotFoundError without a store, ValueError for a bad name.
    """
    target = _folder(data_dir, name)
    if target.exists():
        raise FileExistsError(f"there is a snapshot {name!r} already: {target}")
    draft = target.with_name(f".{name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        _copy(data_dir / FILE_NAME, draft / FILE_NAME)
    except BaseException:
        shutil.rmtree(draft)
        raise
    os.rename(draft, target)
    sync_folder(target.parent)
    return _read(target)


def restore(data_dir: Path, name: str) -> None:
    """Put the map back as it was, in one rename. Only for a stopped node: StoreLocked while one runs.

    The present map is replaced: save it first if it is still wanted. A damaged one is kept beside it, as
    kv.sqlite3.damaged. KeyError without such a snapshot.
    """
    source = _folder(data_dir, name) / FILE_NAME
    if not source.exists():
        raise KeyError(name)
    lock = FolderLock(data_dir)
    try:
        draft = data_dir / f"{FILE_NAME}.restored"
        draft.unlink(missing_ok=True)
        _copy(source, draft)
        _retire(data_dir / FILE_NAME)
        os.rename(draft, data_dir / FILE_NAME)
        sync_folder(data_dir)
    finally:
        lock.release()


def _retire(present: Path) -> None:
    """Fold the log into the map it belongs to: over the restored map it would be damage.

    A crash just after leaves the old map, whole.
    """
    logs = [present.with_name(present.name + suffix) for suffix in ("-wal", "-shm")]
    if present.exists():
        connection = sqlite3.connect(present)
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.DatabaseError:
            for path in (present, *logs):
                if path.exists():
                    os.rename(path, path.with_name(path.name + ".damaged"))
        finally:
            connection.close()
    for path in logs:
        path.unlink(missing_ok=True)


def list_all(data_dir: Path) -> list[Snapshot]:
    """Oldest first."""
    folders = [path.parent for path in data_dir.glob(f"snapshots/*/{FILE_NAME}") if _NAME.fullmatch(path.parent.name)]
    return sorted((_read(folder) for folder in folders), key=lambda snapshot: (snapshot.created_ms, snapshot.name))


def delete(data_dir: Path, name: str) -> None:
    """KeyError without such a snapshot. Its blobs go with the next collection."""
    folder = _folder(data_dir, name)
    if not folder.exists():
        raise KeyError(name)
    shutil.rmtree(folder)


def _copy(source: Path, target: Path) -> None:
    """SQLite's own copy: consistent while another process writes."""
    if not source.exists():
        raise FileNotFoundError(source)
    old, new = sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True), sqlite3.connect(target)
    try:
        old.backup(new)
    except sqlite3.DatabaseError as error:
        raise StoreDamaged(f"{source} can't be copied ({error}); it was left untouched") from error
    finally:
        new.close()
        old.close()
    with target.open("rb") as written:
        os.fsync(written.fileno())
    sync_folder(target.parent)


def _folder(data_dir: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a snapshot name: {name!r}")
    return data_dir / "snapshots" / name


def _read(folder: Path) -> Snapshot:
    status = (folder / FILE_NAME).stat()
    return Snapshot(folder.name, status.st_mtime_ns // 1_000_000, status.st_size)
