import asyncio
import base64
import zlib

import pytest

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import ByteStream, stream_of


def run(world, *calls):
    async def go():
        await world.call("s3", "CreateBucket", Bucket="bucket")
        return [await call for call in calls][-1]

    return asyncio.run(go())


def code_of(world, *calls):
    with pytest.raises(ServiceError) as caught:
        run(world, *calls)
    return caught.value.code, caught.value.status


def put(world, key, data=b"x", **more):
    return world.call("s3", "PutObject", Bucket="bucket", Key=key, Body=stream_of(data), **more)


def get(world, key, **more):
    return world.call("s3", "GetObject", Bucket="bucket", Key=key, **more)


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 16 * 1024 + 1])
def test_an_object_comes_back_whole_whatever_its_size(world, size):
    async def go():
        await world.call("s3", "CreateBucket", Bucket="bucket")
        await put(world, "k", b"a" * size, Metadata={"m": "1"})
        answer = await get(world, "k")
        return answer, await answer["Body"].read(bytes_max=10**6)

    answer, data = asyncio.run(go())
    assert data == b"a" * size
    assert answer["ContentLength"] == size
    assert answer["Metadata"] == {"m": "1"}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-1", b"01"),
        ("bytes=8-", b"89"),
        ("bytes=-3", b"789"),
        ("bytes=5-99", b"56789"),
        ("bytes=nonsense", b"0123456789"),
    ],
)
def test_a_range_gives_its_bytes(world, asked, expected):
    async def go():
        await world.call("s3", "CreateBucket", Bucket="bucket")
        await put(world, "k", b"0123456789")
        answer = await get(world, "k", Range=asked)
        return await answer["Body"].read(bytes_max=100)

    assert asyncio.run(go()) == expected


def test_a_range_past_the_end_is_416(world):
    assert code_of(world, put(world, "k"), get(world, "k", Range="bytes=5-")) == ("InvalidRange", 416)


def test_conditions_of_reads_and_writes(world):
    etag = '"9dd4e461268c8034f5c8564e155c67a6"'
    assert run(world, put(world, "k"), get(world, "k", IfMatch=etag))["ETag"] == etag
    assert code_of(world, get(world, "k", IfNoneMatch=etag)) == ("304", 304)
    assert code_of(world, get(world, "k", IfMatch='"other"')) == ("PreconditionFailed", 412)
    assert code_of(world, put(world, "k", IfNoneMatch="*")) == ("PreconditionFailed", 412)
    assert code_of(world, put(world, "gone", IfMatch=etag)) == ("NoSuchKey", 404)


def test_a_checksum_in_the_trailer_is_verified_and_kept(world):
    class Trailing(ByteStream):
        trailers = {"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(b"data").to_bytes(4, "big")).decode()}

    async def chunks(data):
        yield data

    async def go(data):
        await world.call("s3", "CreateBucket", Bucket="bucket")
        body = Trailing(chunks(data))
        await world.call("s3", "PutObject", Bucket="bucket", Key="k", Body=body, ChecksumAlgorithm="CRC32")
        return await get(world, "k", ChecksumMode="ENABLED")

    assert asyncio.run(go(b"data"))["ChecksumCRC32"] == Trailing.trailers["x-amz-checksum-crc32"]
    with pytest.raises(ServiceError, match="BadDigest"):
        asyncio.run(go(b"other"))


def test_a_listing_rolls_up_prefixes_and_pages_through_everything_once(world):
    keys = ["a/1", "a/2", "b", "c/1", "c/x/2", "d", "ü/1"]

    async def go(count_max):
        await world.call("s3", "CreateBucket", Bucket="bucket")
        for key in keys:
            await put(world, key)
        seen, token = [], None
        while True:
            more = {"ContinuationToken": token} if token else {}
            page = await world.call("s3", "ListObjectsV2", Bucket="bucket", Delimiter="/", MaxKeys=count_max, **more)
            seen += [entry["Key"] for entry in page.get("Contents", [])]
            seen += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
            token = page.get("NextContinuationToken")
            if not token:
                return seen

    for count_max in (1, 2, 3, 100):
        assert sorted(asyncio.run(go(count_max))) == ["a/", "b", "c/", "d", "ü/"]


def test_versions_come_back_when_a_delete_marker_is_deleted(world):
    async def go():
        await world.call("s3", "CreateBucket", Bucket="bucket")
        status = {"Status": "Enabled"}
        await world.call("s3", "PutBucketVersioning", Bucket="bucket", VersioningConfiguration=status)
        first = await put(world, "k", b"1")
        await put(world, "k", b"2")
        gone = await world.call("s3", "DeleteObject", Bucket="bucket", Key="k")
        assert gone["DeleteMarker"]
        with pytest.raises(ServiceError, match="NoSuchKey"):
            await get(world, "k")
        await world.call("s3", "DeleteObject", Bucket="bucket", Key="k", VersionId=gone["VersionId"])
        now = await (await get(world, "k"))["Body"].read(bytes_max=9)
        then = await (await get(world, "k", VersionId=first["VersionId"]))["Body"].read(bytes_max=9)
        return now, then

    assert asyncio.run(go()) == (b"2", b"1")


def test_a_copy_keeps_or_replaces_metadata(world):
    async def go():
        await world.call("s3", "CreateBucket", Bucket="bucket")
        await put(world, "k 1", b"z" * 20000, Metadata={"a": "1"})
        await world.call("s3", "CopyObject", Bucket="bucket", Key="kept", CopySource="bucket/k%201")
        more = {"MetadataDirective": "REPLACE", "Metadata": {"b": "2"}}
        await world.call("s3", "CopyObject", Bucket="bucket", Key="new", CopySource="bucket/k%201", **more)
        return (await get(world, "kept"))["Metadata"], (await get(world, "new"))["Metadata"]

    assert asyncio.run(go()) == ({"a": "1"}, {"b": "2"})


def test_a_bucket_with_objects_is_not_deleted(world):
    assert code_of(world, put(world, "k"), world.call("s3", "DeleteBucket", Bucket="bucket")) == (
        "BucketNotEmpty",
        409,
    )
    gone = world.call("s3", "DeleteObjects", Bucket="bucket", Delete={"Objects": [{"Key": "k"}, {"Key": "never"}]})
    assert run(world, gone) == {"Deleted": [{"Key": "k"}, {"Key": "never"}]}
    assert run(world, world.call("s3", "DeleteBucket", Bucket="bucket")) == {}


def test_an_object_without_a_checksum_of_the_clients_gets_s3s_own(world):
    found = run(world, put(world, "k", b"123456789"), get(world, "k", ChecksumMode="ENABLED"))
    assert found["ChecksumType"] == "FULL_OBJECT"
    assert base64.b64decode(found["ChecksumCRC64NVME"]).hex() == "ae8b14860a799888"  # the catalogue's check value
