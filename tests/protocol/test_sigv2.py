import pytest
from botocore.auth import HmacV1Auth, HmacV1QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import ServiceError
from penstock.protocol import sigv2
from penstock.protocol.messages import HttpRequest

SECRET = "secret"
HEADERS = {"x-amz-meta-b": "2", "x-amz-meta-a": " 1  1 ", "content-type": "text/plain"}


def signed(path, *, is_presigned, token=None):
    maker = HmacV1QueryAuth if is_presigned else HmacV1Auth
    request = AWSRequest("GET", f"http://localhost:4566{path}", headers=dict(HEADERS))
    request.context = {}
    maker(Credentials("AKID", SECRET, token)).add_auth(request)
    prepared = request.prepare()
    at, _, query = prepared.url.removeprefix("http://localhost:4566").partition("?")
    return HttpRequest("GET", at, query, {name.lower(): str(value) for name, value in prepared.headers.items()})


def verify(request, *, later_ms=0):
    claim = sigv2.parse(request)
    now_ms = SystemClock().now_ms() + later_ms
    sigv2.check(claim, request, SECRET, now_ms=now_ms, signed_path=request.path, bucket=None)


@pytest.mark.parametrize("is_presigned", [False, True])
@pytest.mark.parametrize("token", [None, "a+b/c="])
@pytest.mark.parametrize(
    "path", ["/b/k", "/b/a%20b?versionId=3&prefix=x", "/b?acl", "/b/k?response-content-type=a%2Fb"]
)
def test_what_botocore_signs_is_accepted(path, is_presigned, token):
    verify(signed(path, is_presigned=is_presigned, token=token))


@pytest.mark.parametrize("is_presigned", [False, True])
def test_anything_changed_is_refused(is_presigned):
    request = signed("/b/k", is_presigned=is_presigned)
    request.path = "/b/j"
    with pytest.raises(ServiceError, match="SignatureDoesNotMatch"):
        verify(request)


def test_it_ends():
    with pytest.raises(ServiceError, match="expired"):
        verify(signed("/b/k", is_presigned=True), later_ms=3_700_000)
    with pytest.raises(ServiceError, match="RequestTimeTooSkewed"):
        verify(signed("/b/k", is_presigned=False), later_ms=1_000_000)


@pytest.mark.parametrize("query", ["AWSAccessKeyId=A&Signature=", "AWSAccessKeyId=A&Signature=x&Expires=soon"])
def test_a_malformed_claim_is_refused(query):
    with pytest.raises(ServiceError, match="AccessDenied"):
        sigv2.parse(HttpRequest("GET", "/b/k", query))


def test_no_claim_is_none():
    assert sigv2.parse(HttpRequest("GET", "/b/k", "list-type=2")) is None
