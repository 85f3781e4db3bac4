"""What the room stores.

stream    ("kinesis", "stream", account, region, NAME): a stream with its shards
records   ("kinesis", "records", account, region, NAME, ...): a storage.journal.Journal, a log per shard
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from penstock.kernel.scope import Scope
from penstock.services.kinesis import messages
from penstock.storage.journal import Journal
from penstock.storage.records import Record
from penstock.storage.transactions import ReadTransaction, Transaction

RECORDS = ("kinesis", "records")
HASH_MAX = 2**128 - 1


@dataclass
class Shard:
    """Hash keys are decimal text: they have 128 bits. `closed_ms` is None while it takes records."""

    id: str
    first_hash: str
    last_hash: str
    created_ms: int
    parent: str = ""
    adjacent_parent: str = ""
    closed_ms: int | None = None

    @property
    def index(self) -> int:
        return int(self.id.rpartition("-")[2])

    def has_hash(self, key: int) -> bool:
        return int(self.first_hash) <= key <= int(self.last_hash)


@dataclass
class Stream:
    name: str
    created_ms: int
    mode: str
    status: str = "CREATING"
    retention_hours: int = 24
    encryption: str = "NONE"
    key_id: str = ""
    shards: list[Shard] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)

    def arn(self, scope: Scope) -> str:
        return f"arn:{scope.partition}:kinesis:{scope.region}:{scope.account_id}:stream/{self.name}"

    @property
    def open_shards(self) -> list[Shard]:
        return [shard for shard in self.shards if shard.closed_ms is None]


@dataclass(frozen=True)
class Stored:
    """A record as the journal holds it."""

    partition_key: str
    data: bytes
    encryption: str = ""

    def encode(self) -> bytes:
        head = orjson.dumps([self.partition_key, self.encryption])
        return len(head).to_bytes(4, "big") + head + self.data

    @classmethod
    def decode(cls, value: bytes) -> "Stored":
        size = int.from_bytes(value[:4], "big")
        partition_key, encryption = orjson.loads(value[4 : 4 + size])
        return cls(partition_key, value[4 + size :], encryption)


_STREAM = Record(Stream)


def find_stream(tx: ReadTransaction, scope: Scope, name: str) -> Stream | None:
    return _STREAM.find(tx.get(("kinesis", "stream", scope.account_id, scope.region, name)))


def get_stream(tx: ReadTransaction, scope: Scope, name: str) -> Stream:
    stream = find_stream(tx, scope, name)
    if stream is None:
        raise messages.no_stream(name, scope.account_id)
    return stream


def put_stream(tx: Transaction, scope: Scope, stream: Stream) -> None:
    tx.put(("kinesis", "stream", scope.account_id, scope.region, stream.name), _STREAM.dump(stream))


def delete_stream(tx: Transaction, scope: Scope, name: str) -> None:
    tx.delete(("kinesis", "stream", scope.account_id, scope.region, name))
    tx.clear((*RECORDS, scope.account_id, scope.region, name))


def streams(tx: ReadTransaction, scope: Scope) -> Iterator[Stream]:
    for _, value in tx.range(("kinesis", "stream", scope.account_id, scope.region)):
        yield _STREAM.load(value)


def all_streams(tx: ReadTransaction) -> Iterator[tuple[Scope, Stream]]:
    for key, value in tx.range(("kinesis", "stream")):
        yield Scope(str(key[2]), str(key[3])), _STREAM.load(value)


def records_of(scope: Scope, name: str) -> Journal:
    return Journal((*RECORDS, scope.account_id, scope.region, name))
