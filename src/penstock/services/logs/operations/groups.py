"""Log groups and their retention."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.services.logs import background, limits, messages, rules, state
from penstock.storage.transactions import Transaction


@operation
async def create_log_group(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()

    def create(tx: Transaction) -> None:
        if state.find_group(tx, ctx.scope, req["logGroupName"]) is not None:
            raise ServiceError("ResourceAlreadyExistsException", messages.GROUP_EXISTS)
        group = state.Group(
            req["logGroupName"],
            now_ms,
            kms_key_id=req.get("kmsKeyId", ""),
            log_class=req.get("logGroupClass", "STANDARD"),
            tags=dict(req.get("tags") or {}),
        )
        state.put_group(tx, ctx.scope, group)

    await ctx.store.transact(create)
    return {}


@operation
async def delete_log_group(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def delete(tx: Transaction) -> None:
        state.get_group(tx, ctx.scope, req["logGroupName"])
        state.delete_group(tx, ctx.scope, req["logGroupName"])

    await ctx.store.transact(delete)
    return {}


@operation
async def describe_log_groups(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    prefix, pattern = req.get("logGroupNamePrefix"), req.get("logGroupNamePattern")
    if prefix and pattern:
        raise rules.invalid(messages.PREFIX_AND_PATTERN)
    found = await ctx.store.read(lambda tx: list(state.groups(tx, ctx.scope)))
    groups = [
        _describe(ctx, group)
        for group in found
        if group.name.startswith(prefix or "") and (pattern or "").lower() in group.name.lower()
    ]
    return rules.page(groups, "logGroups", req, req.get("limit") or limits.DESCRIBE_PAGE.value)


def _describe(ctx: Context, group: state.Group) -> dict[str, Any]:
    arn = group.arn(ctx.scope)
    answer: dict[str, Any] = {
        "logGroupName": group.name,
        "creationTime": group.created_ms,
        "metricFilterCount": 0,
        "arn": f"{arn}:*",
        "logGroupArn": arn,
        "logGroupClass": group.log_class,
        "storedBytes": group.stored_bytes,
    }
    if group.retention_days is not None:
        answer["retentionInDays"] = group.retention_days
    if group.kms_key_id:
        answer["kmsKeyId"] = group.kms_key_id
    return answer


@operation
async def put_retention_policy(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    rules.check_retention(req["retentionInDays"])
    await _set_retention(ctx, req["logGroupName"], req["retentionInDays"])
    return {}


@operation
async def delete_retention_policy(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    await _set_retention(ctx, req["logGroupName"], None)
    return {}


async def _set_retention(ctx: Context, name: str, days: int | None) -> None:
    now_ms = ctx.clock.now_ms()

    def change(tx: Transaction) -> None:
        group = state.get_group(tx, ctx.scope, name)
        group.retention_days = days
        state.put_group(tx, ctx.scope, group)
        tx.delete(state.room(ctx.scope, "expiry", name))
        background.schedule_expiry(tx, ctx.scope, group, now_ms=now_ms)

    await ctx.store.transact(change)
