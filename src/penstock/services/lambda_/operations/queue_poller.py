"""One queue's poller: takes messages, drops what the filters don't want, invokes, deletes what was done.

Nothing is kept here: a message that isn't deleted comes back when its visibility timeout ends, whoever dies meanwhile.
Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

import asyncio
import base64
import logging
from typing import Any

import orjson

from penstock.engines.functions.ports import Invocation, Outcome, Throttled
from penstock.engines.patterns.match import compile_pattern
from penstock.framework.context import Context
from penstock.framework.wakeups import Wakeup, wait
from penstock.kernel import arn
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.kernel.scope import Principal, Scope, root_principal
from penstock.services.lambda_ import limits
from penstock.services.lambda_.operations import invocations
from penstock.services.lambda_.operations.role_credentials import role_principal
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import EventSource

log = logging.getLogger("penstock.lambda.sources")

CONCURRENCY_DEFAULT = 10
RECEIVE_MAX = 10
HIDDEN_LOOK_MS = 1000
AFTER_ERROR_MS = 5000
THROTTLED_MS = 1000

_Message = dict[str, Any]


class QueuePoller:
    """Runs until it is retired; what it has begun it sees to its end. `wakeup` is signalled by commits of SQS."""

    def __init__(self, ctx: Context, source: EventSource, wakeup: Wakeup) -> None:
        self._ctx, self._source, self._wakeup = ctx, source, wakeup
        self._named = Named(ctx.scope, source.function, source.qualifier)
        queue = arn.parse(source.source_arn)
        self._url = f"{ctx.endpoint}/{queue.account_id}/{queue.resource}"
        self._queue_scope = Scope(queue.account_id, queue.region, queue.partition)
        self._patterns = [(orjson.loads(text), compile_pattern(text)) for text in source.filters]
        self._running: set[asyncio.Task[None]] = set()
        self._rest_until_ms = 0
        self._is_retired = False

    def retire(self) -> None:
        """Take no more messages."""
        self._is_retired = True
        self._wakeup.signal()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while not self._is_retired:
                changed = self._wakeup.changed
                look_again_ms = await self._round(tasks)
                if look_again_ms != 0:
                    await wait(changed, self._ctx.clock, look_again_ms)

    async def _round(self, tasks: asyncio.TaskGroup) -> int | None:
        """Take a batch and start it. When to look again: 0 at once, None when something is committed."""
        now_ms = self._ctx.clock.now_ms()
        if now_ms < self._rest_until_ms:
            return self._rest_until_ms
        if len(self._running) >= (self._source.concurrency_max or CONCURRENCY_DEFAULT):
            return now_ms + HIDDEN_LOOK_MS
        try:
            batch = await self._gather()
            if not batch:
                return now_ms + HIDDEN_LOOK_MS if await self._has_hidden() else None
        except (ServiceError, Unavailable) as error:
            log.warning("queue can't be polled queue=%s reason=%s", self._source.source_arn, error)
            return now_ms + AFTER_ERROR_MS
        task = tasks.create_task(self._see_to(batch))
        self._running.add(task)
        task.add_done_callback(self._on_done)
        return 0

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wakeup.signal()

    async def _gather(self) -> list[_Message]:
        """A batch: what there is, or more if the window lets it wait."""
        batch: list[_Message] = []
        size, until_ms = 0, 0
        while len(batch) < self._source.batch_size and size < limits.SYNC_PAYLOAD_BYTES_MAX.value // 2:
            changed = self._wakeup.changed
            with self._ctx.clock.busy():
                found = await self._receive(min(RECEIVE_MAX, self._source.batch_size - len(batch)))
                kept, dropped = self._wanted(found)
                await self._delete(dropped)
            batch += kept
            size += sum(len(message["Body"]) for message in kept)
            if kept or dropped:
                until_ms = until_ms or self._ctx.clock.now_ms() + self._source.window_s * 1000
                continue
            now_ms = self._ctx.clock.now_ms()
            if not batch or now_ms >= until_ms:
                break
            await wait(changed, self._ctx.clock, until_ms)
        return batch

    async def _receive(self, count: int) -> list[_Message]:
        params = {
            "QueueUrl": self._url,
            "MaxNumberOfMessages": count,
            "MessageAttributeNames": ["All"],
            "AttributeNames": ["All"],
            "WaitTimeSeconds": 0,
        }
        messages: list[_Message] = (await self._call("ReceiveMessage", params)).get("Messages") or []
        return messages

    async def _has_hidden(self) -> bool:
        """Whether messages will become visible by time alone."""
        names = ["ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
        answer = await self._call("GetQueueAttributes", {"QueueUrl": self._url, "AttributeNames": names})
        return any(int(answer["Attributes"].get(name, 0)) for name in names)

    async def _call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        principal = await self._principal()
        return await self._ctx.call("sqs", operation, params, as_=principal, scope=self._queue_scope)

    async def _principal(self) -> Principal:
        _, version = await invocations.find_target(self._ctx, self._named)
        if not arn.is_arn(version.role):
            return root_principal(self._ctx.scope.account_id)
        return role_principal(version.role, self._named.name)

    def _wanted(self, messages: list[_Message]) -> tuple[list[_Message], list[_Message]]:
        """What the filters let through, and what is to be deleted unseen."""
        if not self._patterns:
            return messages, []
        kept = [message for message in messages if self._is_wanted(message)]
        return kept, [message for message in messages if message not in kept]

    def _is_wanted(self, message: _Message) -> bool:
        record = self._record(message)
        for source, pattern in self._patterns:
            seen = dict(record)
            if isinstance(source.get("body"), dict):
                try:
                    seen["body"] = orjson.loads(record["body"])
                except orjson.JSONDecodeError:
                    continue
            if pattern.matches(seen):
                return True
        return False

    async def _see_to(self, batch: list[_Message]) -> None:
        with self._ctx.clock.busy():
            try:
                await self._invoke(batch)
            except (ServiceError, Unavailable) as error:
                log.warning("batch failed function=%s reason=%s", self._named.name, error)
                self._rest()
            except Exception:
                log.exception("batch failed in the node function=%s", self._named.name)
                self._rest()

    async def _invoke(self, batch: list[_Message]) -> None:
        event = {"Records": [self._record(message) for message in batch]}
        function, version = await invocations.find_target(self._ctx, self._named)
        trace_id = invocations.new_trace_id(self._ctx)
        payload = orjson.dumps(event)
        invocation = Invocation(self._ctx.entropy.uuid(), payload, self._named.arn, trace_id, "")
        try:
            outcome = await invocations.run(self._ctx, self._named.scope, function, version, invocation)
        except Throttled:
            self._rest()
            return
        await self._delete(self._done(batch, outcome))

    def _rest(self) -> None:
        """A function that is throttled slows its poller; its messages come back by themselves."""
        self._rest_until_ms = self._ctx.clock.now_ms() + THROTTLED_MS

    def _done(self, batch: list[_Message], outcome: Outcome) -> list[_Message]:
        """The messages that need not come back."""
        if outcome.function_error:
            return []
        if "ReportBatchItemFailures" not in self._source.response_types:
            return batch
        failed = failed_items(outcome.payload, {message["MessageId"] for message in batch})
        return [] if failed is None else [message for message in batch if message["MessageId"] not in failed]

    async def _delete(self, messages: list[_Message]) -> None:
        for at in range(0, len(messages), RECEIVE_MAX):
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages[at : at + RECEIVE_MAX])
            ]
            await self._call("DeleteMessageBatch", {"QueueUrl": self._url, "Entries": entries})

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


def failed_items(payload: bytes, known: set[str]) -> set[str] | None:
    """The message ids of `batchItemFailures`; None where the answer makes the whole batch fail.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
    """
    try:
        answer = orjson.loads(payload or b"null")
    except orjson.JSONDecodeError:
        return None
    if answer is None or answer == {} or answer == "":
        return set()
    if not isinstance(answer, dict):
        return None
    failures = answer.get("batchItemFailures")
    if not failures:
        return set() if failures in (None, []) else None
    if not isinstance(failures, list):
        return None
    ids = {item.get("itemIdentifier") if isinstance(item, dict) else None for item in failures}
    return {str(one) for one in ids} if all(isinstance(one, str) and one in known for one in ids) else None


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if value.get("StringValue") is not None:
        shown["stringValue"] = value["StringValue"]
    if value.get("BinaryValue") is not None:
        shown["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return shown
