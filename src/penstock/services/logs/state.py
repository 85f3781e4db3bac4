"""What the logs room stores.

group    ("logs", account, region, "group", NAME)
stream   ("logs", account, region, "stream", GROUP, STREAM)
batch    ("logs", account, region, "batch", GROUP, STREAM, first timestamp, sequence): one row per PutLogEvents,
         so that logging costs two small writes
expiry   ("logs", account, region, "expiry", GROUP): present while an expiry timer is set
"""

import heapq
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import orjson

from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.logs import messages
from penstock.storage.transactions import Key, ReadTransaction, Transaction

Position = tuple[int, int, int]  # timestamp, batch sequence, index in the batch


@dataclass
class Group:
    name: str
    created_ms: int
    retention_days: int | None = None
    kms_key_id: str = ""
    log_class: str = "STANDARD"
    stored_bytes: int = 0
    tags: dict[str, str] = field(default_factory=dict)

    def arn(self, scope: Scope) -> str:
        return f"arn:{scope.partition}:logs:{scope.region}:{scope.account_id}:log-group:{self.name}"


@dataclass
class Stream:
    """`span_ms_max` is the longest time that one batch covers: how far around a time its batches may lie."""

    name: str
    created_ms: int
    sequence: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    ingested_ms: int | None = None
    span_ms_max: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    position: Position
    message: str
    ingested_ms: int

    @property
    def id(self) -> str:
        """56 digits, growing with the position, as AWS's are."""
        time_ms, sequence, index = self.position
        return f"{time_ms:020d}{sequence:026d}{index:010d}"


def room(scope: Scope, *rest: str | int) -> Key:
    return ("logs", scope.account_id, scope.region, *rest)


def find_group(tx: ReadTransaction, scope: Scope, name: str) -> Group | None:
    value = tx.get(room(scope, "group", name))
    return None if value is None else Group(**orjson.loads(value))


def get_group(tx: ReadTransaction, scope: Scope, name: str) -> Group:
    group = find_group(tx, scope, name)
    if group is None:
        raise ServiceError("ResourceNotFoundException", messages.GROUP_NOT_FOUND)
    return group


def put_group(tx: Transaction, scope: Scope, group: Group) -> None:
    tx.put(room(scope, "group", group.name), orjson.dumps(asdict(group)))


def delete_group(tx: Transaction, scope: Scope, name: str) -> None:
    tx.delete(room(scope, "group", name))
    for kind in ("stream", "batch", "expiry"):
        tx.clear(room(scope, kind, name))


def groups(tx: ReadTransaction, scope: Scope) -> Iterator[Group]:
    for _, value in tx.range(room(scope, "group")):
        yield Group(**orjson.loads(value))


def find_stream(tx: ReadTransaction, scope: Scope, group: str, name: str) -> Stream | None:
    value = tx.get(room(scope, "stream", group, name))
    return None if value is None else Stream(**orjson.loads(value))


def get_stream(tx: ReadTransaction, scope: Scope, group: str, name: str) -> Stream:
    get_group(tx, scope, group)
    stream = find_stream(tx, scope, group, name)
    if stream is None:
        raise ServiceError("ResourceNotFoundException", messages.STREAM_NOT_FOUND)
    return stream


def put_stream(tx: Transaction, scope: Scope, group: str, stream: Stream) -> None:
    tx.put(room(scope, "stream", group, stream.name), orjson.dumps(asdict(stream)))


def delete_stream(tx: Transaction, scope: Scope, group: str, name: str) -> None:
    tx.delete(room(scope, "stream", group, name))
    tx.clear(room(scope, "batch", group, name))


def streams(tx: ReadTransaction, scope: Scope, group: str) -> Iterator[Stream]:
    for _, value in tx.range(room(scope, "stream", group)):
        yield Stream(**orjson.loads(value))


def append(
    tx: Transaction, scope: Scope, group: str, stream: Stream, events: list[tuple[int, str]], *, now_ms: int
) -> None:
    """Store one batch, sorted by time, and the stream's new times."""
    first_ms, last_ms = events[0][0], events[-1][0]
    stream.sequence += 1
    stream.first_ms = first_ms if stream.first_ms is None else min(first_ms, stream.first_ms)
    stream.last_ms = last_ms if stream.last_ms is None else max(last_ms, stream.last_ms)
    stream.ingested_ms = now_ms
    stream.span_ms_max = max(stream.span_ms_max, last_ms - first_ms)
    key = room(scope, "batch", group, stream.name, first_ms, stream.sequence)
    tx.put(key, orjson.dumps([now_ms, events]))
    put_stream(tx, scope, group, stream)


def events_forward(
    tx: ReadTransaction, scope: Scope, group: str, stream: Stream, *, after: Position
) -> Iterator[Event]:
    """Events after a position, oldest first, over batches that may overlap in time."""
    prefix = room(scope, "batch", group, stream.name)
    begin = (*prefix, max(0, after[0] - stream.span_ms_max), 0)
    waiting: list[tuple[Position, Event]] = []
    for key, value in tx.range(prefix, begin=begin):
        while waiting and waiting[0][0][0] < int(str(key[-2])):
            yield heapq.heappop(waiting)[1]
        for event in _read_batch(key, value):
            if event.position > after:
                heapq.heappush(waiting, (event.position, event))
    while waiting:
        yield heapq.heappop(waiting)[1]


def events_backward(
    tx: ReadTransaction, scope: Scope, group: str, stream: Stream, *, before: Position
) -> Iterator[Event]:
    """Events before a position, newest first."""
    prefix = room(scope, "batch", group, stream.name)
    waiting: list[tuple[Position, Event]] = []
    for key, value in tx.range(prefix, end=(*prefix, before[0] + 1, 0), reverse=True):
        while waiting and -waiting[0][0][0] > int(str(key[-2])) + stream.span_ms_max:
            yield heapq.heappop(waiting)[1]
        for event in _read_batch(key, value):
            if event.position < before:
                time_ms, sequence, index = event.position
                heapq.heappush(waiting, ((-time_ms, -sequence, -index), event))
    while waiting:
        yield heapq.heappop(waiting)[1]


def _read_batch(key: Key, value: bytes) -> Iterator[Event]:
    ingested_ms, events = orjson.loads(value)
    sequence = int(str(key[-1]))
    for index, (time_ms, message) in enumerate(events):
        yield Event((time_ms, sequence, index), message, ingested_ms)


def drop_batches_before(tx: Transaction, scope: Scope, group: str, stream: Stream, before_ms: int) -> None:
    """Delete the batches whose every event is older than `before_ms`."""
    prefix = room(scope, "batch", group, stream.name)
    for key, value in list(tx.range(prefix, end=(*prefix, before_ms, 0))):
        if orjson.loads(value)[1][-1][0] < before_ms:
            tx.delete(key)


def oldest_ms(tx: ReadTransaction, scope: Scope, group: str) -> int | None:
    """The last time of the earliest batch over all streams of a group."""
    found: int | None = None
    for stream in streams(tx, scope, group):
        for _, value in tx.range(room(scope, "batch", group, stream.name), limit=1):
            last_ms = int(orjson.loads(value)[1][-1][0])
            found = last_ms if found is None else min(found, last_ms)
    return found
