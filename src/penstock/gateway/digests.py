"""What a caller says of the bytes of a document: S3 checks Content-MD5 and x-amz-checksum-* on every request.

Objects' own bytes are checked as they are stored; here are the rest, which are short.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

import base64
import binascii

from penstock.engines.checksums import ALGORITHMS, checksum, is_available
from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import StreamTooLong, stream_of
from penstock.kernel.units import MIB
from penstock.protocol.messages import HttpRequest

_BYTES_MAX = 2 * MIB
_OF_OBJECTS = ("PutObject", "UploadPart")
_NOT_OF_DOCUMENTS = (*_OF_OBJECTS, "CompleteMultipartUpload")
_HEADERS = {f"x-amz-checksum-{name.lower()}": name for name in ALGORITHMS}
_NAMED = "x-amz-sdk-checksum-algorithm"


def check_stated(request: HttpRequest, operation: str) -> None:
    """An algorithm that is named comes with its value, or with a trailer that will bring it. Raises InvalidRequest."""
    named = request.headers.get(_NAMED)
    if named is None or operation not in _OF_OBJECTS or named.upper() not in ALGORITHMS:
        return
    if "x-amz-trailer" in request.headers or f"x-amz-checksum-{named.lower()}" in request.headers:
        return
    raise ServiceError(
        "InvalidRequest",
        f"{_NAMED} specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
    )


async def check_document(request: HttpRequest, operation: str) -> None:
    """Raises InvalidDigest or BadDigest (400); the body is read and put back."""
    headers = request.headers
    if request.method not in ("PUT", "POST") or operation in _NOT_OF_DOCUMENTS:
        return
    stated = [name for header, name in _HEADERS.items() if header in headers and is_available(name)]
    if not stated and "content-md5" not in headers:
        return
    try:
        body = await request.body.read(bytes_max=_BYTES_MAX)
    except StreamTooLong:
        raise ServiceError("MaxMessageLengthExceeded", "Your request was too big.") from None
    request.body = stream_of(body)
    md5 = headers.get("content-md5")
    if md5 is not None:
        if len(_decoded(md5)) != 16:
            fields = {"Content-MD5": md5}
            raise ServiceError("InvalidDigest", "The Content-MD5 you specified was invalid.", fields=fields)
        if md5 != _value("MD5", body):
            raise ServiceError("BadDigest", "The Content-MD5 you specified did not match what we received.")
    for name in stated:
        if headers[f"x-amz-checksum-{name.lower()}"] != _value(name, body):
            raise ServiceError("BadDigest", f"The {name} you specified did not match the calculated checksum.")


def _value(algorithm: str, body: bytes) -> str:
    running = checksum(algorithm)
    running.update(body)
    return base64.b64encode(running.digest()).decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
