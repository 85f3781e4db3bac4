"""What S3 says to requests that are wrong, as it goes over the wire: status, code, and the headers that matter."""

import re

import pytest
import urllib3

pytestmark = [pytest.mark.real_clients, pytest.mark.xdist_group("node")]
SIGNED = {
    "authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host,"
    " Signature=0",
    "x-amz-date": "20260101T000000Z",
}
TEN = '"781e5e245d69b566979b86e28d23f2c7"'


@pytest.fixture(scope="module")
def call(node):
    s3 = node.client("s3")
    for bucket in ("errors", "errors-versioned"):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket="errors", Key="ten", Body=b"0123456789")
    s3.put_object(Bucket="errors", Key="empty", Body=b"")
    s3.put_bucket_versioning(Bucket="errors-versioned", VersioningConfiguration={"Status": "Enabled"})

    def send(method, path, headers=None, body=b""):
        answer = urllib3.request(
            method, node.url + path, headers=SIGNED | (headers or {}), body=body, redirect=False, retries=False
        )
        found = re.search(b"<Code>(.*?)</Code>", answer.data)
        answer.code = found[1].decode() if found else ""
        return answer

    send.s3 = s3
    return send


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "code"),
    [
        ("PUT", "/errors/k", {"content-md5": ""}, b"x", 400, "InvalidDigest"),
        ("PUT", "/errors/k", {"content-md5": "YWJj"}, b"x", 400, "InvalidDigest"),
        ("PUT", "/errors/k", {"content-md5": "rL0Y20zC+Fzt72VPzMSk2A=="}, b"x", 400, "BadDigest"),
        ("PUT", "/errors/k", {"x-amz-checksum-crc32": "AAAAAA=="}, b"x", 400, "BadDigest"),
        ("PUT", "/errors/k", {"x-amz-checksum-sha256": "bad"}, b"x", 400, "InvalidRequest"),
        ("PUT", "/errors/k", {"x-amz-sdk-checksum-algorithm": "FOO"}, b"x", 400, "InvalidRequest"),
        ("PUT", "/errors/k", {"x-amz-meta-m": "v" * 2050}, b"x", 400, "MetadataTooLarge"),
        ("PUT", "/errors/k", {"x-amz-storage-class": "FOO"}, b"x", 400, "InvalidStorageClass"),
        ("PUT", "/errors/k", {"x-amz-tagging": "a=1&a=2"}, b"x", 400, "InvalidTag"),
        ("PUT", "/errors/k", {"x-amz-tagging": "&".join(f"{n}=" for n in range(11))}, b"x", 400, "BadRequest"),
        ("PUT", "/errors/" + "k" * 1025, {}, b"x", 400, "KeyTooLongError"),
        ("PUT", "/errors/k", {"x-amz-copy-source": "errors"}, b"", 400, "InvalidArgument"),
        ("PUT", "/errors/k", {"x-amz-copy-source": "errors/none"}, b"", 404, "NoSuchKey"),
        ("PUT", "/errors/k", {"if-none-match": "*", "if-match": '"x"'}, b"", 404, "NoSuchKey"),
        ("PUT", "/errors/ten", {"if-none-match": "*"}, b"", 412, "PreconditionFailed"),
        ("PUT", "/errors/ten", {"if-match": '"x"'}, b"", 412, "PreconditionFailed"),
        ("GET", "/errors?max-keys=blah", {}, b"", 400, "InvalidArgument"),
        ("GET", "/errors?list-type=2&max-keys=-1", {}, b"", 400, "InvalidArgument"),
        ("GET", "/errors?encoding-type=foo", {}, b"", 400, "InvalidArgument"),
        ("POST", "/errors?delete", {}, b"<Delete><Object/></Delete>", 400, "MalformedXML"),
        ("POST", "/errors?delete", {}, b"<Delete", 400, "MalformedXML"),
        ("POST", "/errors?delete", {}, b"<Delete/>", 400, "MalformedXML"),
        ("PUT", "/errors?versioning", {}, b"<VersioningConfiguration/>", 400, "MalformedXML"),
        ("PUT", "/errors?versioning", {}, b"<Other/>", 400, "MalformedXML"),
        ("GET", "/errors/k?uploadId=nope", {}, b"", 404, "NoSuchUpload"),
        ("PUT", "/errors/k?partNumber=abc&uploadId=nope", {}, b"x", 400, "InvalidArgument"),
        ("PUT", "/errors/k?partNumber=10001&uploadId=nope", {}, b"x", 400, "InvalidArgument"),
        ("PUT", "/errors/k?partNumber=1&uploadId=nope", {}, b"x", 404, "NoSuchUpload"),
        ("PUT", "/Bad_Name", {}, b"", 400, "InvalidBucketName"),
        ("PUT", "/dot.-dash", {}, b"", 400, "InvalidBucketName"),
        ("PUT", "/192.168.1.1", {}, b"", 400, "InvalidBucketName"),
        ("PUT", "/ab", {}, b"", 400, "InvalidBucketName"),
        ("GET", "/no-such-bucket/k", {}, b"", 404, "NoSuchBucket"),
        ("HEAD", "/no-such-bucket", {}, b"", 404, ""),
        ("GET", "/errors/none", {}, b"", 404, "NoSuchKey"),
        ("HEAD", "/errors/none", {}, b"", 404, ""),
        ("DELETE", "/errors", {}, b"", 409, "BucketNotEmpty"),
        ("DELETE", "/no-such-bucket", {}, b"", 404, "NoSuchBucket"),
        ("GET", "/errors/ten", {"range": "bytes=10-"}, b"", 416, "InvalidRange"),
        ("GET", "/errors/ten", {"range": "bytes=-0"}, b"", 416, "InvalidRange"),
        ("GET", "/errors/empty", {"range": "bytes=0-"}, b"", 416, "InvalidRange"),
        ("GET", "/errors/ten", {"range": "bytes=5-2"}, b"", 200, ""),
        ("GET", "/errors/ten", {"range": "bytes=0-1,3-4"}, b"", 200, ""),
        ("GET", "/errors/ten", {"range": "bytes=9-99"}, b"", 206, ""),
        ("GET", "/errors/ten?partNumber=2", {}, b"", 416, "InvalidPartNumber"),
        ("GET", "/errors/ten", {"if-match": '"x"', "if-none-match": TEN}, b"", 412, "PreconditionFailed"),
        ("GET", "/errors/ten", {"if-match": TEN, "if-none-match": TEN}, b"", 304, ""),
        ("GET", "/errors/ten", {"if-modified-since": "Tue, 01 Jan 2030 00:00:00 GMT"}, b"", 304, ""),
        ("GET", "/errors/ten", {"if-modified-since": "garbage"}, b"", 200, ""),
        ("GET", "/errors/ten?versionId=", {}, b"", 400, "InvalidArgument"),
        ("GET", "/errors/ten?versionId=foo", {}, b"", 400, "InvalidArgument"),
        ("GET", f"/errors/ten?versionId={'0' * 32}", {}, b"", 404, "NoSuchVersion"),
        ("PATCH", "/errors/ten", {}, b"", 405, "MethodNotAllowed"),
        ("POST", "/errors/ten", {}, b"", 405, "MethodNotAllowed"),
        ("PUT", "/errors?acl", {"x-amz-acl": "foo"}, b"", 400, "InvalidArgument"),
        ("PUT", "/errors?acl", {}, b"", 400, "MissingSecurityHeader"),
        ("GET", "/errors?cors", {}, b"", 404, "NoSuchCORSConfiguration"),
        ("GET", "/errors?tagging", {}, b"", 404, "NoSuchTagSet"),
        ("GET", "/errors?lifecycle", {}, b"", 404, "NoSuchLifecycleConfiguration"),
        ("GET", "/errors?object-lock", {}, b"", 404, "ObjectLockConfigurationNotFoundError"),
        ("GET", "/errors/ten?retention", {}, b"", 400, "InvalidRequest"),
        ("PUT", "/errors?policy", {}, b"{", 400, "MalformedPolicy"),
        ("PUT", "/errors/k", {"x-amz-website-redirect-location": "ftp://x"}, b"x", 400, "InvalidRedirectLocation"),
        ("PUT", "/errors/k", {"x-amz-sdk-checksum-algorithm": "CRC32"}, b"x", 400, "InvalidRequest"),
        ("POST", "/errors?delete", {"content-md5": "rL0Y20zC+Fzt72VPzMSk2A=="}, b"<Delete/>", 400, "BadDigest"),
        ("POST", "/errors?delete", {"content-md5": "x"}, b"<Delete/>", 400, "InvalidDigest"),
        ("PUT", "/errors?tagging", {"x-amz-checksum-crc32": "AAAAAA=="}, b"<Tagging/>", 400, "BadDigest"),
    ],
)
def test_a_wrong_request_hears_what_s3_says(call, method, path, headers, body, status, code):
    answer = call(method, path, headers, body)
    assert (answer.status, answer.code) == (status, code)


