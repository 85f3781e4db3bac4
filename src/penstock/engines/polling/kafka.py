"""One Kafka topic read and written through librdkafka, off the event loop.

confluent-kafka is an optional part of the installation. A consumer is told which partitions to read and from where;
nothing is committed by itself. Every call blocks, so each runs on the one thread of its connection.
Source: https://docs.confluent.io/platform/current/clients/confluent-kafka-python/html/index.html
"""

import asyncio
import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from penstock.kernel.errors import Unavailable

T = TypeVar("T")
_LIBRARY = "confluent_kafka"
ASK_S = 10.0
POLL_S = 0.1
POLL_RECORDS_MAX = 1000
_TIMESTAMPS = {1: "CREATE_TIME", 2: "LOG_APPEND_TIME"}


def is_installed() -> bool:
    return importlib.util.find_spec(_LIBRARY) is not None


@dataclass(frozen=True, slots=True)
class KafkaRecord:
    """`timestamp_type` as functions see it; `headers` in order, a name may come twice."""

    partition: int
    offset: int
    at_ms: int
    timestamp_type: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class KafkaTopic:
    """A consumer of one topic, in a group that only keeps its offsets. Raises Unavailable where brokers are away."""

    def __init__(self, topic: str, settings: Mapping[str, Any]) -> None:
        self.topic = topic
        self._settings = dict(settings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-kafka")
        self._consumer: Any = None

    async def partitions(self) -> list[int]:
        """Raises Unavailable for a topic that isn't there."""
        return await self._run(self._partitions)

    async def start(self, partition: int, offset: int | None, *, at_ms: int | None, group_first: bool) -> None:
        """Read on from `offset`; without one from where the group stands, the first record of a time, or the oldest."""
        await self._run(lambda: self._start(partition, offset, at_ms, group_first))

    async def poll(self) -> list[KafkaRecord]:
        """What has come; waits a moment for the first."""
        return await self._run(self._poll)

    async def pause(self, partition: int, *, is_paused: bool) -> None:
        def change() -> None:
            places = [self._place(partition)]
            (self._consumer.pause if is_paused else self._consumer.resume)(places)

        await self._run(change)

    async def commit(self, partition: int, offset: int) -> None:
        """The next offset to read; failures are ignored, for the platform's own checkpoint is what counts."""
        await self._run(
            lambda: (
                self._consumer.commit(offsets=[self._place(partition, offset)], asynchronous=True)
                if self._consumer
                else None
            )
        )

    async def close(self) -> None:
        if self._consumer is not None:
            await self._run(self._consumer.close)
            self._consumer = None
        self._thread.shutdown(wait=False)

    async def _run(self, call: Callable[[], T]) -> T:
        library = _library()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except library.KafkaException as error:
            raise Unavailable(f"Kafka: {error}") from error

    def _connected(self) -> Any:
        if self._consumer is None:
            fixed = {
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
                "log_level": 2,
            }
            self._consumer = _library().Consumer({**self._settings, **fixed})
        return self._consumer

    def _place(self, partition: int, offset: int | None = None) -> Any:
        library = _library()
        if offset is None:
            return library.TopicPartition(self.topic, partition)
        return library.TopicPartition(self.topic, partition, offset)

    def _partitions(self) -> list[int]:
        found = self._connected().list_topics(self.topic, timeout=ASK_S).topics.get(self.topic)
        if found is None or found.error is not None or not found.partitions:
            raise Unavailable(f"Kafka topic {self.topic} isn't there")
        return sorted(found.partitions)

    def _start(self, partition: int, offset: int | None, at_ms: int | None, group_first: bool) -> None:
        library, consumer = _library(), self._connected()
        begin = offset
        if begin is None and group_first:
            [known] = consumer.committed([self._place(partition)], timeout=ASK_S)
            begin = known.offset if known.offset >= 0 else None
        if begin is None and at_ms is not None:
            [found] = consumer.offsets_for_times([self._place(partition, at_ms)], timeout=ASK_S)
            begin = found.offset
        begin = library.OFFSET_BEGINNING if begin is None else begin
        consumer.incremental_assign([self._place(partition, begin)])

    def _poll(self) -> list[KafkaRecord]:
        consumer = self._connected()
        first = consumer.poll(POLL_S)
        if first is None:
            return []
        return [_record(one) for one in (first, *consumer.consume(POLL_RECORDS_MAX, timeout=0)) if not one.error()]


def _record(message: Any) -> KafkaRecord:
    kind, at_ms = message.timestamp()
    headers = tuple((name, bytes(value or b"")) for name, value in message.headers() or ())
    return KafkaRecord(
        message.partition(),
        message.offset(),
        max(at_ms, 0),
        _TIMESTAMPS.get(kind, "NO_TIMESTAMP_TYPE"),
        message.key(),
        message.value(),
        headers,
    )


async def produce(settings: Mapping[str, Any], topic: str, messages: Sequence[tuple[bytes | None, bytes]]) -> None:
    """Write keys and values to a topic; on return the brokers have them. Raises Unavailable."""
    library = _library()
    failures: list[str] = []

    def note(error: Any, _: Any) -> None:
        if error is not None:
            failures.append(str(error))

    def send() -> None:
        producer = library.Producer({**settings, "log_level": 2, "message.timeout.ms": int(ASK_S * 1000)})
        for key, value in messages:
            producer.produce(topic, value, key, on_delivery=note)
        if producer.flush(ASK_S):
            failures.append("timed out")

    try:
        await asyncio.to_thread(send)
    except library.KafkaException as error:
        raise Unavailable(f"Kafka: {error}") from error
    if failures:
        raise Unavailable(f"Kafka: {failures[0]}")


def _library() -> Any:
    """Raises Unavailable where it isn't installed."""
    if not is_installed():
        raise Unavailable("Kafka needs the package confluent-kafka")
    return importlib.import_module(_LIBRARY)
