import pytest

from penstock.kernel.errors import ServiceError
from penstock.model.loader import service_model
from penstock.model.validation import compile_pattern, validate
from penstock.protocol.route import SERVED

NULL = "failed to satisfy constraint: Member must not be null"
CASES = [
    (
        "kinesis",
        "CreateStream",
        {},
        "ValidationException",
        f"1 validation error detected: Value null at 'streamName' {NULL}",
    ),
    (
        "kinesis",
        "CreateStream",
        {"StreamName": "a b", "ShardCount": 0},
        "ValidationException",
        "2 validation errors detected: Value 'a b' at 'streamName' failed to satisfy constraint: Member must satisfy"
        " regular expression pattern: [a-zA-Z0-9_.-]+; Value '0' at 'shardCount' failed to satisfy constraint: Member"
        " must have value greater than or equal to 1",
    ),
    (
        "kinesis",
        "PutRecords",
        {"StreamName": "s", "Records": [{"Data": b"x", "PartitionKey": "p"}, {"PartitionKey": "p"}]},
        "ValidationException",
        f"1 validation error detected: Value null at 'records.2.member.data' {NULL}",
    ),
    (
        "dynamodb",
        "BatchGetItem",
        {"RequestItems": {"t": {"Keys": []}}},
        "ValidationException",
        "1 validation error detected: Value '[]' at 'requestItems.t.member.keys' failed to satisfy constraint: Member"
        " must have length greater than or equal to 1",
    ),
    (
        "lambda",
        "Invoke",
        {"FunctionName": "f", "InvocationType": "Now"},
        "ValidationException",
        "1 validation error detected: Value 'Now' at 'invocationType' failed to satisfy constraint: Member must satisfy"
        " enum value set: [Event, RequestResponse, DryRun]",
    ),
    (
        "iam",
        "CreateUser",
        {"UserName": "a/b"},
        "ValidationError",
        "1 validation error detected: Value 'a/b' at 'userName' failed to satisfy constraint: Member must satisfy"
        r" regular expression pattern: [\w+=,.@-]+",
    ),
    (
        "sqs",
        "SendMessage",
        {"QueueUrl": "u"},
        "MissingParameter",
        "The request must contain the parameter MessageBody.",
    ),
    (
        "s3",
        "CompleteMultipartUpload",
        {"Bucket": "b", "Key": "k"},
        "MethodNotAllowed",
        "The specified method is not allowed against this resource.",
    ),
    (
        "s3",
        "GetObjectAttributes",
        {"Bucket": "b", "Key": "k"},
        "InvalidRequest",
        "Missing required header for this request: x-amz-object-attributes",
    ),
    (
        "s3",
        "PutBucketCors",
        {"Bucket": "b"},
        "MissingRequestBodyError",
        "Request body is empty.",
    ),
    (
        "logs",
        "CreateLogGroup",
        {"logGroupName": "a" * 3 + "*"},
        "InvalidParameterException",
        "1 validation error detected: Value 'aaa*' at 'logGroupName' failed to satisfy constraint: Member must satisfy"
        r" regular expression pattern: [\.\-_/#A-Za-z0-9]+",
    ),
]


@pytest.mark.parametrize(("service", "operation", "members", "code", "message"), CASES)
def test_members_that_break_a_constraint_are_told_in_aws_words(service, operation, members, code, message):
    with pytest.raises(ServiceError) as refused:
        validate(service, operation, members)
    assert (refused.value.code, refused.value.message) == (code, message)


def test_a_list_of_plain_values_fails_as_a_whole():
    with pytest.raises(ServiceError, match=r"Value '\[, a\]' at 'tagKeys' .*Member must satisfy constraint: \[Member"):
        validate("kinesis", "RemoveTagsFromStream", {"StreamName": "s", "TagKeys": ["", "a"]})


def test_at_most_ten_errors_are_told():
    records = [{} for _ in range(20)]
    with pytest.raises(ServiceError, match="10 validation errors detected"):
        validate("kinesis", "PutRecords", {"StreamName": "s", "Records": records})


def test_what_the_model_allows_passes():
    validate("kinesis", "PutRecord", {"StreamName": "s", "Data": b"x", "PartitionKey": "p"})
    validate("dynamodb", "PutItem", {"TableName": "t", "Item": {"a": {"M": {"b": {"L": [{"S": "x"}]}}}}})
    validate("s3", "PutObject", {"Bucket": "b", "Key": "k"})


def test_recursive_shapes_are_checked_at_depth():
    entry = {"Id": "x", "Label": "l"}
    validate("cloudwatch", "GetMetricData", {"MetricDataQueries": [entry], "StartTime": 0, "EndTime": 1})


def complaint(service, operation):
    try:
        validate(service, operation, {})
    except ServiceError as error:
        return error.message
    return None


@pytest.mark.parametrize("service", SERVED)
def test_every_operation_has_a_check_that_compiles(service):
    for name, operation in service_model(service).operations.items():
        is_refused = bool(operation.input and operation.input.required)
        assert bool(complaint(service, name)) == is_refused, name


def test_unicode_categories_are_understood_within_classes():
    pattern = compile_pattern(r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$")
    assert pattern.fullmatch("Größe 1_é:/=+-@")
    assert not pattern.fullmatch("a#b")
