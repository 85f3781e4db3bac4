import hashlib
import json

import pytest

from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Principal, Scope

OWNER, OTHER = "000000000000", "111111111111"
ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"


def canonical(account):
    return hashlib.sha256(account.encode()).hexdigest()


@pytest.fixture
def guarded(s3):
    s3.world.platform.auth = "enforce"
    return s3


def asks(s3, who, operation, **members):
    """What `who` (an account's root, or None for nobody) hears: "ok" or the error's code."""
    principal = Principal("anonymous", "", "anonymous", "") if who is None else None
    members.setdefault("Bucket", "bucket")

    async def call():
        context = s3.world.context(scope=Scope(who or OWNER), principal=principal)
        await context.call("s3", operation, members)
        return "ok"

    try:
        return s3.runner.run(call())
    except ServiceError as error:
        return error.code


def test_a_bucket_is_its_owners_alone_until_it_says_otherwise(guarded):
    guarded("PutObject", Key="k", Body=b"")
    for who in (None, OTHER):
        assert asks(guarded, who, "GetObject", Key="k") == "AccessDenied"
        assert asks(guarded, who, "ListObjectsV2") == "AccessDenied"
        assert asks(guarded, who, "PutObject", Key="new", Body=b"") == "AccessDenied"
        assert asks(guarded, who, "GetBucketAcl") == "AccessDenied"
        assert asks(guarded, who, "ListObjectsV2", Bucket="nowhere") == "NoSuchBucket"
    assert asks(guarded, OWNER, "GetObject", Key="k") == "ok"


def test_canned_acls_open_what_they_say_and_no_more(guarded):
    guarded("PutBucketAcl", ACL="public-read")
    guarded("PutObject", Key="open", Body=b"", ACL="public-read")
    guarded("PutObject", Key="shut", Body=b"")
    assert asks(guarded, None, "ListObjectsV2") == "ok"
    assert asks(guarded, None, "GetObject", Key="open") == "ok"
    assert asks(guarded, None, "GetObject", Key="shut") == "AccessDenied"
    assert asks(guarded, None, "GetObject", Key="missing") == "NoSuchKey"
    assert asks(guarded, None, "PutObject", Key="x", Body=b"") == "AccessDenied"
    guarded("PutBucketAcl", ACL="authenticated-read")
    assert asks(guarded, None, "ListObjectsV2") == "AccessDenied"
    assert asks(guarded, OTHER, "ListObjectsV2") == "ok"


def test_grants_name_an_account_and_what_it_may(guarded):
    guarded("PutBucketAcl", GrantRead=f'id="{canonical(OTHER)}"', GrantFullControl=f"id={canonical(OWNER)}")
    assert asks(guarded, OTHER, "ListObjectsV2") == "ok"
    assert asks(guarded, OTHER, "PutObject", Key="k", Body=b"") == "AccessDenied"
    assert asks(guarded, None, "ListObjectsV2") == "AccessDenied"
    told = guarded("GetBucketAcl")["Grants"]
    assert {(grant["Grantee"]["ID"], grant["Permission"]) for grant in told} == {
        (canonical(OTHER), "READ"),
        (canonical(OWNER), "FULL_CONTROL"),
    }


