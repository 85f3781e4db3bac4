"""The streams that can be read: how each is asked, and how its records look to functions.

A page is what one read gave: records with their place in the shard's order, already filtered. Sources:
https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html, https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from penstock.kernel import arn
from penstock.kernel.errors import ServiceError
from penstock.services.lambda_ import rules
from penstock.services.lambda_.operations.mappings import EventSource
from penstock.services.lambda_.operations.source_filters import Filters

PAGE_RECORDS_MIN = 1000
KINESIS_PAGE_MAX, DYNAMODB_PAGE_MAX = 10_000, 1000
DYNAMODB_RETENTION_MS = 24 * 3_600_000
_LOST_PLACE = ("ExpiredIteratorException", "TrimmedDataAccessException")
Call = Callable[[str, str, dict[str, Any]], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """`number` as the stream gives it and `order` as it sorts; `key`: what must stay in order; `shown`: its JSON."""

    number: str
    order: int
    at_ms: int
    key: bytes
    shown: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """`last` is the number up to which was read, None where there was nothing; `polled` counts filtered ones too."""

    records: list[StreamRecord]
    last: str | None
    polled: int
    is_end: bool


@dataclass(frozen=True, slots=True)
class Shard:
    """`begin` tells it from a shard of the same name in a stream that was deleted and made again."""

    id: str
    parents: tuple[str, ...] = ()
    begin: str = ""


class StreamSource(Protocol):
    """One stream as a mapping reads it.

    is_fetched   an empty page only means that nothing has been fetched yet; else that there is nothing
    """

    info_name: str
    is_fetched: bool

    async def shards(self) -> list[Shard]: ...

    async def read(self, shard_id: str, after: str | None) -> Page:
        """What comes after a sequence number, or from the starting position on."""

    async def run(self) -> None:
        """What has to go on while the stream is read; cancelled when it no longer is."""

    async def close(self) -> None: ...

    async def on_stored(self, shard_id: str, checkpoint: str | None) -> None:
        """A step is stored; for streams that keep a checkpoint themselves."""

    def identifier(self, shard_id: str, item: Any) -> Any:
        """The sequence number that an `itemIdentifier` names."""

    def produced(self, shard_id: str, records: Sequence[StreamRecord], body: str) -> dict[str, Any]:
        """What a Kafka destination is sent instead of `body`."""

    async def retention_ms(self) -> int | None:
        """How long records are kept; None where that isn't known."""

    def event(self, shard_id: str, shown: Sequence[bytes], more: dict[str, Any] | None = None) -> bytes:
        """The function's event; `more` are a window's members."""

    def batch_info(self, shard_id: str, records: Sequence[StreamRecord], first: str, last: str) -> dict[str, Any]:
        """What the on-failure destination is told of a batch."""


def records_event(shown: Sequence[bytes], more: dict[str, Any] | None) -> bytes:
    tail = b"," + orjson.dumps(more)[1:] if more else b"}"
    return b'{"Records":[' + b",".join(shown) + b"]" + tail


@dataclass
class _Chain:
    """Where the last read of a shard ended, and the iterator that goes on there."""

    after: str | None
    iterator: str


