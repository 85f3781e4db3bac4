"""Durable executions as they are stored, below ("lambda-durable", account, region).

head    ("head", ID): the execution itself
op      ("op", ID, N): its operations in the order of their start; ("op-id", ID, OPERATION): which N one has
event   ("event", ID, N): its history
name    ("name", FUNCTION, NAME): the execution that has the name
list    ("list", FUNCTION, STARTED_MS, ID): a function's executions in the order of their start

Beside them, for whoever runs what is due:
ready    ("lambda-durable-ready", account, region, ID, OPERATION): to be invoked: the handler (OPERATION is ""), or the
         function of a chained invoke
running  ("lambda-durable-running", account, region, ID): the handler runs
"""

from collections.abc import Iterator

from penstock.engines.durable import shapes
from penstock.engines.durable.model import Event, Execution, Operation
from penstock.kernel.scope import Scope
from penstock.services.lambda_.operations import durable_messages
from penstock.storage.records import Record
from penstock.storage.transactions import Key, ReadTransaction, Transaction

READY = ("lambda-durable-ready",)
RUNNING = ("lambda-durable-running",)
_HEAD = Record(Execution)
_OPERATION = Record(Operation)
_EVENT = Record(Event)


def _key(scope: Scope, *rest: str | int) -> Key:
    return ("lambda-durable", scope.account_id, scope.region, *rest)


def find(tx: ReadTransaction, scope: Scope, id: str) -> Execution | None:
    return _HEAD.find(tx.get(_key(scope, "head", id)))


def get(tx: ReadTransaction, scope: Scope, id: str) -> Execution:
    """For an execution that this room knows to be there."""
    execution = find(tx, scope, id)
    assert execution is not None, f"durable execution {id} is gone"
    return execution


def get_by_arn(tx: ReadTransaction, scope: Scope, arn: str) -> Execution:
    """Raises ResourceNotFoundException."""
    execution = find(tx, scope, id_of(arn))
    if execution is None or execution.arn != arn:
        raise durable_messages.no_execution(arn)
    return execution


def id_of(arn: str) -> str:
    return arn.rpartition("/")[2]


def put(tx: Transaction, scope: Scope, execution: Execution) -> None:
    tx.put(_key(scope, "head", execution.id), _HEAD.dump(execution))


def add(tx: Transaction, scope: Scope, execution: Execution) -> None:
    """Write a new execution, so that it is found by its name and among its function's."""
    put(tx, scope, execution)
    tx.put(_key(scope, "name", execution.function, execution.name), execution.id.encode())
    tx.put(_key(scope, "list", execution.function, execution.started_ms, execution.id), b"")


def find_by_name(tx: ReadTransaction, scope: Scope, function: str, name: str) -> Execution | None:
    id = tx.get(_key(scope, "name", function, name))
    return find(tx, scope, id.decode()) if id is not None else None


def forget_names(tx: Transaction, scope: Scope, function: str) -> None:
    """Let a new function of this name begin anew."""
    tx.clear(_key(scope, "name", function))


def forget(tx: Transaction, scope: Scope, execution: Execution) -> None:
    """Delete all there is of an execution."""
    tx.delete(_key(scope, "head", execution.id))
    tx.delete(_key(scope, "list", execution.function, execution.started_ms, execution.id))
    name = _key(scope, "name", execution.function, execution.name)
    if tx.get(name) == execution.id.encode():
        tx.delete(name)
    for part in ("op", "op-id", "event"):
        tx.clear(_key(scope, part, execution.id))


def of_function(
    tx: ReadTransaction, scope: Scope, function: str, *, after: tuple[int, str] | None, reverse: bool
) -> Iterator[Execution]:
    """In the order of their start, or against it, from beyond `after` (STARTED_MS, ID)."""
    prefix = _key(scope, "list", function)
    begin = (*prefix, after[0], after[1] + "\0") if after and not reverse else None
    end = (*prefix, *after) if after and reverse else None
    for key, _ in tx.range(prefix, begin=begin, end=end, reverse=reverse):
        yield get(tx, scope, str(key[-1]))


