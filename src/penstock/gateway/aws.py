"""AWS's own interface: an HTTP request to a call through the door, and the answer back."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from penstock.framework.context import Context, Platform, RequestInfo
from penstock.framework.credentials import Authenticator
from penstock.framework.dispatch import internal_failure
from penstock.gateway import digests, hosts, posts
from penstock.gateway.cors import Cors, FindRules, Rule
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import DEFAULT_ACCOUNT_ID, DEFAULT_REGION, Principal, Scope
from penstock.kernel.streams import StreamTooLong, stream_of
from penstock.kernel.units import MIB
from penstock.protocol import chunked, post_policy, sigv2, sigv4
from penstock.protocol.codecs import codec_for
from penstock.protocol.messages import HttpRequest, HttpResponse
from penstock.protocol.route import SERVED, NoRoute, Route, route
from penstock.protocol.sigv4 import Claim, Seed

log = logging.getLogger("penstock.gateway")

HASHED_BYTES_MAX = 80 * MIB
"""Services but S3 sign the hash of a body that is read whole anyway."""

_UNKNOWN_KEY: Mapping[str, tuple[str, str]] = {
    "rest-xml": ("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
    "query": ("InvalidClientTokenId", "The security token included in the request is invalid."),
}
_UNKNOWN_KEY_ELSE = ("UnrecognizedClientException", "The security token included in the request is invalid.")
_IN_JSON: Mapping[str, str] = {
    "SignatureDoesNotMatch": "InvalidSignatureException",
    "IncompleteSignature": "IncompleteSignatureException",
    "ExpiredToken": "ExpiredTokenException",
}
"""What the json protocols call a bad signature."""
_ANONYMOUS: Mapping[str, tuple[str, str]] = {
    "amz-cbor": ("MissingAuthenticationTokenException", "Missing Authentication Token"),
    "json": ("MissingAuthenticationTokenException", "Missing Authentication Token"),
    "rest-json": ("MissingAuthenticationTokenException", "Missing Authentication Token"),
    "query": ("MissingAuthenticationToken", "Request is missing Authentication Token"),
}
_BY_TARGET = ("json", "amz-cbor")
"""Protocols whose operation is in a header, which then must be signed."""
_NEED_NO_SIGNATURE = ("AssumeRoleWithWebIdentity", "AssumeRoleWithSAML")


class AwsFace:
    """Every service on one port: `handle` is the HTTP server's handler. `find_cors`: a bucket's CORS rules."""

    def __init__(self, platform: Platform, authenticator: Authenticator, *, find_cors: FindRules | None = None) -> None:
        self._platform = platform
        self._authenticator = authenticator
        self._cors = Cors(find_cors or _no_rules, is_open=platform.auth != "enforce")

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Never raises but for a client that went away."""
        request_id = self._platform.entropy.uuid()
        found: Route | None = None
        granted: Sequence[tuple[str, str]] = ()
        try:
            signed_path = request.path
            hosts.use_path_style(request)
            if request.method == "OPTIONS":
                return await self._cors.preflight(request)
            granted = await self._cors.grants(request) if "origin" in request.headers else ()
            bucket = posts.find_bucket(request)
            if bucket is not None:
                answer = await self._post(request, bucket, request_id)
            else:
                found = await route(request)
                answer = await self._run(request, signed_path, found, request_id)
        except NoRoute as error:
            answer = codec_for(error.protocol).serialize_error(None, error, request_id)
        except ServiceError as error:
            answer = _refused(error, found, request_id)
        except ConnectionError:
            raise
        except Exception:
            log.exception("request failed method=%s path=%r request_id=%s", request.method, request.path, request_id)
            answer = _refused(internal_failure(found.service if found else "s3"), found, request_id)
        answer.headers.extend(granted)
        return answer

    async def authenticate(self, request: HttpRequest) -> Principal:
        """Who signed a request that is no AWS call. Raises ServiceError."""
        body = await _read(request)
        principal, _ = await self._principal(sigv4.parse_authorization(request), request, request.path, "json", body)
        return principal

    async def _run(self, request: HttpRequest, signed_path: str, found: Route, request_id: str) -> HttpResponse:
        codec = codec_for(found.protocol)
        is_s3 = found.service == "s3"
        claim = _claim_of(request, found)
        body = None if is_s3 else await _read(request)
        principal, seed = await self._principal(claim, request, signed_path, found.protocol, body)
        if claim is not None and seed is not None:
            _check_scope(claim, found)
        if principal.kind == "anonymous" and not is_s3 and found.operation.name not in _NEED_NO_SIGNATURE:
            code, message = _ANONYMOUS[found.protocol]
            raise ServiceError(code, message, status=403)
        if is_s3:
            _check_length(request, found)
            digests.check_stated(request, found.operation.name)
            _open_body(request, claim, seed)
            await digests.check_document(request, found.operation.name)
        elif request.headers.get("content-encoding") == "gzip":
            request.body = chunked.gunzip(request.body)
        members = await codec.parse_request(found.operation, request, found.path_labels)
        scope = Scope(principal.account_id or DEFAULT_ACCOUNT_ID, found.region or DEFAULT_REGION)
        ctx = Context(self._platform, scope, principal, _info(request, request_id, claim))
        result = await self._platform.caller.call(found.service, found.operation.name, members, ctx=ctx)
        return codec.serialize_response(found.operation, result, request_id)

    async def _post(self, request: HttpRequest, bucket: str, request_id: str) -> HttpResponse:
        """A browser's form: signed by its policy, if at all."""
        post = await posts.read_post(request, bucket, self._platform.wall.now_ms())
        found = await route(post.put)
        try:
            key_id, token = (post.claim.access_key_id, post.claim.session_token) if post.claim else (None, None)
            now_ms = self._platform.clock.now_ms()
            principal, secret = await self._authenticator.authenticate(key_id, token, now_ms)
        except ServiceError as error:
            raise _worded(error, found.protocol) from None
        if post.claim is not None and secret is not None:
            post_policy.check_signature(post.claim, post.fields["policy"], secret)
        codec = codec_for(found.protocol)
        members = await codec.parse_request(found.operation, post.put, found.path_labels)
        region = post.claim.region if post.claim and post.claim.region else DEFAULT_REGION
        scope = Scope(principal.account_id or DEFAULT_ACCOUNT_ID, region)
        info = replace(_info(request, request_id, post.claim), is_form=True)
        ctx = Context(self._platform, scope, principal, info)
        result = await self._platform.caller.call(found.service, found.operation.name, members, ctx=ctx)
        answered = codec.serialize_response(found.operation, result, request_id)
        return posts.answer(post, result, ctx.endpoint, answered)

    async def _principal(
        self, claim: Claim | None, request: HttpRequest, signed_path: str, protocol: str, body: bytes | None
    ) -> tuple[Principal, Seed | None]:
        """Who asks; with a seed where the signature was checked."""
        key_id, token = (claim.access_key_id, claim.session_token) if claim else (None, None)
        try:
            principal, secret = await self._authenticator.authenticate(key_id, token, self._platform.clock.now_ms())
            if claim is None or secret is None:
                return principal, None
            seed = self._checked(claim, request, secret, signed_path, body)
        except ServiceError as error:
            raise _worded(error, protocol) from None
        return principal, seed

    def _checked(
        self, claim: Claim, request: HttpRequest, secret: str, signed_path: str, body: bytes | None
    ) -> Seed | None:
        """Check the signature. What chunks go on from, for version 4."""
        now_ms = self._platform.wall.now_ms()
        if claim.version == 2:
            bucket = None if signed_path == request.path else hosts.find_bucket(hosts.name_of(request))
            sigv2.check(claim, request, secret, now_ms=now_ms, signed_path=signed_path, bucket=bucket)
            return None
        digest = sigv4.EMPTY_SHA256 if body is None else chunked.sha256_hex(body)
        seed = sigv4.check(claim, request, secret, now_ms=now_ms, signed_path=signed_path, body_sha256=digest)
        if body is not None and claim.payload_hash not in (None, sigv4.UNSIGNED_PAYLOAD, digest):
            message = "The provided 'x-amz-content-sha256' header does not match what was computed."
            raise ServiceError("SignatureDoesNotMatch", message, status=403)
        return seed