@dataclass
class ServiceStream:
    """What Kinesis and DynamoDB Streams have in common. `call` asks a service as the function's role."""

    source: EventSource
    call: Call
    role: str = ""
    info_name: str = ""
    is_fetched: bool = False
    _chains: dict[str, _Chain] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.region = arn.parse(self.source.source_arn).region
        self._filters = Filters(self.source.filters, "data" if self.source.kind == "kinesis" else "")

    async def read(self, shard_id: str, after: str | None) -> Page:
        chain = self._chains.pop(shard_id, None)
        try:
            iterator = chain.iterator if chain and chain.after == after else await self._iterator(shard_id, after)
            answer = await self._records(iterator)
        except ServiceError as error:
            if error.code not in _LOST_PLACE:
                raise
            is_trimmed = error.code == "TrimmedDataAccessException"
            iterator = await (self._oldest(shard_id) if is_trimmed else self._iterator(shard_id, after))
            answer = await self._records(iterator)
        raw = answer["Records"]
        records = [record for record in map(self._wanted, [shard_id] * len(raw), raw) if record is not None]
        last = self._number(raw[-1]) if raw else None
        if "NextShardIterator" in answer:
            self._chains[shard_id] = _Chain(last or after, answer["NextShardIterator"])
        return Page(records, last, len(raw), "NextShardIterator" not in answer)

    async def run(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def on_stored(self, shard_id: str, checkpoint: str | None) -> None:
        pass

    def identifier(self, shard_id: str, item: Any) -> Any:
        return item

    def produced(self, shard_id: str, records: Sequence[StreamRecord], body: str) -> dict[str, Any]:
        return {}

    def event(self, shard_id: str, shown: Sequence[bytes], more: dict[str, Any] | None = None) -> bytes:
        return records_event(shown, more)

    def batch_info(self, shard_id: str, records: Sequence[StreamRecord], first: str, last: str) -> dict[str, Any]:
        return {
            "shardId": shard_id,
            "startSequenceNumber": first,
            "endSequenceNumber": last,
            "approximateArrivalOfFirstRecord": iso(records[0].at_ms) if records else "",
            "approximateArrivalOfLastRecord": iso(records[-1].at_ms) if records else "",
            "batchSize": len(records),
            "streamArn": self.source.stream_arn,
        }

    @property
    def page_size(self) -> int:
        return max(PAGE_RECORDS_MIN, self.source.batch_size)

    async def _iterator(self, shard_id: str, after: str | None) -> str:
        raise NotImplementedError

    async def _oldest(self, shard_id: str) -> str:
        raise NotImplementedError

    async def _records(self, iterator: str) -> dict[str, Any]:
        raise NotImplementedError

    def _number(self, record: dict[str, Any]) -> str:
        raise NotImplementedError

    def _wanted(self, shard_id: str, record: dict[str, Any]) -> StreamRecord | None:
        raise NotImplementedError


class KinesisStream(ServiceStream):
    def __init__(self, source: EventSource, call: Call, role: str) -> None:
        super().__init__(source, call, role, "KinesisBatchInfo")
        head = {
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": role,
            "awsRegion": self.region,
            "eventSourceARN": source.source_arn,
        }
        self._tail = orjson.dumps(head)[1:]

    async def shards(self) -> list[Shard]:
        found: list[Shard] = []
        params: dict[str, Any] = {"StreamARN": self.source.stream_arn}
        while True:
            answer = await self.call("kinesis", "ListShards", params)
            for shard in answer["Shards"]:
                parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
                begin = shard["SequenceNumberRange"]["StartingSequenceNumber"]
                found.append(Shard(shard["ShardId"], tuple(parent for parent in parents if parent), begin))
            if not answer.get("NextToken"):
                return found
            params = {"NextToken": answer["NextToken"]}

    async def retention_ms(self) -> int | None:
        answer = await self.call("kinesis", "DescribeStreamSummary", {"StreamARN": self.source.stream_arn})
        return int(answer["StreamDescriptionSummary"]["RetentionPeriodHours"]) * 3_600_000

    async def _iterator(self, shard_id: str, after: str | None) -> str:
        """LATEST means when the mapping was made: what came since must not be lost while the poller starts."""
        if after is not None:
            return await self._ask(shard_id, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=after)
        if self.source.starting_position == "TRIM_HORIZON":
            return await self._oldest(shard_id)
        is_latest = self.source.starting_position == "LATEST"
        from_ms = self.source.created_ms if is_latest else self.source.starting_ms
        return await self._ask(shard_id, "AT_TIMESTAMP", Timestamp=rules.when(from_ms))

    async def _oldest(self, shard_id: str) -> str:
        return await self._ask(shard_id, "TRIM_HORIZON")

    async def _ask(self, shard_id: str, kind: str, **members: Any) -> str:
        params = {"StreamARN": self.source.stream_arn, "ShardId": shard_id, "ShardIteratorType": kind, **members}
        answer = await self.call("kinesis", "GetShardIterator", params)
        return str(answer["ShardIterator"])

    async def _records(self, iterator: str) -> dict[str, Any]:
        limit = min(self.page_size, KINESIS_PAGE_MAX)
        params = {"ShardIterator": iterator, "Limit": limit, "StreamARN": self.source.stream_arn}
        return await self.call("kinesis", "GetRecords", params)

    def _number(self, record: dict[str, Any]) -> str:
        return str(record["SequenceNumber"])

    def _wanted(self, shard_id: str, record: dict[str, Any]) -> StreamRecord | None:
        number, key, data = record["SequenceNumber"], record["PartitionKey"], record["Data"]
        at_ms = _ms(record["ApproximateArrivalTimestamp"])
        encoded = binascii.b2a_base64(data, newline=False)
        # Written out: a stream has many records, and only the key may hold what has to be escaped.
        text = (
            b'{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":%b,"sequenceNumber":"%b","data":"%b",'
            b'"approximateArrivalTimestamp":%b},"eventID":"%b:%b",%b'
        ) % (
            orjson.dumps(key),
            number.encode(),
            encoded,
            b"%d.%03d" % divmod(at_ms, 1000),
            shard_id.encode(),
            number.encode(),
            self._tail,
        )
        if not self._filters.is_open:
            shown = orjson.loads(text)
            if not self._filters.is_wanted({**shown["kinesis"], **shown}, data):
                return None
        return StreamRecord(number, int(number), at_ms, key.encode(), text)


class DynamoStream(ServiceStream):
    def __init__(self, source: EventSource, call: Call, role: str) -> None:
        super().__init__(source, call, role, "DDBStreamBatchInfo")

    async def shards(self) -> list[Shard]:
        found: list[Shard] = []
        params: dict[str, Any] = {"StreamArn": self.source.source_arn}
        while True:
            answer = (await self.call("dynamodbstreams", "DescribeStream", params))["StreamDescription"]
            for shard in answer["Shards"]:
                parent = shard.get("ParentShardId")
                found.append(Shard(shard["ShardId"], (parent,) if parent else ()))
            if not answer.get("LastEvaluatedShardId"):
                return found
            params["ExclusiveStartShardId"] = answer["LastEvaluatedShardId"]

    async def retention_ms(self) -> int | None:
        return DYNAMODB_RETENTION_MS

    async def _iterator(self, shard_id: str, after: str | None) -> str:
        """LATEST means when the mapping was made. A number of that time at position 0 stands before all that followed
        (services/dynamodb/operations/streams.py).
        """
        if after is None and self.source.starting_position == "TRIM_HORIZON":
            return await self._oldest(shard_id)
        number = f"{self.source.created_ms:013d}{0:011d}" if after is None else after
        return await self._ask(shard_id, "AFTER_SEQUENCE_NUMBER", SequenceNumber=number)

    async def _oldest(self, shard_id: str) -> str:
        return await self._ask(shard_id, "TRIM_HORIZON")

    async def _ask(self, shard_id: str, kind: str, **members: Any) -> str:
        params = {"StreamArn": self.source.source_arn, "ShardId": shard_id, "ShardIteratorType": kind, **members}
        answer = await self.call("dynamodbstreams", "GetShardIterator", params)
        return str(answer["ShardIterator"])

    async def _records(self, iterator: str) -> dict[str, Any]:
        params = {"ShardIterator": iterator, "Limit": min(self.page_size, DYNAMODB_PAGE_MAX)}
        return await self.call("dynamodbstreams", "GetRecords", params)

    def _number(self, record: dict[str, Any]) -> str:
        return str(record["dynamodb"]["SequenceNumber"])

    def _wanted(self, shard_id: str, record: dict[str, Any]) -> StreamRecord | None:
        change = record["dynamodb"]
        at_ms = _ms(change["ApproximateCreationDateTime"])
        shown = {
            **record,
            "dynamodb": {**change, "ApproximateCreationDateTime": at_ms // 1000},
            "eventSourceARN": self.source.source_arn,
        }
        if record.get("userIdentity"):
            identity = record["userIdentity"]
            shown["userIdentity"] = {"type": identity["Type"], "principalId": identity["PrincipalId"]}
        text = orjson.dumps(shown, default=_base64)
        if not self._filters.is_open and not self._filters.is_wanted(orjson.loads(text)):
            return None
        number = str(change["SequenceNumber"])
        key = orjson.dumps(change["Keys"], default=_base64, option=orjson.OPT_SORT_KEYS)
        return StreamRecord(number, int(number), at_ms, key, text)


def stream_source(source: EventSource, call: Call, role: str) -> StreamSource:
    return KinesisStream(source, call, role) if source.kind == "kinesis" else DynamoStream(source, call, role)


def iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _base64(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)
