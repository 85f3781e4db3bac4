"""Callbacks that durable executions wait for: answered, failed, kept alive.

Source: https://docs.aws.amazon.com/lambda/latest/dg/durable-callback.html
"""

from collections.abc import Callable

from penstock.engines.durable.machine import Machine, read_callback_id
from penstock.engines.durable.model import CallbackClosed, Refused
from penstock.framework.context import Context
from penstock.framework.service import Members, operation
from penstock.kernel.streams import ByteStream
from penstock.services.lambda_ import limits, messages
from penstock.services.lambda_.operations import durable_executions, durable_messages


@operation
async def send_durable_execution_callback_success(ctx: Context, req: Members) -> Members:
    result = await _read(req.get("Result"))
    return await _answer(ctx, req, lambda machine, id: machine.on_callback(id, result=result))


@operation
async def send_durable_execution_callback_failure(ctx: Context, req: Members) -> Members:
    error = dict(req.get("Error") or {})
    return await _answer(ctx, req, lambda machine, id: machine.on_callback(id, error=error))


@operation
async def send_durable_execution_callback_heartbeat(ctx: Context, req: Members) -> Members:
    return await _answer(ctx, req, lambda machine, id: machine.on_heartbeat(id))


async def _answer(ctx: Context, req: Members, tell: Callable[[Machine, str], None]) -> Members:
    """Raises CallbackTimeoutException once the callback or its execution has ended."""
    try:
        arn, operation_id = read_callback_id(req["CallbackId"])
        owner = durable_executions.within(ctx, arn)
        await durable_executions.change(owner, arn, lambda _, machine: tell(machine, operation_id))
    except Refused as refused:
        raise messages.invalid(str(refused)) from None
    except CallbackClosed:
        raise durable_messages.callback_closed() from None
    return {}


async def _read(given: ByteStream | bytes | str | None) -> str | None:
    """The result as text; None where there is none."""
    if isinstance(given, ByteStream):
        given = await given.read(bytes_max=limits.CALLBACK_RESULT_BYTES_MAX.value)
    if not given:
        return None
    if isinstance(given, str):
        return given
    try:
        return bytes(given).decode()
    except UnicodeDecodeError:
        raise messages.invalid("The callback result must be text in UTF-8.") from None
