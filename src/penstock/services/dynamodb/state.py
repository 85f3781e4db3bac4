"""What the room stores.

table     ("dynamodb", "table", account, region, NAME): a table with its indexes and settings
item      ("dynamodb", "i", KEY, hash, key...): an item, by the hash of its partition key (values.encode)
entry     ("dynamodb", "x", INDEXKEY, hash, index key..., item key...): what an index projects of an item
counts    ("dynamodb", "n", KEY): items and bytes of a table and of each of its indexes
expiry    ("dynamodb", "ttl", TTLKEY, second, item key...): when an item expires
told      ("dynamodb", "told", KEY): a storage.journal.Journal, a log per Kinesis stream that is told of changes
token     ("dynamodb", "token", account, region, TOKEN): what a transaction was answered
undo      ("dynamodb", "undo", KEY, time, item key...): what a change at that time replaced, for point-in-time recovery
backup    ("dynamodb", "backup", account, region, TABLE, ID), export and import likewise
stream    ("dynamodbstreams", "s", account, region, TABLE, LABEL): a stream with its shards
records   ("dynamodbstreams", "r", STREAMKEY, ...): a storage.journal.Journal, a log per shard

KEY and INDEXKEY are made anew with each table and index, so that what a deleted one leaves behind belongs to nobody.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from penstock.engines.expressions import numbers
from penstock.kernel.scope import Scope
from penstock.services.dynamodb import messages
from penstock.storage.journal import Journal
from penstock.storage.records import Record
from penstock.storage.transactions import Key, ReadTransaction, Transaction

ITEMS, ENTRIES, COUNTS, EXPIRIES = ("dynamodb", "i"), ("dynamodb", "x"), ("dynamodb", "n"), ("dynamodb", "ttl")
UNDO = ("dynamodb", "undo")
TOLD = ("dynamodb", "told")
TOKENS = ("dynamodb", "token")
RECORDS = ("dynamodbstreams", "r")


@dataclass
class Schema:
    """Key attributes: the partition's, then the sort key's. A table has one of each at most, a global index four."""

    hash: list[str]
    range: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return self.hash + self.range


@dataclass
class Index:
    """`cursor`: how far the backfill has come (JSON of a store key); projection: ALL, KEYS_ONLY or INCLUDE."""

    name: str
    key: str
    schema: Schema
    projection: str = "ALL"
    included: list[str] = field(default_factory=list)
    is_local: bool = False
    status: str = "ACTIVE"
    read_units: int = 0
    write_units: int = 0
    throughput: dict[str, Any] = field(default_factory=dict)
    after: bytes = b""


@dataclass
class Destination:
    """A Kinesis stream that is told of every change."""

    stream_arn: str
    status: str = "ACTIVE"
    precision: str = "MILLISECOND"


@dataclass
class Table:
    """types: the key attributes' kinds (S, N, B); units are 0 on demand; ttl: the attribute, "" where off."""

    name: str
    id: str
    key: str
    created_ms: int
    schema: Schema
    types: dict[str, str]
    indexes: list[Index] = field(default_factory=list)
    status: str = "ACTIVE"
    billing: str = "PROVISIONED"
    is_billing_stated: bool = False
    on_demand_ms: int = 0
    read_units: int = 0
    write_units: int = 0
    decreases: int = 0
    increased_ms: int = 0
    decreased_ms: int = 0
    throughput: dict[str, Any] = field(default_factory=dict)
    warm: dict[str, Any] = field(default_factory=dict)
    encryption: dict[str, Any] = field(default_factory=dict)
    table_class: str = ""
    is_protected: bool = False
    stream_label: str = ""
    stream_view: str = ""
    is_streaming: bool = False
    ttl: str = ""
    ttl_key: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    destinations: list[Destination] = field(default_factory=list)
    is_recoverable: bool = False
    recoverable_ms: int = 0
    recovery_days: int = 35
    policy: str = ""
    policy_id: str = ""
    insights: dict[str, str] = field(default_factory=dict)
    restored: dict[str, Any] = field(default_factory=dict)

    def arn(self, scope: Scope) -> str:
        return f"arn:{scope.partition}:dynamodb:{scope.region}:{scope.account_id}:table/{self.name}"

    def stream_arn(self, scope: Scope) -> str:
        return f"{self.arn(scope)}/stream/{self.stream_label}"

    @property
    def expiries(self) -> Key:
        """Below it lies when items expire; another place each time that it is switched on."""
        return (*EXPIRIES, self.ttl_key or self.key)

    def find_index(self, name: str) -> Index | None:
        return next((index for index in self.indexes if index.name == name), None)


