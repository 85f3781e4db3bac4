from datetime import UTC, datetime, timedelta

import pytest

from penstock.services.s3.operations import lifecycle
from penstock.testkit.world import START_MS

NOW = datetime.fromtimestamp(START_MS / 1000, UTC)
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0, microsecond=0)


def rules(s3, *given):
    whole = [{"Status": "Enabled", "ID": f"r{n}", **rule} for n, rule in enumerate(given)]
    s3("PutBucketLifecycleConfiguration", LifecycleConfiguration={"Rules": whole})


def keys(s3):
    return [entry["Key"] for entry in s3("ListObjectsV2").get("Contents", [])]


def versions(s3):
    answer = s3("ListObjectVersions")
    return [len(answer.get(kind, [])) for kind in ("Versions", "DeleteMarkers")]


@pytest.mark.parametrize(
    ("where", "left"),
    [
        ({"Prefix": "logs/"}, ["data/a", "data/b"]),
        ({"Tag": {"Key": "t", "Value": "1"}}, ["data/b", "logs/b"]),
        ({"ObjectSizeGreaterThan": 10}, ["data/a", "logs/a"]),
        ({"ObjectSizeLessThan": 10}, ["data/b", "logs/b"]),
        ({"And": {"Prefix": "logs/", "Tags": [{"Key": "t", "Value": "1"}]}}, ["data/a", "data/b", "logs/b"]),
        ({}, []),
    ],
)
def test_objects_expire_after_their_days_at_the_next_midnight_where_the_filter_covers_them(s3, where, left):
    for key in ("logs/a", "data/a"):
        s3("PutObject", Key=key, Body=b"x", Tagging="t=1")
    for key in ("logs/b", "data/b"):
        s3("PutObject", Key=key, Body=b"x" * 20)
    rules(s3, {"Filter": where, "Expiration": {"Days": 2}})
    s3.days(2)
    assert len(keys(s3)) == 4
    s3.days(1)
    assert keys(s3) == left


