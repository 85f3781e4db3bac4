"""What a running node answers to its own command line: health, status, time and snapshots."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from penstock.app.durations import parse_duration_ms
from penstock.framework.background import BackgroundRunner
from penstock.framework.caller import LocalCaller
from penstock.framework.context import Platform
from penstock.framework.service import Service
from penstock.insight.cost import bill
from penstock.kernel.clock import VirtualClock
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import DEFAULT_ACCOUNT_ID, DEFAULT_REGION, Scope
from penstock.services import s3
from penstock.storage import collection, snapshots
from penstock.storage.transactions import Transaction

CLOCK_KEY = ("app", "virtual-clock")
PUBLIC = frozenset({("GET", "health")})


class Control:
    """Every method takes and answers plain JSON values. Raises ServiceError for what can't be done."""

    def __init__(
        self,
        *,
        version: str,
        platform: Platform,
        services: list[Service],
        caller: LocalCaller,
        background: BackgroundRunner,
        facts: dict[str, Any],
        restore: Callable[[str], None],
        flush: Callable[[], Awaitable[None]],
        flush_usage: Callable[[], Awaitable[None]],
    ) -> None:
        self._version = version
        self._platform = platform
        self._services = services
        self._caller = caller
        self._background = background
        self._facts = facts
        self._restore = restore
        self._flush = flush
        self._flush_usage = flush_usage
        self._started_s = platform.wall.monotonic_s()
        self._moving = asyncio.Lock()

    def actions(self) -> dict[tuple[str, str], Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]]:
        """By method and path below /_penstock/."""
        return {
            ("GET", "health"): self.health,
            ("GET", "status"): self.status,
            ("POST", "cost"): self.cost,
            ("GET", "clock"): self.time,
            ("POST", "clock"): self.move_time,
            ("GET", "snapshots"): self.list_snapshots,
            ("POST", "snapshots"): self.save_snapshot,
            ("POST", "snapshots/restore"): self.restore_snapshot,
            ("POST", "fsck"): self.check_integrity,
        }

    async def health(self, body: dict[str, Any]) -> dict[str, Any]:
        """The version, and each service's state: whoever asks, without credentials."""
        services = {model: "running" for room in self._services for model in room.models}
        started = self._facts["started"]
        return {"status": "running", "version": self._version, "started": started, "services": services}

    async def status(self, body: dict[str, Any]) -> dict[str, Any]:
        """All that a person wants to know of a node."""
        counters = self._caller.observer.counters()
        calls: dict[str, dict[str, Any]] = {}
        for (service, _), counter in counters.items():
            row = calls.setdefault(service, {"calls": 0, "errors": 0, "faults": 0, "seconds": 0.0})
            row["calls"] += counter.calls
            row["errors"] += counter.errors
            row["faults"] += counter.faults
            row["seconds"] = round(row["seconds"] + counter.seconds, 3)
        functions = self._platform.functions
        return {
            "version": self._version,
            **self._facts,
            "now": _iso(self._platform.clock.now_ms()),
            "uptime_s": round(self._platform.wall.monotonic_s() - self._started_s, 1),
            "services": {room.name: {"operations": len(room.operations)} for room in self._services},
            "calls": calls,
            "functions": functions.status() if functions else {},
            "would_have_been_denied": [asdict(denial) for denial in self._caller.authorizer.denials()],
        }

    async def cost(self, body: dict[str, Any]) -> dict[str, Any]:
        """What AWS would have billed, by function. `account`, `region`, `since`, `until` and `free_tier` narrow it."""
        await self._flush_usage()
        scope = Scope(str(body.get("account") or DEFAULT_ACCOUNT_ID), str(body.get("region") or DEFAULT_REGION))
        found = await bill(
            self._platform,
            scope,
            day_first=str(body.get("since") or ""),
            day_last=str(body.get("until") or "9"),
            has_free_tier=bool(body.get("free_tier")),
        )
        lines = [{**asdict(line), "usd": line.usd} for line in found.functions]
        return {"usd": found.usd, "region": found.region, "prices_of": found.published, "functions": lines}

    async def time(self, body: dict[str, Any]) -> dict[str, Any]:
        now_ms = self._platform.clock.now_ms()
        kind = "virtual" if isinstance(self._platform.clock, VirtualClock) else "real"
        return {"clock": kind, "now": _iso(now_ms), "now_ms": now_ms}

    async def move_time(self, body: dict[str, Any]) -> dict[str, Any]:
        """`{"advance": "6h"}` or `{"run_until_idle": true}`; answers the new time."""
        clock = self._platform.clock
        if not isinstance(clock, VirtualClock):
            raise ServiceError("ClockIsReal", "This node runs on real time; --clock virtual lets it be moved.")
        async with self._moving:
            if body.get("run_until_idle"):
                await self._background.run_until_idle()
            else:
                try:
                    span_ms = parse_duration_ms(str(body.get("advance", "")))
                except ValueError as error:
                    raise ServiceError("InvalidDuration", str(error)) from error
                await self._background.run_until(clock.now_ms() + span_ms)
            await self._flush()
            await self._platform.store.transact(lambda tx: keep_time(tx, clock.now_ms()))
        return await self.time({})

    async def list_snapshots(self, body: dict[str, Any]) -> dict[str, Any]:
        found = await asyncio.to_thread(snapshots.list_all, self._data_dir)
        return {"snapshots": [_described(snapshot) for snapshot in found]}

    async def save_snapshot(self, body: dict[str, Any]) -> dict[str, Any]:
        name = str(body.get("name", ""))
        try:
            return _described(await asyncio.to_thread(snapshots.save, self._data_dir, name))
        except FileExistsError as error:
            raise ServiceError("SnapshotExists", f"there is a snapshot {name!r} already", status=409) from error
        except ValueError as error:
            raise ServiceError("InvalidName", str(error)) from error

    async def restore_snapshot(self, body: dict[str, Any]) -> dict[str, Any]:
        """The node stops, goes back to the snapshot and starts again; the answer comes first."""
        name = str(body.get("name", ""))
        found = await asyncio.to_thread(snapshots.list_all, self._data_dir)
        if name not in [snapshot.name for snapshot in found]:
            raise ServiceError("NoSuchSnapshot", f"there is no snapshot {name!r}", status=404)
        self._restore(name)
        return {"restoring": name}

    async def check_integrity(self, body: dict[str, Any]) -> dict[str, Any]:
        """Whether every object has its bytes, while the node goes on; `{"fast": true}` looks at sizes only."""
        is_reading = not body.get("fast")
        found = await s3.check(self._platform.store, self._platform.blobs, is_reading=is_reading, is_live=True)
        for path in collection.stores(self._data_dir):
            texts = await asyncio.to_thread(collection.damage_of, path)
            found.problems += [s3.Problem("damaged", str(path), text) for text in texts]
        return asdict(found)

    @property
    def _data_dir(self) -> Path:
        return Path(self._facts["data"])


def keep_time(tx: Transaction, now_ms: int) -> None:
    """Virtual time goes on where it stood when the node starts again."""
    tx.put(CLOCK_KEY, str(now_ms).encode())


def _iso(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _described(snapshot: snapshots.Snapshot) -> dict[str, Any]:
    return {"name": snapshot.name, "created": _iso(snapshot.created_ms), "map_bytes": snapshot.map_bytes}
