"""What can be changed of a stream: retention, encryption, mode, sizes, monitoring; and an account's settings."""

from collections.abc import Callable
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.scope import Scope
from penstock.services.kinesis import limits, messages, rules, state
from penstock.services.kinesis.operations.access import located
from penstock.services.kinesis.operations.arrivals import arrivals_of
from penstock.services.kinesis.operations.streams import get_active
from penstock.services.kinesis.state import Settings, Stream
from penstock.storage.transactions import Transaction

Change = Callable[[Stream], None]


async def _update(ctx: Context, req: dict[str, Any], edit: Change) -> tuple[Scope, Stream]:
    """Change an ACTIVE stream. Raises ResourceInUseException, ResourceNotFoundException."""
    scope, name = located(ctx, req)

    def write(tx: Transaction) -> Stream:
        stream = get_active(tx, scope, name)
        edit(stream)
        state.put_stream(tx, scope, stream)
        return stream

    return scope, await ctx.store.transact(write)


@operation
async def increase_stream_retention_period(ctx: Context, req: dict[str, Any]) -> None:
    """What is beyond the period until now stays gone."""
    await _retain(ctx, req, is_increase=True)


@operation
async def decrease_stream_retention_period(ctx: Context, req: dict[str, Any]) -> None:
    await _retain(ctx, req, is_increase=False)


async def _retain(ctx: Context, req: dict[str, Any], *, is_increase: bool) -> None:
    hours, now_ms = req["RetentionPeriodHours"], ctx.clock.now_ms()
    if not limits.RETENTION_HOURS_MIN.value <= hours <= limits.RETENTION_HOURS_MAX.value:
        raise messages.retention_out_of_range(hours)

    def retain(stream: Stream) -> None:
        if (hours < stream.retention_hours) if is_increase else (hours > stream.retention_hours):
            raise messages.wrong_direction(hours, stream.name, stream.retention_hours, is_increase=is_increase)
        stream.horizon_ms = stream.oldest_ms(now_ms)
        stream.retention_hours = hours

    await _update(ctx, req, retain)


@operation
async def start_stream_encryption(ctx: Context, req: dict[str, Any]) -> None:
    """The flag and the key's name, which records put from now on bear; their bytes are kept as they are."""
    await _encrypt(ctx, req, req["EncryptionType"], req["KeyId"])


@operation
async def stop_stream_encryption(ctx: Context, req: dict[str, Any]) -> None:
    await _encrypt(ctx, req, "NONE", "")


async def _encrypt(ctx: Context, req: dict[str, Any], kind: str, key_id: str) -> None:
    def encrypt(stream: Stream) -> None:
        stream.encryption, stream.key_id = kind, key_id

    await _update(ctx, req, encrypt)


@operation
async def update_stream_mode(ctx: Context, req: dict[str, Any]) -> None:
    """The shards stay as they are."""

    def switch(stream: Stream) -> None:
        stream.mode = req["StreamModeDetails"]["StreamMode"]
        if req.get("WarmThroughputMiBps") and stream.mode == "ON_DEMAND":
            stream.warm_mibps = req["WarmThroughputMiBps"]

    await _update(ctx, req, switch)


@operation
async def update_max_record_size(ctx: Context, req: dict[str, Any]) -> None:
    def resize(stream: Stream) -> None:
        stream.max_record_kib = req["MaxRecordSizeInKiB"]

    await _update(ctx, req, resize)


@operation
async def update_stream_record_distribution_strategy(ctx: Context, req: dict[str, Any]) -> None:
    """AUTO spreads records over the shards, whatever their keys."""

    def distribute(stream: Stream) -> None:
        stream.distribution = req["RecordDistributionStrategy"]

    await _update(ctx, req, distribute)


@operation
async def update_stream_warm_throughput(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """An on-demand stream gets the shards for it at once, and keeps them."""
    (scope, name), now_ms, warm_mibps = located(ctx, req), ctx.clock.now_ms(), req["WarmThroughputMiBps"]
    if warm_mibps > limits.WARM_MIBPS_MAX:
        raise messages.too_warm(warm_mibps)

    def warm(tx: Transaction) -> dict[str, Any]:
        stream = get_active(tx, scope, name)
        if stream.mode != "ON_DEMAND":
            raise messages.wrong_mode(name, scope.account_id, "Provisioned")
        before = len(stream.open_shards)
        stream.warm_mibps = warm_mibps
        shown = {"TargetMiBps": warm_mibps, "CurrentMiBps": before}
        if warm_mibps > before:
            rules.rescale(stream, warm_mibps, now_ms)
        state.put_stream(tx, scope, stream)
        return {"StreamName": name, "StreamARN": stream.arn(scope), "WarmThroughput": shown}

    answer = await ctx.store.transact(warm)
    arrivals_of(ctx.platform).signal((scope, name))
    return answer


@operation
async def enable_enhanced_monitoring(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    return await _monitor(ctx, req, lambda known, asked: known | asked)


@operation
async def disable_enhanced_monitoring(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    return await _monitor(ctx, req, lambda known, asked: known - asked)


async def _monitor(
    ctx: Context, req: dict[str, Any], combine: Callable[[set[str], set[str]], set[str]]
) -> dict[str, Any]:
    asked = set(limits.SHARD_METRICS if "ALL" in req["ShardLevelMetrics"] else req["ShardLevelMetrics"])
    before: list[str] = []

    def monitor(stream: Stream) -> None:
        before.extend(stream.metrics)
        stream.metrics = sorted(combine(set(stream.metrics), asked))

    scope, stream = await _update(ctx, req, monitor)
    return {
        "StreamName": stream.name,
        "StreamARN": stream.arn(scope),
        "CurrentShardLevelMetrics": before[: len(limits.SHARD_METRICS)],
        "DesiredShardLevelMetrics": stream.metrics,
    }


@operation
async def describe_account_settings(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    return _shown_settings(await ctx.store.read(lambda tx: state.settings(tx, ctx.scope)))


@operation
async def update_account_settings(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """A commitment to a minimum throughput holds a day at least; only what is billed depends on it.

    Raises ValidationException where it is ended earlier.
    """
    now_ms, wanted = ctx.clock.now_ms(), req["MinimumThroughputBillingCommitment"]["Status"]

    def write(tx: Transaction) -> Settings:
        known = state.settings(tx, ctx.scope)
        if wanted == known.commitment:
            return known
        if wanted == "DISABLED" and now_ms < known.started_ms + limits.COMMITMENT_MS.value:
            raise messages.commitment_holds()
        changed = Settings(wanted, now_ms) if wanted == "ENABLED" else Settings(wanted, known.started_ms, now_ms)
        state.put_settings(tx, ctx.scope, changed)
        return changed

    return _shown_settings(await ctx.store.transact(write))


def _shown_settings(settings: Settings) -> dict[str, Any]:
    shown: dict[str, Any] = {"Status": settings.commitment}
    if settings.started_ms:
        shown["StartedAt"] = rules.when(settings.started_ms)
    if settings.commitment == "ENABLED":
        shown["EarliestAllowedEndAt"] = rules.when(settings.started_ms + limits.COMMITMENT_MS.value)
    elif settings.ended_ms:
        shown["EndedAt"] = rules.when(settings.ended_ms)
    return {"MinimumThroughputBillingCommitment": shown}
