"""One queue's poller: takes messages, drops what the filters don't want, invokes, deletes what was done.

Nothing is kept here: a message that isn't deleted comes back when its visibility timeout ends, whoever dies meanwhile.
Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

import asyncio
import base64
import logging
from dataclasses import dataclass, field
from typing import Any

import orjson

from penstock.engines.functions.ports import Outcome, Throttled
from penstock.engines.polling.batching import Rule, closes_at_ms, fitting
from penstock.engines.polling.queue import bounds_of, first_share, on_full, on_trouble
from penstock.framework.context import Context
from penstock.framework.wakeups import Wakeup, wait
from penstock.kernel import arn
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.kernel.scope import Scope
from penstock.services.lambda_.operations.batch_answers import failed_items
from penstock.services.lambda_.operations.mappings import EventSource
from penstock.services.lambda_.operations.source_filters import Filters
from penstock.services.lambda_.operations.source_metrics import source_metrics_of
from penstock.services.lambda_.operations.source_targets import Target

log = logging.getLogger("penstock.lambda.sources")

RECEIVE_MAX = 10
HIDDEN_LOOK_MS = 1000
AFTER_ERROR_MS, AFTER_ERROR_MS_MAX = 1000, 60_000
THROTTLED_MS_FIRST, THROTTLED_MS_MAX = 1000, 30_000
VISIBILITY_LOOK_MS = 60_000
VISIBILITY_S_DEFAULT = 30
TROUBLE_MS = 5000
"""So long after a failure the poller doesn't scale up."""

_Message = dict[str, Any]


@dataclass(slots=True)
class _Held:
    """A message in hand: what functions see of it as JSON, and until when nobody else may receive it."""

    id: str
    handle: str
    shown: bytes
    visible_at_ms: int
    trace_id: str = ""


@dataclass(slots=True)
class _Batch:
    held: list[_Held] = field(default_factory=list)
    throttles: int = 0


