"""Streams on a running node, as users of SDKs and the CLI work them."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from penstock.protocol import cbor

pytestmark = pytest.mark.real_clients
AWS = Path(sys.executable).with_name("aws")
NODE_PROGRAM = """
const kinesis = require("@aws-sdk/client-kinesis");
const client = new kinesis.KinesisClient({maxAttempts: 1});
const send = (name, members) => client.send(new kinesis[name + "Command"](members));
(async () => {
  const [stream, consumer] = process.argv.slice(1);
  const puts = [];
  for (let n = 0; n < 50; n++) {
    puts.push(send("PutRecord", {StreamName: stream, Data: Buffer.from("n" + n), PartitionKey: "k"}));
  }
  await Promise.all(puts);
  const start = {Type: "TRIM_HORIZON"};
  const members = {ConsumerARN: consumer, ShardId: "shardId-000000000000", StartingPosition: start};
  const seen = [];
  for await (const event of (await send("SubscribeToShard", members)).EventStream) {
    for (const record of event.SubscribeToShardEvent.Records) seen.push(Buffer.from(record.Data).toString());
    if (seen.length >= 50) break;
  }
  let refused = "";
  await send("DescribeStream", {StreamName: "none"}).catch((error) => { refused = error.name; });
  console.log(JSON.stringify({seen, refused}));
  process.exit(0);
})();
"""


def stream_of(client, name, shards=1):
    """Its ARN, once it is there."""
    client.create_stream(StreamName=name, ShardCount=shards)
    client.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    return client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]


def consumer_of(client, stream_arn):
    arn = client.register_stream_consumer(StreamARN=stream_arn, ConsumerName="c")["Consumer"]["ConsumerARN"]
    for _ in range(200):
        described = client.describe_stream_consumer(ConsumerARN=arn)["ConsumerDescription"]
        if described["ConsumerStatus"] == "ACTIVE":
            return arn
    raise AssertionError("the consumer stays as it was")


def test_records_are_put_and_read(node):
    client = node.client("kinesis")
    stream_of(client, "clicks", shards=2)
    records = [{"Data": b"%d" % n, "PartitionKey": str(n)} for n in range(100)]
    answer = client.put_records(StreamName="clicks", Records=records)
    assert answer["FailedRecordCount"] == 0
    seen = []
    for shard in client.list_shards(StreamName="clicks")["Shards"]:
        at = client.get_shard_iterator(StreamName="clicks", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
        seen += [record["Data"] for record in client.get_records(ShardIterator=at["ShardIterator"])["Records"]]
    assert sorted(seen) == sorted(record["Data"] for record in records)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_stream(StreamName="none")


def test_a_subscription_sends_what_is_put_while_it_runs(node):
    client = node.client("kinesis")
    consumer = consumer_of(client, stream_of(client, "subscribed"))
    started = client.subscribe_to_shard(
        ConsumerARN=consumer, ShardId="shardId-000000000000", StartingPosition={"Type": "LATEST"}
    )
    events = iter(started["EventStream"])
    assert next(events)["SubscribeToShardEvent"]["Records"] == []
    began = time.monotonic()
    put = client.put_record(StreamName="subscribed", Data=b"x", PartitionKey="k")
    [record] = next(events)["SubscribeToShardEvent"]["Records"]
    assert time.monotonic() - began < 1
    assert (record["Data"], record["SequenceNumber"]) == (b"x", put["SequenceNumber"])
    started["EventStream"].close()
    with pytest.raises(client.exceptions.ResourceInUseException):
        client.subscribe_to_shard(
            ConsumerARN=consumer, ShardId="shardId-000000000000", StartingPosition={"Type": "LATEST"}
        )


def test_shards_are_scaled_and_their_lineage_is_listed(node):
    client = node.client("kinesis")
    stream_of(client, "scaled", shards=2)
    client.update_shard_count(StreamName="scaled", TargetShardCount=4, ScalingType="UNIFORM_SCALING")
    client.get_waiter("stream_exists").wait(StreamName="scaled", WaiterConfig={"Delay": 1})
    page = client.list_shards(StreamName="scaled", MaxResults=4)
    shards = page["Shards"] + client.list_shards(NextToken=page["NextToken"])["Shards"]
    assert [shard.get("ParentShardId", "")[-1:] for shard in shards] == ["", "", "0", "0", "1", "1"]


def test_the_node_sdk_speaks_http2(node):
    client = node.client("kinesis")
    consumer = consumer_of(client, stream_of(client, "from-node"))
    program = shutil.which("node")
    if not program:
        pytest.skip("node isn't there")
    known = subprocess.run([program, "-e", "require.resolve('@aws-sdk/client-kinesis')"], capture_output=True)
    if known.returncode:
        pytest.skip("the SDK isn't below NODE_PATH")
    words = [program, "-e", NODE_PROGRAM, "from-node", consumer]
    environment = {**node.environment(), "AWS_REGION": "us-east-1"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert sorted(told["seen"]) == sorted(f"n{n}" for n in range(50))
    assert told["refused"] == "ResourceNotFoundException"


def test_the_cli_works_a_stream(node):
    if not AWS.exists():
        pytest.skip("the aws CLI isn't installed beside this interpreter")

    def aws(*words):
        done = subprocess.run(
            [AWS, "kinesis", *words], capture_output=True, text=True, env=node.environment(), timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout else {}

    stream_of(node.client("kinesis"), "from-cli")
    put = aws("put-record", "--stream-name", "from-cli", "--data", "eA==", "--partition-key", "k")
    at = aws(
        *("get-shard-iterator", "--stream-name", "from-cli", "--shard-id", put["ShardId"]),
        *("--shard-iterator-type", "AT_SEQUENCE_NUMBER", "--starting-sequence-number", put["SequenceNumber"]),
    )
    [record] = aws("get-records", "--shard-iterator", at["ShardIterator"])["Records"]
    assert record["Data"] in ("eA==", "ZUE9PQ==")  # version 1 sends what it is given, version 2 takes base64
    assert record["SequenceNumber"] == put["SequenceNumber"]


def test_the_cbor_of_the_java_sdks_is_taken(node):
    stream_of(node.client("kinesis"), "cbor")

    def call(operation, **members):
        words = ["-sS", "--data-binary", "@-", "-H", f"x-amz-target: Kinesis_20131202.{operation}"]
        words += ["-H", "content-type: application/x-amz-cbor-1.1", f"{node.url}/"]
        done = subprocess.run(["curl", *words], input=cbor.encode(members), capture_output=True, timeout=30)
        return cbor.decode(done.stdout, ticks_per_s=1000)

    put = call("PutRecord", StreamName="cbor", Data=b"\x00\xff", PartitionKey="k")
    at = call("GetShardIterator", StreamName="cbor", ShardId=put["ShardId"], ShardIteratorType="TRIM_HORIZON")
    [record] = call("GetRecords", ShardIterator=at["ShardIterator"])["Records"]
    assert record["Data"] == b"\x00\xff"
    assert abs(record["ApproximateArrivalTimestamp"].timestamp() - time.time()) < 60


def test_acknowledged_records_survive_being_killed_while_shards_are_split(fresh_node):
    node = fresh_node()
    client = node.client("kinesis")
    stream_of(client, "killed")
    acknowledged = {key: [] for key in "abc"}

    def produce(key):
        own = node.client("kinesis")
        for number in range(100_000):
            records = [{"Data": b"%d" % (3 * number + index), "PartitionKey": key} for index in range(3)]
            try:
                own.put_records(StreamName="killed", Records=records)
            except (BotoCoreError, ClientError):
                return
            acknowledged[key].append(number)

    threads = [threading.Thread(target=produce, args=key) for key in acknowledged]
    for thread in threads:
        thread.start()
    for at in (2**127, 2**126, 2**126 + 2**127):
        shards = client.list_shards(StreamName="killed", ShardFilter={"Type": "AT_LATEST"})["Shards"]
        ranges = {shard["ShardId"]: shard["HashKeyRange"] for shard in shards}
        within = [
            name for name, keys in ranges.items() if int(keys["StartingHashKey"]) + 1 < at < int(keys["EndingHashKey"])
        ]
        client.split_shard(StreamName="killed", ShardToSplit=within[0], NewStartingHashKey=str(at))
        client.get_waiter("stream_exists").wait(StreamName="killed", WaiterConfig={"Delay": 1})
    node.stop(signal.SIGKILL)
    for thread in threads:
        thread.join()
    client = fresh_node(data=node.data).client("kinesis")
    found = {key: [] for key in acknowledged}
    for shard in client.list_shards(StreamName="killed")["Shards"]:  # parents are listed before their children
        at = client.get_shard_iterator(StreamName="killed", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")[
            "ShardIterator"
        ]
        while at:
            answer = client.get_records(ShardIterator=at)
            for record in answer["Records"]:
                found[record["PartitionKey"]].append(int(record["Data"]))
            at = answer.get("NextShardIterator") if answer["Records"] else None
    for key, batches in acknowledged.items():
        assert batches
        assert found[key] == list(range(len(found[key])))
        assert len(found[key]) >= 3 * len(batches)


def test_a_node_that_keeps_limits_throttles_a_shard_and_retries_get_through(fresh_node):
    node = fresh_node("--limits", "aws")
    client = node.client("kinesis")
    stream_of(client, "bounded")
    batch = [{"Data": b"x" * 2000, "PartitionKey": "k"} for _ in range(500)]
    answers = [client.put_records(StreamName="bounded", Records=batch) for _ in range(3)]
    failed = [one for answer in answers for one in answer["Records"] if "ErrorCode" in one]
    assert {one["ErrorCode"] for one in failed} == {"ProvisionedThroughputExceededException"}
    assert failed[0]["ErrorMessage"].startswith("Rate exceeded for shard shardId-000000000000 in stream bounded under")
    assert sum(answer["FailedRecordCount"] for answer in answers) == len(failed)
    node.client("kinesis", retries=10).put_record(StreamName="bounded", Data=b"x", PartitionKey="k")
