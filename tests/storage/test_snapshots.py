import asyncio

import pytest

from penstock.kernel.streams import stream_of
from penstock.storage import collection, snapshots
from penstock.storage.backends.files import FileBlobStore
from penstock.storage.backends.sqlite import SqliteStore
from penstock.storage.transactions import StoreLocked

LATER_MS = 2**62


def test_a_snapshot_of_a_running_store_comes_back_whole(tmp_path):
    async def scenario():
        store = SqliteStore.open(tmp_path)
        await store.transact(lambda tx: tx.put(("a",), b"1"))
        saved = snapshots.save(tmp_path, "first")
        await store.transact(lambda tx: (tx.put(("a",), b"2"), tx.put(("b",), b"2")))
        with pytest.raises(StoreLocked):
            snapshots.restore(tmp_path, "first")
        await store.close()
        with pytest.raises(FileExistsError):
            snapshots.save(tmp_path, "first")
        assert snapshots.list_all(tmp_path) == [saved]
        snapshots.restore(tmp_path, "first")
        store = SqliteStore.open(tmp_path)
        assert await store.read(lambda tx: list(tx.range(()))) == [(("a",), b"1")]
        await store.close()
        with pytest.raises(KeyError):
            snapshots.restore(tmp_path, "second")
        snapshots.delete(tmp_path, "first")
        assert snapshots.list_all(tmp_path) == []

    asyncio.run(scenario())


def test_a_blob_lives_while_the_store_a_branch_or_a_snapshot_names_it(tmp_path):
    async def scenario():
        store = SqliteStore.open(tmp_path)
        blobs = FileBlobStore(tmp_path / "blobs")
        ids = [(await blobs.put(stream_of(b"x"), bytes_max=9)).id for _ in range(4)]
        main, branched, snapped, orphan = ids

        async def name(*named):
            await store.transact(lambda tx: tx.put(("o",), b'{"blobs":["' + '","'.join(named).encode() + b'"]}'))

        async def collect():
            return await blobs.collect(collection.live_blob_ids(tmp_path), older_than_ms=LATER_MS)

        await name(branched)
        branch = await store.branch("b")
        await name(snapped)
        snapshots.save(tmp_path, "s")
        await name(main)
        assert await blobs.collect(set(), older_than_ms=0) == 0
        assert await collect() == 1
        with pytest.raises(KeyError):
            blobs.open(orphan)
        assert [await blobs.open(each).read(bytes_max=9) for each in (main, branched, snapped)] == [b"x"] * 3
        snapshots.delete(tmp_path, "s")
        await branch.transact(lambda tx: tx.delete(("o",)))
        assert await collect() == 2
        await blobs.open(main).read(bytes_max=9)
        for each in (branch, store, blobs):
            await each.close()

    asyncio.run(scenario())


def test_restoring_over_a_damaged_map_keeps_it_aside(tmp_path):
    store = SqliteStore.open(tmp_path)
    asyncio.run(store.close())
    snapshots.save(tmp_path, "s")
    (tmp_path / "kv.sqlite3").write_bytes(b"rubbish" * 5000)
    snapshots.restore(tmp_path, "s")
    asyncio.run(SqliteStore.open(tmp_path).close())
    assert (tmp_path / "kv.sqlite3.damaged").read_bytes() == b"rubbish" * 5000
