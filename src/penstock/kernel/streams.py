"""Bytes that arrive over time, passed between layers without being copied whole."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from dataclasses import dataclass


class StreamTooLong(Exception):
    """A read met more bytes than its bound allows."""


@dataclass(frozen=True, slots=True)
class FileRange:
    """Bytes of a file that a server may send without reading them: sendfile."""

    path: str
    offset: int
    length: int


class ByteStream:
    """One pass over bytes. `length` is None when it isn't known before the end.

    `file` is set when the bytes are a plain range of a file; a reader may use it instead of iterating.
    Errors of the source (a client that went away, a bad chunk signature) come out of the iteration.
    """

    def __init__(
        self, chunks: AsyncIterable[bytes], *, length: int | None = None, file: FileRange | None = None
    ) -> None:
        self._chunks = chunks
        self.length = length
        self.file = file

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks.__aiter__()

    async def read(self, *, bytes_max: int) -> bytes:
        """All of it; StreamTooLong once more than `bytes_max` have come."""
        parts: list[bytes] = []
        size = 0
        async for chunk in self:
            size += len(chunk)
            if size > bytes_max:
                raise StreamTooLong(f"more than {bytes_max} bytes")
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class _Whole:
    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._data:
            yield self._data


class BytesStream(ByteStream):
    """A stream over bytes already in memory; may be read again."""

    def __init__(self, data: bytes) -> None:
        super().__init__(_Whole(data), length=len(data))
        self.data = data

    async def read(self, *, bytes_max: int) -> bytes:
        if len(self.data) > bytes_max:
            raise StreamTooLong(f"more than {bytes_max} bytes")
        return self.data


def stream_of(data: bytes) -> BytesStream:
    return BytesStream(data)


class JoinedStream(ByteStream):
    """Streams one after another, each made by `pieces` only when its turn has come; may be read again."""

    def __init__(self, pieces: Callable[[], Iterator[ByteStream]], *, length: int) -> None:
        super().__init__(_Joined(pieces), length=length)
        self.pieces = pieces


class _Joined:
    def __init__(self, pieces: Callable[[], Iterator[ByteStream]]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces():
            async for chunk in piece:
                yield chunk
