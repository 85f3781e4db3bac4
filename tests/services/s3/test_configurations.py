import asyncio

import pytest

from penstock.kernel.errors import ServiceError
from penstock.services import s3 as room

POLICY = (
    '{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",'
    ' "Resource": "arn:aws:s3:::bucket/*"}]}'
)


@pytest.mark.parametrize(
    ("noun", "member", "value", "code"),
    [
        ("BucketPolicy", "Policy", POLICY, "NoSuchBucketPolicy"),
        (
            "BucketWebsite",
            "WebsiteConfiguration",
            {"IndexDocument": {"Suffix": "index.html"}},
            "NoSuchWebsiteConfiguration",
        ),
        (
            "BucketCors",
            "CORSConfiguration",
            {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]},
            "NoSuchCORSConfiguration",
        ),
        (
            "PublicAccessBlock",
            "PublicAccessBlockConfiguration",
            dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True),
            "NoSuchPublicAccessBlockConfiguration",
        ),
    ],
)
def test_a_configuration_is_read_back_until_it_is_deleted(world, noun, member, value, code):
    async def go():
        await world.call("s3", "CreateBucket", Bucket="bucket")
        await world.call("s3", f"Put{noun}", **{"Bucket": "bucket", member: value})
        read = await world.call("s3", f"Get{noun}", Bucket="bucket")
        assert read in ({member: value}, value)
        await world.call("s3", f"Delete{noun}", Bucket="bucket")
        await world.call("s3", f"Get{noun}", Bucket="bucket")

    with pytest.raises(ServiceError) as caught:
        asyncio.run(go())
    assert caught.value.code == code


def test_versions_are_listed_newest_first_and_paged_without_gap(world):
    async def go():
        await world.call("s3", "CreateBucket", Bucket="bucket")
        status = {"Status": "Enabled"}
        await world.call("s3", "PutBucketVersioning", Bucket="bucket", VersioningConfiguration=status)
        made = [
            (await world.call("s3", "PutObject", Bucket="bucket", Key=key, Body=b"1"))["VersionId"] for key in "aab"
        ]
        seen, marker = [], {}
        while True:
            page = await world.call("s3", "ListObjectVersions", Bucket="bucket", MaxKeys=1, **marker)
            seen += [(entry["VersionId"], entry["IsLatest"]) for entry in page["Versions"]]
            if not page["IsTruncated"]:
                return made, seen
            marker = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    made, seen = asyncio.run(go())
    assert seen == [(made[1], True), (made[0], False), (made[2], True)]


def test_every_permission_names_an_operation_that_is_built():
    assert all(room.SERVICE.find_operation(name) for name in room.SERVICE.access.permissions)


@pytest.mark.parametrize("policy", ["", "[]", "not json", "{}"])
def test_a_policy_without_statements_is_malformed(world, policy):
    async def go():
        await world.call("s3", "CreateBucket", Bucket="bucket")
        await world.call("s3", "PutBucketPolicy", Bucket="bucket", Policy=policy)

    with pytest.raises(ServiceError) as caught:
        asyncio.run(go())
    assert caught.value.code == "MalformedPolicy"


@pytest.mark.parametrize("kind", ["Metrics", "Analytics", "Inventory", "IntelligentTiering"])
def test_configurations_by_id_are_paged_by_a_hundred_without_gap(world, kind):
    member = f"{kind}Configuration"

    async def go():
        await world.call("s3", "CreateBucket", Bucket="bucket")
        for number in range(101):
            name = f"{number:03}"
            await world.call("s3", f"PutBucket{member}", **{"Bucket": "bucket", "Id": name, member: {"Id": name}})
        first = await world.call("s3", f"ListBucket{member}s", Bucket="bucket")
        token = first["NextContinuationToken"]
        second = await world.call("s3", f"ListBucket{member}s", Bucket="bucket", ContinuationToken=token)
        await world.call("s3", f"DeleteBucket{member}", Bucket="bucket", Id="007")
        with pytest.raises(ServiceError) as caught:
            await world.call("s3", f"GetBucket{member}", Bucket="bucket", Id="007")
        return first, second, caught.value.code

    first, second, code = asyncio.run(go())
    assert [entry["Id"] for page in (first, second) for entry in page[f"{member}List"]] == [
        f"{number:03}" for number in range(101)
    ]
    assert (first["IsTruncated"], second["IsTruncated"], code) == (True, False, "NoSuchConfiguration")


