"""What Lambda writes around an invocation, and what it answers when the runtime couldn't. Pure.

Source: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html
"""

import json
import math
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from penstock.engines.functions.ports import FunctionSpec
from penstock.engines.functions.runtimes import runtime_version

RESULT_BYTES_MAX = 6_291_556
Status = Literal["success", "error", "timeout", "crash"]


@dataclass(frozen=True, slots=True)
class Report:
    """The numbers of one invocation; times in ms."""

    request_id: str
    duration_ms: float
    init_ms: float | None
    max_memory_mb: int
    status: Status = "success"
    error_type: str = ""
    restore_ms: float | None = None
    hook_ms: float = 0.0

    @property
    def billed_ms(self) -> int:
        """AWS rounds the sum up to a whole millisecond; nothing is free. Of a restore only the hooks are billed."""
        return max(1, math.ceil(round(self.duration_ms + (self.init_ms or 0.0) + self.hook_ms, 2)))


@dataclass(frozen=True, slots=True)
class PlatformEvent:
    """One event of the platform: `platform.KIND` for telemetry and JSON logs, `text` in text logs ("": not there).

    level   what it is logged at in JSON; SystemLogLevel decides what is kept
    Source: https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html
    """

    kind: str
    record: dict[str, object]
    text: str = ""
    level: Literal["DEBUG", "INFO", "WARN"] = "INFO"

    def line(self, spec: FunctionSpec, time: str) -> str:
        """As it is logged; "" where it isn't."""
        if spec.log_format != "JSON":
            return self.text
        if _LEVELS.index(self.level) < _LEVELS.index(spec.system_log_level):
            return ""
        return json.dumps({"time": time, "type": f"platform.{self.kind}", "record": self.record}, separators=(",", ":"))


_LEVELS = ("DEBUG", "INFO", "WARN")


