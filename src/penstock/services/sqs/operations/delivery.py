"""What becomes of a message that was received: deleted, or visible again sooner or later."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.sqs import limits, messages, rules, state
from penstock.services.sqs.operations.arrivals import arrivals_of
from penstock.services.sqs.operations.batches import Act, carry_out, checked_entries
from penstock.services.sqs.operations.queues import located
from penstock.services.sqs.operations.rates import check_rate
from penstock.storage.transactions import Transaction


@operation
async def delete_message(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """A standard queue takes an older receive's handle too; a FIFO queue's handle must still hold its message."""
    scope, name = located(ctx, req)
    await check_rate(ctx, scope, name, "delete")
    return await _act(ctx, scope, name, _deleting(ctx, scope, req))


@operation
async def delete_message_batch(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = located(ctx, req)
    entries = checked_entries(req, "DeleteMessageBatchRequestEntry")
    await check_rate(ctx, scope, name, "delete")
    acts = [(entry["Id"], _deleting(ctx, scope, entry)) for entry in entries]
    return await _act(ctx, scope, name, lambda tx, queue: carry_out(tx, queue, acts))


@operation
async def change_message_visibility(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = located(ctx, req)
    return await _act(ctx, scope, name, _changing(ctx, scope, req))


@operation
async def change_message_visibility_batch(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = located(ctx, req)
    entries = checked_entries(req, "ChangeMessageVisibilityBatchRequestEntry")
    acts = [(entry["Id"], _changing(ctx, scope, entry)) for entry in entries]
    return await _act(ctx, scope, name, lambda tx, queue: carry_out(tx, queue, acts))


async def _act(ctx: Context, scope: Scope, name: str, act: Act) -> dict[str, Any]:
    """Whatever was done, a group's next message may be takeable now."""
    answer = await ctx.store.transact(lambda tx: act(tx, state.get_queue(tx, scope, name)))
    arrivals_of(ctx.platform).signal((scope, name))
    return answer


def _raw_handle(entry: dict[str, Any], queue: state.Queue) -> str:
    text = entry.get("ReceiptHandle")
    if not text:
        raise ServiceError("MissingParameter", "The request must contain the parameter ReceiptHandle.")
    return rules.read_handle(text, queue.created_ms)


def _deleting(ctx: Context, scope: Scope, entry: dict[str, Any]) -> Act:
    now_ms = ctx.clock.now_ms()

    def delete(tx: Transaction, queue: state.Queue) -> dict[str, Any]:
        held = state.messages_of(scope, queue.name)
        raw = _raw_handle(entry, queue)
        if queue.is_fifo:
            hold = held.find_hold(tx, raw)
            if hold is not None and (not hold.is_latest or hold.visible_at_ms <= now_ms):
                raise rules.invalid_value(entry["ReceiptHandle"], "ReceiptHandle", messages.HANDLE_EXPIRED)
        held.remove(tx, rules.sequence_of(raw))
        return {}

    return delete


def _changing(ctx: Context, scope: Scope, entry: dict[str, Any]) -> Act:
    now_ms = ctx.clock.now_ms()

    def change(tx: Transaction, queue: state.Queue) -> dict[str, Any]:
        timeout_s = entry.get("VisibilityTimeout")
        if timeout_s is None:
            raise ServiceError("MissingParameter", "The request must contain the parameter VisibilityTimeout.")
        rules.check_range("VisibilityTimeout", timeout_s, limits.VISIBILITY_S_MAX.value)
        held = state.messages_of(scope, queue.name)
        raw = _raw_handle(entry, queue)
        hold = held.find_hold(tx, raw)
        if hold is None:
            raise rules.invalid_value(entry["ReceiptHandle"], "ReceiptHandle", messages.GONE)
        if (queue.is_fifo and not hold.is_latest) or hold.visible_at_ms <= now_ms:
            raise ServiceError("MessageNotInflight", messages.NOT_IN_FLIGHT)
        if now_ms + timeout_s * 1000 > hold.received_at_ms + limits.VISIBILITY_S_MAX.value * 1000:
            raise rules.invalid_value(timeout_s, "VisibilityTimeout", messages.VISIBILITY_BEYOND)
        visibility_ms = timeout_s * 1000
        held.change_visibility(tx, raw, now_ms=now_ms, visibility_ms=visibility_ms, is_latest=queue.is_fifo)
        return {}

    return change
