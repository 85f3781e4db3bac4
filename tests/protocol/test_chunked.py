import asyncio
import gzip
import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import ByteStream, stream_of
from penstock.protocol.chunked import HashedBody, decode, gunzip, is_chunked
from penstock.protocol.messages import HttpRequest
from penstock.protocol.sigv4 import Seed

SEED = Seed(b"key", "seed-signature", "20260101T000000Z", "20260101/us-east-1/s3/aws4_request")
EMPTY = hashlib.sha256(b"").hexdigest()


def sign(text):
    return hmac.new(SEED.key, text.encode(), hashlib.sha256).hexdigest()


def encoded(chunks, *, is_signed, trailers=None):
    """A body as a client sends it."""
    out, previous = b"", SEED.signature
    for chunk in [*chunks, b""]:
        line = b"%x" % len(chunk)
        if is_signed:
            digest = hashlib.sha256(chunk).hexdigest()
            previous = sign("\n".join(["AWS4-HMAC-SHA256-PAYLOAD", SEED.time, SEED.scope, previous, EMPTY, digest]))
            line += f";chunk-signature={previous}".encode()
        out += line + b"\r\n" + chunk + (b"\r\n" if chunk else b"")
    if trailers:
        told = "".join(f"{name}:{value}\n" for name, value in trailers.items())
        out += told.replace("\n", "\r\n").encode()
        if is_signed:
            digest = hashlib.sha256(told.encode()).hexdigest()
            last = sign("\n".join(["AWS4-HMAC-SHA256-TRAILER", SEED.time, SEED.scope, previous, digest]))
            out += f"x-amz-trailer-signature:{last}\r\n".encode()
    return out + b"\r\n"


def request(body, size, *, is_signed, pieces=1 << 20, suffix=""):
    async def chunks():
        for at in range(0, len(body), pieces):
            yield body[at : at + pieces]

    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" if is_signed else "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    headers = {
        "x-amz-content-sha256": kind + suffix,
        "x-amz-decoded-content-length": str(size),
        "content-encoding": "aws-chunked",
    }
    return HttpRequest("PUT", "/b/k", "", headers, ByteStream(chunks(), length=len(body)))


@settings(max_examples=80, deadline=None)
@given(
    chunks=st.lists(st.binary(min_size=1, max_size=50), max_size=4),
    is_signed=st.booleans(),
    has_trailers=st.booleans(),
    pieces=st.integers(1, 40),
)
def test_chunks_are_put_together_however_they_arrive(chunks, is_signed, has_trailers, pieces):
    async def scenario():
        whole, trailers = b"".join(chunks), {"x-amz-checksum-crc32": "AAAAAA=="} if has_trailers else None
        body = encoded(chunks, is_signed=is_signed, trailers=trailers)
        asked = request(body, len(whole), is_signed=is_signed, pieces=pieces)
        assert is_chunked(asked)
        decode(asked, SEED)
        assert asked.body.length == len(whole)
        assert await asked.body.read(bytes_max=1000) == whole
        assert asked.body.trailers == (trailers or {})
        assert "content-encoding" not in asked.headers

    asyncio.run(scenario())


async def failure(body, size, *, is_signed=True, suffix=""):
    asked = request(body, size, is_signed=is_signed, suffix=suffix)
    decode(asked, SEED)
    with pytest.raises(ServiceError) as caught:
        await asked.body.read(bytes_max=1000)
    return caught.value.code


@pytest.mark.parametrize("is_signed", [True, False])
async def test_a_body_that_ends_early_or_late_is_incomplete(is_signed):
    body = encoded([b"hello", b"world"], is_signed=is_signed)
    assert await failure(body[:20], 10, is_signed=is_signed) in ("IncompleteBody", "InvalidRequest")
    assert await failure(body, 11, is_signed=is_signed) == "IncompleteBody"
    assert await failure(body, 9, is_signed=is_signed) == "IncompleteBody"


async def test_a_changed_byte_breaks_the_chain():
    body = encoded([b"hello", b"world"], is_signed=True, trailers={"x-amz-checksum-crc32": "AAAAAA=="})
    assert await failure(body.replace(b"world", b"w0rld"), 10) == "SignatureDoesNotMatch"
    assert await failure(body.replace(b"AAAAAA==", b"BBBBBB=="), 10) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello!!",
        b"-5;chunk-signature=x\r\n",
        b"x" * 9000,
    ],
)
async def test_what_is_not_chunked_is_refused(body):
    assert await failure(body, 5, is_signed=False) in ("InvalidRequest", "IncompleteBody")


async def test_a_stated_hash_must_hold():
    good = hashlib.sha256(b"hello").hexdigest()
    assert await HashedBody(stream_of(b"hello"), good).read(bytes_max=10) == b"hello"
    with pytest.raises(ServiceError, match="XAmzContentSHA256Mismatch"):
        await HashedBody(stream_of(b"hell0"), good).read(bytes_max=10)


async def test_gzip_is_inflated_within_a_bound():
    data = b"abc" * 1000
    assert await gunzip(stream_of(gzip.compress(data))).read(bytes_max=5000) == data
    with pytest.raises(ServiceError, match="not valid gzip"):
        await gunzip(stream_of(b"nonsense")).read(bytes_max=10)
    with pytest.raises(ServiceError, match="not valid gzip"):
        await gunzip(stream_of(gzip.compress(data)[:-9])).read(bytes_max=5000)
    with pytest.raises(ServiceError, match="too large"):
        await gunzip(stream_of(gzip.compress(bytes(70 << 20)))).read(bytes_max=1 << 30)


@pytest.mark.parametrize(("rest", "is_taken"), [(b"\r\n\r\n", True), (b"x", False), (b"\r\n" * 5000, False)])
@pytest.mark.parametrize("pieces", [1, 1 << 20])
async def test_nothing_follows_the_last_chunk(rest, is_taken, pieces):
    body = encoded([b"hello"], is_signed=False, trailers={"x-amz-checksum-crc32": "AAAAAA=="})
    asked = request(body + rest, 5, is_signed=False, pieces=pieces)
    decode(asked, None)
    if is_taken:
        assert await asked.body.read(bytes_max=10) == b"hello"
    else:
        with pytest.raises(ServiceError, match="InvalidRequest"):
            await asked.body.read(bytes_max=10)


async def test_trailers_that_were_signed_cannot_be_left_away():
    told = {"x-amz-checksum-crc32": "AAAAAA=="}
    whole = encoded([b"hello"], is_signed=True, trailers=told)
    asked = request(whole, 5, is_signed=True, suffix="-TRAILER")
    decode(asked, SEED)
    assert (await asked.body.read(bytes_max=10), asked.body.trailers) == (b"hello", told)
    stripped = encoded([b"hello"], is_signed=True)
    assert await failure(stripped, 5, suffix="-TRAILER") == "SignatureDoesNotMatch"
