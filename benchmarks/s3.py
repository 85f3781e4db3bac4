"""CPU time of small S3 calls, from the room's door to the memory store."""

import asyncio
import time

from penstock.framework.context import Context
from penstock.services import s3
from penstock.testkit.world import World

CALLS = 2000
LIMIT_MS = 0.3


def main() -> None:
    asyncio.run(_measure())


async def _measure() -> None:
    ctx = World(s3.SERVICE).context()
    await ctx.call("s3", "CreateBucket", {"Bucket": "bucket"})
    for operation, more in (("PutObject", {"Body": b"x" * 100}), ("GetObject", {}), ("HeadObject", {})):
        cpu_ms = await _cpu_ms(ctx, operation, more)
        print(f"{operation:12} {cpu_ms:.4f} ms CPU, {cpu_ms / LIMIT_MS:.2f} of its limit")


async def _cpu_ms(ctx: Context, operation: str, more: dict[str, object]) -> float:
    started_s = time.process_time()
    for number in range(CALLS):
        await ctx.call("s3", operation, {"Bucket": "bucket", "Key": f"d{number % 50}/k{number}", **more})
    return (time.process_time() - started_s) / CALLS * 1000
