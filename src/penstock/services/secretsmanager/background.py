"""Deleted secrets go when their recovery window ends."""

from penstock.framework.context import Context
from penstock.framework.service import on_intent
from penstock.kernel.scope import Scope
from penstock.services.secretsmanager import state
from penstock.storage.outbox import Intent
from penstock.storage.transactions import Transaction

PURGE = "secretsmanager.purge"


@on_intent(PURGE)
async def purge(ctx: Context, intent: Intent) -> None:
    """Remove a secret whose deletion date has come and that wasn't restored."""
    now_ms = ctx.clock.now_ms()
    arn = str(intent.payload["arn"])
    scope = Scope(str(intent.payload["account_id"]), str(intent.payload["region"]), ctx.scope.partition)

    def run(tx: Transaction) -> None:
        secret = state.find(tx, scope, arn)
        if secret is not None and secret.deletion_ms is not None and secret.deletion_ms <= now_ms:
            state.delete(tx, scope, secret.name)

    await ctx.store.transact(run)
