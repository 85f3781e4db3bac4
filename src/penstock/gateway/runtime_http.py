"""The Runtime, Extensions and Telemetry APIs over HTTP: one loopback address per environment, AWS_LAMBDA_RUNTIME_API.

Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import asyncio
import base64
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson

from penstock.engines.functions.extensions import Extensions, Refused
from penstock.engines.functions.ports import CredentialsSource, FunctionSpec
from penstock.engines.functions.reports import RESULT_BYTES_MAX
from penstock.engines.functions.runtime_api import EnvironmentApi, ResponseTooLarge, RuntimeApi, WrongInvocation
from penstock.engines.sandbox.peers import uid_of_peer
from penstock.gateway.http import HttpLimits, HttpServer
from penstock.kernel.streams import StreamTooLong
from penstock.kernel.units import MIB
from penstock.protocol.messages import HttpRequest, HttpResponse

_PATH = re.compile(r"/2018-06-01/runtime/(?:invocation/(?P<id>[^/]+)/(?P<end>response|error)|(?P<rest>.+))")
_BODY_BYTES_MAX = RESULT_BYTES_MAX + MIB
_LIMITS = HttpLimits(idle_s=24 * 3600, body_s=900)
_LIMITS_OF_ONE = replace(_LIMITS, connections=64)
_MODE = "lambda-runtime-function-response-mode"
_OCTETS = "application/octet-stream"
_TOO_LARGE = f"Exceeded maximum allowed payload size ({RESULT_BYTES_MAX} bytes)."
_TELEMETRY_S = 5.0
_TELEMETRY_ANSWER_BYTES = 1024
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

    async def open(self, api: EnvironmentApi, *, uid: int | None = None) -> str:
        """Serve `api` on a port of its own; answers host:port. Only processes of `uid` get in, where there is one."""
        admits = None if uid is None else (lambda own, peer: uid_of_peer(own, peer) in (uid, None))
        server = HttpServer(partial(_handle, api), now_ms=self._now_ms, limits=_LIMITS_OF_ONE, admits=admits)
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

    async def send(self, protocol: str, port: int, path: str, body: bytes) -> None:
        """A batch of telemetry to a listener on this machine. Raises OSError."""
        async with asyncio.timeout(_TELEMETRY_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                if protocol == "HTTP":
                    head = f"POST {path} HTTP/1.1\r\nHost: sandbox.localdomain:{port}\r\n"
                    head += (
                        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                    )
                    writer.write(head.encode())
                writer.write(body)
                await writer.drain()
                if protocol == "HTTP":
                    await reader.read(_TELEMETRY_ANSWER_BYTES)
            finally:
                writer.close()

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


async def _handle(api: EnvironmentApi, request: HttpRequest) -> HttpResponse:
    try:
        if request.path.startswith("/2020-01-01/extension/"):
            return await _extension(api.extensions, request, request.path.removeprefix("/2020-01-01/extension/"))
        if request.path in ("/2022-07-01/telemetry", "/2020-08-15/logs"):
            return await _subscribe(api, request)
        if request.path == "/2026-01-15/metadata/execution-environment":
            return _metadata(api, request)
        found = _PATH.fullmatch(request.path)
        if found is not None and api.runtime is not None:
            return await _runtime(api.runtime, request, found)
    except Refused as refused:
        return _error(refused.status, refused.error_type, refused.text)
    return _error(404, "NotFound", "Not found")


async def _runtime(api: RuntimeApi, request: HttpRequest, found: re.Match[str]) -> HttpResponse:
    if found["rest"] == "invocation/next" and request.method == "GET":
        return await _next(api)
    if request.method != "POST":
        return _error(405, "MethodNotAllowed", "Method not allowed")
    if found["end"] == "response" and request.headers.get(_MODE, "").lower() == "streaming":
        return await _end_streaming(api, found["id"], request)
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
    for name, key in (("Trace-Id", "trace_id"), ("Client-Context", "client_context"), ("Aws-Tenant-Id", "tenant_id")):
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
            return _error(404, "NotFound", "Not found")
    except WrongInvocation:
        return _error(400, "InvalidRequestID", "Invalid request ID")
    except ResponseTooLarge:
        return _error(413, "RequestEntityTooLarge", _TOO_LARGE)
    return _answer(202, {"status": "OK"})


async def _end_streaming(api: RuntimeApi, request_id: str, request: HttpRequest) -> HttpResponse:
    """An error on the way comes in the trailers, which stand among the headers once the body has been read."""
    try:
        await api.respond_streaming(request_id, request.headers.get("content-type", _OCTETS), request.body)
        error_type = request.headers.get("lambda-runtime-function-error-type", "")
        details = request.headers.get("lambda-runtime-function-error-body", "")
        api.end_stream(request_id, (error_type, _decoded(details)) if error_type else None)
    except WrongInvocation:
        return _error(400, "InvalidRequestID", "Invalid request ID")
    except ResponseTooLarge:
        return _error(413, "RequestEntityTooLarge", _TOO_LARGE)
    return _answer(202, {"status": "OK"})


def _decoded(details: str) -> str:
    try:
        return base64.b64decode(details, validate=True).decode("utf-8", "replace")
    except ValueError:
        return details


async def _extension(extensions: Extensions, request: HttpRequest, what: str) -> HttpResponse:
    """Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html"""
    id = request.headers.get("lambda-extension-identifier", "")
    if what == "event/next" and request.method == "GET":
        event = await extensions.next(id)
        headers = [_JSON, ("Lambda-Extension-Event-Identifier", str(event.get("requestId", id)))]
        return HttpResponse(200, headers, orjson.dumps(event))
    if request.method != "POST":
        return _error(405, "MethodNotAllowed", "Method not allowed")
    if what == "register":
        accepted = request.headers.get("lambda-extension-accept-feature", "")
        asked = await _json(request)
        events = asked.get("events") if isinstance(asked, dict) else None
        name = request.headers.get("lambda-extension-name", "")
        id, answer = extensions.register(name, events, wants_account="accountId" in accepted)
        return HttpResponse(200, [_JSON, ("Lambda-Extension-Identifier", id)], orjson.dumps(answer))
    if what in ("init/error", "exit/error"):
        error_type = request.headers.get("lambda-extension-function-error-type", "")
        extensions.fail(id, error_type, is_init=what == "init/error")
        return _answer(202, {"status": "OK"})
    return _error(404, "NotFound", "Not found")


async def _subscribe(api: EnvironmentApi, request: HttpRequest) -> HttpResponse:
    if request.method != "PUT":
        return _error(405, "MethodNotAllowed", "Method not allowed")
    extension = api.extensions.find(request.headers.get("lambda-extension-identifier", ""))
    api.telemetry.subscribe(extension.name, await _json(request), is_logs_api=request.path.endswith("/logs"))
    return HttpResponse(200, [_JSON], b'"OK"')


def _metadata(api: EnvironmentApi, request: HttpRequest) -> HttpResponse:
    """Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-metadata-endpoint.html"""
    if request.method != "GET":
        return _error(405, "MethodNotAllowed", "Method not allowed")
    if request.headers.get("authorization", "") != f"Bearer {api.metadata_token}":
        return _error(401, "Unauthorized", "Unauthorized")
    return _answer(200, {"AvailabilityZoneID": api.zone_id})


async def _json(request: HttpRequest) -> Any:
    try:
        return orjson.loads(await request.body.read(bytes_max=MIB) or b"null")
    except (orjson.JSONDecodeError, StreamTooLong):
        raise Refused(400, "InvalidRequestFormat", "The body isn't valid JSON") from None


def _error(status: int, error_type: str, text: str) -> HttpResponse:
    return _answer(status, {"errorMessage": text, "errorType": error_type})


def _answer(status: int, body: dict[str, str]) -> HttpResponse:
    return HttpResponse(status, [_JSON], orjson.dumps(body))
