"""Signature Version 4: what a request claims, and whether its signature shows it.

Two halves: `parse_authorization` reads the claim (header or presigned query), `check` recomputes the signature with
the secret. The path is signed as it was sent: S3 encodes it once, the others a second time.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, unquote

from penstock.kernel.errors import ServiceError
from penstock.protocol.messages import HttpRequest

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
SKEW_MS_MAX = 15 * 60 * 1000
"""Source: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html#RESTAuthenticationTimeStamp"""
PRESIGNED_S_MAX = 7 * 24 * 3600
_UNRESERVED = "-_.~"
_FIELD = re.compile(r"\s*([A-Za-z0-9-]+)\s*=\s*([^,\s]*)\s*(?:,|$)")
_TIME = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z")
_SECONDS = re.compile(r"-?[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a signed request says of itself.

    payload_hash   of the body: hex, UNSIGNED-PAYLOAD or STREAMING-...; None: the body is to be hashed
    expires_s      how long a presigned request is good
    version        4, or 2 for what sigv2.py has read
    """

    access_key_id: str
    date: str
    region: str
    service: str
    time: str
    signed_headers: tuple[str, ...]
    signature: str
    session_token: str | None
    payload_hash: str | None
    is_presigned: bool = False
    expires_s: int = 0
    version: int = 4

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


@dataclass(frozen=True, slots=True)
class Seed:
    """What chunk signatures go on from: the signing key and the request's own signature."""

    key: bytes
    signature: str
    time: str
    scope: str


def parse_authorization(request: HttpRequest) -> Claim | None:
    """The claim, or None for an anonymous request. Raises AWS's errors for a malformed one."""
    header = request.headers.get("authorization")
    if header is not None:
        return _parse_header(header, request)
    if "X-Amz-Signature=" in request.query or "X-Amz-Algorithm=" in request.query:
        return _parse_query(request)
    return None


def _parse_header(header: str, request: HttpRequest) -> Claim:
    algorithm, _, rest = header.strip().partition(" ")
    if algorithm != ALGORITHM:
        raise _incomplete(f"Unsupported AWS 'algorithm': '{algorithm}'.")
    fields = dict(_FIELD.findall(rest))
    for name in ("Credential", "Signature", "SignedHeaders"):
        if not fields.get(name):
            raise _incomplete(f"Authorization header requires '{name}' parameter. Authorization={header}")
    time = request.headers.get("x-amz-date") or _date_header(request.headers.get("date", ""))
    if _ms_of(time) is None:
        raise _incomplete(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
            f" Authorization={header}"
        )
    key_id, date, region, service = _parse_credential(fields["Credential"], _incomplete)
    if date != time[:8]:
        raise ServiceError(
            "SignatureDoesNotMatch",
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{date}' !="
            f" '{time[:8]}', from '{time}'.",
            status=403,
        )
    return Claim(
        key_id,
        date,
        region,
        service,
        time,
        tuple(fields["SignedHeaders"].lower().split(";")),
        fields["Signature"],
        request.headers.get("x-amz-security-token"),
        request.headers.get("x-amz-content-sha256"),
    )


def _parse_query(request: HttpRequest) -> Claim:
    query = {name: _readable(value) for name, value in _pairs(request.query)}
    for name in ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date", "X-Amz-SignedHeaders"):
        if not query.get(name):
            raise _wrong_query(
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature,"
                " X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
            )
    if query["X-Amz-Algorithm"] != ALGORITHM:
        raise _wrong_query('X-Amz-Algorithm only supports "AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256"')
    key_id, date, region, service = _parse_credential(query["X-Amz-Credential"], _wrong_query)
    expires = query.get("X-Amz-Expires", "")
    if (expires or service == "s3") and not _SECONDS.fullmatch(expires):
        raise _wrong_query("X-Amz-Expires should be a number")
    expires_s = int(expires or PRESIGNED_S_MAX)
    if expires_s < 0:
        raise _wrong_query("X-Amz-Expires must be non-negative")
    if expires_s > PRESIGNED_S_MAX:
        raise _wrong_query(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than"
            " 604800 seconds"
        )
    if _ms_of(query["X-Amz-Date"]) is None:
        raise _wrong_query("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    return Claim(
        key_id,
        date,
        region,
        service,
        query["X-Amz-Date"],
        tuple(query["X-Amz-SignedHeaders"].lower().split(";")),
        query["X-Amz-Signature"],
        query.get("X-Amz-Security-Token"),
        query.get("X-Amz-Content-Sha256") or request.headers.get("x-amz-content-sha256"),
        is_presigned=True,
        expires_s=expires_s,
    )


def _parse_credential(credential: str, wrong: Callable[[str], ServiceError]) -> tuple[str, str, str, str]:
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or parts[4] != "aws4_request" or not re.fullmatch(r"[0-9]{8}", parts[1]):
        raise wrong(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term,"
            f" got '{credential}'"
        )
    return parts[0], parts[1], parts[2], parts[3]


def check(
    claim: Claim, request: HttpRequest, secret: str, *, now_ms: int, signed_path: str, body_sha256: str | None = None
) -> Seed:
    """Raises SignatureDoesNotMatch, RequestTimeTooSkewed or AccessDenied; answers what chunks are checked with.

    signed_path   the path as the client sent it; body_sha256: of a body whose hash the request doesn't state
    """
    _check_time(claim, now_ms)
    _check_headers(claim, request)
    payload_hash = claim.payload_hash or (
        UNSIGNED_PAYLOAD if claim.is_presigned and claim.service == "s3" else body_sha256
    )
    canonical = _canonical_request(claim, request, signed_path, payload_hash or EMPTY_SHA256)
    hashed = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    to_sign = f"{ALGORITHM}\n{claim.time}\n{claim.scope}\n{hashed}"
    key = signing_key(secret, claim.date, claim.region, claim.service)
    expected = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), claim.signature.encode("utf-8", "replace")):
        raise _mismatch(claim, to_sign, canonical)
    return Seed(key, claim.signature, claim.time, claim.scope)


