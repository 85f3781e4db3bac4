"""Queues on a running node: today's SDK, the CLI, and the query protocol as older clients and scripts speak it."""

import json
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from xml.etree import ElementTree

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.real_clients
AWS = Path(sys.executable).with_name("aws")
NAMESPACE = "{http://queue.amazonaws.com/doc/2012-11-05/}"
SIGNED = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0"


def query(url, *, method="POST", is_signed=True, **fields):
    """A form as an older client posts it; the status and the answer's root element."""
    text = urllib.parse.urlencode({"Version": "2012-11-05", **fields})
    headers = {"Authorization": SIGNED, "X-Amz-Date": "20260101T000000Z"} if is_signed else {}
    where, body = (url, text.encode()) if method == "POST" else (f"{url}?{text}", None)
    try:
        with urllib.request.urlopen(urllib.request.Request(where, body, headers, method=method)) as answer:
            return answer.status, ElementTree.fromstring(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, ElementTree.fromstring(error.read())


def texts(root, *path):
    return [element.text for element in root.iterfind("/".join(NAMESPACE + name for name in path))]


def test_a_message_goes_through_a_queue(node):
    sqs = node.client("sqs")
    url = sqs.create_queue(QueueName="through", Attributes={"VisibilityTimeout": "30"})["QueueUrl"]
    value = {"DataType": "Binary", "BinaryValue": b"\x00\xff"}
    sqs.send_message(QueueUrl=url, MessageBody="é<&>\n", MessageAttributes={"k": value})
    (message,) = sqs.receive_message(
        QueueUrl=url, WaitTimeSeconds=5, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"]
    )["Messages"]
    assert (message["Body"], message["MessageAttributes"]["k"]["BinaryValue"]) == ("é<&>\n", b"\x00\xff")
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=60)
    done = sqs.delete_message_batch(
        QueueUrl=url,
        Entries=[{"Id": "ok", "ReceiptHandle": message["ReceiptHandle"]}, {"Id": "bad", "ReceiptHandle": "x"}],
    )
    assert [item["Id"] for item in done["Successful"]] == ["ok"]
    assert [(item["Id"], item["Code"]) for item in done["Failed"]] == [("bad", "ReceiptHandleIsInvalid")]


def test_errors_have_the_names_that_clients_catch(node):
    sqs = node.client("sqs")
    with pytest.raises(sqs.exceptions.QueueDoesNotExist) as refused:
        sqs.get_queue_url(QueueName="none")
    assert refused.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    url = sqs.create_queue(QueueName="errors")["QueueUrl"]
    with pytest.raises(ClientError, match="NonExistentQueue"):
        sqs.send_message(QueueUrl=f"{node.url}/000000000000/none", MessageBody="x")
    with pytest.raises(sqs.exceptions.QueueNameExists):
        sqs.create_queue(QueueName="errors", Attributes={"DelaySeconds": "1"})
    with pytest.raises(sqs.exceptions.EmptyBatchRequest):
        sqs.send_message_batch(QueueUrl=url, Entries=[])
    sqs.delete_queue(QueueUrl=url)
    with pytest.raises(sqs.exceptions.QueueDeletedRecently):
        sqs.create_queue(QueueName="errors")


def test_a_queue_is_known_by_its_url_whatever_the_host(node):
    sqs = node.client("sqs")
    sqs.create_queue(QueueName="hosts")
    for host in ("https://sqs.us-east-1.amazonaws.com", "https://queue.amazonaws.com", "http://localhost:1"):
        sqs.send_message(QueueUrl=f"{host}/000000000000/hosts", MessageBody="x")


