"""HTTP/2 without TLS, for clients that begin with it: many requests at once over one connection.

The Node SDK speaks nothing else to Kinesis, and so does the Java SDK for SubscribeToShard. Every stream has a task, as
every HTTP/1.1 connection has. A client gets as many streams as `STREAMS_MAX`, whether it ends or resets them.
Source: https://www.rfc-editor.org/rfc/rfc9113
"""

import asyncio
import logging
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from penstock.gateway import hpack
from penstock.gateway.http_answers import BODILESS, http_date
from penstock.kernel.streams import ByteStream, stream_of
from penstock.kernel.units import KIB, MIB
from penstock.protocol.messages import HttpRequest, HttpResponse

log = logging.getLogger("penstock.http")

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STREAMS_MAX = 128
FRAME_BYTES = 16 * KIB  # the largest of ours and of theirs
STREAM_WINDOW, CONNECTION_WINDOW = MIB, 8 * MIB
CONTROL_BYTES_MAX = MIB  # of answers to control frames that a client doesn't take
_WINDOW_MAX = 2**31 - 1
_WINDOW_DEFAULT = 65_535
_DATA, _HEADERS, _PRIORITY, _RST, _SETTINGS, _PUSH, _PING, _GOAWAY, _WINDOW, _CONTINUATION = range(10)
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_NO_ERROR, _PROTOCOL, _INTERNAL, _FLOW, _CLOSED, _SIZE, _REFUSED = 0, 1, 2, 3, 5, 6, 7
_COMPRESSION, _CALM = 9, 11
_STREAMS_SETTING, _WINDOW_SETTING, _FRAME_SETTING, _LIST_SETTING = 3, 4, 5, 6
_HEAD = struct.Struct("!BHBBI")
_U32 = struct.Struct("!I")
_OF_HTTP1 = frozenset({"connection", "transfer-encoding", "keep-alive", "upgrade", "proxy-connection"})


class StreamGone(ConnectionError):
    """The client reset its stream or went away."""


class ProtocolError(Exception):
    """What ends the connection, with the code that says why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Limits(Protocol):
    """Those of HTTP/1.1 that hold here too; see there."""

    @property
    def header_bytes(self) -> int: ...
    @property
    def buffer_bytes(self) -> int: ...
    @property
    def idle_s(self) -> float: ...
    @property
    def body_s(self) -> float: ...
    @property
    def write_s(self) -> float: ...


class Server(Protocol):
    """What a connection needs of its server."""

    handler: Callable[[HttpRequest], Awaitable[HttpResponse]]
    now_ms: Callable[[], int]
    connections: set[Any]
    tasks: set[asyncio.Task[None]]
    is_draining: bool

    @property
    def limits(self) -> Limits: ...


class _Stream:
    """A request, its body as it comes in, and what its answer may still send."""

    def __init__(self, connection: "Http2Connection", number: int, window: int) -> None:
        self.number = number
        self.send_window = window
        self.receive_window = STREAM_WINDOW
        self.is_complete = False
        self.error: Exception | None = None
        self.is_unread = False
        self._connection = connection
        self._chunks: deque[bytes] = deque()
        self._news = asyncio.Event()

    def feed(self, data: bytes) -> None:
        if self.is_unread:
            self._connection.give_back(None, len(data))
            return
        self._chunks.append(data)
        self._news.set()

    def end(self, error: Exception | None = None) -> None:
        self.is_complete = self.is_complete or error is None
        self.error = self.error or error
        self._news.set()

    def discard(self) -> None:
        """Nobody reads what is left; the connection's window must not be lost with it."""
        self.is_unread = True
        self._connection.give_back(None, sum(map(len, self._chunks)))
        self._chunks.clear()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            while self._chunks:
                data = self._chunks.popleft()
                self._connection.give_back(self, len(data))
                yield data
            if self.is_complete:
                return
            if self.error is not None:
                raise self.error
            self._news.clear()
            try:
                async with asyncio.timeout(self._connection.server.limits.body_s):
                    await self._news.wait()
            except TimeoutError:
                raise StreamGone("the client fell silent") from None


