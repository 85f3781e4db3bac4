"""Who may do what without a signature, with a wrong one, or with one that is over: on a node that checks."""

import json
import re
import socket

import pytest
import urllib3

pytestmark = [pytest.mark.real_clients, pytest.mark.xdist_group("signatures")]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, start_node):
    node = start_node(tmp_path_factory.mktemp("signatures") / "data", "--auth", "enforce")
    root = json.loads((node.data / "root-credentials.json").read_text())
    node.root = {"aws_access_key_id": root["AccessKeyId"], "aws_secret_access_key": root["SecretAccessKey"]}
    node.s3 = node.client("s3", **node.root)
    node.s3.create_bucket(Bucket="shut")
    node.s3.put_object(Bucket="shut", Key="k", Body=b"hello")
    node.s3.put_object(Bucket="shut", Key="public", Body=b"hello", ACL="public-read")
    node.s3.create_bucket(Bucket="wall", ACL="public-read-write")
    yield node
    assert node.stop() == 0


def ask(method, url, headers=None, body=None):
    answer = urllib3.request(method, url, headers=headers or {}, body=body, redirect=False, retries=False)
    found = re.search(b"<Code>(.*?)</Code>", answer.data)
    return answer.status, found[1].decode() if found else ""


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", (403, "AccessDenied")),
        ("GET", "/shut", (403, "AccessDenied")),
        ("GET", "/shut/k", (403, "AccessDenied")),
        ("HEAD", "/shut/k", (403, "")),
        ("GET", "/shut/public", (200, "")),
        ("GET", "/shut/public?acl", (403, "AccessDenied")),
        ("GET", "/shut/public?response-content-type=a", (400, "InvalidRequest")),
        ("DELETE", "/shut/public", (403, "AccessDenied")),
        ("GET", "/nowhere/k", (404, "NoSuchBucket")),
        ("GET", "/wall", (200, "")),
        ("GET", "/wall/none", (404, "NoSuchKey")),
        ("PUT", "/wall/k", (200, "")),
        ("DELETE", "/wall/k", (204, "")),
        ("DELETE", "/wall", (403, "AccessDenied")),
    ],
)
def test_nobody_in_particular_does_what_is_open_to_all(guarded, method, path, expected):
    assert ask(method, guarded.url + path, body=b"x" if method == "PUT" else None) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", (403, "AccessDenied")),
        ("AWS HAHAHA", (400, "InvalidArgument")),
        ("Bearer x", (400, "InvalidArgument")),
        ("AWS4-HMAC-SHA256 Credential=HAHAHA", (400, "AuthorizationHeaderMalformed")),
        ("AWS NOBODY:c2ln", (403, "InvalidAccessKeyId")),
    ],
)
def test_a_header_that_signs_nothing_is_refused(guarded, header, expected):
    assert ask("GET", f"{guarded.url}/shut/k", {"authorization": header}) == expected


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_a_presigned_url_is_good_for_its_request_alone(guarded, version):
    s3 = guarded.client("s3", signature=version, **guarded.root)
    url = s3.generate_presigned_url("get_object", {"Bucket": "shut", "Key": "k"})
    assert ask("GET", url) == (200, "")
    assert ask("GET", url.replace("/k?", "/other?")) == (403, "SignatureDoesNotMatch")
    assert ask("PUT", url, body=b"") == (403, "SignatureDoesNotMatch")
    old = {"s3v4": r"X-Amz-Date=\d{8}", "s3": r"Expires=\d+"}[version]
    new = {"s3v4": "X-Amz-Date=20200101", "s3": "Expires=1577836800"}[version]
    stale = re.sub(r"Credential=([^%]+)%2F\d{8}", r"Credential=\1%2F20200101", re.sub(old, new, url))
    assert ask("GET", stale) == (403, "AccessDenied")
    put = s3.generate_presigned_url("put_object", {"Bucket": "shut", "Key": "put", "ContentType": "a/b"})
    assert ask("PUT", put, {"content-type": "a/b"}, b"x") == (200, "")
    if version == "s3v4":  # version 2 carries the type in the query
        assert ask("PUT", put, {"content-type": "c/d"}, b"x") == (403, "SignatureDoesNotMatch")


def test_a_body_without_a_length_is_refused_and_an_expectation_is_answered_first(guarded):
    def talk(head):
        host, port = guarded.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
            return connection.recv(4096).split(b"\r\n")[0]

    assert talk("PUT /wall/k HTTP/1.1\nhost: localhost") == b"HTTP/1.1 411 Length Required"
    expecting = "HTTP/1.1\nhost: localhost\ncontent-length: 3\nexpect: 100-continue"
    assert talk(f"PUT /wall/k {expecting}") == b"HTTP/1.1 100 Continue"
    assert talk(f"PUT /shut/k {expecting}") == b"HTTP/1.1 403 Forbidden"
