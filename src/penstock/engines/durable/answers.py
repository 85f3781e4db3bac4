"""What a handler's invocation came to. Pure.

The SDK's handler answers {"Status": "SUCCEEDED" | "FAILED" | "PENDING", "Result" | "Error"}; anything else is an
answer that the service can't take, or no answer at all.
"""

from dataclasses import dataclass
from typing import Literal

import orjson

from penstock.engines.durable.model import ErrorObject

Kind = Literal["SUCCEEDED", "FAILED", "PENDING", "INVALID", "CRASHED", "THROTTLED"]


@dataclass(frozen=True, slots=True)
class Answer:
    """INVALID: an answer that breaks the protocol; CRASHED: the function failed; THROTTLED: it never ran."""

    kind: Kind
    result: str | None = None
    error: ErrorObject | None = None


def answer_of(payload: bytes, function_error: str | None) -> Answer:
    """Read what the function gave back."""
    try:
        told = orjson.loads(payload)
    except orjson.JSONDecodeError:
        told = None
    if function_error is not None:
        return Answer("CRASHED", error=error_of_function(payload))
    if not isinstance(told, dict) or told.get("Status") not in ("SUCCEEDED", "FAILED", "PENDING"):
        return invalid("Invalid Status in invocation output.")
    result, error = told.get("Result"), told.get("Error")
    if told["Status"] == "FAILED" and result is not None:
        return invalid("Cannot provide a Result for FAILED status.")
    if told["Status"] == "SUCCEEDED" and error is not None:
        return invalid("Cannot provide an Error for SUCCEEDED status.")
    if result is not None and not isinstance(result, str) or error is not None and not isinstance(error, dict):
        return invalid("Invalid Result or Error in invocation output.")
    return Answer(told["Status"], result, error)


def invalid(text: str) -> Answer:
    return Answer("INVALID", error={"ErrorMessage": text, "ErrorType": "InvalidParameterValueException"})


def error_of_function(payload: bytes) -> ErrorObject:
    """A runtime's error document as an ErrorObject."""
    try:
        told = orjson.loads(payload)
    except orjson.JSONDecodeError:
        told = None
    if not isinstance(told, dict):
        return {"ErrorMessage": payload.decode("utf-8", "replace")[:1024]}
    members = {"ErrorMessage": "errorMessage", "ErrorType": "errorType", "ErrorData": "errorData"}
    error: ErrorObject = {name: str(told[given]) for name, given in members.items() if told.get(given) is not None}
    if isinstance(told.get("stackTrace"), list) and told["stackTrace"]:
        error["StackTrace"] = [str(line) for line in told["stackTrace"]]
    return error


def document_of_error(error: ErrorObject | None, status: str) -> bytes:
    """What a synchronous caller is given of an execution that failed: the error as runtimes write it."""
    error = error or {}
    told: dict[str, object] = {
        "errorType": error.get("ErrorType") or f"DurableExecution.{status}",
        "errorMessage": error.get("ErrorMessage") or "",
    }
    if error.get("ErrorData") is not None:
        told["errorData"] = error["ErrorData"]
    if error.get("StackTrace"):
        told["stackTrace"] = error["StackTrace"]
    return orjson.dumps(told)
