"""S3's sub-resources through boto3 against a running node: what is put comes back as AWS gives it."""

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.real_clients
ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"


@pytest.fixture(scope="module")
def s3(node):
    return node.client("s3")


@pytest.fixture
def bucket(s3, request):
    name = f"wire-{abs(hash(request.node.nodeid)):x}"
    s3.create_bucket(Bucket=name)
    return name


def code_of(call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    return caught.value.response["Error"]["Code"]


def told(answer):
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


CORS = {
    "CORSRules": [
        {
            "ID": "a",
            "AllowedHeaders": ["*"],
            "AllowedMethods": ["GET", "PUT"],
            "AllowedOrigins": ["https://*.example.com"],
            "ExposeHeaders": ["ETag"],
            "MaxAgeSeconds": 60,
        }
    ]
}
WEBSITE = {
    "IndexDocument": {"Suffix": "index.html"},
    "ErrorDocument": {"Key": "error.html"},
    "RoutingRules": [
        {"Condition": {"KeyPrefixEquals": "docs/"}, "Redirect": {"ReplaceKeyPrefixWith": "documents/"}},
    ],
}
ENCRYPTION = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]}
BLOCK = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": False, "RestrictPublicBuckets": False}
OWNERSHIP = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
SUB_RESOURCES = [
    pytest.param("cors", CORS, "CORSConfiguration", None, "NoSuchCORSConfiguration", id="cors"),
    pytest.param("website", WEBSITE, "WebsiteConfiguration", None, "NoSuchWebsiteConfiguration", id="website"),
    pytest.param(
        "ownership_controls",
        OWNERSHIP,
        "OwnershipControls",
        "OwnershipControls",
        "OwnershipControlsNotFoundError",
        id="ownership",
    ),
    pytest.param("tagging", {"TagSet": [{"Key": "k", "Value": "v ü"}]}, "Tagging", None, "NoSuchTagSet", id="tagging"),
]


@pytest.mark.parametrize(("name", "config", "member", "under", "code"), SUB_RESOURCES)
def test_a_sub_resource_comes_back_and_goes(s3, bucket, name, config, member, under, code):
    get = getattr(s3, f"get_bucket_{name}")
    if name != "ownership_controls":
        assert code_of(get, Bucket=bucket) == code
    getattr(s3, f"put_bucket_{name}")(Bucket=bucket, **{member: config})
    found = told(get(Bucket=bucket))
    assert (found[under] if under else found) == config
    getattr(s3, f"delete_bucket_{name}")(Bucket=bucket)
    assert code_of(get, Bucket=bucket) == code


def test_encryption_is_sse_s3_until_told_otherwise(s3, bucket):
    config = "ServerSideEncryptionConfiguration"
    assert s3.get_bucket_encryption(Bucket=bucket)[config] == ENCRYPTION
    kms = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "k1"}}]}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=kms)
    rule = s3.get_bucket_encryption(Bucket=bucket)[config]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"] == kms["Rules"][0]["ApplyServerSideEncryptionByDefault"]
    s3.delete_bucket_encryption(Bucket=bucket)
    assert s3.get_bucket_encryption(Bucket=bucket)[config] == ENCRYPTION


def test_the_public_access_block_comes_back_and_goes(s3, bucket):
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=BLOCK)
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == BLOCK
    s3.delete_public_access_block(Bucket=bucket)
    assert code_of(s3.get_public_access_block, Bucket=bucket) == "NoSuchPublicAccessBlockConfiguration"


