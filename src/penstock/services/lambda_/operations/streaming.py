"""InvokeWithResponseStream: the answer leaves while the function still makes it.

Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from penstock.engines.functions.ports import Outcome
from penstock.framework.context import Context
from penstock.framework.service import Members, operation
from penstock.services.lambda_ import limits, rules
from penstock.services.lambda_.operations import invocations

_CHUNKS_MAX = 16
_OCTETS = "application/octet-stream"


@operation
async def invoke_with_response_stream(ctx: Context, req: Members) -> Members:
    """A function that doesn't stream answers in one chunk.

    Source: https://docs.aws.amazon.com/lambda/latest/api/API_InvokeWithResponseStream.html
    """
    named = rules.named(ctx.scope, req["FunctionName"], req.get("Qualifier"))
    payload = await invocations.received(req.get("Payload"), limits.SYNC_PAYLOAD_BYTES_MAX.value)
    rules.check_json(payload)
    if req.get("InvocationType") == "DryRun":
        await invocations.find_target(ctx, named)
        return {"StatusCode": 204, "EventStream": _nothing()}
    live = LiveAnswer()
    version, invocation = await invocations.prepared(ctx, named, payload, req, stream=live)
    running = asyncio.get_running_loop().create_task(live.fed_by(invocation), name="penstock-streamed-invocation")
    await live.started_or(running)
    return {
        "StatusCode": 200,
        "ExecutedVersion": version.version,
        "ResponseStreamContentType": live.content_type,
        "EventStream": _events(live, running, wants_log=req.get("LogType") == "Tail"),
    }


class LiveAnswer:
    """The engine's ResponseStream: chunks wait here for the client, and the function waits while there are many."""

    def __init__(self) -> None:
        self.content_type = _OCTETS
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(_CHUNKS_MAX)
        self._begun = asyncio.Event()
        self._is_abandoned = False

    async def begin(self, content_type: str) -> None:
        self.content_type = content_type
        self._begun.set()

    async def write(self, chunk: bytes) -> None:
        """A client that went away doesn't stop its function: what is made for it is dropped."""
        await self._put(chunk)

    async def started_or(self, running: asyncio.Task[Outcome]) -> None:
        """Return once the answer begins or the invocation ended. Raises what kept the function from running."""
        begun = asyncio.ensure_future(self._begun.wait())
        try:
            await asyncio.wait([begun, running], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self.abandon()
            raise
        finally:
            begun.cancel()
        if running.done():
            running.result()

    async def fed_by(self, invocation: Coroutine[Any, Any, Outcome]) -> Outcome:
        """Run it, and mark the end of its chunks."""
        try:
            return await invocation
        finally:
            await self._put(None)

    async def chunks(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk

    def abandon(self) -> None:
        self._is_abandoned = True
        while not self._chunks.empty():
            self._chunks.get_nowait()

    async def _put(self, chunk: bytes | None) -> None:
        if not self._is_abandoned:
            await self._chunks.put(chunk)


async def _events(
    live: LiveAnswer, running: asyncio.Task[Outcome], *, wants_log: bool
) -> AsyncIterator[tuple[str, Members]]:
    try:
        async for chunk in live.chunks():
            yield "PayloadChunk", {"Payload": chunk}
        outcome = await running
    finally:
        live.abandon()
    end: dict[str, Any] = {}
    if outcome.function_error:
        end = {"ErrorCode": outcome.function_error, "ErrorDetails": outcome.payload.decode("utf-8", "replace")}
    elif outcome.stream_error:
        end = {"ErrorCode": outcome.stream_error[0], "ErrorDetails": outcome.stream_error[1]}
    elif outcome.payload:
        yield "PayloadChunk", {"Payload": outcome.payload}
    if wants_log:
        end["LogResult"] = base64.b64encode(outcome.log_tail).decode()
    yield "InvokeComplete", end


async def _nothing() -> AsyncIterator[tuple[str, Members]]:
    empty: tuple[tuple[str, dict[str, object]], ...] = ()
    for event in empty:
        yield event
