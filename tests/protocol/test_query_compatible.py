"""SQS speaks json, and tells each error's old query code beside the new name: SDKs still go by it."""

import orjson
import pytest
from botocore.parsers import create_parser

from penstock.kernel.errors import ServiceError
from penstock.model.loader import service_model
from penstock.protocol.codecs import codec_for

PREFIX = "AWS.SimpleQueueService."


@pytest.mark.parametrize(
    ("raised", "query_code", "status"),
    [
        ("QueueDoesNotExist", PREFIX + "NonExistentQueue", 400),
        (PREFIX + "NonExistentQueue", PREFIX + "NonExistentQueue", 400),
        ("QueueNameExists", "QueueAlreadyExists", 400),
        ("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404),
        ("PurgeQueueInProgress", PREFIX + "PurgeQueueInProgress", 403),
        ("EmptyBatchRequest", PREFIX + "EmptyBatchRequest", 400),
        ("KmsAccessDenied", "KMS.AccessDeniedException", 400),
        ("InvalidAttributeName", "InvalidAttributeName", 400),
        ("MissingParameter", "MissingParameter", 400),
    ],
)
def test_an_error_carries_both_names(raised, query_code, status):
    operation = service_model("sqs").operations["SendMessage"]
    answer = codec_for("json").serialize_error(operation, ServiceError(raised, "why"), "r")
    headers = {name.lower(): value for name, value in answer.headers}
    assert (answer.status, headers["x-amzn-query-error"]) == (status, f"{query_code};Sender")
    declared = service_model("sqs").errors.get(raised)
    name = orjson.loads(answer.body)["__type"].removeprefix("com.amazonaws.sqs#")
    assert name == (declared.name if declared else raised)
    parsed = create_parser("json").parse({"status_code": status, "headers": headers, "body": answer.body}, None)
    assert parsed["Error"]["Code"] == query_code
    assert parsed["Error"]["QueryErrorCode"] == name
