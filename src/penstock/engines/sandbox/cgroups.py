"""Control groups: an environment's memory limit, CPU share and process limit, on version 1 or 2.

Version 2 needs the controllers delegated to a group of ours; version 1 the hierarchies writable.
Source: https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
FULL_CPU_MB = 1769
"""The memory that has one whole CPU. Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
SHARES_OF_ONE_CPU = 1024
PIDS_MAX = 1024
_V1 = ("memory", "cpu", "pids")
_KILL_ROUNDS_MAX = 16


@dataclass(slots=True)
class Group:
    """One environment's groups; `files` are what a process writes itself into."""

    folders: list[Path]
    is_v2: bool

    @property
    def files(self) -> list[str]:
        return [str(folder / "cgroup.procs") for folder in self.folders]

    def memory_bytes(self) -> int:
        """What its processes hold themselves, without files: not those in /tmp either."""
        name = "anon " if self.is_v2 else "rss "
        for folder in self.folders:
            with contextlib.suppress(OSError, ValueError):
                for line in (folder / "memory.stat").read_text().splitlines():
                    if line.startswith(name):
                        return int(line.split()[1])
        return 0

    def was_out_of_memory(self) -> bool:
        """Whether the kernel has killed for want of memory."""
        name = "memory.events" if self.is_v2 else "memory.oom_control"
        for folder in self.folders:
            with contextlib.suppress(OSError):
                for line in (folder / name).read_text().splitlines():
                    if line.startswith("oom_kill ") and int(line.split()[1]) > 0:
                        return True
        return False

    def processes(self) -> list[int]:
        """Every process in it, those that left its session and process group as well."""
        for folder in self.folders:
            with contextlib.suppress(OSError, ValueError):
                return [int(line) for line in (folder / "cgroup.procs").read_text().split()]
        return []

    def kill(self) -> None:
        """End every process in it. None can be forked meanwhile; what is dead may take a moment to go."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                (folder / "pids.max").write_text("0")
        killed: set[int] = set()
        for _ in range(_KILL_ROUNDS_MAX):
            left = set(self.processes()) - killed
            if not left:
                return
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed |= left

    def remove(self) -> bool:
        """False while a process is still ending in it."""
        left = []
        for folder in self.folders:
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                left.append(folder)
        self.folders = left
        return not left


class Cgroups:
    """Makes groups below one of this node's own; what a dead node left is swept at the start."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_v2 = (ROOT / "cgroup.controllers").exists()
        self._parents = self._v2_parent() if self._is_v2 else self._v1_parents()
        self._ending: list[Group] = []

    @property
    def can_limit_memory(self) -> bool:
        return bool(self._parents)

    def create(self, name: str, *, memory_bytes: int, memory_mb: int) -> Group | None:
        """None where groups can't be made. `memory_mb` decides the CPU share."""
        self.sweep()
        group = Group([parent / name for parent in self._parents], self._is_v2)
        try:
            for folder in group.folders:
                folder.mkdir()
            self._limit(group, memory_bytes, memory_mb)
        except OSError:
            group.remove()
            return None
        return group

    def retire(self, group: Group) -> None:
        """Remove it now, or once its last process has ended."""
        if not group.remove():
            self._ending.append(group)

    def sweep(self) -> None:
        self._ending = [group for group in self._ending if not group.remove()]

    def close(self) -> bool:
        """Remove everything; False while a process is still ending."""
        self.sweep()
        if self._ending:
            return False
        for parent in self._parents:
            with contextlib.suppress(OSError):
                parent.rmdir()
        return True

    def _limit(self, group: Group, memory_bytes: int, memory_mb: int) -> None:
        share = memory_mb / FULL_CPU_MB
        if self._is_v2:
            folder = group.folders[0]
            (folder / "memory.max").write_text(str(memory_bytes))
            with contextlib.suppress(OSError):
                (folder / "memory.swap.max").write_text("0")
            (folder / "cpu.weight").write_text(str(min(10_000, max(1, round(100 * share)))))
            (folder / "pids.max").write_text(str(PIDS_MAX))
            return
        memory, cpu, pids = group.folders
        (memory / "memory.limit_in_bytes").write_text(str(memory_bytes))
        with contextlib.suppress(OSError):
            (memory / "memory.memsw.limit_in_bytes").write_text(str(memory_bytes))
        (cpu / "cpu.shares").write_text(str(max(2, round(SHARES_OF_ONE_CPU * share))))
        (pids / "pids.max").write_text(str(PIDS_MAX))

    def _v1_parents(self) -> list[Path]:
        return self._made([ROOT / controller / self._name for controller in _V1])

    def _v2_parent(self) -> list[Path]:
        """A group beside our own process's, with the controllers handed down."""
        try:
            own = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
            base = ROOT / own.lstrip("/")
            parent = base / self._name
            made = self._made([parent])
            if made:
                for folder in (base, parent):
                    (folder / "cgroup.subtree_control").write_text("+memory +cpu +pids")
            return made
        except OSError:
            return []

    def _made(self, folders: list[Path]) -> list[Path]:
        try:
            for folder in folders:
                if not os.access(folder.parent, os.W_OK):
                    return []
                folder.mkdir(exist_ok=True)
                for left in folder.iterdir():
                    if left.is_dir():
                        with contextlib.suppress(OSError):
                            left.rmdir()
        except OSError:
            return []
        return folders
