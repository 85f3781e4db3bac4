"""Versions against a plain model of S3's rules: any order of puts, deletes and changes of versioning."""

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.services.s3.conftest import DictBlobs, Room

from penstock.services import s3 as room
from penstock.testkit.world import World

KEYS = st.sampled_from(["a", "b/c"])
BODIES = itertools.count()


class Versions(RuleBasedStateMachine):
    """`stacks`: of each key its versions, newest first, as (id, body or None for a marker)."""

    def __init__(self):
        super().__init__()
        self.blobs = DictBlobs()
        self.s3 = Room(World(room.SERVICE, blobs=self.blobs))
        self.s3("CreateBucket")
        self.versioning = ""
        self.stacks = {"a": [], "b/c": []}

    def teardown(self):
        self.s3.runner.close()

    def _push(self, key, version_id, body):
        stack = self.stacks[key]
        if version_id == "null":
            stack[:] = [version for version in stack if version[0] != "null"]
        stack.insert(0, (version_id, body))

    @rule(status=st.sampled_from(["Enabled", "Suspended"]))
    def set_versioning(self, status):
        self.s3("PutBucketVersioning", VersioningConfiguration={"Status": status})
        self.versioning = status

    @rule(key=KEYS, is_large=st.booleans())
    def put(self, key, is_large):
        body = b"%d," % next(BODIES) * (9000 if is_large else 1)
        answer = self.s3("PutObject", Key=key, Body=body)
        assert ("VersionId" in answer) == (self.versioning == "Enabled")
        self._push(key, answer.get("VersionId", "null"), body)

    @rule(key=KEYS)
    def delete(self, key):
        answer = self.s3("DeleteObject", Key=key)
        if not self.versioning:
            assert answer == {}
            self.stacks[key].clear()
        else:
            assert answer["DeleteMarker"] is True
            assert (answer["VersionId"] == "null") == (self.versioning == "Suspended")
            self._push(key, answer["VersionId"], None)

    @precondition(lambda self: any(self.stacks.values()))
    @rule(data=st.data())
    def delete_a_version(self, data):
        every = [(key, version) for key, stack in self.stacks.items() for version in stack]
        key, version = data.draw(st.sampled_from(every))
        answer = self.s3("DeleteObject", Key=key, VersionId=version[0])
        assert answer.get("DeleteMarker", False) == (version[1] is None)
        self.stacks[key].remove(version)

    @precondition(lambda self: any(version[1] is not None for version in self.stacks["a"]))
    @rule(data=st.data())
    def copy_an_old_version_on_top(self, data):
        named = [version for version in self.stacks["a"] if version[1] is not None]
        version_id, body = data.draw(st.sampled_from(named))
        answer = self.s3("CopyObject", Key="b/c", CopySource=f"bucket/a?versionId={version_id}")
        self._push("b/c", answer.get("VersionId", "null"), body)

    @invariant()
    def every_version_is_listed_in_order_and_reads_as_it_was_written(self):
        listed = self.s3("ListObjectVersions")
        found = {"a": [], "b/c": []}
        for entry in listed.get("Versions", []) + listed.get("DeleteMarkers", []):
            found[entry["Key"]].append((entry["VersionId"], entry["IsLatest"]))
        for key, stack in self.stacks.items():
            expected = [(version_id, at == 0) for at, (version_id, _) in enumerate(stack)]
            assert sorted(found[key]) == sorted(expected)
            for version_id, body in stack:
                if body is not None:
                    assert self.s3("GetObject", Key=key, VersionId=version_id)["Body"] == body
            if stack and stack[0][1] is not None:
                assert self.s3("GetObject", Key=key)["Body"] == stack[0][1]
            else:
                assert self.s3.error("GetObject", Key=key) == ("NoSuchKey", 404)
        visible = [key for key, stack in self.stacks.items() if stack and stack[0][1] is not None]
        assert [entry["Key"] for entry in self.s3("ListObjectsV2").get("Contents", [])] == visible

    @invariant()
    def no_body_outlives_its_versions(self):
        self.s3.days(1)
        large = [body for stack in self.stacks.values() for _, body in stack if body and len(body) > 16 * 1024]
        assert len(self.blobs.held) == len(large)


Versions.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestVersions = Versions.TestCase