def test_an_unchanged_object_is_told_by_its_tag_and_date(call):
    answer = call("GET", "/errors/ten", {"if-none-match": TEN})
    assert (answer.status, answer.headers["etag"]) == (304, TEN)
    assert "last-modified" in answer.headers


def test_a_delete_marker_shows_in_the_headers_and_forbids_by_its_own_id(call):
    call.s3.put_object(Bucket="errors-versioned", Key="k", Body=b"")
    marker = call.s3.delete_object(Bucket="errors-versioned", Key="k")["VersionId"]
    for method in ("GET", "HEAD"):
        hidden = call(method, "/errors-versioned/k")
        assert (hidden.status, hidden.headers["x-amz-delete-marker"]) == (404, "true")
        assert hidden.headers["x-amz-version-id"] == marker
        named = call(method, f"/errors-versioned/k?versionId={marker}")
        assert (named.status, named.headers["x-amz-delete-marker"], named.headers["allow"]) == (405, "true", "DELETE")
    copy = call("PUT", "/errors/copy", {"x-amz-copy-source": f"errors-versioned/k?versionId={marker}"})
    assert (copy.status, copy.code) == (400, "InvalidRequest")


def test_headers_of_the_answer_are_what_the_query_says(call):
    names = {"content-type": "a/b", "cache-control": "no", "content-disposition": "d", "content-language": "l"}
    names |= {"expires": "tomorrow", "content-encoding": "e"}
    query = "&".join(f"response-{name}={value}" for name, value in names.items())
    answer = call("GET", f"/errors/ten?{query}")
    assert {name: answer.headers[name] for name in names} == names