@lru_cache(maxsize=1024)
def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The key of a day, a region and a service; bounded, and cheap to make again."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _check_time(claim: Claim, now_ms: int) -> None:
    signed_ms = _ms_of(claim.time)
    assert signed_ms is not None
    if claim.is_presigned:
        if now_ms < signed_ms - SKEW_MS_MAX:
            raise ServiceError("AccessDenied", "Request is not yet valid", status=403)
        if now_ms > signed_ms + claim.expires_s * 1000:
            fields = {
                "X-Amz-Expires": claim.expires_s,
                "Expires": _iso(signed_ms + claim.expires_s * 1000),
                "ServerTime": _iso(now_ms),
            }
            raise ServiceError("AccessDenied", "Request has expired", status=403, fields=fields)
        return
    if abs(now_ms - signed_ms) <= SKEW_MS_MAX:
        return
    if claim.service == "s3":
        fields = {"RequestTime": claim.time, "ServerTime": _iso(now_ms), "MaxAllowedSkewMilliseconds": SKEW_MS_MAX}
        message = "The difference between the request time and the current time is too large."
        raise ServiceError("RequestTimeTooSkewed", message, status=403, fields=fields)
    now = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    is_late = signed_ms < now_ms
    bound = datetime.fromtimestamp((now_ms + (-SKEW_MS_MAX if is_late else SKEW_MS_MAX)) / 1000, UTC).strftime(
        "%Y%m%dT%H%M%SZ"
    )
    word, step = ("expired", "-") if is_late else ("not yet current", "+")
    message = (
        f"Signature {word}: {claim.time} is now {'earlier' if is_late else 'later'} than {bound} ({now} {step} 15 min.)"
    )
    raise ServiceError("SignatureDoesNotMatch", message, status=403)


