"""Durable executions: checkpointed by their handlers, described, listed, stopped."""

from collections.abc import Callable
from itertools import islice
from typing import TypeVar

import orjson

from penstock.engines.durable import machine as machines
from penstock.engines.durable import shapes
from penstock.engines.durable.machine import Machine
from penstock.engines.durable.model import Execution, Operation, Refused
from penstock.framework.context import Context
from penstock.framework.service import Members, operation
from penstock.kernel import arn as arns
from penstock.kernel.scope import Scope
from penstock.services.lambda_ import limits, messages, rules, state
from penstock.services.lambda_.operations import durable_records as records
from penstock.services.lambda_.operations import durable_starts, functions
from penstock.services.lambda_.operations.durable_ledger import Change, ledger_of
from penstock.services.lambda_.operations.durable_records import StoredOperations
from penstock.storage.transactions import ReadTransaction

T = TypeVar("T")


def within(ctx: Context, arn: str) -> Context:
    """The account whose execution it is. The ARN of another region isn't found here."""
    account_id = arns.parse(arn).account_id
    return ctx.within(Scope(account_id, ctx.scope.region, ctx.scope.partition))


async def change(ctx: Context, arn: str, apply: Callable[[Change, Machine], T]) -> T:
    """Raises ResourceNotFoundException, InvalidParameterValueException."""

    def run(change: Change) -> T:
        execution = records.get_by_arn(change.tx, ctx.scope, arn)
        return change.of(ctx.scope, execution.id, lambda machine: apply(change, machine))

    try:
        return await ledger_of(ctx.platform).commit(run)
    except Refused as refused:
        raise messages.invalid(str(refused)) from None


@operation
async def checkpoint_durable_execution(ctx: Context, req: Members) -> Members:
    """Source: https://docs.aws.amazon.com/lambda/latest/api/API_CheckpointDurableExecution.html"""
    arn = req["DurableExecutionArn"]
    ctx = within(ctx, arn)

    def apply(change: Change, machine: Machine) -> tuple[str, list[Operation]]:
        changed = machine.checkpoint(
            req["CheckpointToken"],
            req.get("ClientToken") or "",
            req.get("Updates") or (),
            lambda name: durable_starts.why_not_chained(change.tx, ctx.scope, name),
        )
        execution = machine.execution
        return "" if execution.is_closed else machines.format_token(execution), changed

    token, changed = await change(ctx, arn, apply)
    shown = [shapes.operation_members(operation, rules.when) for operation in changed]
    answer: Members = {"NewExecutionState": {"Operations": shown}}
    return answer | ({"CheckpointToken": token} if token else {})


@operation
async def get_durable_execution_state(ctx: Context, req: Members) -> Members:
    """A page of what a handler must know; only for the one that runs.

    Source: https://docs.aws.amazon.com/lambda/latest/api/API_GetDurableExecutionState.html
    """
    arn = req["DurableExecutionArn"]
    ctx = within(ctx, arn)
    _, after = rules.parse_marker(req.get("Marker"))

    def read(tx: ReadTransaction) -> tuple[list[Operation], int | None]:
        execution = records.get_by_arn(tx, ctx.scope, arn)
        machines.check_token(execution, req["CheckpointToken"])
        operations = StoredOperations(tx, ctx.scope, execution.id)
        return records.page(operations, after=after, items_max=_page_size(req), bytes_max=limits.DURABLE_PAGE_BYTES_MAX)

    try:
        found, after_next = await ctx.store.read(read)
    except Refused as refused:
        raise messages.invalid(str(refused)) from None
    answer: Members = {"Operations": [shapes.operation_members(operation, rules.when) for operation in found]}
    if after_next is not None:
        answer["NextMarker"] = rules.format_marker("", after_next)
    return answer


def _page_size(req: Members) -> int:
    return min(req.get("MaxItems") or limits.DURABLE_PAGE_DEFAULT.value, limits.DURABLE_PAGE_MAX.value)


