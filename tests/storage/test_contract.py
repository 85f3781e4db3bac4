"""What every backend of the Store and BlobStore ports keeps to."""

import asyncio
import functools
import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.kernel.streams import ByteStream, StreamTooLong, stream_of
from penstock.storage.backends.files import FileBlobStore
from penstock.storage.backends.memory import MemoryBlobStore, MemoryStore
from penstock.storage.backends.sqlite import SqliteStore
from penstock.storage.keys import pack


@pytest.fixture(params=["memory", "sqlite"])
def make_store(request, tmp_path):
    count = iter(range(10**6))

    def make():
        return MemoryStore() if request.param == "memory" else SqliteStore.open(tmp_path / f"store{next(count)}")

    return make


@pytest.fixture(params=["memory", "files"])
def make_blobs(request, tmp_path):
    return lambda: MemoryBlobStore() if request.param == "memory" else FileBlobStore(tmp_path / "blobs")


def on_store(test):
    @functools.wraps(test)
    def run(make_store):
        async def scenario():
            store = make_store()
            try:
                await test(store)
            finally:
                await store.close()

        asyncio.run(scenario())

    del run.__wrapped__
    return run


def fill(*keys):
    def write(tx):
        for key in keys:
            tx.put(key, repr(key).encode())

    return write


def keys_of(prefix, **bounds):
    return lambda tx: [key for key, _ in tx.range(prefix, **bounds)]


@on_store
async def test_a_transaction_sees_its_own_writes_and_others_see_them_after(store):
    def change(tx):
        tx.put(("a",), b"1")
        tx.put(("b",), b"2")
        tx.delete(("b",))
        tx.put(("c",), b"3")
        return tx.get(("a",)), tx.get(("b",)), list(tx.range(()))

    assert await store.transact(change) == (b"1", None, [(("a",), b"1"), (("c",), b"3")])
    assert await store.read(lambda tx: list(tx.range(()))) == [(("a",), b"1"), (("c",), b"3")]


@on_store
async def test_an_exception_undoes_only_its_own_transaction(store):
    def break_down(tx):
        tx.put(("kept",), b"overwritten")
        tx.delete(("kept", 2))
        tx.clear(())
        tx.put(("lost",), b"")
        raise LookupError("no")

    answers = await asyncio.gather(
        store.transact(fill(("kept",), ("kept", 2))),
        store.transact(break_down),
        store.transact(fill(("later",))),
        return_exceptions=True,
    )
    assert isinstance(answers[1], LookupError)
    assert await store.read(keys_of(())) == [("kept",), ("kept", 2), ("later",)]


@on_store
async def test_concurrent_increments_are_serial(store):
    def increment(tx):
        number = int(tx.get(("n",)) or b"0") + 1
        tx.put(("n",), str(number).encode())
        return number

    assert sorted(await asyncio.gather(*(store.transact(increment) for _ in range(50)))) == list(range(1, 51))
    assert await store.read(lambda tx: tx.get(("n",))) == b"50"


@on_store
async def test_range_keeps_to_prefix_bounds_limit_and_direction(store):
    await store.transact(fill(("a",), ("a", 1), ("a", 2), ("a", 3), ("a", "x"), ("ab",), ("b", 1)))
    read = store.read
    assert await read(keys_of(("a",))) == [("a",), ("a", "x"), ("a", 1), ("a", 2), ("a", 3)]
    assert await read(keys_of(("a",), begin=("a", 1), end=("a", 3))) == [("a", 1), ("a", 2)]
    assert await read(keys_of(("a",), limit=2, reverse=True)) == [("a", 3), ("a", 2)]
    assert await read(keys_of(("a",), end=("b",), begin=("a", 2))) == [("a", 2), ("a", 3)]
    assert await read(keys_of(("a",), limit=0)) == []
    assert await read(keys_of(("nothing",))) == []


@on_store
async def test_a_long_range_is_whole_in_both_directions_amid_own_writes(store):
    await store.transact(fill(*(("k", number) for number in range(0, 5000, 2))))

    def change(tx):
        for key, _ in tx.range(("k",), begin=("k", 1000), end=("k", 2000)):
            tx.delete(key)
        fill(*(("k", number) for number in range(1, 5000, 500)))(tx)
        return keys_of(("k",))(tx), keys_of(("k",), reverse=True)(tx), keys_of(("k",), limit=700)(tx)

    expected = [
        ("k", n) for n in range(5000) if (n % 2 == 0 and not 1000 <= n < 2000) or (n % 2 and n in range(1, 5000, 500))
    ]
    forward, backward, first = await store.transact(change)
    assert (forward, backward, first) == (expected, expected[::-1], expected[:700])
    assert await store.read(keys_of(("k",))) == expected


@on_store
async def test_listeners_hear_of_commits_below_their_prefix_only(store):
    heard = []
    store.on_commit(("a",), lambda: heard.append("a"))
    store.on_commit(("a\0",), lambda: heard.append("nul"))
    await store.transact(fill(("b",), ("ab",)))
    assert heard == []
    await store.transact(fill(("a", 1)))
    assert heard == ["a"]
    await store.transact(lambda tx: tx.delete(("a", 1)))
    await store.transact(lambda tx: tx.get(("a", 1)))
    assert heard == ["a", "a"]


