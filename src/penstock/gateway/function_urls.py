"""Function URLs: a plain HTTP request becomes an event in payload format 2.0, and the answer a response.

Source: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
"""

import base64
import binascii
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, unquote_plus

import orjson

from penstock.kernel.streams import ByteStream, StreamTooLong, stream_of
from penstock.protocol.messages import HttpRequest, HttpResponse

BODY_BYTES_MAX = 6 * 1024 * 1024
PRELUDE_BYTES_MAX = 1024 * 1024
_WITH_PRELUDE = "application/vnd.awslambda.http-integration-response"
_PRELUDE_END = bytes(8)
_OCTETS = "application/octet-stream"
_HOST = re.compile(r"(?P<id>[a-z0-9]{32})\.lambda-url\.(?P<region>[a-z0-9-]+)\.")
_TEXT = re.compile(r"text/|application/(json|javascript|xml|x-www-form-urlencoded)|[^;]*\+(json|xml)")
_DROPPED = ("connection", "transfer-encoding", "expect", "cookie")


@dataclass(frozen=True, slots=True)
class Called:
    """What an invocation came to: the payload, whether the function failed, or a refusal with its status and text.

    stream   an answer that is still being made, of this content type
    """

    payload: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    content_type: str = ""
    has_failed: bool = False
    refusal: tuple[int, str] | None = None


Call = Callable[[HttpRequest, str, bytes], Awaitable[Called]]
FindCors = Callable[[str], Awaitable[Mapping[str, Any]]]


class FunctionUrls:
    """`call(request, id, event)` runs the function behind a URL; `find_cors(id)` is its CORS configuration."""

    def __init__(
        self, call: Call, find_cors: FindCors, *, now_ms: Callable[[], int], new_id: Callable[[], str]
    ) -> None:
        self._call, self._find_cors = call, find_cors
        self._now_ms, self._new_id = now_ms, new_id

    async def handle(self, request: HttpRequest) -> HttpResponse:
        found = _HOST.match(request.headers.get("host", "").lower())
        assert found is not None, "whoever routes asks is_function_url first"
        cors = await self._find_cors(found["id"])
        headers = _cors_headers(cors, request)
        if request.method == "OPTIONS" and cors and "access-control-request-method" in request.headers:
            return HttpResponse(200, headers)
        answer = await self._run(request, found["id"])
        answer.headers.extend(headers)
        return answer

    async def _run(self, request: HttpRequest, id: str) -> HttpResponse:
        request_id = self._new_id()
        try:
            body = await request.body.read(bytes_max=BODY_BYTES_MAX)
        except StreamTooLong:
            return _refused(413, "Request Too Long", request_id)
        request.body = stream_of(body)
        event = event_of(request, body, id=id, request_id=request_id, now_ms=self._now_ms())
        called = await self._call(request, id, orjson.dumps(event))
        if called.refusal is not None:
            return _refused(*called.refusal, request_id)
        if called.stream is not None:
            answer = await streamed_response_of(called.stream, called.content_type)
        else:
            answer = None if called.has_failed else response_of(called.payload)
        if answer is None:
            return _refused(502, "Internal Server Error", request_id)
        answer.headers.append(("x-amzn-RequestId", request_id))
        return answer


def is_function_url(host: str) -> bool:
    return _HOST.match(host.lower()) is not None


def event_of(request: HttpRequest, body: bytes, *, id: str, request_id: str, now_ms: int) -> dict[str, Any]:
    """A request as payload format 2.0."""
    headers = {name: value for name, value in request.headers.items() if name not in _DROPPED}
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    domain = request.headers.get("host", "").rsplit(":", 1)[0]
    is_text = _TEXT.match(request.headers.get("content-type", "")) is not None
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": unquote(request.path),
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": id,
            "domainName": domain,
            "domainPrefix": id,
            "http": {
                "method": request.method,
                "path": unquote(request.path),
                "protocol": "HTTP/1.1",
                "sourceIp": request.source_ip,
                "userAgent": request.headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": now_ms,
        },
        "isBase64Encoded": bool(body) and not is_text,
    }
    if "cookie" in request.headers:
        event["cookies"] = [one.strip() for one in request.headers["cookie"].split(";")]
    if request.query:
        event["queryStringParameters"] = _query(request.query)
    if body:
        event["body"] = body.decode("utf-8", "replace") if is_text else base64.b64encode(body).decode()
    return event