class QueuePoller:
    """Runs until it is retired; what it has begun it sees to its end. `wakeup` is signalled by the queue's commits."""

    def __init__(self, ctx: Context, source: EventSource, wakeup: Wakeup) -> None:
        self._ctx, self._source, self._wakeup = ctx, source, wakeup
        self._target = Target(ctx, source)
        queue = arn.parse(source.source_arn)
        self._url = f"{ctx.endpoint}/{queue.account_id}/{queue.resource}"
        self._queue_scope = Scope(queue.account_id, queue.region, queue.partition)
        self._filters = Filters(source.filters, "body")
        self._rule = Rule(source.batch_size, source.window_s * 1000)
        pollers = (source.pollers[0], source.pollers[1]) if source.pollers else None
        self._bounds = bounds_of(source.concurrency_max, pollers)
        self._share = first_share(self._bounds, ctx.clock.now_ms())
        self._running: set[asyncio.Task[None]] = set()
        self._waiting: list[_Held] = []
        self._bytes = 0
        self._first_at_ms = 0
        self._errors = 0
        self._trouble_until_ms = 0
        self._visibility: tuple[int, int] = (VISIBILITY_S_DEFAULT * 1000, 0)
        self._retired = asyncio.Event()
        self._metrics = source_metrics_of(ctx.platform)

    def retire(self) -> None:
        """Take no more messages."""
        self._retired.set()
        self._wakeup.signal()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while not self._retired.is_set():
                changed = self._wakeup.changed
                look_again_ms, is_resting = await self._round(tasks)
                if look_again_ms != 0:
                    await wait(self._retired if is_resting else changed, self._ctx.clock, look_again_ms)
            await self._give_back()

    async def _round(self, tasks: asyncio.TaskGroup) -> tuple[int | None, bool]:
        """Take a batch and start it. When to look again: 0 at once, None with news; and whether news don't matter."""
        now_ms = self._ctx.clock.now_ms()
        if len(self._running) >= self._share.count:
            if now_ms >= self._trouble_until_ms:
                self._share = on_full(self._share, self._bounds, now_ms)
            if len(self._running) >= self._share.count:
                return (now_ms + HIDDEN_LOOK_MS if self._share.count < self._bounds.most else None), False
        try:
            with self._ctx.clock.busy():
                count, is_full = await self._gather()
                has_hidden = not count and await self._has_hidden()
            self._errors = 0
        except (ServiceError, Unavailable) as error:
            log.warning("queue can't be polled queue=%s reason=%s", self._source.source_arn, error)
            self._errors += 1
            return now_ms + min(AFTER_ERROR_MS << min(self._errors - 1, 10), AFTER_ERROR_MS_MAX), True
        now_ms = self._ctx.clock.now_ms()
        if not count:
            return (now_ms + HIDDEN_LOOK_MS if has_hidden else None), False
        if not is_full and now_ms < (closes_ms := closes_at_ms(self._rule, self._first_at_ms)):
            return closes_ms, False
        batch = _Batch(self._waiting[:count])
        del self._waiting[:count]
        self._bytes = sum(len(one.shown) + 1 for one in self._waiting)
        self._first_at_ms = now_ms
        if self._waiting and self._source.source_arn.endswith(".fifo"):
            await self._give_back()  # they follow once their groups are free again
        task = tasks.create_task(self._see_to(batch), name="penstock-queue-batch")
        self._running.add(task)
        task.add_done_callback(self._on_done)
        return (0 if is_full else now_ms + HIDDEN_LOOK_MS), False

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wakeup.signal()

    async def _gather(self) -> tuple[int, bool]:
        """Receive while the batch isn't full and there is something; how many make it, and whether it is full."""
        while True:
            count, is_full = len(self._waiting), False
            if count >= self._rule.size or self._bytes > self._rule.bytes_max:
                count, is_full = fitting([len(one.shown) for one in self._waiting], self._rule)
            if is_full:
                return count, True
            at_once = RECEIVE_MAX if self._rule.size > RECEIVE_MAX else self._rule.size - len(self._waiting)
            messages = await self._receive(min(at_once, RECEIVE_MAX))
            await self._sort(messages)
            if len(messages) < at_once:  # the queue has no more to give now
                return len(self._waiting), len(self._waiting) >= self._rule.size

    async def _sort(self, messages: list[_Message]) -> None:
        """What the filters don't want is deleted unseen; what runs in circles is left, its group with it."""
        visible_at_ms = self._ctx.clock.now_ms() + self._visibility[0]
        dropped: list[_Held] = []
        stuck: set[str] = set()
        for message in messages:
            record = self._record(message)
            trace_id, group = _header(message, "AWSTraceHeader"), _header(message, "MessageGroupId")
            shown = orjson.dumps(record)
            held = _Held(message["MessageId"], message["ReceiptHandle"], shown, visible_at_ms, trace_id)
            if self._filters.is_wanted(record, message["Body"]):
                if (group and group in stuck) or await self._target.is_circling(trace_id):
                    stuck.add(group)
                    continue
                if not self._waiting:
                    self._first_at_ms = self._ctx.clock.now_ms()
                self._hold(held)
            else:
                dropped.append(held)
        self._count("PolledEventCount", len(messages))
        self._count("FilteredOutEventCount", len(dropped))
        await self._delete(dropped)

    def _hold(self, held: _Held) -> None:
        """One that came back while it was waiting takes its own place again: its older handle is no longer good."""
        if held.visible_at_ms - self._first_at_ms > self._visibility[0]:
            self._waiting = [one for one in self._waiting if one.id != held.id]
        self._waiting.append(held)
        self._bytes += len(held.shown) + 1

    async def _receive(self, count: int) -> list[_Message]:
        await self._look_at_visibility()
        params = {
            "QueueUrl": self._url,
            "MaxNumberOfMessages": count,
            "MessageAttributeNames": ["All"],
            "AttributeNames": ["All"],
            "WaitTimeSeconds": 0,
        }
        messages: list[_Message] = (await self._call("ReceiveMessage", params)).get("Messages") or []
        return messages

    async def _look_at_visibility(self) -> None:
        """How long a message stays ours, looked up now and then."""
        now_ms = self._ctx.clock.now_ms()
        if now_ms >= self._visibility[1]:
            wanted = {"QueueUrl": self._url, "AttributeNames": ["VisibilityTimeout"]}
            answer = await self._call("GetQueueAttributes", wanted)
            hidden_s = int(answer["Attributes"]["VisibilityTimeout"])
            self._visibility = (hidden_s * 1000, now_ms + VISIBILITY_LOOK_MS)

    async def _has_hidden(self) -> bool:
        """Whether messages will become visible by time alone."""
        names = ["ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
        answer = await self._call("GetQueueAttributes", {"QueueUrl": self._url, "AttributeNames": names})
        return any(int(answer["Attributes"].get(name, 0)) for name in names)

    async def _call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        principal = await self._target.principal()
        return await self._ctx.call("sqs", operation, params, as_=principal, scope=self._queue_scope)

    async def _see_to(self, batch: _Batch) -> None:
        """Try until the function has run, or the messages are no longer ours: a throttle is no failure."""
        payload = b'{"Records":[' + b",".join(one.shown for one in batch.held) + b"]}"
        while (rest_ms := await self._attempt(batch, payload)) is not None:
            now_ms = self._ctx.clock.now_ms()
            if now_ms + rest_ms >= min(one.visible_at_ms for one in batch.held):
                return
            await wait(self._retired, self._ctx.clock, now_ms + rest_ms)
            if self._retired.is_set():
                return

    async def _attempt(self, batch: _Batch, payload: bytes) -> int | None:
        """None once the batch is seen to, else how long to rest before the next attempt."""
        with self._ctx.clock.busy():
            try:
                trace_id = self._target.longest(one.trace_id for one in batch.held)
                outcome = await self._target.invoke(payload, trace_id=trace_id)
            except (Throttled, Unavailable, ServiceError) as error:
                if isinstance(error, ServiceError):
                    log.warning("batch can't be run function=%s reason=%s", self._target.named.name, error)
                self._on_trouble()
                batch.throttles += 1
                return min(THROTTLED_MS_FIRST << min(batch.throttles - 1, 10), THROTTLED_MS_MAX)
            self._count("InvokedEventCount", len(batch.held))
            done = self._done(batch.held, outcome)
            if len(done) < len(batch.held):
                self._count("FailedInvokeEventCount", len(batch.held) - len(done))
                if not self._source.has_partial_answers:
                    self._on_trouble()
            try:
                await self._delete(done)
            except (ServiceError, Unavailable) as error:
                log.warning("messages come back queue=%s reason=%s", self._source.source_arn, error)
            return None

    def _on_trouble(self) -> None:
        now_ms = self._ctx.clock.now_ms()
        self._share, self._trouble_until_ms = on_trouble(self._share, now_ms), now_ms + TROUBLE_MS

    def _done(self, held: list[_Held], outcome: Outcome) -> list[_Held]:
        """The messages that need not come back."""
        if outcome.function_error:
            return []
        if not self._source.has_partial_answers:
            return held
        failed = failed_items(outcome.payload, [one.id for one in held])
        return [] if failed is None else [one for one in held if one.id not in failed]

    async def _delete(self, held: list[_Held]) -> None:
        for at in range(0, len(held), RECEIVE_MAX):
            entries = [
                {"Id": str(number), "ReceiptHandle": one.handle}
                for number, one in enumerate(held[at : at + RECEIVE_MAX])
            ]
            await self._call("DeleteMessageBatch", {"QueueUrl": self._url, "Entries": entries})
        self._count("DeletedEventCount", len(held))

    async def _give_back(self) -> None:
        """Messages that were gathered and not tried may be received by others at once."""
        held, self._waiting, self._bytes = self._waiting, [], 0
        try:
            for at in range(0, len(held), RECEIVE_MAX):
                entries = [
                    {"Id": str(number), "ReceiptHandle": one.handle, "VisibilityTimeout": 0}
                    for number, one in enumerate(held[at : at + RECEIVE_MAX])
                ]
                await self._call("ChangeMessageVisibilityBatch", {"QueueUrl": self._url, "Entries": entries})
        except (ServiceError, Unavailable) as error:
            log.info("messages stay hidden queue=%s reason=%s", self._source.source_arn, error)

    def _count(self, metric: str, value: int) -> None:
        self._metrics.count(metric, self._ctx.scope, self._source.id, self._source.function, value)

    def _record(self, message: _Message) -> dict[str, Any]:
        """A message as functions get it. Source: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html"""
        record = {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message.get("Attributes") or {},
            "messageAttributes": {
                name: _attribute(value) for name, value in (message.get("MessageAttributes") or {}).items()
            },
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": self._source.source_arn,
            "awsRegion": self._queue_scope.region,
        }
        if message.get("MD5OfMessageAttributes"):
            record["md5OfMessageAttributes"] = message["MD5OfMessageAttributes"]
        return record


def _header(message: _Message, name: str) -> str:
    return str((message.get("Attributes") or {}).get(name, ""))


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if value.get("StringValue") is not None:
        shown["stringValue"] = value["StringValue"]
    if value.get("BinaryValue") is not None:
        shown["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return shown