def _claim_of(request: HttpRequest, found: Route) -> Claim | None:
    if found.service == "s3":
        return _claim_of_s3(request)
    try:
        return sigv4.parse_authorization(request)
    except ServiceError as error:
        raise _worded(error, found.protocol) from None


def _claim_of_s3(request: HttpRequest) -> Claim | None:
    """S3 takes version 2 too, an empty header for none, and has its own words for what it can't read."""
    header = request.headers.get("authorization")
    if header is not None and not header.strip():
        del request.headers["authorization"]
    try:
        return sigv2.parse(request) or sigv4.parse_authorization(request)
    except ServiceError as error:
        if error.code != "IncompleteSignature":
            raise
        if not str(header).startswith("AWS4-"):
            fields = {"ArgumentName": "Authorization", "ArgumentValue": str(header)}
            raise ServiceError("InvalidArgument", "Unsupported Authorization Type", fields=fields) from None
        if "'X-Amz-Date' or a 'Date'" in error.message:
            text = "AWS authentication requires a valid Date or x-amz-date header"
            raise ServiceError("AccessDenied", text, status=403) from None
        text = f"The authorization header is malformed; {error.message.partition(' Authorization=')[0]}"
        raise ServiceError("AuthorizationHeaderMalformed", text) from None


def _check_length(request: HttpRequest, found: Route) -> None:
    """Bytes that are to be kept come with their number. Raises MissingContentLength (411)."""
    is_stated = "content-length" in request.headers or "transfer-encoding" in request.headers
    if not is_stated and not request.body.length and found.operation.name in ("PutObject", "UploadPart"):
        raise ServiceError("MissingContentLength", "You must provide the Content-Length HTTP header.", status=411)


