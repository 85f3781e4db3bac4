"""May a batch of updates be applied? Texts are the service's, as AWS's own SDKs state them. Pure.

Source: https://docs.aws.amazon.com/lambda/latest/api/API_CheckpointDurableExecution.html
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from penstock.engines.durable.model import OPERATIONS_MAX, WRITTEN_BYTES_MAX, Execution, Operation, Operations, Refused

Update = Mapping[str, Any]

ERROR_BYTES_MAX = 32_768
PAYLOAD_BYTES_MAX = 262_144
CHAINED_PAYLOAD_BYTES_MAX = 1_048_576
_ACTIONS = {
    "STEP": frozenset({"START", "FAIL", "RETRY", "SUCCEED"}),
    "CONTEXT": frozenset({"START", "FAIL", "SUCCEED"}),
    "WAIT": frozenset({"START", "CANCEL"}),
    "CALLBACK": frozenset({"START"}),
    "CHAINED_INVOKE": frozenset({"START"}),
    "EXECUTION": frozenset({"FAIL", "SUCCEED"}),
}
_CONSISTENT = (
    ("Type", "type", "Inconsistent operation type."),
    ("SubType", "sub_type", "Inconsistent operation subtype."),
    ("Name", "name", "Inconsistent operation name."),
    ("ParentId", "parent_id", "Inconsistent parent operation id."),
)


def check_batch(operations: Operations, updates: Sequence[Update]) -> None:
    """What concerns the batch as a whole. Raises Refused."""
    closing = [update for update in updates if update["Type"] == "EXECUTION"]
    if len(closing) > 1:
        raise Refused("Cannot checkpoint multiple EXECUTION updates.")
    if closing and updates[-1]["Type"] != "EXECUTION":
        raise Refused("EXECUTION checkpoint must be the last update.")
    started: dict[str, Update] = {}
    last: dict[str, Update] = {}
    for update in updates:
        if not _may_follow(last.get(update["Id"]), update):
            raise Refused("Cannot checkpoint multiple operations with the same ID.")
        if not _has_parent(operations, update, started):
            raise Refused("Invalid parent operation id.")
        if update["Action"] == "START":
            started[update["Id"]] = update
        last[update["Id"]] = update


def find_excess(execution: Execution, operations: Operations, updates: Sequence[Update]) -> str:
    """Why the batch would take the execution beyond a quota, which fails the execution; "" where it doesn't."""
    ids = {update["Id"] for update in updates if update["Type"] != "EXECUTION"}
    new = sum(1 for id in sorted(ids) if operations.find(id) is None)
    if execution.operations + new > OPERATIONS_MAX:
        return f"Durable execution exceeds the maximum number of operations ({OPERATIONS_MAX})."
    if execution.written_bytes + sum(map(update_bytes, updates)) > WRITTEN_BYTES_MAX:
        return f"Durable execution exceeds the maximum size of persisted data ({WRITTEN_BYTES_MAX} bytes)."
    return ""


def _may_follow(last: Update | None, update: Update) -> bool:
    """One update an operation; a STEP or CONTEXT may start and end in the same batch."""
    if last is None:
        return True
    return last["Type"] in ("STEP", "CONTEXT") and last["Action"] == "START" and update["Action"] != "START"


def _has_parent(operations: Operations, update: Update, started: Mapping[str, Update]) -> bool:
    parent_id = update.get("ParentId")
    if not parent_id:
        return True
    if parent_id in started:
        return bool(started[parent_id]["Type"] == "CONTEXT")
    parent = operations.find(parent_id)
    return parent is not None and parent.type == "CONTEXT"


