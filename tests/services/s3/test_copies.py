import pytest

FIVE_MIB = b"a" * (5 * 1024 * 1024)


def test_a_rename_moves_the_object_and_nothing_else(s3):
    s3("PutObject", Key="old", Body=b"x" * 20_000, Metadata={"m": "1"})
    assert s3.error("RenameObject", Key="new", RenameSource="bucket/none") == ("NoSuchKey", 404)
    assert s3.error("RenameObject", Key="new", RenameSource="bucket/old", SourceIfMatch="x")[0] == "PreconditionFailed"
    s3("RenameObject", Key="new", RenameSource="/bucket/old")
    assert s3.error("GetObject", Key="old") == ("NoSuchKey", 404)
    answer = s3("GetObject", Key="new")
    assert (answer["Body"], answer["Metadata"]) == (b"x" * 20_000, {"m": "1"})
    s3("PutObject", Key="old", Body=b"")
    taken = {"Key": "new", "RenameSource": "bucket/old", "DestinationIfNoneMatch": "*"}
    assert s3.error("RenameObject", **taken) == ("PreconditionFailed", 412)


def test_an_archived_object_is_read_once_it_is_restored_and_until_it_lapses(s3):
    s3("PutObject", Key="k", Body=b"x", StorageClass="GLACIER")
    assert s3.error("GetObject", Key="k") == ("InvalidObjectState", 403)
    assert s3.error("CopyObject", Key="c", CopySource="bucket/k") == ("InvalidObjectState", 403)
    s3("RestoreObject", Key="k", RestoreRequest={"Days": 1, "GlacierJobParameters": {"Tier": "Bulk"}})
    assert s3("GetObject", Key="k")["Body"] == b"x"
    assert s3("HeadObject", Key="k")["Restore"].startswith('ongoing-request="false", expiry-date="')
    s3.days(3)
    assert s3.error("GetObject", Key="k") == ("InvalidObjectState", 403)
    s3("PutObject", Key="warm", Body=b"x")
    assert s3.error("RestoreObject", Key="warm", RestoreRequest={"Days": 1}) == ("InvalidObjectState", 403)


def replicated(s3, **rule):
    for bucket in ("bucket", "copy"):
        if bucket == "copy":
            s3("CreateBucket", Bucket="copy")
        s3("PutBucketVersioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    target = {"Bucket": "arn:aws:s3:::copy"}
    whole = {
        "Status": "Enabled",
        "Priority": 1,
        "DeleteMarkerReplication": {"Status": "Enabled"},
        "Destination": target,
    }
    config = {"Role": "arn:aws:iam::000000000000:role/r", "Rules": [whole | rule]}
    s3("PutBucketReplication", ReplicationConfiguration=config)


def test_what_a_replication_rule_covers_appears_in_the_other_bucket_under_its_own_version(s3):
    replicated(s3, Filter={"Prefix": "in/"})
    small = s3("PutObject", Key="in/small", Body=b"x", Metadata={"m": "1"})
    s3.upload(FIVE_MIB, b"b", key="in/parts")
    s3("PutObject", Key="out", Body=b"x")
    assert s3("HeadObject", Key="in/small")["ReplicationStatus"] == "PENDING"
    s3.runner.run(s3.world.settle())
    assert s3("HeadObject", Key="in/small")["ReplicationStatus"] == "COMPLETED"
    copy = s3("GetObject", Bucket="copy", Key="in/small", VersionId=small["VersionId"])
    assert (copy["Body"], copy["Metadata"], copy["ReplicationStatus"]) == (b"x", {"m": "1"}, "REPLICA")
    assert s3("GetObject", Bucket="copy", Key="in/parts")["Body"] == FIVE_MIB + b"b"
    assert s3.error("HeadObject", Bucket="copy", Key="out")[1] == 404
    s3("DeleteObject", Key="in/small")
    s3.runner.run(s3.world.settle())
    assert s3.error("GetObject", Bucket="copy", Key="in/small")[0] == "NoSuchKey"


def test_replication_needs_versions_on_both_sides(s3):
    rule = {"Status": "Enabled", "Prefix": "", "Destination": {"Bucket": "arn:aws:s3:::copy"}}
    config = {"Role": "r", "Rules": [rule]}
    assert s3.error("PutBucketReplication", ReplicationConfiguration=config) == ("InvalidRequest", 400)
    assert s3.error("GetBucketReplication") == ("ReplicationConfigurationNotFoundError", 404)


def test_attributes_page_through_the_parts(s3):
    s3.upload(FIVE_MIB, FIVE_MIB, b"c", begin={"ChecksumAlgorithm": "CRC32"})
    asked = {"Key": "k", "ObjectAttributes": ["ETag", "ObjectParts", "ObjectSize", "Checksum"]}
    answer = s3("GetObjectAttributes", **asked, MaxParts=2)
    parts = answer["ObjectParts"]
    assert (parts["TotalPartsCount"], parts["IsTruncated"], len(parts["Parts"])) == (3, True, 2)
    assert answer["Checksum"]["ChecksumType"] == "COMPOSITE"
    rest = s3("GetObjectAttributes", **asked, PartNumberMarker=str(parts["NextPartNumberMarker"]))["ObjectParts"]
    assert [part["PartNumber"] for part in rest["Parts"]] == [3]
    assert s3.error("GetObjectAttributes", Key="k", ObjectAttributes=["Colour"])[0] == "InvalidArgument"


def test_select_and_directory_buckets_are_refused_clearly(s3):
    s3("PutObject", Key="k", Body=b"a,b")
    select = {
        "Key": "k",
        "Expression": "select * from s3object",
        "ExpressionType": "SQL",
        "InputSerialization": {"CSV": {}},
        "OutputSerialization": {"CSV": {}},
    }
    assert s3.error("SelectObjectContent", **select) == ("MethodNotAllowed", 405)
    assert s3.error("CreateBucket", Bucket="fast--use1-az4--x-s3") == ("NotImplemented", 501)
    assert s3.error("CreateSession") == ("NotImplemented", 501)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("bytes=0-2", None),
        ("bytes=1-1", None),
        ("0-2", "InvalidArgument"),
        ("bytes=2", "InvalidArgument"),
        ("bytes=hello-world", "InvalidArgument"),
        ("bytes=0-2,3-5", "InvalidArgument"),
        ("bytes=2-1", "InvalidArgument"),
        ("bytes=0-5", "InvalidRange"),
    ],
)
def test_a_part_is_copied_from_a_range_that_the_source_has(s3, asked, code):
    s3("PutObject", Key="source", Body=b"01234")
    upload_id = s3("CreateMultipartUpload", Key="k")["UploadId"]
    copy = {"Key": "k", "UploadId": upload_id, "PartNumber": 1, "CopySource": "bucket/source", "CopySourceRange": asked}
    if code:
        assert s3.error("UploadPartCopy", **copy)[0] == code
        return
    s3("UploadPartCopy", **copy)
    first, last = map(int, asked.removeprefix("bytes=").split("-"))
    assert s3("ListParts", Key="k", UploadId=upload_id)["Parts"][0]["Size"] == last - first + 1


