"""Retention: events leave when they are older than their group allows."""

from penstock.framework.context import Context
from penstock.framework.service import on_intent
from penstock.kernel.scope import Scope
from penstock.kernel.units import DAY_MS
from penstock.services.logs import state
from penstock.storage import outbox
from penstock.storage.outbox import Intent
from penstock.storage.transactions import Transaction

EXPIRE = "logs.expire"


def schedule_expiry(tx: Transaction, scope: Scope, group: state.Group, *, now_ms: int) -> None:
    """Set the group's timer for when its oldest batch expires, unless one is set or nothing will expire."""
    key = state.room(scope, "expiry", group.name)
    if group.retention_days is None or tx.get(key) is not None:
        return
    oldest_ms = state.oldest_ms(tx, scope, group.name)
    if oldest_ms is None:
        return
    due_ms = max(now_ms, oldest_ms + group.retention_days * DAY_MS + 1)
    payload: dict[str, object] = {"account_id": scope.account_id, "region": scope.region, "group": group.name}
    outbox.add(tx, EXPIRE, payload, due_ms=due_ms, id=f"{scope.account_id}/{scope.region}/{group.name}/{due_ms}")
    tx.put(key, str(due_ms).encode())


@on_intent(EXPIRE)
async def expire(ctx: Context, intent: Intent) -> None:
    """Drop what is too old and set the next timer; does nothing for a group that is gone or keeps all."""
    now_ms = ctx.clock.now_ms()
    scope = Scope(str(intent.payload["account_id"]), str(intent.payload["region"]), ctx.scope.partition)
    name = str(intent.payload["group"])

    def run(tx: Transaction) -> None:
        group = state.find_group(tx, scope, name)
        tx.delete(state.room(scope, "expiry", name))
        if group is None or group.retention_days is None:
            return
        for stream in list(state.streams(tx, scope, name)):
            state.drop_batches_before(tx, scope, name, stream, now_ms - group.retention_days * DAY_MS)
        schedule_expiry(tx, scope, group, now_ms=now_ms)

    await ctx.store.transact(run)
