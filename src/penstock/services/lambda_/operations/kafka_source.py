"""A Kafka topic as a stream: each partition is a shard, each offset a sequence number.

Offsets are committed to the consumer group after the outcome is stored; where both are known, the platform's own
checkpoint counts. Source: https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html
"""

import asyncio
import base64
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from penstock.engines.polling.kafka import KafkaRecord, KafkaTopic, produce
from penstock.framework.context import Context
from penstock.framework.wakeups import Wakeup
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.kernel.scope import Principal
from penstock.services.lambda_ import messages
from penstock.services.lambda_.operations import mappings
from penstock.services.lambda_.operations.mappings import EventSource
from penstock.services.lambda_.operations.source_filters import Filters
from penstock.services.lambda_.operations.source_targets import principal_of
from penstock.services.lambda_.operations.stream_sources import Page, Shard, StreamRecord, iso

log = logging.getLogger("penstock.lambda.sources")

SERVERS_TAG = "penstock:bootstrap-servers"
"""On a mapping of an MSK cluster: where its brokers are, for there is no MSK here to ask."""
HELD_RECORDS_MAX = 5000
PARTITIONS_LOOK_S = 60.0
AFTER_ERROR_S = 1.0
_IGNORED = ("VPC_SUBNET", "VPC_SECURITY_GROUP")
_MECHANISMS = {
    "BASIC_AUTH": "PLAIN",
    "SASL_SCRAM_256_AUTH": "SCRAM-SHA-256",
    "SASL_SCRAM_512_AUTH": "SCRAM-SHA-512",
}


def servers_of(source: EventSource) -> list[str]:
    if source.kind == "self-managed":
        return source.servers
    return [one for one in source.tags.get(SERVERS_TAG, "").split() if one]


def check_access(source: EventSource) -> None:
    """Raises InvalidParameterValueException for a way to authenticate that isn't built."""
    known = (*_IGNORED, *_MECHANISMS, "CLIENT_CERTIFICATE_TLS_AUTH", "SERVER_ROOT_CA_CERTIFICATE")
    for one in source.access:
        if one.get("Type") not in known:
            raise messages.unbuilt(f"SourceAccessConfigurations of type {one.get('Type')}")


async def settings_of(ctx: Context, source: EventSource, role: Principal) -> dict[str, Any]:
    """librdkafka's settings, with what the mapping's secrets hold. Raises ServiceError where one can't be read."""
    settings: dict[str, Any] = {"bootstrap.servers": ",".join(servers_of(source)), "group.id": source.group_id}
    protocol = {"sasl": False, "tls": False}
    for one in source.access:
        kind = one["Type"]
        if kind in _IGNORED:
            continue
        answer = await ctx.call("secretsmanager", "GetSecretValue", {"SecretId": one["URI"]}, as_=role)
        secret = orjson.loads(answer["SecretString"])
        if kind in _MECHANISMS:
            protocol["sasl"] = True
            protocol["tls"] = protocol["tls"] or kind != "BASIC_AUTH"
            settings |= {
                "sasl.mechanism": _MECHANISMS[kind],
                "sasl.username": secret["username"],
                "sasl.password": secret["password"],
            }
        elif kind == "CLIENT_CERTIFICATE_TLS_AUTH":
            protocol["tls"] = True
            settings |= {"ssl.certificate.pem": secret["certificate"], "ssl.key.pem": secret["privateKey"]}
            if secret.get("privateKeyPassword"):
                settings["ssl.key.password"] = secret["privateKeyPassword"]
        else:
            protocol["tls"] = True
            settings["ssl.ca.pem"] = secret["certificate"]
    word = ("sasl_" if protocol["sasl"] else "") + ("ssl" if protocol["tls"] else "plaintext")
    return settings | {"security.protocol": word}


@dataclass
class _Partition:
    """What was fetched and not yet read by its lane."""

    held: deque[KafkaRecord] = field(default_factory=deque)
    is_paused: bool = False


