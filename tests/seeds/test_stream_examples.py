"""Examples of stream processing from public guides, fed by mappings as their texts say."""

import base64
import io
import json
import time
import zipfile
from pathlib import Path

import boto3
import orjson
import pytest

from penstock.app.cli.demo import free_port, start_node, stop_node
from penstock.services import kinesis, lambda_, logs, sqs
from penstock.testkit.functions import FakePool, create_function, outcome
from penstock.testkit.world import World

HANDLERS = Path(__file__).parent / "handlers"
ROLE = "arn:aws:iam::000000000000:role/seed"
DECIMALS = """
import decimal, index
index.float = lambda value: decimal.Decimal(str(value))
from index import lambda_handler
"""
REPROCESS = """
import base64, boto3, json
kinesis, s3 = boto3.client("kinesis"), boto3.client("s3")

def lambda_handler(event, context):
    for message in event["Records"]:
        told = json.loads(message["body"])
        batch = told["KinesisBatchInfo"]
        iterator = kinesis.get_shard_iterator(
            StreamARN=batch["streamArn"], ShardId=batch["shardId"],
            ShardIteratorType="AT_SEQUENCE_NUMBER", StartingSequenceNumber=batch["startSequenceNumber"],
        )["ShardIterator"]
        for record in kinesis.get_records(ShardIterator=iterator, Limit=batch["batchSize"])["Records"]:
            s3.put_object(Bucket="quarantine", Key=record["SequenceNumber"], Body=record["Data"])
"""
ONCE = """
import base64, boto3, json, time
table = boto3.resource("dynamodb").Table("processed-events")
totals = boto3.resource("dynamodb").Table("totals")

def lambda_handler(event, context):
    for record in event["Records"]:
        data = json.loads(base64.b64decode(record["kinesis"]["data"]))
        try:
            table.put_item(
                Item={"event_id": data["event_id"], "ttl": int(time.time()) + 7 * 86400},
                ConditionExpression="attribute_not_exists(event_id)",
            )
        except table.meta.client.exceptions.ConditionalCheckFailedException:
            print("duplicate", data["event_id"])
            continue
        totals.update_item(
            Key={"event_id": "all"}, UpdateExpression="ADD amount :a", ExpressionAttributeValues={":a": data["amount"]}
        )
        if data["event_id"] == "e3":
            # What was done before is done again when the batch is, and mustn't count twice.
            marker = totals.update_item(
                Key={"event_id": "tries"}, UpdateExpression="ADD amount :a",
                ExpressionAttributeValues={":a": 1}, ReturnValues="UPDATED_NEW",
            )
            if marker["Attributes"]["amount"] == 1:
                raise RuntimeError("half of the batch is done")
"""

pytestmark = [pytest.mark.real_clients, pytest.mark.xdist_group("seeds")]


class Node:
    def __init__(self, endpoint):
        session = boto3.session.Session("test", "test", region_name="us-east-1")
        for name in ("s3", "lambda", "logs", "kinesis", "dynamodb", "sqs"):
            setattr(self, name.replace("lambda", "functions"), session.client(name, endpoint_url=endpoint))

    def deploy(self, name, files, handler="index.lambda_handler"):
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w") as code:
            for path, text in files.items():
                code.writestr(path, text)
        self.functions.create_function(
            FunctionName=name,
            Runtime="python3.11",
            Role=ROLE,
            Handler=handler,
            Code={"ZipFile": body.getvalue()},
            Timeout=20,
        )
        self.functions.get_waiter("function_active_v2").wait(FunctionName=name)

    def stream(self, name):
        self.kinesis.create_stream(StreamName=name, ShardCount=1)
        self.kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
        return self.kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]

    def put(self, name, *events):
        records = [{"Data": json.dumps(event).encode(), "PartitionKey": event["user_id"]} for event in events]
        self.kinesis.put_records(StreamName=name, Records=records)

    def feed(self, source, name, **members):
        self.functions.create_event_source_mapping(EventSourceArn=source, FunctionName=name, **members)

    def table(self, name):
        self.dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "event_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "event_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})

    def queue(self, name):
        url = self.sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, found["Attributes"]["QueueArn"]

    def items(self, table):
        return {item["event_id"]["S"]: item for item in self.dynamodb.scan(TableName=table)["Items"]}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    port = free_port()
    process = start_node(tmp_path_factory.mktemp("node"), port)
    yield Node(f"http://127.0.0.1:{port}")
    stop_node(process)


def eventually(test):
    until_s = time.monotonic() + 60
    while not (found := test()):
        assert time.monotonic() < until_s
        time.sleep(0.1)
    return found


def text_of(file):
    return (HANDLERS / file).read_text()


def event(number, **more):
    return {"event_id": f"e{number}", "event_type": "click", "user_id": f"u{number % 3}", "amount": number, **more}


