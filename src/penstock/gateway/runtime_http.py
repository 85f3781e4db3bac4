"""The Runtime API over HTTP: one loopback address per environment, as AWS_LAMBDA_RUNTIME_API names it.

Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import orjson

from penstock.engines.functions.ports import CredentialsSource, FunctionSpec
from penstock.engines.functions.reports import RESULT_BYTES_MAX
from penstock.engines.functions.runtime_api import ResponseTooLarge, RuntimeApi, WrongInvocation
from penstock.gateway.http import HttpLimits, HttpServer
from penstock.kernel.streams import StreamTooLong
from penstock.kernel.units import MIB
from penstock.protocol.messages import HttpRequest, HttpResponse

_PATH = re.compile(r"/2018-06-01/runtime/(?:invocation/(?P<id>[^/]+)/(?P<end>response|error)|(?P<rest>.+))")
_BODY_BYTES_MAX = RESULT_BYTES_MAX + MIB
_LIMITS = HttpLimits(idle_s=24 * 3600, body_s=900)
_LAST_MS = 253_402_300_799_000
_JSON = ("Content-Type", "application/json")


class HttpRuntimeFaces:
    """Opens and closes addresses; owns their servers until `aclose`."""

    def __init__(self, *, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._servers: dict[str, HttpServer] = {}
        self._credentials: dict[str, tuple[FunctionSpec, CredentialsSource]] = {}
        self._credentials_address = ""
        self._closing: set[asyncio.Task[None]] = set()

    async def open(self, api: RuntimeApi) -> str:
        """Serve `api` on a port of its own; answers host:port."""
        server = HttpServer(partial(_handle, api), now_ms=self._now_ms, limits=_LIMITS)
        address = f"127.0.0.1:{await server.start('127.0.0.1', 0)}"
        self._servers[address] = server
        return address

    async def open_credentials(self, token: str, spec: FunctionSpec, source: CredentialsSource) -> str:
        """One address for all functions; the token says whose credentials are asked for.

        Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
        """
        self._credentials[token] = spec, source
        if not self._credentials_address:
            server = HttpServer(self._give_credentials, now_ms=self._now_ms, limits=_LIMITS)
            self._credentials_address = address = f"127.0.0.1:{await server.start('127.0.0.1', 0)}"
            self._servers[address] = server
        return f"http://{self._credentials_address}/v1/credentials"

    async def _give_credentials(self, request: HttpRequest) -> HttpResponse:
        token = request.headers.get("authorization", "")
        found = self._credentials.get(token)
        if found is None:
            return _answer(401, {"code": "Unauthorized", "message": "Unauthorized"})
        spec, source = found
        given = await source.credentials_for(spec)
        expires = datetime.fromtimestamp(min(given.expires_ms, _LAST_MS) / 1000, UTC)
        body = {
            "AccessKeyId": given.access_key_id,
            "SecretAccessKey": given.secret_access_key,
            "Token": given.session_token,
            "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return _answer(200, body)

    def close(self, address: str) -> None:
        """Stop serving; whatever still waits there is cut off."""
        server = self._servers.pop(address, None)
        if server is not None:
            closing = asyncio.get_running_loop().create_task(server.close(drain_s=0), name="penstock-runtime-end")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        for address in list(self._servers):
            self.close(address)
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)


async def _handle(api: RuntimeApi, request: HttpRequest) -> HttpResponse:
    found = _PATH.fullmatch(request.path)
    if found is None:
        return _answer(404, {"errorMessage": "Not found", "errorType": "NotFound"})
    if found["rest"] == "invocation/next" and request.method == "GET":
        return await _next(api)
    if request.method != "POST":
        return _answer(405, {"errorMessage": "Method not allowed", "errorType": "MethodNotAllowed"})
    try:
        body = await request.body.read(bytes_max=_BODY_BYTES_MAX)
    except StreamTooLong:
        body = bytes(_BODY_BYTES_MAX)  # as good as any answer that is too large
    if found["rest"] == "init/error":
        api.fail_init(body)
        return _answer(202, {"status": "OK"})
    return _end(api, found["id"] or "", found["end"] or "", body)


async def _next(api: RuntimeApi) -> HttpResponse:
    header, body = await api.next()
    headers = [
        _JSON,
        ("Lambda-Runtime-Aws-Request-Id", str(header["request_id"])),
        ("Lambda-Runtime-Deadline-Ms", str(header["deadline_ms"])),
        ("Lambda-Runtime-Invoked-Function-Arn", str(header["arn"])),
    ]
    for name, key in (("Trace-Id", "trace_id"), ("Client-Context", "client_context")):
        if header.get(key):
            headers.append((f"Lambda-Runtime-{name}", str(header[key])))
    return HttpResponse(200, headers, body)


def _end(api: RuntimeApi, request_id: str, kind: str, body: bytes) -> HttpResponse:
    try:
        if kind == "response":
            api.respond(request_id, body)
        elif kind == "error":
            api.fail(request_id, body)
        else:
            return _answer(404, {"errorMessage": "Not found", "errorType": "NotFound"})
    except WrongInvocation:
        return _answer(400, {"errorMessage": "Invalid request ID", "errorType": "InvalidRequestID"})
    except ResponseTooLarge:
        text = f"Exceeded maximum allowed payload size ({RESULT_BYTES_MAX} bytes)."
        return _answer(413, {"errorMessage": text, "errorType": "RequestEntityTooLarge"})
    return _answer(202, {"status": "OK"})


def _answer(status: int, body: dict[str, str]) -> HttpResponse:
    return HttpResponse(status, [_JSON], orjson.dumps(body))
