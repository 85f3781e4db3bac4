"""Streams on a running node, as an SDK's user works them."""

import pytest

pytestmark = pytest.mark.real_clients


def test_records_are_put_and_read(node):
    client = node.client("kinesis")
    client.create_stream(StreamName="clicks", ShardCount=2)
    client.get_waiter("stream_exists").wait(StreamName="clicks", WaiterConfig={"Delay": 1})
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
