"""Provisioned concurrency: environments that are initialised before they are invoked, and kept.

They serve what is invoked through one qualified ARN; what comes beyond them spills over to environments on demand.
Source: https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from penstock.engines.functions.environment import Environment
from penstock.engines.functions.ports import Allocation, FunctionSpec
from penstock.kernel.errors import Unavailable

AT_ONCE = 4
"""How many of one allocation are initialised at the same time."""
_NO_PLACE = "This node has no place for more environments. Ask for fewer, or give it more memory (--memory)."


class InitialisationFailed(Exception):
    """The function's own initialisation failed; `str` is AWS's reason code."""


@dataclass(eq=False)
class _Provision:
    spec: FunctionSpec
    wanted: int
    idle: list[Environment] = field(default_factory=list)
    busy: set[Environment] = field(default_factory=set)
    starting: int = 0
    failure: str = ""

    @property
    def held(self) -> int:
        return len(self.idle) + len(self.busy)


class Provisions:
    """By qualified ARN.

    make      an environment of the spec, initialised. Raises InitialisationFailed, Unavailable
    end       what isn't wanted any more
    has_room  whether the node may hold one more, beside so many that aren't made yet
    """

    def __init__(
        self,
        make: Callable[[FunctionSpec], Awaitable[Environment]],
        end: Callable[[Environment], None],
        has_room: Callable[[int], bool],
    ) -> None:
        self._make, self._end, self._has_room = make, end, has_room
        self._by_arn: dict[str, _Provision] = {}
        self._of: dict[Environment, _Provision] = {}
        self._unmade = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def __contains__(self, environment: Environment) -> bool:
        return environment in self._of

    @property
    def count(self) -> int:
        """Environments that are held, and those on the way."""
        return len(self._of) + sum(provision.starting for provision in self._by_arn.values())

    def want(self, arn: str, spec: FunctionSpec, count: int) -> None:
        """Hold `count` environments of `spec` for what is invoked as `arn`."""
        provision = self._by_arn.get(arn)
        if provision is not None and provision.spec.id != spec.id:
            self.drop(arn)
            provision = None
        if provision is None:
            provision = self._by_arn[arn] = _Provision(spec, count)
        provision.wanted, provision.failure = count, ""
        while provision.held > count and provision.idle:
            self._forget(provision.idle.pop(), provision)
        self._top_up(provision)

    def drop(self, arn: str) -> None:
        """Hold none any more; the busy ones end when they are done."""
        provision = self._by_arn.pop(arn, None)
        if provision is None:
            return
        provision.wanted = 0
        for environment in list(provision.idle):
            self._forget(environment, provision)
        provision.idle.clear()

    def arns(self) -> list[str]:
        return list(self._by_arn)

    def allocation(self, arn: str) -> Allocation:
        provision = self._by_arn.get(arn)
        if provision is None:
            return Allocation(0, 0)
        allocated = provision.held + provision.starting
        return Allocation(allocated, provision.held, provision.failure, len(provision.busy))

    def take(self, arn: str, spec: FunctionSpec, is_current: Callable[[Environment], bool]) -> Environment | None:
        """An environment for one invocation; None where all are busy or there are none."""
        provision = self._by_arn.get(arn)
        while provision is not None and provision.spec.id == spec.id and provision.idle:
            environment = provision.idle.pop()
            if is_current(environment):
                provision.busy.add(environment)
                return environment
            self._forget(environment, provision)
            self._top_up(provision)
        return None

    def give_back(self, environment: Environment) -> None:
        """After its invocation; one that didn't survive it is replaced."""
        provision = self._of[environment]
        provision.busy.discard(environment)
        if environment.is_initialised and provision.held < provision.wanted:
            provision.idle.append(environment)
        else:
            self._forget(environment, provision)
        self._top_up(provision)

    def refresh(self, is_current: Callable[[Environment], bool]) -> None:
        """Replace what has grown too old while it was idle."""
        for provision in self._by_arn.values():
            for environment in [one for one in provision.idle if not is_current(one)]:
                provision.idle.remove(environment)
                self._forget(environment, provision)
            self._top_up(provision)

    async def close(self) -> None:
        for arn in self.arns():
            self.drop(arn)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _forget(self, environment: Environment, provision: _Provision) -> None:
        self._of.pop(environment, None)
        provision.busy.discard(environment)
        self._end(environment)

    def _top_up(self, provision: _Provision) -> None:
        while (
            not provision.failure
            and provision.starting < AT_ONCE
            and provision.held + provision.starting < provision.wanted
        ):
            if not self._has_room(self._unmade):
                provision.failure = _NO_PLACE
                return
            provision.starting += 1
            self._unmade += 1
            task = asyncio.get_running_loop().create_task(self._start(provision), name="penstock-provision")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _start(self, provision: _Provision) -> None:
        self._unmade -= 1
        try:
            environment = await self._make(provision.spec)
        except InitialisationFailed as failure:
            provision.failure = str(failure)
            return
        except Unavailable as failure:
            provision.failure = f"The environment couldn't be started: {failure}"
            return
        finally:
            provision.starting -= 1
        self._of[environment] = provision
        if provision.held < provision.wanted:
            provision.idle.append(environment)
            self._top_up(provision)
        else:
            self._forget(environment, provision)
