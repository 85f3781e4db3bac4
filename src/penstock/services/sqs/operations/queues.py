"""Queues and their attributes."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.sqs import limits, messages, rules, state
from penstock.storage.queue import Counts
from penstock.storage.transactions import ReadTransaction, Transaction


def located(ctx: Context, req: dict[str, Any]) -> tuple[Scope, str]:
    """The scope and the name of the queue that a request's URL names."""
    account_id, name = rules.queue_of(req["QueueUrl"], ctx.scope.account_id)
    return Scope(account_id, ctx.scope.region, ctx.scope.partition), name


def _url(ctx: Context, account_id: str, name: str) -> str:
    return f"{ctx.endpoint}/{account_id}/{name}"


@operation
async def create_queue(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()
    name, asked = req["QueueName"], dict(req.get("Attributes") or {})
    rules.check_name(name, is_fifo=asked.get("FifoQueue") == "true")
    rules.check_attributes(asked, is_fifo=asked.get("FifoQueue") == "true")

    def create(tx: Transaction) -> None:
        found = state.find_queue(tx, ctx.scope, name)
        if found is None:
            fifo = limits.FIFO_DEFAULTS if "FifoQueue" in asked else {}
            attributes = {**limits.DEFAULTS, **fifo, **asked}
            state.put_queue(tx, ctx.scope, state.Queue(name, now_ms, now_ms, attributes, dict(req.get("tags") or {})))
            return
        for key, value in asked.items():
            if found.attributes.get(key) != value:
                raise ServiceError("QueueNameExists", messages.exists_otherwise(key))

    await ctx.store.transact(create)
    return {"QueueUrl": _url(ctx, ctx.scope.account_id, name)}


@operation
async def get_queue_url(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    account_id = req.get("QueueOwnerAWSAccountId") or ctx.scope.account_id
    scope = Scope(account_id, ctx.scope.region, ctx.scope.partition)
    await ctx.store.read(lambda tx: state.get_queue(tx, scope, req["QueueName"]))
    return {"QueueUrl": _url(ctx, account_id, req["QueueName"])}


@operation
async def list_queues(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    prefix = req.get("QueueNamePrefix") or ""
    found = await ctx.store.read(lambda tx: [queue.name for queue in state.queues(tx, ctx.scope)])
    names = [name for name in found if name.startswith(prefix) and name > (req.get("NextToken") or "")]
    size = req.get("MaxResults") or limits.LIST_PAGE.value
    answer: dict[str, Any] = {"QueueUrls": [_url(ctx, ctx.scope.account_id, name) for name in names[:size]]}
    if len(names) > size and req.get("MaxResults"):
        answer["NextToken"] = names[size - 1]
    return answer


@operation
async def get_queue_attributes(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()
    scope, name = located(ctx, req)

    def read(tx: ReadTransaction) -> tuple[state.Queue, Counts]:
        return state.get_queue(tx, scope, name), state.messages_of(scope, name).counts(tx, now_ms=now_ms)

    queue, counts = await ctx.store.read(read)
    attributes = {
        **queue.attributes,
        "QueueArn": queue.arn(scope),
        "CreatedTimestamp": str(queue.created_ms // 1000),
        "LastModifiedTimestamp": str(queue.modified_ms // 1000),
        "ApproximateNumberOfMessages": str(counts.visible),
        "ApproximateNumberOfMessagesNotVisible": str(counts.in_flight),
        "ApproximateNumberOfMessagesDelayed": str(counts.delayed),
    }
    wanted = req.get("AttributeNames") or []
    return {"Attributes": {key: value for key, value in attributes.items() if "All" in wanted or key in wanted}}


@operation
async def set_queue_attributes(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()
    scope, name = located(ctx, req)

    def change(tx: Transaction) -> None:
        queue = state.get_queue(tx, scope, name)
        rules.check_attributes(req["Attributes"], is_fifo=queue.is_fifo, is_new=False)
        merged = {**queue.attributes, **req["Attributes"]}
        queue.attributes = {key: value for key, value in merged.items() if value != ""}
        queue.modified_ms = now_ms
        state.put_queue(tx, scope, queue)

    await ctx.store.transact(change)
    return {}


@operation
async def delete_queue(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = located(ctx, req)

    def delete(tx: Transaction) -> None:
        state.get_queue(tx, scope, name)
        state.delete_queue(tx, scope, name)

    await ctx.store.transact(delete)
    return {}


@operation
async def purge_queue(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = located(ctx, req)

    def purge(tx: Transaction) -> None:
        state.get_queue(tx, scope, name)
        state.messages_of(scope, name).purge(tx)

    await ctx.store.transact(purge)
    return {}
