"""A function engine that runs nothing: it answers as it's told and remembers what it was asked."""

import io
import zipfile
from collections.abc import Callable
from typing import Any, Literal

from penstock.engines.functions.ports import Allocation, FunctionSpec, Invocation, Outcome
from penstock.testkit.world import World

ROLE = "arn:aws:iam::000000000000:role/worker"


def outcome(
    payload: bytes = b"null",
    *,
    error: str = "",
    log: bytes = b"",
    billed_ms: int = 100,
    status: Literal["success", "error", "timeout", "crash"] | None = None,
    is_cold: bool = False,
) -> Outcome:
    return Outcome(
        payload=payload,
        function_error="Unhandled" if error else None,
        status=status or ("error" if error else "success"),
        log_tail=log,
        duration_ms=billed_ms - 0.5,
        billed_ms=billed_ms,
        init_ms=None,
        max_memory_mb=40,
        is_cold=is_cold,
        error_type=error,
    )


def _echo(spec: FunctionSpec, invocation: Invocation) -> Outcome:
    return outcome(invocation.payload)


class FakePool:
    """`handler` returns an Outcome or raises; until it is set, functions echo their event."""

    def __init__(self) -> None:
        self.invoked: list[tuple[FunctionSpec, Invocation]] = []
        self.warmed: list[FunctionSpec] = []
        self.retired: list[str] = []
        self.snapshots: list[FunctionSpec] = []
        self.snapshot_failure = ""
        self.refused_runtimes: set[str] = set()
        self.provisions: dict[str, tuple[FunctionSpec, int]] = {}
        self.provision_failure = ""
        self.handler: Callable[[FunctionSpec, Invocation], Outcome] = _echo

    async def invoke(self, spec: FunctionSpec, invocation: Invocation) -> Outcome:
        self.invoked.append((spec, invocation))
        return self.handler(spec, invocation)

    def runtime_refusal(self, runtime: str) -> str:
        return f"{runtime} is refused" if runtime in self.refused_runtimes else ""

    async def warm(self, spec: FunctionSpec) -> None:
        self.warmed.append(spec)

    async def snapshot(self, spec: FunctionSpec) -> str:
        self.snapshots.append(spec)
        return self.snapshot_failure

    def provision(self, arn: str, spec: FunctionSpec, count: int) -> None:
        self.provisions.pop(arn, None)
        if count:
            self.provisions[arn] = spec, count

    def allocation(self, arn: str) -> Allocation:
        count = self.provisions[arn][1] if arn in self.provisions else 0
        return Allocation(count, 0 if self.provision_failure else count, self.provision_failure)

    async def retire(self, function_arn: str, *, keep: str = "") -> None:
        self.retired.append(function_arn)

    def status(self) -> dict[str, object]:
        return {"environments": 0}

    async def close(self) -> None:
        pass


def zipped(text: str = "def handler(event, context): return event", name: str = "app.py") -> bytes:
    """A package of one file; the same text gives the same bytes."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr(zipfile.ZipInfo(name), text)
    return archive.getvalue()


async def create_function(world: World, name: str = "f", *, settle: bool = True, **members: Any) -> dict[str, Any]:
    """A function that is Active on return, unless `settle` is false."""
    params = {"Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler", "Code": {"ZipFile": zipped()}}
    answer = await world.call("lambda", "CreateFunction", FunctionName=name, **{**params, **members})
    if settle:
        await world.settle()
    return answer