@operation
async def get_durable_execution(ctx: Context, req: Members) -> Members:
    arn = req["DurableExecutionArn"]
    ctx = within(ctx, arn)

    def read(tx: ReadTransaction) -> tuple[Execution, Operation | None, Members | None]:
        execution = records.get_by_arn(tx, ctx.scope, arn)
        started = StoredOperations(tx, ctx.scope, execution.id).find(execution.id)
        version = state.find_version(tx, ctx.scope, execution.function, execution.version)
        return execution, started, version.durable if version is not None else None

    execution, started, config = await ctx.store.read(read)
    has_data = req.get("IncludeExecutionData") is not False
    answer = shapes.execution_members(execution, _function_arn(ctx, execution), rules.when)
    answer["Version"] = execution.version
    answer["ExecutionDataIncluded"] = has_data
    answer["DurableConfig"] = {
        **({"KMSKeyArn": config["KMSKeyArn"]} if config and config.get("KMSKeyArn") else {}),
        "RetentionPeriodInDays": execution.retention_days,
        "ExecutionTimeout": execution.timeout_s,
    }
    if execution.trace_id:
        answer["TraceHeader"] = {"XAmznTraceId": execution.trace_id}
    if has_data:
        payloads = {
            "InputPayload": started.payload if started is not None else None,
            "Result": execution.result,
            "Error": execution.error,
        }
        answer |= {name: value for name, value in payloads.items() if value is not None}
    return answer


def _function_arn(ctx: Context, execution: Execution) -> str:
    return state.arn_of(ctx.scope, execution.function, execution.version)


@operation
async def get_durable_execution_history(ctx: Context, req: Members) -> Members:
    """Source: https://docs.aws.amazon.com/lambda/latest/api/API_GetDurableExecutionHistory.html"""
    arn = req["DurableExecutionArn"]
    ctx = within(ctx, arn)
    _, number = rules.parse_marker(req.get("Marker"))
    has_data, size = req.get("IncludeExecutionData") is not False, _page_size(req)

    def read(tx: ReadTransaction) -> tuple[list[Members], bool]:
        id = records.get_by_arn(tx, ctx.scope, arn).id
        operations = StoredOperations(tx, ctx.scope, id)
        shown: list[Members] = []
        size_bytes = 0
        for event in records.events(tx, ctx.scope, id, after=number or None, reverse=bool(req.get("ReverseOrder"))):
            if len(shown) >= size or size_bytes > limits.DURABLE_PAGE_BYTES_MAX:
                return shown, True
            shown.append(shapes.event_members(event, rules.when, operations, has_data=has_data))
            size_bytes += len(orjson.dumps(shown[-1])) if has_data else 0
        return shown, False

    events, has_more = await ctx.store.read(read)
    return {"Events": events} | ({"NextMarker": rules.format_marker("", events[-1]["EventId"])} if has_more else {})


@operation
async def list_durable_executions_by_function(ctx: Context, req: Members) -> Members:
    """The newest first, unless ReverseOrder is true.

    Source: https://docs.aws.amazon.com/lambda/latest/api/API_ListDurableExecutionsByFunction.html
    """
    named = rules.named(ctx.scope, req["FunctionName"], req.get("Qualifier"))
    size, marker = _page_size(req), req.get("Marker")
    id, started_ms = rules.parse_marker(marker)

    def read(tx: ReadTransaction) -> list[Execution]:
        functions.get_function_record(tx, named)
        version = functions.get_version(tx, named).version if named.qualifier else ""
        found = records.of_function(
            tx,
            named.scope,
            named.name,
            after=(started_ms, id) if marker else None,
            reverse=not req.get("ReverseOrder"),
        )
        return list(islice((one for one in found if _is_wanted(one, version, req)), size + 1))

    page = await ctx.store.read(read)
    arns_of = ctx.within(named.scope)
    answer: Members = {
        "DurableExecutions": [
            shapes.execution_members(one, _function_arn(arns_of, one), rules.when) for one in page[:size]
        ]
    }
    if len(page) > size:
        answer["NextMarker"] = rules.format_marker(page[size - 1].id, page[size - 1].started_ms)
    return answer


def _is_wanted(execution: Execution, version: str, req: Members) -> bool:
    started = rules.when(execution.started_ms)
    name, statuses = req.get("DurableExecutionName"), req.get("Statuses")
    after, before = req.get("StartedAfter"), req.get("StartedBefore")
    return (
        (not version or execution.version == version)
        and (not name or execution.name == name)
        and (not statuses or execution.status in statuses)
        and (after is None or started > after)
        and (before is None or started < before)
    )


@operation
async def stop_durable_execution(ctx: Context, req: Members) -> Members:
    """One that has ended already stays as it ended.

    Source: https://docs.aws.amazon.com/lambda/latest/api/API_StopDurableExecution.html
    """
    arn = req["DurableExecutionArn"]
    ctx = within(ctx, arn)

    def stop(change: Change, machine: Machine) -> int:
        machine.stop(req.get("Error"))
        return machine.execution.ended_ms or change.now_ms

    return {"StopTimestamp": rules.when(await change(ctx, arn, stop))}
