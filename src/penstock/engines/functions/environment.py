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
from typing import Protocol, cast

from penstock.engines.functions.lifecycle import Event, State, next_state
from penstock.engines.functions.output import TAIL_BYTES, Drain, FrameReader, LineReader
from penstock.engines.functions.ports import FunctionSpec, Invocation, LogLine, LogSink
from penstock.engines.functions.reports import RESULT_BYTES_MAX
from penstock.engines.sandbox import snapshots
from penstock.engines.sandbox.cgroups import Group
from penstock.kernel.clock import Clock

READY, RESULT, ERROR, INIT_ERROR, OVERSIZE, EXITED, RESTORE_ERROR = 0, 1, 2, 3, 4, 5, 6
FROM_RUNTIME = struct.Struct("!BI")
TO_RUNTIME = struct.Struct("!II")
FREEZE_AFTER_S = 0.02
MEMORY_WATCH_S = 0.01
TMP_DIR_MODE = 0o700


@dataclass(frozen=True, slots=True)
class Answer:
    """A frame from the runtime, or (kind EXITED) its wait status."""

    kind: int
    body: bytes = b""
    wait_status: int = 0


class Channel(Protocol):
    """How invocations reach a runtime; its answers come to whoever is attached."""

    def attach(self, on_answer: Callable[[Answer], None]) -> None: ...
    def send(self, header: dict[str, object], body: bytes) -> None: ...
    def close(self) -> None: ...


class RuntimePipe(asyncio.Protocol):
    """Parses frames; the bound on a frame is checked before its body is awaited."""

    def __init__(self) -> None:
        self._on_frame: Callable[[Answer], None] = lambda answer: None
        self._buffer = bytearray()
        self.transport: asyncio.Transport | None = None

    def attach(self, on_answer: Callable[[Answer], None]) -> None:
        self._on_frame = on_answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by descent

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= FROM_RUNTIME.size:
            kind, size = FROM_RUNTIME.unpack_from(self._buffer)
            if size > RESULT_BYTES_MAX:
                self._buffer.clear()
                self._on_frame(Answer(OVERSIZE))
                return
            end = FROM_RUNTIME.size + size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[FROM_RUNTIME.size : end])
            del self._buffer[:end]
            self._on_frame(Answer(kind, body))

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
        self.generation = 0
        self.group: Group | None = None
        self.memory_bytes_max = 0
        self.is_out_of_memory = False
        self._runtime_pid = 0
        self._watching: asyncio.TimerHandle | None = None
        self._clock = clock
        self._sink = sink
        self._child: snapshots.Child | None = None
        self.on_reset: Callable[[], None] = lambda: None
        self._channel: Channel | None = None
        self._drains: list[Drain] = []
        self._answer: asyncio.Future[Answer] | None = None
        self._freezing: asyncio.TimerHandle | None = None
        os.makedirs(tmp_dir, mode=TMP_DIR_MODE, exist_ok=True)

    def on(self, event: Event) -> None:
        self.state = next_state(self.state, event)

    async def start(
        self,
        template: snapshots.ForkServer,
        request: dict[str, object],
        *,
        channel: Channel | None = None,
        control: socket.socket | None = None,
    ) -> Answer:
        """Fork the process and wait until the function is initialised, has failed or has ended.

        channel   how its runtime is reached, if not over the pipe that every process gets
        control   the process's end, where it is to become a snapshot
        """
        self.on("start")
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        output_read, output_write = os.pipe()
        log_read, log_write = os.pipe()
        self._drains = [Drain(output_read, LineReader(), self.log), Drain(log_read, FrameReader(), self.log)]
        self._answer = loop.create_future()
        try:
            if channel is None:
                _, channel = await loop.create_connection(RuntimePipe, sock=ours)
            else:
                ours.close()
            channel.attach(self._on_answer)
            self._channel = channel
            own = [] if control is None else [control.fileno()]
            self._child = await template.fork(request, [theirs.fileno(), output_write, log_write, *own])
        except BaseException:
            self.reset()
            raise
        finally:
            theirs.close()
            os.close(output_write)
            os.close(log_write)
        child = self._child
        snapshots.on_end(child, lambda status: self._on_exit(child, status))
        for drain in self._drains:
            loop.add_reader(drain.fd, self._on_output, drain)
        answer = await self._wait()
        if answer.kind == READY:
            self.on("ready")
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
        }
        self._channel.send(header, invocation.payload)
        answer = await self._wait()
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
            drain.read()
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
        if child is not self._child:
            return
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(EXITED, wait_status=status))
        elif self.state in ("idle", "frozen"):
            self.reset()

    def _on_output(self, drain: Drain) -> None:
        drain.read()
        if not drain.is_open:
            asyncio.get_running_loop().remove_reader(drain.fd)

    def log(self, lines: list[str]) -> None:
        now_ms = self._clock.now_ms()
        self._sink.write(self.spec, self.stream, [LogLine(now_ms, line) for line in lines])
        text = "".join(line if line.endswith("\n") else line + "\n" for line in lines)
        self.tail = (self.tail + text[-TAIL_BYTES:].encode())[-TAIL_BYTES:]

    def _note_memory(self) -> None:
        if self._child is None:
            return
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{self._main_pid()}/status", "rb") as status:
            text = status.read()
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
            with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/task/{pid}/children") as children:
                self._runtime_pid = int((children.read().split() or [str(pid)])[0])
        return self._runtime_pid

    def rest(self, now_s: float) -> None:
        """Between invocations: soon frozen, so that background work stands still."""
        self.idle_since_s = now_s
        self._freezing = asyncio.get_running_loop().call_later(FREEZE_AFTER_S, self._freeze)

    def _freeze(self) -> None:
        self._freezing = None
        if self.state == "idle" and self._child is not None:
            snapshots.kill(self._child, signal.SIGSTOP)
            self.on("freeze")

    def thaw(self) -> None:
        if self._freezing is not None:
            self._freezing.cancel()
            self._freezing = None
        if self.state == "frozen":
            assert self._child is not None
            snapshots.kill(self._child, signal.SIGCONT)
            self.on("thaw")

    @property
    def is_initialised(self) -> bool:
        return self.state in ("idle", "frozen")

    def reset(self) -> None:
        """Kill the process and take its last output; /tmp stays."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if self._freezing is not None:
            self._freezing.cancel()
            self._freezing = None
        if self._child is not None:
            snapshots.kill(self._child, signal.SIGKILL)
            self._child = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None
            self.on_reset()
        for drain in self._drains:
            asyncio.get_running_loop().remove_reader(drain.fd)
            drain.finish()
            os.close(drain.fd)
        self._drains = []
        if self.state not in ("ended", "reset", "new"):
            self.on("fail")

    def end(self) -> None:
        """For good: /tmp goes too."""
        self.reset()
        self.on("end")
        shutil.rmtree(self.tmp_dir, ignore_errors=True)
