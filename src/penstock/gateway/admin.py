"""`/_penstock/...`: the node's own interface, for its command line.

A web page must not drive it: a request from a foreign origin is refused, and so is one whose Host is a name that
isn't this machine's (DNS rebinding). In enforce mode everything but health needs the root's signature.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from penstock.gateway.hosts import is_own_name, split_url
from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import StreamTooLong
from penstock.protocol.messages import HttpRequest, HttpResponse

PREFIX = "/_penstock/"
BODY_BYTES_MAX = 64 * 1024

Members = dict[str, Any]
Action = Callable[[Members], Awaitable[Members]]


class Admin:
    """`actions` by method and path below the prefix; `public` ones need no authority."""

    def __init__(
        self,
        actions: Mapping[tuple[str, str], Action],
        *,
        public: frozenset[tuple[str, str]],
        authorize: Callable[[HttpRequest], Awaitable[None]],
    ) -> None:
        self._actions = actions
        self._public = public
        self._authorize = authorize

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """JSON in, JSON out; errors as `{"code": ..., "message": ...}`."""
        try:
            return _answer(200, await self._run(request))
        except ServiceError as error:
            return _answer(error.status, {"code": error.code, "message": error.message})

    async def _run(self, request: HttpRequest) -> Members:
        wanted = (request.method, request.path.removeprefix(PREFIX).rstrip("/"))
        action = self._actions.get(wanted)
        if action is None:
            known = ", ".join(f"{method} {PREFIX}{path}" for method, path in self._actions)
            raise ServiceError(
                "NotFound", f"there is no {request.method} {request.path}; there are {known}", status=404
            )
        _check_origin(request)
        if wanted not in self._public:
            await self._authorize(request)
        return await action(await _members(request))


def _check_origin(request: HttpRequest) -> None:
    origin = request.headers.get("origin")
    host = split_url(f"//{request.headers.get('host', '')}")
    is_foreign = origin is not None and split_url(origin).netloc != host.netloc
    if is_foreign or not is_own_name(host.hostname or ""):
        raise ServiceError("Forbidden", "the node's own interface is not for web pages of other origins", status=403)


async def _members(request: HttpRequest) -> Members:
    try:
        body = await request.body.read(bytes_max=BODY_BYTES_MAX)
        found = orjson.loads(body) if body else {}
    except (StreamTooLong, orjson.JSONDecodeError) as error:
        raise ServiceError("BadRequest", f"the body must be JSON of at most {BODY_BYTES_MAX} bytes") from error
    if not isinstance(found, dict):
        raise ServiceError("BadRequest", "the body must be a JSON object")
    return found


def _answer(status: int, body: Members) -> HttpResponse:
    return HttpResponse(status, [("Content-Type", "application/json")], orjson.dumps(body))