def test_what_another_account_writes_is_its_own_until_it_shares_it(guarded):
    guarded("PutBucketAcl", ACL="public-read-write")
    assert asks(guarded, OTHER, "PutObject", Key="k", Body=b"") == "ok"
    assert asks(guarded, OWNER, "GetObject", Key="k") == "AccessDenied"
    assert asks(guarded, OTHER, "GetObject", Key="k") == "ok"
    assert asks(guarded, OTHER, "PutObject", Key="k", Body=b"", ACL="bucket-owner-read") == "ok"
    assert asks(guarded, OWNER, "GetObject", Key="k") == "ok"
    controls = {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    guarded("PutBucketOwnershipControls", OwnershipControls=controls)
    assert asks(guarded, OTHER, "PutObject", Key="k", Body=b"", ACL="bucket-owner-full-control") == "ok"
    assert guarded("GetObjectAcl", Key="k")["Owner"]["ID"] == canonical(OWNER)


def test_a_bucket_without_acls_takes_none_but_the_owners(s3):
    s3("PutBucketOwnershipControls", OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]})
    assert s3.error("PutObject", Key="k", Body=b"", ACL="public-read") == ("AccessControlListNotSupported", 400)
    assert s3.error("PutBucketAcl", ACL="public-read") == ("AccessControlListNotSupported", 400)
    s3("PutObject", Key="k", Body=b"", ACL="bucket-owner-full-control")
    opened = {"Bucket": "open", "ACL": "public-read", "ObjectOwnership": "BucketOwnerEnforced"}
    assert s3.error("CreateBucket", **opened) == ("InvalidBucketAclWithObjectOwnership", 400)


def test_the_public_access_block_refuses_and_ignores_what_is_public(guarded):
    guarded("PutBucketAcl", ACL="public-read")
    guarded("PutPublicAccessBlock", PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
    assert asks(guarded, None, "ListObjectsV2") == "AccessDenied"
    blocks = {"BlockPublicAcls": True, "BlockPublicPolicy": True}
    guarded("PutPublicAccessBlock", PublicAccessBlockConfiguration=blocks)
    assert guarded.error("PutBucketAcl", ACL="public-read") == ("AccessDenied", 403)
    assert guarded.error("PutObject", Key="k", Body=b"", ACL="public-read") == ("AccessDenied", 403)
    assert guarded.error("PutBucketPolicy", Policy=policy("*")) == ("AccessDenied", 403)
    guarded("PutBucketPolicy", Policy=policy({"AWS": OTHER}))


def policy(principal, action="s3:GetObject", resource="bucket/*", **more):
    statement = {"Effect": "Allow", "Principal": principal, "Action": action, "Resource": f"arn:aws:s3:::{resource}"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement | more]})


def test_a_policy_lets_in_and_its_conditions_see_the_request_and_the_objects_tags(guarded):
    guarded("PutObject", Key="k", Body=b"", Tagging="team=a")
    guarded("PutObject", Key="l", Body=b"", Tagging="team=b")
    tagged = {"StringEquals": {"s3:ExistingObjectTag/team": "a"}}
    guarded("PutBucketPolicy", Policy=policy("*", Condition=tagged))
    assert asks(guarded, None, "GetObject", Key="k") == "ok"
    assert asks(guarded, None, "GetObject", Key="l") == "AccessDenied"
    prefixed = {"StringEquals": {"s3:prefix": "public/"}}
    guarded("PutBucketPolicy", Policy=policy({"AWS": OTHER}, "s3:ListBucket", "bucket", Condition=prefixed))
    assert asks(guarded, OTHER, "ListObjectsV2", Prefix="public/") == "ok"
    assert asks(guarded, OTHER, "ListObjectsV2") == "AccessDenied"


