"""A mapped stream's pollers: a reader for each shard whose parents are read to their end."""

import asyncio
import logging

from penstock.framework.context import Context
from penstock.framework.wakeups import Wakeup, wait
from penstock.kernel import arn
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.kernel.scope import Scope
from penstock.services.lambda_.operations import mappings
from penstock.services.lambda_.operations.kafka_source import KafkaStream
from penstock.services.lambda_.operations.mappings import EventSource
from penstock.services.lambda_.operations.shard_reader import AFTER_ERROR_MS_MAX, ShardReader
from penstock.services.lambda_.operations.source_targets import Target, principal_of
from penstock.services.lambda_.operations.stream_mapping import StreamMapping
from penstock.services.lambda_.operations.stream_sources import Shard, StreamSource, stream_source
from penstock.storage.transactions import ReadTransaction

log = logging.getLogger("penstock.lambda.sources")

AFTER_ERROR_MS = 1000


class StreamPoller:
    """Runs until it is retired. `wakeup` is signalled by commits of the stream's service."""

    def __init__(self, ctx: Context, source: EventSource, wakeup: Wakeup) -> None:
        self._ctx, self._source, self._wakeup = ctx, source, wakeup
        self._target = Target(ctx, source)
        self._mapping: StreamMapping | None = None
        self._ended = Wakeup()
        self._is_retired = asyncio.Event()

    def retire(self) -> None:
        """Take no more records; what is being tried is seen to its end."""
        self._is_retired.set()
        if self._mapping is not None:
            self._mapping.retire()
        self._ended.signal()

    async def run(self) -> None:
        with self._ctx.clock.busy():
            stream = await self._open()
        mapping = self._mapping = StreamMapping(self._ctx, self._source, stream, self._target, self._wakeup)
        if self._is_retired.is_set():
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                pump = tasks.create_task(stream.run(), name="penstock-stream")
                await self._read_shards(mapping)
                pump.cancel()
        finally:
            await stream.close()

    async def _read_shards(self, mapping: StreamMapping) -> None:
        """A reader for each shard that is ready, until the mapping is retired and all of them have ended."""
        running: set[str] = set()
        errors = 0
        async with asyncio.TaskGroup() as tasks:
            while not mapping.is_retired:
                changed = self._ended.changed
                try:
                    with self._ctx.clock.busy():
                        ready, errors = await self._ready(await mapping.stream.shards()), 0
                except (ServiceError, Unavailable) as error:
                    errors += 1
                    await self._on_error(mapping, error, errors)
                    continue
                for shard in ready:
                    if shard.id not in running:
                        running.add(shard.id)
                        tasks.create_task(self._read(mapping, shard, running), name="penstock-shard")
                await changed.wait()

    async def _open(self) -> StreamSource:
        """The stream, read as the function's role has it when the poller starts; each call looks it up anew."""
        try:
            role = (await self._target.find())[1].role
        except ServiceError:
            role = ""
        if self._source.is_kafka:
            principal = principal_of(role, self._ctx, self._target.named.name)
            return KafkaStream(self._ctx, self._source, principal, self._wakeup, self._ended)
        return stream_source(self._source, self._call, role)

    async def _read(self, mapping: StreamMapping, shard: Shard, running: set[str]) -> None:
        await ShardReader(mapping, shard).run()
        running.discard(shard.id)
        self._ended.signal()  # a finished shard's children may be read; or the stream isn't what it was

    async def _on_error(self, mapping: StreamMapping, error: ServiceError | Unavailable, errors: int) -> None:
        log.warning("stream can't be listed stream=%s reason=%s", self._source.source_arn, error)
        if errors > 1:  # a stream that is being made isn't there yet
            await mapping.note_source_error(error)
        delay_ms = min(AFTER_ERROR_MS << min(errors - 1, 10), AFTER_ERROR_MS_MAX)
        await wait(self._is_retired, self._ctx.clock, self._ctx.clock.now_ms() + delay_ms)

    async def _ready(self, shards: list[Shard]) -> list[Shard]:
        """Unfinished shards whose parents are finished, or beyond the stream's retention."""
        known = {shard.id for shard in shards}

        def unfinished(tx: ReadTransaction) -> list[Shard]:
            scope, id = self._ctx.scope, self._source.id
            done = {
                one.id for one in shards if mappings.find_progress_since(tx, scope, id, one.id, one.begin).is_finished
            }
            return [
                shard
                for shard in shards
                if shard.id not in done and all(one in done or one not in known for one in shard.parents)
            ]

        return await self._ctx.store.read(unfinished)

    async def _call(self, service: str, operation: str, params: dict[str, object]) -> dict[str, object]:
        """Ask the stream's service as the function's role."""
        _, version = await self._target.find()
        principal = principal_of(version.role, self._ctx, self._target.named.name)
        stream = arn.parse(self._source.source_arn)
        scope = Scope(stream.account_id, stream.region, stream.partition)
        return await self._ctx.call(service, operation, params, as_=principal, scope=scope)
