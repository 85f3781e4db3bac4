import base64
import itertools

import pytest

from penstock.engines.checksums import ALGORITHMS, CRC_POLYNOMIALS, checksum
from penstock.kernel.streams import ByteStream

FIVE_MIB = b"a" * (5 * 1024 * 1024)
HASHES = [name for name in ALGORITHMS if name not in CRC_POLYNOMIALS]


def value(algorithm, data):
    running = checksum(algorithm)
    running.update(data)
    return base64.b64encode(running.digest()).decode()


def sums(answer):
    return {name: text for name, text in answer.items() if name.startswith("Checksum")}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_is_verified_kept_and_told(s3, algorithm):
    member = f"Checksum{algorithm}"
    good = {member: value(algorithm, b"data")}
    put = s3("PutObject", Key="k", Body=b"data", **good)
    assert sums(put) == good | {"ChecksumType": "FULL_OBJECT"}
    assert sums(s3("HeadObject", Key="k")) == {}
    assert sums(s3("GetObject", Key="k", ChecksumMode="ENABLED")) == good | {"ChecksumType": "FULL_OBJECT"}
    wrong = {member: value(algorithm, b"other")}
    assert s3.error("PutObject", Key="k", Body=b"data", **wrong) == ("BadDigest", 400)
    assert s3.error("PutObject", Key="k", Body=b"data", **{member: "AAA="}) == ("InvalidRequest", 400)
    entry = s3("ListObjectsV2")["Contents"][0]
    assert (entry["ChecksumAlgorithm"], entry["ChecksumType"]) == ([algorithm], "FULL_OBJECT")


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "CRC64NVME"])
def test_a_composite_checksum_is_that_of_the_parts_checksums(s3, algorithm):
    begin = {"ChecksumAlgorithm": algorithm, "ChecksumType": "COMPOSITE"}
    answer = s3.upload(FIVE_MIB, b"tail", begin=begin)
    digests = [base64.b64decode(value(algorithm, data)) for data in (FIVE_MIB, b"tail")]
    member, expected = f"Checksum{algorithm}", value(algorithm, b"".join(digests))
    assert (answer[member], answer["ChecksumType"]) == (f"{expected}-2", "COMPOSITE")
    part = s3("GetObject", Key="k", PartNumber=2, ChecksumMode="ENABLED")
    assert (part["Body"], part[member]) == (b"tail", value(algorithm, b"tail"))
    checked = s3("GetObjectAttributes", Key="k", ObjectAttributes=["Checksum", "ObjectParts"])
    assert checked["Checksum"] == {member: expected, "ChecksumType": "COMPOSITE"}
    assert checked["ObjectParts"]["Parts"][1][member] == value(algorithm, b"tail")


@pytest.mark.parametrize("algorithm", CRC_POLYNOMIALS)
def test_a_full_object_checksum_is_that_of_all_bytes(s3, algorithm):
    begin = {"ChecksumAlgorithm": algorithm, "ChecksumType": "FULL_OBJECT"}
    whole = value(algorithm, FIVE_MIB + b"tail")
    answer = s3.upload(FIVE_MIB, b"tail", begin=begin, **{f"Checksum{algorithm}": whole})
    assert (answer[f"Checksum{algorithm}"], answer["ChecksumType"]) == (whole, "FULL_OBJECT")
    with pytest.raises(Exception, match="BadDigest|did not match"):
        s3.upload(FIVE_MIB, b"other", begin=begin, **{f"Checksum{algorithm}": whole})


@pytest.mark.parametrize(
    ("algorithm", "kind"), [*((name, "FULL_OBJECT") for name in HASHES), ("CRC64NVME", "COMPOSITE")]
)
def test_a_kind_that_an_algorithm_can_not_do_is_refused(s3, algorithm, kind):
    given = {"ChecksumAlgorithm": algorithm, "ChecksumType": kind}
    assert s3.error("CreateMultipartUpload", Key="k", **given) == ("InvalidRequest", 400)


def test_an_upload_without_an_algorithm_gets_s3s_own_and_takes_parts_with_any(s3):
    answer = s3.upload(FIVE_MIB, b"tail", each={"ChecksumAlgorithm": "CRC32"})
    assert answer["ChecksumCRC64NVME"] == value("CRC64NVME", FIVE_MIB + b"tail")
    assert (answer["ChecksumType"], "ChecksumCRC32" in answer) == ("FULL_OBJECT", False)


def test_a_part_with_another_algorithm_than_its_upload_is_refused(s3):
    upload_id = s3("CreateMultipartUpload", Key="k", ChecksumAlgorithm="SHA256")["UploadId"]
    part = {"Key": "k", "UploadId": upload_id, "PartNumber": 1, "Body": b"x"}
    assert s3.error("UploadPart", **part, ChecksumAlgorithm="CRC32") == ("InvalidRequest", 400)
    tag = s3("UploadPart", **part)["ETag"]
    done = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
    code = s3.error("CompleteMultipartUpload", Key="k", UploadId=upload_id, MultipartUpload=done)
    assert code == ("InvalidRequest", 400)
    assert "must include the checksum for each part" in s3.refusal.message


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"MpuObjectSize": 1}, "InvalidRequest"),
        ({"ChecksumType": "COMPOSITE"}, "InvalidRequest"),
        ({"IfNoneMatch": "*"}, "PreconditionFailed"),
        ({"IfMatch": '"other"'}, "PreconditionFailed"),
    ],
)
def test_completing_checks_what_the_caller_says_of_the_whole(s3, more, code):
    s3("PutObject", Key="k", Body=b"there")
    with pytest.raises(Exception) as caught:
        s3.upload(FIVE_MIB, b"tail", **more)
    assert caught.value.code == code
    assert s3("GetObject", Key="k")["Body"] == b"there"


@pytest.mark.parametrize(("algorithm", "is_right"), [*itertools.product(["CRC32C", "SHA512"], [True, False])])
def test_a_checksum_that_comes_behind_the_bytes_is_verified(s3, algorithm, is_right):
    class Trailed(ByteStream):
        trailers = {}

    async def chunks():
        yield b"data" * 10_000
        body.trailers = {f"x-amz-checksum-{algorithm.lower()}": value(algorithm, b"data" * (10_000 if is_right else 1))}

    body = Trailed(chunks(), length=40_000)
    if is_right:
        assert s3("PutObject", Key="k", Body=body, ChecksumAlgorithm=algorithm)[f"Checksum{algorithm}"]
    else:
        assert s3.error("PutObject", Key="k", Body=body, ChecksumAlgorithm=algorithm) == ("BadDigest", 400)
        assert s3.error("GetObject", Key="k") == ("NoSuchKey", 404)