def test_a_copy_needs_to_read_its_source_and_to_write_its_target(guarded):
    guarded("PutObject", Key="k", Body=b"")
    guarded("CreateBucket", Bucket="target")
    guarded("PutBucketPolicy", Bucket="target", Policy=policy("*", "s3:PutObject", "target/*"))
    copy = {"Bucket": "target", "Key": "k", "CopySource": "bucket/k"}
    assert asks(guarded, OTHER, "CopyObject", **copy) == "AccessDenied"
    guarded("PutBucketPolicy", Policy=policy("*"))
    assert asks(guarded, OTHER, "CopyObject", **copy) == "ok"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (policy("*"), True),
        (policy({"AWS": "*"}), True),
        (policy({"AWS": OTHER}), False),
        (policy("*", Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}), False),
        (policy("*", Condition={"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}), True),
        (policy("*", Effect="Deny"), False),
    ],
)
def test_a_policys_status_says_whether_it_is_public(s3, given, expected):
    s3("PutBucketPolicy", Policy=given)
    assert s3("GetBucketPolicyStatus")["PolicyStatus"] == {"IsPublic": expected}


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"ACL": "open"}, "InvalidArgument"),
        ({"GrantRead": "id=_foo"}, "InvalidArgument"),
        ({"GrantRead": 'emailAddress="a@b.c"'}, "UnresolvableGrantByEmailAddress"),
        ({"GrantRead": "uri=http://nowhere"}, "InvalidArgument"),
        ({"ACL": "private", "GrantRead": f"uri={ALL_USERS}"}, "InvalidRequest"),
        ({}, "MissingSecurityHeader"),
        ({"AccessControlPolicy": {"Grants": []}}, "MalformedACLError"),
    ],
)
def test_an_acl_that_names_nobody_is_refused(s3, members, code):
    assert s3.error("PutBucketAcl", **members)[0] == code


def test_a_batch_is_judged_key_by_key(guarded):
    for key in ("mine/a", "mine/b", "theirs"):
        guarded("PutObject", Key=key, Body=b"")
    guarded("PutBucketPolicy", Policy=policy({"AWS": OTHER}, "s3:DeleteObject", "bucket/mine/*"))
    batch = {"Objects": [{"Key": "mine/a"}, {"Key": "theirs"}, {"Key": "mine/b"}]}

    async def delete():
        return await guarded.world.context(scope=Scope(OTHER)).call(
            "s3", "DeleteObjects", {"Bucket": "bucket", "Delete": batch}
        )

    answer = guarded.runner.run(delete())
    assert [entry["Key"] for entry in answer["Deleted"]] == ["mine/a", "mine/b"]
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [("theirs", "AccessDenied")]
    assert [entry["Key"] for entry in guarded("ListObjectsV2")["Contents"]] == ["theirs"]


def test_who_may_not_list_a_bucket_is_not_told_what_it_lacks(guarded):
    guarded("PutBucketPolicy", Policy=policy("*"))
    for who in (None, OTHER):
        assert asks(guarded, who, "GetObject", Key="none") == "AccessDenied"
        assert asks(guarded, who, "HeadObject", Key="none") == "AccessDenied"
    assert asks(guarded, OWNER, "GetObject", Key="none") == "NoSuchKey"
    guarded("PutBucketAcl", ACL="public-read")
    assert asks(guarded, None, "GetObject", Key="none") == "NoSuchKey"


def test_the_owners_root_is_never_locked_out_of_the_policy(guarded):
    guarded("PutBucketPolicy", Policy=policy("*", "s3:*", "bucket", Effect="Deny"))
    assert guarded.error("ListObjectsV2") == ("AccessDenied", 403)
    assert 'on resource: "arn:aws:s3:::bucket" with an explicit deny' in guarded.refusal.message
    guarded("GetBucketPolicy")
    assert asks(guarded, OTHER, "DeleteBucketPolicy") == "AccessDenied"
    guarded("DeleteBucketPolicy")
    guarded("ListObjectsV2")


def test_where_the_requester_pays_only_who_agrees_to_is_let_in(guarded):
    guarded("PutObject", Key="k", Body=b"", ACL="public-read")
    guarded("PutBucketRequestPayment", RequestPaymentConfiguration={"Payer": "Requester"})
    assert asks(guarded, None, "GetObject", Key="k") == "AccessDenied"
    assert asks(guarded, OTHER, "GetObject", Key="k") == "AccessDenied"
    assert asks(guarded, OTHER, "GetObject", Key="k", RequestPayer="requester") == "ok"
    assert guarded("GetObject", Key="k", RequestPayer="requester")["RequestCharged"] == "requester"
    assert "RequestCharged" not in guarded("GetObject", Key="k")
