"""What follows from a change: indexes fill, items expire, what is deleted goes, streams grow old."""

import orjson

from penstock.engines.expressions import values
from penstock.framework.context import Context
from penstock.framework.service import background, on_intent
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope, root_principal
from penstock.services.dynamodb import limits, state
from penstock.services.dynamodb.operations import (
    backups,
    carrying,
    changes,
    destinations,
    exports,
    imports,
    table_updates,
    tables,
)
from penstock.services.dynamodb.operations.changes import EXPIRE, Stored
from penstock.services.dynamodb.state import Stream, Table
from penstock.storage import outbox
from penstock.storage.journal import Entry, Journal
from penstock.storage.keys import pack, unpack
from penstock.storage.outbox import Intent
from penstock.storage.transactions import ReadTransaction, Transaction


def _current(tx: ReadTransaction, ctx: Context, intent: Intent) -> Table | None:
    """The table that the intent was written for, unless it is gone."""
    table = state.find_table(tx, ctx.scope, str(intent.payload["name"]))
    return table if table is not None and table.key == intent.payload["key"] else None


@on_intent(tables.CLEAR)
async def clear(ctx: Context, intent: Intent) -> None:
    """Delete what a table or an index left behind, some at a time so that others get their turn."""
    parts = intent.payload["prefix"]
    assert isinstance(parts, list)
    prefix = tuple(parts)

    def some(tx: Transaction) -> bool:
        found = list(tx.range(prefix, limit=limits.CLEARED_AT_ONCE))
        for key, _ in found:
            tx.delete(key)
        return len(found) == limits.CLEARED_AT_ONCE

    while await ctx.store.transact(some):
        pass


@on_intent(table_updates.BACKFILL)
async def backfill(ctx: Context, intent: Intent) -> None:
    def some(tx: Transaction) -> bool:
        known = state.find_table(tx, ctx.scope, str(intent.payload["name"]))
        if known is None or all(index.key != intent.payload["index"] for index in known.indexes):
            return True
        table = state.edit_table(tx, ctx.scope, known.name)
        index = next(one for one in table.indexes if one.key == intent.payload["index"])
        is_done = index.status == "ACTIVE" or table_updates.backfill(tx, table, index)
        state.put_table(tx, ctx.scope, table)
        return is_done

    while not await ctx.store.transact(some):
        pass


@on_intent(tables.INDEX_EXPIRIES)
async def index_expiries(ctx: Context, intent: Intent) -> None:
    """Note when the items expire that were there before the table had a time to live."""
    now_ms = ctx.clock.now_ms()
    after = b""

    def some(tx: Transaction) -> bytes:
        table = _current(tx, ctx, intent)
        if table is None or table.ttl_key != intent.payload["ttl_key"]:
            return b""
        prefix = (*state.ITEMS, table.key)
        last, seen = b"", 0
        begin = (*unpack(after), None) if after else None
        for place, data in tx.range(prefix, begin=begin, limit=limits.WORKED_AT_ONCE):
            last, seen = pack(place), seen + 1
            second = changes.expiry_of(table, values.decode(data), now_ms)
            if second is not None:
                changes.put_expiry(tx, ctx.scope, table, place[len(prefix) :], second, now_ms=now_ms)
        return last if seen == limits.WORKED_AT_ONCE else b""

    while after := await ctx.store.transact(some):
        pass


