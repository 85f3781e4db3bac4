"""Listings against a plain model: what every page gives, put together, is what a loop over the keys would give."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.services.s3.conftest import Room

from penstock.services import s3 as room
from penstock.testkit.world import World

KEYS = st.lists(st.text("ab/\U0001f600_", min_size=1, max_size=5), min_size=1, max_size=12, unique=True)
TEXT = st.sampled_from(["", "a", "a/", "b", "/", "zz", "a/b"])
DELIMITER = st.sampled_from(["", "/", "b", "a/"])


def expected(keys, prefix, delimiter, after):
    found = []
    for key in sorted(keys, key=lambda key: key.encode()):
        if not key.startswith(prefix):
            continue
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        entry = key[: at + len(delimiter)] if at >= 0 else key
        is_rolled = at >= 0
        if (is_rolled and entry == after) or key.encode() <= after.encode() or (entry, is_rolled) in found:
            continue
        found.append((entry, is_rolled))
    return found


def entries(page, kind):
    keys = [(entry["Key"], False) for entry in page.get(kind, [])]
    return keys + [(entry["Prefix"], True) for entry in page.get("CommonPrefixes", [])]


@pytest.fixture(scope="module")
def fresh():
    numbers = itertools.count()
    made = Room(World(room.SERVICE))

    def bucket(keys):
        name = f"bucket-{next(numbers)}"
        made("CreateBucket", Bucket=name)
        for key in keys:
            made("PutObject", Bucket=name, Key=key, Body=b"")
        return lambda operation, **members: made(operation, Bucket=name, **members)

    return bucket


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=KEYS, prefix=TEXT, delimiter=DELIMITER, after=TEXT, size=st.integers(1, 4))
def test_pages_of_any_size_give_every_entry_once_and_in_order(fresh, keys, prefix, delimiter, after, size):
    call = fresh(keys)
    wanted = expected(keys, prefix, delimiter, after)
    shape = {"Prefix": prefix, "Delimiter": delimiter, "MaxKeys": size}
    walks = [
        ("ListObjectsV2", "Contents", {"StartAfter": after}, {"ContinuationToken": "NextContinuationToken"}),
        ("ListObjects", "Contents", {"Marker": after}, {"Marker": "NextMarker"}),
        ("ListObjectVersions", "Versions", {"KeyMarker": after}, None),
    ]
    for operation, kind, where, following in walks:
        seen = []
        for _ in range(len(keys) + 2):
            page = call(operation, **shape, **where)
            got = entries(page, kind)
            assert len(got) <= size
            seen += got
            if not page["IsTruncated"]:
                break
            if following is None:
                where = {"KeyMarker": page["NextKeyMarker"]}
                if "NextVersionIdMarker" in page:
                    where["VersionIdMarker"] = page["NextVersionIdMarker"]
            else:
                name, told = next(iter(following.items()))
                where = {name: page[told] if told in page else page["Contents"][-1]["Key"]}
        assert sorted(seen, key=lambda entry: entry[0].encode()) == wanted, operation


def test_a_page_of_none_has_nothing_and_is_not_truncated(s3):
    s3("PutObject", Key="k", Body=b"")
    for operation in ("ListObjects", "ListObjectsV2", "ListObjectVersions"):
        page = s3(operation, MaxKeys=0)
        assert (page["IsTruncated"], page["MaxKeys"]) == (False, 0)
        assert not {"Contents", "Versions", "CommonPrefixes"} & set(page)


def test_keys_are_encoded_where_that_is_asked_for(s3):
    for key in ("a+b/c", "d e", "f\x01"):
        s3("PutObject", Key=key, Body=b"")
    page = s3("ListObjectsV2", EncodingType="url", Delimiter="/")
    assert [entry["Key"] for entry in page["Contents"]] == ["d%20e", "f%01"]
    assert page["CommonPrefixes"] == [{"Prefix": "a%2Bb/"}]
    assert s3.error("ListObjects", EncodingType="base64") == ("InvalidArgument", 400)


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("ListObjectsV2", {"ContinuationToken": ""}),
        ("ListObjectsV2", {"ContinuationToken": "no token"}),
        ("ListObjects", {"MaxKeys": -1}),
        ("ListObjectVersions", {"VersionIdMarker": "x"}),
        ("ListObjectVersions", {"MaxKeys": -1}),
    ],
)
def test_what_no_listing_can_mean_is_refused(s3, operation, members):
    assert s3.error(operation, **members) == ("InvalidArgument", 400)


def test_a_token_wins_over_start_after_and_both_are_told(s3):
    for key in "abcd":
        s3("PutObject", Key=key, Body=b"")
    first = s3("ListObjectsV2", MaxKeys=1, StartAfter="a")
    assert (entries(first, "Contents"), first["StartAfter"]) == ([("b", False)], "a")
    token = first["NextContinuationToken"]
    rest = s3("ListObjectsV2", ContinuationToken=token, StartAfter="a")
    assert (entries(rest, "Contents"), rest["ContinuationToken"]) == ([("c", False), ("d", False)], token)


def test_uploads_under_way_are_rolled_up_and_paged(s3):
    for key in ("a/1", "a/2", "b", "b"):
        s3("CreateMultipartUpload", Key=key)
    page = s3("ListMultipartUploads", Delimiter="/", MaxUploads=1)
    assert (page["CommonPrefixes"], page["Uploads"], page["IsTruncated"]) == ([{"Prefix": "a/"}], [], True)
    page = s3("ListMultipartUploads", Delimiter="/", MaxUploads=1, KeyMarker=page["NextKeyMarker"])
    assert ([upload["Key"] for upload in page["Uploads"]], page["IsTruncated"]) == (["b"], True)
    markers = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    page = s3("ListMultipartUploads", Delimiter="/", **markers)
    assert ([upload["Key"] for upload in page["Uploads"]], page["IsTruncated"]) == (["b"], False)