def _check_scope(claim: Claim, found: Route) -> None:
    """What was signed for one service is good for no other, whatever a header that nobody signed makes of it."""
    service = SERVED[found.service][0]
    if claim.service == service and (found.protocol not in _BY_TARGET or "x-amz-target" in claim.signed_headers):
        return
    if service == "s3":
        where = f'incorrect service "{claim.service}". This endpoint belongs to "s3".'
        if claim.is_presigned:
            message = f"Error parsing the X-Amz-Credential parameter; {where}"
            raise ServiceError("AuthorizationQueryParametersError", message)
        raise ServiceError("AuthorizationHeaderMalformed", f"The authorization header is malformed; {where}")
    message = f"Credential should be scoped to correct service: '{service}'. "
    if claim.service == service:
        message = "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization."
    raise _worded(ServiceError("SignatureDoesNotMatch", message, status=403), found.protocol)


def _refused(error: ServiceError, found: Route | None, request_id: str) -> HttpResponse:
    codec = codec_for(found.protocol if found else "rest-xml")
    return codec.serialize_error(found.operation if found else None, error, request_id)


async def _no_rules(bucket: str) -> Sequence[Rule]:
    return ()


def _worded(error: ServiceError, protocol: str) -> ServiceError:
    """Services say differently that they don't know a key, or that a signature is wrong."""
    if error.code == "InvalidClientTokenId":
        code, message = _UNKNOWN_KEY.get(protocol, _UNKNOWN_KEY_ELSE)
        return ServiceError(code, message, status=403)
    if protocol in (*_BY_TARGET, "rest-json") and error.code in _IN_JSON:
        return ServiceError(_IN_JSON[error.code], error.message, status=error.status)
    return error


async def _read(request: HttpRequest) -> bytes:
    try:
        body = await request.body.read(bytes_max=HASHED_BYTES_MAX)
    except StreamTooLong:
        raise ServiceError("RequestEntityTooLargeException", "The request is too large.", status=413) from None
    request.body = stream_of(body)
    return body


def _open_body(request: HttpRequest, claim: Claim | None, seed: Seed | None) -> None:
    """S3's bodies stream: chunks are taken apart and hashes checked on the way."""
    if claim is not None and seed is not None:
        default = sigv4.UNSIGNED_PAYLOAD if claim.is_presigned else sigv4.EMPTY_SHA256
        stated = claim.payload_hash or default
        if stated != sigv4.UNSIGNED_PAYLOAD and not stated.startswith(chunked.STREAMING_PREFIX):
            request.body = chunked.HashedBody(request.body, stated)
    if chunked.is_chunked(request):
        chunked.decode(request, seed)


def _info(request: HttpRequest, request_id: str, claim: Claim | None) -> RequestInfo:
    headers = request.headers
    host = headers.get("host", "")
    return RequestInfo(
        request_id=request_id,
        source_ip=request.source_ip,
        user_agent=headers.get("user-agent", ""),
        endpoint=f"{'https' if request.is_secure else 'http'}://{_endpoint_host(host)}" if host else "",
        trace_id=headers.get("x-amzn-trace-id", ""),
        is_secure=request.is_secure,
        headers=headers,
    )


def _endpoint_host(host: str) -> str:
    """The host without the bucket that it may name: URLs that are handed out are the node's."""
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        name, port = host, ""
    bucket = hosts.find_bucket(name.lower())
    if bucket is not None:
        name = name[len(bucket) + 1 :]
    return f"{name}:{port}" if port else name
