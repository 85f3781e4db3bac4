"""Handlers from public guides run verbatim, triggered as their texts say."""

import base64
import hashlib
import io
import json
import time
import zipfile
from pathlib import Path

import boto3
import pandas as pd
import pytest
from botocore.config import Config

from penstock.app.cli.demo import free_port, start_node, stop_node
from penstock.app.cli.flights import PANDAS_LAYER

HANDLERS = Path(__file__).parent / "handlers"
SHA256 = {
    "000_cold_start.py": "64a995ae6bcd8128b36bd0e20f8596b915c985cc2bce5cede72fc95e84ec91f3",
    "000_read_csv.py": "24b68703ca32ed32223b1c2e1a6bbcf37c6cab4f9dcbe97c48df76179ea9015c",
    "000_environment.py": "cf210249406a5fb36f9786da06d8b3e1670d95864564e364459f2028b7050e6d",
    "000_secrets.py": "ff3fe389d62f2770e22fbfc0ec660943415bbfe9e7dd94c2f0f1088c4228a5be",
    "000_layer.py": "68f082a01fefcf4cd8185d156e170c1bb40e411148ea5d1d34c5bdc3b44a5beb",
    "000_bronze_to_silver.py": "ddcf8ff0ce852d3cdcd846c19ddabc7bb01e846461a706ed220105d2e6d188be",
    "001_basic.py": "97043a387facec9bbb3399a0278d2a5eac45308438fd7eebaf2932d02de8e3c6",
    "001_s3_trigger.py": "8d988e9018a18dedeeedf928342eb8d31c0f79152fb62d2337d3b239fbd9288e",
    "001_kinesis_consumer.py": "3cbd0fa5e538e9ad0a9d19a1296d348f408a69ea84a3e9b7d4c6d1890949917a",
    "001_environment.py": "b2a7c6164643b9b57efe93b6402a90d63a12301b1bebef4c5f2f0f3d939fff09",
    "002_s3_trigger.py": "10ab2e3188153e9b7f948932f0c2d9b038d5cae432ca403bbbbeb2ed14d17770",
    "000_processed_files.py": "f48c376e288224e852d8bf162219edb119a65d39f893af3bf12a94de547950bd",
    "002_change_data_capture.py": "a803bfd443d2da9b6cbbc0bd11de1c8e09aac24fe2220827af14e9a3dbcfec04",
    "002_kinesis_to_table.py": "2c31a6a3a29605a332f107daddd6c6cdb875326d84e19ac9454b3c2b16da4dac",
}
ORDERS = (
    "order_id,customer_id,amount,order_date\n"
    "1,a,10.5,2024-01-15\n1,a,10.5,2024-01-15\n2,,3,2024-01-15\n3,b,x,2024-01-15\n"
)


class Node:
    """Clients of a running node, and the few steps that every handler needs."""

    def __init__(self, endpoint):
        session = boto3.session.Session("test", "test", region_name="us-east-1")
        config = Config(s3={"addressing_style": "path"}, read_timeout=90)
        for name in ("s3", "lambda", "logs", "secretsmanager", "dynamodb"):
            setattr(self, name.rstrip("_"), session.client(name, endpoint_url=endpoint, config=config))

    def deploy(self, file, *, extra=None, variables=None, handler="index.lambda_handler"):
        name = file.removesuffix(".py")
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w") as code:
            code.write(HANDLERS / file, "index.py")
            for path, text in (extra or {}).items():
                code.writestr(path, text)
        client = getattr(self, "lambda")
        client.create_function(
            FunctionName=name,
            Runtime="python3.11",
            Role="arn:aws:iam::000000000000:role/seed",
            Handler=handler,
            Code={"ZipFile": body.getvalue()},
            Layers=[PANDAS_LAYER],
            MemorySize=1024,
            Timeout=60,
            Environment={"Variables": variables or {}},
        )
        client.get_waiter("function_active_v2").wait(FunctionName=name)
        return name

    def invoke(self, name, event):
        answer = getattr(self, "lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode(), LogType="Tail")
        payload = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, payload
        return payload, base64.b64decode(answer["LogResult"]).decode()

    def on_put(self, name, bucket, prefix):
        self.s3.create_bucket(Bucket=bucket)
        client = getattr(self, "lambda")
        arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
        client.add_permission(
            FunctionName=name, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com"
        )
        rule = {
            "LambdaFunctionArn": arn,
            "Events": ["s3:ObjectCreated:*"],
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}},
        }
        self.s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"LambdaFunctionConfigurations": [rule]}
        )

    def table(self, name, key, **members):
        """A table with one key, of text."""
        made = self.dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            **members,
        )
        return made["TableDescription"]

    def wait_for_object(self, bucket, key):
        self.s3.get_waiter("object_exists").wait(Bucket=bucket, Key=key, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        return self.s3.get_object(Bucket=bucket, Key=key)

    def wait_for_log(self, name, text):
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s:
            try:
                found = self.logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern=f'"{text}"')
                if found["events"]:
                    return
            except self.logs.exceptions.ResourceNotFoundException:
                pass
            time.sleep(0.1)
        pytest.fail(f"{name} never logged {text!r}")


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    pytest.importorskip("penstock.app.main", reason="the node isn't built")
    port = free_port()
    process = start_node(tmp_path_factory.mktemp("node"), port)
    yield Node(f"http://127.0.0.1:{port}")
    stop_node(process)


