"""Uploads as a browser makes them: a form and a signed policy, to a node that checks it."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
import urllib3

pytestmark = [pytest.mark.real_clients, pytest.mark.xdist_group("forms")]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, start_node):
    node = start_node(tmp_path_factory.mktemp("forms") / "data", "--auth", "enforce")
    root = json.loads((node.data / "root-credentials.json").read_text())
    node.root = {"aws_access_key_id": root["AccessKeyId"], "aws_secret_access_key": root["SecretAccessKey"]}
    node.s3 = node.client("s3", **node.root)
    node.s3.create_bucket(Bucket="forms")
    yield node
    assert node.stop() == 0


def post(node, fields, file=b"hello", filename="a.txt", bucket="forms"):
    parts = [*fields.items()] + ([("file", (filename, file, "text/plain"))] if file is not None else [])
    body, kind = urllib3.encode_multipart_formdata(parts)
    url = f"{node.url}/{bucket}"
    return urllib3.request("POST", url, body=body, headers={"content-type": kind}, redirect=False)


def signed(node, *conditions, version="s3v4", **fields):
    client = node.client("s3", signature=version, **node.root)
    known = [{name: value} for name, value in fields.items()]
    made = client.generate_presigned_post("forms", "${filename}", Fields=fields, Conditions=[*known, *conditions])
    return made["fields"]


def code(answer):
    text = answer.data.decode()
    return answer.status, text.partition("<Code>")[2].partition("</Code>")[0]


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_a_signed_form_puts_its_file_under_the_files_name(guarded, version):
    fields = signed(guarded, version=version, **{"x-amz-meta-m": "1", "Content-Type": "text/x"})
    answer = post(guarded, fields, b"x" * 200_000)
    assert (answer.status, answer.data) == (204, b"")
    got = guarded.s3.get_object(Bucket="forms", Key="a.txt")
    assert (got["Body"].read(), got["Metadata"], got["ContentType"]) == (b"x" * 200_000, {"m": "1"}, "text/x")
    assert answer.headers["etag"] == got["ETag"]


def test_the_form_says_how_it_is_answered(guarded):
    answer = post(guarded, signed(guarded, success_action_status="201"))
    assert answer.status == 201
    assert b"<Bucket>forms</Bucket><Key>a.txt</Key>" in answer.data
    answer = post(guarded, signed(guarded, success_action_redirect="http://localhost/done"))
    assert answer.status == 303
    assert answer.headers["location"].startswith("http://localhost/done?bucket=forms&key=a.txt&etag=")


def test_tags_come_as_a_document(guarded):
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"
    assert post(guarded, signed(guarded, tagging=tags)).status == 204
    assert guarded.s3.get_object_tagging(Bucket="forms", Key="a.txt")["TagSet"] == [{"Key": "a", "Value": "1"}]


@pytest.mark.parametrize(
    ("conditions", "change", "expected"),
    [
        ([["content-length-range", 10, 20]], {}, (400, "EntityTooSmall")),
        ([["content-length-range", 0, 2]], {}, (400, "EntityTooLarge")),
        ([["content-length-range", 0]], {}, (400, "InvalidPolicyDocument")),
        ([["starts-with", "$acl", "public"]], {}, (403, "AccessDenied")),
        ([], {"x-amz-meta-more": "1"}, (403, "AccessDenied")),
        ([], {"x-ignore-more": "1"}, (204, "")),
        ([], {"x-amz-signature": "0" * 64}, (403, "SignatureDoesNotMatch")),
        ([], {"x-amz-credential": "AKIANOBODY/20260101/us-east-1/s3/aws4_request"}, (403, "InvalidAccessKeyId")),
        ([], {"x-amz-signature": None}, (400, "InvalidArgument")),
        ([], {"key": None}, (400, "InvalidArgument")),
        ([], {"policy": None}, (400, "InvalidArgument")),
        ([], {"policy": "e30="}, (400, "InvalidPolicyDocument")),
        ([], {"file": None}, (400, "InvalidArgument")),
    ],
)
def test_a_form_that_its_policy_does_not_cover_is_refused(guarded, conditions, change, expected):
    fields = signed(guarded, *conditions) | change
    if "x-amz-credential" in change:  # the policy names whoever signs it
        policy = json.loads(base64.b64decode(fields["policy"]))
        policy["conditions"] = [c for c in policy["conditions"] if "x-amz-credential" not in c]
        policy["conditions"].append({"x-amz-credential": change["x-amz-credential"]})
        fields["policy"] = base64.b64encode(json.dumps(policy).encode()).decode()
    file = None if "file" in change else b"hello"
    fields = {name: value for name, value in fields.items() if value is not None}
    assert code(post(guarded, fields, file)) == expected


def test_a_policy_that_is_over_is_refused(guarded):
    past = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    policy = {"expiration": past, "conditions": [{"bucket": "forms"}, ["starts-with", "$key", ""]]}
    fields = signed(guarded) | {"policy": base64.b64encode(json.dumps(policy).encode()).decode()}
    assert code(post(guarded, fields)) == (403, "AccessDenied")


def test_nobody_posts_without_a_policy_but_where_everyone_may_write(guarded):
    assert code(post(guarded, {"key": "k"})) == (403, "AccessDenied")
    guarded.s3.create_bucket(Bucket="wall", ACL="public-read-write")
    assert post(guarded, {"key": "k"}, bucket="wall").status == 204
    assert guarded.s3.head_object(Bucket="wall", Key="k")["ContentLength"] == 5


def test_a_post_that_is_no_form_is_refused(guarded):
    answer = urllib3.request("POST", f"{guarded.url}/forms", body=b"x", headers={"content-type": "text/plain"})
    assert code(answer) == (412, "PreconditionFailed")
