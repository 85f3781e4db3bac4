"""Tags of streams, by name as of old, and of streams and consumers by ARN."""

from collections.abc import Callable
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.scope import Scope
from penstock.services.kinesis import limits, state
from penstock.services.kinesis.operations.access import consumer_of, located, located_resource
from penstock.services.kinesis.operations.consumers import get_consumer
from penstock.services.kinesis.operations.streams import check_tags
from penstock.storage.transactions import ReadTransaction, Transaction

Tags = dict[str, str]
Edit = Callable[[Tags], Tags]


@operation
async def add_tags_to_stream(ctx: Context, req: dict[str, Any]) -> None:
    """Raises InvalidArgumentException beyond fifty."""
    await _edit(ctx, *_stream(ctx, req), _adding(ctx, req))


@operation
async def remove_tags_from_stream(ctx: Context, req: dict[str, Any]) -> None:
    await _edit(ctx, *_stream(ctx, req), lambda tags: _without(tags, req["TagKeys"]))


@operation
async def list_tags_for_stream(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    tags = await _read(ctx, *_stream(ctx, req))
    after, count = req.get("ExclusiveStartTagKey") or "", req.get("Limit") or limits.TAGS_MAX.value
    keys = [key for key in sorted(tags) if key > after]
    return {"Tags": _shown(tags, keys[:count]), "HasMoreTags": len(keys) > count}


@operation
async def tag_resource(ctx: Context, req: dict[str, Any]) -> None:
    await _edit(ctx, *located_resource(ctx, req["ResourceARN"]), _adding(ctx, req))


@operation
async def untag_resource(ctx: Context, req: dict[str, Any]) -> None:
    await _edit(ctx, *located_resource(ctx, req["ResourceARN"]), lambda tags: _without(tags, req["TagKeys"]))


@operation
async def list_tags_for_resource(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    tags = await _read(ctx, *located_resource(ctx, req["ResourceARN"]))
    return {"Tags": _shown(tags, sorted(tags))}


def _adding(ctx: Context, req: dict[str, Any]) -> Edit:
    name = req.get("StreamName") or str(req.get("StreamARN") or req.get("ResourceARN")).partition("/")[2]
    return lambda tags: check_tags(name, ctx.scope.account_id, tags, req["Tags"])


def _stream(ctx: Context, req: dict[str, Any]) -> tuple[Scope, str]:
    scope, name = located(ctx, req)
    return scope, f"stream/{name}"


def _without(tags: Tags, keys: list[str]) -> Tags:
    return {key: value for key, value in tags.items() if key not in keys}


def _shown(tags: Tags, keys: list[str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": tags[key]} for key in keys]


async def _read(ctx: Context, scope: Scope, resource: str) -> Tags:
    stream, consumer = consumer_of(resource)

    def read(tx: ReadTransaction) -> Tags:
        found = state.get_stream(tx, scope, stream)
        return get_consumer(tx, scope, stream, consumer).tags if consumer else found.tags

    return await ctx.store.read(read)


async def _edit(ctx: Context, scope: Scope, resource: str, edit: Edit) -> None:
    name, consumer_name = consumer_of(resource)

    def write(tx: Transaction) -> None:
        stream = state.get_stream(tx, scope, name)
        if consumer_name:
            consumer = get_consumer(tx, scope, name, consumer_name)
            consumer.tags = edit(consumer.tags)
            state.put_consumer(tx, scope, name, consumer)
            return
        stream.tags = edit(stream.tags)
        state.put_stream(tx, scope, stream)

    await ctx.store.transact(write)