@pytest.mark.parametrize("file", SHA256)
def test_handler_is_verbatim(file):
    assert hashlib.sha256((HANDLERS / file).read_bytes()).hexdigest() == SHA256[file]


def test_every_handler_is_in_the_table():
    assert {path.name for path in HANDLERS.glob("*.py")} == set(SHA256)


@pytest.mark.real_clients
@pytest.mark.xdist_group("seeds")
@pytest.mark.parametrize(
    ("file", "extra", "expected"),
    [
        ("000_cold_start.py", {"data.csv": "a\n1\n"}, {"status": "done"}),
        ("000_layer.py", {}, {"status": "ok"}),
        ("001_basic.py", {}, {"statusCode": 200, "body": "Hello from Lambda!"}),
    ],
)
def test_invoked_by_hand_it_answers_as_its_text_says(node, file, extra, expected):
    answer, log = node.invoke(node.deploy(file, extra=extra), {"key": "value"})
    assert answer == expected
    assert "REPORT RequestId" in log


@pytest.mark.real_clients
@pytest.mark.xdist_group("seeds")
@pytest.mark.parametrize(
    ("file", "variables", "line"),
    [
        ("000_environment.py", {"BUCKET_NAME": "lake", "DB_HOST": "db"}, "Using bucket: lake"),
        ("001_environment.py", {"TARGET_BUCKET": "gold", "GLUE_JOB": "etl"}, "Writing to bucket: gold"),
    ],
)
def test_environment_variables_reach_the_handler(node, file, variables, line):
    _, log = node.invoke(node.deploy(file, variables=variables), {})
    assert line in log


@pytest.mark.real_clients
@pytest.mark.xdist_group("seeds")
def test_secret_is_read(node):
    node.secretsmanager.create_secret(Name="prod/db/credentials", SecretString='{"username":"admin","password":"x"}')
    node.invoke(node.deploy("000_secrets.py"), {})


@pytest.mark.real_clients
@pytest.mark.xdist_group("seeds")
def test_pandas_reads_csv_from_s3(node):
    node.s3.create_bucket(Bucket="data-lake")
    node.s3.put_object(Bucket="data-lake", Key="orders.csv", Body=b"date,n\n2024-01-15,1\n")
    answer, log = node.invoke(node.deploy("000_read_csv.py"), {})
    assert answer["duration"] > 0
    assert "Memory: 1024MB" in log


@pytest.mark.real_clients
@pytest.mark.xdist_group("seeds")
def test_s3_put_triggers_the_basic_example(node):
    name = node.deploy("001_s3_trigger.py")
    node.on_put(name, "uploads", "")
    node.s3.put_object(Bucket="uploads", Key="a.txt", Body=b"x")
    node.wait_for_log(name, "New file uploaded to uploads: a.txt")


