"""Tables on a running node, as SDKs' users work them."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import boto3
import pytest
from boto3.dynamodb.conditions import Attr, Key
from boto3.dynamodb.types import Binary
from botocore.exceptions import BotoCoreError, ClientError

pytestmark = pytest.mark.real_clients

AWS = Path(sys.executable).with_name("aws")
SCHEMA = {
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "N"},
    ],
    "BillingMode": "PAY_PER_REQUEST",
}


@pytest.fixture(scope="module")
def dynamodb(node):
    return boto3.resource(
        "dynamodb",
        endpoint_url=node.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def make(dynamodb, name, **members):
    table = dynamodb.create_table(TableName=name, **SCHEMA, **members)
    table.wait_until_exists()
    return table


def test_the_resource_api_puts_gets_and_queries(dynamodb):
    table = make(dynamodb, "resource")
    values = {"text": "x", "n": Decimal("1.50"), "b": Binary(b"\0\xff"), "l": [None, True, {"k": {"a", "b"}}]}
    table.put_item(Item={"pk": "a", "sk": 1, **values})
    found = table.get_item(Key={"pk": "a", "sk": 1}, ConsistentRead=True)["Item"]
    assert found == {"pk": "a", "sk": 1, **values}
    with table.batch_writer(overwrite_by_pkeys=["pk", "sk"]) as batch:
        for n in range(60):
            batch.put_item(Item={"pk": "b", "sk": n, "even": n % 2 == 0})
    answer = table.query(
        KeyConditionExpression=Key("pk").eq("b") & Key("sk").between(10, 19),
        FilterExpression=Attr("even").eq(True) & Attr("none").not_exists(),
        ScanIndexForward=False,
    )
    assert [int(one["sk"]) for one in answer["Items"]] == [18, 16, 14, 12, 10]
    with pytest.raises(table.meta.client.exceptions.ConditionalCheckFailedException):
        table.put_item(Item={"pk": "a", "sk": 1}, ConditionExpression="attribute_not_exists(pk)")
    table.delete()
    table.wait_until_not_exists()


def test_streams_are_read_as_an_sdk_reads_them(node, dynamodb):
    table = make(
        dynamodb, "streamed", StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    )
    table.put_item(Item={"pk": "a", "sk": 1, "v": Decimal("0.1")})
    table.update_item(Key={"pk": "a", "sk": 1}, UpdateExpression="ADD v :one", ExpressionAttributeValues={":one": 1})
    client = node.client("dynamodbstreams")
    shards = client.describe_stream(StreamArn=table.latest_stream_arn)["StreamDescription"]["Shards"]
    at = client.get_shard_iterator(
        StreamArn=table.latest_stream_arn, ShardId=shards[0]["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )
    records = client.get_records(ShardIterator=at["ShardIterator"])["Records"]
    assert [one["eventName"] for one in records] == ["INSERT", "MODIFY"]
    assert records[1]["dynamodb"]["NewImage"]["v"] == {"N": "1.1"}


def test_what_was_acknowledged_before_a_crash_is_there_with_all_that_belongs_to_it(fresh_node):
    node = fresh_node()
    client = node.client("dynamodb")
    index = {
        "IndexName": "by-group",
        "KeySchema": [{"AttributeName": "group", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    made = client.create_table(
        TableName="crashed",
        KeySchema=SCHEMA["KeySchema"],
        AttributeDefinitions=[
            *SCHEMA["AttributeDefinitions"],
            {"AttributeName": "group", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[index],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    acknowledged = []

    def put_until_it_dies(worker):
        own = node.client("dynamodb")
        for number in range(10_000):
            item = {"pk": {"S": str(worker)}, "sk": {"N": str(number)}, "group": {"S": "g"}}
            try:
                own.put_item(TableName="crashed", Item=item)
            except (BotoCoreError, ClientError):
                return
            acknowledged.append((str(worker), str(number)))

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(put_until_it_dies, worker) for worker in range(4)]
        while len(acknowledged) < 300:
            assert not all(worker.done() for worker in workers)
        node.process.kill()
        node.process.wait()
    again = fresh_node()
    client, streams = again.client("dynamodb"), again.client("dynamodbstreams")

    def keys(pages):
        return sorted((one["pk"]["S"], one["sk"]["N"]) for page in pages for one in page["Items"])

    kept = keys(client.get_paginator("scan").paginate(TableName="crashed"))
    assert set(acknowledged) <= set(kept)
    assert keys(client.get_paginator("scan").paginate(TableName="crashed", IndexName="by-group")) == kept
    arn = made["TableDescription"]["LatestStreamArn"]
    [shard] = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    at = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
    told, iterator = [], at["ShardIterator"]
    while len(told) < len(kept):
        page = streams.get_records(ShardIterator=iterator)
        assert page["Records"]
        told += [(one["dynamodb"]["Keys"]["pk"]["S"], one["dynamodb"]["Keys"]["sk"]["N"]) for one in page["Records"]]
        iterator = page["NextShardIterator"]
    assert sorted(told) == kept


def test_the_cli_works_a_table(node):
    if not AWS.exists():
        pytest.skip("the aws CLI isn't installed beside this interpreter")

    def aws(*words):
        done = subprocess.run(
            [AWS, *words, "--output", "json"], capture_output=True, text=True, env=node.environment(), timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout else {}

    aws(
        *("dynamodb", "create-table", "--table-name", "from-cli", "--billing-mode", "PAY_PER_REQUEST"),
        *("--attribute-definitions", "AttributeName=pk,AttributeType=S"),
        *("--key-schema", "AttributeName=pk,KeyType=HASH"),
        *("--stream-specification", "StreamEnabled=true,StreamViewType=KEYS_ONLY"),
    )
    aws("dynamodb", "wait", "table-exists", "--table-name", "from-cli")
    for number in range(5):
        item = json.dumps({"pk": {"S": str(number)}, "n": {"N": str(number)}})
        aws("dynamodb", "put-item", "--table-name", "from-cli", "--item", item)
    scanned = aws("dynamodb", "scan", "--table-name", "from-cli", "--page-size", "2")
    assert (scanned["Count"], len(scanned["Items"])) == (5, 5)
    listed = aws("dynamodbstreams", "list-streams", "--table-name", "from-cli")
    assert len(listed["Streams"]) == 1


NODE_PROGRAM = """
const lib = require("@aws-sdk/lib-dynamodb");
const {DynamoDBClient} = require("@aws-sdk/client-dynamodb");
const client = lib.DynamoDBDocumentClient.from(new DynamoDBClient({maxAttempts: 1}));
const send = (name, members) => client.send(new lib[name + "Command"]({TableName: process.argv[1], ...members}));
(async () => {
  const Key = {pk: "a", sk: 1};
  const condition = {ConditionExpression: "attribute_not_exists(pk)", ReturnValuesOnConditionCheckFailure: "ALL_OLD"};
  await send("Put", {Item: {...Key, s: new Set(["x", "y"]), b: new Uint8Array([0, 255]), m: {l: [null, 1.5]}}});
  const {Item} = await send("Get", {Key});
  const refused = {};
  await send("Put", {Item: Key, ...condition}).catch((error) => {
    refused.name = error.name; refused.pk = error.Item.pk.S;
  });
  console.log(JSON.stringify({s: [...Item.s], b: [...Item.b], m: Item.m, refused}));
})();
"""


def test_the_node_sdk_reads_what_it_wrote(node, dynamodb):
    program = shutil.which("node")
    if not program:
        pytest.skip("node isn't there")
    known = subprocess.run([program, "-e", "require.resolve('@aws-sdk/lib-dynamodb')"], capture_output=True)
    if known.returncode:
        pytest.skip("the SDK isn't below NODE_PATH")
    make(dynamodb, "from-node")
    environment = {**node.environment(), "AWS_REGION": "us-east-1"}
    words = [program, "--no-warnings", "-e", NODE_PROGRAM, "from-node"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "s": ["x", "y"],
        "b": [0, 255],
        "m": {"l": [None, 1.5]},
        "refused": {"name": "ConditionalCheckFailedException", "pk": "a"},
    }