@dataclass
class Backup:
    """A table as it was. kind: USER, or SYSTEM for what a deleted table leaves; the items are in the blob."""

    id: str
    name: str
    source: Table
    created_ms: int
    blob: str
    count: int
    size: int
    kind: str = "USER"
    expires_ms: int = 0

    def arn(self, scope: Scope) -> str:
        return f"{self.source.arn(scope)}/backup/{self.id}"


@dataclass
class Job:
    """An export or an import. told: the request; caller: the principal on whose behalf; progress: counts by name."""

    id: str
    table: str
    table_id: str
    table_arn: str
    told: dict[str, Any]
    caller: dict[str, Any]
    started_ms: int
    ended_ms: int = 0
    status: str = "IN_PROGRESS"
    failure_code: str = ""
    failure: str = ""
    blob: str = ""
    manifest: str = ""
    progress: dict[str, int] = field(default_factory=dict)


@dataclass
class Shard:
    id: str
    created_ms: int
    parent: str = ""
    closed_ms: int | None = None


@dataclass
class Stream:
    """closed_ms: when it was disabled or its table deleted; it stays readable for a day."""

    table: str
    label: str
    key: str
    view: str
    created_ms: int
    schema: Schema
    shards: list[Shard] = field(default_factory=list)
    closed_ms: int | None = None
    policy: str = ""
    policy_id: str = ""

    def arn(self, scope: Scope) -> str:
        return (
            f"arn:{scope.partition}:dynamodb:{scope.region}:{scope.account_id}:table/{self.table}/stream/{self.label}"
        )


_TABLE = Record(Table)
_BACKUP, _JOB = Record(Backup), Record(Job)
_STREAM = Record(Stream)


@lru_cache(512)
def _table_of(data: bytes) -> Table:
    return _TABLE.load(data)


@lru_cache(512)
def _stream_of(data: bytes) -> Stream:
    return _STREAM.load(data)


def find_table(tx: ReadTransaction, scope: Scope, name: str) -> Table | None:
    """To be read only: what is parsed once is shared. `edit_table` gives one that may be changed."""
    data = tx.get(("dynamodb", "table", scope.account_id, scope.region, name))
    return _table_of(data) if data is not None else None


def get_table(tx: ReadTransaction, scope: Scope, name: str) -> Table:
    """For items. Raises ResourceNotFoundException."""
    data = tx.get(("dynamodb", "table", scope.account_id, scope.region, name))
    table = _table_of(data) if data is not None else None
    if table is None or table.status == "CREATING":
        raise messages.no_resource()
    return table


def edit_table(tx: ReadTransaction, scope: Scope, name: str) -> Table:
    """A table of one's own, to be changed and put. Raises ResourceNotFoundException."""
    data = tx.get(("dynamodb", "table", scope.account_id, scope.region, name))
    if data is None:
        raise messages.no_table(name)
    return _TABLE.load(data)


def put_table(tx: Transaction, scope: Scope, table: Table) -> None:
    tx.put(("dynamodb", "table", scope.account_id, scope.region, table.name), _TABLE.dump(table))


def delete_table(tx: Transaction, scope: Scope, name: str) -> None:
    tx.delete(("dynamodb", "table", scope.account_id, scope.region, name))


def table_names(tx: ReadTransaction, scope: Scope) -> Iterator[str]:
    for key, _ in tx.range(("dynamodb", "table", scope.account_id, scope.region)):
        yield str(key[-1])


def all_tables(tx: ReadTransaction) -> Iterator[Table]:
    for _, data in tx.range(("dynamodb", "table")):
        yield _table_of(data)


