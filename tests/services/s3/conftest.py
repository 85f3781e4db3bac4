import hashlib

import pytest

from penstock.kernel.streams import stream_of
from penstock.services import s3
from penstock.storage.blobs import BlobInfo
from penstock.testkit.world import World


class DictBlobs:
    def __init__(self):
        self.held = {}

    async def put(self, body, *, digests=None, bytes_max, seal=None):
        data = await body.read(bytes_max=bytes_max)
        values = {}
        for name, make in (digests or {}).items():
            running = make()
            running.update(data)
            values[name] = running.digest()
        return self._add(seal(data) if seal else data, values)

    def _add(self, data, values):
        blob_id = hashlib.md5(data + str(len(self.held)).encode()).hexdigest()
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
    return World(s3.SERVICE, blobs=blobs)