async def streamed_response_of(chunks: AsyncIterator[bytes], content_type: str) -> HttpResponse | None:
    """An answer that goes on as it comes. One with a prelude says in it, as JSON before eight NULs, how it begins.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/response-streaming-tutorial.html
    """
    if content_type.split(";")[0].strip() != _WITH_PRELUDE:
        return HttpResponse(200, [("Content-Type", content_type or _OCTETS)], ByteStream(chunks))
    head = bytearray()
    while (at := head.find(_PRELUDE_END)) < 0:
        chunk = await anext(chunks, None)
        if chunk is None or len(head) > PRELUDE_BYTES_MAX:
            return None
        head += chunk
    answer = response_of(bytes(head[:at]))
    if answer is not None:
        answer.body = ByteStream(_preceded_by(bytes(head[at + len(_PRELUDE_END) :]), chunks))
    return answer


async def _preceded_by(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk


def response_of(payload: bytes) -> HttpResponse | None:
    """What a function answered as a response; None where it can't be one.

    Without a statusCode the whole answer is the body, as JSON.
    """
    try:
        value = orjson.loads(payload or b"null")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict) or "statusCode" not in value:
        text = value.encode() if isinstance(value, str) else payload
        return HttpResponse(200, [("Content-Type", "application/json")], text)
    try:
        status = int(value["statusCode"])
        body = _body(value)
    except (TypeError, ValueError, binascii.Error):
        return None
    if not 200 <= status <= 599:
        return None
    headers = [(str(name), str(item)) for name, item in (value.get("headers") or {}).items()]
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    headers += [("Set-Cookie", str(cookie)) for cookie in value.get("cookies") or []]
    return HttpResponse(status, [pair for pair in headers if pair[0].lower() != "content-length"], body)


def _body(value: Mapping[str, Any]) -> bytes:
    body = value.get("body")
    if body is None:
        return b""
    text = body if isinstance(body, str) else orjson.dumps(body).decode()
    return base64.b64decode(text) if value.get("isBase64Encoded") else text.encode()


def _query(query: str) -> dict[str, str]:
    """A repeated parameter's values are joined by commas."""
    found: dict[str, str] = {}
    for item in query.split("&"):
        name, _, value = (unquote_plus(part) for part in item.partition("="))
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _cors_headers(cors: Mapping[str, Any], request: HttpRequest) -> list[tuple[str, str]]:
    origin = request.headers.get("origin")
    allowed = cors.get("AllowOrigins") or []
    if not origin or not (origin in allowed or "*" in allowed):
        return []
    headers = [("Access-Control-Allow-Origin", "*" if "*" in allowed else origin), ("Vary", "Origin")]
    if cors.get("AllowCredentials"):
        headers.append(("Access-Control-Allow-Credentials", "true"))
    for member, name in (
        ("ExposeHeaders", "Expose-Headers"),
        ("AllowMethods", "Allow-Methods"),
        ("AllowHeaders", "Allow-Headers"),
    ):
        if cors.get(member):
            headers.append((f"Access-Control-{name}", ",".join(cors[member])))
    if cors.get("MaxAge") and request.method == "OPTIONS":
        headers.append(("Access-Control-Max-Age", str(cors["MaxAge"])))
    return headers


def _refused(status: int, text: str, request_id: str) -> HttpResponse:
    headers = [("Content-Type", "application/json"), ("x-amzn-RequestId", request_id)]
    return HttpResponse(status, headers, orjson.dumps({"Message": text}))
