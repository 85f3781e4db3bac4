"""What data engineers point at S3, each against a running node: CLI, transfer manager, s3fs, Arrow, Polars, DuckDB."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import boto3
import fsspec
import pyarrow
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import pytest
import s3fs
from boto3.s3.transfer import TransferConfig

pytestmark = pytest.mark.real_clients
AWS = Path(sys.executable).with_name("aws")
MB = 1 << 20
SDK_FOR_NODE = "@aws-sdk/client-s3@3"
LIB_FOR_NODE = "@aws-sdk/lib-storage@3"
PRESIGNER_FOR_NODE = "@aws-sdk/s3-request-presigner@3"
HTTPFS = ["duckdb==1.4.4", "duckdb-ext-httpfs==1.4.4.20260205"]


@pytest.fixture(scope="module")
def s3(node):
    return node.client("s3")


@pytest.fixture
def bucket(s3, request):
    name = f"clients-{abs(hash(request.node.nodeid)):x}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def aws(node):
    def run(*words, code=0):
        done = subprocess.run([AWS, *map(str, words)], capture_output=True, text=True, env=node.environment())
        assert done.returncode == code, done.stderr
        return done.stdout

    return run


@pytest.fixture
def storage(node):
    """The options of s3fs and fsspec."""
    return {"key": "test", "secret": "test", "client_kwargs": {"endpoint_url": node.url}}


@pytest.fixture
def arrow(node):
    return pyarrow.fs.S3FileSystem(
        access_key="test", secret_key="test", endpoint_override=node.url, scheme="http", region="us-east-1"
    )


@pytest.fixture
def partitioned(bucket, arrow):
    """Parquet files below year=/month=: the root's URL."""
    table = pyarrow.table(
        {
            "year": [2024 + n // 600 for n in range(1200)],
            "month": [1 + n // 100 % 6 for n in range(1200)],
            "amount": [float(n) for n in range(1200)],
            "name": [f"row {n}" for n in range(1200)],
        }
    )
    pyarrow.parquet.write_to_dataset(table, f"{bucket}/sales", partition_cols=["year", "month"], filesystem=arrow)
    return f"s3://{bucket}/sales"


def installed(tool, folder, packages):
    """Packages of a registry in a folder kept from run to run; the test says so where the registry is out of reach."""
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != " ".join(packages):
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run([*tool, *packages], cwd=folder, capture_output=True, text=True, timeout=600)
        if done.returncode:
            pytest.skip(f"{packages} can't be had from the registry: {done.stderr[-500:]}")
        stamp.write_text(" ".join(packages))
    return folder


def kept(name):
    root = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return root / "penstock-tests" / name


# the CLI


def test_the_cli_copies_moves_and_removes(aws, bucket, tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    aws("s3", "cp", tmp_path / "a.csv", f"s3://{bucket}/in/a.csv", "--metadata", "origin=cli")
    aws("s3", "mv", f"s3://{bucket}/in/a.csv", f"s3://{bucket}/out/a b+ü.csv")
    assert aws("s3", "ls", f"s3://{bucket}/", "--recursive").split(maxsplit=3)[3].strip() == "out/a b+ü.csv"
    assert aws("s3", "cp", f"s3://{bucket}/out/a b+ü.csv", "-") == "a,b\n1,2\n"
    aws("s3", "ls", f"s3://{bucket}/in/", code=1)
    aws("s3", "rm", f"s3://{bucket}/out", "--recursive")
    assert aws("s3", "ls", f"s3://{bucket}", "--recursive") == ""


def test_the_cli_moves_large_files_in_parts(aws, bucket, tmp_path, s3):
    data = os.urandom(20 * MB + 1)
    (tmp_path / "big").write_bytes(data)
    aws("s3", "cp", tmp_path / "big", f"s3://{bucket}/big", "--quiet")
    assert s3.head_object(Bucket=bucket, Key="big")["ETag"].endswith('-3"')
    aws("s3", "cp", f"s3://{bucket}/big", f"s3://{bucket}/copy", "--quiet")
    aws("s3", "cp", f"s3://{bucket}/copy", tmp_path / "back", "--quiet")
    assert (tmp_path / "back").read_bytes() == data


def test_the_cli_syncs_only_what_changed_and_deletes_what_went(aws, bucket, tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.txt").write_text(name)
    assert aws("s3", "sync", tmp_path, f"s3://{bucket}/x", "--no-progress").count("upload:") == 3
    assert aws("s3", "sync", tmp_path, f"s3://{bucket}/x", "--no-progress") == ""
    (tmp_path / "two.txt").unlink()
    (tmp_path / "four.txt").write_text("four")
    said = aws("s3", "sync", tmp_path, f"s3://{bucket}/x", "--delete", "--no-progress")
    assert ("upload:" in said, "delete:" in said, said.count("\n")) == (True, True, 2)
    assert len(json.loads(aws("s3api", "list-objects-v2", "--bucket", bucket))["Contents"]) == 3


# boto3


def test_the_transfer_manager_goes_in_parts_both_ways(s3, bucket, tmp_path):
    data = os.urandom(30 * MB)
    (tmp_path / "up").write_bytes(data)
    config = TransferConfig(multipart_threshold=8 * MB, multipart_chunksize=8 * MB, max_concurrency=4)
    extra = {"Metadata": {"origin": "boto3"}, "ContentType": "application/x-data"}
    s3.upload_file(str(tmp_path / "up"), bucket, "k", Config=config, ExtraArgs=extra)
    s3.download_file(bucket, "k", str(tmp_path / "down"), Config=config)
    assert (tmp_path / "down").read_bytes() == data
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["Metadata"], head["ContentType"]) == ({"origin": "boto3"}, "application/x-data")
    s3.copy({"Bucket": bucket, "Key": "k"}, bucket, "copy", Config=config)
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == data


def test_many_threads_share_one_client(s3, bucket):
    def work(number):
        for turn in range(10):
            key, body = f"{number}/{turn}", f"{number} {turn}".encode() * 1000
            s3.put_object(Bucket=bucket, Key=key, Body=body)
            assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 7})
    assert sum(page["KeyCount"] for page in pages) == 80


def test_the_resource_interface_walks_a_bucket(node, bucket):
    found = boto3.resource(
        "s3", endpoint_url=node.url, region_name="us-east-1", aws_access_key_id="t", aws_secret_access_key="t"
    ).Bucket(bucket)
    found.put_object(Key="a/b", Body=b"1")
    assert [item.key for item in found.objects.filter(Prefix="a/")] == ["a/b"]
    assert found.Object("a/b").get()["Body"].read() == b"1"
    found.objects.all().delete()
    assert list(found.objects.all()) == []


def test_waiters_see_what_is_there_and_what_went(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    s3.get_waiter("object_exists").wait(Bucket=bucket, Key="k")
    s3.delete_object(Bucket=bucket, Key="k")
    s3.get_waiter("object_not_exists").wait(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)
    s3.get_waiter("bucket_not_exists").wait(Bucket=bucket)


# s3fs and Arrow


def test_s3fs_is_a_file_system(storage, bucket):
    files = s3fs.S3FileSystem(**storage)
    with files.open(f"{bucket}/d/big", "wb", block_size=5 * MB) as out:
        for _ in range(12):
            out.write(b"x" * MB)
    with files.open(f"{bucket}/d/big", "rb") as back:
        back.seek(-5, 2)
        assert back.read() == b"xxxxx"
    files.pipe({f"{bucket}/d/e/{n}.csv": f"{n}\n".encode() for n in range(5)})
    assert files.glob(f"{bucket}/d/**/*.csv") == [f"{bucket}/d/e/{n}.csv" for n in range(5)]
    assert files.du(f"{bucket}/d") == 12 * MB + 10
    assert files.cat(f"{bucket}/d/e/*.csv")[f"{bucket}/d/e/3.csv"] == b"3\n"
    files.mv(f"{bucket}/d/e/1.csv", f"{bucket}/f.csv")
    assert files.exists(f"{bucket}/f.csv")
    assert not files.exists(f"{bucket}/d/e/1.csv")
    assert files.info(f"{bucket}/d")["type"] == "directory"
    files.rm(f"{bucket}/d", recursive=True)
    assert files.ls(bucket, refresh=True) == [f"{bucket}/f.csv"]
    with fsspec.open(f"s3://{bucket}/f.csv", "rt", **storage) as text:
        assert text.read() == "1\n"


def test_arrow_is_a_file_system(arrow, bucket):
    with arrow.open_output_stream(f"{bucket}/d/file") as out:
        for _ in range(12):
            out.write(b"y" * MB)
    with arrow.open_input_file(f"{bucket}/d/file") as back:
        assert back.size() == 12 * MB
        back.seek(12 * MB - 3)
        assert back.read() == b"yyy"
    arrow.create_dir(f"{bucket}/empty")
    arrow.copy_file(f"{bucket}/d/file", f"{bucket}/d/copy")
    arrow.move(f"{bucket}/d/copy", f"{bucket}/e/moved")
    found = arrow.get_file_info(pyarrow.fs.FileSelector(bucket, recursive=True))
    assert {info.path: info.size for info in found if info.is_file} == {
        f"{bucket}/d/file": 12 * MB,
        f"{bucket}/e/moved": 12 * MB,
    }
    arrow.delete_dir(f"{bucket}/d")
    assert arrow.get_file_info(f"{bucket}/d/file").type == pyarrow.fs.FileType.NotFound


def test_arrow_prunes_partitions(arrow, partitioned):
    root = partitioned.removeprefix("s3://")
    found = pyarrow.dataset.dataset(root, filesystem=arrow, partitioning="hive")
    assert found.count_rows() == 1200
    assert found.to_table(filter=pyarrow.dataset.field("year") == 2025, columns=["amount"]).num_rows == 600


# query engines


def test_polars_reads_a_glob_of_partitions_and_writes(node, partitioned, bucket):
    polars = pytest.importorskip("polars")
    options = {
        "aws_access_key_id": "test",
        "aws_secret_access_key": "test",
        "aws_region": "us-east-1",
        "aws_endpoint_url": node.url,
        "aws_allow_http": "true",
    }
    frame = polars.scan_parquet(f"{partitioned}/**/*.parquet", storage_options=options, hive_partitioning=True)
    sums = frame.filter(polars.col("year") == 2025).group_by("month").agg(polars.col("amount").sum()).sort("month")
    assert sums.collect()["amount"].to_list()[0] == sum(range(600, 700))
    frame.collect().write_parquet(f"s3://{bucket}/one.parquet", storage_options=options)
    assert polars.read_parquet(f"s3://{bucket}/one.parquet", storage_options=options).height == 1200


def test_duckdb_reads_a_glob_of_partitions_through_s3fs(storage, partitioned):
    duckdb = pytest.importorskip("duckdb")
    database = duckdb.connect()
    database.register_filesystem(s3fs.S3FileSystem(**storage))
    query = f"select month, sum(amount) from read_parquet('{partitioned}/*/*/*.parquet', hive_partitioning=true)"
    rows = database.execute(f"{query} where year = 2025 group by month order by month").fetchall()
    assert rows[0] == (1, float(sum(range(600, 700))))
    assert len(rows) == 6


_DUCKDB_PROGRAM = """
import sys
import duckdb
root, bucket, endpoint, extensions = sys.argv[1:]
with duckdb.connect() as database:
    database.execute(f"set extension_directory = '{extensions}'")
    database.execute("load httpfs")
    database.execute(
        "create secret (type s3, key_id 'test', secret 'test', region 'us-east-1', url_style 'path', "
        f"use_ssl false, endpoint '{endpoint}')"
    )
    glob = f"read_parquet('{root}/*/*/*.parquet', hive_partitioning=true)"
    print(database.execute(f"select count(*), sum(amount) from {glob} where year = 2025").fetchone())
    database.execute(f"copy (select * from {glob}) to 's3://{bucket}/duck' (format parquet, partition_by (year))")
    print(database.execute(f"select count(*) from read_parquet('s3://{bucket}/duck/**/*.parquet')").fetchone())
"""


def test_duckdbs_own_s3_reader_and_writer(node, partitioned, bucket):
    """DuckDB fetches its httpfs extension from a host of its own; the registry has the same file for 1.4."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", "."]
    folder = installed(pip, kept("duckdb-httpfs"), HTTPFS)
    extensions = folder / "duckdb_ext" / "extensions"
    done = subprocess.run(
        [sys.executable, "-c", _DUCKDB_PROGRAM, partitioned, bucket, node.url.removeprefix("http://"), extensions],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == [f"(600, {float(sum(range(600, 1200)))})", "(1200,)"]


# the SDK for JavaScript

_NODE_PROGRAM = """
import dns from "node:dns";
import { Readable } from "node:stream";
import { S3Client, GetObjectCommand, PutObjectCommand, ListObjectsV2Command, paginateListObjectsV2,
         DeleteObjectsCommand, HeadObjectCommand } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
const [bucket, endpoint, style] = process.argv.slice(2);
const lookup = dns.lookup;  // not every machine resolves names below localhost
dns.lookup = (name, ...more) => lookup(name.endsWith(".localhost") ? "localhost" : name, ...more);
const s3 = new S3Client({ endpoint, forcePathStyle: style === "path" });
await s3.send(new PutObjectCommand({ Bucket: bucket, Key: "a/ü 1", Body: "hello", Metadata: { m: "1" } }));
const got = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: "a/ü 1" }));
const text = await got.Body.transformToString();
const body = Readable.from((function* () { for (let n = 0; n < 12; n++) yield Buffer.alloc(1 << 20, n); })());
await new Upload({ client: s3, params: { Bucket: bucket, Key: "a/big", Body: body } }).done();
const head = await s3.send(new HeadObjectCommand({ Bucket: bucket, Key: "a/big" }));
const keys = [];
for await (const page of paginateListObjectsV2({ client: s3, pageSize: 1 }, { Bucket: bucket, Prefix: "a/" }))
  keys.push(...(page.Contents ?? []).map((item) => item.Key));
