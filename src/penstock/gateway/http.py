"""HTTP on asyncio: connections in, requests to a handler, answers out.

One connection serves its requests in order, so pipelining is safe. A waiting handler costs a task and no timer:
deadlines are swept once a second for all connections (`sweep_s`).
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import httptools

from penstock.gateway.http2 import PREFACE, Http2Connection
from penstock.gateway.http_answers import Answer, send
from penstock.kernel.streams import ByteStream, stream_of
from penstock.kernel.units import KIB
from penstock.protocol.messages import HttpRequest, HttpResponse

log = logging.getLogger("penstock.http")

Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ClientGone(ConnectionError):
    """The client went away, or fell silent, before its body was whole."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of one connection.

    header_bytes   request line and headers together; more is answered 431
    whole_bytes    bodies up to this size are received before the handler starts
    buffer_bytes   of a body not yet read, and of an answer not yet taken
    pipeline       requests received ahead of the one being answered
    sweep_s        how often deadlines are looked at, for all connections at once
    connections    at once; what comes beyond is cut off. None: no bound
    """

    header_bytes: int = 64 * KIB
    whole_bytes: int = 64 * KIB
    buffer_bytes: int = 512 * KIB
    pipeline: int = 16
    header_s: float = 20
    idle_s: float = 120
    body_s: float = 60
    write_s: float = 60
    linger_s: float = 10
    sweep_s: float = 1
    connections: int | None = None


class HttpServer:
    """Serves `handler`; errors that it raises are logged and answered 500.

    admits   whether a connection may be made, by its own and the other end's address; others are cut off
    """

    def __init__(
        self,
        handler: Handler,
        *,
        now_ms: Callable[[], int],
        limits: HttpLimits | None = None,
        admits: Callable[[tuple[str, int], tuple[str, int]], bool] | None = None,
    ) -> None:
        self.handler = handler
        self.admits = admits
        self.now_ms = now_ms
        self.limits = limits or HttpLimits()
        self.connections: set[_Connection | Http2Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.is_draining = False
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; answers the port, which was chosen if `port` is 0. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self, loop), host, port, backlog=4096)
        self._on_sweep()
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self, *, drain_s: float = 4.0) -> None:
        """Take no more; let what runs end within `drain_s`, then cut it off."""
        self.is_draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close_if_idle()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=drain_s)
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.gather(*self.tasks, return_exceptions=True)
        for connection in list(self.connections):
            connection.transport.abort()
        if self._sweep is not None:
            self._sweep.cancel()

    def _on_sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        for connection in list(self.connections):
            if connection.deadline_s is not None and connection.deadline_s <= now_s:
                connection.on_deadline()
        self._sweep = loop.call_later(self.limits.sweep_s, self._on_sweep)


class _Body:
    """A request's body while it comes in; reading it drives the socket."""

    def __init__(self, connection: "_Connection", *, expects_continue: bool) -> None:
        self._connection = connection
        self._chunks: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._expects_continue = expects_continue
        self.size = 0
        self.is_complete = False
        self.is_discarded = False

    @property
    def is_unasked(self) -> bool:
        """The client still waits for 100 Continue and may send no body at all."""
        return self._expects_continue

    def feed(self, data: bytes) -> None:
        if self.is_discarded:
            return
        self._chunks.append(data)
        self.size += len(data)
        if self.size > self._connection.server.limits.buffer_bytes:
            self._connection.pause_reading()
        self._wake()

    def end(self, error: Exception | None = None) -> None:
        self.is_complete = self.is_complete or error is None
        if not self.is_complete:
            self._error = error
        self._wake()

    def discard(self) -> None:
        self.is_discarded = True
        self._chunks.clear()
        self.size = 0
        self._connection.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        connection = self._connection
        if self._expects_continue:
            self._expects_continue = False
            if not self.is_complete:
                connection.transport.write(_CONTINUE)
        while True:
            while self._chunks:
                data = self._chunks.popleft()
                self.size -= len(data)
                if self.size <= connection.server.limits.buffer_bytes // 2:
                    connection.resume_reading()
                yield data
            if self._error is not None:
                raise self._error
            if self.is_complete:
                return
            self._waiter = connection.loop.create_future()
            connection.wait_until(connection.server.limits.body_s)
            try:
                await self._waiter
            finally:
                self._waiter = None
                connection.deadline_s = None


