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
SPARE_AFTER_S = 0.05
"""How long after one was taken the next spare is made: what was restored goes first."""


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

    Beside each one stands a spare: an environment forked ahead, which waits to be let on. It saves whoever comes
    first the two forks of a large process.

    make        initialises an environment as a snapshot. Raises SnapshotFailed, Unavailable
    make_spare  forks an environment ahead. Raises Unavailable. None: none stands ready
    end         ends the environment of one that isn't needed any more
    """

    def __init__(
        self,
        make: Callable[[FunctionSpec], Awaitable[Held]],
        make_spare: Callable[[Held], Awaitable[Environment]] | None,
        end: Callable[[Environment], None],
        *,
        count_max: int = SNAPSHOTS_MAX,
    ) -> None:
        self._make, self._make_spare, self._end = make, make_spare, end
        self._count_max = count_max
        self._tasks: dict[str, asyncio.Task[Held]] = {}
        self._spares: dict[str, asyncio.Task[Environment]] = {}
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
        held = await self._make(spec)
        self._replenish(spec.id)
        return held

    def take_spare(self, spec: FunctionSpec) -> Environment | None:
        """The environment that stands ready, if there is one. The next one is made soon."""
        task = self._spares.get(spec.id)
        if task is None or not task.done():
            return None
        asyncio.get_running_loop().call_later(SPARE_AFTER_S, self._replenish, spec.id)
        del self._spares[spec.id]
        if task.cancelled() or task.exception() is not None:
            return None
        environment = task.result()
        if environment.is_held:
            return environment
        self._end(environment)
        return None

    def _replenish(self, key: str) -> None:
        task = self._tasks.get(key)
        is_known = task is not None and (not task.done() or not _is_gone(task))
        if is_known and task is not None and self._make_spare is not None and key not in self._spares:
            spare = self._spare(task, self._make_spare)
            self._spares[key] = asyncio.get_running_loop().create_task(spare, name="penstock-spare")

    async def _spare(self, snapshot: asyncio.Task[Held], make: Callable[[Held], Awaitable[Environment]]) -> Environment:
        return await make(await asyncio.shield(snapshot))

    def find(self, spec: FunctionSpec) -> Held | None:
        """The snapshot, if it's ready."""
        task = self._tasks.get(spec.id)
        return task.result() if task is not None and task.done() and not _is_gone(task) else None

    def drop_unused(self, before_s: float) -> None:
        """End those that haven't forked since then and have no forks left."""
        for key, held in self._ready():
            if held.server.used_s < before_s and held.server.children <= (key in self._spares):
                self._drop_spare(key)
                self._close(self._tasks.pop(key).result())

    def _drop_spare(self, key: str) -> None:
        task = self._spares.pop(key, None)
        if task is None:
            return
        task.add_done_callback(self._on_unwanted)
        if not task.done():
            task.cancel()

    def _on_unwanted(self, task: asyncio.Task[Environment]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._end(task.result())

    def _make_room(self) -> None:
        self.sweep()
        if len(self._tasks) < self._count_max:
            return
        ready = [
            (held.server.used_s, key) for key, held in self._ready() if held.server.children <= (key in self._spares)
        ]
        if ready:
            self._drop_spare(min(ready)[1])
            self._close(self._tasks.pop(min(ready)[1]).result())

    def _ready(self) -> list[tuple[str, Held]]:
        return [(key, task.result()) for key, task in self._tasks.items() if task.done() and not _is_gone(task)]

    def retire(self, is_of: Callable[[FunctionSpec], bool]) -> None:
        """Forget those of a deleted or replaced function; each ends with the last of its forks."""
        for key, held in self._ready():
            if is_of(held.environment.spec):
                self._drop_spare(key)
                del self._tasks[key]
                self._retired.append(held)
        self.sweep()

    def sweep(self) -> None:
        """End what is retired and has no forks left, and forget what has gone by itself."""
        for held in [held for held in self._retired if not held.server.children]:
            self._retired.remove(held)
            self._close(held)
        for key in [key for key, task in self._tasks.items() if task.done() and _is_gone(task)]:
            task = self._tasks.pop(key)
            self._drop_spare(key)
            if not task.cancelled() and task.exception() is None:
                self._close(task.result())

    def _close(self, held: Held) -> None:
        held.server.close()
        self._end(held.environment)

    def loaded(self) -> list[dict[str, object]]:
        """For people: which versions are held, what memory their forks share, whether one of them stands ready."""
        return [
            {
                "function": held.environment.spec.arn,
                "shared_mb": held.server.shared_mb,
                "environments": held.server.children,
                "has_spare": key in self._spares and self._spares[key].done(),
            }
            for key, held in sorted(self._ready(), key=lambda pair: pair[0])
        ]

    def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        for key in list(self._spares):
            self._drop_spare(key)
        for held in [*self._retired, *(held for _, held in self._ready())]:
            self._close(held)
        self._tasks.clear()


def _is_gone(task: asyncio.Task[Held]) -> bool:
    """Whether it has failed, or its process has ended."""
    return task.done() and (task.cancelled() or task.exception() is not None or not task.result().server.is_alive)
