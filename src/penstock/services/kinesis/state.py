"""What the room stores.

stream    ("kinesis", "stream", account, region, NAME): a stream with its shards
records   ("kinesis", "records", account, region, NAME, ...): a storage.journal.Journal, a log per shard
consumer  ("kinesis", "consumer", account, region, STREAM, NAME)
policy    ("kinesis", "policy", account, region, RESOURCE): of `stream/NAME` or `stream/NAME/consumer/NAME:TIME`
epoch     ("kinesis", "epoch", account, region, NAME): the last epoch of a stream that is gone
settings  ("kinesis", "settings", account, region)
secret    ("kinesis", "secret"): what iterators and tokens are sealed with
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from penstock.kernel.scope import Scope
from penstock.kernel.units import HOUR_MS
from penstock.services.kinesis import limits, messages
from penstock.storage.journal import Journal
from penstock.storage.records import Record
from penstock.storage.transactions import Key, ReadTransaction, Transaction

RECORDS = ("kinesis", "records")
HASH_MAX = 2**128 - 1
_IS_ENCRYPTED = 0x8000


@dataclass
class Shard:
    """Hash keys are decimal text: they have 128 bits. `closed_ms` is None while it takes records.

    `epoch_s` heads its sequence numbers: when it was made, but later than its parents and than any earlier stream's.
    """

    id: str
    first_hash: str
    last_hash: str
    created_ms: int
    parent: str = ""
    adjacent_parent: str = ""
    closed_ms: int | None = None
    epoch_s: int = 0

    @property
    def index(self) -> int:
        return int(self.id.rpartition("-")[2])

    @property
    def epoch(self) -> int:
        return self.epoch_s or self.created_ms // 1000

    def has_hash(self, key: int) -> bool:
        return int(self.first_hash) <= key <= int(self.last_hash)


@dataclass
class Stream:
    """ACTIVE or DELETING, as no other state lasts; what is older than `horizon_ms` stays gone at a longer retention."""

    name: str
    created_ms: int
    mode: str
    status: str = "ACTIVE"
    retention_hours: int = 24
    encryption: str = "NONE"
    key_id: str = ""
    shards: list[Shard] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    next_shard: int = 0
    horizon_ms: int = 0
    metrics: list[str] = field(default_factory=list)
    max_record_kib: int = limits.RECORD_KIB.value
    warm_mibps: int = 0
    distribution: str = "USER_PARTITION_KEY"
    scaled_ms: list[int] = field(default_factory=list)

    def arn(self, scope: Scope) -> str:
        return stream_arn(scope, self.name)

    @property
    def open_shards(self) -> list[Shard]:
        return [shard for shard in self.shards if shard.closed_ms is None]

    @property
    def shard_count(self) -> int:
        """How many it has had, those that are gone included: the next one's index."""
        return self.next_shard or len(self.shards)

    def oldest_ms(self, now_ms: int) -> int:
        """Records dated earlier are beyond the retention period."""
        return max(self.horizon_ms, now_ms - self.retention_hours * HOUR_MS)

    def visible_shards(self, now_ms: int) -> list[Shard]:
        """Without the closed ones all of whose records are gone."""
        oldest_ms = self.oldest_ms(now_ms)
        return [shard for shard in self.shards if shard.closed_ms is None or shard.closed_ms >= oldest_ms]


@dataclass
class Consumer:
    """A reader with a subscription of its own."""

    name: str
    created_ms: int
    status: str = "ACTIVE"
    tags: dict[str, str] = field(default_factory=dict)

    def arn(self, scope: Scope, stream: str) -> str:
        return f"{stream_arn(scope, stream)}/consumer/{self.name}:{self.created_ms // 1000}"


@dataclass
class Settings:
    """Of an account in a region: its commitment to a minimum throughput."""

    commitment: str = "DISABLED"
    started_ms: int = 0
    ended_ms: int = 0


@dataclass(frozen=True)
class Stored:
    """A record as the journal holds it."""

    partition_key: str
    data: bytes
    encryption: str = ""

    def encode(self) -> bytes:
        """The key's length with a mark for encryption above it, the key, the data."""
        key = self.partition_key.encode("utf-8", "surrogatepass")
        return (len(key) | (_IS_ENCRYPTED if self.encryption == "KMS" else 0)).to_bytes(2, "big") + key + self.data

    @classmethod
    def decode(cls, value: bytes) -> "Stored":
        head = int.from_bytes(value[:2], "big")
        end = 2 + (head & ~_IS_ENCRYPTED)
        key = value[2:end].decode("utf-8", "surrogatepass")
        return cls(key, value[end:], "KMS" if head & _IS_ENCRYPTED else "NONE")


@dataclass(frozen=True)
class View:
    """A stream to look at, never to change, with its open shards by their last hash key."""

    stream: Stream
    bounds: list[int]
    open_shards: list[Shard]

    def shard_for(self, key: int) -> Shard:
        return self.open_shards[bisect_left(self.bounds, key)]


_STREAM, _CONSUMER, _SETTINGS = Record(Stream), Record(Consumer), Record(Settings)