def hash_of(parts: Key) -> int:
    """Where a partition lies among all: 32 bits, as good as chance."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=4).digest(), "big")


def key_part(value: Mapping[str, Any]) -> str | bytes:
    """A key attribute's value as a part of a store key: its order is DynamoDB's."""
    [(kind, content)] = value.items()
    part: str | bytes = numbers.key_of(content) if kind == "N" else content
    return part


def item_key(schema: Schema, item: Mapping[str, Any]) -> Key:
    """hash, partition key, sort key."""
    head = tuple(key_part(item[name]) for name in schema.hash)
    return (hash_of(head), *head, *(key_part(item[name]) for name in schema.range))


def entry_key(table: Table, index: Index, item: Mapping[str, Any], base: Key) -> Key | None:
    """An index entry's place; None for an item that lacks one of the index's keys."""
    for name in index.schema.names:
        value = item.get(name)
        if value is None or table.types[name] not in value:
            return None
    return (*item_key(index.schema, item), *base[1:])


def find_backup(tx: ReadTransaction, scope: Scope, table: str, id: str) -> Backup | None:
    return _BACKUP.find(tx.get(("dynamodb", "backup", scope.account_id, scope.region, table, id)))


def put_backup(tx: Transaction, scope: Scope, backup: Backup) -> None:
    key = ("dynamodb", "backup", scope.account_id, scope.region, backup.source.name, backup.id)
    tx.put(key, _BACKUP.dump(backup))


def delete_backup(tx: Transaction, scope: Scope, backup: Backup) -> None:
    tx.delete(("dynamodb", "backup", scope.account_id, scope.region, backup.source.name, backup.id))


def backups(tx: ReadTransaction, scope: Scope, table: str | None = None) -> Iterator[Backup]:
    prefix: Key = ("dynamodb", "backup", scope.account_id, scope.region)
    for _, data in tx.range(prefix if table is None else (*prefix, table)):
        yield _BACKUP.load(data)


def find_job(tx: ReadTransaction, scope: Scope, kind: str, table: str, id: str) -> Job | None:
    """kind: export or import."""
    return _JOB.find(tx.get(("dynamodb", kind, scope.account_id, scope.region, table, id)))


def put_job(tx: Transaction, scope: Scope, kind: str, job: Job) -> None:
    tx.put(("dynamodb", kind, scope.account_id, scope.region, job.table, job.id), _JOB.dump(job))


def jobs(tx: ReadTransaction, scope: Scope, kind: str, table: str | None = None) -> Iterator[Job]:
    prefix: Key = ("dynamodb", kind, scope.account_id, scope.region)
    for _, data in tx.range(prefix if table is None else (*prefix, table)):
        yield _JOB.load(data)


def find_stream(tx: ReadTransaction, scope: Scope, table: str, label: str) -> Stream | None:
    """To be read only."""
    data = tx.get(("dynamodbstreams", "s", scope.account_id, scope.region, table, label))
    return _stream_of(data) if data is not None else None


def edit_stream(tx: ReadTransaction, scope: Scope, table: str, label: str) -> Stream | None:
    return _STREAM.find(tx.get(("dynamodbstreams", "s", scope.account_id, scope.region, table, label)))


def put_stream(tx: Transaction, scope: Scope, stream: Stream) -> None:
    tx.put(("dynamodbstreams", "s", scope.account_id, scope.region, stream.table, stream.label), _STREAM.dump(stream))


def delete_stream(tx: Transaction, scope: Scope, stream: Stream) -> None:
    tx.delete(("dynamodbstreams", "s", scope.account_id, scope.region, stream.table, stream.label))


def streams(tx: ReadTransaction, scope: Scope, table: str | None = None) -> Iterator[Stream]:
    prefix: Key = ("dynamodbstreams", "s", scope.account_id, scope.region)
    for _, data in tx.range(prefix if table is None else (*prefix, table)):
        yield _stream_of(data)


def all_streams(tx: ReadTransaction) -> Iterator[tuple[Scope, Stream]]:
    for key, data in tx.range(("dynamodbstreams", "s")):
        yield Scope(str(key[2]), str(key[3])), _stream_of(data)


def records_of(stream: Stream) -> Journal:
    return Journal((*RECORDS, stream.key))