const url = await getSignedUrl(s3, new GetObjectCommand({ Bucket: bucket, Key: "a/ü 1" }), { expiresIn: 60 });
const fetched = await (await fetch(url)).text();
const Objects = keys.map((Key) => ({ Key }));
const gone = await s3.send(new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects } }));
let code;
try { await s3.send(new GetObjectCommand({ Bucket: bucket, Key: "gone" })); } catch (error) { code = error.name; }
console.log(JSON.stringify({ text, m: got.Metadata.m, size: head.ContentLength, keys, fetched, code,
                             gone: gone.Deleted.length }));
"""


@pytest.mark.parametrize("style", ["path", "host"])
def test_the_sdk_for_javascript(node, bucket, style):
    folder = installed(
        ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", "."],
        kept("node-sdk"),
        [SDK_FOR_NODE, LIB_FOR_NODE, PRESIGNER_FOR_NODE],
    )
    program = folder / "client.mjs"
    program.write_text(_NODE_PROGRAM)
    endpoint = node.url.replace("127.0.0.1", "localhost")
    environment = {name: value for name, value in node.environment().items() if name != "AWS_ENDPOINT_URL"}
    done = subprocess.run(
        ["node", program, bucket, endpoint, style],
        capture_output=True,
        text=True,
        env={**environment, "AWS_REGION": "us-east-1"},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "text": "hello",
        "m": "1",
        "size": 12 * MB,
        "keys": ["a/big", "a/ü 1"],
        "fetched": "hello",
        "code": "NoSuchKey",
        "gone": 2,
    }