def test_a_fifo_queue_keeps_its_order_and_survives_being_killed(fresh_node):
    node = fresh_node()
    sqs = node.client("sqs")
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    url = sqs.create_queue(QueueName="order.fifo", Attributes=attributes)["QueueUrl"]
    for number in range(20):
        sqs.send_message(QueueUrl=url, MessageBody=str(number), MessageGroupId=str(number % 2))
    node.process.kill()
    node.process.wait()
    node = fresh_node(data=node.data)
    sqs, url = node.client("sqs"), f"{node.url}/000000000000/order.fifo"
    seen = {"0": [], "1": []}
    while messages := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=3, MessageSystemAttributeNames=["MessageGroupId"]
    ).get("Messages"):
        for message in messages:
            seen[message["Attributes"]["MessageGroupId"]].append(int(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert seen == {"0": list(range(0, 20, 2)), "1": list(range(1, 20, 2))}
    assert sqs.send_message(QueueUrl=url, MessageBody="0", MessageGroupId="0")["SequenceNumber"] == f"{1:020d}"


def test_query_creates_sends_receives_and_deletes(node):
    fields = {"Attribute.1.Name": "VisibilityTimeout", "Attribute.1.Value": "9", "Tag.1.Key": "k", "Tag.1.Value": "v"}
    status, root = query(node.url, Action="CreateQueue", QueueName="by-query", **fields)
    assert (status, root.tag) == (200, f"{NAMESPACE}CreateQueueResponse")
    (url,) = texts(root, "CreateQueueResult", "QueueUrl")
    assert texts(root, "ResponseMetadata", "RequestId") != []
    attribute = {
        "MessageAttribute.1.Name": "n",
        "MessageAttribute.1.Value.DataType": "Number",
        "MessageAttribute.1.Value.StringValue": "5",
    }
    _, root = query(url, Action="SendMessage", MessageBody="a b&c", **attribute)  # QueueUrl is where it is sent
    assert texts(root, "SendMessageResult", "MD5OfMessageAttributes") != []
    names = {"AttributeName.1": "All", "MessageAttributeName.1": "All"}
    _, root = query(url, Action="ReceiveMessage", QueueUrl=url, **names)
    message = ("ReceiveMessageResult", "Message")
    assert texts(root, *message, "Body") == ["a b&c"]
    assert texts(root, *message, "MessageAttribute", "Value", "StringValue") == ["5"]
    assert "ApproximateReceiveCount" in texts(root, *message, "Attribute", "Name")
    (handle,) = texts(root, *message, "ReceiptHandle")
    entries = {
        "DeleteMessageBatchRequestEntry.1.Id": "a",
        "DeleteMessageBatchRequestEntry.1.ReceiptHandle": handle,
        "DeleteMessageBatchRequestEntry.2.Id": "b",
        "DeleteMessageBatchRequestEntry.2.ReceiptHandle": "nonsense",
    }
    _, root = query(url, Action="DeleteMessageBatch", **entries)
    assert texts(root, "DeleteMessageBatchResult", "DeleteMessageBatchResultEntry", "Id") == ["a"]
    assert texts(root, "DeleteMessageBatchResult", "BatchResultErrorEntry", "Code") == ["ReceiptHandleIsInvalid"]
    _, root = query(url, method="GET", Action="GetQueueAttributes", **{"AttributeName.1": "VisibilityTimeout"})
    assert texts(root, "GetQueueAttributesResult", "Attribute", "Value") == ["9"]
    _, root = query(url, Action="ListQueueTags")
    assert texts(root, "ListQueueTagsResult", "Tag", "Key") == ["k"]
    _, root = query(url, Action="PurgeQueue")
    assert root.tag == f"{NAMESPACE}PurgeQueueResponse"


def test_query_hears_errors_in_xml(node):
    status, root = query(node.url, Action="GetQueueUrl", QueueName="none")
    assert (status, root.tag) == (400, f"{NAMESPACE}ErrorResponse")
    assert texts(root, "Error", "Code") == ["AWS.SimpleQueueService.NonExistentQueue"]
    assert texts(root, "Error", "Type") == ["Sender"]
    status, root = query(f"{node.url}/000000000000/none", Action="SendMessage", MessageBody="x", is_signed=False)
    assert (status, texts(root, "Error", "Code")) == (400, ["AWS.SimpleQueueService.NonExistentQueue"])
    status, root = query(node.url, Action="SendMessage", QueueUrl=f"{node.url}/000000000000/none")
    assert (status, texts(root, "Error", "Code")) == (400, ["MissingParameter"])


def test_the_cli_moves_dead_letters_back(node):
    if not AWS.exists():
        pytest.skip("the aws CLI isn't installed beside this interpreter")

    def aws(*words):
        command = [AWS, "--endpoint-url", node.url, "--output", "json", "sqs", *words]
        done = subprocess.run(command, capture_output=True, text=True, env=node.environment(), timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else {}

    dead = aws("create-queue", "--queue-name", "cli-dead")["QueueUrl"]
    target = aws("get-queue-attributes", "--queue-url", dead, "--attribute-names", "QueueArn")["Attributes"]["QueueArn"]
    policy = {"deadLetterTargetArn": target, "maxReceiveCount": "1"}
    attributes = json.dumps({"RedrivePolicy": json.dumps(policy), "VisibilityTimeout": "0"})
    work = aws("create-queue", "--queue-name", "cli-work", "--attributes", attributes)["QueueUrl"]
    aws("send-message", "--queue-url", work, "--message-body", "poison")
    assert aws("receive-message", "--queue-url", work)["Messages"][0]["Body"] == "poison"
    assert aws("receive-message", "--queue-url", work) == {}
    assert aws("list-dead-letter-source-queues", "--queue-url", dead)["queueUrls"] == [work]
    aws("start-message-move-task", "--source-arn", target)
    got = aws("receive-message", "--queue-url", work, "--wait-time-seconds", "10")
    assert got["Messages"][0]["Body"] == "poison"
    assert aws("list-message-move-tasks", "--source-arn", target)["Results"][0]["Status"] == "COMPLETED"
