"""Tags of queues."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.services.sqs import limits, messages, rules, state
from penstock.services.sqs.operations.queues import located
from penstock.storage.transactions import Transaction


@operation
async def tag_queue(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = located(ctx, req)
    if not req["Tags"]:
        raise ServiceError("MissingParameter", messages.NO_TAGS)

    def tag(tx: Transaction) -> None:
        queue = state.get_queue(tx, scope, name)
        queue.tags |= req["Tags"]
        if len(queue.tags) > limits.TAGS_MAX.value:
            raise rules.invalid(messages.TOO_MANY_TAGS.format(name))
        state.put_queue(tx, scope, queue)

    await ctx.store.transact(tag)
    return {}


@operation
async def untag_queue(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = located(ctx, req)
    if not req["TagKeys"]:
        raise rules.invalid(messages.BAD_TAG_KEYS)

    def untag(tx: Transaction) -> None:
        queue = state.get_queue(tx, scope, name)
        queue.tags = {key: value for key, value in queue.tags.items() if key not in req["TagKeys"]}
        state.put_queue(tx, scope, queue)

    await ctx.store.transact(untag)
    return {}


@operation
async def list_queue_tags(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = located(ctx, req)
    queue = await ctx.store.read(lambda tx: state.get_queue(tx, scope, name))
    return {"Tags": queue.tags} if queue.tags else {}
