"""Executions, operations and events as the API, the SDK's event and the history show them. Pure.

`when` turns milliseconds into what the reader takes: a datetime for the API, the number itself for the SDK's event.
Source: https://docs.aws.amazon.com/lambda/latest/api/API_Operation.html
"""

from collections.abc import Callable, Mapping
from typing import Any

from penstock.engines.durable.model import Event, Execution, Operation, Operations

When = Callable[[int], Any]
_DETAILS = {
    "EXECUTION": "ExecutionDetails",
    "CONTEXT": "ContextDetails",
    "STEP": "StepDetails",
    "WAIT": "WaitDetails",
    "CALLBACK": "CallbackDetails",
    "CHAINED_INVOKE": "ChainedInvokeDetails",
}
_DATA = frozenset({"Input", "Result", "Error"})
_MEMBERS_BYTES = 512  # what an operation's members take beside its payloads, generously


def operation_members(operation: Operation, when: When) -> dict[str, Any]:
    """An Operation of the API."""
    members = {
        "Id": operation.id,
        "ParentId": operation.parent_id or None,
        "Name": operation.name or None,
        "Type": operation.type,
        "SubType": operation.sub_type or None,
        "StartTimestamp": when(operation.started_ms),
        "EndTimestamp": when(operation.ended_ms) if operation.ended_ms is not None else None,
        "Status": operation.status,
        _DETAILS[operation.type]: _given(_details(operation, when)),
    }
    return _given(members)


def _details(operation: Operation, when: When) -> dict[str, Any]:
    due = when(operation.due_ms) if operation.due_ms is not None else None
    outcome = {"Result": operation.result, "Error": operation.error}
    match operation.type:
        case "EXECUTION":
            return {"InputPayload": operation.payload}
        case "CONTEXT":
            return {"ReplayChildren": operation.has_replayed_children or None, **outcome}
        case "STEP":
            return {"Attempt": operation.attempt, "NextAttemptTimestamp": due, **outcome}
        case "WAIT":
            return {"ScheduledEndTimestamp": due}
        case "CALLBACK":
            return {"CallbackId": operation.callback_id, **outcome}
    return outcome


def _given(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def operation_bytes(operation: Operation) -> int:
    """About what an operation takes in an answer."""
    error = operation.error or {}
    texts = (operation.payload, operation.result, error.get("ErrorMessage"), error.get("ErrorData"))
    stack = sum(len(line) for line in error.get("StackTrace") or ())
    return _MEMBERS_BYTES + stack + sum(len(text.encode()) for text in texts if text)


def is_replayed(operation: Operation, operations: Operations) -> bool:
    """Whether a handler needs the operation: what a closed context did needn't be known, unless it asked for that.

    Source: https://docs.aws.amazon.com/lambda/latest/api/API_GetDurableExecutionState.html
    """
    parent_id = operation.parent_id
    while parent_id:
        parent = operations.find(parent_id)
        if parent is None:
            return True
        if parent.has_ended and not parent.has_replayed_children:
            return False
        parent_id = parent.parent_id
    return True


def execution_members(execution: Execution, function_arn: str, when: When) -> dict[str, Any]:
    """An Execution of a listing."""
    members = {
        "DurableExecutionArn": execution.arn,
        "DurableExecutionName": execution.name,
        "FunctionArn": function_arn,
        "Status": execution.status,
        "StartTimestamp": when(execution.started_ms),
        "EndTimestamp": when(execution.ended_ms) if execution.ended_ms is not None else None,
    }
    return _given(members)


def event_members(event: Event, when: When, operations: Operations, *, has_data: bool) -> dict[str, Any]:
    """An Event of the history; without data, payloads are left out. What a chained invoke began is named."""
    operation = operations.find(event.id) if event.has_own else None
    details = _event_details(event.details, when, operation, has_data=has_data)
    if event.type == "ChainedInvokeStarted" and operation is not None:
        begun = {"DurableExecutionArn": operation.child_arn, "ExecutedVersion": operation.child_version}
        details |= {name: value for name, value in begun.items() if value}
    members = {
        "EventType": event.type,
        "SubType": event.sub_type or None,
        "EventId": event.number,
        "Id": event.id or None,
        "Name": event.name or None,
        "EventTimestamp": when(event.at_ms),
        "ParentId": event.parent_id or None,
        f"{event.type}Details": details,
    }
    return _given(members)


def _event_details(
    details: Mapping[str, Any], when: When, operation: Operation | None, *, has_data: bool
) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, value in details.items():
        if name in _DATA:
            payload = _own_payload(name, operation) if operation is not None else value.get("Payload")
            shown[name] = _given({"Payload": payload}) if has_data else {}
        elif value is not None:
            shown[name] = when(value) if name.endswith("Timestamp") else value
    return shown


def _own_payload(name: str, operation: Operation) -> Any:
    if name == "Input":
        return operation.payload
    return operation.result if name == "Result" else operation.error or {}