@on_store
async def test_a_branch_starts_equal_and_goes_its_own_way(store):
    await store.transact(fill(("common",)))
    twin = await store.branch("twin")
    await asyncio.gather(store.transact(fill(("ours",))), twin.transact(fill(("theirs",))))
    assert await store.read(keys_of(())) == [("common",), ("ours",)]
    assert await twin.read(keys_of(())) == [("common",), ("theirs",)]
    await twin.close()


PARTS = st.sampled_from(["a", "b", "a\0", b"a", 0, 1, -1, 300, True, None, ("a",)])
KEYS = st.lists(PARTS, max_size=3).map(tuple)
CHANGES = st.one_of(
    st.tuples(st.just("put"), KEYS, st.binary(max_size=3)),
    st.tuples(st.just("delete"), KEYS, st.none()),
    st.tuples(st.just("clear"), KEYS, st.none()),
    st.tuples(st.just("range"), KEYS, st.tuples(st.none() | KEYS, st.none() | KEYS, st.none() | st.integers(0, 4))),
)


def model_range(model, prefix, begin, end, limit, reverse):
    packed = [
        (pack(key), key)
        for key in model.values()
        if pack(key[: len(prefix)]) == pack(prefix)
        and (begin is None or pack(key) >= pack(begin))
        and (end is None or pack(key) < pack(end))
    ]
    return [key for _, key in sorted(packed, key=lambda pair: pair[0], reverse=reverse)][:limit]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.lists(CHANGES, max_size=6), st.booleans()), max_size=6))
def test_a_store_does_what_a_sorted_dict_does(make_store, transactions):
    async def scenario():
        store = make_store()
        keys, values = {}, {}
        for changes, is_refused in transactions:
            draft_keys, draft_values = dict(keys), dict(values)

            def apply(tx, changes=changes, refused=is_refused, keys=draft_keys, values=draft_values):
                for kind, key, argument in changes:
                    if kind == "put":
                        tx.put(key, argument)
                        keys[pack(key)], values[pack(key)] = key, argument
                    elif kind == "delete":
                        tx.delete(key)
                        keys.pop(pack(key), None)
                    elif kind == "clear":
                        tx.clear(key)
                        for below in model_range(keys, key, None, None, None, False):
                            del keys[pack(below)]
                    else:
                        begin, end, limit = argument
                        for reverse in (False, True):
                            found = tx.range(key, begin=begin, end=end, limit=limit, reverse=reverse)
                            expected = model_range(keys, key, begin, end, limit, reverse)
                            assert list(found) == [(found_key, values[pack(found_key)]) for found_key in expected]
                if refused:
                    raise LookupError

            try:
                await store.transact(apply)
                keys, values = draft_keys, draft_values
            except LookupError:
                pass
        expected = [(keys[packed], values[packed]) for packed in sorted(keys)]
        assert await store.read(lambda tx: list(tx.range(()))) == expected
        await store.close()

    asyncio.run(scenario())


def chunks_of(*chunks, error=None):
    async def give():
        for chunk in chunks:
            yield chunk
        if error:
            raise error

    return ByteStream(give())


MIB = 1024 * 1024


@pytest.mark.parametrize("size", [0, 1, 65_536, MIB, 3 * MIB + 7])
def test_a_blob_comes_back_with_the_digests_asked_for(make_blobs, size):
    async def scenario():
        blobs = make_blobs()
        data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        pieces = [data[at : at + 100_000] for at in range(0, size, 100_000)]
        info = await blobs.put(chunks_of(*pieces), digests={"md5": hashlib.md5}, bytes_max=size)
        assert (info.size, info.digests) == (size, {"md5": hashlib.md5(data).digest()})
        assert not info.id.strip("0123456789abcdef/")
        stream = blobs.open(info.id)
        assert stream.length == size
        assert await stream.read(bytes_max=size) == data
        part = blobs.open(info.id, offset=size // 3, length=size // 2)
        assert await part.read(bytes_max=size) == data[size // 3 :][: size // 2]
        if part.file:
            with open(part.file.path, "rb") as file:  # noqa: ASYNC230 - a test may wait
                file.seek(part.file.offset)
                assert file.read(part.file.length) == data[size // 3 :][: size // 2]

    asyncio.run(scenario())


def test_a_body_too_long_or_broken_off_leaves_nothing(make_blobs, tmp_path):
    async def scenario():
        blobs = make_blobs()
        with pytest.raises(StreamTooLong):
            await blobs.put(chunks_of(b"x" * MIB, b"x"), bytes_max=MIB)
        with pytest.raises(StreamTooLong):
            await blobs.put(stream_of(b"xx"), bytes_max=1)
        with pytest.raises(ConnectionResetError):
            await blobs.put(chunks_of(b"x" * MIB, error=ConnectionResetError()), bytes_max=2 * MIB)
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    asyncio.run(scenario())


def test_concat_delete_and_unknown_ids(make_blobs):
    async def scenario():
        blobs = make_blobs()
        one = await blobs.put(stream_of(b"one"), bytes_max=9)
        two = await blobs.put(stream_of(b"two"), bytes_max=9)
        both = await blobs.concat([one.id, two.id, one.id])
        await blobs.delete(one.id)
        await blobs.delete(one.id)
        assert both.size == 9
        assert await blobs.open(both.id).read(bytes_max=9) == b"onetwoone"
        with pytest.raises(KeyError):
            blobs.open(one.id)
        with pytest.raises(KeyError):
            await blobs.concat([two.id, one.id])

    asyncio.run(scenario())
