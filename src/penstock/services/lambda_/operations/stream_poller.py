"""One stream's pollers: a reader per shard, whose progress is stored with each step that it takes.

Source: https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html
"""

import asyncio
import base64
import logging
from datetime import datetime
from typing import Any

import orjson

from penstock.engines.functions.ports import Invocation, Outcome, Throttled
from penstock.engines.patterns.match import compile_pattern
from penstock.engines.polling.stream import (
    Discarded,
    Policy,
    Progress,
    on_failure,
    on_look,
    on_records,
    on_success,
    retry_delay_ms,
)
from penstock.framework.context import Context
from penstock.framework.wakeups import Wakeup, wait
from penstock.kernel import arn
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.kernel.scope import Principal, Scope, root_principal
from penstock.services.lambda_ import events, limits, rules, state
from penstock.services.lambda_.operations import invocations
from penstock.services.lambda_.operations.queue_poller import failed_items
from penstock.services.lambda_.operations.role_credentials import role_principal
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import EventSource, Function, Version
from penstock.storage import outbox
from penstock.storage.transactions import Transaction

log = logging.getLogger("penstock.lambda.sources")

AFTER_ERROR_MS = 5000
THROTTLED_MS_FIRST, THROTTLED_MS_MAX = 500, 30_000
SHARDS_LOOK_MS = 10_000
_Record = dict[str, Any]


class StreamPoller:
    """Runs until it is retired. `wakeup` is signalled by commits of the stream's service."""

    def __init__(self, ctx: Context, source: EventSource, wakeup: Wakeup) -> None:
        self._ctx, self.source, self.wakeup = ctx, source, wakeup
        self._stream = arn.parse(source.source_arn)
        self._scope = Scope(self._stream.account_id, self._stream.region, self._stream.partition)
        self._named = Named(ctx.scope, source.function, source.qualifier)
        self.is_retired = False

    def retire(self) -> None:
        """Take no more records."""
        self.is_retired = True
        self.wakeup.signal()

    async def run(self) -> None:
        """A reader for each shard whose parents are read to their end."""
        running: set[str] = set()
        async with asyncio.TaskGroup() as tasks:
            while not self.is_retired:
                changed = self.wakeup.changed
                try:
                    ready = await self._ready_shards()
                except (ServiceError, Unavailable) as error:
                    log.warning("stream can't be listed stream=%s reason=%s", self.source.source_arn, error)
                    await wait(changed, self._ctx.clock, self._ctx.clock.now_ms() + AFTER_ERROR_MS)
                    continue
                for shard_id in ready - running:
                    running.add(shard_id)
                    tasks.create_task(ShardReader(self, shard_id).run(), name="penstock-shard-reader")
                await changed.wait()

    async def _ready_shards(self) -> set[str]:
        answer = await self.call("ListShards", {"StreamARN": self.source.source_arn})
        shards = answer["Shards"]
        known = {shard["ShardId"] for shard in shards}

        def unfinished(tx: Any) -> set[str]:
            done = {
                shard_id
                for shard_id in known
                if state.find_progress(tx, self._ctx.scope, self.source.id, shard_id).is_finished
            }
            return {
                shard["ShardId"]
                for shard in shards
                if shard["ShardId"] not in done
                and all(
                    shard.get(member) is None or shard[member] in done or shard[member] not in known
                    for member in ("ParentShardId", "AdjacentParentShardId")
                )
            }

        return await self._ctx.store.read(unfinished)

    async def call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        """Ask the stream's service as the function's role."""
        _, version = await self.target()
        role: Principal = root_principal(self._ctx.scope.account_id)
        if arn.is_arn(version.role):
            role = role_principal(version.role, self._named.name)
        return await self._ctx.call("kinesis", operation, params, as_=role, scope=self._scope)

    async def target(self) -> tuple[Function, Version]:
        return await invocations.find_target(self._ctx, self._named)

    @property
    def ctx(self) -> Context:
        return self._ctx

    @property
    def named(self) -> Named:
        return self._named

    @property
    def region(self) -> str:
        return self._scope.region


