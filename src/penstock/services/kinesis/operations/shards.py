"""Shards: listed, split, merged, scaled."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.scope import Scope
from penstock.kernel.units import DAY_MS
from penstock.services.kinesis import limits, messages, rules, state
from penstock.services.kinesis.operations.access import located, secret_of
from penstock.services.kinesis.operations.arrivals import arrivals_of
from penstock.services.kinesis.operations.streams import check_room, get_active
from penstock.services.kinesis.state import Shard, Stream
from penstock.storage.transactions import ReadTransaction, Transaction

PAGE_DEFAULT = 1000
_WITH_TIME = ("AT_TIMESTAMP", "FROM_TIMESTAMP")


@operation
async def list_shards(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """A page of the shards that pass the filter; the token carries the filter on.

    Raises InvalidArgumentException, ExpiredNextTokenException.
    """
    now_ms, secret = ctx.clock.now_ms(), await secret_of(ctx)
    if req.get("NextToken"):
        scope, name, after, shard_filter = _from_token(secret, req, now_ms)
    else:
        if not req.get("StreamName") and not req.get("StreamARN"):
            raise messages.no_token()
        scope, name = located(ctx, req)
        after, shard_filter = req.get("ExclusiveStartShardId") or "", _filter(req, now_ms)
    count = req.get("MaxResults") or PAGE_DEFAULT

    def read(tx: ReadTransaction) -> dict[str, Any]:
        stream = state.get_view(tx, scope, name).stream
        oldest_ms = max(stream.oldest_ms(now_ms), stream.created_ms)
        found = [
            shard
            for shard in stream.visible_shards(now_ms)
            if shard.id > after and rules.is_listed(shard, shard_filter, oldest_ms)
        ]
        shown = [rules.shown_shard(shard) for shard in found[:count]]
        if len(found) <= count:
            return {"Shards": shown}
        values = [scope.account_id, scope.region, name, found[count - 1].id, shard_filter, now_ms]
        return {"Shards": shown, "NextToken": rules.seal(secret, "shards", values)}

    return await ctx.store.read(read)


def _from_token(secret: bytes, req: dict[str, Any], now_ms: int) -> tuple[Scope, str, str, dict[str, Any]]:
    for member in ("StreamName", "StreamCreationTimestamp", "ExclusiveStartShardId"):
        if req.get(member):
            raise messages.token_and(member)
    values = rules.unseal(secret, "shards", req["NextToken"])
    if values is None:
        raise messages.bad_token()
    account_id, region, name, after, shard_filter, created_ms = values
    if now_ms - created_ms > limits.NEXT_TOKEN_MS.value:
        raise messages.expired_token()
    return Scope(account_id, region), name, after, shard_filter


def _filter(req: dict[str, Any], now_ms: int) -> dict[str, Any]:
    asked = req.get("ShardFilter") or {"Type": "FROM_TRIM_HORIZON"}
    kind = asked["Type"]
    if kind == "AFTER_SHARD_ID":
        if not asked.get("ShardId"):
            raise messages.missing_of_filter("ShardId", kind)
        return {"Type": kind, "ShardId": asked["ShardId"]}
    if kind not in _WITH_TIME:
        return {"Type": kind}
    if asked.get("Timestamp") is None:
        raise messages.missing_of_filter("Timestamp", kind)
    at_ms = rules.ms_of(asked["Timestamp"])
    if at_ms > now_ms:
        raise messages.future_time(at_ms, now_ms)
    return {"Type": kind, "TimestampMs": at_ms}


@operation
async def split_shard(ctx: Context, req: dict[str, Any]) -> None:
    now_ms = ctx.clock.now_ms()
    scope, name = located(ctx, req)

    def split(tx: Transaction) -> None:
        stream = get_active(tx, scope, name)
        check_room(tx, scope, 1)
        shard, at_hash = _open(scope, stream, req["ShardToSplit"]), int(req["NewStartingHashKey"])
        rules.check_split(stream, shard, at_hash, scope.account_id)
        rules.split(stream, shard, at_hash, now_ms)
        state.put_stream(tx, scope, stream)

    await ctx.store.transact(split)
    arrivals_of(ctx.platform).signal((scope, name))


@operation
async def merge_shards(ctx: Context, req: dict[str, Any]) -> None:
    now_ms = ctx.clock.now_ms()
    scope, name = located(ctx, req)

    def merge(tx: Transaction) -> None:
        stream = get_active(tx, scope, name)
        one, other = _open(scope, stream, req["ShardToMerge"]), _open(scope, stream, req["AdjacentShardToMerge"])
        rules.check_merge(stream, one, other, scope.account_id)
        rules.merge(stream, one, other, now_ms)
        state.put_stream(tx, scope, stream)

    await ctx.store.transact(merge)
    arrivals_of(ctx.platform).signal((scope, name))


@operation
async def update_shard_count(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """By as many splits and merges as AWS takes. Raises LimitExceededException after ten a day."""
    now_ms, target = ctx.clock.now_ms(), req["TargetShardCount"]
    scope, name = located(ctx, req)

    def scale(tx: Transaction) -> int:
        stream = get_active(tx, scope, name)
        if stream.mode == "ON_DEMAND":
            raise messages.wrong_mode(name, scope.account_id, "On-Demand")
        stream.scaled_ms = [at_ms for at_ms in stream.scaled_ms if at_ms > now_ms - DAY_MS]
        if len(stream.scaled_ms) >= limits.SCALINGS_A_DAY.value:
            raise messages.scaled_too_often(name)
        count = len(stream.open_shards)
        check_room(tx, scope, max(target - count, 0))
        rules.scale(stream, target, now_ms)
        stream.scaled_ms.append(now_ms)
        state.put_stream(tx, scope, stream)
        return count

    count = await ctx.store.transact(scale)
    arrivals_of(ctx.platform).signal((scope, name))
    return {
        "StreamName": name,
        "StreamARN": state.stream_arn(scope, name),
        "CurrentShardCount": count,
        "TargetShardCount": target,
    }


def _open(scope: Scope, stream: Stream, shard_id: str) -> Shard:
    """Raises ResourceNotFoundException, or InvalidArgumentException for a shard that is closed."""
    shard = rules.find_shard(stream, shard_id)
    if shard is None:
        raise messages.no_shard(shard_id, stream.name, scope.account_id)
    if shard.closed_ms is not None:
        raise messages.shard_closed(shard_id, stream.name, scope.account_id)
    return shard
