"""aws-chunked bodies: signed chunks, unsigned ones, trailers; and bodies whose hash was stated.

    1000;chunk-signature=...\\r\\n<bytes>\\r\\n ... 0;chunk-signature=...\\r\\n[x-amz-checksum-crc32:...\\r\\n]\\r\\n

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
"""

import asyncio
import hashlib
import hmac
import re
import zlib
from collections.abc import AsyncIterator

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import ByteStream
from penstock.kernel.units import GIB, KIB, MIB
from penstock.protocol.messages import HttpRequest
from penstock.protocol.sigv4 import EMPTY_SHA256, Seed

STREAMING_PREFIX = "STREAMING-"
CHUNK_HEADER_BYTES_MAX = 4096
CHUNK_BYTES_MAX = GIB
TRAILER_BYTES_MAX = 8192
INFLATED_BYTES_MAX = 64 * MIB
_HASHED_AT_ONCE_BYTES = 64 * KIB
_LENGTH = re.compile(r"[0-9]{1,15}")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")
_SIGNED_PREFIX = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


def sha256_hex(body: bytes) -> str:
    """The hash as a request states it."""
    return hashlib.sha256(body).hexdigest()


def is_chunked(request: HttpRequest) -> bool:
    """Whether the body is aws-chunked."""
    return request.headers.get("x-amz-content-sha256", "").startswith(STREAMING_PREFIX) or "aws-chunked" in (
        request.headers.get("content-encoding", "")
    )


def decode(request: HttpRequest, seed: Seed | None) -> None:
    """Replace the body by the bytes within; their signatures are checked with `seed`, if there is one.

    Raises IncompleteBody where the decoded length isn't stated, or later, as the body is read, what is wrong with it.
    """
    stated = request.headers.get("x-amz-decoded-content-length")
    if stated is None or not _LENGTH.fullmatch(stated):
        raise ServiceError("MissingContentLength", "You must provide the Content-Length HTTP header.", status=411)
    kind = request.headers.get("x-amz-content-sha256", "")
    is_signed = kind.startswith(_SIGNED_PREFIX)
    request.body = ChunkedBody(
        request.body,
        int(stated),
        seed if is_signed else None,
        is_signed=is_signed,
        has_signed_trailers=is_signed and kind.endswith("-TRAILER"),
    )
    encodings = [part.strip() for part in request.headers.get("content-encoding", "").split(",")]
    left = [part for part in encodings if part and part != "aws-chunked"]
    if left:
        request.headers["content-encoding"] = ",".join(left)
    else:
        request.headers.pop("content-encoding", None)


