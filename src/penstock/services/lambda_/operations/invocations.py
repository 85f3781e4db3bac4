"""Invocations: now, later, or not at all."""

import base64
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from penstock.engines.functions.ports import (
    FileSystemUnavailable,
    Invocation,
    Outcome,
    ResponseStream,
    RestoreFailed,
    Throttled,
)
from penstock.framework.context import Context
from penstock.framework.service import Members, operation
from penstock.kernel.errors import Unavailable
from penstock.kernel.scope import Scope
from penstock.kernel.streams import ByteStream, StreamTooLong
from penstock.services.lambda_ import limits, messages, rules, state
from penstock.services.lambda_.operations import durable_messages, durable_starts, functions, metrics, queueing, specs
from penstock.services.lambda_.operations.durable_starts import DurableOutcome
from penstock.services.lambda_.operations.metering import meter_of
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import LATEST, Event, Function, Version
from penstock.storage.transactions import ReadTransaction

RESERVED_REASON = "ReservedFunctionConcurrentInvocationLimitExceeded"


@operation
async def invoke(ctx: Context, req: Members) -> Members:
    kind = req.get("InvocationType") or "RequestResponse"
    named = rules.named(ctx.scope, req["FunctionName"], req.get("Qualifier"))
    bound = limits.ASYNC_PAYLOAD_BYTES_MAX if kind == "Event" else limits.SYNC_PAYLOAD_BYTES_MAX
    payload = await received(req.get("Payload"), bound.value)
    rules.check_json(payload)
    if kind == "RequestResponse":
        version, outcome = await _run_now(ctx, named, payload, req)
        return _answered(version, outcome, req)
    function, version = await find_target(ctx, named)
    check_tenant(version, req.get("TenantId") or "")
    if kind == "DryRun":
        return {"StatusCode": 204}
    arn = await _run_later(ctx, named, function, version, payload, req)
    return {"StatusCode": 202} | ({"DurableExecutionArn": arn} if arn else {})


@operation
async def invoke_async(ctx: Context, req: Members) -> Members:
    """The older way to send an event. Source: https://docs.aws.amazon.com/lambda/latest/api/API_InvokeAsync.html"""
    named = rules.named(ctx.scope, req["FunctionName"])
    payload = await received(req.get("InvokeArgs"), limits.INVOKE_ASYNC_BYTES_MAX.value)
    rules.check_json(payload)
    function, version = await find_target(ctx, named)
    check_tenant(version, "")
    await _run_later(ctx, named, function, version, payload, {})
    return {"Status": 202}


def _answered(version: Version, outcome: Outcome, req: Members) -> Members:
    answer: Members = {"StatusCode": 200, "ExecutedVersion": version.version, "Payload": outcome.payload}
    if isinstance(outcome, DurableOutcome):
        answer["DurableExecutionArn"] = outcome.execution_arn
    if outcome.function_error:
        answer["FunctionError"] = outcome.function_error
    if req.get("LogType") == "Tail":
        answer["LogResult"] = base64.b64encode(outcome.log_tail).decode()
    return answer


async def _run_now(ctx: Context, named: Named, payload: bytes, req: Members) -> tuple[Version, Outcome]:
    version, invocation = await prepared(ctx, named, payload, req)
    return version, await invocation


async def prepared(
    ctx: Context, named: Named, payload: bytes, req: Members, *, stream: ResponseStream | None = None
) -> tuple[Version, Coroutine[Any, Any, Outcome]]:
    """The version that is invoked, and its invocation, still to be awaited."""
    client_context = req.get("ClientContext") or ""
    rules.check_client_context(client_context)
    function, version = await find_target(ctx, named)
    name, tenant_id = req.get("DurableExecutionName") or "", req.get("TenantId") or ""
    check_tenant(version, tenant_id)
    _check_ready(version)
    durable_starts.check_invocable(named, version, name)
    trace_id = _traced(ctx, named)
    if is_recursive(function, trace_id, named):
        subject = metrics.subject_of(named.scope, named.name, named.qualifier, version.version)
        meter_of(ctx.platform).metrics.count(subject, "RecursiveInvocationsDropped")
        raise messages.recursive_loop()
    if version.durable is not None:
        if stream is not None:
            raise durable_messages.durable_streamed()
        return version, durable_starts.run(ctx, named, version, payload or b"{}", name, trace_id, tenant_id)
    request_id = ctx.request.request_id
    invocation = Invocation(
        request_id, payload or b"{}", named.arn, trace_id, client_context, stream, tenant_id=tenant_id
    )
    return version, _run_or_refuse(ctx, named.scope, function, version, invocation)


async def _run_or_refuse(
    ctx: Context, scope: Scope, function: Function, version: Version, invocation: Invocation
) -> Outcome:
    try:
        return await run(ctx, scope, function, version, invocation)
    except Throttled as throttled:
        raise messages.throttled(throttled.reason) from None
    except FileSystemUnavailable as failure:
        raise messages.mount_failed(str(failure)) from None
    except RestoreFailed as failure:
        raise messages.restore_failed(is_timeout=failure.is_timeout) from None


def _traced(ctx: Context, named: Named) -> str:
    return rules.with_hop(ctx.request.trace_id or new_trace_id(ctx), state.arn_of(named.scope, named.name))


