"""Tables on a running node, as SDKs' users work them."""

from decimal import Decimal

import boto3
import pytest
from boto3.dynamodb.conditions import Attr, Key
from boto3.dynamodb.types import Binary

pytestmark = pytest.mark.real_clients

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
