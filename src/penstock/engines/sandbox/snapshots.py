"""Templates: warm interpreters that fork an environment in milliseconds (the node's side of zygote.py)."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from penstock.engines.sandbox import namespaces, zygote
from penstock.kernel.errors import Unavailable

BASE_PACKAGES = ("json", "logging", "datetime", "decimal", "awslambdaric.bootstrap", "awslambdaric.lambda_literals")
MESSAGE_BYTES_MAX = zygote.MESSAGE_BYTES_MAX
START_S_MAX = 60.0
FORK_S_SLOW = 2.0
_CREDENTIALS = struct.Struct("3i")
"""struct ucred: process, user, group. Source: https://man7.org/linux/man-pages/man7/unix.7.html"""
SINGLE_THREADED = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(slots=True)
class Child:
    """A forked environment; `exited` holds its wait status once it has ended.

    gate   what is closed to let it go on, where it is held; -1: it isn't
    """

    pid: int
    exited: asyncio.Future[int]
    gate: int = -1

    def let_go_on(self) -> None:
        if self.gate >= 0:
            os.close(self.gate)
            self.gate = -1


@dataclass(slots=True, kw_only=True)
class ForkServer:
    """A process that forks environments on request.

    used_s     when it last forked, on the machine's monotonic clock
    """

    control: socket.socket
    used_s: float = 0.0
    _children: dict[int, Child] = field(default_factory=dict)
    _spawning: dict[int, asyncio.Future[Child]] = field(default_factory=dict)
    _next_id: int = 0
    _sending: asyncio.Lock = field(default_factory=asyncio.Lock)
    _room: asyncio.Future[None] | None = None

    async def fork(self, request: Mapping[str, object], fds: Sequence[int]) -> Child:
        """A new environment over the descriptors (pipe, output, log, and what it needs more). Raises Unavailable."""
        self._next_id += 1
        number = self._next_id
        spawned: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._spawning[number] = spawned
        message = json.dumps({**request, "id": number}).encode()
        if len(message) > MESSAGE_BYTES_MAX:
            self._spawning.pop(number)
            raise Unavailable(f"an environment's settings are larger than {MESSAGE_BYTES_MAX} bytes")
        try:
            async with self._sending:
                await self._send(message, fds)
        except OSError as failure:
            self._spawning.pop(number, None)
            self.on_gone()
            raise Unavailable(f"the template can't be reached: {failure}") from failure
        return await spawned

    async def _send(self, message: bytes, fds: Sequence[int]) -> None:
        """Wait where it has more requests than it can take for now."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                socket.send_fds(self.control, [message], list(fds))
                return
            except BlockingIOError:
                self._room = loop.create_future()
                loop.add_writer(self.control.fileno(), self._on_room)
                await self._room

    def _on_room(self) -> None:
        asyncio.get_running_loop().remove_writer(self.control.fileno())
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def listen(self) -> None:
        """Take its messages; the kernel says which process sent one."""
        self.control.setblocking(False)
        self.control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        asyncio.get_running_loop().add_reader(self.control.fileno(), self.on_readable)

    def on_readable(self) -> None:
        try:
            message, ancillary, _, _ = self.control.recvmsg(MESSAGE_BYTES_MAX, socket.CMSG_SPACE(_CREDENTIALS.size))
        except BlockingIOError:
            return
        except OSError:
            message, ancillary = b"", []
        try:
            answer = json.loads(message) if message else None
            if answer is not None:
                self._on_message(answer, _sender(ancillary))
                return
        except (ValueError, TypeError, KeyError):  # what a function wrote there itself
            pass
        self.on_gone()

    def _on_message(self, answer: dict[str, int | str], sender: int) -> None:
        if "spawned" in answer:
            number = int(answer["spawned"])
            waiter = self._spawning.pop(number)
            pid = self._pid_of(answer, sender)
            if pid == 0:
                waiter.set_exception(Unavailable(f"no environment: {answer.get('error')}"))
                return
            child = self._children[number] = Child(pid, asyncio.get_running_loop().create_future())
            if not waiter.done():
                waiter.set_result(child)
        elif (ended := self._children.pop(int(answer["exited"]), None)) is not None and not ended.exited.done():
            ended.exited.set_result(int(answer["status"]))
        elif (lost := self._spawning.pop(int(answer["exited"]), None)) is not None and not lost.done():
            lost.set_exception(Unavailable("an environment ended before it began"))

    def _pid_of(self, answer: dict[str, int | str], sender: int) -> int:
        """Of the environment that an answer tells of; 0: there is none."""
        return int(answer.get("pid", sender))

    def on_gone(self) -> None:
        if self.control.fileno() < 0:
            return
        asyncio.get_running_loop().remove_reader(self.control.fileno())
        self._on_room()
        for waiter in self._spawning.values():
            if not waiter.done():
                waiter.set_exception(Unavailable("the template ended"))
        self._spawning.clear()
        for child in self._children.values():
            if not child.exited.done():
                child.exited.set_result(9)
        self._children.clear()

    @property
    def children(self) -> int:
        """Environments that came from it and live, or are on the way."""
        return len(self._children) + len(self._spawning)


def _sender(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    for _, kind, data in ancillary:
        if kind == socket.SCM_CREDENTIALS:
            return int(_CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0])
    return 0


@dataclass(slots=True, kw_only=True)
class FunctionSnapshot(ForkServer):
    """A function that has initialised itself and waits to be forked (zygote.py's Snapshot).

    shared_mb   memory that its forks share with it
    """

    shared_mb: int = 0
    is_alive: bool = True

    async def fork(self, request: Mapping[str, object], fds: Sequence[int]) -> Child:
        """The child waits at a gate until it's in its control groups: it has no right to join them itself.

        Where the request says `is_held` it waits there again, all but ready, until `Child.let_go_on`.
        """
        gate, opener = os.pipe()
        try:
            child = await ForkServer.fork(self, request, [*fds, gate])
            with contextlib.suppress(OSError):  # it may have ended already
                namespaces.join_cgroups(cast(list[str], request["cgroup_files"]), child.pid)
            if request.get("is_held"):
                os.write(opener, b"1")
                child.gate, opener = opener, -1
            return child
        finally:
            os.close(gate)
            if opener >= 0:
                os.close(opener)

    def _pid_of(self, answer: dict[str, int | str], sender: int) -> int:
        """As the kernel says, whatever the function does: what it names would be signalled and put into groups."""
        return 0 if "error" in answer else sender

    def on_gone(self) -> None:
        self.is_alive = False
        ForkServer.on_gone(self)

    def close(self) -> None:
        """Its environment ends it; here what waits for it is told."""
        self.on_gone()
        if self.control.fileno() >= 0:
            self.control.close()


@dataclass(slots=True, kw_only=True)
class Template(ForkServer):
    """A running template process.

    key        what it has loaded: packages and the folders they come from
    """

    key: str
    process: asyncio.subprocess.Process
    loaded: list[str] = field(default_factory=list)
    is_gone: bool = False

    async def fork(self, request: Mapping[str, object], fds: Sequence[int]) -> Child:
        """Where functions run as its user, one may have stopped it: it is woken if it takes long."""
        waking = asyncio.get_running_loop().call_later(FORK_S_SLOW, self._wake)
        try:
            return await ForkServer.fork(self, request, fds)
        finally:
            waking.cancel()

    def _wake(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)

    def on_gone(self) -> None:
        self.is_gone = True
        ForkServer.on_gone(self)

    @property
    def resident_mb(self) -> int:
        """Memory that its forks share with it."""
        try:
            with open(f"/proc/{self.process.pid}/statm") as statm:
                return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
        except (OSError, IndexError, ValueError):
            return 0

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None and not self.is_gone

    async def close(self) -> None:
        """End it and every environment that came from it."""
        if self.control.fileno() >= 0:
            self.on_gone()
            self.control.close()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


async def start_template(
    key: str,
    *,
    runtime_file: str,
    interpreter: str,
    sys_path: Sequence[str],
    packages: Sequence[str],
    root: Mapping[str, object] | None,
) -> Template:
    """Start an interpreter and import `packages` in it; its forks run `runtime_file`. Raises Unavailable.

    root   what it sees of the machine (places.root_mounts); None: everything
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    config = {
        "runtime_file": runtime_file,
        "sandbox_file": namespaces.__file__,
        "sys_path": list(sys_path),
        "root": root,
        "preload": [*BASE_PACKAGES, *packages],
    }
    environment = {"LANG": "en_US.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin", **SINGLE_THREADED}
    command = [
        interpreter or sys.executable,
        "-I",
        "-S",
        "-X",
        "utf8",
        zygote.__file__,
        json.dumps(config),
        str(theirs.fileno()),
    ]
    with theirs:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            env=environment, pass_fds=(theirs.fileno(),), start_new_session=True,
        )  # fmt: skip
    template = Template(key=key, process=process, control=ours)
    ours.setblocking(False)
    try:
        async with asyncio.timeout(START_S_MAX):
            message = await asyncio.get_running_loop().sock_recv(ours, MESSAGE_BYTES_MAX)
    except TimeoutError:
        message = b""
    if not message:
        await template.close()
        raise Unavailable("a function template did not start")
    template.loaded = json.loads(message)["ready"]
    template.listen()
    return template


def on_end(child: Child, callback: Callable[[int], None]) -> None:
    """Call with the wait status once the environment has ended."""
    child.exited.add_done_callback(lambda future: None if future.cancelled() else callback(future.result()))


def has_group(child: Child) -> bool:
    """Whether processes of its group are left."""
    try:
        os.killpg(child.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def kill(child: Child, signal_number: int, *, is_group: bool = False) -> None:
    """Signal the environment's process group; nothing happens where it has ended.

    is_group   others of its group may live on after it
    """
    if child.exited.done() and not is_group:
        return
    try:
        os.killpg(child.pid, signal_number)
    except ProcessLookupError:  # it has no group of its own yet, or it has just ended
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal_number)
