"""HTTP/2 from the preface on, spoken to frame by frame; and curl, where it speaks it."""

import asyncio
import contextlib
import shutil
import struct

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from penstock.gateway import hpack, http2
from penstock.gateway.http import HttpLimits, HttpServer
from penstock.kernel.streams import ByteStream
from penstock.protocol.messages import HttpResponse

DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
GET = [(":method", "GET"), (":scheme", "http"), (":path", "/a?b"), (":authority", "here")]
POST = [(":method", "POST"), *GET[1:]]


# Source: https://www.rfc-editor.org/rfc/rfc7541#appendix-C.4 (with Huffman coding) and C.3 (without)
@pytest.mark.parametrize(
    "blocks",
    [
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
    ],
)
def test_the_standards_blocks_are_read(blocks):
    decoder = hpack.Decoder(list_bytes_max=10_000)
    first, second, third = (decoder.decode(bytes.fromhex(block)) for block in blocks)
    assert first == [*GET[:2], (":path", "/"), (":authority", "www.example.com")]
    assert second == [*first, ("cache-control", "no-cache")]
    assert third[1:] == [
        (":scheme", "https"),
        (":path", "/index.html"),
        first[3],
        ("custom-key", "custom-value"),
    ]


@given(st.lists(st.tuples(st.text("abc-", min_size=1), st.text(st.characters(max_codepoint=255))), max_size=20))
def test_what_is_written_is_read(headers):
    assert hpack.Decoder(list_bytes_max=1 << 20).decode(hpack.encode(headers)) == headers


@given(st.binary(max_size=200))
def test_what_is_no_block_is_refused_and_nothing_else_happens(block):
    with contextlib.suppress(hpack.BadHeaders):
        hpack.Decoder(list_bytes_max=1000).decode(block)