class Http2Connection(asyncio.Protocol):
    """Takes a transport over from HTTP/1.1 once the client has sent the preface; `begin` answers it."""

    def __init__(
        self, server: Server, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, source_ip: str
    ) -> None:
        self.server = server
        self.transport = transport
        self.deadline_s: float | None = None
        self._loop = loop
        self._source_ip = source_ip
        self._streams: dict[int, _Stream] = {}
        self._running = 0
        self._last_number = 0
        self._buffer = bytearray()
        self._block: tuple[int, bool, bytearray] | None = None
        self._decoder = hpack.Decoder(list_bytes_max=server.limits.header_bytes)
        self._send_window = self._initial_window = _WINDOW_DEFAULT
        self._receive_window = CONNECTION_WINDOW
        self._owed = 0
        self._is_ending = False
        self._is_lost = False
        self._can_write = True
        self._news = asyncio.Event()

    # the socket

    def begin(self) -> None:
        settings = (
            (_STREAMS_SETTING, STREAMS_MAX),
            (_WINDOW_SETTING, STREAM_WINDOW),
            (_LIST_SETTING, self.server.limits.header_bytes),
        )
        self._write(_SETTINGS, 0, 0, b"".join(struct.pack("!HI", *setting) for setting in settings))
        self._write(_WINDOW, 0, 0, _U32.pack(CONNECTION_WINDOW - _WINDOW_DEFAULT))
        self._rest()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            self._read_frames()
        except ProtocolError as error:
            log.info("connection refused code=%d reason=%s", error.code, error)
            self._go_away(error.code)
            self.transport.close()
            self._lose()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose()

    def pause_writing(self) -> None:
        self._can_write = False

    def resume_writing(self) -> None:
        self._can_write = True
        self._tell()

    def close_if_idle(self) -> None:
        """End once the requests that run are answered: at once where there are none."""
        if not self._is_ending:
            self._go_away(_NO_ERROR)
            self._is_ending = True
        if not self._running:
            self.transport.close()

    def on_deadline(self) -> None:
        self.deadline_s = None
        self.close_if_idle()

    def _lose(self) -> None:
        self._is_lost = True
        self.server.connections.discard(self)
        for stream in self._streams.values():
            stream.end(StreamGone("the client went away"))
        self._tell()

    def _rest(self) -> None:
        self.deadline_s = None if self._running else self._loop.time() + self.server.limits.idle_s

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _write(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if not self._is_lost:
            size = len(payload)
            self.transport.write(_HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, number) + payload)

    def _go_away(self, code: int) -> None:
        self._write(_GOAWAY, 0, 0, struct.pack("!II", self._last_number, code))

    # frames

    def _read_frames(self) -> None:
        at = 0
        while len(self._buffer) - at >= _HEAD.size:
            high, low, kind, flags, number = _HEAD.unpack_from(self._buffer, at)
            size = high << 16 | low
            if size > FRAME_BYTES:
                raise ProtocolError(_SIZE, "a frame is too long")
            end = at + _HEAD.size + size
            if len(self._buffer) < end:
                break
            payload = bytes(self._buffer[at + _HEAD.size : end])
            at = end
            self._on_frame(kind, flags, number & _WINDOW_MAX, payload)
        del self._buffer[:at]

    def _on_frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block is not None and (kind != _CONTINUATION or number != self._block[0]):
            raise ProtocolError(_PROTOCOL, "a header block was broken off")
        if kind == _DATA:
            self._on_data(flags, number, payload)
        elif kind == _HEADERS:
            self._on_headers(flags, number, payload)
        elif kind == _CONTINUATION:
            self._on_block(number, payload, is_whole=bool(flags & _END_HEADERS))
        elif kind == _RST:
            self._on_reset(number, payload)
        elif kind == _SETTINGS:
            self._on_settings(flags, number, payload)
        elif kind == _PING:
            self._on_ping(flags, number, payload)
        elif kind == _WINDOW:
            self._on_window(number, payload)
        elif kind == _GOAWAY:
            self._is_ending = True
        elif kind == _PUSH:
            raise ProtocolError(_PROTOCOL, "a client can't push")

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        if number == 0 or number > self._last_number:
            raise ProtocolError(_PROTOCOL, "data of no stream")
        self._receive_window -= len(payload)
        stream = self._streams.get(number)
        if stream is None or stream.is_complete:
            if stream is not None:
                self._reset(stream, _CLOSED)
            self.give_back(None, len(payload))
            return
        stream.receive_window -= len(payload)
        if min(self._receive_window, stream.receive_window) < 0:
            raise ProtocolError(_FLOW, "more data than the window allows")
        data = _unpadded(flags, payload)
        self.give_back(stream, len(payload) - len(data))
        if data:
            stream.feed(data)
        if flags & _END_STREAM:
            stream.end()

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        data = _unpadded(flags, payload)
        if flags & _HAS_PRIORITY:
            if len(data) < 5:
                raise ProtocolError(_SIZE, "a priority cut short")
            data = data[5:]
        if number % 2 == 0:
            raise ProtocolError(_PROTOCOL, "a stream of ours")
        if number <= self._last_number and number not in self._streams:
            raise ProtocolError(_CLOSED, "headers of a closed stream")
        self._block = (number, bool(flags & _END_STREAM), bytearray())
        self._on_block(number, data, is_whole=bool(flags & _END_HEADERS))

    def _on_block(self, number: int, data: bytes, *, is_whole: bool) -> None:
        if self._block is None:
            raise ProtocolError(_PROTOCOL, "a continuation of nothing")
        _, is_end, block = self._block
        block += data
        if len(block) > self.server.limits.header_bytes:
            raise ProtocolError(_CALM, "too many headers")
        if not is_whole:
            return
        self._block = None
        try:
            headers = self._decoder.decode(bytes(block))
        except hpack.BadHeaders as error:
            raise ProtocolError(_COMPRESSION, str(error)) from error
        stream = self._streams.get(number)
        if stream is not None:  # trailers, of which no service makes use
            if not is_end:
                raise ProtocolError(_PROTOCOL, "headers in the middle of a body")
            stream.end()
            return
        self._open(number, headers, is_end=is_end)

    def _on_reset(self, number: int, payload: bytes) -> None:
        if len(payload) != 4 or number == 0 or number > self._last_number:
            raise ProtocolError(_PROTOCOL, "a reset of nothing")
        stream = self._streams.pop(number, None)
        if stream is not None:
            stream.end(StreamGone("the client reset its stream"))
            stream.discard()
            self._tell()

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number or len(payload) % 6 or (flags & _ACK and payload):
            raise ProtocolError(_SIZE, "malformed settings")
        if flags & _ACK:
            return
        for setting, value in struct.iter_unpack("!HI", payload):
            if setting == _WINDOW_SETTING:
                if value > _WINDOW_MAX:
                    raise ProtocolError(_FLOW, "a window too wide")
                for stream in self._streams.values():
                    stream.send_window += value - self._initial_window
                self._initial_window = value
        self._answer_control(_SETTINGS, b"")
        self._tell()

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number or len(payload) != 8:
            raise ProtocolError(_SIZE, "a malformed ping")
        if not flags & _ACK:
            self._answer_control(_PING, payload)

    def _answer_control(self, kind: int, payload: bytes) -> None:
        if self.transport.get_write_buffer_size() > CONTROL_BYTES_MAX:
            raise ProtocolError(_CALM, "answers that nobody takes")
        self._write(kind, _ACK, 0, payload)

    def _on_window(self, number: int, payload: bytes) -> None:
        more = _U32.unpack(payload)[0] & _WINDOW_MAX if len(payload) == 4 else 0
        if not more:
            raise ProtocolError(_PROTOCOL, "a window that doesn't grow")
        if number == 0:
            self._send_window += more
        elif number in self._streams:
            self._streams[number].send_window += more
        if self._send_window > _WINDOW_MAX or (
            number in self._streams and self._streams[number].send_window > _WINDOW_MAX
        ):
            raise ProtocolError(_FLOW, "a window too wide")
        self._tell()

    def give_back(self, stream: _Stream | None, size: int) -> None:
        """What was taken in may be sent again; said once it is half a window."""
        self._owed += size
        self._receive_window += size
        if self._owed >= CONNECTION_WINDOW // 2:
            self._write(_WINDOW, 0, 0, _U32.pack(self._owed))
            self._owed = 0
        if stream is not None and size and not stream.is_complete:
            stream.receive_window += size
            self._write(_WINDOW, 0, stream.number, _U32.pack(size))

    # requests

    def _open(self, number: int, headers: list[hpack.Header], *, is_end: bool) -> None:
        self._last_number = number
        stream = _Stream(self, number, self._initial_window)
        if self._running >= STREAMS_MAX or self._is_ending:
            self._reset(stream, _REFUSED)
            return
        request = _request(headers, self._source_ip)
        if request is None:
            self._reset(stream, _PROTOCOL)
            return
        self._streams[number] = stream
        if is_end:
            stream.end()
        else:
            length = request.headers.get("content-length", "")
            request.body = ByteStream(stream, length=int(length) if length.isdecimal() else None)
            if request.headers.get("expect", "").lower() == "100-continue":
                self._write(_HEADERS, _END_HEADERS, number, hpack.encode([(":status", "100")]))
        self._running += 1
        self.deadline_s = None
        task = self._loop.create_task(self._serve(stream, request))
        self.server.tasks.add(task)
        task.add_done_callback(self.server.tasks.discard)

    def _reset(self, stream: _Stream, code: int) -> None:
        self._write(_RST, 0, stream.number, _U32.pack(code))
        stream.end(StreamGone("the stream was reset"))
        self._streams.pop(stream.number, None)

    async def _serve(self, stream: _Stream, request: HttpRequest) -> None:
        try:
            await self._answer(stream, request)
        except ConnectionError as error:
            log.info("answer broken off reason=%s", error)
            self._break_off(stream)
        except Exception:
            log.exception("answer broken off")
            self._break_off(stream)
        finally:
            stream.discard()
            self._streams.pop(stream.number, None)
            self._running -= 1
            self._rest()
            if self._is_ending and not self._running:
                self.transport.close()

    def _break_off(self, stream: _Stream) -> None:
        if stream.number in self._streams:
            self._reset(stream, _INTERNAL)

    async def _answer(self, stream: _Stream, request: HttpRequest) -> None:
        try:
            response = await self.server.handler(request)
        except ConnectionError:
            raise
        except Exception:
            log.exception("handler failed method=%s path=%r", request.method, request.path)
            response = HttpResponse(500, [("content-type", "text/plain")], b"internal error\n")
        body = stream_of(response.body) if isinstance(response.body, bytes) else response.body
        has_body = request.method != "HEAD" and response.status not in BODILESS and body.length != 0
        block = hpack.encode(_head(response, body.length, self.server.now_ms()))
        for at in range(0, len(block), FRAME_BYTES):
            flags = _END_HEADERS if at + FRAME_BYTES >= len(block) else 0
            kind = _CONTINUATION if at else _HEADERS
            end = _END_STREAM if not (has_body or at) else 0
            self._write(kind, flags | end, stream.number, block[at : at + FRAME_BYTES])
        if has_body:
            async for chunk in body:
                await self._send(stream, chunk)
            self._write(_DATA, _END_STREAM, stream.number, b"")
        if not stream.is_complete and stream.error is None:
            self._reset(stream, _NO_ERROR)  # what is left of the request isn't needed

    async def _send(self, stream: _Stream, data: bytes) -> None:
        at = 0
        while at < len(data):
            room = min(self._send_window, stream.send_window, FRAME_BYTES, len(data) - at)
            if stream.error is not None or self._is_lost:
                raise StreamGone("the client went away")
            if room <= 0 or not self._can_write:
                await self._wait_for_room()
                continue
            self._write(_DATA, 0, stream.number, data[at : at + room])
            self._send_window -= room
            stream.send_window -= room
            at += room

    async def _wait_for_room(self) -> None:
        try:
            async with asyncio.timeout(self.server.limits.write_s):
                await self._news.wait()
        except TimeoutError:
            raise StreamGone("the client takes nothing any more") from None


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & _PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ProtocolError(_PROTOCOL, "more padding than frame")
    return payload[1 : len(payload) - payload[0]]


