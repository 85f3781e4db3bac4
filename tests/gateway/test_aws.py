"""The AWS face: signatures, pages and mistakes, over a platform in memory."""

import datetime
import hashlib

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from penstock.framework.credentials import Authenticator, root_credentials
from penstock.gateway.aws import AwsFace
from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import ByteStream, stream_of
from penstock.protocol.messages import HttpRequest
from penstock.services import iam, s3, secretsmanager, sts
from penstock.testkit.world import World

HOST = "localhost:4566"
RULE = {
    "AllowedOrigins": ["https://*.example.com"],
    "AllowedMethods": ["GET", "PUT"],
    "AllowedHeaders": ["x-amz-*", "Content-Type"],
    "ExposeHeaders": ["ETag"],
    "MaxAgeSeconds": 60,
}
PAGE = "https://app.example.com"


def _stream(body):
    return stream_of(body) if isinstance(body, bytes) else ByteStream(body)


class Face:
    def __init__(self, auth="open"):
        self.world = World(s3.SERVICE, secretsmanager.SERVICE, sts.SERVICE, iam.SERVICE)
        platform = self.world.platform
        platform.auth = auth
        keys = Authenticator(platform.store, platform.entropy, mode=auth, keys=platform.caller.policy_source)

        async def rules(bucket):
            return await s3.find_cors(platform, bucket)

        self.face = AwsFace(platform, keys, find_cors=rules)

    async def ask(self, method, path, query="", *, body=b"", **headers):
        named = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
        answer = await self.face.handle(HttpRequest(method, path, query, named, _stream(body)))
        text = answer.body if isinstance(answer.body, bytes) else await answer.body.read(bytes_max=1 << 20)
        return answer.status, {name.lower(): value for name, value in answer.headers}, text

    async def bucket_with_rules(self):
        await self.world.call("s3", "CreateBucket", Bucket="data")
        await self.world.call("s3", "PutBucketCors", Bucket="data", CORSConfiguration={"CORSRules": [RULE]})


async def signed(face, signer, service, method, url, headers=(), body=b""):
    """Headers and query of a request that the root signed at the world's time."""
    platform = face.world.platform
    key_id, secret = await root_credentials(platform.store, platform.entropy)
    request = AWSRequest(method, url, headers=dict(headers), data=body)
    signer(Credentials(key_id, secret), service, "us-east-1").add_auth(request)
    prepared = request.prepare()
    named = {k.lower(): v if isinstance(v, str) else v.decode() for k, v in prepared.headers.items()}
    return named, prepared.url.partition("?")[2]


@pytest.fixture
def at_the_worlds_time(monkeypatch):
    """Signatures made now are checked now."""

    def apply(face):
        now_ms = round(datetime.datetime.now(datetime.UTC).timestamp() * 1000)
        monkeypatch.setattr(face.world.platform.wall, "now_ms", lambda: now_ms)
        return face

    return apply


async def test_a_url_that_was_signed_for_one_service_opens_no_other(at_the_worlds_time):
    face = at_the_worlds_time(Face("enforce"))
    _, query = await signed(
        face, SigV4QueryAuth, "sts", "GET", f"http://{HOST}/?Action=GetCallerIdentity&Version=2011-06-15"
    )
    assert (await face.ask("GET", "/", query))[0] == 200
    status, _, text = await face.ask("GET", "/", query, x_amz_target="secretsmanager.ListSecrets")
    assert (status, b"Credential should be scoped to correct service: 'secretsmanager'" in text) == (403, True)


async def test_the_target_of_a_call_must_be_signed(at_the_worlds_time):
    face = at_the_worlds_time(Face("enforce"))
    target = {"X-Amz-Target": "secretsmanager.ListSecrets", "Content-Type": "application/x-amz-json-1.1"}
    named, _ = await signed(face, SigV4Auth, "secretsmanager", "POST", f"http://{HOST}/", target, b"{}")
    assert (await face.ask("POST", "/", body=b"{}", **named))[0] == 200
    named, _ = await signed(face, SigV4Auth, "secretsmanager", "POST", f"http://{HOST}/", {}, b"{}")
    status, _, text = await face.ask("POST", "/", body=b"{}", **{**named, "x-amz-target": "secretsmanager.ListSecrets"})
    assert (status, b"'x-amz-target' must be a 'SignedHeader'" in text) == (403, True)


async def test_a_mistake_of_ours_is_an_internal_failure_with_a_request_id(monkeypatch, caplog):
    face = Face()

    async def broken(*arguments):
        raise KeyError("secret detail")

    monkeypatch.setattr(face.face, "_run", broken)
    status, headers, text = await face.ask("GET", "/data/k")
    assert (status, b"<Code>InternalError</Code>" in text, b"secret detail" in text) == (500, True, False)
    assert headers["x-amz-request-id"] in caplog.text
    assert len(caplog.records) == 1
    target = {"x-amz-target": "secretsmanager.ListSecrets"}
    assert b"InternalFailure" in (await face.ask("POST", "/", body=b"{}", **target))[2]


