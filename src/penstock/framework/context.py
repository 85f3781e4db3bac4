"""What an operation is given: time, chance, the store, who asks, and the door to every other service."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from penstock.engines.functions.ports import FunctionPool
from penstock.kernel.clock import Clock
from penstock.kernel.entropy import Entropy
from penstock.kernel.scope import Principal, Scope
from penstock.storage.blobs import BlobStore
from penstock.storage.transactions import Store


class Caller(Protocol):
    """The one door (caller.py)."""

    async def call(
        self, service: str, operation: str, params: Mapping[str, Any], *, ctx: "Context"
    ) -> dict[str, Any]: ...


@dataclass
class Platform:
    """Everything a node is made of; app/build.py puts it together, tests put together their own.

    clock     the platform's time (may be virtual); wall: the machine's, for measuring and for real waits
    data_dir  for caches that can be made again (unpacked code); the store and blobs have their own folders
    endpoint  where clients reach this node: http://localhost:4566
    limits    off, or aws: throughput is bounded as on AWS, and what is beyond is throttled
    volatile  what rooms keep in memory while the node runs, by `room.thing`; nothing that can't be lost
    """

    clock: Clock
    wall: Clock
    entropy: Entropy
    store: Store
    blobs: BlobStore
    caller: Caller
    data_dir: Path
    endpoint: str = "http://localhost:4566"
    auth: str = "open"
    limits: str = "off"
    functions: FunctionPool | None = None
    volatile: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """What is known of the call itself: for logs, condition keys and events.

    service, operation   as the caller named them; endpoint: scheme://host:port that the client used
    is_form              a browser's form brought it
    """

    request_id: str
    service: str = ""
    operation: str = ""
    source_ip: str = "127.0.0.1"
    user_agent: str = ""
    endpoint: str = ""
    trace_id: str = ""
    is_secure: bool = False
    is_form: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Context:
    platform: Platform
    scope: Scope
    principal: Principal
    request: RequestInfo

    @property
    def clock(self) -> Clock:
        return self.platform.clock

    @property
    def entropy(self) -> Entropy:
        return self.platform.entropy

    @property
    def store(self) -> Store:
        return self.platform.store

    @property
    def blobs(self) -> BlobStore:
        return self.platform.blobs

    @property
    def endpoint(self) -> str:
        """Where URLs that are handed out should point."""
        return self.request.endpoint or self.platform.endpoint

    async def call(
        self,
        service: str,
        operation: str,
        params: Mapping[str, Any],
        *,
        as_: Principal | None = None,
        scope: Scope | None = None,
    ) -> dict[str, Any]:
        """Call another service through the door, as this principal or another. Raises ServiceError."""
        inner = Context(self.platform, scope or self.scope, as_ or self.principal, self.request)
        return await self.platform.caller.call(service, operation, params, ctx=inner)

    def within(self, scope: Scope) -> "Context":
        return replace(self, scope=scope)
