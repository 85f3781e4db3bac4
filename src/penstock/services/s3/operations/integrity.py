"""What `penstock fsck` asks of this room: does every object still have its bytes, and does everything belong somewhere?

A damaged run of bytes is mended from a healthy one with the same size and checksum, if any object has it (a copy, a
replica, the same file put twice). What can't be mended is told and left as found.
"""

import base64
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from penstock.engines import ciphers
from penstock.engines.checksums import ALGORITHMS, checksum
from penstock.kernel.errors import Unavailable
from penstock.kernel.streams import ByteStream, stream_of
from penstock.services.s3 import state
from penstock.services.s3.operations.encryption import SECRET_KEY
from penstock.services.s3.state import Content, Version
from penstock.storage.blobs import BlobStore
from penstock.storage.transactions import Key, ReadTransaction, Store, Transaction

_BATCH = 500


@dataclass(slots=True)
class Problem:
    """`what`: damaged, missing, orphan or unreadable; `where`: an object or a record; `mended`: how, if it was."""

    what: str
    where: str
    detail: str = ""
    mended: str = ""


@dataclass(slots=True)
class Findings:
    """`unverified`: bytes under a customer's key, of which only the size is known."""

    objects: int = 0
    bytes: int = 0
    unverified: int = 0
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Run:
    """Bytes with a checksum of their own: a small body, an object's blob, or a part's. `at`: the record naming it."""

    at: Key
    where: str
    size: int
    digest: tuple[str, str]
    blob_id: str = ""
    data_id: str = ""
    salt: str = ""
    is_customers: bool = False


async def check(
    store: Store, blobs: BlobStore, *, is_repairing: bool = False, is_reading: bool = True, is_live: bool = False
) -> Findings:
    """Look at every bucket, version, part and small body.

    is_reading   their bytes too, not only their sizes
    is_live      others are writing meanwhile: nothing is repaired, and what belongs nowhere isn't looked for
    """
    findings = Findings()
    secret = await store.read(lambda tx: tx.get(SECRET_KEY)) or b""
    healthy: dict[tuple[int, str, str], _Run] = {}
    damaged: list[tuple[_Run, Problem]] = []
    data_ids: set[str] = set()
    async for run in _runs(store, findings):
        data_ids.add(run.data_id)
        reason = await _examine(store, blobs, run, secret, is_reading=is_reading)
        findings.bytes += run.size
        findings.unverified += run.is_customers or not run.digest[1]
        if reason is None:
            if not run.salt and run.digest[1]:
                healthy.setdefault((run.size, *run.digest), run)
            continue
        if is_live and not await store.read(lambda tx, run=run: _is_named(tx, run)):  # type: ignore[misc]
            continue
        named = f" (blob {run.blob_id})" if run.blob_id else ""
        problem = Problem("missing" if reason == _GONE else "damaged", run.where, reason + named)
        findings.problems.append(problem)
        damaged.append((run, problem))
    if is_live:
        return findings
    if is_repairing:
        for run, problem in damaged:
            twin = None if run.salt else healthy.get((run.size, *run.digest))
            if twin is not None:
                await _mend(store, blobs, run, twin)
                problem.mended = f"from {twin.where}"
    await _check_belonging(store, findings, data_ids, is_repairing=is_repairing)
    return findings


def _is_named(tx: ReadTransaction, run: _Run) -> bool:
    """Whether the record still names these bytes: it may have been replaced since it was read."""
    value = tx.get(run.at)
    return value is not None and (run.blob_id or run.data_id).encode() in value


async def _runs(store: Store, findings: Findings) -> AsyncIterator[_Run]:
    for kind in ("current", "older", "part"):
        async for key, value in _records(store, ("s3", kind)):
            try:
                found = list(_runs_of_part(key, value) if kind == "part" else _runs_of_version(key, value))
            except (ValueError, TypeError, KeyError) as error:
                findings.problems.append(Problem("unreadable", _named(key), str(error)))
                continue
            findings.objects += kind != "part"
            for run in found:
                yield run


async def _records(store: Store, prefix: Key) -> AsyncIterator[tuple[Key, bytes]]:
    """A batch at a time, so that memory stays flat."""
    after: Key | None = None
    while True:

        def read(tx: ReadTransaction, after: Key | None = after) -> list[tuple[Key, bytes]]:
            found = tx.range(prefix, begin=after, limit=_BATCH + 1)
            return [pair for pair in found if pair[0] != after][:_BATCH]

        batch = await store.read(read)
        for pair in batch:
            yield pair
        if len(batch) < _BATCH:
            return
        after = batch[-1][0]


def _named(key: Key) -> str:
    return "/".join(str(part) for part in key[2:4])


def _runs_of_version(key: Key, value: bytes) -> Iterator[_Run]:
    version = Version(**orjson.loads(value))
    where = _named(key) + (f" version {version.version_id}" if version.version_id != state.NULL else "")
    is_customers = "SSECustomerKeyMD5" in version.headers
    salts = [salt for _, salt in version.sealed] or [""] * max(len(version.blobs), 1)
    if version.blobs:
        for blob_id, (number, size, sums), salt in zip(version.blobs, version.parts, salts, strict=True):
            yield _Run(key, f"{where} part {number}", size, _digest(sums, ""), blob_id, "", salt, is_customers)
    elif version.blob_id or version.data_id:
        digest = _digest(version.checksums, version.etag)
        named = (version.blob_id, version.data_id)
        yield _Run(key, where, version.size, digest, *named, salts[0], is_customers)
    elif version.size:
        raise ValueError("an object with a size and without bytes")


