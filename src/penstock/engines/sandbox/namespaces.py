"""What Linux gives to keep an environment apart: namespaces, read-only mounts, privileges, cgroup membership.

Self-contained (a template loads it by its path) and without external programs: libc through ctypes. Every
call is made in the forked child, before any of the user's code.
Source: https://man7.org/linux/man-pages/man7/namespaces.7.html
"""

import contextlib
import ctypes
import os
import platform
import shutil
import signal
from collections.abc import Mapping, Sequence
from typing import Any

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID = 0x00020000, 0x04000000, 0x08000000, 0x20000000
CLONE_NEWUSER = 0x10000000
SYS_CLONE = 220 if platform.machine() == "aarch64" else 56
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
CAPABILITY_VERSION = 0x20080522
CAPABILITY_MAX = 63
SHARED = ("/dev/shm", "/dev/mqueue")
"""Memory that every process of the machine may write to and that outlives it; functions on AWS have none of it."""
_LIBC = ctypes.CDLL(None, use_errno=True)
_OWN_PIDS: list[int] = []


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def die_with_parent() -> None:
    """No environment outlives its template."""
    _LIBC.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0)


def join_cgroups(files: Sequence[str], pid: int = 0) -> None:
    """Put a process into its groups; 0: this one."""
    for path in files:
        fd = os.open(path, os.O_WRONLY)
        try:
            os.write(fd, b"%d" % pid)
        finally:
            os.close(fd)


def prepare_fork(is_sandboxed: bool) -> None:
    """In the template: the next child is process 1 of a pid namespace of its own."""
    if not is_sandboxed:
        return
    if not _OWN_PIDS:
        _OWN_PIDS.append(os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC))
    _check(_LIBC.setns(_OWN_PIDS[0], CLONE_NEWPID), "setns")
    _check(_LIBC.unshare(CLONE_NEWPID), "unshare pid")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if text is None else text.encode() for text in (source, target, kind, data)]
    _check(_LIBC.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]), f"mount {target}")


def prepare_root(mounts: Mapping[str, Any]) -> None:
    """In a template, before it imports anything: the machine as functions see it, read-only.

    hidden   folders covered by empty ones, outer before inner; binds: (target, source) pairs shown in them
    folders  made empty, to be mounted on; view: an empty folder to work in; writable: those that functions write to
    """
    _check(_LIBC.unshare(CLONE_NEWNS), "unshare")
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    covered = [path for path in mounts["hidden"] if os.path.isdir(path)]
    view = mounts["view"]
    mount("tmpfs", view, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    staged = [(target, _stage(source, f"{view}/{number}")) for number, (target, source) in enumerate(mounts["binds"])]
    for path in covered:
        mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for folder in mounts["folders"]:
        os.makedirs(folder, exist_ok=True)
    for target, source in staged:
        _bind(source, target)
    _read_only(mounts["writable"])
    for path in SHARED:
        if os.path.isdir(path):
            mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV, "size=4k,mode=755")


def isolate(mounts: Mapping[str, Any]) -> None:
    """In an environment: its own code and /tmp, nothing of the node's folder, no privilege left.

    task_dir  shown at /var/task; tmp_mb: the size of its own /tmp; data_dir: covered; uid: who it becomes
    """
    _check(_LIBC.unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS), "unshare")
    mount(mounts["task_dir"], "/var/task", None, MS_BIND)
    mount("none", "/var/task", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    mount("tmpfs", mounts["data_dir"], "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV, "size=4k,mode=755")
    options = f"size={mounts['tmp_mb']}m,mode=700,uid={mounts['uid']},gid={mounts['uid']}"
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
    _LIBC.sethostname(b"169-254-0-1", 11)
    _drop_privileges(mounts["uid"])


def fork_apart() -> int:
    """Fork a process that has no privilege: the child is alone in namespaces that belong to it (`isolate_again`).

    As os.fork, but for the C library's own handlers, which run at the child's next os.fork.
    Source: https://man7.org/linux/man-pages/man7/user_namespaces.7.html
    """
    _LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # a process that changed its user may not write its own uid_map else
    flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | signal.SIGCHLD
    ctypes.pythonapi.PyOS_BeforeFork()
    pid: int = _LIBC.syscall(SYS_CLONE, ctypes.c_ulong(flags), None, None, None, None)
    number = ctypes.get_errno()
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(number, f"clone: {os.strerror(number)}")
    return pid


def isolate_again(tmp_mb: int, uid: int) -> None:
    """In a child of fork_apart: a /tmp and a /proc of its own, what was in /tmp copied; then no privilege is left.

    uid   who its parent is: it knows no users before it has said so
    """
    for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{uid} {uid} 1")):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    before = os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    options = f"size={tmp_mb}m,mode=700,uid={uid},gid={uid}"
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options)
    if os.listdir(before):
        shutil.copytree(f"/proc/self/fd/{before}/", "/tmp", symlinks=True, dirs_exist_ok=True)
    os.close(before)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
    _drop_capabilities()


def _drop_capabilities() -> None:
    """All of them, and none can come back: no_new_privs is inherited."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    _check(_LIBC.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def _stage(source: str, place: str) -> str:
    """Keep a source within reach although its folder is about to be covered."""
    if os.path.isdir(source):
        os.mkdir(place)
    else:
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(source, place, None, MS_BIND | MS_REC)
    return place


def _bind(source: str, target: str) -> None:
    """A folder or a file, where the covered folder has room for it."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(source, target, None, MS_BIND | MS_REC)


def _read_only(writable: Sequence[str]) -> None:
    """Every mount point but those, as a remount isn't recursive."""
    with open("/proc/self/mounts") as listing:
        points = [line.split(" ")[1].replace("\\040", " ") for line in listing]
    for point in points:
        if not point.startswith(("/proc", "/dev", "/sys")) and point not in writable:
            with contextlib.suppress(OSError):  # a mount that another covers can't be reached, nor written to
                mount("none", point, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID)


def _drop_privileges(uid: int) -> None:
    for capability in range(CAPABILITY_MAX):
        _LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    _check(_LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    die_with_parent()  # a change of user clears it