class StoredOperations:
    """An execution's operations in a transaction; `flush` writes those that were put."""

    def __init__(self, tx: ReadTransaction, scope: Scope, id: str) -> None:
        self._tx = tx
        self._scope = scope
        self._id = id
        self._known: dict[str, Operation | None] = {}
        self._changed: dict[str, Operation] = {}

    def find(self, id: str) -> Operation | None:
        if id not in self._known:
            number = self._tx.get(_key(self._scope, "op-id", self._id, id))
            self._known[id] = self._load(int(number)) if number is not None else None
        return self._known[id]

    def _load(self, number: int) -> Operation | None:
        return _OPERATION.find(self._tx.get(_key(self._scope, "op", self._id, number)))

    def put(self, operation: Operation) -> None:
        self._known[operation.id] = self._changed[operation.id] = operation

    def after(self, number: int) -> Iterator[Operation]:
        """Those that started after the one of that number."""
        prefix = _key(self._scope, "op", self._id)
        for _, value in self._tx.range(prefix, begin=(*prefix, number + 1)):
            operation = _OPERATION.load(value)
            self._known.setdefault(operation.id, operation)
            yield operation

    def flush(self, tx: Transaction) -> None:
        for operation in self._changed.values():
            tx.put(_key(self._scope, "op", self._id, operation.number), _OPERATION.dump(operation))
            index = _key(self._scope, "op-id", self._id, operation.id)
            if tx.get(index) is None:
                tx.put(index, str(operation.number).encode())


def page(
    operations: StoredOperations, *, after: int, items_max: int, bytes_max: int
) -> tuple[list[Operation], int | None]:
    """What a handler needs of those beyond number `after`, and the last one's number if there are more."""
    found: list[Operation] = []
    size = 0
    for operation in operations.after(after):
        if not shapes.is_replayed(operation, operations):
            continue
        size += shapes.operation_bytes(operation)
        if found and (len(found) >= items_max or size > bytes_max):
            return found, found[-1].number
        found.append(operation)
    return found, None


def put_event(tx: Transaction, scope: Scope, id: str, event: Event) -> None:
    tx.put(_key(scope, "event", id, event.number), _EVENT.dump(event))


def events(tx: ReadTransaction, scope: Scope, id: str, *, after: int | None, reverse: bool) -> Iterator[Event]:
    """The history in its order, or against it, from beyond the event of number `after`."""
    prefix = _key(scope, "event", id)
    begin = (*prefix, after + 1) if after is not None and not reverse else None
    end = (*prefix, after) if after is not None and reverse else None
    for _, value in tx.range(prefix, begin=begin, end=end, reverse=reverse):
        yield _EVENT.load(value)


def set_ready(tx: Transaction, scope: Scope, id: str, operation_id: str, *, is_ready: bool) -> None:
    _mark(tx, (*READY, scope.account_id, scope.region, id, operation_id), is_ready)


def set_running(tx: Transaction, scope: Scope, id: str, *, is_running: bool) -> None:
    _mark(tx, (*RUNNING, scope.account_id, scope.region, id), is_running)


def _mark(tx: Transaction, key: Key, wanted: bool) -> None:
    if (tx.get(key) is not None) == wanted:
        return
    if wanted:
        tx.put(key, b"")
    else:
        tx.delete(key)


def clear_ready(tx: Transaction, scope: Scope, id: str) -> None:
    tx.clear((*READY, scope.account_id, scope.region, id))


def ready(tx: ReadTransaction) -> Iterator[tuple[Scope, str, str]]:
    """What is to be invoked: (scope, execution, chained invoke or "")."""
    for key, _ in tx.range(READY):
        yield Scope(str(key[1]), str(key[2])), str(key[3]), str(key[4])


def running(tx: ReadTransaction) -> Iterator[tuple[Scope, str]]:
    for key, _ in tx.range(RUNNING):
        yield Scope(str(key[1]), str(key[2])), str(key[3])
