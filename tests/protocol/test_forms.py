import asyncio

import pytest

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import ByteStream
from penstock.protocol.forms import read_form
from penstock.protocol.messages import HttpRequest

FILE = b"line\r\n--almost\r\n-" * 9000
BODY = (
    b'--B\r\nContent-Disposition: form-data; name="Key"\r\n\r\nk\r\n'
    b'--B\r\nContent-Disposition: form-data; name="empty"\r\n\r\n\r\n'
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="C:\\dir\\a.txt"\r\nContent-Type: x/y\r\n\r\n'
    + FILE
    + b"\r\n--B--\r\n"
)


def read(body, step):
    async def chunks():
        for at in range(0, len(body), step):
            yield body[at : at + step]

    async def go():
        request = HttpRequest("POST", "/b", headers={"content-type": "multipart/form-data; boundary=B"})
        request.body = ByteStream(chunks())
        form = await read_form(request)
        return form.fields, form.filename, await form.file.read(bytes_max=1 << 20) if form.file else None

    return asyncio.run(go())


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000, 1 << 20])
def test_a_form_reads_the_same_however_it_arrives(step):
    assert read(BODY, step) == ({"key": "k", "empty": ""}, "a.txt", FILE)


@pytest.mark.parametrize("body", [b"", b"nonsense", BODY[:-8], b"--B\r\n\r\nx\r\n--B--", b"--Bjunk"])
def test_a_broken_form_is_malformed(body):
    with pytest.raises(ServiceError) as caught:
        read(body, 10)
    assert caught.value.code == "MalformedPOSTRequest"


def test_fields_are_bounded():
    body = b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * 30_000 + b"\r\n--B--\r\n"
    with pytest.raises(ServiceError) as caught:
        read(body, 1000)
    assert caught.value.code == "MaxPostPreDataLengthExceeded"
