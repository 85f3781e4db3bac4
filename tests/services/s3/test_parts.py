"""Objects in parts against plain bytes: any range of any parts, sealed or not, is the slice that it names."""

import base64
import hashlib
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.services.s3.conftest import DictBlobs, Room

from penstock.kernel.limits import Limit
from penstock.services import s3 as room
from penstock.services.s3 import limits
from penstock.testkit.world import World

KEY = b"k" * 32
CUSTOMER = {
    "SSECustomerAlgorithm": "AES256",
    "SSECustomerKey": base64.b64encode(KEY).decode(),
    "SSECustomerKeyMD5": base64.b64encode(hashlib.md5(KEY).digest()).decode(),
}
SEALINGS = {
    "plain": ({}, {}),
    "sse-s3": ({"ServerSideEncryption": "AES256"}, {}),
    "sse-c": (CUSTOMER, CUSTOMER),
}
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def s3():
    made = Room(World(room.SERVICE, blobs=DictBlobs()))
    made("CreateBucket")
    return made


@pytest.mark.parametrize("sealing", SEALINGS)
@settings(max_examples=40, deadline=None)
@given(
    parts=st.lists(st.binary(max_size=40), min_size=1, max_size=6),
    ranges=st.lists(st.tuples(st.integers(0, 130), st.integers(0, 130)), min_size=1, max_size=5),
)
def test_a_range_of_an_object_in_parts_is_a_slice_of_its_bytes(s3, sealing, parts, ranges):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "PART_BYTES_MIN", Limit(0, ""))
        begin, show = SEALINGS[sealing]
        key, whole = f"{next(NUMBERS)}", b"".join(parts)
        s3.upload(*parts, key=key, begin=begin, each=show)
        assert s3("GetObject", Key=key, **show)["Body"] == whole
        for first, second in ranges:
            low, high = min(first, second), max(first, second)
            asked = {"Key": key, "Range": f"bytes={low}-{high}", **show}
            if low >= len(whole):
                assert s3.error("GetObject", **asked) == ("InvalidRange", 416)
                continue
            answer = s3("GetObject", **asked)
            assert answer["Body"] == whole[low : high + 1]
            assert answer["ContentRange"] == f"bytes {low}-{min(high, len(whole) - 1)}/{len(whole)}"
            if high < len(whole):
                check_copied_range(s3, key, show, low, high, whole)
        for number, data in enumerate(parts, 1):
            assert s3("GetObject", Key=key, PartNumber=number, **show)["Body"] == data


def check_copied_range(s3, key, show, low, high, whole):
    """The range as a part of another object, and that object copied whole."""
    shown = {f"CopySource{name}": value for name, value in show.items()}
    upload_id = s3("CreateMultipartUpload", Key="copy")["UploadId"]
    source = {"CopySource": f"bucket/{key}", "CopySourceRange": f"bytes={low}-{high}", **shown}
    part = s3("UploadPartCopy", Key="copy", UploadId=upload_id, PartNumber=1, **source)["CopyPartResult"]
    done = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3("CompleteMultipartUpload", Key="copy", UploadId=upload_id, MultipartUpload=done)
    s3("CopyObject", Key="copy-2", CopySource="bucket/copy")
    assert s3("GetObject", Key="copy-2")["Body"] == whole[low : high + 1]


def test_an_object_that_goes_while_it_is_read_is_read_to_its_end(s3):
    blobs, world = s3.world.platform.blobs, s3.world
    before = set(blobs.held)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "PART_BYTES_MIN", Limit(0, ""))
        s3.upload(b"one", b"two", b"three", key="slow")
    made = set(blobs.held) - before

    async def read_slowly():
        body = (await world.call("s3", "GetObject", Bucket="bucket", Key="slow"))["Body"]
        pieces = body.__aiter__()
        read = [await pieces.__anext__()]
        await world.call("s3", "DeleteObject", Bucket="bucket", Key="slow")
        await world.advance(24 * 3600)
        read += [piece async for piece in pieces]
        return b"".join(read)

    assert s3.runner.run(read_slowly()) == b"onetwothree"
    s3.days(1)
    assert len(made) == 3
    assert not made & set(blobs.held)
