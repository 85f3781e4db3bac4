"""Functions' log lines on their way to CloudWatch Logs: batched, bounded, never in the function's way."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

from penstock.engines.functions.ports import FunctionSpec, LogLine
from penstock.framework.context import Context, Platform, RequestInfo
from penstock.kernel import arn
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope, root_principal
from penstock.services.lambda_ import limits
from penstock.services.lambda_.operations.role_credentials import role_principal

log = logging.getLogger("penstock.lambda.logs")

# Source: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
BATCH_EVENTS_MAX = 10_000
BATCH_BYTES_MAX = 1_048_576
EVENT_BYTES_OVERHEAD = 26
BATCH_SPAN_MS_MAX = 24 * 3600 * 1000
PUTS_MAX = 8
TRIES_MAX = 5

_Stream = tuple[str, str, str, str, str]  # account, region, role, group, stream


class LogShipper:
    """The function engine's LogSink.

    `write` only appends; a task of the shipper's own writes batches to the logs room as the function's role does
    (so a role that may not write logs has none, as on AWS). Lines beyond LOG_BUFFER_BYTES_MAX are dropped, counted.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._lines: dict[_Stream, deque[LogLine]] = {}
        self._function_of: dict[_Stream, str] = {}
        self._bytes = 0
        self._known: dict[_Stream, None] = {}
        self._pump: asyncio.Task[None] | None = None
        self._shipping = asyncio.Lock()
        self.dropped = 0

    def write(self, spec: FunctionSpec, stream: str, lines: Sequence[LogLine]) -> None:
        """Take lines; never waits."""
        group = spec.log_group or f"/aws/lambda/{spec.name}"
        key = (spec.account_id, spec.region, spec.role_arn, group, stream)
        waiting = self._lines.setdefault(key, deque())
        self._function_of[key] = spec.name
        for line in lines:
            size = len(line.message) + EVENT_BYTES_OVERHEAD
            if self._bytes + size > limits.LOG_BUFFER_BYTES_MAX:
                self.dropped += 1
                continue
            self._bytes += size
            waiting.append(line)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.get_running_loop().create_task(self._run(), name="penstock-log-shipper")

    async def flush(self) -> None:
        """Everything written before is in the logs room, or dropped, on return."""
        await self._ship()

    async def close(self) -> None:
        """Ship what is there and stop."""
        await self.flush()
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        await self.flush()

    async def _run(self) -> None:
        """Lives while there are lines; lingers a little so that one put carries many."""
        while self._lines:
            await self._platform.wall.sleep(limits.LOG_LINGER_S)
            await self._ship()

    async def _ship(self) -> None:
        async with self._shipping:
            lines, self._lines = self._lines, {}
            streams, self._function_of = self._function_of, {}
            free = asyncio.Semaphore(PUTS_MAX)
            async with asyncio.TaskGroup() as tasks:
                for key, waiting in lines.items():
                    tasks.create_task(self._ship_stream(free, key, streams[key], waiting))

    async def _ship_stream(self, free: asyncio.Semaphore, key: _Stream, name: str, waiting: deque[LogLine]) -> None:
        async with free:
            ordered = deque(sorted(waiting, key=lambda line: line.time_ms))
            while ordered:
                batch, size = _next_batch(ordered)
                try:
                    await self._put(key, name, batch)
                except ServiceError as error:
                    self.dropped += len(batch)
                    log.warning("log lines dropped group=%s lines=%d reason=%s", key[3], len(batch), error)
                finally:
                    self._bytes -= size

    async def _put(self, key: _Stream, name: str, batch: list[dict[str, Any]]) -> None:
        params = {"logGroupName": key[3], "logStreamName": key[4], "logEvents": batch}
        ctx = self._context(key, name)
        for attempt in range(1, TRIES_MAX + 1):
            try:
                if key not in self._known:
                    await self._create(ctx, key)
                await ctx.call("logs", "PutLogEvents", params)
                return
            except ServiceError as error:
                is_gone = error.code == "ResourceNotFoundException"
                self._known.pop(key, None)
                if attempt == TRIES_MAX or not (is_gone or error.status >= 500 or error.code == "ThrottlingException"):
                    raise
                await self._platform.wall.sleep(0 if is_gone else limits.LOG_LINGER_S * attempt)

    async def _create(self, ctx: Context, key: _Stream) -> None:
        group = {"logGroupName": key[3]}
        for operation, params in (("CreateLogGroup", group), ("CreateLogStream", group | {"logStreamName": key[4]})):
            try:
                await ctx.call("logs", operation, params)
            except ServiceError as error:
                if error.code != "ResourceAlreadyExistsException":
                    raise
        if len(self._known) >= limits.LOG_STREAMS_KNOWN_MAX:
            del self._known[next(iter(self._known))]
        self._known[key] = None

    def _context(self, key: _Stream, name: str) -> Context:
        account_id, region, role_arn = key[:3]
        principal = role_principal(role_arn, name) if arn.is_arn(role_arn) else root_principal(account_id)
        return Context(self._platform, Scope(account_id, region), principal, RequestInfo(""))


def _next_batch(waiting: deque[LogLine]) -> tuple[list[dict[str, Any]], int]:
    """What one PutLogEvents takes from the front, in its bounds, and the buffer's bytes that it frees."""
    batch: list[dict[str, Any]] = []
    size = freed = 0
    first_ms = waiting[0].time_ms
    while waiting and len(batch) < BATCH_EVENTS_MAX and waiting[0].time_ms - first_ms < BATCH_SPAN_MS_MAX:
        message = waiting[0].message or " "
        message_bytes = len(message.encode("utf-8", "replace")) + EVENT_BYTES_OVERHEAD
        if batch and size + message_bytes > BATCH_BYTES_MAX:
            break
        line = waiting.popleft()
        size += message_bytes
        freed += len(line.message) + EVENT_BYTES_OVERHEAD
        batch.append({"timestamp": line.time_ms, "message": message})
    return batch, freed
