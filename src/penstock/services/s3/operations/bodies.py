"""Taking bytes in and giving them out: digests on the way, small bodies in the store, large ones as blobs."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from penstock.engines.checksums import ALGORITHMS, checksum, is_available
from penstock.framework.context import Context
from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import ByteStream, JoinedStream, StreamTooLong, stream_of
from penstock.services.s3 import limits, messages
from penstock.services.s3.operations.encryption import Sealing
from penstock.services.s3.state import Content, Version
from penstock.storage.blobs import Digest
from penstock.storage.transactions import ReadTransaction, Transaction

NOT_SEALED = Sealing()
_READING = "s3.reading"


@dataclass(slots=True)
class Received:
    """A body that was taken in; `data` holds a small one until the transaction that names it."""

    content: Content
    data: bytes = b""

    def write(self, tx: Transaction) -> None:
        if self.content.data_id:
            tx.put(("s3", "data", self.content.data_id), self.data)


def _md5() -> Digest:
    return hashlib.md5(usedforsecurity=False)


async def receive(
    ctx: Context,
    req: dict[str, Any],
    *,
    default_algorithm: str = "",
    also: str = "",
    inline_max: int = limits.INLINE_BYTES_MAX,
    sealing: Sealing = NOT_SEALED,
) -> Received:
    """Store the Body member and verify what the caller said of it. A refused body leaves nothing.

    `also` is computed beside what the caller names, `default_algorithm` only where it names nothing.
    """
    body = req.get("Body")
    stream = body if isinstance(body, ByteStream) else stream_of(body or b"")
    algorithm = checksum_algorithm(req) or default_algorithm
    makers: dict[str, Callable[[], Digest]] = {"md5": _md5}
    algorithms = [name for name in dict.fromkeys((algorithm, also)) if name]
    for name in algorithms:
        makers[name] = partial(checksum, name)
    salt = sealing.new_salt(ctx)
    received, digests = await _take(ctx, stream, makers, inline_max, sealing.sealer(salt))
    content = received.content
    content.salt = salt
    content.etag = digests["md5"].hex()
    content.checksums = {f"Checksum{name}": base64.b64encode(digests[name]).decode() for name in algorithms}
    try:
        _verify(req, stream, content, digests["md5"])
    except ServiceError:
        await discard(ctx, received)
        raise
    return received


async def discard(ctx: Context, received: Received) -> None:
    """Forget bytes that no transaction came to name."""
    if received.content.blob_id:
        await ctx.blobs.delete(received.content.blob_id)


async def _take(
    ctx: Context,
    stream: ByteStream,
    makers: dict[str, Callable[[], Digest]],
    inline_max: int,
    seal: Callable[[bytes], bytes] | None,
) -> tuple[Received, dict[str, bytes]]:
    if stream.length is not None and stream.length <= inline_max:
        data = await stream.read(bytes_max=inline_max)
        digests = {}
        for name, make in makers.items():
            running = make()
            running.update(data)
            digests[name] = running.digest()
        data_id = ctx.entropy.token_hex(12) if data else ""
        return Received(Content(len(data), "", data_id=data_id), seal(data) if seal else data), digests
    try:
        blob = await ctx.blobs.put(stream, digests=makers, bytes_max=limits.PUT_BYTES_MAX.value, seal=seal)
    except StreamTooLong:
        raise messages.entity_too_large(limits.PUT_BYTES_MAX.value) from None
    return Received(Content(blob.size, "", blob_id=blob.id)), blob.digests


def checksum_algorithm(req: dict[str, Any]) -> str:
    """The one that the caller gave a value of, or named as coming in the trailer."""
    given = [name for name in ALGORITHMS if req.get(f"Checksum{name}")]
    if len(given) > 1:
        raise messages.invalid_request(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    named = str(req.get("ChecksumAlgorithm") or "")
    if named and named not in ALGORITHMS:
        raise messages.invalid_request(
            "Checksum algorithm provided is unsupported. "
            f"Please try again with any of the valid types: [{', '.join(ALGORITHMS)}]"
        )
    algorithm = given[0] if given else named
    if algorithm and not is_available(algorithm):
        raise messages.not_implemented(f"x-amz-checksum-{algorithm.lower()} needs awscrt")
    return algorithm


def _verify(req: dict[str, Any], stream: ByteStream, content: Content, md5: bytes) -> None:
    if (content_md5 := req.get("ContentMD5")) is not None:
        if _decoded(content_md5, 16) is None:
            raise messages.invalid_digest(content_md5)
        if _decoded(content_md5, 16) != md5:
            raise messages.bad_md5(content_md5, base64.b64encode(md5).decode())
    trailers: dict[str, str] = getattr(stream, "trailers", None) or {}
    for member, computed in content.checksums.items():
        algorithm = member.removeprefix("Checksum")
        expected = req.get(member) or trailers.get(f"x-amz-checksum-{algorithm.lower()}")
        if not expected:
            continue
        if _decoded(expected, len(base64.b64decode(computed))) is None:
            raise messages.invalid_request(f"Value for x-amz-checksum-{algorithm.lower()} header is invalid.")
        if expected != computed:
            raise messages.bad_digest(algorithm)


def _decoded(text: str, size: int) -> bytes | None:
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return value if len(value) == size else None


def read_data(tx: ReadTransaction, version: Version) -> bytes:
    return tx.get(("s3", "data", version.data_id)) or b""


def give(ctx: Context, version: Version, data: bytes, offset: int, length: int) -> ByteStream:
    """The bytes as they lie: see `encryption.unsealed`."""
    if length == 0:
        return stream_of(b"")
    if version.blob_id:
        return ctx.blobs.open(version.blob_id, offset=offset, length=length)
    if not version.blobs:
        return stream_of(data if length == len(data) else data[offset : offset + length])
    spans = _spans(version, offset, length)
    if len(spans) == 1:
        blob_id, at, size = spans[0]
        return ctx.blobs.open(blob_id, offset=at, length=size)
    return JoinedStream(lambda: _pieces(ctx, spans), length=length)


def _spans(version: Version, offset: int, length: int) -> list[tuple[str, int, int]]:
    """(blob, offset in it, length) of a range of an object in parts."""
    spans = []
    for blob_id, (_, size, _) in zip(version.blobs, version.parts, strict=True):
        if offset < size and length:
            taken = min(size - offset, length)
            spans.append((blob_id, offset, taken))
            length -= taken
        offset = max(offset - size, 0)
    return spans


def _pieces(ctx: Context, spans: list[tuple[str, int, int]]) -> Iterator[ByteStream]:
    """Each blob's range in its turn; until the last has been taken none of them is deleted (`is_read`)."""
    reading: dict[str, int] = ctx.platform.volatile.setdefault(_READING, {})
    for blob_id, _, _ in spans:
        reading[blob_id] = reading.get(blob_id, 0) + 1
    try:
        for blob_id, at, size in spans:
            yield ctx.blobs.open(blob_id, offset=at, length=size)
    finally:
        for blob_id, _, _ in spans:
            reading[blob_id] -= 1
            if not reading[blob_id]:
                del reading[blob_id]


def is_read(ctx: Context, blobs: list[str]) -> bool:
    """Whether someone is on the way through an object that these are parts of."""
    reading = ctx.platform.volatile.get(_READING) or {}
    return any(blob in reading for blob in blobs)