class _Exchange:
    """One request and what is known of it while it is received and answered."""

    def __init__(self) -> None:
        self.target = b""
        self.path = self.query = ""
        self.headers: dict[str, str] = {}
        self.header_bytes = 0
        self.method = ""
        self.keep_alive = True
        self.is_http10 = False
        self.parts: list[bytes] = []
        self.body: _Body | None = None
        self.length: int | None = None
        self.received = 0


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, server: HttpServer, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.loop = loop
        self.deadline_s: float | None = None
        self.source_ip = ""
        self.is_lost = False
        self._parser = httptools.HttpRequestParser(self)
        self._incoming: _Exchange | None = None
        self._ready: deque[_Exchange] = deque()
        self._task: asyncio.Task[None] | None = None
        self._first: bytes | None = b""
        self._unparsed_bytes = 0
        self._plain_bytes = 0
        self._is_paused = False
        self._is_closing = False
        self._is_lingering = False
        self._refusal: int | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()

    # the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self.transport.set_write_buffer_limits(self.server.limits.buffer_bytes)
        peer = transport.get_extra_info("peername")
        self.source_ip = peer[0] if isinstance(peer, tuple) else ""
        if not self._is_admitted(transport.get_extra_info("sockname"), peer):
            self.is_lost = True
            self.transport.abort()
            return
        connected = transport.get_extra_info("socket")
        if connected is not None and connected.family in (socket.AF_INET, socket.AF_INET6):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.connections.add(self)
        self.wait_until(self.server.limits.header_s)

    def _is_admitted(self, own: tuple[str, int], peer: tuple[str, int]) -> bool:
        most, admits = self.server.limits.connections, self.server.admits
        if most is not None and len(self.server.connections) >= most:
            return False
        return admits is None or admits(own, peer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self.server.connections.discard(self)
        self._can_write.set()
        if self._incoming is not None and self._incoming.body is not None:
            self._incoming.body.end(ClientGone("the client went away"))

    def eof_received(self) -> bool:
        if self._incoming is not None and self._incoming.body is not None:
            self._incoming.body.end(ClientGone("the client ended its side"))
        return self._task is not None

    def data_received(self, data: bytes) -> None:
        if self._first is not None:
            data = self._first + data
            if PREFACE.startswith(data[: len(PREFACE)]):
                self._on_preface(data)
                return
            self._first = None
        if self._is_lingering or self._refusal is not None:
            return
        if self._plain_bytes:
            data = self._take_plain(data)
            if not data:
                return
        if self._incoming is None or self._incoming.body is None and not self._incoming.parts:
            self._unparsed_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._is_closing = True
        except httptools.HttpParserError as error:
            self._refuse(431 if isinstance(error.__context__, _HeadersTooLarge) else 400)
            return
        incoming = self._incoming
        if incoming is not None and incoming.body is not None and incoming.length:
            self._plain_bytes = incoming.length - incoming.received
        is_in_head = self._incoming is not None and not self._incoming.method
        if is_in_head and self._unparsed_bytes > self.server.limits.header_bytes + len(data):
            self._refuse(431)
        if len(self._ready) >= self.server.limits.pipeline:
            self.pause_reading()

    def _on_preface(self, data: bytes) -> None:
        """Wait until it is whole; then the connection is HTTP/2's."""
        self._first = data
        if len(data) >= len(PREFACE):
            self.server.connections.discard(self)
            taken = Http2Connection(self.server, self.transport, self.loop, self.source_ip)
            self.server.connections.add(taken)
            self.transport.set_protocol(taken)
            taken.begin()
            taken.data_received(data[len(PREFACE) :])

    def _take_plain(self, data: bytes) -> bytes:
        """A body of known length needs no parser, which would copy it: what comes is fed on as it is.

        At its end a new parser takes over, as the old one still waits for this body. Answers what follows the body.
        """
        incoming = self._incoming
        assert incoming is not None
        assert incoming.body is not None
        rest = b""
        if len(data) > self._plain_bytes:
            data, rest = data[: self._plain_bytes], data[self._plain_bytes :]
        self._plain_bytes -= len(data)
        incoming.body.feed(data)
        if not self._plain_bytes:
            self._parser = httptools.HttpRequestParser(self)
            self.on_message_complete()
        return rest

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    @property
    def write_s(self) -> float:
        return self.server.limits.write_s

    async def drain(self) -> None:
        """Wait until the client has taken enough; ClientGone if it never will."""
        if not self._can_write.is_set():
            self.wait_until(self.server.limits.write_s)
            try:
                await self._can_write.wait()
            finally:
                self.deadline_s = None
        if self.is_lost:
            raise ClientGone("the client went away")

    def pause_reading(self) -> None:
        if not self._is_paused and not self.is_lost:
            self._is_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._is_paused and not self.is_lost:
            self._is_paused = False
            self.transport.resume_reading()

    # deadlines

    def wait_until(self, seconds: float) -> None:
        self.deadline_s = self.loop.time() + seconds

    def on_deadline(self) -> None:
        self.deadline_s = None
        incoming = self._incoming
        if incoming is not None and incoming.body is not None and not self._is_lingering:
            incoming.body.end(ClientGone("the client fell silent"))
        is_answered = incoming is not None and incoming.body is not None
        if self._task is None and incoming is not None and not is_answered and not self._is_lingering:
            self._refuse(408)
            return
        self.transport.abort() if self._task is not None or self._is_lingering else self.transport.close()

    def close_if_idle(self) -> None:
        if self._task is None and self._incoming is None:
            self.transport.close()

    # the parser

    def on_message_begin(self) -> None:
        self._incoming = _Exchange()
        if self._task is None:
            self.wait_until(self.server.limits.header_s)

    def on_url(self, url: bytes) -> None:
        assert self._incoming is not None
        self._incoming.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        exchange = self._incoming
        assert exchange is not None
        exchange.header_bytes += len(name) + len(value) + 4
        if exchange.header_bytes + len(exchange.target) > self.server.limits.header_bytes:
            raise _HeadersTooLarge
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        known = exchange.headers.get(key)
        exchange.headers[key] = text if known is None else f"{known},{text}"

    def on_headers_complete(self) -> None:
        exchange = self._incoming
        assert exchange is not None
        self._unparsed_bytes = 0
        exchange.method = self._parser.get_method().decode("latin-1")
        exchange.path, exchange.query = _split(exchange.target)
        exchange.is_http10 = self._parser.get_http_version() == "1.0"
        exchange.keep_alive = self._parser.should_keep_alive()
        headers = exchange.headers
        is_chunked = "transfer-encoding" in headers
        exchange.length = None if is_chunked else int(headers.get("content-length") or 0)
        expects = headers.get("expect", "").lower() == "100-continue" and not exchange.is_http10
        is_small = exchange.length is not None and exchange.length <= self.server.limits.whole_bytes
        if not is_small or (expects and exchange.length):
            exchange.body = _Body(self, expects_continue=expects)
            self._on_request(exchange)

    def on_body(self, data: bytes) -> None:
        exchange = self._incoming
        assert exchange is not None
        if exchange.body is not None:
            exchange.received += len(data)
            exchange.body.feed(data)
        else:
            exchange.parts.append(data)

    def on_message_complete(self) -> None:
        exchange, self._incoming = self._incoming, None
        assert exchange is not None
        if exchange.body is not None:
            exchange.body.end()
            if exchange.body.is_discarded and self._task is None:
                self._on_idle()
        else:
            self._on_request(exchange)

    # requests

    def _on_request(self, exchange: _Exchange) -> None:
        self._ready.append(exchange)
        if self._task is None:
            self._start()

    def _start(self) -> None:
        self.deadline_s = None
        self._task = self.loop.create_task(self._serve())
        self.server.tasks.add(self._task)
        self._task.add_done_callback(self.server.tasks.discard)

    async def _serve(self) -> None:
        """Answer what is ready, in order, and leave the connection idle or closed."""
        is_open = True
        try:
            while is_open and self._ready and not self.is_lost:
                exchange = self._ready.popleft()
                self.resume_reading()
                is_open = await self._answer(exchange)
        except ConnectionError as error:
            is_open = False
            log.info("answer broken off reason=%s", error)
            self.transport.abort()
        except Exception:
            is_open = False
            log.exception("answer broken off")
            self.transport.abort()
        finally:
            self._task = None
        if not is_open:
            self._close()
        elif self._ready and not self.is_lost:
            self._start()
        elif self._refusal is not None:
            self._send_refusal(self._refusal)
        elif self._incoming is None:
            self._on_idle()
        elif not self.is_lost:
            self.wait_until(self.server.limits.body_s)

    async def _answer(self, exchange: _Exchange) -> bool:
        """Whether the connection may serve another request."""
        try:
            response = await self.server.handler(self._request(exchange))
        except ClientGone:
            if self._refusal is None or self.is_lost:
                raise
            return True  # of this request nothing was answered; the refusal is its answer
        except Exception:
            log.exception("handler failed method=%s target=%r", exchange.method, exchange.target)
            response = HttpResponse(500, [("content-type", "text/plain")], b"internal error\n")
        body = exchange.body
        is_unread = body is not None and not body.is_complete
        keep_alive = exchange.keep_alive and not (self._is_closing or self.server.is_draining)
        if is_unread and body is not None and body.is_unasked:
            keep_alive = False
        answer = Answer(
            response,
            is_head=exchange.method == "HEAD",
            keep_alive=keep_alive,
            is_http10=exchange.is_http10,
            now_ms=self.server.now_ms(),
        )
        if self.is_lost:
            return False
        if is_unread and body is not None:
            body.discard()
        await send(self.transport, answer, self)
        return answer.keep_alive

    def _request(self, exchange: _Exchange) -> HttpRequest:
        body: ByteStream
        if exchange.body is not None:
            body = ByteStream(exchange.body, length=exchange.length)
        else:
            body = stream_of(exchange.parts[0] if len(exchange.parts) == 1 else b"".join(exchange.parts))
        return HttpRequest(exchange.method, exchange.path, exchange.query, exchange.headers, body, self.source_ip)

    # endings

    def _on_idle(self) -> None:
        if self.server.is_draining or self._is_closing:
            self._close()
        else:
            self.wait_until(self.server.limits.idle_s)

    def _refuse(self, status: int) -> None:
        """Answer what is no request, after the answers that are due before it, and close."""
        if self._incoming is not None and self._incoming.body is not None:
            self._incoming.body.end(ClientGone("the body is malformed"))
        self._refusal = status
        if self._task is None:
            self._send_refusal(status)

    def _send_refusal(self, status: int) -> None:
        if self.is_lost:
            return
        response, now_ms = HttpResponse(status), self.server.now_ms()
        answer = Answer(response, is_head=False, keep_alive=False, is_http10=False, now_ms=now_ms)
        self._is_closing = True
        self.transport.write(answer.head())
        self._close()

    def _close(self) -> None:
        """Close; if the client still sends, let it, for a while, or it would lose the answer to a reset."""
        if self.is_lost or self._is_lingering:
            return
        if self._incoming is None or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._is_lingering = True
        self._is_closing = True
        self.wait_until(self.server.limits.linger_s)
        self.transport.write_eof()
        self.resume_reading()


class _HeadersTooLarge(Exception):
    pass


def _split(target: bytes) -> tuple[str, str]:
    """Path and query of a request target, which a proxy's client sends as a whole URL. ValueError: it is none."""
    text = target.decode("latin-1")
    if not text.startswith("/"):
        parts = urlsplit(text)
        return parts.path or "/", parts.query
    path, _, query = text.partition("?")
    return path, query
