"""Durable executions begin: by an invocation, or by another durable execution.

Source: https://docs.aws.amazon.com/lambda/latest/dg/durable-invoking.html
"""

import hashlib
from dataclasses import dataclass

from penstock.engines.durable.answers import document_of_error
from penstock.engines.durable.model import ErrorObject, Execution
from penstock.engines.functions.ports import Outcome
from penstock.framework.context import Context
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.lambda_ import limits, messages, rules, state
from penstock.services.lambda_.operations import durable_messages, functions
from penstock.services.lambda_.operations import durable_records as records
from penstock.services.lambda_.operations.durable_ledger import Change, ledger_of
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import Version
from penstock.storage.transactions import ReadTransaction


@dataclass(frozen=True)
class DurableOutcome(Outcome):
    """What a caller that waited is given."""

    execution_arn: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """Who is to begin, and with what. `id` and, where the caller gives none, `name` are made up."""

    named: Named
    version: Version
    payload: bytes
    id: str
    name: str = ""
    trace_id: str = ""
    tenant_id: str = ""
    is_asynchronous: bool = False
    parent_arn: str = ""
    parent_operation: str = ""


def check_invocable(named: Named, version: Version, name: str) -> None:
    """Raises InvalidParameterValueException."""
    if version.durable is None:
        if name:
            raise durable_messages.not_durable(named.arn)
    elif not named.qualifier:
        raise durable_messages.durable_unqualified()


def check_mappable(named: Named, version: Version) -> None:
    """A mapping waits for the executions that it begins. Raises InvalidParameterValueException.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/durable-invoking-esm.html
    """
    check_invocable(named, version, "")
    if version.durable_timeout_s > limits.DURABLE_SYNC_S_MAX.value:
        raise durable_messages.durable_too_long_to_map()


async def start(
    ctx: Context, named: Named, version: Version, payload: bytes, name: str, trace_id: str, tenant_id: str = ""
) -> str:
    """Begin an execution that nobody waits for; its ARN. One of that name and payload is found, not begun anew."""
    begun = Start(named, version, payload, ctx.entropy.uuid(), name, trace_id, tenant_id, is_asynchronous=True)
    return (await ledger_of(ctx.platform).commit(lambda change: begin(change, begun))).arn


async def run(
    ctx: Context, named: Named, version: Version, payload: bytes, name: str, trace_id: str, tenant_id: str = ""
) -> DurableOutcome:
    """Begin an execution and wait for its end. Raises ServiceError."""
    if version.durable_timeout_s > limits.DURABLE_SYNC_S_MAX.value:
        raise durable_messages.durable_too_long_to_wait()
    ledger = ledger_of(ctx.platform)
    begun = Start(named, version, payload, ctx.entropy.uuid(), name, trace_id, tenant_id)
    execution = await ledger.commit(lambda change: begin(change, begun))
    execution = await ledger.ending(named.scope, execution.id)
    is_success = execution.status == "SUCCEEDED"
    answer = (execution.result or "null").encode()
    return DurableOutcome(
        payload=answer if is_success else document_of_error(execution.error, execution.status),
        function_error=None if is_success else "Unhandled",
        status="success" if is_success else "timeout" if execution.status == "TIMED_OUT" else "error",
        log_tail=b"",
        duration_ms=float((execution.ended_ms or execution.started_ms) - execution.started_ms),
        billed_ms=0,
        init_ms=None,
        max_memory_mb=0,
        is_cold=False,
        error_type="" if is_success else str((execution.error or {}).get("ErrorType") or ""),
        execution_arn=execution.arn,
    )


def begin(change: Change, start: Start) -> Execution:
    """Begin in the change's transaction, or find what has begun by that name with the same payload.

    Raises DurableExecutionAlreadyStartedException.
    Source: https://docs.aws.amazon.com/lambda/latest/dg/durable-execution-idempotency.html
    """
    scope, version = start.named.scope, start.version
    sha256 = hashlib.sha256(start.payload).hexdigest()
    known = records.find_by_name(change.tx, scope, version.name, start.name) if start.name else None
    if known is not None:
        if known.request_sha256 != sha256:
            raise durable_messages.execution_exists(known.arn)
        return known
    name = start.name or start.id
    function_arn = state.arn_of(scope, version.name, version.version)
    execution = Execution(
        arn=f"{function_arn}/durable-execution/{name}/{start.id}",
        function=version.name,
        version=version.version,
        name=name,
        id=start.id,
        started_ms=change.now_ms,
        timeout_s=version.durable_timeout_s,
        retention_days=version.durable_retention_days,
        architecture=version.architecture,
        request_sha256=sha256,
        trace_id=start.trace_id,
        tenant_id=start.tenant_id,
        is_asynchronous=start.is_asynchronous,
        parent_arn=start.parent_arn,
        parent_operation=start.parent_operation,
    )
    change.add(scope, execution, start.payload.decode())
    return execution


def chained_target(scope: Scope, text: str) -> Named:
    """The function that a durable execution names. Raises InvalidParameterValueException."""
    try:
        named = rules.named(scope, text)
    except ServiceError:
        raise messages.invalid(f"Invalid function ARN '{text}'") from None
    if named.scope != scope:
        raise messages.invalid("Cannot start a CHAINED_INVOKE on a function in another account.")
    return named


def why_not_chained(tx: ReadTransaction, scope: Scope, text: str) -> ErrorObject | None:
    """What fails a chained invoke already at its checkpoint."""
    try:
        named = chained_target(scope, text)
        check_invocable(named, functions.get_version(tx, named), "")
    except ServiceError as error:
        return {"ErrorMessage": error.message, "ErrorType": error.code}
    return None
