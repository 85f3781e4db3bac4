import asyncio
import hashlib
import itertools

import pytest

from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.kernel.streams import ByteStream, stream_of
from penstock.services import s3 as room
from penstock.storage.blobs import BlobInfo
from penstock.testkit.world import World


class DictBlobs:
    def __init__(self):
        self.held = {}
        self._numbers = itertools.count()

    async def put(self, body, *, digests=None, bytes_max, seal=None):
        data = await body.read(bytes_max=bytes_max)
        values = {}
        for name, make in (digests or {}).items():
            running = make()
            running.update(data)
            values[name] = running.digest()
        return self._add(seal(data) if seal else data, values)

    def _add(self, data, values):
        blob_id = hashlib.md5(str(next(self._numbers)).encode()).hexdigest()
        self.held[blob_id] = data
        return BlobInfo(blob_id, len(data), values)

    def open(self, blob_id, *, offset=0, length=None):
        data = self.held[blob_id]
        return stream_of(data[offset : len(data) if length is None else offset + length])

    async def concat(self, blob_ids):
        return self._add(b"".join(self.held[blob_id] for blob_id in blob_ids), {})

    async def delete(self, blob_id):
        self.held.pop(blob_id, None)


@pytest.fixture
def blobs():
    return DictBlobs()


@pytest.fixture
def world(blobs):
    return World(room.SERVICE, blobs=blobs)


class Room:
    """The room as a test of claims wants it: `s3("PutObject", Key="k", Body=b"")`, in one loop, in bucket `bucket`."""

    def __init__(self, world, account="000000000000"):
        self.world = world
        self.account = account
        self.runner = asyncio.Runner()

    def __call__(self, operation, **members):
        return self.runner.run(self._call(operation, members))

    async def _call(self, operation, members):
        if operation != "ListBuckets":
            members.setdefault("Bucket", "bucket")
        if isinstance(members.get("Body"), bytes):
            members["Body"] = stream_of(members["Body"])
        context = self.world.context(scope=Scope(self.account, "us-east-1"))
        answer = await context.call("s3", operation, members)
        if isinstance(answer.get("Body"), ByteStream):
            answer["Body"] = await answer["Body"].read(bytes_max=1 << 30)
        return answer

    def error(self, operation, **members):
        """(code, status) of a refusal."""
        with pytest.raises(ServiceError) as caught:
            self(operation, **members)
        self.refusal = caught.value
        return caught.value.code, caught.value.status

    def days(self, count):
        self.runner.run(self.world.advance(count * 86400))

    def upload(self, *parts, key="k", begin=None, each=None, **complete):
        """A multipart upload of these parts."""
        begin, each = begin or {}, each or {}
        upload_id = self("CreateMultipartUpload", Key=key, **begin)["UploadId"]
        done = []
        for number, data in enumerate(parts, 1):
            answer = self("UploadPart", Key=key, UploadId=upload_id, PartNumber=number, Body=data, **each)
            sums = {name: value for name, value in answer.items() if name.startswith("Checksum")}
            done.append({"PartNumber": number, "ETag": answer["ETag"], **sums})
        names = {"Key": key, "UploadId": upload_id}
        return self("CompleteMultipartUpload", **names, MultipartUpload={"Parts": done}, **complete)


@pytest.fixture
def s3(world):
    made = Room(world)
    made("CreateBucket")
    yield made
    made.runner.close()


@pytest.fixture
def versioned(s3):
    s3("PutBucketVersioning", VersioningConfiguration={"Status": "Enabled"})
    return s3
