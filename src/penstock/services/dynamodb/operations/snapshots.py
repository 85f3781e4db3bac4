"""A table's items as they were at one moment, in one blob: what backups, restores and exports are made of.

The blob is zlib's stream of rows, each four bytes of length and an item as the store has it (values.encode).
"""

import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from penstock.engines.expressions import values
from penstock.framework.context import Context
from penstock.kernel.errors import Bug
from penstock.kernel.streams import ByteStream
from penstock.services.dynamodb import limits, state
from penstock.services.dynamodb.state import Backup, Table
from penstock.storage.blobs import BlobInfo
from penstock.storage.transactions import Key, ReadTransaction

_LENGTH_BYTES = 4
_PIECE_ROWS = 1000
_SUFFIX_BYTES = 4


def rows_now(tx: ReadTransaction, table: Table) -> Iterator[bytes]:
    for _, data in tx.range((*state.ITEMS, table.key)):
        yield data


def undone(tx: ReadTransaction, table: Table, at_ms: int) -> dict[Key, bytes]:
    """What the items that changed after `at_ms` were then; no bytes where there was none."""
    prefix = (*state.UNDO, table.key)
    found: dict[Key, bytes] = {}
    for place, data in tx.range(prefix, begin=(*prefix, at_ms + 1)):
        found.setdefault(place[len(prefix) + 1 :], data)
    return found


def rows_at(tx: ReadTransaction, table: Table, at_ms: int) -> Iterator[bytes]:
    """The items at a time that recovery reaches back to."""
    before = undone(tx, table, at_ms)
    prefix = (*state.ITEMS, table.key)
    for place, data in tx.range(prefix):
        if place[len(prefix) :] not in before:
            yield data
    yield from (data for data in before.values() if data)


@dataclass(frozen=True, slots=True)
class Snapshot:
    blob: str
    count: int
    size: int


async def write(ctx: Context, rows: list[bytes]) -> Snapshot:
    info: BlobInfo = await ctx.blobs.put(ByteStream(_packed(rows)), bytes_max=limits.BACKUP_BYTES_MAX)
    return Snapshot(info.id, len(rows), sum(map(values.stored_size, rows)))


async def _packed(rows: list[bytes]) -> AsyncIterator[bytes]:
    packer = zlib.compressobj(1)
    for start in range(0, len(rows), _PIECE_ROWS):
        piece = b"".join(len(row).to_bytes(_LENGTH_BYTES, "big") + row for row in rows[start : start + _PIECE_ROWS])
        yield packer.compress(piece)
    yield packer.flush()


async def read(ctx: Context, blob: str) -> AsyncIterator[bytes]:
    """The rows of a snapshot."""
    unpacker, held = zlib.decompressobj(), bytearray()
    async for chunk in ctx.blobs.open(blob):
        held += unpacker.decompress(chunk)
        at = 0
        while len(held) - at >= _LENGTH_BYTES:
            end = at + _LENGTH_BYTES + int.from_bytes(held[at : at + _LENGTH_BYTES], "big")
            if end > len(held):
                break
            yield bytes(held[at + _LENGTH_BYTES : end])
            at = end
        del held[:at]
    if held:
        raise Bug(f"snapshot {blob} ends within a row")


def new_id(ctx: Context, now_ms: int) -> str:
    """What a backup, an export or an import is called; later ones sort later."""
    return f"{now_ms:014d}-{ctx.entropy.token_hex(_SUFFIX_BYTES)}"


async def backup_of(
    ctx: Context, table: Table, rows: list[bytes], name: str, now_ms: int, *, kind: str = "USER"
) -> Backup:
    """The rows written, and the backup that is to be put."""
    kept = await write(ctx, rows)
    return Backup(new_id(ctx, now_ms), name, table, now_ms, kept.blob, kept.count, kept.size, kind)
