"""HTTP messages as plain values, between the gateway and the codecs."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from penstock.kernel.streams import ByteStream, stream_of


@dataclass(slots=True)
class HttpRequest:
    """A request as received.

    path, query   still percent-encoded, as on the wire
    headers       lower-case names; a repeated header's values are joined with ","
    body          read once; bounded by whoever reads it
    """

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: ByteStream = field(default_factory=lambda: stream_of(b""))
    source_ip: str = "127.0.0.1"
    is_secure: bool = False


@dataclass(slots=True)
class HttpResponse:
    """An answer to send. A ByteStream body with a `file` goes out by sendfile; an unknown length, chunked."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | ByteStream = b""


EventStream = AsyncIterator[tuple[str, dict[str, object]]]
"""What an operation with an event-stream output answers: (event type, members) pairs."""
