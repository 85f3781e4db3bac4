import asyncio
import os
import subprocess
import sys

import pytest

from penstock.kernel.errors import Unavailable
from penstock.storage.backends.sqlite import SqliteStore
from penstock.storage.transactions import StoreDamaged, StoreLocked


def put(key, value=b"v"):
    return lambda tx: tx.put(key, value)


def count(tx):
    return sum(1 for _ in tx.range(()))


def test_a_held_folder_is_refused_by_the_owner_s_process_id(tmp_path):
    store = SqliteStore.open(tmp_path)
    with pytest.raises(StoreLocked, match=f"process {os.getpid()}"):
        SqliteStore.open(tmp_path)
    asyncio.run(store.close())
    asyncio.run(SqliteStore.open(tmp_path).close())


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"", id="emptied"),
        pytest.param(lambda data: b"not a database at all" * 500, id="replaced"),
        pytest.param(lambda data: data[: len(data) // 2], id="cut in half"),
        pytest.param(lambda data: data[:8192] + b"\x55" * 8192 + data[16384:], id="a page overwritten"),
    ],
)
def test_a_damaged_file_is_named_and_left_alone(tmp_path, damage):
    async def fill():
        store = SqliteStore.open(tmp_path)
        await asyncio.gather(*(store.transact(put(("k", n), b"x" * 500)) for n in range(200)))
        await store.close()

    asyncio.run(fill())
    path = tmp_path / "kv.sqlite3"
    bad = damage(path.read_bytes())
    path.write_bytes(bad)
    for _ in range(2):
        with pytest.raises(StoreDamaged, match="kv.sqlite3 is damaged"):
            SqliteStore.open(tmp_path)
    assert path.read_bytes() == bad


def test_a_full_disk_is_unavailable_and_later_writes_work(tmp_path):
    async def scenario():
        store = SqliteStore.open(tmp_path)
        await store.transact(put(("before",)))
        pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
        store._writer.execute(f"PRAGMA max_page_count={pages + 2}")
        answers = await asyncio.gather(
            store.transact(put(("big",), b"x" * 200_000)), store.transact(count), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
        assert await store.read(count) == 1
        store._writer.execute("PRAGMA max_page_count=1000000")
        await store.transact(put(("after",)))
        await store.close()
        store = SqliteStore.open(tmp_path)
        assert await store.read(lambda tx: [key for key, _ in tx.range(())]) == [("after",), ("before",)]
        await store.close()

    asyncio.run(scenario())


def test_an_answer_waits_for_the_writes_it_saw(tmp_path):
    """A reader inside `transact` that met an uncommitted write must not be told of it before it is durable."""

    async def scenario():
        store = SqliteStore.open(tmp_path)
        order = []

        async def run(name, fn):
            await store.transact(fn)
            order.append(name)

        await asyncio.gather(run("write", put(("a",))), run("look", lambda tx: tx.get(("a",))))
        assert order == ["write", "look"]
        await store.close()

    asyncio.run(scenario())


def test_close_commits_what_is_waiting_and_a_closed_store_is_unavailable(tmp_path):
    async def scenario():
        store = SqliteStore.open(tmp_path)
        waiting = [asyncio.ensure_future(store.transact(put((n,)))) for n in range(20)]
        await asyncio.sleep(0)
        await store.close()
        await store.close()
        await asyncio.gather(*waiting)
        with pytest.raises(Unavailable):
            await store.read(count)
        store = SqliteStore.open(tmp_path)
        assert await store.read(count) == 20
        await store.close()

    asyncio.run(scenario())


def test_a_caller_that_gave_up_loses_no_other_s_answer(tmp_path):
    async def scenario():
        store = SqliteStore.open(tmp_path)
        first = asyncio.ensure_future(store.transact(put((1,))))
        second = asyncio.ensure_future(store.transact(put((2,))))
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert await store.read(count) == 2
        await store.close()

    asyncio.run(scenario())


def test_branches_lie_side_by_side_and_are_made_once(tmp_path):
    async def scenario():
        store = SqliteStore.open(tmp_path)
        await store.transact(put(("a",)))
        child = await store.branch("child")
        grandchild = await child.branch("grandchild")
        assert sorted(path.name for path in (tmp_path / "branches").iterdir()) == ["child", "grandchild"]
        with pytest.raises(FileExistsError):
            await store.branch("child")
        with pytest.raises(ValueError, match="not a branch name"):
            await store.branch("../up")
        assert await grandchild.read(count) == 1
        for each in (grandchild, child, store):
            await each.close()

    asyncio.run(scenario())


def test_the_lock_ends_with_its_process(tmp_path):
    code = f"from penstock.storage.backends.sqlite import SqliteStore as S; S.open({str(tmp_path)!r}); print('held')"
    subprocess.run([sys.executable, "-c", code], check=True)
    asyncio.run(SqliteStore.open(tmp_path).close())


def test_a_broken_listener_or_a_stray_stop_iteration_does_not_stop_the_store(tmp_path):
    async def scenario():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        store = SqliteStore.open(tmp_path)
        store.on_commit((), lambda: 1 // 0)
        answers = await asyncio.gather(
            store.transact(put((1,))), store.transact(lambda tx: next(tx.range((9,)))), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [type(None), RuntimeError]
        await store.transact(put((2,)))
        assert await store.read(count) == 2
        await store.close()

    asyncio.run(scenario())
