import asyncio

import pytest

from penstock.kernel.errors import ServiceError
from penstock.services import s3


@pytest.mark.parametrize(
    ("noun", "member", "value", "code"),
    [
        ("BucketPolicy", "Policy", "{}", "NoSuchBucketPolicy"),
        ("BucketCors", "CORSConfiguration", {"CORSRules": []}, "NoSuchCORSConfiguration"),
        (
            "PublicAccessBlock",
            "PublicAccessBlockConfiguration",
            {"BlockPublicAcls": True},
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
    assert all(s3.SERVICE.find_operation(name) for name in s3.SERVICE.access.permissions)