def iso(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def init_start(spec: FunctionSpec, *, kind: str) -> PlatformEvent:
    """`kind` is the initialization type."""
    version, arn = runtime_version(spec.runtime, spec.region)
    record: dict[str, object] = {
        "initializationType": kind, "phase": "init", "runtimeVersion": version, "runtimeVersionArn": arn,
        "functionName": spec.name, "functionVersion": spec.version,
    }  # fmt: skip
    return PlatformEvent("initStart", record, f"INIT_START Runtime Version: {version}\tRuntime Version ARN: {arn}\n")


def init_runtime_done(*, kind: str, status: str, error_type: str = "") -> PlatformEvent:
    record: dict[str, object] = {"initializationType": kind, "phase": "init", "status": status}
    return PlatformEvent("initRuntimeDone", _with_error(record, error_type), level=_level(status, "DEBUG"))


def init_report(
    *, kind: str, init_ms: float, status: str, error_type: str = "", is_logged: bool = True
) -> PlatformEvent:
    """In text logs it is there where nothing else tells of the initialisation."""
    record: dict[str, object] = {
        "initializationType": kind, "phase": "init", "status": status, "metrics": {"durationMs": round(init_ms, 3)},
    }  # fmt: skip
    text = f"INIT_REPORT Init Duration: {init_ms:.2f} ms\tPhase: init\tStatus: {status}"
    text += (f"\tError Type: {error_type}" if error_type else "") + "\n"
    level = _level(status, "INFO" if is_logged else "DEBUG")
    return PlatformEvent("initReport", _with_error(record, error_type), text if is_logged else "", level)


def restore_start(spec: FunctionSpec) -> PlatformEvent:
    version, arn = runtime_version(spec.runtime, spec.region)
    record: dict[str, object] = {
        "runtimeVersion": version, "runtimeVersionArn": arn,
        "functionName": spec.name, "functionVersion": spec.version,
    }  # fmt: skip
    text = f"RESTORE_START Runtime Version: {version}\tRuntime Version ARN: {arn}\n"
    return PlatformEvent("restoreStart", record, text)


def restore_report(*, restore_ms: float, status: str) -> PlatformEvent:
    record: dict[str, object] = {"status": status, "metrics": {"durationMs": round(restore_ms, 3)}}
    text = f"RESTORE_REPORT Restore Duration: {restore_ms:.2f} ms" + (
        "" if status == "success" else f"\tStatus: {status}"
    )
    return PlatformEvent("restoreReport", record, text + "\n", _level(status, "INFO"))


def extension_ready(name: str, events: Sequence[str]) -> PlatformEvent:
    text = f"EXTENSION\tName: {name}\tState: Ready\tEvents: [{', '.join(events)}]\n"
    return PlatformEvent("extension", {"name": name, "state": "Ready", "events": list(events)}, text)


def start(spec: FunctionSpec, request_id: str, trace_id: str) -> PlatformEvent:
    record: dict[str, object] = {"requestId": request_id, "version": spec.version}
    if trace_id:
        record["tracing"] = {"type": "X-Amzn-Trace-Id", "value": trace_id}
    return PlatformEvent("start", record, f"START RequestId: {request_id} Version: {spec.version}\n")


def runtime_done(report: Report, *, produced_bytes: int) -> PlatformEvent:
    status = "error" if report.status == "crash" else report.status
    record: dict[str, object] = {
        "requestId": report.request_id,
        "status": status,
        "metrics": {"durationMs": round(report.duration_ms, 3), "producedBytes": produced_bytes},
    }
    level = _level(status, "DEBUG")
    return PlatformEvent("runtimeDone", _with_error(record, report.error_type), level=level)


def report_event(spec: FunctionSpec, report: Report) -> PlatformEvent:
    """What an invocation took; in text logs END comes with it."""
    status = "error" if report.status == "crash" else report.status
    record: dict[str, object] = {
        "requestId": report.request_id, "metrics": _metrics(spec, report), "status": status,
    }  # fmt: skip
    error_type = report.error_type if status != "success" else ""
    text = f"END RequestId: {report.request_id}\n" + _report_text(spec, report)
    return PlatformEvent("report", _with_error(record, error_type), text, _level(status, "INFO"))


def _report_text(spec: FunctionSpec, report: Report) -> str:
    text = (
        f"REPORT RequestId: {report.request_id}\tDuration: {report.duration_ms:.2f} ms\t"
        f"Billed Duration: {report.billed_ms} ms\tMemory Size: {spec.memory_mb} MB\t"
        f"Max Memory Used: {report.max_memory_mb} MB\t"
    )
    if report.init_ms is not None:
        text += f"Init Duration: {report.init_ms:.2f} ms\t"
    if report.restore_ms is not None:
        hook_ms = math.ceil(report.hook_ms)
        text += f"Restore Duration: {report.restore_ms:.2f} ms\tBilled Restore Duration: {hook_ms} ms\t"
    if report.status == "timeout":
        text += "Status: timeout"
    elif report.status == "crash":
        text += f"Status: error\tError Type: {report.error_type}"
    return text + "\n"


def _metrics(spec: FunctionSpec, report: Report) -> dict[str, object]:
    metrics: dict[str, object] = {
        "durationMs": round(report.duration_ms, 3), "billedDurationMs": report.billed_ms,
        "memorySizeMB": spec.memory_mb, "maxMemoryUsedMB": report.max_memory_mb,
    }  # fmt: skip
    if report.init_ms is not None:
        metrics["initDurationMs"] = round(report.init_ms, 3)
    if report.restore_ms is not None:
        metrics["restoreDurationMs"] = round(report.restore_ms, 3)
        metrics["billedRestoreDurationMs"] = math.ceil(report.hook_ms)
    return metrics


def _level(status: str, level: Literal["DEBUG", "INFO"]) -> Literal["DEBUG", "INFO", "WARN"]:
    return level if status == "success" else "WARN"


def _with_error(record: dict[str, object], error_type: str) -> dict[str, object]:
    return record | ({"errorType": error_type} if error_type else {})


def timeout_text(timeout_s: int) -> str:
    return f"Task timed out after {timeout_s:.2f} seconds"


def platform_error(request_id: str, error_type: str, text: str) -> bytes:
    """The body for an error that the platform, not the runtime, reports."""
    body = {"errorType": error_type, "errorMessage": f"RequestId: {request_id} Error: {text}"}
    return json.dumps(body, separators=(",", ":")).encode()


def too_large_error() -> bytes:
    text = f"Response payload size exceeded maximum allowed payload size ({RESULT_BYTES_MAX} bytes)."
    body = {"errorType": "Function.ResponseSizeTooLarge", "errorMessage": text}
    return json.dumps(body, separators=(",", ":")).encode()


def exit_text(wait_status: int) -> str:
    """How a runtime ended, in AWS's words; `wait_status` is what waitpid gave."""
    number = wait_status & 0x7F
    if number:
        name = "killed" if number == signal.SIGKILL else signal.strsignal(number) or f"signal {number}"
        return f"Runtime exited with error: signal: {name.lower()}"
    if wait_status >> 8:
        return f"Runtime exited with error: exit status {wait_status >> 8}"
    return "Runtime exited without providing a reason"