def test_a_copy_onto_itself_has_to_change_something_and_directives_have_two_values(s3):
    s3("PutObject", Key="k", Body=b"x", Metadata={"m": "1"}, StorageClass="STANDARD_IA", Tagging="t=1")
    assert s3.error("CopyObject", Key="k", CopySource="bucket/k") == ("InvalidRequest", 400)
    s3("CopyObject", Key="k", CopySource="bucket/k", MetadataDirective="REPLACE", Metadata={"n": "2"})
    head = s3("HeadObject", Key="k")
    assert (head["Metadata"], "StorageClass" in head, head["TagCount"]) == ({"n": "2"}, False, 1)
    assert s3.error("CopyObject", Key="c", CopySource="bucket/k", MetadataDirective="KEEP")[0] == "InvalidArgument"
    assert s3.error("CopyObject", Key="c", CopySource="bucket/none")[0] == "NoSuchKey"
    assert s3.error("CopyObject", Key="c", CopySource="none/k")[0] == "NoSuchBucket"
    assert s3.error("CopyObject", Key="c", CopySource="bucket")[0] == "InvalidArgument"


def test_completing_again_answers_the_same_and_leftover_parts_are_freed(s3, blobs):
    upload_id = s3("CreateMultipartUpload", Key="k")["UploadId"]
    tags = [
        s3("UploadPart", Key="k", UploadId=upload_id, PartNumber=n, Body=data)["ETag"]
        for n, data in ((1, b"a"), (2, b"never"), (3, b"b"))
    ]
    done = {"Parts": [{"PartNumber": 1, "ETag": tags[0]}]}
    first = s3("CompleteMultipartUpload", Key="k", UploadId=upload_id, MultipartUpload=done)
    again = s3("CompleteMultipartUpload", Key="k", UploadId=upload_id, MultipartUpload=done)
    assert first == again
    s3.days(1)
    assert len(blobs.held) == 1
    s3("DeleteObject", Key="k")
    s3.days(1)
    assert not blobs.held
    error = s3.error("CompleteMultipartUpload", Key="k", UploadId=upload_id, MultipartUpload=done)
    assert error == ("NoSuchUpload", 404)
