"""The aws CLI, s3fs and pyarrow against a running node."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.fs
import pyarrow.parquet
import pytest
import s3fs

pytestmark = pytest.mark.real_clients
AWS = Path(sys.executable).with_name("aws")


@pytest.fixture
def aws(node):
    if not AWS.exists():
        pytest.skip("the aws CLI isn't installed beside this interpreter")

    def run(*words):
        done = subprocess.run([AWS, *words], capture_output=True, text=True, env=node.environment(), timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_cli_syncs_a_folder_and_back(aws, tmp_path):
    source, back = tmp_path / "source", tmp_path / "back"
    (source / "deep").mkdir(parents=True)
    (source / "a.txt").write_text("a")
    (source / "deep" / "b c.txt").write_text("b")
    (source / "big").write_bytes(b"x" * 20_000_000)
    aws("s3", "mb", "s3://cli-sync")
    aws("s3", "sync", str(source), "s3://cli-sync/x")
    aws("s3", "sync", "s3://cli-sync/x", str(back))
    assert {path.name: path.read_bytes() for path in back.rglob("*") if path.is_file()} == {
        path.name: path.read_bytes() for path in source.rglob("*") if path.is_file()
    }
    aws("s3", "rb", "--force", "s3://cli-sync")


@pytest.mark.parametrize(
    "words",
    [
        ("sts", "get-caller-identity"),
        ("iam", "list-users"),
        ("lambda", "list-functions"),
        ("logs", "describe-log-groups"),
        ("secretsmanager", "list-secrets"),
        ("ssm", "describe-parameters"),
        ("s3api", "list-buckets"),
    ],
)
def test_the_cli_reads_every_service(aws, words):
    assert isinstance(json.loads(aws(*words, "--output", "json")), dict)


def test_the_cli_works_a_queue(aws, node):
    made = json.loads(aws("sqs", "create-queue", "--queue-name", "cli", "--endpoint-url", node.url))
    aws("sqs", "send-message", "--queue-url", made["QueueUrl"], "--message-body", "x", "--endpoint-url", node.url)
    got = json.loads(aws("sqs", "receive-message", "--queue-url", made["QueueUrl"], "--endpoint-url", node.url))
    assert got["Messages"][0]["Body"] == "x"


def test_pandas_writes_and_reads_parquet_through_s3fs(node):
    node.client("s3").create_bucket(Bucket="frames")
    options = {"key": "test", "secret": "test", "client_kwargs": {"endpoint_url": node.url}}
    frame = pd.DataFrame({"a": range(1000), "b": [str(n) for n in range(1000)]})
    frame.to_parquet("s3://frames/x/part.parquet", storage_options=options)
    assert pd.read_parquet("s3://frames/x/part.parquet", storage_options=options).equals(frame)
    files = s3fs.S3FileSystem(**options)
    assert files.glob("frames/**/*.parquet") == ["frames/x/part.parquet"]
    with files.open("frames/x/part.parquet", "rb") as handle:
        handle.seek(-4, 2)
        assert handle.read() == b"PAR1"


def test_pyarrow_reads_a_data_set(node):
    node.client("s3").create_bucket(Bucket="sets")
    system = pyarrow.fs.S3FileSystem(
        access_key="test", secret_key="test", endpoint_override=node.url, scheme="http", region="us-east-1"
    )
    table = pyarrow.table({"a": list(range(100))})
    pyarrow.parquet.write_to_dataset(table, "sets/d", filesystem=system)
    assert pyarrow.parquet.read_table("sets/d", filesystem=system).num_rows == 100
