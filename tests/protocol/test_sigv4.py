"""Whatever botocore signs is accepted, and nothing else is."""

import hashlib
import string
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import stream_of
from penstock.protocol.messages import HttpRequest
from penstock.protocol.sigv4 import check, parse_authorization

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
VALUES = st.text(string.printable, max_size=10).map(lambda text: " ".join(text.split()))
SIGNERS = {("s3", False): S3SigV4Auth, ("s3", True): S3SigV4QueryAuth}


def signed(service, path, query, headers, body, *, is_presigned=False, token=None, expires=3600):
    """A request as a server sees it, signed by botocore just now."""
    pairs = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query.items())
    url = f"http://localhost:4566{path}{'?' if pairs else ''}{pairs}"
    request = AWSRequest("PUT", url, headers=headers, data=body)
    credentials = Credentials("AKID", SECRET, token)
    maker = SIGNERS.get((service, is_presigned)) or (SigV4QueryAuth if is_presigned else SigV4Auth)
    signer = (
        maker(credentials, service, "us-east-1", expires=expires)
        if is_presigned
        else maker(credentials, service, "us-east-1")
    )
    signer.add_auth(request)
    prepared = request.prepare()
    at, _, sent_query = prepared.url.removeprefix("http://localhost:4566").partition("?")
    named = {
        name.lower(): value if isinstance(value, str) else value.decode() for name, value in prepared.headers.items()
    }
    return HttpRequest("PUT", at, sent_query, {"host": "localhost:4566", **named}, stream_of(body))


def now_ms():
    return round(datetime.now(UTC).timestamp() * 1000)


def verify(request, *, secret=SECRET, body=b"", later_ms=0):
    claim = parse_authorization(request)
    digest = hashlib.sha256(body).hexdigest()
    return check(claim, request, secret, now_ms=now_ms() + later_ms, signed_path=request.path, body_sha256=digest)


@settings(max_examples=60, deadline=None)
@given(
    service=st.sampled_from(["s3", "lambda", "sqs"]),
    key=KEYS,
    query=st.dictionaries(KEYS, st.text(string.printable, max_size=8), max_size=3),
    header=VALUES,
    body=st.binary(max_size=20),
    is_presigned=st.booleans(),
    token=st.sampled_from([None, "a/token+with=signs"]),
)
def test_what_botocore_signs_is_accepted(service, key, query, header, body, is_presigned, token):
    query = {name: value for name, value in query.items() if not name.startswith("X-Amz")}
    if is_presigned:
        body = b""
    path = "/" + quote(key, safe="/-_.~")
    request = signed(service, path, query, {"x-amz-meta-a": header}, body, is_presigned=is_presigned, token=token)
    verify(request, body=body)


@pytest.mark.parametrize("is_presigned", [False, True])
@pytest.mark.parametrize("what", ["method", "path", "query", "header", "secret", "signature"])
def test_anything_changed_is_refused(is_presigned, what):
    request = signed("s3", "/b/k", {"a": "1"}, {"x-amz-meta-a": "v"}, b"", is_presigned=is_presigned)
    secret = SECRET
    if what == "method":
        request.method = "GET"
    elif what == "path":
        request.path = "/b/j"
    elif what == "query":
        request.query = request.query.replace("a=1", "a=2")
    elif what == "header":
        request.headers["x-amz-meta-a"] = "w"
    elif what == "secret":
        secret = SECRET[::-1]
    elif is_presigned:
        request.query = request.query[:-1] + ("0" if request.query[-1] != "0" else "1")
    else:
        last = request.headers["authorization"][-1]
        request.headers["authorization"] = request.headers["authorization"][:-1] + ("0" if last != "0" else "1")
    with pytest.raises(ServiceError, match="SignatureDoesNotMatch"):
        verify(request, secret=secret)


@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_clock_that_is_off_is_told(minutes):
    with pytest.raises(ServiceError, match="RequestTimeTooSkewed"):
        verify(signed("s3", "/b", {}, {}, b""), later_ms=minutes * 60_000)
    with pytest.raises(ServiceError, match=r"Signature (expired|not yet current)"):
        verify(signed("sqs", "/", {}, {}, b""), later_ms=minutes * 60_000)


def test_a_presigned_request_ends():
    request = signed("s3", "/b/k", {}, {}, b"", is_presigned=True, expires=60)
    verify(request, later_ms=59_000)
    with pytest.raises(ServiceError, match="Request has expired"):
        verify(request, later_ms=62_000)


def test_a_header_that_s3_acts_upon_must_be_signed():
    request = signed("s3", "/b/k", {}, {}, b"")
    request.headers["x-amz-copy-source"] = "other/secret"
    with pytest.raises(ServiceError, match="AccessDenied"):
        verify(request)


@pytest.mark.parametrize(
    ("headers", "query", "code"),
    [
        ({"authorization": "Bearer x"}, "", "IncompleteSignature"),
        ({"authorization": "AWS4-HMAC-SHA256 Credential=AK"}, "", "IncompleteSignature"),
        (
            {
                "authorization": "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0",
                "x-amz-date": "20260101T000000Z",
            },
            "",
            "IncompleteSignature",
        ),
        (
            {"authorization": "AWS4-HMAC-SHA256 Credential=A/20260101/r/s3/aws4_request, SignedHeaders=a,Signature=0"},
            "",
            "IncompleteSignature",
        ),
        ({}, "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0", "AuthorizationQueryParametersError"),
        (
            {},
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20260101%2Fr%2Fs3%2Faws4_request&X-Amz-Date=20260101T000000Z"
            "&X-Amz-SignedHeaders=host&X-Amz-Signature=0&X-Amz-Expires=604801",
            "AuthorizationQueryParametersError",
        ),
    ],
)
def test_a_malformed_claim_is_told_apart(headers, query, code):
    with pytest.raises(ServiceError) as refused:
        parse_authorization(HttpRequest("GET", "/b/k", query, headers))
    assert refused.value.code == code


def test_no_claim_is_anonymous():
    assert parse_authorization(HttpRequest("GET", "/b/k", "list-type=2")) is None
