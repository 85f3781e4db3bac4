"""One shard of a stream, read by one lane or by several that share its keys.

Each lane stores its step in the transaction that intends what tells of records that were given up. Nothing is stored
before a batch is tried: a crash until then only means that it is read again.
"""

import asyncio
import logging
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import orjson

from penstock.engines.functions.ports import Outcome, Throttled
from penstock.engines.polling.batching import ENVELOPE_BYTES, PAYLOAD_BYTES_MAX, Rule, closes_at_ms, fitting
from penstock.engines.polling.lanes import is_done, lane_of, restart, still_needed
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
from penstock.engines.polling.windows import (
    GRACE_MS,
    STATE_BYTES_MAX,
    Window,
    is_over,
    on_answer,
    on_final_failure,
    window_of,
    within,
)
from penstock.framework.wakeups import wait
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.services.lambda_.operations import mappings
from penstock.services.lambda_.operations.batch_answers import failed_items, window_state
from penstock.services.lambda_.operations.mappings import LaneProgress, ShardProgress
from penstock.services.lambda_.operations.stream_mapping import StreamMapping
from penstock.services.lambda_.operations.stream_sources import Page, Shard, StreamRecord, iso
from penstock.storage.transactions import Transaction

log = logging.getLogger("penstock.lambda.sources")

AFTER_ERROR_MS, AFTER_ERROR_MS_MAX = 1000, 60_000
THROTTLED_MS_FIRST, THROTTLED_MS_MAX = 500, 30_000
PAGES_KEPT = 4
_OF_ANOTHER_STREAM = ("InvalidArgumentException", "ResourceNotFoundException")
"""What a sequence number is answered once its stream was deleted, or made again under its name."""
UNSTORED_MAX = 1000
"""So many records may be passed over, filtered or another lane's, before that is stored."""


class ShardReader:
    """Runs the shard's lanes until they have read it to its end, the mapping's poller is retired, or the stream is
    another one.
    """

    def __init__(self, mapping: StreamMapping, shard: Shard) -> None:
        self.mapping, self.shard_id, self._begin = mapping, shard.id, shard.begin
        self._stored = ShardProgress()
        self._lanes: list[Lane] = []
        self._pages: deque[tuple[int, Page, list[list[StreamRecord]]]] = deque(maxlen=PAGES_KEPT)
        self._reads: dict[str | None, asyncio.Future[Page]] = {}
        self._empty: tuple[str | None, asyncio.Event] | None = None
        self.is_stale = False

    async def run(self) -> None:
        """Until then; that the shard's end was reached is stored."""
        source, ctx = self.mapping.source, self.mapping.ctx
        with ctx.clock.busy():
            known = await ctx.store.read(
                lambda tx: mappings.find_progress_since(tx, ctx.scope, source.id, self.shard_id, self._begin)
            )
        self._stored = adapted(known, source.parallelization, source.revision)
        self._stored.begin = self._begin
        self._lanes = [Lane(self, index, lane) for index, lane in enumerate(self._stored.lanes)]
        async with asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(lane.run(), name="penstock-lane") for lane in self._lanes]
        if all(run.result() for run in runs):
            await self.store(None, LaneProgress())

    async def read_on(self, lane: "Lane", changed: asyncio.Event) -> None:
        """Let a lane take what comes next, and those that stand at the same place with it."""
        after, position = lane.read_to, lane.position
        if len(self._lanes) == 1:
            page = await self.mapping.read(self.shard_id, after)
            lane.take(page, self._shares(page)[0])
            return
        known = next((kept for kept in self._pages if kept[0] <= position < int(kept[1].last or -1)), None)
        if known is not None:
            lane.take(known[1], known[2][lane.index])
        elif self._empty != (after, changed):
            page = await self._read_once(after)
            shares = self._shares(page)
            if page.last is not None:
                self._pages.append((position, page, shares))
            elif not page.is_end:
                self._empty = (after, changed)
            for other in self._lanes:
                if other is lane or (other.position == position and other.has_room):
                    other.take(page, shares[other.index])

    async def _read_once(self, after: str | None) -> Page:
        """Lanes that ask for the same at the same time share one read."""
        if after in self._reads:
            return await self._reads[after]
        read: asyncio.Future[Page] = asyncio.get_running_loop().create_future()
        self._reads[after] = read
        try:
            page = await self.mapping.read(self.shard_id, after)
        except (ServiceError, Unavailable) as error:
            read.set_exception(error)
            return await read
        else:
            read.set_result(page)
        finally:
            del self._reads[after]
            read.cancel()
        return page

    def _shares(self, page: Page) -> list[list[StreamRecord]]:
        """A page's records by lane, without those that an earlier division has done with."""
        records, generations = page.records, self._stored.generations
        if generations:
            records = [one for one in records if not is_done(one.key, one.order, generations)]
        shares: list[list[StreamRecord]] = [[] for _ in self._lanes]
        for one in records:
            shares[lane_of(one.key, len(shares))].append(one)
        return shares

    async def store(
        self, lane: int | None, progress: LaneProgress, *, told: dict[str, object] | None = None, result: str = ""
    ) -> None:
        """Put one lane's step beside what the others have stored, and what tells of it into the outbox."""

        def put(tx: Transaction) -> ShardProgress | None:
            return self._put(tx, lane, progress)

        self._stored = await self.mapping.store(put, told=told, result=result) or self._stored

    def _put(self, tx: Transaction, lane: int | None, step: LaneProgress) -> ShardProgress:
        """Lanes commit side by side, so what the others stored is read in the same transaction."""
        scope, id = self.mapping.ctx.scope, self.mapping.source.id
        stored = self._stored
        if len(stored.lanes) > 1:
            known = mappings.find_progress(tx, scope, id, self.shard_id)
            stored = known if (known.revision, known.begin) == (stored.revision, stored.begin) else stored
        lanes = [step if index == lane else one for index, one in enumerate(stored.lanes)]
        marks = [one.checkpoint for one in lanes]
        lowest = None if None in marks else str(min(int(mark) for mark in marks if mark is not None))
        generations = still_needed(lowest, stored.generations) if stored.generations else []
        put = ShardProgress(stored.revision, stored.begin, lanes, generations, is_finished=lane is None)
        mappings.put_progress(tx, scope, id, self.shard_id, put)
        return put


