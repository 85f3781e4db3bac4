import asyncio
from collections.abc import AsyncIterator

import pytest

from penstock.kernel.streams import ByteStream, StreamTooLong, stream_of


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def test_a_stream_reads_as_the_bytes_it_carries() -> None:
    assert asyncio.run(ByteStream(chunks(b"ab", b"", b"c")).read(bytes_max=3)) == b"abc"
    assert asyncio.run(stream_of(b"").read(bytes_max=0)) == b""


@pytest.mark.parametrize("stream", [ByteStream(chunks(b"ab", b"c")), stream_of(b"abc")])
def test_a_read_past_its_bound_is_refused(stream: ByteStream) -> None:
    with pytest.raises(StreamTooLong):
        asyncio.run(stream.read(bytes_max=2))