def test_payer_logging_and_acceleration_answer_aws_defaults_until_set(world):
    async def go():
        await world.call("s3", "CreateBucket", Bucket="bucket")
        names = ["GetBucketRequestPayment", "GetBucketLogging", "GetBucketAccelerateConfiguration"]
        before = [await world.call("s3", name, Bucket="bucket") for name in names]
        payer, status = {"Payer": "Requester"}, {"Status": "Enabled"}
        await world.call("s3", "PutBucketRequestPayment", Bucket="bucket", RequestPaymentConfiguration=payer)
        await world.call("s3", "PutBucketAccelerateConfiguration", Bucket="bucket", AccelerateConfiguration=status)
        return before, [await world.call("s3", name, Bucket="bucket") for name in names]

    before, after = asyncio.run(go())
    assert before == [{"Payer": "BucketOwner"}, {}, {}]
    assert after == [{"Payer": "Requester"}, {}, {"Status": "Enabled"}]


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("PutObject", {"Key": "key", "Body": b"new"}),
        ("GetObject", {"Key": "key"}),
        ("DeleteObject", {"Key": "key"}),
        ("ListObjectsV2", {}),
        ("GetBucketTagging", {}),
        ("CreateMultipartUpload", {"Key": "key"}),
        ("HeadBucket", {}),
        ("CopyObject", {"Key": "key", "CopySource": "bucket/key", "MetadataDirective": "REPLACE"}),
        ("DeleteBucket", {}),
    ],
)
def test_a_bucket_of_another_than_the_expected_owner_is_denied_and_untouched(world, operation, members):
    async def go():
        await world.call("s3", "CreateBucket", Bucket="bucket")
        await world.call("s3", "PutObject", Bucket="bucket", Key="key", Body=b"old")
        with pytest.raises(ServiceError) as caught:
            await world.call("s3", operation, Bucket="bucket", ExpectedBucketOwner="999999999999", **members)
        return caught.value, await world.call("s3", "HeadObject", Bucket="bucket", Key="key")

    error, answer = asyncio.run(go())
    assert (error.code, error.status, answer["ContentLength"]) == ("AccessDenied", 403, 3)


def test_a_copy_checks_the_owner_of_its_source(world):
    async def go():
        await world.call("s3", "CreateBucket", Bucket="bucket")
        await world.call("s3", "PutObject", Bucket="bucket", Key="key", Body=b"old")
        members = {"Bucket": "bucket", "Key": "copy", "CopySource": "bucket/key"}
        await world.call("s3", "CopyObject", **members, ExpectedSourceBucketOwner="999999999999")

    with pytest.raises(ServiceError) as caught:
        asyncio.run(go())
    assert caught.value.code == "AccessDenied"


@pytest.mark.parametrize(
    ("operation", "members", "code"),
    [
        ("PutBucketWebsite", {"WebsiteConfiguration": {}}, "InvalidArgument"),
        ("PutBucketWebsite", {"WebsiteConfiguration": {"IndexDocument": {"Suffix": "a/b"}}}, "InvalidArgument"),
        (
            "PutBucketWebsite",
            {"WebsiteConfiguration": {"RedirectAllRequestsTo": {"HostName": "h", "Protocol": "ftp"}}},
            "InvalidRequest",
        ),
        (
            "PutBucketLogging",
            {"BucketLoggingStatus": {"LoggingEnabled": {"TargetBucket": "none", "TargetPrefix": ""}}},
            "InvalidTargetBucketForLogging",
        ),
        ("PutBucketCors", {"CORSConfiguration": {"CORSRules": [{"AllowedMethods": ["GET"]}]}}, "MalformedXML"),
        (
            "PutBucketCors",
            {"CORSConfiguration": {"CORSRules": [{"AllowedMethods": ["PATCH"], "AllowedOrigins": ["*"]}]}},
            "InvalidRequest",
        ),
        (
            "PutBucketCors",
            {"CORSConfiguration": {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*.*"]}]}},
            "InvalidRequest",
        ),
        ("PutBucketTagging", {"Tagging": {"TagSet": [{"Key": "k%", "Value": ""}]}}, "InvalidTag"),
        ("PutBucketTagging", {"Tagging": {"TagSet": [{"Key": "aws:k", "Value": ""}]}}, "InvalidTag"),
        (
            "PutBucketOwnershipControls",
            {"OwnershipControls": {"Rules": [{"ObjectOwnership": "Mine"}]}},
            "MalformedXML",
        ),
        ("PutPublicAccessBlock", {"PublicAccessBlockConfiguration": {}}, "InvalidRequest"),
        (
            "PutBucketEncryption",
            {
                "ServerSideEncryptionConfiguration": {
                    "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256", "KMSMasterKeyID": "k"}}]
                }
            },
            "InvalidArgument",
        ),
        (
            "CreateBucket",
            {"Bucket": "new", "CreateBucketConfiguration": {"LocationConstraint": "mars"}},
            "InvalidLocationConstraint",
        ),
        (
            "CreateBucket",
            {"Bucket": "new", "CreateBucketConfiguration": {"LocationConstraint": "us-east-1"}},
            "InvalidLocationConstraint",
        ),
    ],
)
def test_a_configuration_that_s3_would_refuse_is_refused(s3, operation, members, code):
    assert s3.error(operation, **members) == (code, 400)


def test_a_bucket_is_made_with_its_tags(s3):
    tags = [{"Key": "team", "Value": "data"}]
    s3("CreateBucket", Bucket="tagged", CreateBucketConfiguration={"Tags": tags})
    assert s3("GetBucketTagging", Bucket="tagged")["TagSet"] == tags
