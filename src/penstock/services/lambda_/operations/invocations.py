"""Invocations: now, later, or not at all."""

import base64
from typing import Any

from penstock.engines.functions.ports import Invocation, Outcome, Throttled
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import Unavailable
from penstock.kernel.scope import Scope
from penstock.kernel.streams import ByteStream, StreamTooLong
from penstock.services.lambda_ import limits, messages, rules, state
from penstock.services.lambda_.operations import functions, queueing, specs
from penstock.services.lambda_.operations.metering import meter_of
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import LATEST, Event, Function, Version
from penstock.storage.transactions import ReadTransaction

RESERVED_REASON = "ReservedFunctionConcurrentInvocationLimitExceeded"


@operation
async def invoke(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    kind = req.get("InvocationType") or "RequestResponse"
    named = rules.named(ctx.scope, req["FunctionName"], req.get("Qualifier"))
    bound = limits.ASYNC_PAYLOAD_BYTES_MAX if kind == "Event" else limits.SYNC_PAYLOAD_BYTES_MAX
    payload = await _received(req.get("Payload"), bound.value)
    rules.check_json(payload)
    rules.check_client_context(req.get("ClientContext") or "")
    function, version = await find_target(ctx, named)
    if kind == "DryRun":
        return {"StatusCode": 204}
    trace_id = ctx.request.trace_id or new_trace_id(ctx)
    if kind == "Event":
        event = Event(
            ctx.request.request_id, named.qualifier, named.arn, ctx.clock.now_ms(), trace_id, payload or b"{}"
        )
        await queueing.enqueue(ctx, named.scope, named.name, event)
        return {"StatusCode": 202}
    _check_ready(version)
    invocation = Invocation(
        request_id=ctx.request.request_id,
        payload=payload or b"{}",
        invoked_arn=named.arn,
        trace_id=trace_id,
        client_context=req.get("ClientContext") or "",
    )
    try:
        outcome = await run(ctx, named.scope, function, version, invocation)
    except Throttled as throttled:
        raise messages.throttled(throttled.reason) from None
    answer: dict[str, Any] = {"StatusCode": 200, "ExecutedVersion": version.version, "Payload": outcome.payload}
    if outcome.function_error:
        answer["FunctionError"] = outcome.function_error
    if req.get("LogType") == "Tail":
        answer["LogResult"] = base64.b64encode(outcome.log_tail).decode()
    return answer


async def _received(given: Any, bytes_max: int) -> bytes:
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
        if version.version == LATEST and version.update_status == "InProgress":
            version = state.find_previous(tx, named.scope, named.name) or version
        return functions.get_function_record(tx, named), version

    return await ctx.store.read(read)


def _check_ready(version: Version) -> None:
    if version.state in ("Pending", "Failed"):
        raise messages.not_ready(version.state)


async def run(ctx: Context, scope: Scope, function: Function, version: Version, invocation: Invocation) -> Outcome:
    """Run it in an environment. Raises Throttled, Unavailable."""
    pool = ctx.platform.functions
    if pool is None:
        raise Unavailable("this node runs no functions")
    meter = meter_of(ctx.platform)
    spec = await specs.prepare(ctx, scope, version, reserved=function.reserved_concurrency)
    try:
        if function.reserved_concurrency == 0:
            raise Throttled(RESERVED_REASON)
        with ctx.clock.busy():
            outcome = await pool.invoke(spec, invocation)
    except Throttled:
        meter.on_throttle(scope, version)
        raise
    meter.on_outcome(scope, version, outcome)
    return outcome


def new_trace_id(ctx: Context) -> str:
    """An unsampled X-Ray header. Source: https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html"""
    epoch_s = ctx.clock.now_ms() // 1000
    return f"Root=1-{epoch_s:08x}-{ctx.entropy.token_hex(12)};Parent={ctx.entropy.token_hex(8)};Sampled=0"
