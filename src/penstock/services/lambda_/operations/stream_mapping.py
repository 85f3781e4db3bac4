"""What all shards of a mapped stream share: the stream, the function, and the place where steps are stored."""

import asyncio
from collections.abc import Callable, Sequence

from penstock.engines.functions.ports import Outcome
from penstock.engines.polling.stream import Discarded, Policy
from penstock.framework.context import Context
from penstock.framework.wakeups import Wakeup
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.services.lambda_ import events, messages, rules, state
from penstock.services.lambda_.operations import mappings
from penstock.services.lambda_.operations.mappings import EventSource, ShardProgress
from penstock.services.lambda_.operations.source_metrics import source_metrics_of
from penstock.services.lambda_.operations.source_targets import Target
from penstock.services.lambda_.operations.stream_sources import Page, StreamRecord, StreamSource
from penstock.storage import outbox
from penstock.storage.transactions import Transaction

RETENTION_LOOK_MS = 300_000
KAFKA_RETRIES_WITH_DESTINATION = 10
"""Source: https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html"""


class StreamMapping:
    """`wakeup` is signalled by commits of the stream's service; `retired` is set once no more is to be taken."""

    def __init__(self, ctx: Context, source: EventSource, stream: StreamSource, target: Target, wakeup: Wakeup) -> None:
        self.ctx, self.source, self.stream, self.target, self.wakeup = ctx, source, stream, target, wakeup
        self.retired = asyncio.Event()
        self._metrics = source_metrics_of(ctx.platform)
        self._result = ""
        self._retention: tuple[int | None, int] | None = None

    @property
    def is_retired(self) -> bool:
        return self.retired.is_set()

    def retire(self) -> None:
        """Take no more records; what is being tried is seen to its end."""
        self.retired.set()
        self.wakeup.signal()

    async def read(self, shard_id: str, after: str | None) -> Page:
        page = await self.stream.read(shard_id, after)
        self.count("PolledEventCount", page.polled)
        self.count("FilteredOutEventCount", page.polled - len(page.records))
        return page

    async def policy(self) -> Policy:
        """A record is given up at the latest when the stream itself forgets it."""
        source, now_ms = self.source, self.ctx.clock.now_ms()
        if self._retention is None or now_ms >= self._retention[1]:
            try:
                kept_ms = await self.stream.retention_ms()
            except (ServiceError, Unavailable):
                kept_ms = None
            self._retention = (kept_ms, now_ms + RETENTION_LOOK_MS)
        bounds = [self._retention[0], None if source.age_s_max is None else source.age_s_max * 1000]
        age_ms_max = min((bound for bound in bounds if bound is not None), default=None)
        retries_max = source.retries_max
        if retries_max is None and source.is_kafka and source.on_failure:
            retries_max = KAFKA_RETRIES_WITH_DESTINATION
        return Policy(retries_max, age_ms_max, source.has_bisect)

    async def store(
        self, put: Callable[[Transaction], ShardProgress | None], *, told: dict[str, object] | None, result: str
    ) -> ShardProgress | None:
        """One step, what tells of it, and LastProcessingResult. None where the mapping is gone."""
        source, scope = self.source, self.ctx.scope
        now_ms, unique = self.ctx.clock.now_ms(), self.ctx.entropy.uuid()
        is_news = bool(result) and result != self._result

        def keep(tx: Transaction) -> ShardProgress | None:
            if mappings.find_source(tx, scope, source.id) is None:
                return None
            if told is not None:
                outbox.add(tx, state.DELIVER, told, due_ms=now_ms, id=unique)
            if is_news:
                mappings.put_result(tx, scope, source.id, result)
            return put(tx)

        stored = await self.ctx.store.transact(keep)
        self._result = result or self._result
        return stored

    async def note_source_error(self, error: ServiceError | Unavailable) -> None:
        """What LastProcessingResult says where the stream can't be read; passing faults aren't told."""
        if isinstance(error, ServiceError) and error.message.startswith("Function not found"):
            result = "PROBLEM: Function call failed"
        elif isinstance(error, Unavailable):
            result = messages.PROBLEM_OF_CLUSTER if self.source.is_kafka else ""
        elif error.status == 429 or error.status >= 500 or "Throughput" in error.code:
            result = ""
        else:
            result = messages.problem_of_stream(self.source.source_arn)
        if result and result != self._result:
            await self.store(lambda tx: None, told=None, result=result)

    async def told_of(
        self,
        shard_id: str,
        discarded: Discarded,
        records: Sequence[StreamRecord],
        outcome: tuple[Outcome, str] | None,
    ) -> dict[str, object] | None:
        """What the on-failure destination is sent; None where there is none."""
        self.count("DroppedEventCount" if not self.source.on_failure else "OnFailureDestinationDeliveredEventCount",
                   len(records))  # fmt: skip
        if not self.source.on_failure:
            return None
        _, version = await self.target.find()
        now_ms, unique = self.ctx.clock.now_ms(), self.ctx.entropy.uuid()
        is_bucket = ":s3:" in self.source.on_failure
        body = events.stream_failure(
            unique,
            self.target.named.arn,
            discarded,
            outcome,
            {self.stream.info_name: self.stream.batch_info(shard_id, records, discarded.first, discarded.last)},
            payload=self.stream.event(shard_id, [one.shown for one in records]) if is_bucket else None,
            now_ms=now_ms,
        )
        more = self.stream.produced(shard_id, records, body) if self.source.on_failure.startswith("kafka://") else {}
        stamp = f"{rules.when(now_ms):%Y/%m/%d/%Y-%m-%dT%H.%M.%S}"
        return {
            "account_id": self.ctx.scope.account_id,
            "region": self.ctx.scope.region,
            "role": version.role,
            "function": self.source.function,
            "mapping": self.source.id,
            "target": self.source.on_failure,
            "body": body,
            "resource": self.target.named.arn,
            "is_success": False,
            "key": f"aws/lambda/{self.source.id}/{shard_id}/{stamp}-{unique}",
            **more,
        }

    def on_done(self, records: Sequence[StreamRecord]) -> None:
        age_ms = max(0, self.ctx.clock.now_ms() - records[-1].at_ms)
        self._metrics.on_iterator_age(self.ctx.scope, self.source.id, self.source.function, age_ms)

    def count(self, metric: str, value: int) -> None:
        self._metrics.count(metric, self.ctx.scope, self.source.id, self.source.function, value)