@on_intent(EXPIRE)
async def expire(ctx: Context, intent: Intent) -> None:
    """Delete what has expired, and plan the next time. The intent is replaced, so it stays."""
    now_ms = ctx.clock.now_ms()

    def some(tx: Transaction) -> bool:
        table = _current(tx, ctx, intent)
        if table is None or not table.ttl:
            return False
        prefix = table.expiries
        due = list(tx.range(prefix, end=(*prefix, now_ms // 1000 + 1), limit=limits.EXPIRED_AT_ONCE))
        for place, _ in due:
            key = place[len(prefix) + 1 :]
            stored = Stored(key, tx.get((*state.ITEMS, table.key, *key)))
            if stored.data is None:
                tx.delete(place)
                continue
            changes.apply(tx, ctx.scope, table, stored, stored.item, None, now_ms=now_ms, is_expiry=True)
        for place, _ in tx.range(prefix, limit=1):
            second = place[len(prefix)]
            assert isinstance(second, int)
            changes.plan_expiry(tx, ctx.scope, table, max(second * 1000, now_ms) + changes.EXPIRE_LAG_MS)
        return len(due) == limits.EXPIRED_AT_ONCE

    while await ctx.store.transact(some):
        pass


@on_intent(destinations.TELL)
async def tell_kinesis(ctx: Context, intent: Intent) -> None:
    """Put what has changed, in order; after a crash or a throttle some is put again, as on AWS."""
    stream, after = str(intent.payload["stream"]), 0
    journal = Journal((*state.TOLD, str(intent.payload["key"])))

    def turn(tx: Transaction) -> list[Entry]:
        journal.drop(tx, stream, before=after + 1, limit=limits.TOLD_AT_ONCE)
        entries = journal.read(tx, stream, position=after + 1, limit=limits.TOLD_AT_ONCE)
        if not entries:
            outbox.cancel(tx, destinations.TELL, intent.id)
        return entries

    while entries := await ctx.store.transact(turn):
        records = [
            {"PartitionKey": key, "Data": orjson.dumps(event)}
            for key, event in (orjson.loads(entry.data) for entry in entries)
        ]
        params = {"StreamARN": stream, "Records": records}
        answer = await ctx.call("kinesis", "PutRecords", params, as_=root_principal(ctx.scope.account_id))
        refused = [one for one in answer["Records"] if one.get("ErrorCode")]
        if refused:
            raise ServiceError(str(refused[0]["ErrorCode"]), str(refused[0].get("ErrorMessage")))
        after = entries[-1].position


@on_intent(backups.RESTORE)
async def restore(ctx: Context, intent: Intent) -> None:
    """A blob that was made for this alone goes with it."""
    told = intent.payload
    await carrying.restore(ctx, str(told["name"]), str(told["key"]), str(told["blob"]))
    if not told["is_kept"]:
        await ctx.blobs.delete(str(told["blob"]))


@on_intent(exports.EXPORT)
async def export(ctx: Context, intent: Intent) -> None:
    table, id = str(intent.payload["table"]), str(intent.payload["id"])
    job = await ctx.store.read(lambda tx: state.find_job(tx, ctx.scope, "export", table, id))
    if job is not None and job.status == "IN_PROGRESS":
        await carrying.export(ctx, job)


@on_intent(imports.IMPORT)
async def import_table(ctx: Context, intent: Intent) -> None:
    name, id = str(intent.payload["name"]), str(intent.payload["id"])
    job = await ctx.store.read(lambda tx: imports.find(tx, ctx.scope, name, id))
    if job is not None and job.status == "IN_PROGRESS":
        await carrying.import_(ctx, job, str(intent.payload["key"]))


@background
async def trim_streams(ctx: Context) -> None:
    """Remove records and streams that are older than a day. Readers don't see them anyway."""
    while True:
        before_ms = ctx.clock.now_ms() - limits.STREAM_MS.value
        for scope, stream in await ctx.store.read(lambda tx: list(state.all_streams(tx))):
            await _trim(ctx, scope, stream, before_ms)
        await ctx.store.transact(lambda tx: _forget_tokens(tx, ctx.clock.now_ms()))
        await ctx.store.transact(lambda tx: _forget_undone(tx, ctx.clock.now_ms()))
        await ctx.platform.wall.sleep(limits.TRIM_EVERY_S)


def _forget_tokens(tx: Transaction, now_ms: int) -> None:
    for key, data in list(tx.range(state.TOKENS, limit=limits.TRIM_AT_ONCE)):
        if now_ms - orjson.loads(data)[1] >= limits.TOKEN_MS.value:
            tx.delete(key)


def _forget_undone(tx: Transaction, now_ms: int) -> None:
    """Recovery reaches back for some days only."""
    for table in state.all_tables(tx):
        if not table.is_recoverable:
            continue
        prefix = (*state.UNDO, table.key)
        end = (*prefix, backups.earliest_ms(table, now_ms))
        for key, _ in list(tx.range(prefix, end=end, limit=limits.TRIM_AT_ONCE)):
            tx.delete(key)


async def _trim(ctx: Context, scope: Scope, stream: Stream, before_ms: int) -> None:
    journal = state.records_of(stream)
    for shard in stream.shards:
        while await ctx.store.transact(
            lambda tx, s=shard.id: journal.trim(tx, s, before_ms=before_ms, limit=limits.TRIM_AT_ONCE)  # type: ignore[misc]
        ):
            pass

    def forget(tx: Transaction) -> None:
        current = state.edit_stream(tx, scope, stream.table, stream.label)
        if current is None:
            return
        old = [one for one in current.shards if one.closed_ms is not None and one.closed_ms < before_ms]
        for shard in old:
            journal.delete(tx, shard.id)
        current.shards = [one for one in current.shards if one not in old]
        if current.closed_ms is not None and current.closed_ms < before_ms:
            state.delete_stream(tx, scope, current)
        elif old:
            state.put_stream(tx, scope, current)

    if any(one.closed_ms is not None and one.closed_ms < before_ms for one in stream.shards):
        await ctx.store.transact(forget)
