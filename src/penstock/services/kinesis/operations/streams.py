"""Streams: made, described, changed, deleted."""

import re
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.scope import Scope
from penstock.services.kinesis import limits, messages, rules, state
from penstock.services.kinesis.operations.access import located
from penstock.services.kinesis.operations.arrivals import arrivals_of
from penstock.services.kinesis.state import Stream
from penstock.storage import outbox
from penstock.storage.transactions import ReadTransaction, Transaction

DELETE = "kinesis.delete"
PAGE_DEFAULT = 100
_NOT_OF_TAGS = re.compile(r"[^\u00C0-\u1FFF\u2C00-\uD7FF\w./\-=+_ @%:]")


@operation
async def create_stream(ctx: Context, req: dict[str, Any]) -> None:
    """Raises ResourceInUseException, LimitExceededException beyond the account's shards."""
    mode = (req.get("StreamModeDetails") or {}).get("StreamMode") or "PROVISIONED"
    warm_mibps = req.get("WarmThroughputMiBps") or 0
    if warm_mibps > limits.WARM_MIBPS_MAX:
        raise messages.too_warm(warm_mibps)
    on_demand = max(limits.SHARDS_OF_ON_DEMAND, warm_mibps)
    count = on_demand if mode == "ON_DEMAND" else req.get("ShardCount") or 0
    if count < 1:
        raise messages.invalid("ShardCount must be specified for PROVISIONED streams.")
    now_ms, scope = ctx.clock.now_ms(), ctx.scope
    stream = Stream(
        req["StreamName"],
        now_ms,
        mode,
        tags=check_tags(req["StreamName"], scope.account_id, {}, req.get("Tags") or {}),
        max_record_kib=req.get("MaxRecordSizeInKiB") or limits.RECORD_KIB.value,
        warm_mibps=warm_mibps,
        distribution=req.get("RecordDistributionStrategy") or "USER_PARTITION_KEY",
    )

    def create(tx: Transaction) -> None:
        if state.find_stream(tx, scope, stream.name) is not None:
            raise messages.stream_exists(stream.name, scope.account_id)
        if mode == "PROVISIONED":
            check_room(tx, scope, count)
        stream.shards = rules.new_shards(count, now_ms, state.next_epoch(tx, scope, stream.name, now_ms))
        stream.next_shard = count
        state.put_stream(tx, scope, stream)

    await ctx.store.transact(create)


def check_room(tx: ReadTransaction, scope: Scope, more: int) -> None:
    """Raises LimitExceededException where the account would have too many open shards; on-demand ones don't count."""
    known = sum(len(stream.open_shards) for stream in state.streams(tx, scope) if stream.mode == "PROVISIONED")
    if known + more > limits.SHARDS_MAX.value:
        raise messages.too_many_shards(scope, known, more)


def check_tags(name: str, account_id: str, known: dict[str, str], more: dict[str, str]) -> dict[str, str]:
    """The tags together. Raises InvalidArgumentException."""
    for text in (*more, *more.values()):
        if _NOT_OF_TAGS.search(text):
            raise messages.bad_tags()
        if "%" in text:
            raise messages.forbidden_tags(name, account_id)
    tags = known | more
    if len(tags) > limits.TAGS_MAX.value:
        raise messages.too_many_tags(name, account_id)
    return tags


def get_active(tx: ReadTransaction, scope: Scope, name: str) -> Stream:
    """Raises ResourceInUseException while it is being deleted."""
    stream = state.get_stream(tx, scope, name)
    if stream.status != "ACTIVE":
        raise messages.not_active(name, scope.account_id, stream.status)
    return stream


@operation
async def delete_stream(ctx: Context, req: dict[str, Any]) -> None:
    """At once, but for one that holds much: that is DELETING for a while.

    Raises ResourceInUseException where consumers are registered, unless they may go too.
    """
    (scope, name), now_ms = located(ctx, req), ctx.clock.now_ms()

    def delete(tx: Transaction) -> None:
        stream = state.get_stream(tx, scope, name)
        if state.consumers(tx, scope, name) and not req.get("EnforceConsumerDeletion"):
            raise messages.has_consumers(name, scope.account_id)
        stream.status = "DELETING"
        state.put_stream(tx, scope, stream)
        if not delete_some(tx, scope, stream):
            return
        payload: dict[str, object] = {
            "account_id": scope.account_id,
            "region": scope.region,
            "name": name,
            "created_ms": stream.created_ms,
        }
        outbox.add(tx, DELETE, payload, due_ms=now_ms, id=f"{scope.account_id}/{scope.region}/{name}")

    await ctx.store.transact(delete)
    arrivals_of(ctx.platform).signal((scope, name))