def adapted(known: ShardProgress, lanes: int, revision: str) -> ShardProgress:
    """What was stored, for the mapping as it is now: other settings cut pending batches anew."""
    progress = ShardProgress(revision, known.begin, list(known.lanes), list(known.generations), known.is_finished)
    if known.lanes and known.revision != revision:
        progress.lanes = [replace(lane, pending=[]) for lane in known.lanes]
    if known.lanes and len(known.lanes) != lanes:
        begin, progress.generations = restart([lane.checkpoint for lane in known.lanes], known.generations)
        progress.lanes = [LaneProgress(begin) for _ in range(lanes)]
    progress.lanes = progress.lanes or [LaneProgress() for _ in range(lanes)]
    return progress


@dataclass(frozen=True, slots=True)
class _Step:
    """What a lane does next: at once, with news of the stream, at a time, or never again."""

    until_ms: int | None = 0
    is_woken_by_news: bool = False
    is_end: bool = False


_AT_ONCE = _Step()


class Lane:
    """Works through its records one batch at a time."""

    def __init__(self, shard: ShardReader, index: int, stored: LaneProgress) -> None:
        self._shard, self.index, self._mapping = shard, index, shard.mapping
        self._ctx, self._source = shard.mapping.ctx, shard.mapping.source
        state_bytes = STATE_BYTES_MAX if self._source.tumbling_s else 0
        bytes_max = PAYLOAD_BYTES_MAX - ENVELOPE_BYTES - state_bytes
        self._rule = Rule(self._source.batch_size, self._source.window_s * 1000, bytes_max)
        self._progress = Progress(stored.checkpoint, tuple(stored.pending))
        self._window = stored.window
        if self._window is not None and self._window.end_ms - self._window.start_ms != self._source.tumbling_s * 1000:
            self._window = replace(self._window, is_early=True)  # its size was changed
        self._waiting: list[StreamRecord] = []
        self._bytes = 0
        self.read_to = stored.checkpoint
        self._is_end = False
        self._first_at_ms = 0
        self._unstored = 0
        self._throttles = self._errors = 0
        self._outcome: tuple[Outcome, str] | None = None

    async def run(self) -> bool:
        """Whether it has come to the shard's end."""
        while not self._mapping.is_retired and not self._shard.is_stale:
            changed = self._mapping.wakeup.changed
            try:
                step = await self._step(changed)
                self._errors = 0
            except (ServiceError, Unavailable) as error:
                log.warning("shard can't be read shard=%s reason=%s", self._shard.shard_id, error)
                step = await self._on_error(error)
            if step.is_end:
                return True
            if step.until_ms == 0:
                continue
            news = changed if step.is_woken_by_news else self._mapping.retired
            await wait(news, self._ctx.clock, step.until_ms)
        if self._unstored and not self._progress.pending:
            await self._keep(self._progress, self._window)
        return False

    async def _on_error(self, error: ServiceError | Unavailable) -> _Step:
        self._errors += 1
        delay_ms = min(AFTER_ERROR_MS << min(self._errors - 1, 10), AFTER_ERROR_MS_MAX)
        if isinstance(error, ServiceError) and error.code in _OF_ANOTHER_STREAM:
            self._shard.is_stale = True
            self._mapping.wakeup.signal()
        if self._errors > 1:
            await self._mapping.note_source_error(error)
        return _Step(self._ctx.clock.now_ms() + delay_ms)

    async def _step(self, changed: asyncio.Event) -> _Step:
        with self._ctx.clock.busy():
            if not self._progress.pending:
                count, is_full = await self._gather(changed)
                now_ms = self._ctx.clock.now_ms()
                if self._window is not None and (not count or self._window.is_early):
                    next_at_ms = self._waiting[0].at_ms if self._waiting else None
                    if is_over(self._window, next_at_ms, now_ms, is_shard_end=self._is_end):
                        return await self._close_window(self._window)
                    return _Step(self._window.end_ms + GRACE_MS, is_woken_by_news=True)
                if not count:
                    return await self._rest()
                closes_ms = closes_at_ms(self._rule, self._first_at_ms)
                if not is_full and not self._is_end and now_ms < closes_ms:
                    return _Step(closes_ms, is_woken_by_news=True)
                self._progress = on_records(self._progress, self._waiting[0].number, self._waiting[count - 1].number)
            return await self._see_to_head(changed)

    async def _rest(self) -> _Step:
        """Nothing to do: what was read is done with, or none of this lane's."""
        if self._waiting:
            return _AT_ONCE  # given by another lane while this one looked
        if self.read_to is not None:
            self._progress = Progress(self.read_to)
        if self._is_end or self._unstored >= UNSTORED_MAX:
            await self._keep(self._progress, self._window)
        return _Step(is_end=True) if self._is_end else _Step(None, is_woken_by_news=True)

    async def _gather(self, changed: asyncio.Event) -> tuple[int, bool]:
        """How many of the waiting records make the next batch, reading on while it isn't full, and whether it is."""
        while True:
            count, is_full = fitting([len(one.shown) for one in self._waiting[: self._rule.size + 1]], self._rule)
            if self._source.tumbling_s and count:
                inside = within(self._window_of_next(), [one.at_ms for one in self._waiting[:count]])
                count, is_full = (inside, True) if inside < count else (count, is_full)
            if is_full or self._is_end or not await self._read_on(changed):
                return count, is_full

    def _window_of_next(self) -> Window:
        return self._window or window_of(self._waiting[0].at_ms, self._source.tumbling_s * 1000)

    async def _read_on(self, changed: asyncio.Event) -> bool:
        """Whether there was more to read."""
        before = self.read_to
        await self._shard.read_on(self, changed)
        if self.read_to == before:
            return False
        if not self._waiting and not self._progress.pending and self._unstored >= UNSTORED_MAX:
            await self._keep(Progress(self.read_to), self._window)
        return True

    @property
    def position(self) -> int:
        return -1 if self.read_to is None else int(self.read_to)

    @property
    def has_room(self) -> bool:
        """Whether it keeps up, so that it may be given what another lane has read."""
        return self._bytes < self._rule.bytes_max

    def take(self, page: Page, share: list[StreamRecord]) -> None:
        """What a read gave beyond this lane's place; one that came another way meanwhile is let be."""
        if page.last is None or int(page.last) <= self.position:
            self._is_end = self._is_end or page.is_end
            return
        position = self.position
        found = share if not share or share[0].order > position else [one for one in share if one.order > position]
        if found and not self._waiting:
            self._first_at_ms = self._ctx.clock.now_ms()
        self._waiting += found
        self._bytes += sum(len(one.shown) for one in found)
        self._unstored += page.polled - len(found)
        self.read_to, self._is_end = page.last, page.is_end

    async def _see_to_head(self, changed: asyncio.Event) -> _Step:
        """Try the first pending range once."""
        head = self._progress.pending[0]
        last = int(head.last)
        while not self._is_end and (self.read_to is None or int(self.read_to) < last):
            if not await self._read_on(changed):
                if self._mapping.stream.is_fetched:
                    return _Step(None, is_woken_by_news=True)
                break
        records = self._waiting[: bisect_left(self._waiting, last + 1, key=lambda one: one.order)]
        policy = await self._mapping.policy()
        times = [(one.number, one.at_ms) for one in records]
        progress, discarded = on_look(self._progress, policy, times, self._ctx.clock.now_ms())
        if discarded is None and len(records) == 1 and len(records[0].shown) > self._rule.bytes_max:
            lost = Discarded(records[0].number, records[0].number, "MaximumPayloadSizeExceeded")
            progress, discarded = on_success(self._progress), lost
        if discarded is not None:
            await self._keep(progress, self._window, discarded=discarded)
            return _AT_ONCE
        return await self._try(records, policy)

    async def _try(self, records: list[StreamRecord], policy: Policy) -> _Step:
        window = self._window_of_next() if self._source.tumbling_s else None
        outcome = await self._invoke(records, window)
        if outcome is None:
            return self._back_off()
        failed_from, state = self._judged(records, outcome)
        if window is not None:
            is_moved = state is not None and failed_from != records[0].number
            window = on_answer(window, state or "") if is_moved else self._window
        if failed_from == "":
            await self._keep(on_success(self._progress), window, result="OK")
            self._mapping.on_done(records)
            return _AT_ONCE
        before, numbers = self._progress, [one.number for one in records]
        progress, discarded = on_failure(before, policy, numbers, failed_from=failed_from)
        self._mapping.count("FailedInvokeEventCount", len(records))
        await self._keep(progress, window, discarded=discarded, result="PROBLEM: Function call failed")
        if progress.checkpoint != before.checkpoint or len(progress.pending) > len(before.pending):
            return _AT_ONCE
        return _Step(self._ctx.clock.now_ms() + retry_delay_ms(progress.pending[0].failures))

    def _judged(self, records: list[StreamRecord], outcome: Outcome) -> tuple[str | None, str | None]:
        """The lowest failed number ("" where nothing failed, None where the whole batch did), and a window's state."""
        if outcome.function_error:
            return None, None
        state = window_state(outcome.payload) if self._source.tumbling_s else None
        if self._source.tumbling_s and state is None:
            return None, None
        if not self._source.has_partial_answers:
            return "", state
        stream, shard_id = self._mapping.stream, self._shard.shard_id
        numbers = [one.number for one in records]
        failed = failed_items(outcome.payload, numbers, lambda item: stream.identifier(shard_id, item))
        if failed is None:
            return None, None
        return (min(failed, key=int) if failed else ""), state

    async def _invoke(self, records: list[StreamRecord], window: Window | None, **final: bool) -> Outcome | None:
        """None where the function was throttled or couldn't run: that is no try."""
        more = self._window_members(window, **final) if window is not None else None
        payload = self._mapping.stream.event(self._shard.shard_id, [one.shown for one in records], more)
        try:
            outcome = await self._mapping.target.invoke(payload)
        except (Throttled, Unavailable):
            return None
        self._throttles = 0
        self._outcome = (outcome, (await self._mapping.target.find())[1].version)
        self._mapping.count("InvokedEventCount", len(records))
        return outcome

    def _window_members(self, window: Window, *, is_final: bool = False, is_early: bool = False) -> dict[str, Any]:
        return {
            "window": {"start": _second(window.start_ms), "end": _second(window.end_ms)},
            "state": _json(window.state),
            "shardId": self._shard.shard_id,
            "eventSourceARN": self._source.source_arn,
            "isFinalInvokeForWindow": is_final,
            "isWindowTerminatedEarly": is_early,
        }

    def _back_off(self) -> _Step:
        self._throttles += 1
        delay_ms = min(THROTTLED_MS_FIRST << min(self._throttles - 1, 10), THROTTLED_MS_MAX)
        return _Step(self._ctx.clock.now_ms() + delay_ms)

    async def _close_window(self, window: Window) -> _Step:
        """The window's last invocation has no records; until it succeeds, nothing that comes later is handed over."""
        outcome = await self._invoke([], window, is_final=True, is_early=window.is_early)
        if outcome is None:
            return self._back_off()
        if self._judged([], outcome)[0] != "":
            failed = on_final_failure(window)
            await self._keep(self._progress, failed, result="PROBLEM: Function call failed")
            return _Step(self._ctx.clock.now_ms() + retry_delay_ms(failed.failures))
        await self._keep(self._progress, None, result="OK")
        return _AT_ONCE

    async def _keep(
        self, progress: Progress, window: Window | None, *, discarded: Discarded | None = None, result: str = ""
    ) -> None:
        """Store a step; only then is it taken."""
        told = None
        if discarded is not None:
            begin, end = int(discarded.first), int(discarded.last)
            lost = [one for one in self._waiting if begin <= one.order <= end]
            told = await self._mapping.told_of(self._shard.shard_id, discarded, lost, self._outcome)
        stored = LaneProgress(progress.checkpoint, list(progress.pending), window)
        await self._shard.store(self.index, stored, told=told, result=result)
        self._progress, self._window = progress, window
        self._unstored = 0
        await self._mapping.stream.on_stored(self._shard.shard_id, progress.checkpoint)
        if progress.checkpoint is not None:
            done = int(progress.checkpoint)
            at = bisect_left(self._waiting, done + 1, key=lambda one: one.order)
            self._bytes -= sum(len(one.shown) for one in self._waiting[:at])
            del self._waiting[:at]
        if not progress.pending:
            self._outcome = None
            self._first_at_ms = self._ctx.clock.now_ms()


def _second(at_ms: int) -> str:
    return iso(at_ms)[:-5] + "Z"


def _json(state: str) -> Any:
    return orjson.loads(state)