@pytest.mark.real_clients
@pytest.mark.xdist_group("seeds")
def test_bronze_becomes_silver_once(node):
    name = node.deploy("000_bronze_to_silver.py")
    node.on_put(name, "lake", "bronze/")
    key = "bronze/orders/2024-01-15/orders.csv"
    node.s3.put_object(Bucket="lake", Key=key, Body=ORDERS.encode())
    silver = node.wait_for_object("lake", "silver/orders/2024-01-15/orders.parquet")
    df = pd.read_parquet(io.BytesIO(silver["Body"].read()))
    assert df["order_id"].tolist() == [1, 3]
    assert df["amount"].isna().tolist() == [False, True]
    node.s3.put_object(Bucket="lake", Key=key, Body=ORDERS.encode())
    node.wait_for_log(name, "Already processed, skipping")
    again = node.s3.head_object(Bucket="lake", Key="silver/orders/2024-01-15/orders.parquet")
    assert again["LastModified"] == silver["LastModified"]


@pytest.mark.real_clients
@pytest.mark.xdist_group("seeds")
def test_landing_becomes_processed_with_metadata(node):
    name = node.deploy("002_s3_trigger.py")
    node.on_put(name, "zone", "landing/")
    node.s3.put_object(Bucket="zone", Key="landing/o.csv", Body=b"Order Id,Amount\n1,2\n1,2\n3,\n")
    found = node.wait_for_object("zone", "processed/o.csv")
    assert found["Metadata"]["row_count"] == "2"
    df = pd.read_parquet(io.BytesIO(found["Body"].read()))
    assert df["amount"].tolist() == [2.0, 0.0]
    assert df["order_id"].tolist() == [1, 3]


PROCESSED_FILES_NEEDS = """
import builtins, datetime
builtins.datetime = datetime.datetime
builtins.process_csv = lambda bucket, key: print("processing", bucket, key)
from index import lambda_handler
"""


@pytest.mark.real_clients
@pytest.mark.xdist_group("seeds")
def test_a_file_is_processed_once(node):
    """The text leaves process_csv and an import to its reader; a module around it brings them."""
    node.table("processed-files", "file_id")
    extra = {"around.py": PROCESSED_FILES_NEEDS}
    name = node.deploy("000_processed_files.py", extra=extra, handler="around.lambda_handler")
    event = {"Records": [{"s3": {"bucket": {"name": "lake"}, "object": {"key": "a.csv"}}}]}
    assert node.invoke(name, event)[0] == {"status": "processed"}
    assert node.invoke(name, event)[0] == {"status": "duplicate"}
    item = node.dynamodb.get_item(TableName="processed-files", Key={"file_id": {"S": "lake/a.csv"}})["Item"]
    assert item["status"] == {"S": "success"}


@pytest.mark.real_clients
@pytest.mark.xdist_group("seeds")
def test_changes_of_a_table_reach_the_capture(node):
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    made = node.table("customers", "id", StreamSpecification=stream)
    name = node.deploy("002_change_data_capture.py")
    getattr(node, "lambda").create_event_source_mapping(
        EventSourceArn=made["LatestStreamArn"], FunctionName=name, StartingPosition="TRIM_HORIZON"
    )
    item = {"id": {"S": "ana"}, "credit": {"N": "1.5"}, "active": {"BOOL": True}}
    node.dynamodb.put_item(TableName="customers", Item=item)
    node.dynamodb.put_item(TableName="customers", Item={**item, "credit": {"N": "2"}})
    node.dynamodb.delete_item(TableName="customers", Key={"id": {"S": "ana"}})
    for line in ("New item inserted: ana", "Item ana modified: ['credit']", "Item deleted: ana"):
        node.wait_for_log(name, line)


@pytest.mark.real_clients
@pytest.mark.xdist_group("seeds")
def test_a_float_is_refused_by_the_sdk_as_on_aws(node):
    """The text puts a float, which boto3 never sends: the same failure as on AWS, before any call."""
    node.table("stream-processor-state", "event_id")
    name = node.deploy("002_kinesis_to_table.py")
    data = base64.b64encode(json.dumps({"event_id": "1", "amount": 2}).encode()).decode()
    event = {"Records": [{"kinesis": {"data": data}}]}
    answer = getattr(node, "lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode())
    failure = json.loads(answer["Payload"].read())
    assert (answer["FunctionError"], failure["errorType"]) == ("Unhandled", "TypeError")
    assert failure["errorMessage"] == "Float types are not supported. Use Decimal types instead."
