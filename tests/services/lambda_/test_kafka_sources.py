"""Kafka topics that feed functions, on librdkafka's own mock brokers and on real time."""

import asyncio
import base64
import importlib

import orjson
import pytest

from penstock.framework.background import BackgroundRunner
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import ServiceError
from penstock.services import lambda_, logs, s3, secretsmanager, sqs
from penstock.testkit.functions import FakePool, create_function, outcome
from penstock.testkit.world import World

SERVERS = "127.0.0.1:1"
ROOMS = (lambda_.SERVICE, sqs.SERVICE, s3.SERVICE, logs.SERVICE, secretsmanager.SERVICE)
MSK = "arn:aws:kafka:us-east-1:000000000000:cluster/c/751d2973-a626-431c-9d4e-d7975eb44dd7-2"


@pytest.fixture
def pool():
    return FakePool()


@pytest.fixture
def world(pool):
    world = World(*ROOMS, functions=pool)
    world.platform.clock = world.platform.wall = SystemClock()
    world.background = BackgroundRunner(world.platform, ROOMS)
    return world


@pytest.fixture
def kafka():
    return pytest.importorskip("confluent_kafka", reason="the optional Kafka client isn't installed")


class Cluster:
    """One mock broker; it lives as long as its producer."""

    def __init__(self, kafka):
        self.kafka = kafka
        self.producer = kafka.Producer({"bootstrap.servers": "x", "test.mock.num.brokers": 1, "log_level": 0})
        brokers = self.producer.list_topics(timeout=10).brokers.values()
        self.servers = [f"{one.host}:{one.port}" for one in brokers]

    async def put(self, topic, *values, key=None, headers=None):
        for value in values:
            self.producer.produce(topic, value.encode(), key, headers=headers)
        await asyncio.to_thread(self.producer.flush, 10)

    async def read(self, topic, count):
        def read():
            consumer = self.consumer("reader")
            partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            consumer.assign([self.kafka.TopicPartition(topic, one, 0) for one in partitions])
            found = []
            while len(found) < count:
                message = consumer.poll(10)
                if message is not None and not message.error():
                    found.append((message.key(), orjson.loads(message.value())))
            consumer.close()
            return found

        return await asyncio.to_thread(read)

    def consumer(self, group):
        settings = {"bootstrap.servers": self.servers[0], "group.id": group, "enable.auto.commit": False}
        return self.kafka.Consumer(settings | {"auto.offset.reset": "earliest", "log_level": 0})

    def committed(self, topic, group):
        consumer = self.consumer(group)
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        places = consumer.committed([self.kafka.TopicPartition(topic, one) for one in partitions], timeout=10)
        consumer.close()
        return sum(max(place.offset, 0) for place in places)


@pytest.fixture
def cluster(kafka):
    return Cluster(kafka)


async def feed(world, servers, *, topic="topic", **members):
    await create_function(world)
    params = {
        "FunctionName": "f",
        "Topics": [topic],
        "StartingPosition": "TRIM_HORIZON",
        "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": servers}},
        **members,
    }
    return (await world.call("lambda", "CreateEventSourceMapping", **params))["UUID"]


def values(pool):
    return [
        base64.b64decode(record["value"]).decode()
        for _, invocation in pool.invoked
        for records in orjson.loads(invocation.payload)["records"].values()
        for record in records
    ]


async def until(test):
    """Real time passes: the brokers are real enough."""
    async with asyncio.timeout(30):
        while not test():  # noqa: ASYNC110 - nothing tells when a broker has something
            await asyncio.sleep(0.02)


async def test_records_are_handed_over_in_awss_shape(world, pool, cluster):
    await cluster.put("topic", "hello", key=b"k", headers=[("kind", b"ab")])
    async with world.background:
        id = await feed(world, cluster.servers)
        await until(lambda: pool.invoked)
        event = orjson.loads(pool.invoked[0][1].payload)
        assert (event["eventSource"], event["bootstrapServers"]) == ("SelfManagedKafka", cluster.servers[0])
        [(place, [record])] = event["records"].items()
        assert place == f"topic-{record['partition']}"
        assert (record["topic"], record["offset"], record["timestampType"]) == ("topic", 0, "CREATE_TIME")
        assert (record["key"], record["value"]) == ("aw==", "aGVsbG8=")
        assert record["headers"] == [{"kind": [97, 98]}]
        assert isinstance(record["timestamp"], int)
        described = await world.call("lambda", "GetEventSourceMapping", UUID=id)
        assert described["Topics"] == ["topic"]
        assert described["SelfManagedKafkaEventSourceConfig"] == {"ConsumerGroupId": id}


async def test_offsets_are_committed_after_the_outcome_and_a_new_node_goes_on_there(world, pool, cluster):
    await cluster.put("topic", *[str(n) for n in range(20)], key=b"same")
    group = {"ConsumerGroupId": "mine"}
    async with world.background:
        await feed(world, cluster.servers, BatchSize=5, SelfManagedKafkaEventSourceConfig=group)
        await until(lambda: len(values(pool)) == 20)
        assert values(pool) == [str(n) for n in range(20)]
        async with asyncio.timeout(20):
            while await asyncio.to_thread(cluster.committed, "topic", "mine") != 20:  # noqa: ASYNC110 - nor this
                await asyncio.sleep(0.05)
    world.platform.volatile.clear()
    await cluster.put("topic", "after", key=b"same")
    async with BackgroundRunner(world.platform, ROOMS):
        await until(lambda: "after" in values(pool))
    assert len(values(pool)) == 21


