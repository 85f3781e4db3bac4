"""Clients that fall silent, send nonsense or leave, and a server that stops."""

import asyncio
import contextlib

import pytest
import uvloop

from penstock.gateway.http import ClientGone, HttpLimits, HttpServer
from penstock.kernel.streams import ByteStream, FileRange
from penstock.protocol.messages import HttpResponse

SOON = 0.05
LONG_BYTES = 64 << 20


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    def run_one(scenario):
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(scenario, 10))

    return run_one


async def echo(request):
    body = await request.body.read(bytes_max=1 << 24)
    return HttpResponse(200, [("x-path", request.path)], body)


@contextlib.asynccontextmanager
async def serving(handler, *, is_closed=True, **limits):
    server = HttpServer(handler, now_ms=lambda: 0, limits=HttpLimits(sweep_s=0.01, **limits))
    port = await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield server, reader, writer
    finally:
        writer.close()
        if is_closed:
            await server.close(drain_s=0)


def statuses(answers):
    return [int(line.split()[1]) for line in answers.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"GET /a HTTP/1.1\r\nhost: x", [408], id="half a head"),
        pytest.param(b"PUT /a HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc", [408], id="half a small body"),
        pytest.param(b"PUT /a HTTP/1.1\r\ncontent-length: 999999\r\n\r\nabc", [], id="half a large body"),
        pytest.param(b"GET /a HTTP/1.1\r\n\r\n", [200], id="no second request"),
        pytest.param(b"GET /a HTTP/1.1\r\n\r\nGET /b", [200, 408], id="half a second request"),
    ],
)
def test_a_silent_client_is_let_go(sent, expected, run):
    async def scenario():
        limits = {"header_s": SOON, "idle_s": SOON, "body_s": SOON, "linger_s": SOON}
        async with serving(echo, **limits) as (server, reader, writer):
            writer.write(sent)
            answers = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := await reader.read(1000):
                    answers += piece
            assert statuses(answers) == expected

    run(scenario())


def test_a_body_that_stalls_is_an_error_to_its_reader(run):
    seen = asyncio.Queue()

    async def read(request):
        try:
            return await echo(request)
        except ClientGone as error:
            seen.put_nowait(error)
            raise

    async def scenario():
        async with serving(read, body_s=SOON) as (_, _, writer):
            writer.write(b"PUT /a HTTP/1.1\r\ncontent-length: 999999\r\n\r\nabc")
            assert "silent" in str(await seen.get())

    run(scenario())


def test_a_body_that_nobody_reads_is_not_answered_twice(run):
    async def refuse(request):
        return HttpResponse(403)

    async def scenario():
        async with serving(refuse, body_s=SOON, linger_s=SOON) as (_, reader, writer):
            writer.write(b"PUT /a HTTP/1.1\r\ncontent-length: 999999\r\n\r\nabc")
            assert statuses(await reader.read()) == [403]

    run(scenario())


async def long_stream():
    for _ in range(LONG_BYTES >> 18):
        yield bytes(1 << 18)


@pytest.mark.parametrize("has_file", [False, True])
@pytest.mark.parametrize("ends", ["by falling silent", "by leaving"])
def test_a_client_that_takes_nothing_more_frees_what_served_it(has_file, ends, tmp_path, caplog, run):
    path = tmp_path / "blob"
    with path.open("wb") as file:
        file.truncate(LONG_BYTES)
    started = asyncio.Event()

    async def serve(request):
        started.set()
        file = FileRange(str(path), 0, LONG_BYTES) if has_file else None
        return HttpResponse(200, [], ByteStream(long_stream(), length=LONG_BYTES, file=file))

    async def scenario():
        limits = {"write_s": SOON} if ends == "by falling silent" else {}
        async with serving(serve, **limits) as (server, reader, writer):
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await started.wait()
            await reader.readexactly(100_000)
            if ends == "by leaving":
                writer.transport.abort()
            await asyncio.wait(server.tasks)
            assert not server.tasks
        assert [record for record in caplog.records if record.levelname == "ERROR"] == []

    run(scenario())


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(b"GET /a HTTP/1.1\r\n\r\nnonsense\r\n\r\n", [200, 400], id="after a request"),
        pytest.param(b"GET /a HTTP/1.1\r\n\r\n" * 3 + b"nonsense\r\n\r\n", [200, 200, 200, 400], id="after three"),
        pytest.param(b"PUT /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", [400], id="in a body"),
        pytest.param(
            b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nx: " + b"a" * 70000 + b"\r\n\r\n", [200, 431], id="too long"
        ),
        pytest.param(
            b"PUT /a HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            [400],
            id="two lengths",
        ),
        pytest.param(b"GET http://[/ HTTP/1.1\r\n\r\n", [400], id="no target"),
        pytest.param(b"PUT /a HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", [400], id="and again"),
    ],
)
def test_nonsense_is_refused_after_the_answers_that_are_due(sent, expected, run):
    async def scenario():
        async with serving(echo, linger_s=SOON) as (_, reader, writer):
            writer.write(sent)
            assert statuses(await reader.read()) == expected

    run(scenario())


def test_a_server_that_stops_ends_what_runs_and_takes_no_more(run):
    entered, leave = asyncio.Event(), asyncio.Event()

    async def wait(request):
        entered.set()
        await leave.wait()
        return HttpResponse(200, [], b"done")

    async def scenario():
        async with serving(wait, is_closed=False) as (server, reader, writer):
            port = server._server.sockets[0].getsockname()[1]
            idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await entered.wait()
            closing = asyncio.ensure_future(server.close(drain_s=5))
            assert await idle_reader.read() == b""
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", port)
            leave.set()
            answer = await reader.read()
            assert (statuses(answer), b"connection: close" in answer, answer[-4:]) == ([200], True, b"done")
            await closing
            idle_writer.close()

    run(scenario())


def test_what_does_not_end_in_time_is_cut_off(tmp_path, run):
    path = tmp_path / "blob"
    with path.open("wb") as file:
        file.truncate(LONG_BYTES)
    ended = []

    async def hang(request):
        if request.path == "/file":
            return HttpResponse(
                200, [], ByteStream(long_stream(), length=LONG_BYTES, file=FileRange(str(path), 0, LONG_BYTES))
            )
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(request.path)

    async def scenario():
        async with serving(hang, is_closed=False) as (server, reader, writer):
            port = server._server.sockets[0].getsockname()[1]
            other_reader, other = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /hang HTTP/1.1\r\n\r\n")
            other.write(b"GET /file HTTP/1.1\r\n\r\n")
            await other_reader.readexactly(1000)
            await server.close(drain_s=0)
            assert (ended, server.tasks) == (["/hang"], set())
            other.close()

    run(scenario())
