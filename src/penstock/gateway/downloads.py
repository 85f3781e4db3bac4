"""Signed URLs of the node's own by which a package is fetched: what `GetFunction` answers as its location."""

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import ByteStream
from penstock.protocol.messages import HttpRequest, HttpResponse

Open = Callable[[str, int, str], Awaitable[ByteStream]]


class Downloads:
    """`open_signed(id, expires_ms, signature)` answers the bytes or raises ServiceError (403, 404)."""

    def __init__(self, prefix: str, open_signed: Open) -> None:
        self.prefix = prefix
        self._open = open_signed

    async def handle(self, request: HttpRequest) -> HttpResponse:
        query = dict(parse_qsl(request.query))
        try:
            if request.method != "GET" or not query.get("expires", "").isdecimal():
                raise ServiceError("AccessDenied", "Access Denied", status=403)
            name = request.path.removeprefix(self.prefix)
            body = await self._open(name, int(query["expires"]), query.get("signature", ""))
        except ServiceError as error:
            return HttpResponse(error.status, [("Content-Type", "text/plain")], f"{error.message}\n".encode())
        return HttpResponse(200, [("Content-Type", "application/zip")], body)
