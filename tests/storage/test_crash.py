"""The store under SIGKILL: every acknowledged transaction is there, none is there by half."""

import asyncio
import os
import random
import select
import signal
import struct
import time

import pytest

from penstock.storage.backends.sqlite import SqliteStore

KILLS = 1000
ROUNDS_PER_STORE = 50


def write_until_killed(folder, pipe, writers):
    """In the child. Each transaction writes (w, turn) three times over and moves one unit between two accounts."""

    async def writer(store, number):
        def change(tx):
            turn = int(tx.get(("turn", number)) or b"0") + 1
            tx.put(("turn", number), b"%d" % turn)
            for copy in range(3):
                tx.put(("row", number, turn, copy), b"%d" % turn)
            for account, step in ((number, 1), (number + 9, -1)):
                tx.put(("account", account), b"%d" % (int(tx.get(("account", account)) or b"0") + step))
            if turn > 5:
                tx.clear(("row", number, turn - 5))
            return turn

        while True:
            turn = await store.transact(change)
            os.write(pipe, struct.pack("<BI", number, turn))

    async def main():
        store = SqliteStore.open(folder)
        await asyncio.gather(*(writer(store, number) for number in range(writers)))

    asyncio.run(main())


def kill_once(folder, chance, writers):
    """Fork a writer, kill it at a random moment; what it acknowledged, by writer."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            write_until_killed(folder, writing, writers)
        finally:
            os._exit(1)
    os.close(writing)
    # From before the file is opened to well into the writing.
    if chance.random() < 0.9:
        select.select([reading], [], [], 5)
    deadline = time.perf_counter() + chance.random() * 0.012
    while time.perf_counter() < deadline:
        pass
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the writer failed by itself"
    acknowledged = b""
    while piece := os.read(reading, 1 << 16):
        acknowledged += piece
    os.close(reading)
    turns = {}
    for number, turn in struct.iter_unpack("<BI", acknowledged[: len(acknowledged) // 5 * 5]):
        turns[number] = turn
    return turns


async def check(folder, acknowledged, writers):
    store = SqliteStore.open(folder)
    rows = dict(await store.read(lambda tx: list(tx.range(()))))
    await store.close()
    for number in range(writers):
        turn = int(rows.get(("turn", number), b"0"))
        assert turn >= acknowledged.get(number, 0), "an acknowledged transaction is lost"
        kept = sorted(key[2:] for key in rows if key[:2] == ("row", number))
        assert kept == [(t, copy) for t in range(max(1, turn - 4), turn + 1) for copy in range(3)], "half a transaction"
        assert int(rows.get(("account", number), b"0")) == turn == -int(rows.get(("account", number + 9), b"0"))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.xdist_group("crash")
def test_a_thousand_kills_lose_nothing_acknowledged_and_halve_nothing(tmp_path):
    chance = random.Random(20)
    acknowledged_ever = 0
    for round_ in range(KILLS):
        folder = tmp_path / f"store{round_ // ROUNDS_PER_STORE}"
        if round_ % ROUNDS_PER_STORE == 0:
            acknowledged = {}
        acknowledged |= kill_once(folder, chance, 4)
        asyncio.run(check(folder, acknowledged, 4))
        acknowledged_ever = max(acknowledged_ever, *acknowledged.values(), 0)
    assert acknowledged_ever > 100
