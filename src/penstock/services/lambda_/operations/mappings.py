"""What is stored of event source mappings.

sources    ("lambda-sources", account, region, ID): a mapping and its settings
progress   ("lambda-progress", account, region, ID, SHARD): how far it has come in a shard or a partition
result     ("lambda-result", account, region, ID): what its last batch came to, as LastProcessingResult
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from penstock.engines.polling.lanes import Generation
from penstock.engines.polling.stream import Range
from penstock.engines.polling.windows import Window
from penstock.kernel.scope import Scope
from penstock.storage.records import Record
from penstock.storage.transactions import Key, ReadTransaction, Transaction

SOURCES = ("lambda-sources",)
Kind = Literal["sqs", "kinesis", "dynamodb", "kafka", "self-managed"]
IN_TRANSITION = ("Creating", "Enabling", "Disabling", "Updating", "Deleting")


@dataclass
class EventSource:
    """An event source mapping. None: Lambda's own default; -1 of retries and age is kept as None.

    source_arn     empty for a self-managed Kafka cluster, which has `servers`
    state          as AWS names it; a mapping in transition is settled by its supervisor (background.py)
    revision       another one with every change that its pollers must know of
    filters        patterns as text
    kept           members that are stored and given back as they came
    """

    id: str
    source_arn: str
    function: str
    qualifier: str
    modified_ms: int
    created_ms: int = 0
    revision: str = ""
    state: str = "Enabled"
    is_enabled: bool = True
    batch_size: int = 10
    window_s: int = 0
    starting_position: str = ""
    starting_ms: int = 0
    parallelization: int = 1
    tumbling_s: int = 0
    retries_max: int | None = None
    age_s_max: int | None = None
    has_bisect: bool = False
    on_failure: str = ""
    concurrency_max: int | None = None
    pollers: list[int] = field(default_factory=list)
    response_types: list[str] = field(default_factory=list)
    filters: list[str] = field(default_factory=list)
    servers: list[str] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)
    group_id: str = ""
    access: list[dict[str, Any]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        if not self.source_arn:
            return "self-managed"
        service: Any = self.source_arn.split(":")[2]
        return service  # type: ignore[no-any-return]

    @property
    def stream_arn(self) -> str:
        """Of the stream itself, where the mapping is of one of its consumers (enhanced fan-out)."""
        return self.source_arn.partition("/consumer/")[0] if self.kind == "kinesis" else self.source_arn

    @property
    def is_stream(self) -> bool:
        """Read in order, with a checkpoint: everything but a queue."""
        return self.kind != "sqs"

    @property
    def is_kafka(self) -> bool:
        return self.kind in ("kafka", "self-managed")

    @property
    def has_partial_answers(self) -> bool:
        return "ReportBatchItemFailures" in self.response_types

    def arn(self, scope: Scope) -> str:
        return f"arn:{scope.partition}:lambda:{scope.region}:{scope.account_id}:event-source-mapping:{self.id}"


@dataclass
class LaneProgress:
    """How far one lane of a shard has come (engines/polling/stream.py), and its tumbling window."""

    checkpoint: str | None = None
    pending: list[Range] = field(default_factory=list)
    window: Window | None = None


@dataclass
class ShardProgress:
    """A shard's lanes, and what earlier divisions into lanes had done (engines/polling/lanes.py).

    revision   the mapping's: ranges that were pending under other settings are cut anew
    begin      the shard's first sequence number: another one is another shard of the same name
    """

    revision: str = ""
    begin: str = ""
    lanes: list[LaneProgress] = field(default_factory=list)
    generations: list[Generation] = field(default_factory=list)
    is_finished: bool = False


_SOURCE = Record(EventSource)
_PROGRESS = Record(ShardProgress)


def find_source(tx: ReadTransaction, scope: Scope, id: str) -> EventSource | None:
    return _SOURCE.find(tx.get(_source_key(scope, id)))


def put_source(tx: Transaction, scope: Scope, source: EventSource) -> None:
    tx.put(_source_key(scope, source.id), _SOURCE.dump(source))


def delete_source(tx: Transaction, scope: Scope, id: str) -> None:
    tx.delete(_source_key(scope, id))
    tx.delete(("lambda-result", scope.account_id, scope.region, id))
    tx.clear(("lambda-progress", scope.account_id, scope.region, id))


def sources(tx: ReadTransaction, scope: Scope) -> Iterator[EventSource]:
    for _, value in tx.range((*SOURCES, scope.account_id, scope.region)):
        yield _SOURCE.load(value)


def all_sources(tx: ReadTransaction) -> Iterator[tuple[Scope, EventSource]]:
    for key, value in tx.range(SOURCES):
        yield Scope(str(key[1]), str(key[2])), _SOURCE.load(value)


def find_progress(tx: ReadTransaction, scope: Scope, id: str, shard_id: str) -> ShardProgress:
    key = ("lambda-progress", scope.account_id, scope.region, id, shard_id)
    return _PROGRESS.find(tx.get(key)) or ShardProgress()


def find_progress_since(tx: ReadTransaction, scope: Scope, id: str, shard_id: str, begin: str) -> ShardProgress:
    """None yet where what is stored is of another shard: its stream was deleted and made again."""
    known = find_progress(tx, scope, id, shard_id)
    return ShardProgress() if known.begin and begin and known.begin != begin else known


def put_progress(tx: Transaction, scope: Scope, id: str, shard_id: str, progress: ShardProgress) -> None:
    tx.put(("lambda-progress", scope.account_id, scope.region, id, shard_id), _PROGRESS.dump(progress))


def find_result(tx: ReadTransaction, scope: Scope, id: str) -> str:
    value = tx.get(("lambda-result", scope.account_id, scope.region, id))
    return "No records processed" if value is None else value.decode()


def put_result(tx: Transaction, scope: Scope, id: str, result: str) -> None:
    tx.put(("lambda-result", scope.account_id, scope.region, id), result.encode())


def _source_key(scope: Scope, id: str) -> Key:
    return (*SOURCES, scope.account_id, scope.region, id)
