"""Keeps a poller running for each enabled mapping, and settles mappings that are in transition.

One task per mapping, one poller at a time: what an old poller has begun is ended before the new one begins, so that
order and checkpoints hold across updates.
"""

import asyncio
import logging
from contextlib import ExitStack
from typing import Protocol

from penstock.framework.context import Context
from penstock.framework.wakeups import Wakeup, wait
from penstock.kernel import arn
from penstock.kernel.scope import Scope
from penstock.services.lambda_.operations import mappings
from penstock.services.lambda_.operations.mappings import EventSource
from penstock.services.lambda_.operations.queue_poller import QueuePoller
from penstock.services.lambda_.operations.stream_poller import StreamPoller
from penstock.storage.transactions import Key, Transaction

log = logging.getLogger("penstock.lambda.sources")

AFTER_BUG_MS = 10_000


class Poller(Protocol):
    async def run(self) -> None: ...
    def retire(self) -> None: ...


class Supervision:
    """Of all mappings of the node."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._changes = Wakeup()
        self._news: dict[Key, Wakeup] = {}
        self._overseers: dict[tuple[Scope, str], Overseer] = {}
        ctx.store.on_commit(mappings.SOURCES, self._changes.signal)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                changed = self._changes.changed
                with self._ctx.clock.busy():
                    found = await self._ctx.store.read(lambda tx: list(mappings.all_sources(tx)))
                revisions = {(scope, one.id): one.revision for scope, one in found}
                for scope, source in found:
                    key = (scope, source.id)
                    if key not in self._overseers:
                        overseer = Overseer(self._ctx.within(scope), source.id, self._wakeup_of(source))
                        self._overseers[key] = overseer
                        tasks.create_task(overseer.run(), name="penstock-mapping")
                for key, overseer in list(self._overseers.items()):
                    overseer.on_revision(revisions.get(key))
                    if overseer.is_over:
                        del self._overseers[key]
                await changed.wait()

    def _wakeup_of(self, source: EventSource) -> Wakeup:
        """Signalled by the commits of a source's records."""
        prefix = _prefix_of(source)
        if prefix not in self._news:
            wakeup = self._news[prefix] = Wakeup()
            self._ctx.store.on_commit(prefix, wakeup.signal)
        return self._news[prefix]


def _prefix_of(source: EventSource) -> Key:
    """Where the other room keeps what its pollers wait for."""
    if source.is_kafka:
        return ("lambda-kafka", source.id)
    origin = arn.parse(source.source_arn)
    if source.kind == "sqs":
        return ("sqs", origin.account_id, origin.region, "messages", origin.resource)
    if source.kind == "kinesis":
        name = arn.parse(source.stream_arn).resource.removeprefix("stream/")
        return ("kinesis", "records", origin.account_id, origin.region, name)
    return ("dynamodbstreams",)


class Overseer:
    """Of one mapping, from its creation to its deletion."""

    def __init__(self, ctx: Context, id: str, news: Wakeup) -> None:
        self._ctx, self._id, self._news = ctx, id, news
        self._changes = Wakeup()
        self._revision: str | None = None
        self._poller: Poller | None = None
        self._busy = ExitStack()
        self._is_busy = False
        self.is_over = False

    def on_revision(self, revision: str | None) -> None:
        """The mapping as it is stored now; None where it is gone."""
        if revision != self._revision:
            self._changes.signal()
            if self._poller is not None and not self._is_busy:
                self._is_busy = True
                self._busy.enter_context(self._ctx.clock.busy())  # until what it had begun is ended
                self._poller.retire()

    async def run(self) -> None:
        with self._busy:
            await self._oversee()

    async def _oversee(self) -> None:
        while True:
            changed = self._changes.changed
            with self._ctx.clock.busy():
                self._is_busy = False
                self._busy.close()
                source = await self._settle()
            if source is None:
                self.is_over = True
                return
            self._revision = source.revision
            if changed.is_set():
                continue
            if not source.is_enabled:
                await changed.wait()
                continue
            self._poller = poller_of(self._ctx, source, self._news)
            try:
                await self._poller.run()
            except Exception:
                log.exception("poller failed mapping=%s source=%s", self._id, source.source_arn)
                await wait(changed, self._ctx.clock, self._ctx.clock.now_ms() + AFTER_BUG_MS)
            self._poller = None

    async def _settle(self) -> EventSource | None:
        """What a transition leads to, now that no poller runs. None where the mapping is gone."""

        def settle(tx: Transaction) -> EventSource | None:
            source = mappings.find_source(tx, self._ctx.scope, self._id)
            if source is None:
                return None
            if source.state == "Deleting":
                mappings.delete_source(tx, self._ctx.scope, self._id)
                return None
            settled = "Enabled" if source.is_enabled else "Disabled"
            if source.state != settled:
                source.state = settled
                mappings.put_source(tx, self._ctx.scope, source)
            return source

        return await self._ctx.store.transact(settle)


def poller_of(ctx: Context, source: EventSource, news: Wakeup) -> Poller:
    return QueuePoller(ctx, source, news) if source.kind == "sqs" else StreamPoller(ctx, source, news)
