"""How often a FIFO queue may be asked, counted in memory where a node is told to keep AWS's limits.

A queue takes 300 calls a second of each kind; its groups 300 sends each, where its FifoThroughputLimit is
perMessageGroupId.
Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-fifo.html
"""

from collections.abc import Iterable

from penstock.engines.functions.concurrency import TokenBucket
from penstock.framework.context import Context
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.sqs import limits, messages, state

_RATES = "sqs.rates"
_GROUPS_KNOWN_MAX = 10_000
Place = tuple[Scope, str, str, str]


async def check_rate(ctx: Context, scope: Scope, name: str, kind: str, groups: Iterable[str] = ()) -> None:
    """Count a call. Raises RequestThrottled; a queue that isn't there is for others to refuse."""
    if ctx.platform.limits != "aws":
        return
    queue = await ctx.store.read(lambda tx: state.find_queue(tx, scope, name))
    if queue is None or not queue.is_fifo:
        return
    buckets: dict[Place, TokenBucket] = ctx.platform.volatile.setdefault(_RATES, {})
    if len(buckets) > _GROUPS_KNOWN_MAX:
        buckets.clear()
    is_per_group = queue.attributes.get("FifoThroughputLimit") == "perMessageGroupId"
    if is_per_group and kind != "send":
        return
    rate, now_s = float(limits.FIFO_CALLS_A_SECOND.value), ctx.clock.now_ms() / 1000
    for group in sorted(set(groups)) if is_per_group else [""]:
        bucket = buckets.setdefault((scope, name, kind, group), TokenBucket(rate, rate, rate, now_s))
        if not bucket.take(now_s):
            raise ServiceError("RequestThrottled", messages.THROTTLED)
