"""Which blobs are alive: those whose id stands in any store of a data folder, its branches included.

Branches share one pool of blobs, so a blob is collected only when no branch names it. Ids are recognised by
their form in keys and values alike; a room need not register where it keeps them.
"""

import re
import sqlite3
from pathlib import Path

from penstock.storage.backends.sqlite_files import FILE_NAME
from penstock.storage.keys import prefix_range

_INTENTS = (("outbox",), ("outbox-name",))
_BLOB_ID = re.compile(rb"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{36}")


def live_blob_ids(data_dir: Path) -> set[str]:
    """Read every store in `data_dir` and `data_dir/branches/*`, running or not. Takes a full scan: run it off the loop.

    Sound while nodes run: each store is read as of one commit. A blob put but not yet named is protected by its
    age, so pass FileBlobStore.collect an `older_than_ms` that leaves writers their time (a day).
    """
    live: set[str] = set()
    for path in stores(data_dir):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            for key, value in connection.execute("SELECT key, value FROM kv"):
                live.update(found.decode() for found in _BLOB_ID.findall(value))
                live.update(found.decode() for found in _BLOB_ID.findall(key))
        finally:
            connection.close()
    return live


def named_blob_ids(path: Path) -> set[str]:
    """The blobs that a store's records name, without those that only an intent names: they may be gone already."""
    intents = [prefix_range(prefix) for prefix in _INTENTS]
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        found: set[str] = set()
        for key, value in connection.execute("SELECT key, value FROM kv"):
            if not any(low <= key < high for low, high in intents):
                found.update(name.decode() for name in _BLOB_ID.findall(value))
        return found
    finally:
        connection.close()


def damage_of(path: Path) -> list[str]:
    """What SQLite finds wrong with a store's own file; empty where it is whole."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    finally:
        connection.close()
    return [] if found == ["ok"] else found


def stores(data_dir: Path) -> list[Path]:
    """The files of the main store, of its branches and of its snapshots."""
    found = [
        data_dir / FILE_NAME,
        *data_dir.glob(f"branches/*/{FILE_NAME}"),
        *data_dir.glob(f"snapshots/*/{FILE_NAME}"),
    ]
    return sorted(path for path in found if path.exists())
