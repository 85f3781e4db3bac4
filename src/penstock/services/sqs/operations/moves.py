"""Moving dead letters back: tasks that outlive the node, at the speed that was asked for.

A task is an intent that moves some messages, stores how far it is, and is due again. A message that is moved is a new
one: it gets an id and a time of its own.
Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
"""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel import arn
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.sqs import limits, messages, rules, state
from penstock.services.sqs.operations.arrivals import arrivals_of
from penstock.services.sqs.operations.queues import sources_of
from penstock.services.sqs.state import MoveTask
from penstock.storage import outbox
from penstock.storage.queue import Message
from penstock.storage.transactions import ReadTransaction, Transaction

MOVE = "sqs.move"
_STEP_MS = 1000


@operation
async def start_message_move_task(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Raises ResourceNotFoundException, UnsupportedOperation while another task empties the same queue."""
    now_ms, task_id = ctx.clock.now_ms(), ctx.entropy.uuid()
    scope, source = _named(ctx, req["SourceArn"], "SourceArn")
    per_second = req.get("MaxNumberOfMessagesPerSecond")
    if per_second is not None:
        rules.check_range("MaxNumberOfMessagesPerSecond", per_second, limits.MOVES_PER_S_MAX.value, low=1)

    def start(tx: Transaction) -> None:
        queue = _get(tx, scope, source, "SourceArn")
        if not sources_of(tx, scope, source):
            raise rules.invalid(messages.NO_DLQ_SOURCE)
        if req.get("DestinationArn"):
            to_scope, target = _named(ctx, req["DestinationArn"], "DestinationArn")
            found = _get(tx, to_scope, target, "DestinationArn")
            if found.is_fifo != queue.is_fifo:
                raise rules.invalid_value(
                    req["DestinationArn"], "DestinationArn", "It must be a queue of the same type as the source."
                )
        if any(task.status in ("RUNNING", "CANCELLING") for task in state.moves(tx, scope, source)):
            raise ServiceError("UnsupportedOperation", messages.MOVE_RUNS)
        to_move = state.messages_of(scope, source).size(tx)
        task = MoveTask(task_id, source, req.get("DestinationArn") or "", per_second or 0, now_ms, to_move)
        state.put_move(tx, scope, task)
        _schedule(tx, scope, task, now_ms)

    await ctx.store.transact(start)
    return {"TaskHandle": rules.task_handle(task_id, req["SourceArn"])}


def _named(ctx: Context, text: str, member: str) -> tuple[Scope, str]:
    if not arn.is_arn(text) or arn.parse(text).service != "sqs":
        raise ServiceError("ResourceNotFoundException", messages.no_resource(member))
    queue = arn.parse(text)
    return Scope(queue.account_id, queue.region, queue.partition), queue.resource


def _get(tx: ReadTransaction, scope: Scope, name: str, member: str) -> state.Queue:
    queue = state.find_queue(tx, scope, name)
    if queue is None:
        raise ServiceError("ResourceNotFoundException", messages.no_resource(member))
    return queue


def _schedule(tx: Transaction, scope: Scope, task: MoveTask, due_ms: int) -> None:
    payload: dict[str, object] = {
        "account_id": scope.account_id,
        "region": scope.region,
        "source": task.source,
        "id": task.id,
    }
    outbox.add(tx, MOVE, payload, due_ms=due_ms, id=task.id)


@operation
async def list_message_move_tasks(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """The newest first; only a running one can be cancelled, so only it has a handle."""
    scope, source = _named(ctx, req["SourceArn"], "SourceArn")
    count = req.get("MaxResults")
    count = 1 if count is None else count
    rules.check_range("MaxResults", count, limits.MOVE_TASKS_PAGE.value, low=1)

    def look(tx: ReadTransaction) -> list[MoveTask]:
        _get(tx, scope, source, "SourceArn")
        return state.moves(tx, scope, source)[:count]

    tasks = await ctx.store.read(look)
    return {"Results": [_shown(task, req["SourceArn"]) for task in tasks]} if tasks else {}


def _shown(task: MoveTask, source_arn: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "Status": task.status,
        "SourceArn": source_arn,
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "StartedTimestamp": task.started_ms,
    }
    if task.status == "RUNNING":
        shown["TaskHandle"] = rules.task_handle(task.id, source_arn)
    if task.target:
        shown["DestinationArn"] = task.target
    if task.per_second:
        shown["MaxNumberOfMessagesPerSecond"] = task.per_second
    if task.failure:
        shown["FailureReason"] = task.failure
    return shown


@operation
async def cancel_message_move_task(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """What was moved stays where it is."""
    id, source_arn = rules.read_task_handle(req["TaskHandle"])
    scope, source = _named(ctx, source_arn, "SourceArn")

    def cancel(tx: Transaction) -> int:
        task = state.find_move(tx, scope, source, id)
        if task is None:
            raise ServiceError("ResourceNotFoundException", messages.NO_MOVE_TASK)
        if task.status != "RUNNING":
            raise ServiceError("UnsupportedOperation", messages.MOVE_ENDED)
        task.status = "CANCELLED"
        state.put_move(tx, scope, task)
        outbox.cancel(tx, MOVE, task.id)
        return task.moved

    return {"ApproximateNumberOfMessagesMoved": await ctx.store.transact(cancel)}


async def carry_on(ctx: Context, source: str, id: str) -> None:
    """One step of a task; it sees to it that the next follows."""
    now_ms, scope = ctx.clock.now_ms(), ctx.scope
    new_ids = [ctx.entropy.uuid() for _ in range(max(limits.MOVE_AT_ONCE, limits.MOVES_PER_S_MAX.value))]

    def step(tx: Transaction) -> None:
        task = state.find_move(tx, scope, source, id)
        if task is None or task.status != "RUNNING":
            outbox.cancel(tx, MOVE, id)
            return
        count = task.per_second or limits.MOVE_AT_ONCE
        held = state.messages_of(scope, source)
        found = held.receive(tx, now_ms=now_ms, visibility_ms=0, tokens=new_ids[:count])
        try:
            for message, new_id in zip(found, new_ids, strict=False):
                _move(tx, scope, task, message, new_id, now_ms)
        except ServiceError as error:
            task.status, task.failure = "FAILED", error.code
        else:
            if len(found) < count:
                task.status = "COMPLETED"
        state.put_move(tx, scope, task)
        if task.status == "RUNNING":
            _schedule(tx, scope, task, now_ms + (_STEP_MS if task.per_second else 0))
        else:
            outbox.cancel(tx, MOVE, id)

    await ctx.store.transact(step)
    arrivals_of(ctx.platform).signal_all()


def _move(tx: Transaction, scope: Scope, task: MoveTask, message: Message, new_id: str, now_ms: int) -> None:
    """Raises ServiceError with the reason for which the task fails."""
    payload = state.Payload.decode(message.body)
    target = task.target or payload.system.get("DeadLetterQueueSourceArn", "")
    if not target:
        raise ServiceError("CouldNotDetermineMessageSource", "")
    queue = arn.parse(target)
    to_scope = Scope(queue.account_id, queue.region, queue.partition)
    found = state.find_queue(tx, to_scope, queue.resource)
    if found is None:
        raise ServiceError("AWS.SimpleQueueService.NonExistentQueue", messages.NO_QUEUE)
    payload.system.pop("DeadLetterQueueSourceArn", None)
    group = message.group if found.is_fifo else ""
    state.messages_of(scope, task.source).remove(tx, message.seq)
    state.messages_of(to_scope, queue.resource).send(tx, payload.encode(), id=new_id, now_ms=now_ms, group=group)
    task.moved += 1
