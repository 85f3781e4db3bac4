"""Lambda without the function engine: what the room and the store take of an invocation's time.

On the embedded store, durable; the engine answers at once. Ratios are to the aims of docs/performance.md.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from penstock.engines.functions.ports import FunctionSpec, Invocation, Outcome
from penstock.framework.background import BackgroundRunner
from penstock.framework.caller import LocalCaller
from penstock.framework.context import Context, Platform, RequestInfo
from penstock.kernel.clock import SystemClock
from penstock.kernel.entropy import SystemEntropy
from penstock.kernel.scope import Scope, root_principal
from penstock.services import lambda_, s3
from penstock.storage.backends.files import FileBlobStore
from penstock.storage.backends.sqlite import SqliteStore
from penstock.testkit.functions import ROLE, FakePool, outcome, zipped

CALLS, EVENTS, BURST = 2000, 100, 300
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:f"
AIM_MS = {"warm Invoke": 1.0, "put -> handler entered": 5.0, "burst of 300 puts": 2000.0}


class Entered:
    """Notes when the handler is entered."""

    def __init__(self, pool: FakePool) -> None:
        self.count = 0
        self.at_s = 0.0
        self._wanted = 0
        self._reached = asyncio.Event()
        pool.handler = self._enter

    def _enter(self, spec: FunctionSpec, invocation: Invocation) -> Outcome:
        self.count += 1
        self.at_s = time.perf_counter()
        if self.count >= self._wanted:
            self._reached.set()
        return outcome()

    async def after(self, call: Callable[[], Awaitable[Any]], *, times: int = 1) -> float:
        """Milliseconds from the call until the handler has been entered so often."""
        self._wanted = self.count + times
        self._reached.clear()
        started_s = time.perf_counter()
        await call()
        await self._reached.wait()
        return (self.at_s - started_s) * 1000


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for name, value_ms in asyncio.run(_measure(Path(folder))).items():
            ratio = f"  {value_ms / AIM_MS[name]:.2f} of its aim" if name in AIM_MS else ""
            print(f"{name:<28}{value_ms:>10.3f} ms{ratio}")


async def _measure(folder: Path) -> dict[str, float]:
    store, pool, rooms = SqliteStore.open(folder), FakePool(), [lambda_.SERVICE, s3.SERVICE]
    clock = SystemClock()
    platform = Platform(
        clock=clock,
        wall=clock,
        entropy=SystemEntropy(),
        store=store,
        blobs=FileBlobStore(folder),
        caller=LocalCaller(rooms),
        data_dir=folder,
        functions=pool,
    )
    ctx = Context(platform, Scope(), root_principal(), RequestInfo("benchmark"))
    async with BackgroundRunner(platform, rooms):
        await _prepare(ctx)
        found = await _run(ctx, Entered(pool))
    await store.close()
    return found


async def _prepare(ctx: Context) -> None:
    params = {"FunctionName": "f", "Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler"}
    await ctx.call("lambda", "CreateFunction", params | {"Code": {"ZipFile": zipped()}})
    for _ in range(1000):
        if (await ctx.call("lambda", "GetFunctionConfiguration", {"FunctionName": "f"}))["State"] == "Active":
            break
        await asyncio.sleep(0.01)
    await ctx.call("s3", "CreateBucket", {"Bucket": "bucket"})
    wanted = {"LambdaFunctionArn": FUNCTION, "Events": ["s3:ObjectCreated:*"]}
    config = {"LambdaFunctionConfigurations": [wanted]}
    await ctx.call(
        "s3", "PutBucketNotificationConfiguration", {"Bucket": "bucket", "NotificationConfiguration": config}
    )


async def _run(ctx: Context, entered: Entered) -> dict[str, float]:
    def put(key: str) -> Awaitable[Any]:
        return ctx.call("s3", "PutObject", {"Bucket": "bucket", "Key": key, "Body": b"x" * 1024})

    async def burst() -> None:
        await asyncio.gather(*[put(f"burst/{number}") for number in range(BURST)])

    event = {"FunctionName": "f", "Payload": b"{}", "InvocationType": "Event"}
    started_s = time.perf_counter()
    for _ in range(CALLS):
        await ctx.call("lambda", "Invoke", {"FunctionName": "f", "Payload": b"{}"})
    warm_ms = (time.perf_counter() - started_s) / CALLS * 1000
    events = [await entered.after(lambda: ctx.call("lambda", "Invoke", event)) for _ in range(EVENTS)]
    puts = [await entered.after(lambda key=f"one/{n}": put(key)) for n in range(EVENTS)]  # type: ignore[misc]
    return {
        "warm Invoke": warm_ms,
        "Event -> handler entered": statistics.median(events),
        "put -> handler entered": statistics.median(puts),
        "burst of 300 puts": await entered.after(burst, times=BURST),
    }


if __name__ == "__main__":
    main()