async def test_a_preflight_is_answered_by_the_buckets_rules():
    face = Face("enforce")
    await face.bucket_with_rules()
    asked = {"origin": PAGE, "access-control-request-method": "PUT", "access-control-request-headers": "X-Amz-Date"}
    status, headers, text = await face.ask("OPTIONS", "/data/k", **asked)
    assert (status, text) == (200, b"")
    assert headers["access-control-allow-origin"] == PAGE
    assert headers["access-control-allow-methods"] == "GET, PUT"
    assert headers["access-control-allow-headers"] == "x-amz-date"
    assert (headers["access-control-max-age"], headers["access-control-expose-headers"]) == ("60", "ETag")
    assert (await face.ask("OPTIONS", "/k", **{**asked, "host": f"data.{HOST}"}))[0] == 200


@pytest.mark.parametrize(
    ("path", "changed", "status", "said"),
    [
        ("/data/k", {"origin": "https://example.org"}, 403, b"This CORS request is not allowed"),
        ("/data/k", {"origin": "https://example.com"}, 403, b"This CORS request is not allowed"),
        ("/data/k", {"access-control-request-method": "DELETE"}, 403, b"This CORS request is not allowed"),
        ("/data/k", {"access-control-request-headers": "x-other"}, 403, b"This CORS request is not allowed"),
        ("/data/k", {"access-control-request-method": "PATCH"}, 400, b"Invalid Access-Control-Request-Method: PATCH"),
        ("/data/k", {"origin": ""}, 400, b"Origin request header needed"),
        ("/other/k", {}, 403, b"CORS is not enabled for this bucket"),
    ],
)
async def test_a_preflight_that_no_rule_allows_is_refused(path, changed, status, said):
    face = Face()
    await face.bucket_with_rules()
    answer = await face.ask("OPTIONS", path, **{"origin": PAGE, "access-control-request-method": "PUT", **changed})
    assert (answer[0], said in answer[2]) == (status, True)


async def test_answers_and_errors_may_be_read_by_pages_that_a_rule_allows():
    face = Face()
    await face.bucket_with_rules()
    assert (await face.ask("PUT", "/data/k", body=b"v", origin=PAGE))[0] == 200
    status, headers, text = await face.ask("GET", "/data/k", origin=PAGE)
    assert (status, text, headers["access-control-allow-origin"]) == (200, b"v", PAGE)
    status, headers, _ = await face.ask("GET", "/data/none", origin=PAGE)
    assert (status, headers["access-control-allow-origin"]) == (404, PAGE)
    _, headers, _ = await face.ask("GET", "/data/k", origin="https://example.org")
    assert "access-control-allow-origin" not in headers
    assert "access-control-allow-origin" not in (await face.ask("GET", "/data/k"))[1]


CREATE_USER = {"body": b"Action=CreateUser&UserName=eve&Version=2010-05-08"}
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://203.0.113.5", "null", "http://localhost.evil.example"]
)
async def test_a_page_from_elsewhere_changes_nothing_on_an_open_node(origin):
    face = Face()
    await face.bucket_with_rules()
    status, headers, _ = await face.ask("POST", "/", content_type=FORM, origin=origin, **CREATE_USER)
    assert (status, "access-control-allow-origin" in headers) == (403, False)
    assert (await face.world.call("iam", "ListUsers"))["Users"] == []
    assert (await face.ask("POST", "/data", "delete", body=b"<Delete/>", origin=origin))[0] == 403
    assert "access-control-allow-origin" not in (await face.ask("OPTIONS", "/", origin=origin))[1]


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "http://app.localhost", "http://127.0.0.1:8080", "http://[::1]:1"]
)
async def test_a_page_of_this_machine_may_use_the_services(origin):
    face = Face()
    status, headers, _ = await face.ask("POST", "/", content_type=FORM, origin=origin, **CREATE_USER)
    assert (status, headers["access-control-allow-origin"]) == (200, origin)
    _, headers, _ = await face.ask("OPTIONS", "/", origin=origin, access_control_request_headers="x-amz-target")
    assert headers["access-control-allow-headers"] == "x-amz-target"


@pytest.mark.parametrize("encoding", [None, "aws-chunked"])
async def test_a_body_that_is_not_what_was_signed_is_not_kept(encoding, at_the_worlds_time):
    face = at_the_worlds_time(Face("enforce"))
    await face.world.call("s3", "CreateBucket", Bucket="data")
    body = b"5\r\nhello\r\n0\r\n\r\n"
    extra = {"content-encoding": encoding, "x-amz-decoded-content-length": "5"} if encoding else {}
    extra["x-amz-content-sha256"] = hashlib.sha256(body).hexdigest()
    named, _ = await signed(face, SigV4Auth, "s3", "PUT", f"http://{HOST}/data/k", extra, body)
    status, _, text = await face.ask("PUT", "/data/k", body=body.replace(b"hello", b"hallo"), **named)
    assert (status, b"XAmzContentSHA256Mismatch" in text) == (400, True)

    async def in_two():
        yield body.replace(b"hello", b"hallo")
        yield b"\r\n"

    assert (await face.ask("PUT", "/data/k", body=in_two(), **named))[0] == 400
    with pytest.raises(ServiceError, match="NoSuchKey"):
        await face.world.call("s3", "GetObject", Bucket="data", Key="k")
    assert (await face.ask("PUT", "/data/k", body=body, **named))[0] == 200
