"""A template process: it imports packages once, then forks an environment whenever it's asked.

Self-contained: `python -I -S zygote.py CONFIG FD`, with the control socket (SEQPACKET) as FD. A request is one
JSON message with its descriptors: the environment's pipe, its output, its framed log, and a fourth: for one that is
to be forked itself (SnapStart) a control socket, for one with extensions their output. Answers:
{"spawned": id, "pid": n} and {"exited": id, "status": n}.
End of file on the socket ends every child.

A function that has initialised itself suspends in `Snapshot.run`: it is a template of its own then, without
privileges. Its forks say {"spawned": id} themselves, so that the node learns their process id from the kernel. They
read from their fourth descriptor, a gate, twice: until the node has put them into their control groups, and, ready to
go on, until they are wanted.
"""

import array
import contextlib
import gc
import importlib
import importlib.util
import io
import json
import os
import resource
import select
import signal
import socket
import sys
import time
import warnings
from types import ModuleType
from typing import Any

CONTROL_FD = 61
LOG_FD = 62
PIPE_FD = 63
RUNTIME_ENDED, EXTENSION_ENDED = 1, 2
MESSAGE_BYTES_MAX = 1 << 17
SIGNALLED = 128
FORK_SAFE_THREADS = ("jemalloc_bg_thd",)
"""Source: https://jemalloc.net/jemalloc.3.html (background_thread)"""


def _load(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _preload(names: list[str]) -> list[str]:
    """Import what it can; a package that fails here fails again, with its error, in the function."""
    loaded = []
    for name in names:
        try:
            importlib.import_module(name)
            loaded.append(name)
        except Exception:
            sys.modules.pop(name, None)
    return loaded


def _reseed() -> None:
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def _set_limits() -> None:
    for which, value in ((resource.RLIMIT_NOFILE, 1024), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))


def _take_descriptors(fds: list[int]) -> None:
    """Put them where they belong, and close everything else that was inherited."""
    pipe, output, log, *fourth = fds
    os.dup2(pipe, PIPE_FD)
    os.dup2(log, LOG_FD, inheritable=False)
    for fd in (1, 2):
        os.dup2(output, fd)
    if fourth:
        os.dup2(fourth[0], CONTROL_FD, inheritable=False)
    os.closerange(3, CONTROL_FD if fourth else LOG_FD)
    os.closerange(PIPE_FD + 1, 4096)
    os.set_inheritable(PIPE_FD, False)
    sys.stdout = _text_over(1)
    sys.stderr = _text_over(2)