def _request(headers: list[hpack.Header], source_ip: str) -> HttpRequest | None:
    """None for what is no request."""
    special: dict[str, str] = {}
    plain: dict[str, str] = {}
    for name, value in headers:
        if name.startswith(":"):
            if plain or name in special:
                return None
            special[name] = value
        elif name != name.lower() or name in _OF_HTTP1 or "\n" in value or "\r" in value:
            return None
        else:
            known = plain.get(name)
            plain[name] = value if known is None else f"{known}{'; ' if name == 'cookie' else ','}{value}"
    method, target = special.get(":method", ""), special.get(":path", "")
    if not method or not target.startswith("/"):
        return None
    if ":authority" in special:
        plain.setdefault("host", special[":authority"])
    path, _, query = target.partition("?")
    return HttpRequest(method, path, query, plain, stream_of(b""), source_ip)


def _head(response: HttpResponse, length: int | None, now_ms: int) -> list[hpack.Header]:
    headers = [(":status", str(response.status))]
    headers += [(name.lower(), value) for name, value in response.headers if name.lower() not in _OF_HTTP1]
    names = {name for name, _ in headers}
    if length is not None and "content-length" not in names and response.status not in BODILESS:
        headers.append(("content-length", str(length)))
    if "date" not in names:
        headers.append(("date", http_date(now_ms // 1000)))
    return headers
