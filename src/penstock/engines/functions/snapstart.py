"""SnapStart: one initialised process per published version, of which every environment is a fork.

A snapshot is a cache: the node makes it when the version is published, and again when it is needed and gone.
Source: https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from penstock.engines.functions.environment import Environment
from penstock.engines.functions.ports import FunctionSpec, RestoreFailed
from penstock.engines.sandbox.snapshots import FunctionSnapshot

SNAPSHOTS_MAX = 32


class SnapshotFailed(RestoreFailed):
    """The version couldn't be initialised; `reason_code` is AWS's word for it."""

    def __init__(self, reason_code: str) -> None:
        super().__init__(is_timeout=reason_code == "FunctionError.InitTimeout")
        self.reason_code = reason_code


@dataclass(slots=True)
class Held:
    """A snapshot and the environment that it runs in."""

    environment: Environment
    server: FunctionSnapshot


class FunctionSnapshots:
    """The snapshots of one node, by version; the one that forked longest ago gives way.

    make    initialises an environment as a snapshot. Raises SnapshotFailed, Unavailable
    end     ends the environment of one that isn't needed any more
    """

    def __init__(self, make: Callable[[FunctionSpec], Awaitable[Held]], end: Callable[[Environment], None]) -> None:
        self._make, self._end = make, end
        self._tasks: dict[str, asyncio.Task[Held]] = {}
        self._retired: list[Held] = []

    async def get(self, spec: FunctionSpec) -> Held:
        """The version's snapshot, made once for all who ask. Raises SnapshotFailed, Unavailable."""
        task = self._tasks.get(spec.id)
        if task is None or _is_gone(task):
            self._make_room()
            task = asyncio.get_running_loop().create_task(self._made(spec), name="penstock-snapshot")
            self._tasks[spec.id] = task
        return await asyncio.shield(task)

    async def _made(self, spec: FunctionSpec) -> Held:
        return await self._make(spec)

    def _make_room(self) -> None:
        self.sweep()
        if len(self._tasks) < SNAPSHOTS_MAX:
            return
        ready = [(held.server.used_s, key) for key, held in self._ready() if not held.server.has_children]
        if ready:
            self._close(self._tasks.pop(min(ready)[1]).result())

    def _ready(self) -> list[tuple[str, Held]]:
        return [(key, task.result()) for key, task in self._tasks.items() if task.done() and not _is_gone(task)]

    def retire(self, is_of: Callable[[FunctionSpec], bool]) -> None:
        """Forget those of a deleted or replaced function; each ends with the last of its forks."""
        for key, held in self._ready():
            if is_of(held.environment.spec):
                del self._tasks[key]
                self._retired.append(held)
        self.sweep()

    def sweep(self) -> None:
        """End what is retired and has no forks left, and forget what has gone by itself."""
        for held in [held for held in self._retired if not held.server.has_children]:
            self._retired.remove(held)
            self._close(held)
        for key in [key for key, task in self._tasks.items() if task.done() and _is_gone(task)]:
            task = self._tasks.pop(key)
            if not task.cancelled() and task.exception() is None:
                self._close(task.result())

    def _close(self, held: Held) -> None:
        held.server.close()
        self._end(held.environment)

    def loaded(self) -> list[dict[str, object]]:
        """For people: which versions are held, and what memory their forks share."""
        return [
            {"function": held.environment.spec.arn, "shared_mb": held.server.shared_mb}
            for _, held in sorted(self._ready())
        ]

    def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        for held in [*self._retired, *(held for _, held in self._ready())]:
            self._close(held)
        self._tasks.clear()


def _is_gone(task: asyncio.Task[Held]) -> bool:
    """Whether it has failed, or its process has ended."""
    return task.done() and (task.cancelled() or task.exception() is not None or not task.result().server.is_alive)