def stream_arn(scope: Scope, name: str) -> str:
    return f"arn:{scope.partition}:kinesis:{scope.region}:{scope.account_id}:stream/{name}"


def _key(kind: str, scope: Scope, *rest: str) -> Key:
    return ("kinesis", kind, scope.account_id, scope.region, *rest)


def find_stream(tx: ReadTransaction, scope: Scope, name: str) -> Stream | None:
    return _STREAM.find(tx.get(_key("stream", scope, name)))


def get_stream(tx: ReadTransaction, scope: Scope, name: str) -> Stream:
    stream = find_stream(tx, scope, name)
    if stream is None:
        raise messages.no_stream(name, scope.account_id)
    return stream


def get_view(tx: ReadTransaction, scope: Scope, name: str) -> View:
    """As `get_stream`, for those who put and read: the bytes of a stream are taken apart once."""
    value = tx.get(_key("stream", scope, name))
    if value is None:
        raise messages.no_stream(name, scope.account_id)
    return _view(value)


@lru_cache(maxsize=256)
def _view(value: bytes) -> View:
    stream = _STREAM.load(value)
    shards = sorted(stream.open_shards, key=lambda shard: int(shard.last_hash))
    return View(stream, [int(shard.last_hash) for shard in shards], shards)


def put_stream(tx: Transaction, scope: Scope, stream: Stream) -> None:
    tx.put(_key("stream", scope, stream.name), _STREAM.dump(stream))


def delete_stream(tx: Transaction, scope: Scope, stream: Stream) -> None:
    """But for its records, which go before."""
    tx.delete(_key("stream", scope, stream.name))
    tx.clear((*RECORDS, scope.account_id, scope.region, stream.name))
    tx.clear(_key("consumer", scope, stream.name))
    for key, _ in list(tx.range(_key("policy", scope))):
        if (str(key[-1]) + "/").startswith(f"stream/{stream.name}/"):
            tx.delete(key)
    last = max((shard.epoch for shard in stream.shards), default=stream.created_ms // 1000)
    tx.put(_key("epoch", scope, stream.name), b"%d" % last)


def delete_records(tx: Transaction, scope: Scope, name: str, *, limit: int) -> int:
    """Up to `limit` keys of its journal; how many."""
    keys = [key for key, _ in tx.range((*RECORDS, scope.account_id, scope.region, name), limit=limit)]
    for key in keys:
        tx.delete(key)
    return len(keys)


def next_epoch(tx: ReadTransaction, scope: Scope, name: str, now_ms: int) -> int:
    """The first that no stream of that name has had."""
    return max(now_ms // 1000, int(tx.get(_key("epoch", scope, name)) or -1) + 1)


def streams(tx: ReadTransaction, scope: Scope) -> Iterator[Stream]:
    for _, value in tx.range(_key("stream", scope)):
        yield _STREAM.load(value)


def all_streams(tx: ReadTransaction) -> Iterator[tuple[Scope, Stream]]:
    for key, value in tx.range(("kinesis", "stream")):
        yield Scope(str(key[2]), str(key[3])), _STREAM.load(value)


def records_of(scope: Scope, name: str) -> Journal:
    return Journal((*RECORDS, scope.account_id, scope.region, name))


def find_consumer(tx: ReadTransaction, scope: Scope, stream: str, name: str) -> Consumer | None:
    return _CONSUMER.find(tx.get(_key("consumer", scope, stream, name)))


def put_consumer(tx: Transaction, scope: Scope, stream: str, consumer: Consumer) -> None:
    tx.put(_key("consumer", scope, stream, consumer.name), _CONSUMER.dump(consumer))


def delete_consumer(tx: Transaction, scope: Scope, stream: str, consumer: Consumer) -> None:
    tx.delete(_key("consumer", scope, stream, consumer.name))
    put_policy(tx, scope, consumer.arn(scope, stream).split(":", 5)[5], "")


def consumers(tx: ReadTransaction, scope: Scope, stream: str) -> list[Consumer]:
    return [_CONSUMER.load(value) for _, value in tx.range(_key("consumer", scope, stream))]


def find_policy(tx: ReadTransaction, scope: Scope, resource: str) -> str | None:
    value = tx.get(_key("policy", scope, resource))
    return None if value is None else value.decode()


def put_policy(tx: Transaction, scope: Scope, resource: str, policy: str) -> None:
    """An empty one removes it."""
    if policy:
        tx.put(_key("policy", scope, resource), policy.encode())
    else:
        tx.delete(_key("policy", scope, resource))


def settings(tx: ReadTransaction, scope: Scope) -> Settings:
    return _SETTINGS.find(tx.get(_key("settings", scope))) or Settings()


def put_settings(tx: Transaction, scope: Scope, changed: Settings) -> None:
    tx.put(_key("settings", scope), _SETTINGS.dump(changed))


def find_secret(tx: ReadTransaction) -> bytes | None:
    return tx.get(("kinesis", "secret"))


def put_secret(tx: Transaction, secret: bytes) -> None:
    tx.put(("kinesis", "secret"), secret)
