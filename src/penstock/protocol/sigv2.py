"""Signature Version 2, which S3 still takes: SDKs presign with it by default in the oldest regions.

    StringToSign = METHOD \\n Content-MD5 \\n Content-Type \\n Date or Expires \\n x-amz-* headers, the resource

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from urllib.parse import unquote

from penstock.kernel.errors import ServiceError
from penstock.protocol.messages import HttpRequest
from penstock.protocol.sigv4 import SKEW_MS_MAX, Claim

_SUBRESOURCES = frozenset(
    (
        "acl",
        "accelerate",
        "analytics",
        "cors",
        "defaultObjectAcl",
        "delete",
        "encryption",
        "inventory",
        "legal-hold",
        "lifecycle",
        "location",
        "logging",
        "metrics",
        "notification",
        "object-lock",
        "partNumber",
        "policy",
        "policyStatus",
        "publicAccessBlock",
        "replication",
        "requestPayment",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "restore",
        "retention",
        "select",
        "select-type",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versionId",
        "versioning",
        "versions",
        "website",
    )
)


def parse(request: HttpRequest) -> Claim | None:
    """The claim of a header `AWS KEY:SIGNATURE` or of a presigned query; None where there is neither."""
    header = request.headers.get("authorization", "")
    if header.startswith("AWS "):
        key_id, _, signature = header.removeprefix("AWS ").strip().partition(":")
        token = request.headers.get("x-amz-security-token")
        if not key_id or not signature:
            fields = {"ArgumentName": "Authorization", "ArgumentValue": header}
            text = "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature"
            raise ServiceError("InvalidArgument", text, fields=fields)
        time = request.headers.get("x-amz-date") or request.headers.get("date", "")
        return _claim(key_id, signature, time, token, is_presigned=False)
    query = dict(_pairs(request.query))
    if "AWSAccessKeyId" not in query or "Signature" not in query:
        return None
    token = query.get("x-amz-security-token")
    return _claim(
        query["AWSAccessKeyId"] or "", query["Signature"] or "", query.get("Expires") or "", token, is_presigned=True
    )


def _claim(key_id: str, signature: str, time: str, token: str | None, *, is_presigned: bool) -> Claim:
    if not key_id or not signature or (is_presigned and not re.fullmatch(r"[0-9]{1,15}", time)):
        message = "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
        raise ServiceError("AccessDenied", message, status=403)
    return Claim(key_id, "", "", "s3", time, (), signature, token, None, is_presigned=is_presigned, version=2)


def check(
    claim: Claim, request: HttpRequest, secret: str, *, now_ms: int, signed_path: str, bucket: str | None
) -> None:
    """Raises AccessDenied, RequestTimeTooSkewed or SignatureDoesNotMatch.

    signed_path   as the client sent it; bucket: the one that the host named, which the resource begins with
    """
    _check_time(claim, now_ms)
    resource = f"/{bucket}{signed_path}" if bucket else signed_path
    to_sign = _string_to_sign(claim, request, resource)
    expected = base64.b64encode(hmac.new(secret.encode(), to_sign.encode("utf-8", "replace"), hashlib.sha1).digest())
    if not hmac.compare_digest(expected, claim.signature.encode("utf-8", "replace")):
        message = (
            "The request signature we calculated does not match the signature you provided."
            " Check your key and signing method."
        )
        fields = {"AWSAccessKeyId": claim.access_key_id, "StringToSign": to_sign, "SignatureProvided": claim.signature}
        raise ServiceError("SignatureDoesNotMatch", message, status=403, fields=fields)


def _check_time(claim: Claim, now_ms: int) -> None:
    if claim.is_presigned:
        if now_ms > int(claim.time) * 1000:
            raise ServiceError("AccessDenied", "Request has expired", status=403, fields={"Expires": claim.time})
        return
    try:
        signed_ms = parsedate_to_datetime(claim.time).timestamp() * 1000
    except (ValueError, TypeError, OverflowError):
        message = "AWS authentication requires a valid Date or x-amz-date header"
        raise ServiceError("AccessDenied", message, status=403) from None
    if abs(now_ms - signed_ms) > SKEW_MS_MAX:
        message = "The difference between the request time and the current time is too large."
        raise ServiceError("RequestTimeTooSkewed", message, status=403)


def _string_to_sign(claim: Claim, request: HttpRequest, resource: str) -> str:
    headers = request.headers
    if claim.is_presigned:  # the headers that were to be signed travel in the query
        in_query = {name: value or "" for name, value in _pairs(request.query) if _is_signed_header(name)}
        headers = {**headers, **in_query}
    date = claim.time if claim.is_presigned else ("" if "x-amz-date" in headers else headers.get("date", ""))
    amz = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers) if name.startswith("x-amz-"))
    kept = sorted((name, value) for name, value in _pairs(request.query) if name in _SUBRESOURCES)
    query = "&".join(name if value is None else f"{name}={value}" for name, value in kept)
    return "\n".join(
        [
            request.method,
            headers.get("content-md5", ""),
            headers.get("content-type", ""),
            date,
            f"{amz}{resource}{'?' if query else ''}{query}",
        ]
    )


def _is_signed_header(name: str) -> bool:
    return name.startswith("x-amz-") or name in ("content-md5", "content-type")


def _pairs(query: str) -> Iterable[tuple[str, str | None]]:
    for item in query.split("&"):
        if item:
            name, equals, value = item.partition("=")
            yield unquote(name), unquote(value) if equals else None