def test_an_object_says_when_it_will_expire_and_by_which_rule(s3):
    rules(s3, {"Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 1}, "ID": "my rule"})
    due = (MIDNIGHT + timedelta(days=2)).strftime("%a, %d %b %Y 00:00:00 GMT")
    expected = f'expiry-date="{due}", rule-id="my%20rule"'
    assert s3("PutObject", Key="logs/a", Body=b"")["Expiration"] == expected
    assert s3("HeadObject", Key="logs/a")["Expiration"] == s3("GetObject", Key="logs/a")["Expiration"] == expected
    assert "Expiration" not in s3("PutObject", Key="a", Body=b"")


def test_in_a_versioned_bucket_expiry_hides_then_old_versions_go_then_the_marker(versioned):
    s3 = versioned
    s3("PutObject", Key="k", Body=b"1")
    s3("PutObject", Key="k", Body=b"2")
    rules(
        s3,
        {"Filter": {}, "Expiration": {"Days": 1}},
        {"Filter": {}, "NoncurrentVersionExpiration": {"NoncurrentDays": 3}},
        {"Filter": {}, "Expiration": {"ExpiredObjectDeleteMarker": True}},
    )
    s3.days(2)
    assert versions(s3) == [2, 1]
    s3.days(2)
    assert versions(s3) == [1, 1]
    s3.days(3)
    assert versions(s3) == [0, 0]


def test_so_many_newer_old_versions_are_kept(versioned):
    for n in range(5):
        versioned("PutObject", Key="k", Body=b"%d" % n)
    old = {"NoncurrentDays": 1, "NewerNoncurrentVersions": 2}
    rules(versioned, {"Filter": {}, "NoncurrentVersionExpiration": old})
    versioned.days(3)
    assert versions(versioned) == [3, 0]
    assert versioned("GetObject", Key="k")["Body"] == b"4"


def test_uploads_that_nobody_completes_are_given_up(s3):
    rules(s3, {"Filter": {"Prefix": "up/"}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}})
    begun = s3("CreateMultipartUpload", Key="up/a")
    assert (begun["AbortRuleId"], begun["AbortDate"]) == ("r0", MIDNIGHT + timedelta(days=2))
    s3("CreateMultipartUpload", Key="other")
    s3.days(3)
    assert [upload["Key"] for upload in s3("ListMultipartUploads")["Uploads"]] == ["other"]


def test_transitions_change_the_class_and_small_objects_stay(s3):
    s3("PutObject", Key="big", Body=b"x" * 130 * 1024)
    s3("PutObject", Key="small", Body=b"x")
    moves = [{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 90, "StorageClass": "GLACIER"}]
    rules(s3, {"Filter": {}, "Transitions": moves})
    s3.days(32)
    assert s3("HeadObject", Key="big")["StorageClass"] == "STANDARD_IA"
    assert "StorageClass" not in s3("HeadObject", Key="small")
    s3.days(60)
    assert s3.error("GetObject", Key="big") == ("InvalidObjectState", 403)


def test_a_date_is_the_day_from_which_everything_goes(s3):
    rules(s3, {"Filter": {}, "Expiration": {"Date": MIDNIGHT + timedelta(days=2)}})
    s3("PutObject", Key="k", Body=b"")
    s3.days(1)
    assert keys(s3) == ["k"]
    s3.days(1)
    assert keys(s3) == []
    read = s3("GetBucketLifecycleConfiguration")
    assert read["Rules"][0]["Expiration"]["Date"] == MIDNIGHT + timedelta(days=2)


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"Expiration": {"Days": 1}}, "MalformedXML"),
        ({"Filter": {}, "Prefix": "", "Expiration": {"Days": 1}}, "MalformedXML"),
        ({"Filter": {}}, "InvalidRequest"),
        ({"Filter": {}, "Expiration": {"Days": 0}}, "InvalidArgument"),
        ({"Filter": {}, "Expiration": {"Days": 1, "ExpiredObjectDeleteMarker": True}}, "MalformedXML"),
        ({"Filter": {}, "Expiration": {"Date": NOW}}, "InvalidArgument"),
        ({"Filter": {}, "Expiration": {"Days": 1}, "ID": "x" * 256}, "InvalidArgument"),
        ({"Filter": {}, "Expiration": {"Days": 1}, "Status": "enabled"}, "MalformedXML"),
        ({"Filter": {}, "Transitions": [{"Days": 5, "StorageClass": "STANDARD_IA"}]}, "InvalidArgument"),
        ({"Filter": {"Prefix": "a", "Tag": {"Key": "k", "Value": "v"}}, "Expiration": {"Days": 1}}, "MalformedXML"),
        (
            {
                "Filter": {"Tag": {"Key": "k", "Value": "v"}},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
            },
            "InvalidRequest",
        ),
    ],
)
def test_a_rule_that_s3_would_refuse_is_refused(s3, rule, code):
    whole = {"Rules": [{"Status": "Enabled", **rule}]}
    assert s3.error("PutBucketLifecycleConfiguration", LifecycleConfiguration=whole)[0] == code


def test_without_rules_there_is_no_configuration(s3):
    assert s3.error("GetBucketLifecycleConfiguration") == ("NoSuchLifecycleConfiguration", 404)
    rules(s3, {"Filter": {}, "Expiration": {"Days": 1}})
    s3("DeleteBucketLifecycle")
    s3("PutObject", Key="k", Body=b"")
    s3.days(3)
    assert keys(s3) == ["k"]


def test_only_keys_that_a_rule_can_cover_are_walked_over_many_batches(s3, monkeypatch):
    monkeypatch.setattr(lifecycle, "_BATCH", 3)
    names = [f"{folder}/{number}" for folder in "abcde" for number in range(7)]
    for key in names:
        s3("PutObject", Key=key, Body=b"")
    prefixes = ("b/", "d/", "d/5", "zz")
    rules(s3, *({"Filter": {"Prefix": prefix}, "Expiration": {"Days": 1}} for prefix in prefixes))
    s3.days(3)
    assert keys(s3) == [key for key in names if key[0] in "ace"]
