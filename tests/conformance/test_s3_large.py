"""Objects larger than this machine's memory or disk, and uploads of as many parts as S3 takes."""

import asyncio
import time
from pathlib import Path

import pytest

from penstock.kernel.scope import DEFAULT_ACCOUNT_ID
from penstock.services.s3 import state
from penstock.services.s3.state import Bucket, Content, Part, Upload, Version
from penstock.storage.backends.sqlite import SqliteStore

pytestmark = [pytest.mark.real_clients, pytest.mark.xdist_group("s3-large")]
GIB, MIB = 1 << 30, 1 << 20
PARTS, PART = 20, 5 * GIB
MANY, SMALL = 10_000, 5 * MIB


def prepared(data, fill):
    """A data folder whose store `fill` writes to before the node starts."""
    data.mkdir()

    async def go():
        store = SqliteStore.open(data)
        bucket = Bucket("large", DEFAULT_ACCOUNT_ID, "us-east-1", 0, configs=[])
        await store.transact(lambda tx: (state.put_bucket(tx, bucket), fill(tx)))
        await store.close()

    asyncio.run(go())
    return data


def sparse(data, number, size, start=b""):
    """A blob that takes no room: a hole, but for its first bytes."""
    blob_id = f"aa/bb/{number:036x}"
    path = data / "blobs" / blob_id
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)
    return blob_id


def resident_mb(node):
    for line in Path(f"/proc/{node.process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no memory in the status")


def test_a_hundred_gigabytes_are_read_anywhere_in_little_memory(fresh_node, tmp_path):
    data = tmp_path / "prepared"

    def fill(tx):
        version = Version("k", size=PARTS * PART, etag=f"{'0' * 32}-{PARTS}", modified_ms=1)
        version.parts = [(number, PART, {}) for number in range(1, PARTS + 1)]
        version.blobs = [sparse(data, number, PART, b"part %02d" % number) for number in range(1, PARTS + 1)]
        tx.put(("s3", "current", "large", "k"), state.dump_version(version))

    node = fresh_node(data=prepared(data, fill))
    s3 = node.client("s3")
    named = {"Bucket": "large", "Key": "k"}
    assert s3.head_object(**named)["ContentLength"] == 100 * GIB
    before = resident_mb(node)

    def read(first, last):
        return s3.get_object(**named, Range=f"bytes={first}-{last}")["Body"].read()

    for number in (1, 7, 20):
        at = (number - 1) * PART
        assert read(at, at + 6) == b"part %02d" % number
    assert read(PART - 3, PART + 6) == b"\0\0\0part 02"
    assert read(100 * GIB - 1, 200 * GIB) == b"\0"
    assert s3.head_object(**named, PartNumber=20)["ContentLength"] == PART
    body, size = s3.get_object(**named, Range=f"bytes={PART - 256 * MIB}-{PART + 256 * MIB - 1}")["Body"], 0
    while piece := body.read(8 * MIB):
        size += len(piece)
    assert size == 512 * MIB
    assert resident_mb(node) - before < 64
    assert sum(path.stat().st_blocks for path in (data / "blobs").rglob("*")) * 512 < MIB


def test_ten_thousand_parts_become_an_object_without_moving_a_byte(fresh_node, tmp_path):
    data = tmp_path / "prepared"

    def fill(tx):
        upload = Upload("f" * 64, "k", 1, {"ContentType": "a/b"}, {}, {}, algorithm="CRC64NVME")
        upload.checksum_type, upload.is_algorithm_named = "FULL_OBJECT", False
        state.put_upload(tx, "large", upload)
        for number in range(1, MANY + 1):
            blob_id = sparse(data, number, SMALL)
            sums = {"ChecksumCRC64NVME": "AAAAAAAAAAA="}
            state.put_part(tx, upload.id, Part(number, 1, Content(SMALL, f"{number:032x}", blob_id, "", sums)), 1)

    node = fresh_node(data=prepared(data, fill))
    s3 = node.client("s3")
    named = {"Bucket": "large", "Key": "k", "UploadId": "f" * 64}
    listed = [part for page in s3.get_paginator("list_parts").paginate(**named) for part in page["Parts"]]
    assert [part["PartNumber"] for part in listed] == list(range(1, MANY + 1))
    began = time.perf_counter()
    done = {"Parts": [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in listed]}
    answer = s3.complete_multipart_upload(**named, MultipartUpload=done)
    assert answer["ETag"].endswith('-10000"')
    assert time.perf_counter() - began < 30
    head = s3.head_object(Bucket="large", Key="k", PartNumber=MANY)
    assert (head["PartsCount"], head["ContentLength"]) == (MANY, SMALL)
    at = 9_999 * SMALL
    piece = s3.get_object(Bucket="large", Key="k", Range=f"bytes={at - 5}-{at + 4}")["Body"].read()
    assert piece == b"\0" * 10
    attributes = s3.get_object_attributes(Bucket="large", Key="k", ObjectAttributes=["ObjectParts", "ObjectSize"])
    assert (attributes["ObjectSize"], attributes["ObjectParts"]["TotalPartsCount"]) == (MANY * SMALL, MANY)


def test_a_page_of_a_hundred_thousand_keys_is_a_page_however_they_lie(fresh_node, tmp_path):
    count, folders = 100_000, 500

    def fill(tx):
        for number in range(count):
            version = Version(f"f={number % folders:03}/{number:06}", size=1, etag="0" * 32, modified_ms=1)
            tx.put(("s3", "current", "large", version.key), state.dump_version(version))

    node = fresh_node(data=prepared(tmp_path / "prepared", fill))
    s3 = node.client("s3")
    s3.list_objects_v2(Bucket="large", MaxKeys=1)
    before = resident_mb(node)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="large")
    assert sum(len(page["Contents"]) for page in pages) == count
    [page] = s3.get_paginator("list_objects_v2").paginate(Bucket="large", Delimiter="/")
    assert [entry["Prefix"] for entry in page["CommonPrefixes"]] == [f"f={number:03}/" for number in range(folders)]
    [inner] = s3.get_paginator("list_objects_v2").paginate(Bucket="large", Prefix="f=499/", Delimiter="/")
    assert len(inner["Contents"]) == count // folders
    pages = s3.get_paginator("list_object_versions").paginate(Bucket="large", Delimiter="/")
    assert sum(len(page["CommonPrefixes"]) for page in pages) == folders
    assert resident_mb(node) - before < 32
