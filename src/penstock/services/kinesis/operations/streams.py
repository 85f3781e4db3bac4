"""Streams: made, described, changed, deleted."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.kinesis import limits, messages, rules, state
from penstock.services.kinesis.operations.access import named
from penstock.services.kinesis.state import Stream
from penstock.storage import outbox
from penstock.storage.transactions import ReadTransaction, Transaction

SETTLE = "kinesis.settle"
PAGE_DEFAULT = 100


@operation
async def create_stream(ctx: Context, req: dict[str, Any]) -> None:
    mode = (req.get("StreamModeDetails") or {}).get("StreamMode") or "PROVISIONED"
    count = req.get("ShardCount") or (limits.SHARDS_OF_ON_DEMAND if mode == "ON_DEMAND" else 0)
    if count < 1:
        raise messages.invalid("ShardCount must be specified for PROVISIONED streams.")
    now_ms = ctx.clock.now_ms()
    stream = Stream(req["StreamName"], now_ms, mode, shards=rules.new_shards(count, now_ms), tags=req.get("Tags") or {})

    def create(tx: Transaction) -> None:
        if state.find_stream(tx, ctx.scope, stream.name) is not None:
            raise messages.stream_exists(stream.name, ctx.scope.account_id)
        _put_changing(tx, ctx, stream, now_ms)

    await ctx.store.transact(create)


def _put_changing(tx: Transaction, ctx: Context, stream: Stream, now_ms: int) -> None:
    """Store it in its passing state, and see to it that it ends."""
    state.put_stream(tx, ctx.scope, stream)
    payload: dict[str, object] = {
        "account_id": ctx.scope.account_id,
        "region": ctx.scope.region,
        "name": stream.name,
        "created_ms": stream.created_ms,
    }
    outbox.add(tx, SETTLE, payload, due_ms=now_ms, id=f"{ctx.scope.account_id}/{ctx.scope.region}/{stream.name}")


def change(tx: Transaction, ctx: Context, stream: Stream, status: str, now_ms: int) -> None:
    stream.status = status
    _put_changing(tx, ctx, stream, now_ms)


@operation
async def delete_stream(ctx: Context, req: dict[str, Any]) -> None:
    name, now_ms = named(req), ctx.clock.now_ms()

    def delete(tx: Transaction) -> None:
        change(tx, ctx, state.get_stream(tx, ctx.scope, name), "DELETING", now_ms)

    await ctx.store.transact(delete)


@operation
async def describe_stream(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    name, count = named(req), req.get("Limit") or PAGE_DEFAULT
    after = req.get("ExclusiveStartShardId") or ""

    def read(tx: ReadTransaction) -> dict[str, Any]:
        stream = state.get_stream(tx, ctx.scope, name)
        journal = state.records_of(ctx.scope, name)
        shards = [shard for shard in stream.shards if shard.id > after]
        shown = [
            rules.shown_shard(ctx.scope, shard, next_position=journal.next_position(tx, shard.id))
            for shard in shards[:count]
        ]
        return {**_described(ctx, stream), "Shards": shown, "HasMoreShards": len(shards) > count}

    return {"StreamDescription": await ctx.store.read(read)}


@operation
async def describe_stream_summary(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    stream = await ctx.store.read(lambda tx: state.get_stream(tx, ctx.scope, named(req)))
    summary = {**_described(ctx, stream), "OpenShardCount": len(stream.open_shards), "ConsumerCount": 0}
    return {"StreamDescriptionSummary": summary}


def _described(ctx: Context, stream: Stream) -> dict[str, Any]:
    described: dict[str, Any] = {
        "StreamName": stream.name,
        "StreamARN": stream.arn(ctx.scope),
        "StreamStatus": stream.status,
        "StreamModeDetails": {"StreamMode": stream.mode},
        "StreamCreationTimestamp": rules.when(stream.created_ms),
        "RetentionPeriodHours": stream.retention_hours,
        "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
        "EncryptionType": stream.encryption,
    }
    return described | ({"KeyId": stream.key_id} if stream.key_id else {})


@operation
async def list_streams(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    after, count = req.get("ExclusiveStartStreamName") or req.get("NextToken") or "", req.get("Limit") or PAGE_DEFAULT
    found = await ctx.store.read(lambda tx: [s for s in state.streams(tx, ctx.scope) if s.name > after][: count + 1])
    page = found[:count]
    answer: dict[str, Any] = {
        "StreamNames": [stream.name for stream in page],
        "HasMoreStreams": len(found) > count,
        "StreamSummaries": [
            {
                "StreamName": stream.name,
                "StreamARN": stream.arn(ctx.scope),
                "StreamStatus": stream.status,
                "StreamModeDetails": {"StreamMode": stream.mode},
                "StreamCreationTimestamp": rules.when(stream.created_ms),
            }
            for stream in page
        ],
    }
    return answer | ({"NextToken": page[-1].name} if len(found) > count else {})


@operation
async def increase_stream_retention_period(ctx: Context, req: dict[str, Any]) -> None:
    await _retain(ctx, req, is_increase=True)


@operation
async def decrease_stream_retention_period(ctx: Context, req: dict[str, Any]) -> None:
    await _retain(ctx, req, is_increase=False)


async def _retain(ctx: Context, req: dict[str, Any], *, is_increase: bool) -> None:
    hours, name = req["RetentionPeriodHours"], named(req)
    if not limits.RETENTION_HOURS_MIN.value <= hours <= limits.RETENTION_HOURS_MAX.value:
        raise messages.retention_out_of_range(hours)

    def retain(tx: Transaction) -> None:
        stream = state.get_stream(tx, ctx.scope, name)
        if (hours < stream.retention_hours) if is_increase else (hours > stream.retention_hours):
            raise messages.wrong_direction(hours, name, stream.retention_hours, is_increase=is_increase)
        stream.retention_hours = hours
        state.put_stream(tx, ctx.scope, stream)

    await ctx.store.transact(retain)


@operation
async def start_stream_encryption(ctx: Context, req: dict[str, Any]) -> None:
    """The flag and the key's name; records are kept as they are."""
    await _encrypt(ctx, req, req["EncryptionType"], req["KeyId"])


@operation
async def stop_stream_encryption(ctx: Context, req: dict[str, Any]) -> None:
    await _encrypt(ctx, req, "NONE", "")


async def _encrypt(ctx: Context, req: dict[str, Any], kind: str, key_id: str) -> None:
    def write(tx: Transaction) -> None:
        stream = state.get_stream(tx, ctx.scope, named(req))
        stream.encryption, stream.key_id = kind, key_id
        state.put_stream(tx, ctx.scope, stream)

    await ctx.store.transact(write)


@operation
async def update_stream_mode(ctx: Context, req: dict[str, Any]) -> None:
    def write(tx: Transaction) -> None:
        stream = state.get_stream(tx, ctx.scope, named(req))
        stream.mode = req["StreamModeDetails"]["StreamMode"]
        state.put_stream(tx, ctx.scope, stream)

    await ctx.store.transact(write)


@operation
async def describe_limits(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    found = await ctx.store.read(lambda tx: list(state.streams(tx, ctx.scope)))
    return {
        "ShardLimit": limits.SHARDS_MAX.value,
        "OpenShardCount": sum(len(stream.open_shards) for stream in found if stream.mode == "PROVISIONED"),
        "OnDemandStreamCount": sum(stream.mode == "ON_DEMAND" for stream in found),
        "OnDemandStreamCountLimit": 50,
    }