class Client:
    """Sends frames, and collects what comes back by stream."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.decoder = hpack.Decoder(list_bytes_max=1 << 20)

    def send(self, kind, number, payload=b"", flags=0):
        self.writer.write(struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, number) + payload)

    def begin(self, settings=b""):
        self.writer.write(http2.PREFACE)
        self.send(SETTINGS, 0, settings)

    def ask(self, number, headers=GET, *, body=None):
        self.send(HEADERS, number, hpack.encode(headers), flags=4 | (body is None))
        if body is not None:
            self.send(DATA, number, body, flags=1)

    async def frame(self):
        head = await self.reader.readexactly(9)
        size = int.from_bytes(head[:3], "big")
        kind, flags, number = struct.unpack("!BBI", head[3:])
        return kind, flags, number, await self.reader.readexactly(size)

    async def next(self, wanted):
        while True:
            kind, flags, number, payload = await self.frame()
            if kind == wanted:
                return flags, number, payload

    async def answers(self, count):
        """Status and body of so many streams, by number."""
        status, bodies, ended = {}, {}, set()
        while len(ended) < count:
            kind, flags, number, payload = await self.frame()
            if kind == HEADERS:
                status[number] = dict(self.decoder.decode(payload))
            elif kind == DATA:
                bodies[number] = bodies.get(number, b"") + payload
            if kind in (HEADERS, DATA) and flags & 1:
                ended.add(number)
        return {number: (int(status[number][":status"]), bodies.get(number, b"")) for number in ended}


@contextlib.asynccontextmanager
async def serving(handler, **limits):
    server = HttpServer(handler, now_ms=lambda: 0, limits=HttpLimits(**limits))
    port = await server.start("127.0.0.1", 0)
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    client.port, client.server = port, server
    try:
        yield client
    finally:
        client.writer.close()
        await server.close(drain_s=1)


async def echo(request):
    body = await request.body.read(bytes_max=1 << 26)
    return HttpResponse(200, [("x-path", request.path)], body or request.query.encode())


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    def run_one(scenario):
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(scenario, 20))

    return run_one


def test_many_streams_are_answered_as_they_are_ready(run):
    async def scenario():
        gate = asyncio.Event()

        async def handler(request):
            if request.path == "/a":
                await gate.wait()
            gate.set()
            return await echo(request)

        async with serving(handler) as client:
            client.begin()
            client.ask(1)
            client.ask(3, [POST[0], POST[1], (":path", "/c"), POST[3]], body=b"xyz")
            assert await client.answers(2) == {1: (200, b"b"), 3: (200, b"xyz")}

    run(scenario())


def test_a_preface_in_pieces_is_known(run):
    async def scenario():
        async with serving(echo) as client:
            for byte in http2.PREFACE:
                client.writer.write(bytes((byte,)))
                await client.writer.drain()
                await asyncio.sleep(0)
            client.send(SETTINGS, 0)
            client.ask(1)
            assert await client.answers(1) == {1: (200, b"b")}

    run(scenario())


def test_a_request_that_only_begins_like_the_preface_is_http1(run):
    async def scenario():
        async with serving(echo) as client:
            client.writer.write(b"P")
            for _ in range(20):
                await asyncio.sleep(0)
            client.writer.write(b"OST /x HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi")
            assert b"200 OK" in await client.reader.readuntil(b"\r\n\r\n")

    run(scenario())


def test_an_answer_waits_for_the_window(run):
    async def scenario():
        async def handler(request):
            return HttpResponse(200, [], b"x" * 100_000)

        async with serving(handler) as client:
            client.begin(struct.pack("!HI", 4, 10_000))
            client.ask(1)
            got = 0
            while got < 10_000:
                got += len((await client.next(DATA))[2])
            assert got == 10_000
            client.send(WINDOW, 1, struct.pack("!I", 90_000))
            while got < 65_535:
                got += len((await client.next(DATA))[2])
            assert got == 65_535
            client.send(WINDOW, 0, struct.pack("!I", 90_000))
            flags = 0
            while not flags & 1:
                flags, _, payload = await client.next(DATA)
                got += len(payload)
            assert got == 100_000

    run(scenario())


def test_a_large_body_is_taken_as_it_is_read(run):
    async def scenario():
        async with serving(echo) as client:
            client.begin(struct.pack("!HI", 4, 1 << 30))
            client.send(WINDOW, 0, struct.pack("!I", 1 << 30))
            client.send(HEADERS, 1, hpack.encode(POST), flags=4)
            sent, window = 0, 65_535
            while sent < 3_000_000:
                while window < 16_000:
                    _, number, payload = await client.next(WINDOW)
                    window += struct.unpack("!I", payload)[0] if number else 0
                client.send(DATA, 1, b"x" * 16_000)
                sent, window = sent + 16_000, window - 16_000
            client.send(DATA, 1, b"", flags=1)
            assert await client.answers(1) == {1: (200, b"x" * sent)}

    run(scenario())


def test_a_stream_that_is_reset_ends_its_answer_and_no_other(run):
    async def scenario():
        ended = asyncio.Event()

        async def forever():
            try:
                while True:
                    yield b"tick"
                    await asyncio.sleep(0)
            finally:
                ended.set()

        async def handler(request):
            return HttpResponse(200, [], ByteStream(forever())) if request.path == "/a" else await echo(request)

        async with serving(handler) as client:
            client.begin()
            client.ask(1)
            await client.next(DATA)
            client.send(RST, 1, struct.pack("!I", 8))
            await ended.wait()
            client.ask(3, [*GET[:2], (":path", "/c?d"), GET[3]])
            while True:
                kind, flags, number, payload = await client.frame()
                if number == 3 and kind == DATA:
                    break
            assert payload == b"d"

    run(scenario())


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        pytest.param([(DATA, 1, b"x", 0)], 1, id="data of no stream"),
        pytest.param([(HEADERS, 2, b"", 4)], 1, id="an even stream"),
        pytest.param([(HEADERS, 1, b"\xff\xff\xff\xff\xff\xff", 4)], 9, id="a bad block"),
        pytest.param([(HEADERS, 1, b"", 0), (PING, 0, b"12345678", 0)], 1, id="a block broken off"),
        pytest.param([(CONTINUATION, 1, b"", 4)], 1, id="a continuation of nothing"),
        pytest.param([(HEADERS, 1, b"", 0), *[(CONTINUATION, 1, b"\x00" * 16_000, 0)] * 5], 11, id="endless headers"),
        pytest.param([(WINDOW, 0, bytes(4), 0)], 1, id="a window that doesn't grow"),
        pytest.param([(WINDOW, 0, b"\x7f\xff\xff\xff", 0)], 3, id="a window too wide"),
        pytest.param([(PING, 0, b"1", 0)], 6, id="a short ping"),
        pytest.param([(5, 1, b"", 4)], 1, id="a push"),
        pytest.param([(SETTINGS, 0, b"x", 0)], 6, id="malformed settings"),
        pytest.param([(HEADERS, 1, b"\x05x", 12)], 1, id="more padding than frame"),
    ],
)
def test_what_breaks_the_protocol_ends_the_connection_with_the_reason(frames, code):
    async def scenario():
        async with serving(echo) as client:
            client.begin()
            for kind, number, payload, flags in frames:
                client.send(kind, number, payload, flags)
            _, _, payload = await client.next(GOAWAY)
            assert struct.unpack("!II", payload)[1] == code
            assert await client.reader.read() == b""

    asyncio.run(asyncio.wait_for(scenario(), 10))


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(GET[1:], id="no method"),
        pytest.param([*GET, ("Upper", "x")], id="upper case"),
        pytest.param([*GET, ("connection", "close")], id="of HTTP/1.1"),
        pytest.param([*GET, ("x", "y"), (":late", "z")], id="special after plain"),
        pytest.param([GET[0], (":path", "nowhere")], id="no path"),
    ],
)
def test_a_malformed_request_is_reset_alone(headers):
    async def scenario():
        async with serving(echo) as client:
            client.begin()
            client.ask(1, headers)
            assert (await client.next(RST))[1] == 1
            client.ask(3)
            assert await client.answers(1) == {3: (200, b"b")}

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_resets_free_no_place_while_the_work_goes_on():
    async def scenario():
        gate = asyncio.Event()

        async def handler(request):
            await gate.wait()
            return HttpResponse(200)

        async with serving(handler) as client:
            client.begin()
            for index in range(http2.STREAMS_MAX + 1):
                client.ask(2 * index + 1)
                client.send(RST, 2 * index + 1, bytes(4))
            _, number, payload = await client.next(RST)
            assert (number, struct.unpack("!I", payload)[0]) == (2 * http2.STREAMS_MAX + 1, 7)
            gate.set()

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_a_closing_server_answers_what_runs():
    async def scenario():
        gate = asyncio.Event()

        async def handler(request):
            await gate.wait()
            return HttpResponse(200, [], b"done")

        async with serving(handler) as client:
            client.begin()
            client.ask(1)
            await client.next(SETTINGS)
            client.send(PING, 0, b"12345678")
            await client.next(PING)
            closing = asyncio.ensure_future(client.server.close(drain_s=5))
            await client.next(GOAWAY)
            gate.set()
            assert await client.answers(1) == {1: (200, b"done")}
            await closing
            assert await client.reader.read() == b""

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_curl_sends_and_gets_a_large_body(tmp_path):
    curl = shutil.which("curl")
    if not curl:
        pytest.skip("curl isn't there")
    data = tmp_path / "data"
    data.write_bytes(bytes(range(256)) * 40_000)

    async def scenario():
        async with serving(echo) as client:
            url = f"http://127.0.0.1:{client.port}/up"
            command = [
                curl,
                "-sS",
                "--http2-prior-knowledge",
                "--data-binary",
                f"@{data}",
                "-w",
                "%{http_version}",
                url,
            ]
            process = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1)
            out, errors = await process.communicate()
            if process.returncode in (1, 2):
                pytest.skip("this curl speaks no HTTP/2")
            assert (out, errors) == (data.read_bytes() + b"2", b"")

    asyncio.run(asyncio.wait_for(scenario(), 30))
