"""The Runtime API of one environment, without its HTTP: what a runtime asks for and answers.

A runtime that asks for the next invocation says with it that it is initialised, or that it is done with the last.
Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import asyncio
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from penstock.engines.functions.environment import ERROR, INIT_ERROR, OVERSIZE, READY, RESULT, Answer
from penstock.engines.functions.extensions import Extensions
from penstock.engines.functions.ports import CredentialsSource, FunctionSpec, ResponseStream
from penstock.engines.functions.reports import RESULT_BYTES_MAX
from penstock.engines.functions.telemetry import Telemetry
from penstock.kernel.units import MIB

STREAM_BYTES_MAX = 200 * MIB
"""Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html"""


class WrongInvocation(Exception):
    """An answer to an invocation that isn't running."""


class ResponseTooLarge(Exception):
    """The function's answer is beyond 6 MB; it is told as the function's error."""


class RuntimeApi:
    """The node's end is `send` and `close` (environment.py's Channel); the runtime's are the others."""

    def __init__(self) -> None:
        self._on_answer: Callable[[Answer], None] = lambda answer: None
        self._waiting: asyncio.Future[tuple[dict[str, Any], bytes]] | None = None
        self._sent: tuple[dict[str, Any], bytes] | None = None
        self._running = ""
        self._is_ready = False
        self._collected = bytearray()
        self._streamed = 0
        self.stream: ResponseStream | None = None

    def attach(self, on_answer: Callable[[Answer], None]) -> None:
        self._on_answer = on_answer

    def send(self, header: dict[str, Any], body: bytes) -> None:
        """An invocation for whoever asks next."""
        self._running = str(header["request_id"])
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result((header, body))
        else:
            self._sent = (header, body)

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    async def next(self) -> tuple[dict[str, Any], bytes]:
        """The next invocation's header and event; waits for one."""
        if not self._is_ready:
            self._is_ready = True
            self._on_answer(Answer(READY))
        if self._sent is not None:
            sent, self._sent = self._sent, None
            return sent
        self._waiting = asyncio.get_running_loop().create_future()
        return await self._waiting

    def respond(self, request_id: str, body: bytes) -> None:
        """Raises WrongInvocation, ResponseTooLarge."""
        self._finish(request_id)
        if len(body) > RESULT_BYTES_MAX:
            self._on_answer(Answer(OVERSIZE))
            raise ResponseTooLarge
        self._on_answer(Answer(RESULT, body))

    async def respond_streaming(self, request_id: str, content_type: str, chunks: AsyncIterable[bytes]) -> None:
        """Hand the answer on as it comes; where nobody takes it so, collect it. `end_stream` is to follow.

        Raises WrongInvocation, ResponseTooLarge.
        Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
        """
        self._check(request_id)
        stream, self._streamed = self.stream, 0
        if stream is not None:
            await stream.begin(content_type)
        async for chunk in chunks:
            self._streamed += len(chunk)
            if self._streamed > (RESULT_BYTES_MAX if stream is None else STREAM_BYTES_MAX):
                self._finish(request_id)
                self._on_answer(Answer(OVERSIZE))
                raise ResponseTooLarge
            if stream is None:
                self._collected += chunk
            else:
                await stream.write(chunk)

    def end_stream(self, request_id: str, error: tuple[str, str] | None) -> None:
        """All of it has come; `error` is what went wrong on the way: its type and its details."""
        self._finish(request_id)
        body, self._collected = bytes(self._collected), bytearray()
        streamed = 0 if self.stream is None else self._streamed
        self._on_answer(Answer(RESULT, body, stream_error=error, streamed_bytes=streamed))

    def fail(self, request_id: str, body: bytes) -> None:
        """The function raised. Raises WrongInvocation."""
        self._finish(request_id)
        self._on_answer(Answer(ERROR, body))

    def fail_init(self, body: bytes) -> None:
        """The function couldn't be initialised."""
        self._on_answer(Answer(INIT_ERROR, body))

    def _check(self, request_id: str) -> None:
        if not self._running or request_id != self._running:
            raise WrongInvocation(request_id)

    def _finish(self, request_id: str) -> None:
        self._check(request_id)
        self._running = ""


@dataclass(frozen=True)
class EnvironmentApi:
    """What one environment can ask at its address. No runtime: it's reached over its pipe.

    metadata_token   what it shows to learn where it runs: zone_id
    """

    extensions: Extensions
    telemetry: Telemetry
    metadata_token: str
    zone_id: str
    runtime: RuntimeApi | None = None


class RuntimeFaces(Protocol):
    """Where environments reach their APIs: HTTP, on addresses of this machine."""

    async def open(self, api: EnvironmentApi, *, uid: int | None = None) -> str:
        """Serve it to processes of that user, or to everyone's; answers host:port."""

    async def send(self, protocol: str, port: int, path: str, body: bytes) -> None:
        """A batch of telemetry, to a listener on this machine. Raises OSError."""

    async def open_credentials(self, token: str, spec: FunctionSpec, source: CredentialsSource) -> str:
        """Serve the credentials of the function's role to whoever shows the token; answers the URL."""

    def close(self, address: str) -> None: ...
