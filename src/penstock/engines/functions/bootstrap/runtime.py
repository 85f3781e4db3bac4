"""The runtime inside an environment: AWS's own `awslambdaric` over a pipe instead of HTTP.

Self-contained: the function's interpreter loads this file by its path, and penstock need not be importable.
Frames to the node: type (1 byte), length (4), body. Frames from it: header length (4), body length (4),
header (JSON), body. The node ends the process by closing the pipe.
"""

import importlib
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

READY, RESULT, ERROR, INIT_ERROR, OVERSIZE, RESTORE_ERROR = 0, 1, 2, 3, 4, 6
TO_NODE = struct.Struct("!BI")
FROM_NODE = struct.Struct("!II")
RESULT_BYTES_MAX = 6_291_556


class Pipe:
    """Whole frames over a stream socket, blocking."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = connection.makefile("rb")

    def send(self, kind: int, body: bytes) -> None:
        head = TO_NODE.pack(kind, len(body))
        if len(body) < 65536:
            self._connection.sendall(head + body)
        else:
            self._connection.sendall(head)
            self._connection.sendall(body)

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """The next invocation; ends the process when the node has gone."""
        head = self._reader.read(FROM_NODE.size)
        if len(head) < FROM_NODE.size:
            os._exit(0)
        header_bytes, body_bytes = FROM_NODE.unpack(head)
        return json.loads(self._reader.read(header_bytes)), self._reader.read(body_bytes)


def client_over(
    pipe: Pipe, suspend: Callable[[], object] | None = None, learned: Callable[[], bytes] | None = None
) -> Any:
    """AWS's runtime client with its HTTP calls replaced by frames; marshalling and errors stay AWS's.

    suspend   for SnapStart: returns in each environment that is restored from this one
    learned   what the initialisation has imported, to be told with its end
    """
    module = importlib.import_module("awslambdaric.lambda_runtime_client")

    class PipeRuntimeClient(module.BaseLambdaRuntimeClient):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__("pipe")
            self._is_ready = False
            self._restored_s = 0.0

        def wait_next_invocation(self) -> Any:
            if not self._is_ready:
                self._is_ready = True
                pipe.send(READY, self._told())
            header, body = pipe.receive()
            return module.InvocationRequest(
                invoke_id=header["request_id"],
                x_amzn_trace_id=header.get("trace_id"),
                invoked_function_arn=header["arn"],
                deadline_time_in_ms=header["deadline_ms"],
                client_context=header.get("client_context"),
                cognito_identity=None,
                tenant_id=header.get("tenant_id"),
                content_type="application/json",
                event_body=body,
                invocation_id=None,
            )

        def _told(self) -> bytes:
            if self._restored_s:
                return b"%.3f" % ((time.perf_counter() - self._restored_s) * 1000)
            return learned() if learned is not None else b""

        def post_invocation_result(
            self, invoke_id: str, result_data: Any, content_type: str = "", invocation_id: Any = None
        ) -> None:
            data = result_data if isinstance(result_data, bytes) else result_data.encode()
            if len(data) > RESULT_BYTES_MAX:
                pipe.send(OVERSIZE, b"")
            else:
                pipe.send(RESULT, data)

        def post_invocation_error(
            self, invoke_id: str, error_response_data: str, xray_fault: str, invocation_id: Any = None
        ) -> None:
            pipe.send(ERROR, error_response_data.encode())

        def restore_next(self) -> None:
            pipe.send(READY, b"")
            assert suspend is not None
            suspend()
            self._restored_s = time.perf_counter()

        def report_restore_error(self, restore_error_data: Any) -> None:
            pipe.send(RESTORE_ERROR, json.dumps(restore_error_data).encode())

        def post_init_error(self, error_response_data: Any, error_type_override: str | None = None) -> None:
            pipe.send(INIT_ERROR, json.dumps(error_response_data).encode())

    return PipeRuntimeClient()


def serve(
    connection: socket.socket,
    *,
    handler: str,
    log_format: str,
    suspend: Callable[[], object] | None = None,
    learn_from: Sequence[str] = (),
) -> None:
    """Initialise the function and answer invocations until the pipe closes.

    learn_from   folders of which to tell what was imported; the first is the function's own code
    """
    before = set(sys.modules)
    bootstrap = importlib.import_module("awslambdaric.bootstrap")
    if log_format == "JSON" or "AWS_LAMBDA_LOG_LEVEL" in os.environ:
        bootstrap = importlib.reload(bootstrap)  # it reads its log format when it's imported
    sys.dont_write_bytecode = True
    learned = (lambda: _imported(before, learn_from)) if learn_from else None
    bootstrap.run(handler, client_over(Pipe(connection), suspend, learned))


def _imported(before: set[str], folders: Sequence[str]) -> bytes:
    """[name, whether it's the function's own] of each module from `folders`, in the order of their import."""
    places = [folder.rstrip("/") + "/" for folder in folders]
    found = []
    for name, module in list(sys.modules.items()):
        origin = getattr(getattr(module, "__spec__", None), "origin", None)
        if name in before or not isinstance(origin, str):
            continue
        place = next((place for place in places if origin.startswith(place)), None)
        if place is not None:
            found.append([name, place == places[0]])
    return json.dumps(found).encode()
