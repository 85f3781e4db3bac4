"""Which blobs are alive: those whose id stands in any store of a data folder, its branches included.

Branches share one pool of blobs, so a blob is collected only when no branch names it. Ids are recognised by
their form in keys and values alike; a room need not register where it keeps them.
"""

import re
import sqlite3
from pathlib import Path

from penstock.storage.backends.sqlite_files import FILE_NAME

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


def stores(data_dir: Path) -> list[Path]:
    """The files of the main store, of its branches and of its snapshots."""
    found = [
        data_dir / FILE_NAME,
        *data_dir.glob(f"branches/*/{FILE_NAME}"),
        *data_dir.glob(f"snapshots/*/{FILE_NAME}"),
    ]
    return sorted(path for path in found if path.exists())
