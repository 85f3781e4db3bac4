import orjson
import pytest

from penstock.gateway.function_urls import Called, FunctionUrls, event_of, is_function_url, response_of
from penstock.kernel.streams import stream_of
from penstock.protocol.messages import HttpRequest

ID = "abcdefghijklmnopqrstuvwxyz234567"
HOST = f"{ID}.lambda-url.eu-west-1.localhost:4566"


def request(method="GET", path="/", query="", body=b"", **headers):
    named = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return HttpRequest(method, path, query, named, stream_of(body), source_ip="10.0.0.9")


def as_event(asked, body=b""):
    return event_of(asked, body, id=ID, request_id="r", now_ms=1_780_000_000_000)


def test_a_host_names_a_function():
    assert is_function_url(HOST)
    assert not is_function_url("bucket.localhost:4566")
    assert not is_function_url("short.lambda-url.eu-west-1.localhost")


def test_a_request_becomes_an_event_in_format_two():
    asked = request(
        "POST", "/a%20b/c", "x=1&x=2&y=%26", cookie="a=1; b=2", content_type="application/json", user_agent="u"
    )
    event = as_event(asked, b'{"k": 1}')
    assert (event["version"], event["rawPath"], event["rawQueryString"]) == ("2.0", "/a b/c", "x=1&x=2&y=%26")
    assert event["queryStringParameters"] == {"x": "1,2", "y": "&"}
    assert event["cookies"] == ["a=1", "b=2"]
    assert (event["body"], event["isBase64Encoded"]) == ('{"k": 1}', False)
    assert "cookie" not in event["headers"]
    context = event["requestContext"]
    assert context["http"] == {
        "method": "POST",
        "path": "/a b/c",
        "protocol": "HTTP/1.1",
        "sourceIp": "10.0.0.9",
        "userAgent": "u",
    }
    assert (context["apiId"], context["timeEpoch"]) == (ID, 1_780_000_000_000)
    assert context["time"] == "28/May/2026:20:26:40 +0000"


def test_other_bodies_travel_as_base64():
    event = as_event(request("POST", content_type="image/png"), b"\x00\xff")
    assert (event["body"], event["isBase64Encoded"]) == ("AP8=", True)


@pytest.mark.parametrize(
    ("payload", "status", "body", "header"),
    [
        (b'{"statusCode": 201, "headers": {"X-A": "b"}, "body": "hi"}', 201, b"hi", ("X-A", "b")),
        (b'{"statusCode": 200, "body": "AP8=", "isBase64Encoded": true}', 200, b"\x00\xff", None),
        (b'{"statusCode": 200, "cookies": ["a=1"]}', 200, b"", ("Set-Cookie", "a=1")),
        (b'{"message": "hi"}', 200, b'{"message": "hi"}', ("Content-Type", "application/json")),
        (b'"text"', 200, b"text", ("Content-Type", "application/json")),
        (b"null", 200, b"null", None),
    ],
)
def test_an_answer_becomes_a_response(payload, status, body, header):
    answer = response_of(payload)
    assert (answer.status, answer.body) == (status, body)
    assert header is None or header in answer.headers


@pytest.mark.parametrize("payload", [b"{", b'{"statusCode": "x"}', b'{"statusCode": 99}'])
def test_an_answer_that_can_be_none_is_a_bad_gateway(payload):
    assert response_of(payload) is None


def face(called, cors=None):
    async def call(asked, id, event):
        assert orjson.loads(event)["requestContext"]["apiId"] == id
        return called

    async def find_cors(id):
        return cors or {}

    return FunctionUrls(call, find_cors, now_ms=lambda: 1, new_id=lambda: "request-1")


async def test_failures_and_refusals_have_their_status():
    assert (await face(Called(b"{}", has_failed=True)).handle(request())).status == 502
    refused = await face(Called(refusal=(403, "Forbidden"))).handle(request())
    assert (refused.status, orjson.loads(refused.body)) == (403, {"Message": "Forbidden"})
    assert (await face(Called(b"{}")).handle(request("POST", body=b"x" * 7_000_000))).status == 413


async def test_cors_is_answered_as_configured():
    cors = {"AllowOrigins": ["https://a.example"], "AllowMethods": ["GET"], "MaxAge": 60}
    asked = request("OPTIONS", origin="https://a.example", access_control_request_method="GET")
    headers = dict((await face(Called(b"1"), cors).handle(asked)).headers)
    assert headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert headers["Access-Control-Max-Age"] == "60"
    other = dict((await face(Called(b"1"), cors).handle(request(origin="https://b.example"))).headers)
    assert "Access-Control-Allow-Origin" not in other