def test_an_expiry_that_is_no_date_comes_back_as_it_came(call):
    call("PUT", "/errors/stale", {"expires": "tomorrow"}, b"x")
    assert call("GET", "/errors/stale").headers["expires"] == "tomorrow"


def test_a_restore_is_accepted_and_a_second_one_prolongs_it(call):
    call("PUT", "/errors/cold", {"x-amz-storage-class": "GLACIER"}, b"x")
    wanted = b"<RestoreRequest><Days>1</Days></RestoreRequest>"
    assert [call("POST", "/errors/cold?restore", {}, wanted).status for _ in range(2)] == [202, 200]


@pytest.mark.parametrize("value", [b"Hello\xe9", "h\u00e9llo \u65e5".encode()], ids=["latin-1", "utf-8"])
def test_metadata_goes_out_in_the_bytes_it_came_in(call, value):
    call("PUT", "/errors/bytes", {"x-amz-meta-m": value}, b"x")
    assert call("GET", "/errors/bytes").headers["x-amz-meta-m"].encode("latin-1") == value


@pytest.mark.parametrize(
    "key", ["a//b", "/lead", "..", "a/../b", "?q", "&=;:@$,", "\u65e5/\u00fc", "tab\t", "<x>", "%41", "+"]
)
def test_any_key_is_a_key(call, key):
    s3, named = call.s3, {"Bucket": "errors-versioned", "Key": key}
    s3.put_object(**named, Body=b"x")
    s3.copy_object(Bucket="errors-versioned", Key=f"copy/{key}", CopySource=named)
    assert s3.get_object(Bucket="errors-versioned", Key=f"copy/{key}")["Body"].read() == b"x"
    listed = s3.list_objects_v2(Bucket="errors-versioned", Prefix=key)["Contents"]
    assert key in [entry["Key"] for entry in listed]
    assert not s3.delete_objects(Bucket="errors-versioned", Delete={"Objects": [{"Key": key}]}).get("Errors")
