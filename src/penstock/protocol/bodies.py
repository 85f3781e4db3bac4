"""Bodies that are read whole, within a bound."""

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import StreamTooLong
from penstock.kernel.units import MIB
from penstock.protocol.messages import HttpRequest

BODY_BYTES_MAX = 16 * MIB
CODE_BYTES_MAX = 70_167_211
"""A function's code travels as base64 in JSON. Source: the error that Lambda answers to more."""

_WITH_CODE = ("CreateFunction", "UpdateFunctionCode", "PublishLayerVersion")


def bytes_max(operation: str) -> int:
    return CODE_BYTES_MAX if operation in _WITH_CODE else BODY_BYTES_MAX


async def read_whole(request: HttpRequest, operation: str) -> bytes:
    """Raises RequestEntityTooLargeException (413) for more than the operation may have."""
    bound = bytes_max(operation)
    try:
        return await request.body.read(bytes_max=bound)
    except StreamTooLong:
        message = f"Request must be smaller than {bound} bytes for the {operation} operation"
        raise ServiceError("RequestEntityTooLargeException", message, status=413) from None
