"""What the room stores.

queue    ("sqs", account, region, "queue", NAME)
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
from penstock.storage.transactions import Key, ReadTransaction, Transaction


@dataclass
class Queue:
    name: str
    created_ms: int
    modified_ms: int
    attributes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def arn(self, scope: Scope) -> str:
        return f"arn:{scope.partition}:sqs:{scope.region}:{scope.account_id}:{self.name}"

    def seconds(self, name: str) -> int:
        return int(self.attributes[name])

    @property
    def is_fifo(self) -> bool:
        return self.attributes.get("FifoQueue") == "true"


@dataclass
class Payload:
    """What a message holds. `attributes` as on the wire, binary values as base64 under `Binary64`."""

    body: str
    sender: str
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    system: dict[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        return orjson.dumps(asdict(self))

    @classmethod
    def decode(cls, stored: bytes) -> "Payload":
        return cls(**orjson.loads(stored))


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


def delete_queue(tx: Transaction, scope: Scope, name: str) -> None:
    tx.delete(room(scope, "queue", name))
    messages_of(scope, name).drop(tx)


def queues(tx: ReadTransaction, scope: Scope) -> Iterator[Queue]:
    for _, value in tx.range(room(scope, "queue")):
        yield Queue(**orjson.loads(value))
