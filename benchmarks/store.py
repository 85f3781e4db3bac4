"""How many durable transactions a second the SQLite store makes, by how many writers wait for it.

Run: python benchmarks/store.py [FOLDER]
"""

import asyncio
import tempfile
import time
from pathlib import Path

from penstock.kernel.streams import stream_of
from penstock.storage.backends.files import FileBlobStore
from penstock.storage.backends.sqlite import SqliteStore

_SECONDS = 1.5


async def _writers(store: SqliteStore, count: int) -> float:
    done = 0
    end = time.perf_counter() + _SECONDS

    async def writer(number: int) -> None:
        nonlocal done
        turn = 0
        while time.perf_counter() < end:
            key = ("bench", count, number, turn)
            await store.transact(lambda tx, key=key: tx.put(key, b"x" * 200))
            turn += 1
            done += 1

    await asyncio.gather(*(writer(number) for number in range(count)))
    return done / _SECONDS


async def _rate(operation, times: int) -> float:
    start = time.perf_counter()
    for number in range(times):
        await operation(number)
    return times / (time.perf_counter() - start)


async def _measure(folder: Path) -> list[tuple[str, float, str]]:
    store = SqliteStore.open(folder / "store")
    rows = [(f"transactions, {count} writers", await _writers(store, count), "tx/s") for count in (1, 8, 64, 256)]
    rows.append(
        ("get", await _rate(lambda n: store.read(lambda tx: tx.get(("bench", 1, 0, n % 1000))), 20_000), "reads/s")
    )
    scan = await _rate(lambda n: store.read(lambda tx: sum(1 for _ in tx.range(("bench", 64), limit=10_000))), 10)
    rows.append(("range", scan * 10_000, "pairs/s"))
    start = time.perf_counter()
    await (await store.branch("copy")).close()
    rows.append(("branch", (time.perf_counter() - start) * 1000, "ms"))
    await store.close()
    blobs = FileBlobStore(folder / "blobs")
    small, large = stream_of(b"x" * 4096), stream_of(b"x" * (64 << 20))
    rows.append(("put 4 KiB blob", await _rate(lambda n: blobs.put(small, bytes_max=4096), 300), "blobs/s"))
    rows.append(("put 64 MiB blob", 64 * await _rate(lambda n: blobs.put(large, bytes_max=64 << 20), 3), "MiB/s"))
    await blobs.close()
    return rows


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for name, value, unit in asyncio.run(_measure(Path(folder))):
            print(f"{name:<28}{value:>14,.0f} {unit}")