def test_logging_payer_and_acceleration(s3, bucket):
    assert told(s3.get_bucket_logging(Bucket=bucket)) == {}
    logging = {"LoggingEnabled": {"TargetBucket": bucket, "TargetPrefix": "l/"}}
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=logging)
    assert told(s3.get_bucket_logging(Bucket=bucket)) == logging
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    assert told(s3.get_bucket_logging(Bucket=bucket)) == {}
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "Requester"
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
    s3.put_bucket_accelerate_configuration(Bucket=bucket, AccelerateConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_accelerate_configuration(Bucket=bucket)["Status"] == "Enabled"


INVENTORY = {
    "Id": "i",
    "IsEnabled": True,
    "IncludedObjectVersions": "Current",
    "Schedule": {"Frequency": "Daily"},
    "OptionalFields": ["Size"],
    "Destination": {"S3BucketDestination": {"Bucket": "arn:aws:s3:::b", "Format": "CSV", "Prefix": "p"}},
}
ANALYTICS = {
    "Id": "i",
    "Filter": {"And": {"Prefix": "p", "Tags": [{"Key": "a", "Value": "b"}]}},
    "StorageClassAnalysis": {
        "DataExport": {
            "OutputSchemaVersion": "V_1",
            "Destination": {"S3BucketDestination": {"Format": "CSV", "Bucket": "arn:aws:s3:::b"}},
        }
    },
}
TIERING = {"Id": "i", "Status": "Enabled", "Tierings": [{"Days": 90, "AccessTier": "ARCHIVE_ACCESS"}]}
BY_ID = [
    ("metrics", "MetricsConfiguration", {"Id": "i", "Filter": {"Prefix": "p"}}),
    ("analytics", "AnalyticsConfiguration", ANALYTICS),
    ("inventory", "InventoryConfiguration", INVENTORY),
    ("intelligent_tiering", "IntelligentTieringConfiguration", TIERING),
]


@pytest.mark.parametrize(("name", "member", "config"), BY_ID, ids=[name for name, _, _ in BY_ID])
def test_a_configuration_by_id_comes_back_is_listed_and_goes(s3, bucket, name, member, config):
    get, listed = getattr(s3, f"get_bucket_{name}_configuration"), getattr(s3, f"list_bucket_{name}_configurations")
    assert f"{member}List" not in listed(Bucket=bucket)
    getattr(s3, f"put_bucket_{name}_configuration")(Bucket=bucket, Id="i", **{member: config})
    assert get(Bucket=bucket, Id="i")[member] == config
    assert listed(Bucket=bucket)[f"{member}List"] == [config]
    getattr(s3, f"delete_bucket_{name}_configuration")(Bucket=bucket, Id="i")
    assert code_of(get, Bucket=bucket, Id="i") == "NoSuchConfiguration"


def test_a_bucket_is_found_by_its_head_its_place_and_the_list(s3, bucket, node):
    head = s3.head_bucket(Bucket=bucket)
    assert head["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket=bucket).get("LocationConstraint") is None
    assert bucket in [found["Name"] for found in s3.list_buckets()["Buckets"]]
    page = s3.list_buckets(Prefix=bucket, MaxBuckets=1)
    assert [found["BucketRegion"] for found in page["Buckets"]] == ["us-east-1"]
    assert code_of(s3.head_bucket, Bucket="never-made") == "404"
    abroad = node.client("s3", region_name="eu-west-1")
    abroad.create_bucket(Bucket=f"{bucket}-eu", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert abroad.get_bucket_location(Bucket=f"{bucket}-eu")["LocationConstraint"] == "eu-west-1"


def test_object_tags_come_with_the_object(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1&b=%C3%BC")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [
        {"Key": "a", "Value": "1"},
        {"Key": "b", "Value": "ü"},
    ]
    assert s3.get_object(Bucket=bucket, Key="k")["TagCount"] == 2
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "z", "Value": ""}]})
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "z", "Value": ""}]
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []


def test_attributes_say_what_is_known_of_an_object(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ChecksumAlgorithm="SHA256")
    found = s3.get_object_attributes(
        Bucket=bucket, Key="k", ObjectAttributes=["ETag", "Checksum", "ObjectSize", "StorageClass", "ObjectParts"]
    )
    assert found["ETag"] == "9dd4e461268c8034f5c8564e155c67a6"
    assert found["ObjectSize"] == 1
    assert found["StorageClass"] == "STANDARD"
    assert found["Checksum"]["ChecksumSHA256"] == "LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE="


def test_versions_and_markers_are_listed_page_by_page(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    for key in ("a", "b"):
        for body in (b"1", b"2", b"3"):
            s3.put_object(Bucket=bucket, Key=key, Body=body)
    s3.delete_object(Bucket=bucket, Key="a")
    pages = list(s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2}))
    versions = [(v["Key"], v["IsLatest"]) for page in pages for v in page.get("Versions", [])]
    markers = [(v["Key"], v["IsLatest"]) for page in pages for v in page.get("DeleteMarkers", [])]
    assert versions == [("a", False)] * 3 + [("b", True), ("b", False), ("b", False)]
    assert markers == [("a", True)]
    assert len(pages) == 4


