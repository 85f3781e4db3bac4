from datetime import UTC, datetime, timedelta

import pytest

from penstock.testkit.world import START_MS

NOW = datetime.fromtimestamp(START_MS / 1000, UTC)
SOON = NOW + timedelta(days=1)


@pytest.fixture
def locked(s3):
    s3("CreateBucket", Bucket="locked", ObjectLockEnabledForBucket=True)

    def call(operation, **members):
        return s3(operation, Bucket="locked", **members)

    call.error = lambda operation, **members: s3.error(operation, Bucket="locked", **members)
    call.days = s3.days
    return call


def put(locked, mode="GOVERNANCE", until=SOON):
    return locked("PutObject", Key="k", Body=b"x", ObjectLockMode=mode, ObjectLockRetainUntilDate=until)["VersionId"]


def test_a_kept_version_is_deleted_only_after_its_time_and_hidden_before(locked):
    version_id = put(locked, "COMPLIANCE")
    assert locked("DeleteObject", Key="k")["DeleteMarker"] is True
    named = {"Key": "k", "VersionId": version_id}
    assert locked.error("DeleteObject", **named) == ("AccessDenied", 403)
    assert locked.error("DeleteObject", **named, BypassGovernanceRetention=True) == ("AccessDenied", 403)
    locked.days(2)
    assert locked("DeleteObject", **named)["VersionId"] == version_id


def test_governance_is_bypassed_only_by_who_says_so_and_a_hold_by_nobody(locked):
    named = {"Key": "k", "VersionId": put(locked)}
    locked("PutObjectLegalHold", Key="k", LegalHold={"Status": "ON"})
    assert locked.error("DeleteObject", **named, BypassGovernanceRetention=True) == ("AccessDenied", 403)
    locked("PutObjectLegalHold", Key="k", LegalHold={"Status": "OFF"})
    assert locked.error("DeleteObject", **named) == ("AccessDenied", 403)
    answer = locked("DeleteObjects", Delete={"Objects": [named]})
    assert answer["Errors"][0]["Code"] == "AccessDenied"
    answer = locked("DeleteObjects", Delete={"Objects": [named]}, BypassGovernanceRetention=True)
    assert answer["Deleted"][0]["Key"] == "k"


def test_retention_is_prolonged_freely_and_shortened_only_by_a_bypass(locked):
    put(locked)
    later, sooner = SOON + timedelta(days=1), SOON - timedelta(hours=1)
    locked("PutObjectRetention", Key="k", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": later})
    shorter = {"Key": "k", "Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": sooner}}
    assert locked.error("PutObjectRetention", **shorter) == ("AccessDenied", 403)
    locked("PutObjectRetention", **shorter, BypassGovernanceRetention=True)
    assert locked("GetObjectRetention", Key="k")["Retention"] == shorter["Retention"]
    strict = {"Mode": "COMPLIANCE", "RetainUntilDate": sooner}
    locked("PutObjectRetention", Key="k", Retention=strict, BypassGovernanceRetention=True)
    assert locked.error("PutObjectRetention", **shorter, BypassGovernanceRetention=True)[0] == "AccessDenied"


def test_a_buckets_default_locks_what_comes_without_a_lock(locked):
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}}
    config = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    locked("PutObjectLockConfiguration", ObjectLockConfiguration=config)
    locked("PutObject", Key="k", Body=b"")
    head = locked("HeadObject", Key="k")
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", NOW + timedelta(days=3))
    assert locked("GetObjectLockConfiguration")["ObjectLockConfiguration"] == config


def test_a_bucket_without_lock_takes_none(s3):
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": SOON}
    assert s3.error("PutObject", Key="k", Body=b"", **lock) == ("InvalidRequest", 400)
    s3("PutObject", Key="k", Body=b"")
    assert s3.error("GetObjectRetention", Key="k") == ("InvalidRequest", 400)
    assert s3.error("GetObjectLockConfiguration") == ("ObjectLockConfigurationNotFoundError", 404)
    config = {"ObjectLockEnabled": "Enabled"}
    assert s3.error("PutObjectLockConfiguration", ObjectLockConfiguration=config) == ("InvalidBucketState", 409)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"ObjectLockMode": "GOVERNANCE"}, "InvalidArgument"),
        ({"ObjectLockMode": "x", "ObjectLockRetainUntilDate": SOON}, "InvalidArgument"),
        ({"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": NOW - timedelta(days=1)}, "InvalidArgument"),
        ({"ObjectLockLegalHoldStatus": "MAYBE"}, "InvalidArgument"),
    ],
)
def test_half_a_lock_is_refused(locked, given, code):
    assert locked.error("PutObject", Key="k", Body=b"", **given)[0] == code


def test_a_locked_bucket_keeps_its_versions(locked):
    status = {"Status": "Suspended"}
    assert locked.error("PutBucketVersioning", VersioningConfiguration=status) == ("InvalidBucketState", 409)
