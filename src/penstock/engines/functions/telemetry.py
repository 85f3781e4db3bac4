"""The Telemetry API of one environment, without its HTTP: who is told of which events, in batches.

Events wait in memory, as on AWS: they are a copy of what is logged, and losing them in a crash loses no log.
Source: https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from penstock.engines.functions.extensions import Refused

KINDS = ("platform", "function", "extension")
SANDBOX_HOSTS = ("sandbox.localdomain", "sandbox", "localhost", "127.0.0.1")
HELD_BYTES_MAX = 4 << 20
EVENT_BYTES = 256
SCHEMAS = ("2022-07-01", "2022-12-13", "2025-01-29")
Send = Callable[[str, int, str, bytes], Awaitable[None]]
"""(protocol HTTP or TCP, port on this machine, path, body); raises OSError."""


@dataclass(eq=False)
class Subscription:
    """Bounds of a batch: items, bytes, milliseconds."""

    name: str
    protocol: str
    port: int
    path: str
    kinds: tuple[str, ...]
    items_max: int
    bytes_max: int
    timeout_ms: int
    held: list[bytes] = field(default_factory=list)
    held_bytes: int = 0
    dropped: int = 0
    dropped_bytes: int = 0
    timer: asyncio.TimerHandle | None = None
    sending: asyncio.Task[None] | None = None


class Telemetry:
    """`send` is how a batch leaves the node; `now` gives the time as events name it."""

    def __init__(self, send: Send, now: Callable[[], str]) -> None:
        self._send = send
        self._now = now
        self._subscriptions: dict[str, Subscription] = {}
        self._is_frozen = False
        self._early: list[tuple[str, str, Any]] = []
        self._early_bytes = 0
        self._is_early = True

    def subscribe(self, name: str, request: Any, *, is_logs_api: bool = False) -> None:
        """Raises Refused with AWS's validation error."""
        try:
            subscription = _parsed(name, request, is_logs_api)
        except (TypeError, ValueError, KeyError, AttributeError) as problem:
            raise Refused(400, "ValidationError", f"The subscription isn't valid: {problem}") from None
        if not self._is_early:
            raise Refused(403, "Telemetry.NotSupported", "Subscriptions are only possible while initialising")
        self._subscriptions[name] = subscription
        for time, kind, record in self._early:
            self._offer(subscription, time, kind, record)
        record = {"name": name, "state": "Subscribed", "types": list(subscription.kinds)}
        self.publish("platform.telemetrySubscription", record)

    def end_initialisation(self) -> None:
        self._is_early = False
        self._early.clear()

    @property
    def is_heard(self) -> bool:
        """Whether anyone listens, or may still begin to and be told what came before."""
        return (self._is_early and self._early_bytes < HELD_BYTES_MAX) or bool(self._subscriptions)

    def publish(self, kind: str, record: Any) -> None:
        """An event for whoever wants it; what came before a subscription is told to it as well."""
        time = self._now()
        if self._is_early and self._early_bytes < HELD_BYTES_MAX:
            self._early_bytes += EVENT_BYTES + (len(record) if isinstance(record, str) else 0)
            self._early.append((time, kind, record))
        for subscription in self._subscriptions.values():
            self._offer(subscription, time, kind, record)

    def _offer(self, subscription: Subscription, time: str, kind: str, record: Any) -> None:
        if kind.partition(".")[0] not in subscription.kinds:
            return
        event = json.dumps({"time": time, "type": kind, "record": record}, separators=(",", ":")).encode()
        if subscription.held_bytes + len(event) > HELD_BYTES_MAX:
            subscription.dropped += 1
            subscription.dropped_bytes += len(event)
            return
        subscription.held.append(event)
        subscription.held_bytes += len(event)
        if len(subscription.held) >= subscription.items_max or subscription.held_bytes >= subscription.bytes_max:
            self._flush(subscription)
        elif subscription.timer is None:
            loop = asyncio.get_running_loop()
            subscription.timer = loop.call_later(subscription.timeout_ms / 1000, self._flush, subscription)

    def _flush(self, subscription: Subscription) -> None:
        if subscription.timer is not None:
            subscription.timer.cancel()
            subscription.timer = None
        if self._is_frozen or not subscription.held or subscription.sending is not None:
            return
        if subscription.dropped:
            record = {
                "reason": "Consumer seems to have fallen behind as it has not acknowledged receipt of logs.",
                "droppedRecords": subscription.dropped,
                "droppedBytes": subscription.dropped_bytes,
            }
            subscription.dropped = subscription.dropped_bytes = 0
            event = {"time": self._now(), "type": "platform.logsDropped", "record": record}
            subscription.held.append(json.dumps(event).encode())
        batch, subscription.held, subscription.held_bytes = subscription.held, [], 0
        task = asyncio.get_running_loop().create_task(self._deliver(subscription, batch), name="penstock-telemetry")
        subscription.sending = task

    async def _deliver(self, subscription: Subscription, batch: list[bytes]) -> None:
        try:
            if subscription.protocol == "HTTP":
                await self._send("HTTP", subscription.port, subscription.path, b"[" + b",".join(batch) + b"]")
            else:
                await self._send("TCP", subscription.port, "", b"\n".join(batch) + b"\n")
        except OSError:
            subscription.dropped += len(batch)
            subscription.dropped_bytes += sum(map(len, batch))
        finally:
            subscription.sending = None
        if subscription.held:
            self._flush(subscription)

    def freeze(self) -> None:
        """Nobody listens in a frozen environment: events wait until it is thawed."""
        self._is_frozen = True

    def thaw(self) -> None:
        self._is_frozen = False
        for subscription in self._subscriptions.values():
            if subscription.timer is None:
                self._flush(subscription)

    async def drain(self) -> None:
        """Send what is held, at the end."""
        self._is_frozen = False
        for subscription in self._subscriptions.values():
            self._flush(subscription)
        tasks = [one.sending for one in self._subscriptions.values() if one.sending is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        for subscription in self._subscriptions.values():
            if subscription.timer is not None:
                subscription.timer.cancel()
            if subscription.sending is not None:
                subscription.sending.cancel()
        self._subscriptions.clear()


def _parsed(name: str, request: Any, is_logs_api: bool) -> Subscription:
    schema = request.get("schemaVersion", SCHEMAS[0])
    if not is_logs_api and schema not in SCHEMAS:
        raise ValueError(f"schemaVersion {schema} isn't known")
    kinds = tuple(map(str, request["types"]))
    if not kinds or not set(kinds) <= set(KINDS):
        raise ValueError(f"types must be some of {', '.join(KINDS)}")
    destination = request["destination"]
    protocol = destination.get("protocol", "HTTP")
    path = ""
    if protocol == "HTTP":
        parts = urlsplit(str(destination["URI"]))
        if parts.scheme != "http" or parts.hostname not in SANDBOX_HOSTS:
            raise ValueError("destination.URI must be http://sandbox.localdomain:PORT")
        port, path = parts.port or 80, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    elif protocol == "TCP":
        port = int(destination["port"])
    else:
        raise ValueError(f"destination.protocol {protocol} isn't known")
    buffering = request.get("buffering") or {}
    return Subscription(
        name,
        protocol,
        port,
        path,
        kinds,
        items_max=_bounded(buffering, "maxItems", 10_000, 1_000, 10_000),
        bytes_max=_bounded(buffering, "maxBytes", 262_144, 262_144, 1_048_576),
        timeout_ms=_bounded(buffering, "timeoutMs", 1_000, 25, 30_000),
    )


def _bounded(buffering: Any, name: str, default: int, least: int, most: int) -> int:
    value = int(buffering.get(name, default))
    if not least <= value <= most:
        raise ValueError(f"buffering.{name} must be between {least} and {most}")
    return value