def is_recursive(function: Function, trace_id: str, named: Named) -> bool:
    """Whether this invocation goes too often round in a circle. Counts the hop that it makes itself."""
    is_watched = function.recursion != "Allow"
    hops = rules.hops(trace_id, state.arn_of(named.scope, named.name))
    return is_watched and hops > limits.RECURSION_HOPS_MAX.value


async def _run_later(
    ctx: Context, named: Named, function: Function, version: Version, payload: bytes, req: Members
) -> str:
    """The ARN of the execution that begins, if the function is a durable one; else ""."""
    name, tenant_id = req.get("DurableExecutionName") or "", req.get("TenantId") or ""
    durable_starts.check_invocable(named, version, name)
    trace_id = _traced(ctx, named)
    if version.durable is not None:
        if is_recursive(function, trace_id, named):
            raise messages.recursive_loop()
        return await durable_starts.start(ctx, named, version, payload or b"{}", name, trace_id, tenant_id)
    now_ms = ctx.clock.now_ms()
    request_id, body = ctx.request.request_id, payload or b"{}"
    event = Event(request_id, named.qualifier, named.arn, now_ms, trace_id, body, tenant_id=tenant_id)
    await queueing.enqueue(ctx, named.scope, named.name, event)
    subject = metrics.subject_of(named.scope, named.name, named.qualifier)
    meter_of(ctx.platform).metrics.count(subject, "AsyncEventsReceived")
    return ""


async def received(given: Any, bytes_max: int) -> bytes:
    if isinstance(given, ByteStream):
        try:
            return await given.read(bytes_max=bytes_max)
        except StreamTooLong:
            raise messages.payload_too_large(bytes_max) from None
    payload = given.encode() if isinstance(given, str) else bytes(given or b"")
    if len(payload) > bytes_max:
        raise messages.payload_too_large(bytes_max)
    return payload


async def find_target(ctx: Context, named: Named) -> tuple[Function, Version]:
    """The function and the version that an invocation runs now. While $LATEST is updated, that is the old one."""
    chance = ctx.entropy.uniform(0, 1) if named.qualifier else 1.0

    def read(tx: ReadTransaction) -> tuple[Function, Version]:
        version = functions.get_version(tx, named, chance=min(chance, 0.999999) if named.qualifier else 1.0)
        return functions.get_function_record(tx, named), running(tx, named.scope, version)

    return await ctx.store.read(read)


def running(tx: ReadTransaction, scope: Scope, version: Version) -> Version:
    """The version as it runs now: while $LATEST is updated, the one before."""
    if version.version == LATEST and version.update_status == "InProgress":
        return state.find_previous(tx, scope, version.name) or version
    return version


def is_pending(version: Version) -> bool:
    """A published version has its code before it is Active; one with SnapStart lacks its snapshot."""
    return version.state == "Pending" and (version.version == LATEST or version.has_snap_start)


def check_tenant(version: Version, tenant_id: str) -> None:
    """Source: https://docs.aws.amazon.com/lambda/latest/dg/tenant-isolation-invoke.html"""
    if version.is_tenant_isolated and not tenant_id:
        raise messages.no_tenant()
    if tenant_id and not version.is_tenant_isolated:
        raise messages.tenant_of_none()


def _check_ready(version: Version) -> None:
    if version.state == "Failed" or is_pending(version):
        raise messages.not_ready(version.state)


async def run(ctx: Context, scope: Scope, function: Function, version: Version, invocation: Invocation) -> Outcome:
    """Run it in an environment, or as a durable execution to its end. Raises Throttled, Unavailable."""
    if version.durable is None:
        return await run_environment(ctx, scope, function, version, invocation)
    named = rules.named(scope, invocation.invoked_arn)
    durable_starts.check_invocable(named, version, "")
    return await durable_starts.run(
        ctx, named, version, invocation.payload, "", invocation.trace_id, invocation.tenant_id
    )


async def run_environment(
    ctx: Context, scope: Scope, function: Function, version: Version, invocation: Invocation
) -> Outcome:
    """Run it in an environment. Raises Throttled, Unavailable."""
    pool = ctx.platform.functions
    if pool is None:
        raise Unavailable("this node runs no functions")
    meter = meter_of(ctx.platform)
    reserved = function.reserved_concurrency
    spec = await specs.prepare(ctx, scope, version, reserved=reserved)
    if invocation.tenant_id:
        spec = replace(spec, id=f"{spec.id}#{invocation.tenant_id}")
    told = meter.metrics.running(scope, version, invocation.invoked_arn, is_reserved=reserved is not None)
    provision = pool.allocation(invocation.invoked_arn)
    try:
        if reserved == 0:
            raise Throttled(RESERVED_REASON)
        with ctx.clock.busy(), told:
            outcome = await pool.invoke(spec, invocation)
            told.on_outcome(outcome, provision)
    except Throttled:
        meter.on_throttle(scope, version)
        told.on_throttle()
        raise
    meter.on_outcome(scope, version, outcome)
    return outcome


def new_trace_id(ctx: Context) -> str:
    """An unsampled X-Ray header. Source: https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html"""
    epoch_s = ctx.clock.now_ms() // 1000
    return f"Root=1-{epoch_s:08x}-{ctx.entropy.token_hex(12)};Parent={ctx.entropy.token_hex(8)};Sampled=0"