def check_update(execution: Execution, current: Operation | None, update: Update) -> None:
    """One update against the operation as it is. Raises Refused."""
    if current is not None:
        for member, attribute, text in _CONSISTENT:
            if update.get(member) and update[member] != getattr(current, attribute):
                raise Refused(text)
    _check_sizes(execution, update)
    kind, action = update["Type"], update["Action"]
    if action not in _ACTIONS[kind]:
        raise Refused("Invalid action for the given operation type.")
    if action == "FAIL" and update.get("Payload") is not None:
        raise Refused("Cannot provide a Payload for FAIL action.")
    if action == "SUCCEED" and update.get("Error") is not None:
        raise Refused("Cannot provide an Error for SUCCEED action.")
    if kind == "STEP":
        _check_step(current, update)
    elif kind == "CONTEXT":
        _check_context(current, action)
    elif kind == "WAIT":
        _check_wait(current, update)
    elif kind == "CALLBACK" and current is not None:
        raise Refused("Cannot start a CALLBACK that already exist.")
    elif kind == "CHAINED_INVOKE":
        _check_chained(current, update)


def _check_sizes(execution: Execution, update: Update) -> None:
    error, kind = update.get("Error"), update["Type"]
    if error is not None and len(orjson.dumps(error)) > ERROR_BYTES_MAX:
        raise Refused(f"Error object size must be less than {ERROR_BYTES_MAX} bytes.")
    size = len((update.get("Payload") or "").encode())
    if kind == "CHAINED_INVOKE" and size > CHAINED_PAYLOAD_BYTES_MAX:
        text = f"CHAINED_INVOKE input payload size must be less than or equal to {CHAINED_PAYLOAD_BYTES_MAX} bytes."
        raise Refused(text)
    if kind == "EXECUTION" and execution.parent_arn and size > CHAINED_PAYLOAD_BYTES_MAX:
        raise Refused(f"Execution output payload size must be less than or equal to {CHAINED_PAYLOAD_BYTES_MAX} bytes.")
    if kind in ("STEP", "CONTEXT") and size > PAYLOAD_BYTES_MAX:
        raise Refused(f"{kind} output payload size must be less than or equal to {PAYLOAD_BYTES_MAX} bytes.")


def _check_step(current: Operation | None, update: Update) -> None:
    action = update["Action"]
    if action == "START":
        if current is not None and current.status != "READY":
            raise Refused("Invalid current STEP state to start.")
        return
    is_open = current is None or current.status in ("STARTED", "READY")
    if action == "RETRY":
        if not is_open:
            raise Refused("Invalid current STEP state to re-attempt.")
        if not (update.get("StepOptions") or {}).get("NextAttemptDelaySeconds"):
            raise Refused("Invalid StepOptions for the given action.")
        if update.get("Error") is not None and update.get("Payload") is not None:
            raise Refused("Cannot provide both error and payload to RETRY a STEP.")
    elif not is_open:
        raise Refused("Invalid current STEP state to close.")


def _check_context(current: Operation | None, action: str) -> None:
    if action == "START":
        if current is not None:
            raise Refused("Cannot start a CONTEXT that already exist.")
    elif current is not None and current.status != "STARTED":
        raise Refused("Invalid current CONTEXT state to close.")


def _check_wait(current: Operation | None, update: Update) -> None:
    if update["Action"] == "CANCEL":
        if current is None or current.status != "STARTED":
            raise Refused("Cannot cancel a WAIT that does not exist or has already completed.")
        return
    if current is not None:
        raise Refused("Cannot start a WAIT that already exist.")
    if not (update.get("WaitOptions") or {}).get("WaitSeconds"):
        raise Refused("Invalid WaitOptions for the given action.")


def _check_chained(current: Operation | None, update: Update) -> None:
    if current is not None:
        raise Refused("Cannot start a CHAINED_INVOKE operation that already exists.")
    if not update.get("ChainedInvokeOptions"):
        raise Refused("Update for CHAINED_INVOKE operation requires ChainedInvokeOptions.")


def update_bytes(update: Update) -> int:
    """What an update adds to the execution's persisted data."""
    error = update.get("Error")
    return len((update.get("Payload") or "").encode()) + (len(orjson.dumps(error)) if error is not None else 0)