async def test_what_the_function_names_as_failed_is_tried_again_from_there(world, pool, cluster):
    await cluster.put("topic", "a", "b", "c", key=b"same")
    is_first = [True]

    def handler(spec, invocation):
        [(place, records)] = orjson.loads(invocation.payload)["records"].items()
        if not is_first[0]:
            return outcome(b'{"batchItemFailures": []}')
        is_first[0] = False
        item = {"itemIdentifier": {"partition": place, "offset": records[1]["offset"]}}
        return outcome(orjson.dumps({"batchItemFailures": [item]}))

    pool.handler = handler
    async with world.background:
        await feed(world, cluster.servers, FunctionResponseTypes=["ReportBatchItemFailures"])
        await until(lambda: len(values(pool)) == 5)
        assert values(pool) == ["a", "b", "c", "b", "c"]


async def test_a_topic_gets_the_records_that_were_given_up(world, pool, cluster):
    await cluster.put("topic", "bad", key=b"k")
    await cluster.put("failed", "{}")
    pool.handler = lambda spec, invocation: outcome(b"{}", error="X")
    async with world.background:
        target = {"OnFailure": {"Destination": "kafka://failed"}}
        await feed(world, cluster.servers, MaximumRetryAttempts=0, DestinationConfig=target)
        found = dict(await cluster.read("failed", 2))
    told = found[b"k"]
    assert told["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert (told["KafkaBatchInfo"]["batchSize"], told["KafkaBatchInfo"]["recordInfo"]["offset"]) == (1, "0")
    [[record]] = told["payload"]["records"].values()
    assert base64.b64decode(record["value"]) == b"bad"


async def test_filters_see_the_value(world, pool, cluster):
    await cluster.put("topic", '{"n": 1}', '{"n": 2}', "text", key=b"k")
    async with world.background:
        await feed(world, cluster.servers, FilterCriteria={"Filters": [{"Pattern": '{"value": {"n": [2]}}'}]})
        await until(lambda: pool.invoked)
        assert values(pool) == ['{"n": 2}']


async def test_a_cluster_of_msk_is_named_by_a_tag(world, pool, cluster):
    await cluster.put("topic", "x")
    async with world.background:
        await create_function(world)
        params = {"FunctionName": "f", "Topics": ["topic"], "StartingPosition": "TRIM_HORIZON", "EventSourceArn": MSK}
        with pytest.raises(ServiceError, match="penstock:bootstrap-servers"):
            await world.call("lambda", "CreateEventSourceMapping", **params)
        tags = {"penstock:bootstrap-servers": cluster.servers[0]}
        await world.call("lambda", "CreateEventSourceMapping", **params, Tags=tags)
        await until(lambda: pool.invoked)
        event = orjson.loads(pool.invoked[0][1].payload)
        assert (event["eventSource"], event["eventSourceArn"]) == ("aws:kafka", MSK)


async def test_a_missing_topic_shows_in_the_last_processing_result(world, kafka):
    async with world.background:
        id = await feed(world, [SERVERS])
        async with asyncio.timeout(30):
            while True:
                found = (await world.call("lambda", "GetEventSourceMapping", UUID=id))["LastProcessingResult"]
                if found != "No records processed":
                    break
                await asyncio.sleep(0.1)
        assert found == "PROBLEM: Connection error. Please check your event source connection configuration."


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"Topics": []}, "topics"),
        ({"SelfManagedEventSource": {"Endpoints": {}}}, "endpoints|Endpoints|KAFKA_BOOTSTRAP"),
        ({"ParallelizationFactor": 2}, "Unsupported ParallelizationFactor"),
        ({"TumblingWindowInSeconds": 5}, "Unsupported TumblingWindowInSeconds"),
        ({"DestinationConfig": {"OnFailure": {"Destination": "kafka://topic"}}}, "can't be a topic that"),
        (
            {"SelfManagedKafkaEventSourceConfig": {"SchemaRegistryConfig": {"SchemaRegistryURI": "https://r"}}},
            "SchemaRegistryConfig is not supported",
        ),
        (
            {"SourceAccessConfigurations": [{"Type": "OAUTHBEARER_AUTH", "URI": "x"}]},
            "SourceAccessConfigurations of type OAUTHBEARER_AUTH",
        ),
    ],
)
async def test_what_does_not_go_together_is_refused(world, members, text):
    if "SourceAccessConfigurations" in members and importlib.util.find_spec("confluent_kafka") is None:
        pytest.skip("the optional Kafka client isn't installed")
    with pytest.raises(ServiceError, match=text):
        await feed(world, [SERVERS], **members)


async def test_without_the_client_a_mapping_is_refused_with_the_remedy(world, monkeypatch):
    monkeypatch.setattr("penstock.engines.polling.kafka._LIBRARY", "no_such_library")
    with pytest.raises(ServiceError, match="need the Python package confluent-kafka"):
        await feed(world, [SERVERS])
