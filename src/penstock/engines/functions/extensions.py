"""The Extensions API of one environment, without its HTTP.

External extensions are programs in /opt/extensions, started before the runtime; internal ones run in its process.
Each asks for the next event; with its first question it is initialised, with each further one done with the last.
Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.engines.functions.ports import FunctionSpec

EXTENSIONS_MAX = 10
INTERNAL_SHUTDOWN_S = 0.5
EXTERNAL_SHUTDOWN_S = 2.0
RUNTIME_SHUTDOWN_S = 0.3
EVENTS = ("INVOKE", "SHUTDOWN")


class Refused(Exception):
    """A call that AWS refuses: its status, its error type and a text for people."""

    def __init__(self, status: int, error_type: str, text: str) -> None:
        super().__init__(text)
        self.status, self.error_type, self.text = status, error_type, text


@dataclass(eq=False)
class Extension:
    """`is_busy` from an event that it was given until it asks for the next one; so it begins."""

    id: str
    name: str
    events: frozenset[str]
    is_external: bool
    is_ready: bool = False
    is_busy: bool = True
    queue: deque[dict[str, Any]] = field(default_factory=deque)
    waiting: asyncio.Future[dict[str, Any]] | None = None


class Extensions:
    """Who has registered, and what each still does.

    external   names of the programs that were started: INIT waits for each
    failure    (error type, text) of the first that couldn't go on; nobody waits any more then
    """

    def __init__(self, spec: FunctionSpec, external: Sequence[str], *, new_id: Callable[[], str]) -> None:
        self._spec = spec
        self.external = tuple(external)
        self._new_id = new_id
        self.failure: tuple[str, str] | None = None
        self._by_id: dict[str, Extension] = {}
        self._is_open = True
        self._changed = asyncio.Event()

    def register(self, name: str, events: Any, *, wants_account: bool = False) -> tuple[str, dict[str, str]]:
        """A new extension's identifier, and what AWS answers. Raises Refused."""
        if not self._is_open:
            raise Refused(403, "Extension.AlreadyRegistered", "Registration is only possible while initialising")
        if not name:
            raise Refused(400, "Extension.MissingHeader", "Lambda-Extension-Name is missing")
        if not isinstance(events, list) or not set(map(str, events)) <= set(EVENTS):
            raise Refused(400, "InvalidEventType", "events must be a list of INVOKE and SHUTDOWN")
        is_external = name in self.external
        if not is_external and "SHUTDOWN" in events:
            raise Refused(403, "ShutdownEventNotSupportedForInternalExtension", "Internal extensions get no SHUTDOWN")
        if any(known.name == name for known in self._by_id.values()):
            raise Refused(403, "Extension.AlreadyRegistered", f"{name} has already registered")
        if len(self._by_id) >= EXTENSIONS_MAX:
            raise Refused(403, "Extension.TooManyExtensions", f"At most {EXTENSIONS_MAX} extensions can register")
        extension = Extension(self._new_id(), name, frozenset(map(str, events)), is_external)
        self._by_id[extension.id] = extension
        spec = self._spec
        answer = {"functionName": spec.name, "functionVersion": spec.version, "handler": spec.handler}
        return extension.id, answer | ({"accountId": spec.account_id} if wants_account else {})

    def find(self, id: str) -> Extension:
        """Raises Refused."""
        if not id:
            raise Refused(400, "Extension.MissingHeader", "Lambda-Extension-Identifier is missing")
        if id not in self._by_id:
            raise Refused(403, "Extension.UnknownExtensionIdentifier", "No extension has this identifier")
        return self._by_id[id]

    async def next(self, id: str) -> dict[str, Any]:
        """The next event; waits for one. Raises Refused."""
        extension = self.find(id)
        extension.is_ready, extension.is_busy = True, False
        self._changed.set()
        if not extension.queue:
            extension.waiting = asyncio.get_running_loop().create_future()
            try:
                await extension.waiting
            finally:
                extension.waiting = None
        return extension.queue.popleft()

    def fail(self, id: str, error_type: str, *, is_init: bool) -> None:
        """It says that it can't go on. Raises Refused."""
        extension = self.find(id)
        kind = "Extension.InitError" if is_init else "Extension.ExitError"
        self.abort(kind, error_type or f"{extension.name} gave no reason")

    def abort(self, error_type: str, text: str) -> None:
        """Nothing more is waited for."""
        self.failure = self.failure or (error_type, text)
        self._changed.set()

    async def ready(self) -> None:
        """Until every program has registered and asked for its first event, and every internal one as well."""
        while not self._are_ready() and self.failure is None:
            self._changed.clear()
            await self._changed.wait()
        self._is_open = False

    def _are_ready(self) -> bool:
        names = {extension.name for extension in self._by_id.values()}
        return names.issuperset(self.external) and all(one.is_ready for one in self._by_id.values())

    def invoke(self, header: Mapping[str, Any]) -> None:
        """Tell who wants to know of an invocation."""
        event = {
            "eventType": "INVOKE",
            "deadlineMs": header["deadline_ms"],
            "requestId": header["request_id"],
            "invokedFunctionArn": header["arn"],
            "tracing": {"type": "X-Amzn-Trace-Id", "value": header.get("trace_id") or ""},
        }
        for extension in self._by_id.values():
            if "INVOKE" in extension.events:
                self._give(extension, event)

    async def settled(self) -> None:
        """Until everyone who was told of the invocation is done with it."""
        while self.failure is None and self._are_busy():
            self._changed.clear()
            await self._changed.wait()

    def _are_busy(self) -> bool:
        return any(one.is_busy and one.is_ready for one in self._by_id.values() if "INVOKE" in one.events)

    def shut_down(self, reason: str, deadline_ms: int) -> None:
        """`reason` is spindown, timeout or failure."""
        event = {"eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": deadline_ms}
        for extension in self._by_id.values():
            if "SHUTDOWN" in extension.events:
                self._give(extension, event)

    def _give(self, extension: Extension, event: dict[str, Any]) -> None:
        extension.queue.append(event)
        extension.is_busy = True
        if extension.waiting is not None and not extension.waiting.done():
            extension.waiting.set_result(event)

    def registered(self) -> list[Extension]:
        return list(self._by_id.values())

    @property
    def shutdown_s(self) -> float:
        """How long the environment may take to end."""
        if self.external:
            return EXTERNAL_SHUTDOWN_S
        return INTERNAL_SHUTDOWN_S if self._by_id else 0.0

    def close(self) -> None:
        """Cut off whoever waits: the environment has ended."""
        for extension in self._by_id.values():
            if extension.waiting is not None:
                extension.waiting.cancel()
