import orjson
import pytest

from penstock.gateway.admin import Admin
from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import stream_of
from penstock.protocol.messages import HttpRequest


async def greet(members):
    return {"hello": members.get("name", "world")}


async def fail(members):
    raise ServiceError("Busy", "not now", status=409)


async def refuse(request):
    raise ServiceError("AccessDenied", "who are you?", status=403)


async def allow(request):
    return None


def admin(authorize=allow):
    actions = {("GET", "health"): greet, ("POST", "greet"): greet, ("POST", "fail"): fail}
    return Admin(actions, public=frozenset({("GET", "health")}), authorize=authorize)


async def ask(method, path, body=b"", *, face=None, **headers):
    named = {"host": "127.0.0.1:4566", **headers}
    answer = await (face or admin()).handle(HttpRequest(method, path, headers=named, body=stream_of(body)))
    return answer.status, orjson.loads(answer.body)


async def test_members_go_in_and_come_out_as_json():
    assert await ask("POST", "/_penstock/greet", b'{"name": "you"}') == (200, {"hello": "you"})
    assert await ask("GET", "/_penstock/health/") == (200, {"hello": "world"})


async def test_errors_keep_their_status_and_words():
    assert await ask("POST", "/_penstock/fail") == (409, {"code": "Busy", "message": "not now"})


async def test_an_unknown_path_names_the_known_ones():
    status, body = await ask("GET", "/_penstock/helth")
    assert (status, "GET /_penstock/health" in body["message"]) == (404, True)


@pytest.mark.parametrize("body", [b"{", b"[]", b"1", b'"' + b"x" * 70_000 + b'"'])
async def test_a_body_that_is_no_object_is_refused(body):
    assert (await ask("POST", "/_penstock/greet", body))[0] == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"host": "evil.example:4566"},
        {"origin": "http://evil.example:4566", "host": "evil.example:4566"},
        {"host": ""},
    ],
)
async def test_web_pages_of_other_origins_are_refused(headers):
    assert (await ask("GET", "/_penstock/health", **headers))[0] == 403


@pytest.mark.parametrize("host", ["localhost:4566", "[::1]:4566", "localhost.localstack.cloud:4566"])
async def test_its_own_page_may_ask(host):
    assert (await ask("GET", "/_penstock/health", host=host, origin=f"http://{host}"))[0] == 200


async def test_all_but_what_is_public_needs_authority():
    assert (await ask("GET", "/_penstock/health", face=admin(refuse)))[0] == 200
    assert (await ask("POST", "/_penstock/greet", face=admin(refuse)))[0] == 403
