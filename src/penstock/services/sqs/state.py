"""What the room stores.

queue    ("sqs", account, region, "queue", NAME)
deleted  ("sqs", account, region, "deleted", NAME): when a queue of that name was deleted, in ms
move     ("sqs", account, region, "move", SOURCE NAME, ID): a MoveTask
messages ("sqs", account, region, "messages", NAME, ...): a storage.queue.Queue of Payloads
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.sqs import messages
from penstock.storage.queue import Queue as MessageQueue
from penstock.storage.records import Record
from penstock.storage.transactions import Key, ReadTransaction, Transaction


@dataclass
class Queue:
    name: str
    created_ms: int
    modified_ms: int
    attributes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    purged_ms: int = 0

    def arn(self, scope: Scope) -> str:
        return arn_of(scope, self.name)

    def seconds(self, name: str) -> int:
        return int(self.attributes[name])

    @property
    def is_fifo(self) -> bool:
        return self.attributes.get("FifoQueue") == "true"


@dataclass(slots=True)
class Payload:
    """What a message holds. `attributes` as on the wire, binary values as base64 under `Binary64`."""

    body: str
    sender: str
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    system: dict[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def decode(cls, stored: bytes) -> "Payload":
        return cls(**orjson.loads(stored))


@dataclass
class MoveTask:
    """A redrive of dead letters. `status` as ListMessageMoveTasks says; an empty target: each to its source."""

    id: str
    source: str
    target: str
    per_second: int
    started_ms: int
    to_move: int
    moved: int = 0
    status: str = "RUNNING"
    failure: str = ""


_MOVE = Record(MoveTask)


def arn_of(scope: Scope, name: str) -> str:
    return f"arn:{scope.partition}:sqs:{scope.region}:{scope.account_id}:{name}"


def room(scope: Scope, *rest: str | int) -> Key:
    return ("sqs", scope.account_id, scope.region, *rest)


def find_queue(tx: ReadTransaction, scope: Scope, name: str) -> Queue | None:
    value = tx.get(room(scope, "queue", name))
    return None if value is None else Queue(**orjson.loads(value))


def get_queue(tx: ReadTransaction, scope: Scope, name: str) -> Queue:
    queue = find_queue(tx, scope, name)
    if queue is None:
        raise ServiceError("QueueDoesNotExist", messages.NO_QUEUE)
    return queue


def put_queue(tx: Transaction, scope: Scope, queue: Queue) -> None:
    tx.put(room(scope, "queue", queue.name), orjson.dumps(asdict(queue)))


def messages_of(scope: Scope, name: str) -> MessageQueue:
    return MessageQueue(room(scope, "messages", name))


def delete_queue(tx: Transaction, scope: Scope, name: str, now_ms: int) -> None:
    tx.delete(room(scope, "queue", name))
    tx.put(room(scope, "deleted", name), b"%d" % now_ms)
    tx.clear(room(scope, "move", name))
    messages_of(scope, name).drop(tx)


def deleted_ms(tx: ReadTransaction, scope: Scope, name: str) -> int | None:
    value = tx.get(room(scope, "deleted", name))
    return None if value is None else int(value)


def forget_deletion(tx: Transaction, scope: Scope, name: str) -> None:
    tx.delete(room(scope, "deleted", name))


def queues(tx: ReadTransaction, scope: Scope) -> Iterator[Queue]:
    for _, value in tx.range(room(scope, "queue")):
        yield Queue(**orjson.loads(value))


def find_move(tx: ReadTransaction, scope: Scope, source: str, id: str) -> MoveTask | None:
    return _MOVE.find(tx.get(room(scope, "move", source, id)))


def put_move(tx: Transaction, scope: Scope, task: MoveTask) -> None:
    tx.put(room(scope, "move", task.source, task.id), _MOVE.dump(task))


def moves(tx: ReadTransaction, scope: Scope, source: str) -> list[MoveTask]:
    """Newest first."""
    found = [_MOVE.load(value) for _, value in tx.range(room(scope, "move", source))]
    return sorted(found, key=lambda task: task.started_ms, reverse=True)