class ShardReader:
    """Reads one shard from its checkpoint to its end, one batch at a time."""

    def __init__(self, poller: StreamPoller, shard_id: str) -> None:
        self._poller, self._shard_id = poller, shard_id
        self._ctx, self._source = poller.ctx, poller.source
        self._policy = Policy(
            poller.source.retries_max,
            None if poller.source.age_s_max is None else poller.source.age_s_max * 1000,
            poller.source.has_bisect,
        )
        self._patterns = [compile_pattern(text) for text in poller.source.filters]
        self._progress = Progress()
        self._throttles = 0
        self._held: list[_Record] = []

    async def run(self) -> None:
        stored = await self._ctx.store.read(
            lambda tx: state.find_progress(tx, self._ctx.scope, self._source.id, self._shard_id)
        )
        self._progress = Progress(stored.checkpoint, tuple(stored.pending))
        while not self._poller.is_retired:
            changed = self._poller.wakeup.changed
            try:
                look_again_ms = await self._round()
            except (ServiceError, Unavailable) as error:
                log.warning("shard can't be read shard=%s reason=%s", self._shard_id, error)
                look_again_ms = self._ctx.clock.now_ms() + AFTER_ERROR_MS
            if look_again_ms == -1:
                return
            if look_again_ms != 0:
                await wait(changed, self._ctx.clock, look_again_ms)

    async def _round(self) -> int | None:
        """One step. When to take the next: 0 at once, None with the next commit, -1 never: the shard has ended."""
        with self._ctx.clock.busy():
            if self._progress.pending:
                head = self._progress.pending[0]
                records = await self._read(head.first, last=head.last)
                return await self._try(records)
            records, is_end = await self._gather()
            if not records and is_end:
                await self._keep(self._progress, is_finished=True)
                self._poller.wakeup.signal()
                return -1
        if not records:
            return None
        # Not stored before it is tried: a crash until then only means that it is read again.
        self._progress = on_records(self._progress, records[0]["SequenceNumber"], records[-1]["SequenceNumber"])
        self._held = records
        return 0

    async def _gather(self) -> tuple[list[_Record], bool]:
        """What comes after the checkpoint, up to a batch; with a window, waiting for more."""
        until_ms = 0
        while True:
            changed = self._poller.wakeup.changed
            records, is_end = await self._read_next()
            now_ms = self._ctx.clock.now_ms()
            if not records or is_end or len(records) >= self._source.batch_size or not self._source.window_s:
                return records, is_end
            until_ms = until_ms or now_ms + self._source.window_s * 1000
            if now_ms >= until_ms or self._poller.is_retired:
                return records, is_end
            await wait(changed, self._ctx.clock, until_ms)

    async def _read_next(self) -> tuple[list[_Record], bool]:
        params: dict[str, Any] = {"StreamARN": self._source.source_arn, "ShardId": self._shard_id}
        if self._progress.checkpoint is not None:
            params["ShardIteratorType"] = "AFTER_SEQUENCE_NUMBER"
            params["StartingSequenceNumber"] = self._progress.checkpoint
        else:
            params |= self._starting_position()
        iterator = (await self._poller.call("GetShardIterator", params))["ShardIterator"]
        answer = await self._poller.call("GetRecords", {"ShardIterator": iterator, "Limit": self._source.batch_size})
        records = _within_payload(answer["Records"])
        return records, "NextShardIterator" not in answer and len(records) == len(answer["Records"])

    def _starting_position(self) -> dict[str, Any]:
        """LATEST means when the mapping was made: what came since must not be lost while the poller starts."""
        if self._source.starting_position == "LATEST":
            return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": rules.when(self._source.created_ms)}
        if self._source.starting_position == "AT_TIMESTAMP":
            return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": rules.when(self._source.starting_ms)}
        return {"ShardIteratorType": "TRIM_HORIZON"}

    async def _read(self, first: str, *, last: str) -> list[_Record]:
        """The records of a pending range: those at hand, or read again."""
        if self._held and self._held[0]["SequenceNumber"] == first and self._held[-1]["SequenceNumber"] == last:
            return self._held
        params = {
            "StreamARN": self._source.source_arn,
            "ShardId": self._shard_id,
            "ShardIteratorType": "AT_SEQUENCE_NUMBER",
            "StartingSequenceNumber": first,
        }
        iterator = (await self._poller.call("GetShardIterator", params))["ShardIterator"]
        answer = await self._poller.call("GetRecords", {"ShardIterator": iterator, "Limit": self._source.batch_size})
        self._held = [record for record in answer["Records"] if int(record["SequenceNumber"]) <= int(last)]
        return self._held

    async def _try(self, records: list[_Record]) -> int | None:
        now_ms = self._ctx.clock.now_ms()
        times = [(record["SequenceNumber"], _ms(record["ApproximateArrivalTimestamp"])) for record in records]
        progress, discarded = on_look(self._progress, self._policy, times, now_ms)
        if discarded is not None or not records:
            progress = progress if records else on_success(self._progress)
            await self._keep(progress, discarded=discarded, records=records)
            return 0
        wanted = [record for record in records if self._is_wanted(record)]
        if not wanted:
            await self._keep(on_success(self._progress))
            return 0
        try:
            outcome = await self._invoke(wanted)
        except (Throttled, Unavailable):
            self._throttles += 1
            return now_ms + min(THROTTLED_MS_FIRST << min(self._throttles, 10), THROTTLED_MS_MAX)
        self._throttles = 0
        return await self._conclude(records, wanted, outcome)

    async def _conclude(self, records: list[_Record], wanted: list[_Record], outcome: Outcome) -> int | None:
        numbers = [record["SequenceNumber"] for record in records]
        failed = self._failed_from(wanted, outcome)
        if failed == "":
            await self._keep(on_success(self._progress))
            return 0
        before = len(self._progress.pending)
        progress, discarded = on_failure(self._progress, self._policy, numbers, failed_from=failed)
        await self._keep(progress, discarded=discarded, records=records, outcome=outcome)
        if discarded is not None or len(progress.pending) > before:
            return 0
        return self._ctx.clock.now_ms() + retry_delay_ms(progress.pending[0].failures)

    def _failed_from(self, wanted: list[_Record], outcome: Outcome) -> str | None:
        """The lowest failed number, None where the whole range failed, "" where nothing did."""
        if outcome.function_error:
            return None
        if "ReportBatchItemFailures" not in self._source.response_types:
            return ""
        failed = failed_items(outcome.payload, {record["SequenceNumber"] for record in wanted})
        if failed is None:
            return None
        return min(failed, key=int) if failed else ""

    async def _invoke(self, records: list[_Record]) -> Outcome:
        function, version = await self._poller.target()
        payload = orjson.dumps({"Records": [self._shown(record, version) for record in records]})
        trace_id = invocations.new_trace_id(self._ctx)
        invocation = Invocation(self._ctx.entropy.uuid(), payload, self._poller.named.arn, trace_id, "")
        return await invocations.run(self._ctx, self._poller.named.scope, function, version, invocation)

    def _is_wanted(self, record: _Record) -> bool:
        """Filters see the data as the JSON that it is; what isn't JSON matches no filter of the data."""
        if not self._patterns:
            return True
        try:
            data = orjson.loads(record["Data"])
        except orjson.JSONDecodeError:
            data = record["Data"].decode("utf-8", "replace")
        seen = {"data": data, "partitionKey": record["PartitionKey"], "sequenceNumber": record["SequenceNumber"]}
        return any(pattern.matches(seen) for pattern in self._patterns)

    def _shown(self, record: _Record, version: Version) -> dict[str, Any]:
        return {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": record["PartitionKey"],
                "sequenceNumber": record["SequenceNumber"],
                "data": base64.b64encode(record["Data"]).decode(),
                "approximateArrivalTimestamp": _ms(record["ApproximateArrivalTimestamp"]) / 1000,
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{self._shard_id}:{record['SequenceNumber']}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": version.role,
            "awsRegion": self._poller.region,
            "eventSourceARN": self._source.source_arn,
        }

    async def _keep(
        self,
        progress: Progress,
        *,
        discarded: Discarded | None = None,
        records: list[_Record] | None = None,
        outcome: Outcome | None = None,
        is_finished: bool = False,
    ) -> None:
        """Store the step, and in the same transaction intend what tells of records that were given up."""
        stored = state.ShardProgress(progress.checkpoint, list(progress.pending), is_finished)
        now_ms, unique = self._ctx.clock.now_ms(), self._ctx.entropy.uuid()
        told: dict[str, object] | None = None
        if discarded is not None and self._source.on_failure:
            _, version = await self._poller.target()
            told = self._failure(discarded, records or [], outcome, version, now_ms, unique)

        def keep(tx: Transaction) -> None:
            if state.find_event_source(tx, self._ctx.scope, self._source.id) is None:
                return
            state.put_progress(tx, self._ctx.scope, self._source.id, self._shard_id, stored)
            if told is not None:
                outbox.add(tx, state.DELIVER, told, due_ms=now_ms, id=unique)

        await self._ctx.store.transact(keep)
        self._progress = progress

    def _failure(
        self,
        discarded: Discarded,
        records: list[_Record],
        outcome: Outcome | None,
        version: Version,
        now_ms: int,
        unique: str,
    ) -> dict[str, object]:
        inside = [r for r in records if int(discarded.first) <= int(r["SequenceNumber"]) <= int(discarded.last)]
        failures = self._progress.pending[0].failures + (outcome is not None) if self._progress.pending else 1
        function_arn = self._poller.named.arn
        batch = {
            "shardId": self._shard_id,
            "startSequenceNumber": discarded.first,
            "endSequenceNumber": discarded.last,
            "approximateArrivalOfFirstRecord": _iso(inside[0]) if inside else "",
            "approximateArrivalOfLastRecord": _iso(inside[-1]) if inside else "",
            "batchSize": len(inside),
            "streamArn": self._source.source_arn,
        }
        body = events.stream_failure(
            unique, function_arn, discarded.reason, failures, version, outcome, batch, now_ms=now_ms
        )
        return {
            "account_id": self._ctx.scope.account_id,
            "region": self._ctx.scope.region,
            "role": version.role,
            "function": self._source.function,
            "target": self._source.on_failure,
            "body": body,
            "resource": function_arn,
            "is_success": False,
            "key": f"aws/lambda/{self._source.id}/{self._shard_id}/{rules.when(now_ms):%Y/%m/%d}/{unique}",
        }


def _within_payload(records: list[_Record]) -> list[_Record]:
    """As many as fit into one invocation."""
    size = 0
    for index, record in enumerate(records):
        size += len(record["Data"]) * 4 // 3 + 600
        if index and size > limits.SYNC_PAYLOAD_BYTES_MAX.value:
            return records[:index]
    return records


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _iso(record: _Record) -> str:
    moment: datetime = record["ApproximateArrivalTimestamp"]
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