def _text_over(fd: int) -> io.TextIOWrapper:
    raw = io.FileIO(fd, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _go_on_as_child(extensions: dict[int, str] | None = None) -> None:
    """Go on as a child of process 1, which only collects: the kernel keeps unhandled signals from process 1 itself.

    It ends as the function did; a signal is told as 128 and its number, as shells do. Where there are extensions, it
    says in the framed log who has ended, and ends with the last of them.
    """
    main = os.fork()
    if main == 0:
        return
    os.closerange(0, LOG_FD if extensions else 4096)
    os.closerange(PIPE_FD, 4096)
    has_ended = False
    while not has_ended or extensions:
        pid, status = os.wait()
        if pid == main:
            has_ended = True
            if not extensions:
                break
            _tell_ended(RUNTIME_ENDED, {"status": status})
            main_status = status
        elif extensions and pid in extensions:
            _tell_ended(EXTENSION_ENDED, {"name": extensions.pop(pid), "status": status})
            status = main_status if has_ended else 0
    os._exit(SIGNALLED + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def _tell_ended(kind: int, told: dict[str, Any]) -> None:
    body = json.dumps(told).encode()
    head = bytes((0xA5, 0x5A, 0xFF, kind)) + len(body).to_bytes(4, "big") + bytes(8)
    with contextlib.suppress(OSError):
        os.write(LOG_FD, head + body)


def _start_extensions(request: dict[str, Any]) -> dict[int, str]:
    """Their names by process. Their output goes to the fourth descriptor; one that can't be run ends at once."""
    started = {}
    actions = [(os.POSIX_SPAWN_DUP2, CONTROL_FD, 1), (os.POSIX_SPAWN_DUP2, CONTROL_FD, 2)]
    for path in request.get("extensions", ()):
        name = os.path.basename(path)
        try:
            pid = os.posix_spawn(path, [path], request["extension_environment"], file_actions=actions)
            started[pid] = name
        except OSError as failure:
            _tell_ended(EXTENSION_ENDED, {"name": name, "status": 1 << 8, "error": str(failure)})
    return started


def _become_environment(request: dict[str, Any], fds: list[int], sandbox: ModuleType, runtime: ModuleType) -> None:
    """In the child: never returns."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.setsid()
        sandbox.join_cgroups(request["cgroup_files"])
        sandbox.die_with_parent()
        _take_descriptors(fds)
        _set_limits()
        if request["mounts"] is not None:
            sandbox.isolate(request["mounts"])
        os.chdir(request["task_root"])
        extensions = _start_extensions(request)
        if request["mounts"] is not None:
            _go_on_as_child(extensions)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.environ["_LAMBDA_TELEMETRY_LOG_FD"] = str(LOG_FD)
        time.tzset()
        sys.path[:0] = request["sys_path"]
        sys.argv = ["/var/runtime/bootstrap.py"]
        importlib.invalidate_caches()
        _reseed()
        gc.enable()
        if "exec" in request:
            os.set_inheritable(LOG_FD, True)
            os.execve(request["exec"][0], request["exec"], os.environ)
        if "libraries" in request:
            request = _hold_libraries(request["libraries"], sandbox, runtime)
        connection = socket.socket(fileno=PIPE_FD)
        suspend = Snapshot(sandbox).run if request.get("is_snapshot") else None
        runtime.serve(
            connection,
            handler=request["handler"],
            log_format=request["log_format"],
            suspend=suspend,
            learn_from=request.get("learn_from", ()),
        )
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else (0 if end.code is None else 1)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status & 0xFF)


def _hold_libraries(names: list[str], sandbox: ModuleType, runtime: ModuleType) -> dict[str, Any]:
    """Import what the function is known to import, then fork: returns in each fork, with that one's request.

    It says first whether it's the only thread: a fork takes no other along.
    """
    _preload(names)
    body = b"alone" if _is_alone() else b"threads"
    os.write(PIPE_FD, runtime.TO_NODE.pack(runtime.READY, len(body)) + body)
    snapshot = Snapshot(sandbox)
    snapshot.run()
    return snapshot.request


def _is_alone() -> bool:
    """Whether a fork takes all along: no threads but this one, and such as start themselves anew in a child."""
    threads = [name for name in os.listdir("/proc/self/task") if int(name) != os.getpid()]
    for thread in threads:
        with open(f"/proc/self/task/{thread}/comm") as comm:
            if comm.read().strip() not in FORK_SAFE_THREADS:
                return False
    return True


class ForkServer:
    """The parent's loop: fork on request, report every child's end. A subclass says how to fork."""

    def __init__(self, control: socket.socket, sandbox: ModuleType) -> None:
        self._control = control
        self._sandbox = sandbox
        self._children: dict[int, tuple[int, int, bool]] = {}
        """By pidfd: the process, the request's id, whether process 1 tells its status for it."""

    def run(self) -> bool:
        """Whether this is a fork that goes on; False once the node has gone."""
        waiting = select.poll()
        waiting.register(self._control, select.POLLIN)
        while True:
            for fd, _ in waiting.poll():
                if fd != self._control.fileno():
                    waiting.unregister(fd)
                    self._reap(fd)
                    continue
                taken = self._take_request(waiting)
                if taken is not None:
                    return taken

    def end_children(self) -> None:
        for pid, _, _ in self._children.values():
            os.kill(pid, signal.SIGKILL)

    def _take_request(self, waiting: select.poll) -> bool | None:
        """None: go on; else what `run` returns."""
        try:
            message, ancillary, _, _ = self._control.recvmsg(MESSAGE_BYTES_MAX, socket.CMSG_SPACE(4 * 4))
        except ConnectionResetError:  # it went without reading all that was sent
            return False
        if not message:
            return False
        fds = array.array("i")
        for _, _, data in ancillary:
            fds.frombytes(data)
        request = json.loads(message)
        has_init = request["mounts"] is not None
        try:
            pid = self._fork(request, list(fds))
            if pid == 0:
                return True
            pidfd = os.pidfd_open(pid)
            self._children[pidfd] = pid, request["id"], has_init
            waiting.register(pidfd, select.POLLIN)
        except OSError as failure:
            answer = {"spawned": request["id"], "pid": 0, "error": str(failure)}
            self._control.send(json.dumps(answer).encode())
        for fd in fds:
            os.close(fd)
        return None

    def _fork(self, request: dict[str, Any], fds: list[int]) -> int:
        raise NotImplementedError

    def _reap(self, pidfd: int) -> None:
        pid, number, has_init = self._children.pop(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        if has_init and os.WIFEXITED(status) and os.WEXITSTATUS(status) > SIGNALLED:
            status = os.WEXITSTATUS(status) - SIGNALLED
        self._control.send(json.dumps({"exited": number, "status": status}).encode())


class Template(ForkServer):
    """Forks environments that have yet to load their function."""

    def __init__(self, control: socket.socket, sandbox: ModuleType, runtime: ModuleType) -> None:
        super().__init__(control, sandbox)
        self._runtime = runtime

    def _fork(self, request: dict[str, Any], fds: list[int]) -> int:
        self._sandbox.prepare_fork(request["mounts"] is not None)
        pid = os.fork()
        if pid == 0:
            _become_environment(request, fds, self._sandbox, self._runtime)
        self._control.send(json.dumps({"spawned": request["id"], "pid": pid}).encode())
        return pid


class Snapshot(ForkServer):
    """A function that has initialised itself: forks environments that go on from there."""

    def __init__(self, sandbox: ModuleType) -> None:
        super().__init__(socket.socket(fileno=CONTROL_FD), sandbox)
        self._uid = os.geteuid()
        self.request: dict[str, Any] = {}
        """In a fork, what it was asked to become."""

    def run(self) -> bool:
        _end_connections()
        gc.collect()
        gc.freeze()
        if not super().run():
            os._exit(0)
        return True

    def _fork(self, request: dict[str, Any], fds: list[int]) -> int:
        is_sandboxed = request["mounts"] is not None
        pid: int = self._sandbox.fork_apart() if is_sandboxed else os.fork()
        if pid == 0:
            try:
                self._become_restored(request, fds)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
        return pid

    def _become_restored(self, request: dict[str, Any], fds: list[int]) -> None:
        """In the child: the same function, with a pipe, an output and a /tmp of its own."""
        pipe, output, log, gate = fds
        os.setsid()
        self._sandbox.die_with_parent()
        for fd, place in ((pipe, PIPE_FD), (log, LOG_FD), (output, 1), (output, 2)):
            os.dup2(fd, place, inheritable=place < 3)
        self._control.send(json.dumps({"spawned": request["id"]}).encode())
        os.read(gate, 1)
        for fd in (pipe, output, log, self._control.detach(), *self._children):
            os.close(fd)
        if request["mounts"] is not None:
            self._sandbox.isolate_again(request["mounts"]["tmp_mb"], self._uid)
            _go_on_as_child()
        os.read(gate, 1)
        os.close(gate)
        if request.get("has_own_environment"):
            os.environ.clear()
            os.environ["_LAMBDA_TELEMETRY_LOG_FD"] = str(LOG_FD)
        os.environ.update(request["environment"])
        self.request = request
        _reseed()


def _end_connections() -> None:
    """What was connected before the snapshot is closed after it, as on AWS: forks must not share it."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) in (CONTROL_FD, LOG_FD, PIPE_FD):
            continue
        try:
            with socket.socket(fileno=os.dup(int(name))) as connection:
                if connection.family in (socket.AF_INET, socket.AF_INET6) and connection.getpeername():
                    connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue


def main() -> None:
    config = json.loads(sys.argv[1])
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork")  # Python 3.12 tells it of forks here
    sys.modules["runtime_client"] = None  # type: ignore[assignment]  # AWS's HTTP client: never needed here
    runtime = _load("penstock_runtime", config["runtime_file"])
    sandbox = _load("penstock_sandbox", config["sandbox_file"])
    if config["root"] is not None:
        sandbox.prepare_root(config["root"])
    base_path = list(sys.path)
    sys.path[:0] = config["sys_path"]
    loaded = _preload(config["preload"])
    sys.path[:] = base_path
    sys.modules.pop("runtime_client", None)
    control = socket.socket(fileno=int(sys.argv[2]))
    control.send(json.dumps({"ready": loaded}).encode())
    gc.collect()
    gc.freeze()
    gc.disable()
    template = Template(control, sandbox, runtime)
    template.run()
    template.end_children()


if __name__ == "__main__":
    main()
