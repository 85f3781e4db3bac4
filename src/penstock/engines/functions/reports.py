"""What Lambda writes around an invocation, and what it answers when the runtime couldn't. Pure.

Source: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html
"""

import hashlib
import json
import math
import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from penstock.engines.functions.ports import FunctionSpec

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


def system_line(spec: FunctionSpec, now_ms: int, kind: str, record: dict[str, object]) -> str:
    """A platform event in JSON log format."""
    time = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": time, "type": f"platform.{kind}", "record": record}, separators=(",", ":"))


def init_start_line(spec: FunctionSpec, now_ms: int, *, kind: str = "on-demand") -> str:
    version, arn = _runtime_version(spec)
    if spec.log_format == "JSON":
        record: dict[str, object] = {
            "initializationType": kind, "phase": "init", "runtimeVersion": version, "runtimeVersionArn": arn,
            "functionName": spec.name, "functionVersion": spec.version,
        }  # fmt: skip
        return system_line(spec, now_ms, "initStart", record)
    return f"INIT_START Runtime Version: {version}\tRuntime Version ARN: {arn}\n"


def restore_start_line(spec: FunctionSpec, now_ms: int) -> str:
    version, arn = _runtime_version(spec)
    if spec.log_format == "JSON":
        record: dict[str, object] = {
            "runtimeVersion": version, "runtimeVersionArn": arn,
            "functionName": spec.name, "functionVersion": spec.version,
        }  # fmt: skip
        return system_line(spec, now_ms, "restoreStart", record)
    return f"RESTORE_START Runtime Version: {version}\tRuntime Version ARN: {arn}\n"


def restore_report_line(spec: FunctionSpec, now_ms: int, *, restore_ms: float, status: str) -> str:
    if spec.log_format == "JSON":
        record: dict[str, object] = {"status": status, "metrics": {"durationMs": round(restore_ms, 3)}}
        return system_line(spec, now_ms, "restoreReport", record)
    text = f"RESTORE_REPORT Restore Duration: {restore_ms:.2f} ms"
    return text + ("" if status == "success" else f"\tStatus: {status}") + "\n"


def _runtime_version(spec: FunctionSpec) -> tuple[str, str]:
    version = f"{spec.runtime.replace('python', 'python:', 1)}.v1"
    return version, f"arn:aws:lambda:{spec.region}::runtime:{hashlib.sha256(version.encode()).hexdigest()}"


def init_report_line(
    spec: FunctionSpec,
    now_ms: int,
    *,
    init_ms: float,
    status: str,
    error_type: str = "",
    kind: str = "on-demand",
) -> str:
    if spec.log_format == "JSON":
        record: dict[str, object] = {
            "initializationType": kind, "phase": "init", "status": status,
            "metrics": {"durationMs": round(init_ms, 3)},
        }  # fmt: skip
        return system_line(spec, now_ms, "initReport", record | ({"errorType": error_type} if error_type else {}))
    text = f"INIT_REPORT Init Duration: {init_ms:.2f} ms\tPhase: init\tStatus: {status}"
    return text + (f"\tError Type: {error_type}" if error_type else "") + "\n"


def start_line(spec: FunctionSpec, now_ms: int, request_id: str) -> str:
    if spec.log_format == "JSON":
        return system_line(spec, now_ms, "start", {"requestId": request_id, "version": spec.version})
    return f"START RequestId: {request_id} Version: {spec.version}\n"


def end_lines(spec: FunctionSpec, now_ms: int, report: Report) -> list[str]:
    if spec.log_format == "JSON":
        return [_report_json(spec, now_ms, report)]
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
    return [f"END RequestId: {report.request_id}\n", text + "\n"]


def _report_json(spec: FunctionSpec, now_ms: int, report: Report) -> str:
    metrics: dict[str, object] = {
        "durationMs": round(report.duration_ms, 3), "billedDurationMs": report.billed_ms,
        "memorySizeMB": spec.memory_mb, "maxMemoryUsedMB": report.max_memory_mb,
    }  # fmt: skip
    if report.init_ms is not None:
        metrics["initDurationMs"] = round(report.init_ms, 3)
    if report.restore_ms is not None:
        metrics["restoreDurationMs"] = round(report.restore_ms, 3)
        metrics["billedRestoreDurationMs"] = math.ceil(report.hook_ms)
    status = "error" if report.status == "crash" else report.status
    record: dict[str, object] = {"requestId": report.request_id, "metrics": metrics, "status": status}
    if report.error_type and status != "success":
        record["errorType"] = report.error_type
    return system_line(spec, now_ms, "report", record)


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
