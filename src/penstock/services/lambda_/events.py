"""The documents that Lambda sends about invocations.

Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
"""

from dataclasses import dataclass
from typing import Any

import orjson

from penstock.engines.durable.model import Execution
from penstock.engines.functions.ports import Outcome
from penstock.engines.polling.stream import Discarded
from penstock.kernel.scope import Scope
from penstock.services.lambda_ import limits, messages, rules
from penstock.services.lambda_.state import Event, arn_of


@dataclass(frozen=True, slots=True)
class Ending:
    """How an event ended. `condition` is AWS's word; `payload` the function's answer, None where it never ran.

    status_code   200 where the function ran, else what kept it from running (429, 500); 0 where nobody tried
    """

    condition: str
    status_code: int
    invoke_count: int
    version: str = ""
    function_error: str = ""
    payload: bytes | None = None

    @property
    def is_success(self) -> bool:
        return self.condition == "Success"

    @property
    def error_message(self) -> str:
        """What the function said of its error."""
        answer = _parsed(self.payload) if self.payload is not None else None
        text = answer.get("errorMessage") if isinstance(answer, dict) else None
        if text is not None:
            return str(text)
        if self.condition == "ZeroReservedConcurrency":
            return messages.ZERO_RESERVED
        return "Rate Exceeded." if self.status_code == 429 else self.condition


def invocation_record(event: Event, function_arn: str, ending: Ending, *, now_ms: int) -> str:
    """What a destination gets; `function_arn` is qualified."""
    context: dict[str, Any] = {"statusCode": ending.status_code}
    if ending.version:
        context["executedVersion"] = ending.version
    if ending.function_error:
        context["functionError"] = ending.function_error
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": rules.when(now_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "requestContext": {
            "requestId": event.request_id,
            "functionArn": function_arn,
            "condition": ending.condition,
            "approximateInvokeCount": ending.invoke_count,
        },
        "requestPayload": _embedded(event.payload),
    }
    if ending.status_code:
        record["responseContext"] = context
    if ending.payload is not None:
        record["responsePayload"] = _embedded(ending.payload)
    return orjson.dumps(record).decode()


def stream_failure(
    request_id: str,
    function_arn: str,
    discarded: Discarded,
    outcome: tuple[Outcome, str] | None,
    info: dict[str, Any],
    *,
    payload: bytes | None,
    now_ms: int,
) -> str:
    """What an on-failure destination gets of a stream's records that were given up.

    outcome   of the last try and the version that ran it; info: the source's own member, as KinesisBatchInfo
    payload   the whole event, for a bucket
    Source: https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
    """
    record: dict[str, Any] = {
        "requestContext": {
            "requestId": request_id,
            "functionArn": function_arn,
            "condition": discarded.reason,
            "approximateInvokeCount": discarded.tries,
        },
        "responseContext": None,
        "version": "1.0",
        "timestamp": rules.when(now_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        **info,
    }
    if outcome is not None:
        answer, version = outcome
        record["responseContext"] = {
            "statusCode": 200,
            "executedVersion": version,
            "functionError": answer.function_error,
        }
    if payload is not None:
        record["payload"] = payload.decode("utf-8", "replace")
    return orjson.dumps(record).decode()


def dead_letter_attributes(event: Event, ending: Ending) -> dict[str, dict[str, str]]:
    """What says in a dead-letter queue or topic why the event is there.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html#invocation-dlq
    """
    message = ending.error_message.encode()[: limits.ERROR_MESSAGE_BYTES_MAX.value].decode(errors="ignore")
    attributes = {
        "RequestID": {"DataType": "String", "StringValue": event.request_id},
        "ErrorMessage": {"DataType": "String", "StringValue": message or " "},
    }
    if ending.status_code:
        attributes["ErrorCode"] = {"DataType": "Number", "StringValue": str(ending.status_code)}
    return attributes


def object_key(function_name: str, now_ms: int, unique: str) -> str:
    """Where an S3 destination keeps a record."""
    now = rules.when(now_ms)
    return f"aws/lambda/async/{function_name}/{now:%Y/%m/%d}/{now:%Y-%m-%dT%H.%M.%S}-{unique}"


def _embedded(payload: bytes) -> orjson.Fragment | str:
    """JSON as it came: numbers keep their digits, and no depth that was accepted is refused here."""
    try:
        orjson.loads(payload)
    except ValueError:
        return payload.decode("utf-8", "replace")
    return orjson.Fragment(payload)


def _parsed(payload: bytes) -> Any:
    try:
        return orjson.loads(payload)
    except ValueError:
        return payload.decode("utf-8", "replace")


def durable_status(scope: Scope, execution: Execution) -> dict[str, str]:
    """The detail of a change of a durable execution's status.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/durable-monitoring.html
    """
    detail = {
        "durableExecutionArn": execution.arn,
        "durableExecutionName": execution.name,
        "functionArn": arn_of(scope, execution.function, execution.version),
        "status": execution.status,
        "startTimestamp": _timestamp(execution.started_ms),
    }
    return detail | ({"endTimestamp": _timestamp(execution.ended_ms)} if execution.ended_ms is not None else {})


def _timestamp(time_ms: int) -> str:
    """2026-11-20T01:02:03.456Z"""
    return rules.when(time_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")
