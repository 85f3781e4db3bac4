"""Shards: listed, split, merged."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.kinesis import messages, rules, state
from penstock.services.kinesis.operations.access import named
from penstock.services.kinesis.operations.streams import change
from penstock.services.kinesis.state import Shard, Stream
from penstock.storage.transactions import ReadTransaction, Transaction

PAGE_DEFAULT = 1000


@operation
async def list_shards(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    token = req.get("NextToken") or ""
    name, _, after = token.rpartition("/") if token else (named(req), "", req.get("ExclusiveStartShardId") or "")
    count = req.get("MaxResults") or PAGE_DEFAULT
    kind = (req.get("ShardFilter") or {}).get("Type") or "FROM_TRIM_HORIZON"

    def read(tx: ReadTransaction) -> dict[str, Any]:
        stream = state.get_stream(tx, ctx.scope, name)
        journal = state.records_of(ctx.scope, name)
        pool = stream.open_shards if kind == "AT_LATEST" else stream.shards
        shards = [shard for shard in pool if shard.id > after]
        shown = [
            rules.shown_shard(ctx.scope, shard, next_position=journal.next_position(tx, shard.id))
            for shard in shards[:count]
        ]
        more = {"NextToken": f"{name}/{shards[count - 1].id}"} if len(shards) > count else {}
        return {"Shards": shown, **more}

    return await ctx.store.read(read)


@operation
async def split_shard(ctx: Context, req: dict[str, Any]) -> None:
    now_ms = ctx.clock.now_ms()

    def split(tx: Transaction) -> None:
        stream = _active(tx, ctx, req)
        rules.split(stream, _open(ctx, stream, req["ShardToSplit"]), int(req["NewStartingHashKey"]), now_ms)
        change(tx, ctx, stream, "UPDATING", now_ms)

    await ctx.store.transact(split)


@operation
async def merge_shards(ctx: Context, req: dict[str, Any]) -> None:
    now_ms = ctx.clock.now_ms()

    def merge(tx: Transaction) -> None:
        stream = _active(tx, ctx, req)
        one, other = _open(ctx, stream, req["ShardToMerge"]), _open(ctx, stream, req["AdjacentShardToMerge"])
        rules.merge(stream, one, other, now_ms)
        change(tx, ctx, stream, "UPDATING", now_ms)

    await ctx.store.transact(merge)


def _active(tx: ReadTransaction, ctx: Context, req: dict[str, Any]) -> Stream:
    stream = state.get_stream(tx, ctx.scope, named(req))
    if stream.status != "ACTIVE":
        raise messages.not_active(stream.name, ctx.scope.account_id, stream.status)
    return stream


def _open(ctx: Context, stream: Stream, shard_id: str) -> Shard:
    """Raises ResourceNotFoundException, or InvalidArgumentException for a shard that is closed."""
    shard = find(ctx, stream, shard_id)
    if shard.closed_ms is not None:
        raise messages.shard_closed(shard_id, stream.name, ctx.scope.account_id)
    return shard


def find(ctx: Context, stream: Stream, shard_id: str) -> Shard:
    """By its id, in any of the spellings that AWS takes."""
    number = shard_id.removeprefix("shardId-")
    if number.isdecimal() and int(number) < len(stream.shards):
        return stream.shards[int(number)]
    raise messages.no_shard(shard_id, stream.name, ctx.scope.account_id)