class KafkaStream:
    """The StreamSource of a mapped topic. `news` is signalled when records have come."""

    info_name = "KafkaBatchInfo"
    is_fetched = True

    def __init__(self, ctx: Context, source: EventSource, role: Principal, news: Wakeup, on_change: Wakeup) -> None:
        self._ctx, self._source, self._role = ctx, source, role
        self._news, self._on_change = news, on_change
        self._filters = Filters(source.filters, "value")
        self._servers = ",".join(servers_of(source))
        self._partitions: dict[str, _Partition] = {}
        self._topic: KafkaTopic | None = None
        self._known = 0
        self._has_begun = asyncio.Event()

    async def run(self) -> None:
        """Fetch until cancelled."""
        await self._has_begun.wait()
        wall = self._ctx.platform.wall
        topic, looked_s = await self._open(), wall.monotonic_s()
        while True:
            try:
                self._sort(await topic.poll())
                if wall.monotonic_s() - looked_s > PARTITIONS_LOOK_S:
                    looked_s = wall.monotonic_s()
                    if len(await topic.partitions()) != self._known:
                        self._on_change.signal()
                await self._hold_back(topic)
            except Unavailable as error:
                log.warning("topic can't be read topic=%s reason=%s", self._source.topics[0], error)
                await wall.sleep(AFTER_ERROR_S)

    async def close(self) -> None:
        if self._topic is not None:
            await self._topic.close()

    async def shards(self) -> list[Shard]:
        topic = await self._open()
        found = await topic.partitions()
        self._known = len(found)
        return [Shard(f"{topic.topic}-{partition}") for partition in found]

    async def retention_ms(self) -> int | None:
        return None

    async def read(self, shard_id: str, after: str | None) -> Page:
        topic, partition = await self._open(), int(shard_id.rpartition("-")[2])
        if shard_id not in self._partitions:
            await self._start(topic, partition, shard_id, after)
        held = self._partitions[shard_id].held
        if not held:
            return Page([], None, 0, is_end=False)
        taken = [held.popleft() for _ in range(len(held))]
        fresh = [one for one in taken if after is None or one.offset > int(after)]
        records = [record for record in map(self._wanted, fresh) if record is not None]
        last = str(fresh[-1].offset) if fresh else None
        return Page(records, last, len(fresh), is_end=False)

    async def _start(self, topic: KafkaTopic, partition: int, shard_id: str, after: str | None) -> None:
        """Known before it is fetched from: what comes at once mustn't be taken for nobody's."""
        self._partitions[shard_id] = _Partition()
        offset = None if after is None else int(after) + 1
        try:
            await topic.start(partition, offset, at_ms=self._starting_ms(), group_first=True)
        except BaseException:
            del self._partitions[shard_id]
            raise
        self._has_begun.set()

    async def on_stored(self, shard_id: str, checkpoint: str | None) -> None:
        """Commit to the group what the platform has stored."""
        if checkpoint is None or self._topic is None:
            return
        try:
            await self._topic.commit(int(shard_id.rpartition("-")[2]), int(checkpoint) + 1)
        except Unavailable as error:
            log.info("offset isn't committed shard=%s reason=%s", shard_id, error)

    def event(self, shard_id: str, shown: Sequence[bytes], more: dict[str, Any] | None = None) -> bytes:
        head: dict[str, Any] = {"eventSource": "SelfManagedKafka"}
        if self._source.source_arn:
            head = {"eventSource": "aws:kafka", "eventSourceArn": self._source.source_arn}
        head["bootstrapServers"] = self._servers
        records = orjson.dumps(shard_id) + b":[" + b",".join(shown) + b"]"
        return orjson.dumps(head)[:-1] + b',"records":{' + records + b"}}"

    def batch_info(self, shard_id: str, records: Sequence[StreamRecord], first: str, last: str) -> dict[str, Any]:
        info: dict[str, Any] = {"batchSize": len(records), "bootstrapServers": self._servers}
        if self._source.source_arn:
            info["eventSourceArn"] = self._source.source_arn
        return info | {
            "payloadSize": len(self.event(shard_id, [one.shown for one in records])),
            "recordsInfo": {
                shard_id: {
                    "firstRecordOffset": first,
                    "lastRecordOffset": last,
                    "firstRecordTimestamp": iso(records[0].at_ms) if records else "",
                    "lastRecordTimestamp": iso(records[-1].at_ms) if records else "",
                }
            },
        }

    def identifier(self, shard_id: str, item: Any) -> Any:
        """A failed item is named by its partition and offset."""
        if isinstance(item, dict) and item.get("partition") == shard_id and isinstance(item.get("offset"), int):
            return str(item["offset"])
        return None

    def produced(self, shard_id: str, records: Sequence[StreamRecord], body: str) -> dict[str, Any]:
        """One message for each record, with its key, what became of it and the record itself.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure-destination.html
        """
        found = []
        for record in records:
            payload = self.event(shard_id, [record.shown])
            info = {key: value for key, value in orjson.loads(body)["KafkaBatchInfo"].items() if key != "recordsInfo"}
            place = {"offset": record.number, "timestamp": iso(record.at_ms)}
            info |= {"batchSize": 1, "payloadSize": len(payload), "recordInfo": place}
            told = orjson.loads(body) | {"KafkaBatchInfo": info, "payload": orjson.loads(payload)}
            found.append([base64.b64encode(record.key).decode(), orjson.dumps(told).decode()])
        return {"messages": found}

    async def _open(self) -> KafkaTopic:
        if self._topic is None:
            try:
                settings = await settings_of(self._ctx, self._source, self._role)
            except (ServiceError, KeyError, ValueError) as error:
                raise Unavailable(f"a secret of the mapping can't be used: {error}") from error
            self._topic = self._topic or KafkaTopic(self._source.topics[0], settings)
        return self._topic

    def _starting_ms(self) -> int | None:
        """LATEST means when the mapping was made: what came since must not be lost while the poller starts."""
        if self._source.starting_position == "TRIM_HORIZON":
            return None
        is_latest = self._source.starting_position == "LATEST"
        return self._source.created_ms if is_latest else self._source.starting_ms

    def _sort(self, records: list[KafkaRecord]) -> None:
        for record in records:
            partition = self._partitions.get(f"{self._source.topics[0]}-{record.partition}")
            if partition is not None:
                partition.held.append(record)
        if records:
            self._news.signal()

    async def _hold_back(self, topic: KafkaTopic) -> None:
        """A partition whose lane doesn't keep up is fetched no further."""
        for shard_id, partition in self._partitions.items():
            is_full = len(partition.held) >= HELD_RECORDS_MAX
            if is_full != partition.is_paused:
                partition.is_paused = is_full
                await topic.pause(int(shard_id.rpartition("-")[2]), is_paused=is_full)

    def _wanted(self, record: KafkaRecord) -> StreamRecord | None:
        shown: dict[str, Any] = {
            "topic": self._source.topics[0],
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.at_ms,
            "timestampType": record.timestamp_type,
        }
        if record.key is not None:
            shown["key"] = base64.b64encode(record.key).decode()
        if record.value is not None:
            shown["value"] = base64.b64encode(record.value).decode()
        shown["headers"] = [{name: list(value)} for name, value in record.headers]
        if not self._filters.is_open and not self._filters.is_wanted(shown, record.value or b""):
            return None
        number = str(record.offset)
        return StreamRecord(number, record.offset, record.at_ms, record.key or b"", orjson.dumps(shown))


async def send_to_topic(ctx: Context, told: dict[str, Any]) -> None:
    """Hand records that were given up to a topic of the mapping's own cluster. Raises Unavailable: tried again."""
    source = await ctx.store.read(lambda tx: mappings.find_source(tx, ctx.scope, told["mapping"]))
    if source is None:
        log.warning("delivery given up, its mapping is gone mapping=%s", told["mapping"])
        return
    settings = await settings_of(ctx, source, principal_of(told["role"], ctx, told["function"]))
    del settings["group.id"]
    found = [(base64.b64decode(key) or None, body.encode()) for key, body in told["messages"]]
    await produce(settings, told["target"].removeprefix("kafka://"), found)
