"""A template process: it imports packages once, then forks an environment whenever it's asked.

Self-contained: `python -I -S zygote.py CONFIG FD`, with the control socket (SEQPACKET) as FD. A request is one
JSON message with three descriptors: the environment's pipe, its output and its framed log. Answers:
{"spawned": id, "pid": n} and {"exited": pid, "status": n}. End of file on the socket ends every child.
"""

import array
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
from types import ModuleType
from typing import Any

LOG_FD = 62
PIPE_FD = 63
MESSAGE_BYTES_MAX = 1 << 17
SIGNALLED = 128


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
    """Put the three where they belong, and close everything else that was inherited."""
    pipe, output, log = fds
    os.dup2(pipe, PIPE_FD)
    os.dup2(log, LOG_FD, inheritable=False)
    for fd in (1, 2):
        os.dup2(output, fd)
    os.closerange(3, LOG_FD)
    os.closerange(PIPE_FD + 1, 4096)
    os.set_inheritable(PIPE_FD, False)
    sys.stdout = _text_over(1)
    sys.stderr = _text_over(2)


def _text_over(fd: int) -> io.TextIOWrapper:
    raw = io.FileIO(fd, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _leave_init_behind() -> None:
    """Go on as a child of process 1, which only collects: the kernel keeps unhandled signals from process 1 itself.

    It ends as the function did; a signal is told as 128 and its number, as shells do.
    """
    main = os.fork()
    if main == 0:
        return
    os.closerange(0, 4096)
    while True:
        pid, status = os.wait()
        if pid == main:
            os._exit(SIGNALLED + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def _become_environment(request: dict[str, Any], fds: list[int], sandbox: ModuleType, runtime: ModuleType) -> None:
    """In the child: never returns."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.setsid()
        sandbox.join_cgroups(request["cgroup_files"])
        sandbox.die_with_parent()
        _take_descriptors(fds)
        _set_limits()
        if request["mounts"] is not None:
            sandbox.isolate(request["mounts"])
            _leave_init_behind()
        os.environ.clear()
        os.environ.update(request["environment"])
        os.environ["_LAMBDA_TELEMETRY_LOG_FD"] = str(LOG_FD)
        time.tzset()
        sys.path[:0] = request["sys_path"]
        sys.argv = ["/var/runtime/bootstrap.py"]
        importlib.invalidate_caches()
        os.chdir(request["task_root"])
        _reseed()
        gc.enable()
        if "exec" in request:
            os.set_inheritable(LOG_FD, True)
            os.execve(request["exec"][0], request["exec"], os.environ)
        connection = socket.socket(fileno=PIPE_FD)
        runtime.serve(connection, handler=request["handler"], log_format=request["log_format"])
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else (0 if end.code is None else 1)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status & 0xFF)


class Template:
    """The parent's loop: fork on request, report every child's end."""

    def __init__(self, control: socket.socket, sandbox: ModuleType, runtime: ModuleType) -> None:
        self._control = control
        self._sandbox = sandbox
        self._runtime = runtime
        self._children: dict[int, bool] = {}
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def run(self) -> None:
        waiting = select.poll()
        waiting.register(self._control, select.POLLIN)
        waiting.register(self._wake_read, select.POLLIN)
        while True:
            ready = {fd for fd, _ in waiting.poll()}
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
                self._reap()
            if self._control.fileno() in ready and not self._take_request():
                break
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)

    def _take_request(self) -> bool:
        message, ancillary, _, _ = self._control.recvmsg(MESSAGE_BYTES_MAX, socket.CMSG_SPACE(3 * 4))
        if not message:
            return False
        fds = array.array("i")
        for _, _, data in ancillary:
            fds.frombytes(data)
        request = json.loads(message)
        try:
            self._sandbox.prepare_fork(request["mounts"] is not None)
            pid = os.fork()
            if pid == 0:
                _become_environment(request, list(fds), self._sandbox, self._runtime)
            self._children[pid] = request["mounts"] is not None
            answer = {"spawned": request["id"], "pid": pid}
        except OSError as failure:
            answer = {"spawned": request["id"], "pid": 0, "error": str(failure)}
        for fd in fds:
            os.close(fd)
        self._control.send(json.dumps(answer).encode())
        return True

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            has_init = self._children.pop(pid, False)
            if has_init and os.WIFEXITED(status) and os.WEXITSTATUS(status) > SIGNALLED:
                status = os.WEXITSTATUS(status) - SIGNALLED
            self._control.send(json.dumps({"exited": pid, "status": status}).encode())


def main() -> None:
    config = json.loads(sys.argv[1])
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
    Template(control, sandbox, runtime).run()


if __name__ == "__main__":
    main()