def delete_some(tx: Transaction, scope: Scope, stream: Stream) -> bool:
    """Delete some of its records, and with the last ones the stream; whether there is more to do."""
    if state.delete_records(tx, scope, stream.name, limit=limits.TRIM_AT_ONCE) == limits.TRIM_AT_ONCE:
        return True
    state.delete_stream(tx, scope, stream)
    return False


@operation
async def describe_stream(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    (scope, name), now_ms = located(ctx, req), ctx.clock.now_ms()
    after, count = req.get("ExclusiveStartShardId") or "", req.get("Limit") or PAGE_DEFAULT

    def read(tx: ReadTransaction) -> dict[str, Any]:
        stream = state.get_view(tx, scope, name).stream
        shards = [shard for shard in stream.visible_shards(now_ms) if shard.id > after]
        shown = [rules.shown_shard(shard) for shard in shards[:count]]
        return {**_described(scope, stream), "Shards": shown, "HasMoreShards": len(shards) > count}

    return {"StreamDescription": await ctx.store.read(read)}


@operation
async def describe_stream_summary(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = located(ctx, req)

    def read(tx: ReadTransaction) -> dict[str, Any]:
        stream = state.get_view(tx, scope, name).stream
        summary = {
            **_described(scope, stream),
            "OpenShardCount": len(stream.open_shards),
            "ConsumerCount": len(state.consumers(tx, scope, name)),
            "MaxRecordSizeInKiB": stream.max_record_kib,
        }
        return summary | ({"WarmThroughput": shown_warmth(stream)} if stream.mode == "ON_DEMAND" else {})

    return {"StreamDescriptionSummary": await ctx.store.read(read)}


def shown_warmth(stream: Stream) -> dict[str, int]:
    """A shard takes a MiB a second."""
    return {"TargetMiBps": stream.warm_mibps, "CurrentMiBps": len(stream.open_shards)}


def _described(scope: Scope, stream: Stream) -> dict[str, Any]:
    described: dict[str, Any] = {
        **_summary(scope, stream),
        "RetentionPeriodHours": stream.retention_hours,
        "EnhancedMonitoring": [{"ShardLevelMetrics": stream.metrics}],
        "EncryptionType": stream.encryption,
    }
    return described | ({"KeyId": stream.key_id} if stream.key_id else {})


def _summary(scope: Scope, stream: Stream) -> dict[str, Any]:
    return {
        "StreamName": stream.name,
        "StreamARN": stream.arn(scope),
        "StreamStatus": stream.status,
        "StreamModeDetails": {"StreamMode": stream.mode},
        "StreamCreationTimestamp": rules.when(stream.created_ms),
    }


@operation
async def list_streams(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    after, count = req.get("ExclusiveStartStreamName") or req.get("NextToken") or "", req.get("Limit") or PAGE_DEFAULT
    found = await ctx.store.read(lambda tx: [s for s in state.streams(tx, ctx.scope) if s.name > after][: count + 1])
    page = found[:count]
    answer: dict[str, Any] = {
        "StreamNames": [stream.name for stream in page],
        "HasMoreStreams": len(found) > count,
        "StreamSummaries": [_summary(ctx.scope, stream) for stream in page],
    }
    return answer | ({"NextToken": page[-1].name} if len(found) > count else {})


@operation
async def describe_limits(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    found = await ctx.store.read(lambda tx: list(state.streams(tx, ctx.scope)))
    return {
        "ShardLimit": limits.SHARDS_MAX.value,
        "OpenShardCount": sum(len(stream.open_shards) for stream in found if stream.mode == "PROVISIONED"),
        "OnDemandStreamCount": sum(stream.mode == "ON_DEMAND" for stream in found),
        "OnDemandStreamCountLimit": 50,
    }