def _runs_of_part(key: Key, value: bytes) -> Iterator[_Run]:
    stored = orjson.loads(value)
    content = Content(**stored["content"])
    digest = _digest(content.checksums, content.etag)
    where = f"part {_named(key)}"
    if content.blob_id:  # whose key sealed it, the upload knows: only the size is looked at
        yield _Run(key, where, content.size, digest, content.blob_id, "", content.salt, bool(content.salt))


def _digest(sums: dict[str, str], etag: str) -> tuple[str, str]:
    for name in ALGORITHMS:
        value = sums.get(f"Checksum{name}", "")
        if value and "-" not in value:
            return name, value
    return ("MD5", etag) if etag and "-" not in etag else ("", "")


_GONE = "its bytes aren't there"


async def _examine(store: Store, blobs: BlobStore, run: _Run, secret: bytes, *, is_reading: bool) -> str | None:
    """What is wrong with a run of bytes, or None."""
    if not run.size:
        return None
    if run.data_id:
        data = await store.read(lambda tx: tx.get(("s3", "data", run.data_id)))
        if data is None:
            return _GONE
        stream: ByteStream = stream_of(data)
    else:
        try:
            stream = blobs.open(run.blob_id)
        except KeyError:
            return _GONE
    if stream.length != run.size:
        return f"it has {stream.length} bytes instead of {run.size}"
    if not is_reading or run.is_customers or not run.digest[1]:
        return None
    if run.salt:
        stream = ciphers.opened(stream, secret, [(run.size, run.salt)], offset=0)
    try:
        found = await _sum(stream, run.digest[0])
    except (OSError, Unavailable) as error:
        return f"it can't be read: {error}"
    return None if found == run.digest[1] else f"its {run.digest[0]} is {found} instead of {run.digest[1]}"


async def _sum(stream: ByteStream, algorithm: str) -> str:
    running = checksum(algorithm)
    async for piece in stream:
        running.update(piece)
    value = running.digest()
    return value.hex() if algorithm == "MD5" else base64.b64encode(value).decode()


async def _mend(store: Store, blobs: BlobStore, run: _Run, twin: _Run) -> None:
    """Give the record a copy of its twin's bytes."""
    if run.data_id:

        def put(tx: Transaction) -> None:
            source = tx.get(("s3", "data", twin.data_id)) if twin.data_id else None
            tx.put(("s3", "data", run.data_id), source or b"")

        if twin.data_id:
            await store.transact(put)
        return
    copy = await blobs.concat([twin.blob_id])

    def rename(tx: Transaction) -> None:
        value = tx.get(run.at)
        if value is not None:
            tx.put(run.at, value.replace(run.blob_id.encode(), copy.id.encode()))

    await store.transact(rename)


async def _check_belonging(store: Store, findings: Findings, data_ids: set[str], *, is_repairing: bool) -> None:
    """Bodies that no object names, parts without their upload, keys without their bucket, buckets without an owner."""
    buckets = {str(key[2]): value async for key, value in _records(store, ("s3", "bucket"))}
    uploads = {str(key[4]) async for key, _ in _records(store, ("s3", "upload"))}
    orphans: list[tuple[Key, str]] = []
    async for key, _ in _records(store, ("s3", "data")):
        if key[2] not in data_ids:
            orphans.append((key, f"small body {_named(key)}"))
    async for key, _ in _records(store, ("s3", "part")):
        if key[2] not in uploads:
            orphans.append((key, f"part {_named(key)}"))
    for kind in ("config", "upload"):
        async for key, _ in _records(store, ("s3", kind)):
            if key[2] not in buckets:
                orphans.append((key, f"{kind} {_named(key)}"))
    for kind in ("current", "older"):
        async for key, _ in _records(store, ("s3", kind)):
            if key[2] not in buckets:
                findings.problems.append(Problem("orphan", _named(key), "its bucket isn't there"))
    for _, where in orphans:
        mended = "deleted" if is_repairing else ""
        findings.problems.append(Problem("orphan", where, "nothing names it", mended))
    owned = {(str(key[2]), str(key[3])) async for key, _ in _records(store, ("s3", "owned"))}
    lost = [bucket for bucket in map(_bucket, buckets.values()) if (bucket["account_id"], bucket["name"]) not in owned]
    for bucket in lost:
        mended = "written anew" if is_repairing else ""
        findings.problems.append(Problem("missing", f"bucket {bucket['name']}", "its owner's list lacks it", mended))
    if is_repairing and (orphans or lost):

        def repair(tx: Transaction) -> None:
            for key, _ in orphans:
                tx.delete(key)
            for bucket in lost:
                tx.put(("s3", "owned", bucket["account_id"], bucket["name"]), b"")

        await store.transact(repair)


def _bucket(value: bytes) -> dict[str, Any]:
    return dict(orjson.loads(value))
