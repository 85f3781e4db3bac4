"""Immutable byte objects, written before they are named.

`put` streams to a durable blob and answers its id; the blob is an orphan until a transaction names the id, and
is collected if none does. Ids are unguessable paths of [0-9a-f/].
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from penstock.kernel.streams import ByteStream


class Digest(Protocol):
    """What hashlib's objects are: fed while the bytes pass."""

    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A written blob. `digests` holds the values of the digests that `put` was asked for, by name."""

    id: str
    size: int
    digests: dict[str, bytes] = field(default_factory=dict)


class BlobStore(Protocol):
    async def put(
        self,
        body: ByteStream,
        *,
        digests: dict[str, Callable[[], Digest]] | None = None,
        bytes_max: int,
        seal: Callable[[bytes], bytes] | None = None,
    ) -> BlobInfo:
        """Write and fsync; raises StreamTooLong, Unavailable (disk full), or what `body` raises, leaving nothing.

        `seal` is fed the pieces in order, on a thread, and gives what is written in their place, as many bytes; the
        digests are of what came in.
        """

    def open(self, blob_id: str, *, offset: int = 0, length: int | None = None) -> ByteStream:
        """A range as a stream, with `file` set where the backend has one. KeyError if there is no such blob."""

    async def concat(self, blob_ids: list[str]) -> BlobInfo:
        """One new blob from the bytes of others, in order (multipart completion); shares them where it can."""

    async def delete(self, blob_id: str) -> None:
        """Forget a blob; deleting what isn't there is no error."""
