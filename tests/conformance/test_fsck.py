"""`penstock fsck` on a folder that something happened to."""

import base64
import hashlib
import json
import signal

import pytest

pytestmark = [pytest.mark.real_clients, pytest.mark.xdist_group("fsck")]
FIVE_MIB = b"p" * (5 << 20)
CUSTOMER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}


def fsck(node, *flags, expected=0):
    done = node.run("fsck", "--data", str(node.data), "--json", *flags, check=False)
    assert done.returncode == expected, done.stdout + done.stderr
    return json.loads(done.stdout)


def filled(node):
    s3 = node.client("s3")
    s3.create_bucket(Bucket="data")
    s3.put_object(Bucket="data", Key="small", Body=b"s")
    s3.put_object(Bucket="data", Key="alone", Body=b"a" * 50_000)
    s3.put_object(Bucket="data", Key="twin-1", Body=b"t" * 50_000)
    s3.copy_object(Bucket="data", Key="twin-2", CopySource="data/twin-1")
    s3.put_object(Bucket="data", Key="sealed", Body=b"e" * 50_000, ServerSideEncryption="AES256")
    s3.put_object(Bucket="data", Key="customers", Body=b"c" * 50_000, **CUSTOMER)
    upload = s3.create_multipart_upload(Bucket="data", Key="parts")["UploadId"]
    parts = [
        s3.upload_part(Bucket="data", Key="parts", UploadId=upload, PartNumber=number, Body=body)
        for number, body in ((1, FIVE_MIB), (2, b"q"))
    ]
    done = {"Parts": [{"PartNumber": n, "ETag": p["ETag"]} | crc(p) for n, p in enumerate(parts, 1)]}
    s3.complete_multipart_upload(Bucket="data", Key="parts", UploadId=upload, MultipartUpload=done)


def crc(part):
    return {name: value for name, value in part.items() if name.startswith("Checksum")}


def blob_of(node, start, size=50_000):
    for path in (node.data / "blobs").glob("??/??/*"):
        if path.stat().st_size == size and path.read_bytes().startswith(start):
            return path
    raise AssertionError(f"no blob starts with {start!r}")


def test_a_healthy_folder_has_nothing_to_tell(fresh_node):
    node = fresh_node()
    filled(node)
    assert node.stop() == 0
    found = fsck(node)
    assert (found["objects"], found["problems"], found["unverified"]) == (7, [], 1)


def test_damage_is_told_and_mended_where_another_object_has_the_same_bytes(fresh_node):
    node = fresh_node()
    filled(node)
    assert node.stop() == 0
    for start in (b"aaaa", b"tttt"):
        path = blob_of(node, start)
        path.write_bytes(b"!" + path.read_bytes()[1:])
    blob_of(node, b"pppp", len(FIVE_MIB)).unlink()
    stray = node.data / "blobs" / "aa" / "bb" / ("c" * 36)
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"stray")
    (node.data / "blobs" / "tmp" / "draft").write_bytes(b"half")

    found = fsck(node, expected=1)
    told = {(problem["what"], problem["where"].split("/")[0]) for problem in found["problems"]}
    assert told == {("damaged", "data"), ("missing", "data"), ("orphan", "blob aa"), ("orphan", "unfinished draft")}
    assert len(found["problems"]) == 5

    repaired = fsck(node, "--repair", expected=1)["problems"]
    mended = {problem["where"]: problem["mended"] for problem in repaired}
    assert (
        sum(where.startswith("data/twin") and text.startswith("from data/twin") for where, text in mended.items()) == 1
    )
    assert (mended["data/alone"], mended["data/parts part 1"]) == ("", "")
    assert not stray.exists()

    left = fsck(node, expected=1)["problems"]
    assert sorted(problem["where"] for problem in left if problem["what"] != "orphan") == [
        "data/alone",
        "data/parts part 1",
    ]
    again = fresh_node(data=node.data)
    for key in ("twin-1", "twin-2"):
        assert again.client("s3").get_object(Bucket="data", Key=key)["Body"].read() == b"t" * 50_000


def test_a_bit_that_flips_in_an_encrypted_object_is_found(fresh_node):
    node = fresh_node()
    node.client("s3").create_bucket(Bucket="data")
    node.client("s3").put_object(Bucket="data", Key="sealed", Body=b"e" * 50_000, ServerSideEncryption="AES256")
    assert node.stop() == 0
    [path] = (node.data / "blobs").glob("??/??/*")
    held = bytearray(path.read_bytes())
    assert b"eeee" not in held
    held[40_000] ^= 1
    path.write_bytes(held)
    [problem] = fsck(node, expected=1)["problems"]
    assert (problem["what"], problem["where"]) == ("damaged", "data/sealed")
    assert fsck(node, "--fast")["problems"] == []


def test_a_running_node_is_left_alone(fresh_node):
    node = fresh_node()
    done = node.run("fsck", "--data", str(node.data), check=False)
    assert done.returncode == 1
    assert "in use by process" in done.stderr


def test_what_a_kill_leaves_behind_is_found_and_cleared(fresh_node):
    node = fresh_node()
    s3 = node.client("s3")
    s3.create_bucket(Bucket="data")
    upload = s3.create_multipart_upload(Bucket="data", Key="k")["UploadId"]
    s3.upload_part(Bucket="data", Key="k", UploadId=upload, PartNumber=1, Body=FIVE_MIB)
    node.stop(signal.SIGKILL)
    assert fsck(node)["problems"] == []
    digest = hashlib.md5(FIVE_MIB).hexdigest()
    again = fresh_node(data=node.data).client("s3")
    done = {
        "Parts": [
            {"PartNumber": 1, "ETag": digest}
            | crc(again.list_parts(Bucket="data", Key="k", UploadId=upload)["Parts"][0])
        ]
    }
    again.complete_multipart_upload(Bucket="data", Key="k", UploadId=upload, MultipartUpload=done)
    assert base64.b64encode(again.get_object(Bucket="data", Key="k")["Body"].read(3)) == b"cHBw"


def test_a_running_node_is_asked_and_goes_on(fresh_node):
    node = fresh_node()
    filled(node)
    done = node.run("fsck", "--json")
    assert (json.loads(done.stdout)["objects"], json.loads(done.stdout)["problems"]) == (7, [])
    path = blob_of(node, b"aaaa")
    path.write_bytes(b"!" + path.read_bytes()[1:])
    done = node.run("fsck", check=False)
    assert done.returncode == 1
    assert "damaged: data/alone: its CRC" in done.stdout
    assert node.client("s3").get_object(Bucket="data", Key="small")["Body"].read() == b"s"
