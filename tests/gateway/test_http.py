"""The HTTP server, spoken to byte by byte."""

import asyncio
import contextlib

import pytest
import uvloop

from penstock.gateway.http import HttpLimits, HttpServer
from penstock.kernel.streams import ByteStream, FileRange
from penstock.protocol.messages import HttpResponse


async def _echo(request):
    body = await request.body.read(bytes_max=1 << 24)
    return HttpResponse(200, [("x-path", request.path)], body or request.query.encode())


@contextlib.asynccontextmanager
async def _serving(handler, **limits):
    server = HttpServer(handler, now_ms=lambda: 0, limits=HttpLimits(**limits))
    port = await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await server.close(drain_s=1)


async def _answer(reader, *, is_head=False):
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if line)
    size = 0 if is_head else int(headers.get("content-length", 0))
    return int(lines[0].split()[1]), headers, await reader.readexactly(size)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    def run_one(scenario):
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(scenario, 10))

    return run_one


def test_pipelined_requests_are_answered_in_order(run):
    async def scenario():
        async with _serving(_echo) as (reader, writer):
            writer.write(
                b"GET /a?1 HTTP/1.1\r\n\r\nPUT /b HTTP/1.1\r\ncontent-length: 3\r\n\r\nxyzGET /c?2 HTTP/1.1\r\n\r\n"
            )
            answers = [await _answer(reader) for _ in range(3)]
            assert [(a[1]["x-path"], a[2]) for a in answers] == [("/a", b"1"), ("/b", b"xyz"), ("/c", b"2")]

    run(scenario())


def test_continue_is_sent_once_the_handler_reads(run):
    async def scenario():
        async with _serving(_echo) as (reader, writer):
            writer.write(b"PUT /a HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"abc")
            assert (await _answer(reader))[2] == b"abc"

    run(scenario())


def test_a_handler_that_does_not_read_sends_no_continue(run):
    async def refuse(request):
        return HttpResponse(403)

    async def scenario():
        async with _serving(refuse) as (reader, writer):
            writer.write(b"PUT /a HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
            status, headers, _ = await _answer(reader)
            assert (status, headers["connection"]) == (403, "close")

    run(scenario())


def test_chunked_and_long_bodies_arrive_whole_under_backpressure(run):
    async def scenario():
        async with _serving(_echo, buffer_bytes=1000) as (reader, writer):
            writer.write(b"PUT /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            assert (await _answer(reader))[2] == b"abcde"
            body = bytes(range(256)) * 8000
            writer.write(b"PUT /a HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            assert (await _answer(reader))[2] == body

    run(scenario())


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"nonsense\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nx: " + b"a" * 70000 + b"\r\n\r\n", 431)],
)
def test_what_is_no_request_is_refused(sent, status, run):
    async def scenario():
        async with _serving(_echo) as (reader, writer):
            writer.write(sent)
            assert (await _answer(reader))[0] == status

    run(scenario())


def test_a_client_that_goes_away_breaks_the_body(run):
    seen = asyncio.Queue()

    async def read(request):
        try:
            return await _echo(request)
        except ConnectionError as error:
            seen.put_nowait(error)
            raise

    async def scenario():
        async with _serving(read) as (_, writer):
            writer.write(b"PUT /a HTTP/1.1\r\ncontent-length: 999999\r\n\r\nabc")
            await writer.drain()
            writer.close()
            assert isinstance(await seen.get(), ConnectionError)

    run(scenario())


def test_files_go_out_by_range_and_head_has_no_body(tmp_path, run):
    path = tmp_path / "blob"
    path.write_bytes(bytes(range(256)) * 20000)

    async def serve(request):
        return HttpResponse(200, [], ByteStream(_none(), length=4_000_000, file=FileRange(str(path), 256, 4_000_000)))

    async def scenario():
        async with _serving(serve) as (reader, writer):
            writer.write(b"HEAD / HTTP/1.1\r\n\r\n")
            assert (await _answer(reader, is_head=True))[1]["content-length"] == "4000000"
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert (await _answer(reader))[2] == path.read_bytes()[256 : 256 + 4_000_000]

    run(scenario())


async def _none():
    raise AssertionError("sendfile was not used")
    yield b""