def _check_headers(claim: Claim, request: HttpRequest) -> None:
    """The host must be signed, and whatever S3 acts upon."""
    if "host" not in claim.signed_headers and ":authority" not in claim.signed_headers:
        raise ServiceError(
            "SignatureDoesNotMatch",
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
            status=403,
        )
    unsigned = [
        name
        for name in request.headers
        if name.startswith("x-amz-")
        and name not in claim.signed_headers
        and not (claim.is_presigned and name == "x-amz-content-sha256")
    ]
    if unsigned and claim.service == "s3":
        message = "There were headers present in the request which were not signed"
        raise ServiceError(
            "AccessDenied", message, status=403, fields={"HeadersNotSigned": ", ".join(sorted(unsigned))}
        )


def _canonical_request(claim: Claim, request: HttpRequest, path: str, payload_hash: str) -> str:
    headers = request.headers
    lines = [f"{name}:{_collapsed(headers.get(name, ''))}\n" for name in claim.signed_headers]
    return "\n".join(
        [
            request.method,
            _canonical_path(claim.service, path),
            _canonical_query(request.query),
            "".join(lines),
            ";".join(claim.signed_headers),
            payload_hash,
        ]
    )


def _canonical_path(service: str, path: str) -> str:
    """S3 signs the path encoded once and as it is; the others normalised and encoded a second time."""
    if service == "s3":
        return quote(unquote(path, errors="surrogateescape"), safe="/" + _UNRESERVED, errors="surrogateescape") or "/"
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            segments[-1:] = []
        elif segment not in ("", "."):
            segments.append(segment)
    normal = "/" + "/".join(segments)
    if path.endswith("/") and normal != "/":
        normal += "/"
    return quote(normal, safe="/" + _UNRESERVED)


def _canonical_query(query: str) -> str:
    pairs = [(_encoded(name), _encoded(value)) for name, value in _pairs(query) if name != "X-Amz-Signature"]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _pairs(query: str) -> Iterable[tuple[str, str]]:
    """Percent-decoded; a plus sign is one, for SigV4."""
    for item in query.split("&"):
        if item:
            name, _, value = item.partition("=")
            yield unquote(name, errors="surrogateescape"), unquote(value, errors="surrogateescape")


def _encoded(text: str) -> str:
    return quote(text, safe=_UNRESERVED, errors="surrogateescape")


def _collapsed(value: str) -> str:
    return " ".join(value.split())


def _mismatch(claim: Claim, to_sign: str, canonical: str) -> ServiceError:
    message = "The request signature we calculated does not match the signature you provided. Check your " + (
        "key and signing method."
        if claim.service == "s3"
        else "AWS Secret Access Key and signing method. Consult the service documentation for details."
    )
    fields: dict[str, object] = {}
    if claim.service == "s3":
        fields = {
            "AWSAccessKeyId": claim.access_key_id,
            "StringToSign": to_sign,
            "SignatureProvided": claim.signature,
            "StringToSignBytes": to_sign.encode().hex(" "),
            "CanonicalRequest": canonical.encode("utf-8", "replace").decode(),
            "CanonicalRequestBytes": canonical.encode("utf-8", "replace").hex(" "),
        }
    return ServiceError("SignatureDoesNotMatch", message, status=403, fields=fields)


def _incomplete(message: str) -> ServiceError:
    return ServiceError("IncompleteSignature", message)


def _wrong_query(message: str) -> ServiceError:
    return ServiceError("AuthorizationQueryParametersError", message)


def _date_header(value: str) -> str:
    """An HTTP date, or the ISO form in a Date header, as the ISO form."""
    if _TIME.fullmatch(value):
        return value
    try:
        return datetime.strptime(value, "%a, %d %b %Y %H:%M:%S GMT").strftime("%Y%m%dT%H%M%SZ")
    except ValueError:
        return ""


def _ms_of(time: str) -> int | None:
    """The time of a signature in ms; None where it is none."""
    found = _TIME.fullmatch(time)
    try:
        return round(datetime(*map(int, found.groups()), tzinfo=UTC).timestamp() * 1000) if found else None  # type: ignore[misc, arg-type]
    except ValueError:
        return None


def _readable(text: str) -> str:
    """Without the bytes that are no UTF-8, as an error may quote it."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _iso(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
