"""A node is killed while clients write: what was answered is there, whole; what wasn't leaves nothing but litter."""

import asyncio
import itertools
import json
import random
import signal
import socket
import threading
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from penstock.storage.backends.files import FileBlobStore
from penstock.storage.collection import live_blob_ids

pytestmark = [pytest.mark.real_clients, pytest.mark.xdist_group("s3-crash")]
KILLS, WRITERS = 3, 4


def write(node, number, seed, acknowledged, note):
    """Put, overwrite, delete and complete until the node is gone; note what was answered."""
    s3, chance = node.client("s3"), random.Random(f"{seed}/{number}")
    try:
        for turn in range(10_000):
            key = f"{number}/{chance.randrange(6)}"
            body = f"{turn},".encode() * chance.choice([10, 5000, 40_000])
            kind = chance.random()
            note()
            acknowledged.pop(key, None)  # until it is answered, either may be there
            if kind < 0.7:
                s3.put_object(Bucket="data", Key=key, Body=body)
                acknowledged[key] = body
            elif kind < 0.85:
                upload = s3.create_multipart_upload(Bucket="data", Key=key)["UploadId"]
                part = s3.upload_part(Bucket="data", Key=key, UploadId=upload, PartNumber=1, Body=body)
                named = {"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}
                parts = {"Parts": [named]}
                s3.complete_multipart_upload(Bucket="data", Key=key, UploadId=upload, MultipartUpload=parts)
                acknowledged[key] = body
            else:
                s3.delete_object(Bucket="data", Key=key)
    except (BotoCoreError, ClientError, OSError):
        return


def test_what_was_answered_survives_a_kill_and_what_was_not_leaves_only_litter(fresh_node):
    node = fresh_node()
    node.client("s3").create_bucket(Bucket="data")
    chance = random.Random(7)
    for seed in range(KILLS):
        acknowledged, enough = {}, threading.Event()
        left = itertools.count(chance.randrange(100, 400), -1)
        args = [
            (node, number, seed, acknowledged, lambda left=left, enough=enough: next(left) or enough.set())
            for number in range(WRITERS)
        ]
        writers = [threading.Thread(target=write, args=one) for one in args]
        for writer in writers:
            writer.start()
        enough.wait(30)
        node.stop(signal.SIGKILL)
        for writer in writers:
            writer.join()
        assert acknowledged
        done = node.run("fsck", "--data", str(node.data), "--json", check=False)
        problems = json.loads(done.stdout)["problems"]
        assert {problem["what"] for problem in problems} <= {"orphan"}, problems
        assert all(problem["where"].startswith(("blob ", "unfinished ")) for problem in problems), problems
        sweep(node.data)
        assert json.loads(node.run("fsck", "--data", str(node.data), "--json").stdout)["problems"] == []
        node = fresh_node(data=node.data)
        s3 = node.client("s3")
        for key, body in acknowledged.items():
            assert s3.get_object(Bucket="data", Key=key)["Body"].read() == body


def sweep(data):
    """What a node does a minute after its start."""

    async def collect():
        blobs = FileBlobStore(data / "blobs")
        await blobs.collect(live_blob_ids(data), older_than_ms=round(time.time() * 1000) + 1000)
        await blobs.close()

    asyncio.run(collect())


def test_a_client_that_leaves_in_the_middle_leaves_nothing(fresh_node):
    node = fresh_node()
    s3 = node.client("s3")
    s3.create_bucket(Bucket="data")
    host, port = node.url.removeprefix("http://").split(":")
    url = s3.generate_presigned_url("put_object", {"Bucket": "data", "Key": "k"})
    path = url.removeprefix(node.url)
    for _ in range(5):
        with socket.create_connection((host, int(port))) as connection:
            head = f"PUT {path} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-length: 50000000\r\n\r\n"
            connection.sendall(head.encode() + b"x" * 5_000_000)
    s3.put_object(Bucket="data", Key="k", Body=b"y" * 100_000)
    assert node.stop() == 0
    assert [path.stat().st_size for path in (node.data / "blobs").rglob("*") if path.is_file()] == [100_000]
    assert json.loads(node.run("fsck", "--data", str(node.data), "--json").stdout)["problems"] == []
