"""What the room stores.

queue    ("sqs", account, region, "queue", NAME)
message  ("sqs", account, region, "message", NAME, ID)
due      ("sqs", account, region, "due", NAME, visible from ms, ID): the order of delivery
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.sqs import messages
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


@dataclass
class Message:
    """`attributes` as on the wire, binary values as base64 under `Binary64`."""

    id: str
    body: str
    sent_ms: int
    visible_ms: int
    sender: str
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    system: dict[str, str] = field(default_factory=dict)
    received: int = 0
    first_received_ms: int | None = None
    is_in_flight: bool = False


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


def delete_queue(tx: Transaction, scope: Scope, name: str) -> None:
    tx.delete(room(scope, "queue", name))
    purge(tx, scope, name)


def purge(tx: Transaction, scope: Scope, name: str) -> None:
    tx.clear(room(scope, "message", name))
    tx.clear(room(scope, "due", name))


def queues(tx: ReadTransaction, scope: Scope) -> Iterator[Queue]:
    for _, value in tx.range(room(scope, "queue")):
        yield Queue(**orjson.loads(value))


def find_message(tx: ReadTransaction, scope: Scope, queue: str, id: str) -> Message | None:
    value = tx.get(room(scope, "message", queue, id))
    return None if value is None else Message(**orjson.loads(value))


def put_message(tx: Transaction, scope: Scope, queue: str, message: Message) -> None:
    tx.put(room(scope, "message", queue, message.id), orjson.dumps(asdict(message)))
    tx.put(room(scope, "due", queue, message.visible_ms, message.id), b"")


def move(tx: Transaction, scope: Scope, queue: str, message: Message, *, visible_ms: int) -> None:
    """Store a changed message under its new time."""
    tx.delete(room(scope, "due", queue, message.visible_ms, message.id))
    message.visible_ms = visible_ms
    put_message(tx, scope, queue, message)


def delete_message(tx: Transaction, scope: Scope, queue: str, message: Message) -> None:
    tx.delete(room(scope, "due", queue, message.visible_ms, message.id))
    tx.delete(room(scope, "message", queue, message.id))


def visible(tx: ReadTransaction, scope: Scope, queue: str, now_ms: int) -> Iterator[Message]:
    """Messages that may be delivered now, those that waited longest first."""
    prefix = room(scope, "due", queue)
    for key, _ in tx.range(prefix, end=(*prefix, now_ms + 1)):
        message = find_message(tx, scope, queue, str(key[-1]))
        assert message is not None, "a due row without its message"
        yield message


def every(tx: ReadTransaction, scope: Scope, queue: str) -> Iterator[Message]:
    for _, value in tx.range(room(scope, "message", queue)):
        yield Message(**orjson.loads(value))