def test_a_multipart_upload_is_seen_while_it_goes_on(s3, bucket):
    made = s3.create_multipart_upload(Bucket=bucket, Key="k", Metadata={"m": "1"})
    named = {"Bucket": bucket, "Key": "k", "UploadId": made["UploadId"]}
    part = s3.upload_part(**named, PartNumber=1, Body=b"x" * (5 << 20))
    s3.put_object(Bucket=bucket, Key="source", Body=b"0123456789")
    last = s3.upload_part_copy(**named, PartNumber=2, CopySource=f"{bucket}/source", CopySourceRange="bytes=2-4")
    assert [found["Key"] for found in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["k"]
    assert [found["Size"] for found in s3.list_parts(**named)["Parts"]] == [5 << 20, 3]
    parts = [{"PartNumber": 1, "ETag": part["ETag"]}, {"PartNumber": 2, "ETag": last["CopyPartResult"]["ETag"]}]
    done = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    assert done["ETag"].endswith('-2"')
    assert s3.get_object(Bucket=bucket, Key="k", PartNumber=2)["Body"].read() == b"234"
    assert s3.get_object(Bucket=bucket, Key="k", Range="bytes=-4")["Body"].read() == b"x234"
    again = s3.create_multipart_upload(Bucket=bucket, Key="k")
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=again["UploadId"])
    assert code_of(s3.list_parts, Bucket=bucket, Key="k", UploadId=again["UploadId"]) == "NoSuchUpload"
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_a_thousand_objects_go_in_one_call(s3, bucket):
    for number in range(20):
        s3.put_object(Bucket=bucket, Key=f"ü {number}&<>", Body=b"")
    names = [found["Key"] for found in s3.list_objects(Bucket=bucket)["Contents"]]
    assert len(names) == 20
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": name} for name in names]})
    assert len(gone["Deleted"]) == 20
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_a_policy_comes_back_and_goes(s3, bucket):
    policy = (
        '{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow","Principal":"*",'
        f'"Action":"s3:GetObject","Resource":"arn:aws:s3:::{bucket}/*"}}]}}'
    )
    assert code_of(s3.get_bucket_policy, Bucket=bucket) == "NoSuchBucketPolicy"
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == policy
    s3.delete_bucket_policy(Bucket=bucket)
    assert code_of(s3.get_bucket_policy, Bucket=bucket) == "NoSuchBucketPolicy"


def test_canned_acls_are_told_as_grants(s3, bucket):
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=OWNERSHIP)
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    grants = s3.get_bucket_acl(Bucket=bucket)["Grants"]
    assert [(grant["Grantee"].get("URI"), grant["Permission"]) for grant in grants] == [
        (None, "FULL_CONTROL"),
        (ALL_USERS, "READ"),
    ]
    s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL="public-read")
    assert len(s3.get_object_acl(Bucket=bucket, Key="k")["Grants"]) == 2
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    assert len(s3.get_object_acl(Bucket=bucket, Key="k")["Grants"]) == 1


def test_notifications_to_eventbridge_come_back(s3, bucket):
    assert told(s3.get_bucket_notification_configuration(Bucket=bucket)) == {}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    assert told(s3.get_bucket_notification_configuration(Bucket=bucket)) == {"EventBridgeConfiguration": {}}


@pytest.mark.parametrize(
    ("kind", "member", "arn", "reason"),
    [
        ("Queue", "QueueArn", "arn:aws:sqs:us-east-1:000000000000:none", "The destination queue does not exist"),
        (
            "LambdaFunction",
            "LambdaFunctionArn",
            "arn:aws:lambda:us-east-1:000000000000:function:none",
            "The destination Lambda does not exist",
        ),
    ],
)
def test_a_destination_that_is_not_there_is_named(s3, bucket, kind, member, arn, reason):
    config = {f"{kind}Configurations": [{member: arn, "Events": ["s3:ObjectCreated:*"]}]}
    with pytest.raises(ClientError) as refused:
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=config)
    error = refused.value.response["Error"]
    assert (error["Code"], error["ArgumentName"], error["ArgumentValue"]) == ("InvalidArgument", arn, reason)
