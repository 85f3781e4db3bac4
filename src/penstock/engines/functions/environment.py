"""One execution environment on the node's side: its pipe, its output, its freezing and its end."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

from penstock.engines.functions import reports
from penstock.engines.functions.extensions import RUNTIME_SHUTDOWN_S, Extensions
from penstock.engines.functions.lifecycle import Event, State, next_state
from penstock.engines.functions.output import RUNTIME_ENDED, TAIL_BYTES, Drain, FrameReader, LineReader
from penstock.engines.functions.ports import FunctionSpec, Invocation, LogLine, LogSink, ResponseStream
from penstock.engines.functions.reports import RESULT_BYTES_MAX
from penstock.engines.functions.telemetry import Telemetry
from penstock.engines.sandbox import snapshots
from penstock.engines.sandbox.cgroups import Group
from penstock.kernel.clock import Clock

READY, RESULT, ERROR, INIT_ERROR, OVERSIZE, EXITED, RESTORE_ERROR, EXTENSION_FAILED = 0, 1, 2, 3, 4, 5, 6, 7
_TOLD_BY_RUNTIMES = frozenset({READY, RESULT, ERROR, INIT_ERROR, OVERSIZE, RESTORE_ERROR})
FROM_RUNTIME = struct.Struct("!BI")
TO_RUNTIME = struct.Struct("!II")
FREEZE_AFTER_S = 0.02
STATUS_BYTES = 4096
MEMORY_WATCH_S = 0.01
TMP_DIR_MODE = 0o700
UNTOLD_MAX = 8
ENDED_WATCH_S = 0.02


@dataclass(frozen=True, slots=True)
class Answer:
    """A frame from the runtime, or (kind EXITED) its wait status."""

    kind: int
    body: bytes = b""
    wait_status: int = 0
    stream_error: tuple[str, str] | None = None
    streamed_bytes: int = 0


class Channel(Protocol):
    """How invocations reach a runtime; its answers come to whoever is attached, streamed ones to `stream`."""

    stream: ResponseStream | None

    def attach(self, on_answer: Callable[[Answer], None]) -> None: ...
    def send(self, header: dict[str, object], body: bytes) -> None: ...
    def close(self) -> None: ...


class RuntimePipe(asyncio.Protocol):
    """Parses frames; the bound on a frame is checked before its body is awaited."""

    def __init__(self) -> None:
        self._on_frame: Callable[[Answer], None] = lambda answer: None
        self._buffer = bytearray()
        self.stream: ResponseStream | None = None
        self.transport: asyncio.Transport | None = None

    def attach(self, on_answer: Callable[[Answer], None]) -> None:
        self._on_frame = on_answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by descent

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= FROM_RUNTIME.size:
            kind, size = FROM_RUNTIME.unpack_from(self._buffer)
            if size > RESULT_BYTES_MAX or kind not in _TOLD_BY_RUNTIMES:
                self._on_nonsense()
                return
            end = FROM_RUNTIME.size + size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[FROM_RUNTIME.size : end])
            del self._buffer[:end]
            self._on_frame(Answer(kind, body))

    def _on_nonsense(self) -> None:
        """The function wrote here itself: what follows can't be told apart, so it is over, as if it had ended."""
        self._buffer.clear()
        self.close()
        self._on_frame(Answer(EXITED))

    def send(self, header: dict[str, object], body: bytes) -> None:
        assert self.transport is not None
        head = json.dumps(header).encode()
        self.transport.write(TO_RUNTIME.pack(len(head), len(body)) + head + body)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class Environment:
    """Runs one invocation at a time. /tmp and the log stream outlive a reset; the process doesn't."""

    def __init__(self, spec: FunctionSpec, *, stream: str, tmp_dir: str, clock: Clock, sink: LogSink) -> None:
        self.spec = spec
        self.stream = stream
        self.tmp_dir = tmp_dir
        self.state: State = "new"
        self.credentials_expire_ms = 0
        self.idle_since_s = 0.0
        self.max_memory_mb = 0
        self.has_started = False
        self.tail = b""
        self.is_retired = False
        self.group: Group | None = None
        self.memory_bytes_max = 0
        self.is_out_of_memory = False
        self._status_fd = -1
        self._runtime_pid = 0
        self._stopped: list[int] = []
        self._watching: asyncio.TimerHandle | None = None
        self._clock = clock
        self._sink = sink
        self._child: snapshots.Child | None = None
        self.on_reset: Callable[[], None] = lambda: None
        self._channel: Channel | None = None
        self._drains: list[Drain] = []
        self.extensions: Extensions | None = None
        self.telemetry: Telemetry | None = None
        self._exit_status: int | None = None
        self._is_ending = False
        self._untold: list[reports.PlatformEvent] = []
        self._ended = asyncio.Event()
        self._answer: asyncio.Future[Answer] | None = None
        self._freezing: asyncio.TimerHandle | None = None
        os.makedirs(tmp_dir, mode=TMP_DIR_MODE, exist_ok=True)

    def on(self, event: Event) -> None:
        self.state = next_state(self.state, event)

    async def spawn(
        self,
        template: snapshots.ForkServer,
        request: dict[str, object],
        *,
        channel: Channel | None = None,
        control: socket.socket | None = None,
        extensions: Extensions | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        """Fork the process; `initialised` is to follow.

        channel   how its runtime is reached, if not over the pipe that every process gets
        control   the process's end, where it is to become a snapshot
        """
        self.on("start")
        self.extensions, self.telemetry, self._exit_status = extensions, telemetry, None
        untold, self._untold = self._untold, []
        if telemetry is not None:
            for event in untold:
                telemetry.publish(f"platform.{event.kind}", event.record)
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        output_read, output_write = os.pipe()
        log_read, log_write = os.pipe()
        self._drains = [
            Drain(output_read, LineReader(), self.log),
            Drain(log_read, FrameReader(self._on_ended), self.log),
        ]
        own = [] if control is None else [control.fileno()]
        if extensions is not None and extensions.external:
            extension_read, extension_write = os.pipe()
            self._drains.append(Drain(extension_read, LineReader(), self._log_extension))
            own = [extension_write]
        self._answer = loop.create_future()
        try:
            if channel is None:
                _, channel = await loop.create_connection(RuntimePipe, sock=ours)
            else:
                ours.close()
            channel.attach(self._on_answer)
            self._channel = channel
            self._child = await template.fork(request, [theirs.fileno(), output_write, log_write, *own])
        except BaseException:
            self.reset()
            raise
        finally:
            theirs.close()
            os.close(output_write)
            os.close(log_write)
            if control is None and own:
                os.close(own[0])
        child = self._child
        snapshots.on_end(child, lambda status: self._on_exit(child, status))
        for drain in self._drains:
            loop.add_reader(drain.fd, self._on_output, drain)

    async def initialised(self) -> Answer:
        """Wait until what was spawned is ready, has failed or has ended. What was held goes on now."""
        extensions, telemetry = self.extensions, self.telemetry
        if self._child is not None:
            self._child.let_go_on()
        answer = await self._wait()
        if answer.kind == READY and extensions is not None:
            await extensions.ready()
            answer = self._failed(answer)
        if answer.kind == READY:
            self.on("ready")
            for extension in extensions.registered() if extensions is not None else ():
                self.emit(reports.extension_ready(extension.name, sorted(extension.events)))
            if telemetry is not None:
                telemetry.end_initialisation()
        return answer

    def _failed(self, answer: Answer) -> Answer:
        """What has happened since the runtime answered, if that ends the environment."""
        if self._exit_status is not None:
            return Answer(EXITED, wait_status=self._exit_status)
        if self.extensions is not None and self.extensions.failure is not None:
            error_type, text = self.extensions.failure
            return Answer(EXTENSION_FAILED, json.dumps({"errorType": error_type, "errorMessage": text}).encode())
        return answer

    async def invoke(self, invocation: Invocation, *, deadline_ms: int) -> Answer:
        """Hand over one event and wait for its answer. Whoever waits bounds the time."""
        self.thaw()
        self.on("invoke")
        assert self._channel is not None
        self._answer = asyncio.get_running_loop().create_future()
        header: dict[str, object] = {
            "request_id": invocation.request_id,
            "arn": invocation.invoked_arn,
            "deadline_ms": deadline_ms,
            "trace_id": invocation.trace_id or None,
            "client_context": invocation.client_context or None,
            "tenant_id": invocation.tenant_id or None,
        }
        if self.extensions is not None:
            self.extensions.invoke(header)
        self._channel.stream = invocation.stream
        self._channel.send(header, invocation.payload)
        answer = await self._wait()
        if answer.kind in (RESULT, ERROR, OVERSIZE):
            if self.extensions is not None:
                await self.extensions.settled()
                answer = self._failed(answer)
            if answer.kind in (RESULT, ERROR, OVERSIZE):
                self.on("done")
        return answer

    async def _wait(self) -> Answer:
        assert self._answer is not None
        self._watch_memory()
        try:
            answer = await self._answer
        finally:
            self._answer = None
            if self._watching is not None:
                self._watching.cancel()
                self._watching = None
        for drain in self._drains:  # what was written before the answer belongs before END
            drain.read_all()
        self._note_memory()
        return answer

    def _watch_memory(self) -> None:
        if self.group is not None:
            self._watching = asyncio.get_running_loop().call_later(MEMORY_WATCH_S, self._check_memory)

    def _check_memory(self) -> None:
        """The kernel bounds memory and /tmp together; memory alone is bounded here."""
        if self.group is None:
            return
        if self.group.memory_bytes() > self.memory_bytes_max:
            self.is_out_of_memory = True
            if self._child is not None:
                snapshots.kill(self._child, signal.SIGKILL)
        self._watch_memory()

    def _on_answer(self, answer: Answer) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def _on_exit(self, child: snapshots.Child, status: int) -> None:
        if child is self._child:
            self._on_runtime_exit(status)
            self._ended.set()
            if self.state in ("idle", "frozen") and not self._is_ending:
                self.reset()

    def _on_runtime_exit(self, status: int) -> None:
        if self._exit_status is not None:
            return
        self._exit_status = status
        if self.extensions is not None:
            self.extensions.abort("Runtime.ExitError", "")
        self._on_answer(Answer(EXITED, wait_status=status))

    def _on_ended(self, kind: int, told: dict[str, Any]) -> None:
        """A process of it has ended while others of it go on (zygote.py)."""
        status = told.get("status", 0)
        if self.extensions is None or not self.extensions.external or not isinstance(status, int) or status >> 16:
            return  # the function wrote it itself
        if kind == RUNTIME_ENDED:
            self._on_runtime_exit(status)
        elif self.extensions is not None and not self._is_ending:
            text = str(told.get("error") or f"exit status {os.waitstatus_to_exitcode(status)}")
            self.extensions.abort("Extension.Crash", text)
            self._on_answer(self._failed(Answer(EXTENSION_FAILED)))
        self._ended.set()

    def _on_output(self, drain: Drain) -> None:
        drain.read()
        if not drain.is_open:
            asyncio.get_running_loop().remove_reader(drain.fd)

    def log(self, lines: list[str]) -> None:
        """What the function wrote."""
        self._write(lines)
        if self.telemetry is not None and self.telemetry.is_heard:
            for line in lines:
                self.telemetry.publish("function", self._as_record(line))

    def _log_extension(self, lines: list[str]) -> None:
        self._write(lines)
        if self.telemetry is not None:
            for line in lines:
                self.telemetry.publish("extension", self._as_record(line))

    def _as_record(self, line: str) -> object:
        """In JSON log format what is JSON is told as it is."""
        if self.spec.log_format == "JSON":
            with contextlib.suppress(ValueError):
                return json.loads(line)
        return line

    def emit(self, *events: reports.PlatformEvent) -> None:
        """Log and tell what the platform has to say."""
        time = reports.iso(self._clock.now_ms())
        lines = [line for event in events for line in event.line(self.spec, time).splitlines(keepends=True)]
        if lines:
            self._write(lines)
        if self.telemetry is None:
            self._untold = [*self._untold, *events][-UNTOLD_MAX:]
            return
        for event in events:
            self.telemetry.publish(f"platform.{event.kind}", event.record)

    def _write(self, lines: list[str]) -> None:
        now_ms = self._clock.now_ms()
        self._sink.write(self.spec, self.stream, [LogLine(now_ms, line) for line in lines])
        text = "".join(line if line.endswith("\n") else line + "\n" for line in lines[-TAIL_BYTES:])
        self.tail = (self.tail + text[-TAIL_BYTES:].encode())[-TAIL_BYTES:]

    def _note_memory(self) -> None:
        if self._child is None:
            return
        with contextlib.suppress(OSError, ValueError):
            if self._status_fd < 0:
                self._status_fd = os.open(f"/proc/{self._main_pid()}/status", os.O_RDONLY | os.O_CLOEXEC)
            text = os.pread(self._status_fd, STATUS_BYTES, 0)
            at = text.find(b"VmHWM:")
            if at >= 0:
                self.max_memory_mb = max(self.max_memory_mb, int(text[at + 6 : at + 24].split()[0]) // 1024)

    @property
    def resident_mb(self) -> int:
        """What its runtime's process holds in memory now."""
        with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{self._main_pid()}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
        return 0

    def _main_pid(self) -> int:
        """The runtime's process: in a sandbox the first child of the one that was forked."""
        assert self._child is not None
        if self._runtime_pid == 0:
            pid = self._runtime_pid = self._child.pid
            before = len(self.extensions.external) if self.extensions is not None else 0
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{pid}/task/{pid}/children") as children:
                    self._runtime_pid = int(children.read().split()[before])
        return self._runtime_pid

    def rest(self, now_s: float) -> None:
        """Between invocations: soon frozen, so that background work stands still."""
        self.idle_since_s = now_s
        self._freezing = asyncio.get_running_loop().call_later(FREEZE_AFTER_S, self._freeze)

    def _freeze(self) -> None:
        self._freezing = None
        if self.state == "idle" and self._child is not None:
            snapshots.kill(self._child, signal.SIGSTOP)
            self._stopped = self._outside_group(self._child.pid)
            _signal(self._stopped, signal.SIGSTOP)
            self.on("freeze")
            if self.telemetry is not None:
                self.telemetry.freeze()

    def thaw(self) -> None:
        if self._freezing is not None:
            self._freezing.cancel()
            self._freezing = None
        if self.state == "frozen":
            assert self._child is not None
            snapshots.kill(self._child, signal.SIGCONT)
            _signal(self._stopped, signal.SIGCONT)
            self.on("thaw")
            if self.telemetry is not None:
                self.telemetry.thaw()

    def _outside_group(self, process_group: int) -> list[int]:
        """Its processes that have left its process group: daemons."""
        found = []
        for pid in self.group.processes() if self.group is not None else ():
            with contextlib.suppress(ProcessLookupError):
                if os.getpgid(pid) != process_group:
                    found.append(pid)
        return found

    @property
    def is_held(self) -> bool:
        """Whether it was forked ahead from a snapshot, and waits to be let on."""
        return self._child is not None and self._child.gate >= 0 and self._exit_status is None

    @property
    def is_initialised(self) -> bool:
        return self.state in ("idle", "frozen")

    @property
    def shutdown_s(self) -> float:
        """How long it may take to end: nothing where it has no extensions."""
        return self.extensions.shutdown_s if self.extensions is not None and self._child is not None else 0.0

    async def shut_down(self, reason: Literal["spindown", "timeout", "failure"]) -> None:
        """Let its runtime and its extensions end by themselves, as long as they may; `reset` or `end` is to follow.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html#runtimes-lifecycle-shutdown
        """
        if self.extensions is None or self._child is None or not self.shutdown_s:
            return
        self.thaw()
        self._is_ending = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.shutdown_s
        if self._exit_status is None:
            is_kind = reason == "spindown"
            with contextlib.suppress(OSError):
                os.kill(self._main_pid(), signal.SIGTERM if is_kind else signal.SIGKILL)
            await self._until_ended(min(deadline, loop.time() + RUNTIME_SHUTDOWN_S), runtime_only=True)
        if self.extensions.external:
            if self.telemetry is not None:
                await self.telemetry.drain()
            deadline_ms = self._clock.now_ms() + int((deadline - loop.time()) * 1000)
            self.extensions.shut_down(reason, deadline_ms)
            await self._until_ended(deadline, runtime_only=False)

    async def _until_ended(self, deadline: float, *, runtime_only: bool) -> None:
        """Until its runtime, or all of it, has ended."""
        try:
            async with asyncio.timeout_at(deadline):
                while (self._exit_status is None) if runtime_only else not self._has_ended():
                    self._ended.clear()
                    with contextlib.suppress(TimeoutError):  # what is no child of ours ends without a word
                        async with asyncio.timeout(ENDED_WATCH_S):
                            await self._ended.wait()
        except TimeoutError:
            pass

    def _has_ended(self) -> bool:
        """Whether no process of it is left."""
        return self._child is None or (self._child.exited.done() and not snapshots.has_group(self._child))

    def reset(self) -> None:
        """Kill the process and take its last output; /tmp stays."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if self._freezing is not None:
            self._freezing.cancel()
            self._freezing = None
        if self._child is not None:
            has_others = self.extensions is not None and bool(self.extensions.external)
            snapshots.kill(self._child, signal.SIGKILL, is_group=has_others)
            self._child.let_go_on()
            self._child = None
            if self.group is not None:
                self.group.kill()
        if self._channel is not None:
            self._channel.close()
            self._channel = None
            self.on_reset()
        for drain in self._drains:
            asyncio.get_running_loop().remove_reader(drain.fd)
            drain.finish()
            os.close(drain.fd)
        self._drains = []
        if self.extensions is not None:
            self.extensions.close()
        if self.telemetry is not None:
            self.telemetry.close()
        self.extensions = self.telemetry = None
        self._is_ending = False
        self._runtime_pid = 0
        if self._status_fd >= 0:
            os.close(self._status_fd)
            self._status_fd = -1
        if self.state not in ("ended", "reset", "new"):
            self.on("fail")

    def end(self) -> None:
        """For good: /tmp goes too."""
        self.reset()
        self.on("end")
        shutil.rmtree(self.tmp_dir, ignore_errors=True)


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