def test_a_consumer_prints_what_it_receives(node):
    node.deploy("consumer", {"index.py": text_of("001_kinesis_consumer.py")})
    node.feed(node.stream("clicks"), "consumer", StartingPosition="TRIM_HORIZON")
    node.put("clicks", event(1))

    def logged():
        try:
            pattern = "\"Received: {'event_id': 'e1'\""
            return node.logs.filter_log_events(logGroupName="/aws/lambda/consumer", filterPattern=pattern)["events"]
        except node.logs.exceptions.ResourceNotFoundException:
            return []

    eventually(logged)


def test_a_stream_fills_a_table_with_results_that_expire(node):
    node.table("stream-processor-state")
    files = {"index.py": text_of("002_kinesis_to_table.py"), "around.py": DECIMALS}
    node.deploy("to-table", files, handler="around.lambda_handler")
    node.feed(
        node.stream("orders"), "to-table", StartingPosition="TRIM_HORIZON", BatchSize=100, ParallelizationFactor=10
    )
    node.put("orders", *[event(number) for number in range(1, 31)])
    found = eventually(lambda: len(items := node.items("stream-processor-state")) == 30 and items)
    result = found["e7"]["result"]["M"]
    assert (result["amount"], result["validation_score"]) == ({"N": "7"}, {"N": "100"})
    assert 6 * 86400 < int(found["e7"]["ttl"]["N"]) - time.time() < 8 * 86400


def test_what_is_raised_again_ends_in_the_queue_and_is_worked_off_from_there(node):
    """The text as it is puts floats, which the SDK refuses: every record fails, is retried, and is told."""
    node.s3.create_bucket(Bucket="quarantine")
    _, dead = node.queue("failed-orders")
    node.deploy("failing", {"index.py": text_of("002_kinesis_to_table.py")})
    node.deploy("reprocess", {"index.py": REPROCESS})
    node.feed(dead, "reprocess")
    node.feed(
        node.stream("bad-orders"),
        "failing",
        StartingPosition="TRIM_HORIZON",
        BatchSize=10,
        MaximumRetryAttempts=1,
        BisectBatchOnFunctionError=True,
        DestinationConfig={"OnFailure": {"Destination": dead}},
    )
    node.put("bad-orders", *[event(number) for number in range(5)])
    found = eventually(
        lambda: len(entries := node.s3.list_objects_v2(Bucket="quarantine").get("Contents", [])) == 5 and entries
    )
    bodies = [node.s3.get_object(Bucket="quarantine", Key=entry["Key"])["Body"].read() for entry in found]
    assert [json.loads(body)["event_id"] for body in bodies] == [f"e{number}" for number in range(5)]


def test_a_batch_that_is_done_again_counts_once(node):
    node.table("processed-events")
    node.table("totals")
    node.deploy("once", {"index.py": ONCE})
    node.feed(node.stream("payments"), "once", StartingPosition="TRIM_HORIZON")
    node.put("payments", *[event(number) for number in range(1, 7)])
    eventually(lambda: len(node.items("processed-events")) == 6)
    eventually(lambda: node.items("totals")["all"]["amount"]["N"] == "21")
    assert node.items("totals")["tries"]["amount"]["N"] == "1"


async def test_rolling_averages_of_a_hundred_records_or_sixty_seconds():
    pool = FakePool()
    world = World(lambda_.SERVICE, kinesis.SERVICE, sqs.SERVICE, logs.SERVICE, functions=pool)
    stored = []

    def average(spec, invocation):
        records = orjson.loads(invocation.payload)["Records"]
        spent = [orjson.loads(base64.b64decode(record["kinesis"]["data"]))["seconds"] for record in records]
        stored.append((world.clock.now_ms(), len(spent), sum(spent) / len(spent)))
        return outcome()

    pool.handler = average
    async with world.background:
        await world.call("kinesis", "CreateStream", StreamName="clicks", ShardCount=1)
        await create_function(world)
        await world.call(
            "lambda",
            "CreateEventSourceMapping",
            EventSourceArn="arn:aws:kinesis:us-east-1:000000000000:stream/clicks",
            FunctionName="f",
            StartingPosition="TRIM_HORIZON",
            BatchSize=100,
            MaximumBatchingWindowInSeconds=60,
        )
        await world.advance(1)
        began_ms = world.clock.now_ms()
        records = [{"Data": orjson.dumps({"seconds": n}), "PartitionKey": "page"} for n in range(250)]
        await world.call("kinesis", "PutRecords", StreamName="clicks", Records=records)
        await world.advance(120)
        assert stored == [(began_ms, 100, 49.5), (began_ms, 100, 149.5), (began_ms + 60_000, 50, 224.5)]
