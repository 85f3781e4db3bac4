import base64
import hashlib

import pytest

FIVE_MIB = b"a" * (5 * 1024 * 1024)


def customer_key(letter, prefix=""):
    key = letter * 32
    return {
        f"{prefix}SSECustomerAlgorithm": "AES256",
        f"{prefix}SSECustomerKey": base64.b64encode(key).decode(),
        f"{prefix}SSECustomerKeyMD5": base64.b64encode(hashlib.md5(key).digest()).decode(),
    }


MINE, OTHER = customer_key(b"k"), customer_key(b"o")


@pytest.mark.parametrize("data", [b"secret words", b"secret words" * 9000], ids=["in the store", "in a blob"])
def test_bytes_are_encrypted_at_rest_where_the_bucket_says_so(s3, blobs, data):
    config = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    s3("PutBucketEncryption", ServerSideEncryptionConfiguration=config)
    s3("PutObject", Key="k", Body=data)
    kept = [*blobs.held.values(), *(value for _, value in s3.runner.run(s3.world.platform.store.read(everything)))]
    assert not any(b"secret" in value for value in kept)
    assert s3("GetObject", Key="k")["Body"] == data
    assert s3("GetObject", Key="k", Range="bytes=20-30")["Body"] == data[20:31] if len(data) > 30 else True


def everything(tx):
    return list(tx.range(()))


def test_an_object_under_a_customers_key_needs_that_key(s3, blobs):
    s3("PutObject", Key="k", Body=b"x" * 20_000, **MINE)
    assert b"xxxx" not in b"".join(blobs.held.values())
    assert s3.error("GetObject", Key="k") == ("InvalidRequest", 400)
    assert s3.error("HeadObject", Key="k") == ("InvalidRequest", 400)
    assert s3.error("GetObject", Key="k", **OTHER) == ("AccessDenied", 403)
    answer = s3("GetObject", Key="k", Range="bytes=5-9", **MINE)
    assert answer["Body"] == b"xxxxx"
    assert (answer["SSECustomerAlgorithm"], "ServerSideEncryption" in answer) == ("AES256", False)


@pytest.mark.parametrize(
    "given",
    [
        {"SSECustomerAlgorithm": "AES256"},
        {**MINE, "SSECustomerAlgorithm": "aes"},
        {**MINE, "SSECustomerKeyMD5": OTHER["SSECustomerKeyMD5"]},
        {**MINE, "ServerSideEncryption": "AES256"},
        {"ServerSideEncryption": "rot13"},
        {"ServerSideEncryption": "AES256", "SSEKMSKeyId": "k"},
    ],
)
def test_an_encryption_that_makes_no_sense_is_refused(s3, given):
    assert s3.error("PutObject", Key="k", Body=b"", **given) == ("InvalidArgument", 400)


def test_parts_are_encrypted_each_under_a_key_of_its_own_and_read_as_one(s3):
    s3.upload(FIVE_MIB, b"tail", begin=MINE, each=MINE)
    assert s3("GetObject", Key="k", Range="bytes=5242878-", **MINE)["Body"] == b"aatail"
    assert s3("GetObject", Key="k", PartNumber=2, **MINE)["Body"] == b"tail"
    s3("CopyObject", Key="plain", CopySource="bucket/k", **customer_key(b"k", "CopySource"))
    assert s3("GetObject", Key="plain")["Body"] == FIVE_MIB + b"tail"
    upload_id = s3("CreateMultipartUpload", Key="k", **MINE)["UploadId"]
    assert s3.error("UploadPart", Key="k", UploadId=upload_id, PartNumber=1, Body=b"", **OTHER)[0] == "InvalidRequest"
    assert s3.error("UploadPart", Key="k", UploadId=upload_id, PartNumber=1, Body=b"")[0] == "InvalidRequest"


def test_kms_keys_are_answered_as_arns(s3):
    answer = s3(
        "PutObject", Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId="1234", BucketKeyEnabled=True
    )
    assert answer["SSEKMSKeyId"] == "arn:aws:kms:us-east-1:000000000000:key/1234"
    head = s3("HeadObject", Key="k")
    assert (head["ServerSideEncryption"], head["BucketKeyEnabled"]) == ("aws:kms", True)
    s3("CopyObject", Key="copy", CopySource="bucket/k")
    assert s3("HeadObject", Key="copy")["ServerSideEncryption"] == "AES256"