class ChunkedBody(ByteStream):
    """The decoded bytes; `trailers` are known once they have all been read."""

    def __init__(
        self, source: ByteStream, length: int, seed: Seed | None, *, is_signed: bool, has_signed_trailers: bool
    ) -> None:
        super().__init__(self._decode(), length=length)
        self.trailers: dict[str, str] = {}
        self._source = source.__aiter__()
        self._buffer = b""
        self._at = 0
        self._seed = seed
        self._is_signed = is_signed
        self._has_signed_trailers = has_signed_trailers
        self._previous = seed.signature if seed else ""

    async def _decode(self) -> AsyncIterator[bytes]:
        size = 0
        assert self.length is not None
        while True:
            chunk_size, signature = self._parse_header(await self._line(CHUNK_HEADER_BYTES_MAX))
            if chunk_size == 0:
                self._check_chunk(EMPTY_SHA256, signature)
                break
            size += chunk_size
            if size > self.length:
                raise _incomplete()
            digest = hashlib.sha256() if self._seed else None
            async for piece in self._take(chunk_size):
                if digest:
                    digest.update(piece)
                yield piece
            if digest:
                self._check_chunk(digest.hexdigest(), signature)
            if await self._line(2):
                raise _malformed()
        if size != self.length:
            raise _incomplete()
        await self._read_trailers()
        await self._reach_end()

    def _parse_header(self, line: bytes) -> tuple[int, str]:
        size, _, extension = line.partition(b";")
        if not _CHUNK_SIZE.fullmatch(size.strip()):
            raise _malformed()
        chunk_size = int(size, 16)
        name, _, signature = extension.strip().partition(b"=")
        if chunk_size > CHUNK_BYTES_MAX or (self._is_signed and name != b"chunk-signature"):
            raise _malformed()
        return chunk_size, signature.decode("latin-1").strip()

    def _check_chunk(self, payload_hash: str, signature: str) -> None:
        if self._seed is None:
            return
        seed = self._seed
        to_sign = "\n".join(
            ["AWS4-HMAC-SHA256-PAYLOAD", seed.time, seed.scope, self._previous, EMPTY_SHA256, payload_hash]
        )
        self._check_signature(to_sign, signature)

    def _check_signature(self, to_sign: str, signature: str) -> None:
        assert self._seed is not None
        expected = hmac.new(self._seed.key, to_sign.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
            message = (
                "The request signature we calculated does not match the signature you provided."
                " Check your key and signing method."
            )
            raise ServiceError("SignatureDoesNotMatch", message, status=403)
        self._previous = signature

    async def _read_trailers(self) -> None:
        lines, size = [], 0
        while line := await self._line(TRAILER_BYTES_MAX, may_end=True):
            size += len(line)
            if size > TRAILER_BYTES_MAX:
                raise _malformed()
            lines.append(line.decode("latin-1"))
        for text in lines:
            name, _, value = text.partition(":")
            self.trailers[name.strip().lower()] = value.strip()
        signature = self.trailers.pop("x-amz-trailer-signature", None)
        if self._seed is None or not (self._has_signed_trailers or signature is not None or self.trailers):
            return
        told = "".join(f"{name}:{value}\n" for name, value in self.trailers.items())
        seed = self._seed
        to_sign = "\n".join(
            [
                "AWS4-HMAC-SHA256-TRAILER",
                seed.time,
                seed.scope,
                self._previous,
                hashlib.sha256(told.encode()).hexdigest(),
            ]
        )
        self._check_signature(to_sign, signature or "")

    async def _reach_end(self) -> None:
        """Nothing but line ends may follow; a hash of the whole source is only checked at its end."""
        size = 0
        while True:
            left = self._buffer[self._at :]
            size += len(left)
            if size > TRAILER_BYTES_MAX or left.strip(b"\r\n"):
                raise _malformed()
            self._buffer, self._at = b"", 0
            if not await self._fill():
                return

    async def _fill(self) -> bool:
        """Append the source's next piece; where nothing is left over, the piece itself, uncopied."""
        async for piece in self._source:
            self._buffer = self._buffer[self._at :] + piece if self._at < len(self._buffer) else piece
            self._at = 0
            return True
        return False

    async def _line(self, bytes_max: int, *, may_end: bool = False) -> bytes:
        """Up to the next line's end, without it. A trailer section may just end."""
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            if len(self._buffer) - self._at > bytes_max:
                raise _malformed()
            if not await self._fill():
                if may_end:
                    end = len(self._buffer)
                    break
                raise _incomplete()
        line = self._buffer[self._at : end].rstrip(b"\r")
        self._at = end + 1
        return line

    async def _take(self, size: int) -> AsyncIterator[bytes]:
        while size:
            if self._at >= len(self._buffer) and not await self._fill():
                raise _incomplete()
            piece = self._buffer[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            yield piece


class HashedBody(ByteStream):
    """A body that must have the SHA-256 that its request states."""

    def __init__(self, source: ByteStream, expected: str) -> None:
        super().__init__(self._check(source, expected), length=source.length)

    async def _check(self, source: ByteStream, expected: str) -> AsyncIterator[bytes]:
        digest = hashlib.sha256()
        loop = asyncio.get_running_loop()
        held = b""
        hashing: asyncio.Future[None] | None = None
        async for piece in source:  # the last piece is held back until the hash is known
            if hashing is not None:
                await hashing
            if len(piece) > _HASHED_AT_ONCE_BYTES:  # the thread hashes while the piece before is worked on
                hashing = loop.run_in_executor(None, digest.update, piece)
            else:
                hashing = None
                digest.update(piece)
            if held:
                yield held
            held = piece
        if hashing is not None:
            await hashing
        if not hmac.compare_digest(digest.hexdigest(), expected.lower()):
            fields = {"ClientComputedContentSHA256": expected, "S3ComputedContentSHA256": digest.hexdigest()}
            message = "The provided 'x-amz-content-sha256' header does not match what was computed."
            raise ServiceError("XAmzContentSHA256Mismatch", message, fields=fields)
        if held:
            yield held


def gunzip(source: ByteStream) -> ByteStream:
    """A gzip body inflated on the way, up to a bound: SDKs compress large requests of some operations."""
    return ByteStream(_inflate(source))


async def _inflate(source: ByteStream) -> AsyncIterator[bytes]:
    inflate, size = zlib.decompressobj(wbits=31), 0
    try:
        async for piece in source:
            while piece:
                out = inflate.decompress(piece, MIB)
                size += len(out)
                if size > INFLATED_BYTES_MAX:
                    raise ServiceError("RequestEntityTooLargeException", "The request is too large.", status=413)
                yield out
                piece = inflate.unconsumed_tail
    except zlib.error:
        raise ServiceError("SerializationException", "The request body is not valid gzip.") from None
    if not inflate.eof:
        raise ServiceError("SerializationException", "The request body is not valid gzip.")


def _malformed() -> ServiceError:
    return ServiceError("InvalidRequest", "The body is not aws-chunked as its headers say.")


def _incomplete() -> ServiceError:
    return ServiceError(
        "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header"
    )
