"""Answers on their way out: head, body, chunks, and files without copying."""

import asyncio
import contextlib
import os
import select
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Protocol

from penstock.kernel.errors import Bug
from penstock.kernel.streams import BytesStream, ByteStream, FileRange, JoinedStream
from penstock.kernel.units import MIB
from penstock.protocol.messages import HttpResponse

_REASONS = {status.value: status.phrase for status in HTTPStatus}
BODILESS = (204, 304)
_SENDFILE_BYTES = 4 * MIB
_AT_ONCE_BYTES = MIB // 4
_STALL_MS = 20
_STALLS = 16


class Flow(Protocol):
    """The connection as the sender sees it."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def is_lost(self) -> bool: ...
    @property
    def write_s(self) -> float: ...
    async def drain(self) -> None: ...
    def wait_until(self, seconds: float) -> None: ...


class Answer:
    """A response with its framing decided; `keep_alive` may turn out false."""

    def __init__(
        self, response: HttpResponse, *, is_head: bool, keep_alive: bool, is_http10: bool, now_ms: int
    ) -> None:
        self.status = response.status
        self.body = response.body
        self.has_body = not is_head and response.status not in BODILESS
        names = {name.lower() for name, _ in response.headers}
        lines = [f"{name}: {_clean(value)}\r\n" for name, value in response.headers]
        self.is_chunked = False
        if response.status not in BODILESS and "content-length" not in names:
            length = len(self.body) if isinstance(self.body, bytes) else self.body.length
            if length is not None:
                lines.append(f"content-length: {length}\r\n")
            elif is_http10:
                keep_alive = False
            elif not is_head:
                self.is_chunked = True
                lines.append("transfer-encoding: chunked\r\n")
        if "date" not in names:
            lines.append(f"date: {http_date(now_ms // 1000)}\r\n")
        if not keep_alive:
            lines.append("connection: close\r\n")
        elif is_http10:
            lines.append("connection: keep-alive\r\n")
        self.keep_alive = keep_alive
        self._lines = lines

    def head(self) -> bytes:
        reason = _REASONS.get(self.status, "Unknown")
        return f"HTTP/1.1 {self.status} {reason}\r\n{''.join(self._lines)}\r\n".encode("latin-1", "replace")


async def send(transport: asyncio.Transport, answer: Answer, flow: Flow) -> None:
    """Write it all, at the pace at which the client takes it. Raises ConnectionError, Bug, or what the body raises."""
    body = answer.body
    if isinstance(body, bytes):
        transport.write(answer.head() + body if answer.has_body else answer.head())
        await flow.drain()
    elif not answer.has_body:
        transport.write(answer.head())
    elif isinstance(body, BytesStream) and not answer.is_chunked:
        transport.write(answer.head() + body.data)
        await flow.drain()
    elif body.file is not None and not answer.is_chunked and transport.get_extra_info("sslcontext") is None:
        await _send_file(transport, answer.head(), body.file, flow)
    elif isinstance(body, JoinedStream) and not answer.is_chunked and not transport.get_extra_info("sslcontext"):
        await _send_pieces(transport, answer.head(), body, flow)
    else:
        await _send_stream(transport, answer, body, flow)


async def _send_stream(transport: asyncio.Transport, answer: Answer, body: ByteStream, flow: Flow) -> None:
    transport.write(answer.head())
    size = 0
    async for chunk in body:
        if not chunk:
            continue
        size += len(chunk)
        transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if answer.is_chunked else chunk)
        await flow.drain()
    if answer.is_chunked:
        transport.write(b"0\r\n\r\n")
    elif body.length is not None and size != body.length:
        raise Bug(f"the body has {size} bytes where {body.length} were announced")


async def _send_pieces(transport: asyncio.Transport, head: bytes, body: JoinedStream, flow: Flow) -> None:
    """A file's worth after another, each as its kind allows."""
    for piece in body.pieces():
        if piece.file is not None:
            await _send_file(transport, head, piece.file, flow)
        else:
            transport.write(head)
            async for chunk in piece:
                transport.write(chunk)
                await flow.drain()
        head = b""
    if head:
        transport.write(head)
        await flow.drain()


async def _send_file(transport: asyncio.Transport, head: bytes, file: FileRange, flow: Flow) -> None:
    """sendfile(2) on the transport's socket, once the transport has nothing left of its own to write."""
    source = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        low, high = transport.get_write_buffer_limits()
        transport.set_write_buffer_limits(0)
        if head:
            transport.write(head)
        await flow.drain()
        transport.set_write_buffer_limits(high, low)
        # A descriptor of its own, as a loop refuses to watch one that a transport owns.
        target = os.dup(transport.get_extra_info("socket").fileno())
        try:
            await _copy(source, target, file, flow)
        finally:
            os.close(target)
    finally:
        os.close(source)


async def _copy(source: int, target: int, file: FileRange, flow: Flow) -> None:
    """A small file goes at once; a large one from a thread, for as long as the client keeps up with it."""
    offset, end = file.offset, file.offset + file.length
    if file.length <= _AT_ONCE_BYTES:
        offset = _push(source, target, offset, end, stalls=0)
    writable = asyncio.Event()
    while offset < end:
        offset = await _in_thread(flow.loop, partial(_push, source, target, offset, end, stalls=_STALLS))
        if offset == end:
            return
        writable.clear()
        flow.loop.add_writer(target, writable.set)
        try:
            async with asyncio.timeout(flow.write_s):
                await writable.wait()
        except TimeoutError:
            raise ConnectionError("the client takes nothing any more") from None
        finally:
            flow.loop.remove_writer(target)
        if flow.is_lost:
            raise ConnectionError("the client went away")


async def _in_thread(loop: asyncio.AbstractEventLoop, push: Callable[[], int]) -> int:
    """Never ends before the thread does: its descriptors are closed next, and their numbers would be others' files."""
    pushing = loop.run_in_executor(None, push)
    try:
        return await asyncio.shield(pushing)
    except asyncio.CancelledError:
        while not pushing.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([pushing])
        raise


def _push(source: int, target: int, offset: int, end: int, *, stalls: int) -> int:
    """Send until the end, or until the client has made it wait too often or for too long. Where it got to.

    A client that takes a little at a time gets no thread of its own: after `stalls` waits the loop waits for it.
    Raises Bug where the file ends early, ConnectionError where the client is gone.
    """
    room = select.poll()
    room.register(target, select.POLLOUT)
    while offset < end:
        try:
            sent = os.sendfile(target, source, offset, min(end - offset, _SENDFILE_BYTES))
        except BlockingIOError:
            stalls -= 1
            if stalls >= 0 and room.poll(_STALL_MS):
                continue
            return offset
        if sent == 0:
            raise Bug("a file is shorter than announced")
        offset += sent
    return offset


@lru_cache(maxsize=4)
def http_date(now_s: int) -> str:
    return formatdate(now_s, usegmt=True)


def _clean(value: str) -> str:
    """A header's value can't end its line."""
    return value.replace("\r", "").replace("\n", " ") if "\r" in value or "\n" in value else value
