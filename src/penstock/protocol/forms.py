"""multipart/form-data as browsers send it to S3: small fields, then one file that streams.

Source: https://datatracker.ietf.org/doc/html/rfc7578
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import Message

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import ByteStream, stream_of
from penstock.kernel.units import KIB
from penstock.protocol.messages import HttpRequest

FIELDS_BYTES_MAX = 20 * KIB
"""S3's bound on a form without its file."""

_FILE_AT_ONCE_BYTES = 64 * KIB
_HEADERS_BYTES_MAX = 8 * KIB
_FORM = "multipart/form-data"
_NAME = re.compile(r'\bname="([^"]*)"|\bname=([^;\s]+)')
_FILENAME = re.compile(r'\bfilename="([^"]*)"|\bfilename=([^;\s]+)')


@dataclass(slots=True)
class Form:
    """Fields by their names in small letters; `file` is read once, its length known where it is short."""

    fields: dict[str, str] = field(default_factory=dict)
    file: ByteStream | None = None
    filename: str = ""


def is_form(request: HttpRequest) -> bool:
    return request.headers.get("content-type", "").lower().startswith(_FORM)


async def read_form(request: HttpRequest) -> Form:
    """Raises MalformedPOSTRequest (400) or MaxPostPreDataLengthExceeded (400)."""
    reader = _Reader(request.body, _boundary(request.headers["content-type"]))
    form = Form()
    size = 0
    await reader.skip_preamble()
    while not reader.is_at_end:
        head = await reader.head()
        name = _named(_NAME, head)
        if name is None:
            raise _malformed()
        if name.lower() == "file":
            form.filename = (_named(_FILENAME, head) or "").replace("\\", "/").rpartition("/")[2]
            form.file = await _file(reader)
            return form
        value = await reader.value(FIELDS_BYTES_MAX)
        size += len(value)
        if size > FIELDS_BYTES_MAX:
            raise _too_long()
        form.fields[name.lower()] = value.decode("utf-8", "replace")
    return form


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str) or not boundary:
        raise _malformed()
    return boundary.encode()


def _named(pattern: re.Pattern[str], head: str) -> str | None:
    match = pattern.search(head)
    return None if match is None else match[1] or match[2] or ""


async def _file(reader: "_Reader") -> ByteStream:
    """A short file is read at once, so that it is kept as a short object is."""
    pieces: list[bytes] = []
    size = 0
    rest = reader.part()
    async for piece in rest:
        pieces.append(piece)
        size += len(piece)
        if size > _FILE_AT_ONCE_BYTES:
            return ByteStream(_after(pieces, rest))
    return stream_of(b"".join(pieces))


async def _after(pieces: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    async for piece in rest:
        yield piece


class _Reader:
    """The form's bytes, cut at its boundary."""

    def __init__(self, body: ByteStream, boundary: bytes) -> None:
        self._chunks = body.__aiter__()
        self._delimiter = b"\r\n--" + boundary
        self._held = b"\r\n"  # so that the first boundary looks as every other
        self.is_at_end = False

    async def _more(self) -> None:
        try:
            self._held += bytes(await self._chunks.__anext__())
        except StopAsyncIteration:
            raise _malformed() from None

    async def skip_preamble(self) -> None:
        async for _ in self.part():
            pass

    async def part(self) -> AsyncIterator[bytes]:
        """What comes before the next boundary, and step over that."""
        delimiter = self._delimiter
        while (at := self._held.find(delimiter)) < 0:
            safe = len(self._held) - len(delimiter) + 1
            if safe > 0:
                piece, self._held = self._held[:safe], self._held[safe:]
                yield piece
            await self._more()
        piece, self._held = self._held[:at], self._held[at + len(delimiter) :]
        if piece:
            yield piece
        while len(self._held) < 2:
            await self._more()
        self.is_at_end = self._held.startswith(b"--")
        if self.is_at_end:
            async for _ in self._chunks:  # an epilogue means nothing
                pass
        elif not self._held.startswith(b"\r\n"):
            raise _malformed()

    async def head(self) -> str:
        """A part's headers."""
        while (at := self._held.find(b"\r\n\r\n")) < 0:
            if len(self._held) > _HEADERS_BYTES_MAX:
                raise _malformed()
            await self._more()
        head, self._held = self._held[:at], self._held[at + 4 :]
        if self._held.startswith(self._delimiter[2:]):
            self._held = b"\r\n" + self._held
        return head.decode("utf-8", "replace")

    async def value(self, bytes_max: int) -> bytes:
        pieces = []
        size = 0
        async for piece in self.part():
            pieces.append(piece)
            size += len(piece)
            if size > bytes_max:
                raise _too_long()
        return b"".join(pieces)


def _malformed() -> ServiceError:
    text = "The body of your POST request is not well-formed multipart/form-data."
    return ServiceError("MalformedPOSTRequest", text)


def _too_long() -> ServiceError:
    text = "Your POST request fields preceding the upload file was too large."
    return ServiceError("MaxPostPreDataLengthExceeded", text)
