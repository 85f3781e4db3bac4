import asyncio
import hashlib

import pytest

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import stream_of

FIVE_MIB = b"a" * (5 * 1024 * 1024)
NAMES = {"Bucket": "bucket", "Key": "k"}


async def upload(world, parts, order=None, **more):
    await world.call("s3", "CreateBucket", Bucket="bucket")
    upload_id = (await world.call("s3", "CreateMultipartUpload", **NAMES, **more))["UploadId"]
    done = []
    for number, data in enumerate(parts, 1):
        answer = await world.call(
            "s3", "UploadPart", **NAMES, UploadId=upload_id, PartNumber=number, Body=stream_of(data)
        )
        done.append({"PartNumber": number, "ETag": answer["ETag"]})
    done = [done[at] for at in order] if order else done
    return await world.call(
        "s3", "CompleteMultipartUpload", **NAMES, UploadId=upload_id, MultipartUpload={"Parts": done}
    )


def test_parts_become_one_object_with_the_tag_of_tags(world):
    async def go():
        answer = await upload(world, [FIVE_MIB, b"b"])
        got = await world.call("s3", "GetObject", **NAMES)
        second = await world.call("s3", "GetObject", **NAMES, PartNumber=2)
        return answer["ETag"], await got["Body"].read(bytes_max=10**8), await second["Body"].read(bytes_max=9)

    etag, data, second = asyncio.run(go())
    tags = hashlib.md5(FIVE_MIB).digest() + hashlib.md5(b"b").digest()
    assert etag == f'"{hashlib.md5(tags).hexdigest()}-2"'
    assert (data, second) == (FIVE_MIB + b"b", b"b")


@pytest.mark.parametrize(
    ("parts", "order", "code"),
    [([b"a", b"b"], None, "EntityTooSmall"), ([FIVE_MIB, b"b"], [1, 0], "InvalidPartOrder")],
)
def test_parts_out_of_order_or_too_small_are_refused(world, parts, order, code):
    with pytest.raises(ServiceError) as caught:
        asyncio.run(upload(world, parts, order))
    assert caught.value.code == code


def test_a_full_object_checksum_is_that_of_the_whole(world):
    async def go():
        answer = await upload(world, [FIVE_MIB, b"b"], ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
        await world.call("s3", "PutObject", Bucket="bucket", Key="w", Body=FIVE_MIB + b"b", ChecksumAlgorithm="CRC32")
        whole = await world.call("s3", "HeadObject", Bucket="bucket", Key="w", ChecksumMode="ENABLED")
        return answer["ChecksumCRC32"], whole["ChecksumCRC32"]

    joined, whole = asyncio.run(go())
    assert joined == whole


def test_an_aborted_upload_is_gone(world):
    async def go():
        await world.call("s3", "CreateBucket", Bucket="bucket")
        upload_id = (await world.call("s3", "CreateMultipartUpload", **NAMES))["UploadId"]
        listed = await world.call("s3", "ListMultipartUploads", Bucket="bucket")
        await world.call("s3", "AbortMultipartUpload", **NAMES, UploadId=upload_id)
        assert [entry["UploadId"] for entry in listed["Uploads"]] == [upload_id]
        await world.call("s3", "ListParts", **NAMES, UploadId=upload_id)

    with pytest.raises(ServiceError, match="NoSuchUpload"):
        asyncio.run(go())
