"""What follows from a change: functions become active, packages are collected."""

import logging

from penstock.framework.context import Context
from penstock.framework.service import on_intent
from penstock.kernel.scope import Scope
from penstock.services.lambda_ import state
from penstock.services.lambda_.operations import specs
from penstock.services.lambda_.state import LATEST, Version
from penstock.storage.outbox import Intent
from penstock.storage.transactions import ReadTransaction, Transaction

log = logging.getLogger("penstock.lambda")


@on_intent(state.DELETE_BLOB)
async def delete_blob(ctx: Context, intent: Intent) -> None:
    await ctx.blobs.delete(str(intent.payload["blob"]))


@on_intent(state.ACTIVATE)
async def activate(ctx: Context, intent: Intent) -> None:
    """Unpack a new configuration, let it be invoked, and end the environments that run the old one."""
    told = intent.payload
    name, number, config_id = str(told["name"]), str(told["version"]), told["config_id"]

    def find(tx: ReadTransaction) -> Version | None:
        version = state.find_version(tx, ctx.scope, name, number)
        return version if version is not None and version.config_id == config_id else None

    version = await ctx.store.read(find)
    if version is None:
        return
    spec = await specs.prepare(ctx, ctx.scope, version, reserved=None)

    def finish(tx: Transaction) -> None:
        current = find(tx)
        if current is not None:
            _finish(tx, ctx.scope, current)

    await ctx.store.transact(finish)
    if ctx.platform.functions is not None:
        if number == LATEST:
            await ctx.platform.functions.retire(spec.arn)
        await ctx.platform.functions.warm(spec)


def _finish(tx: Transaction, scope: Scope, version: Version) -> None:
    version.state, version.state_reason, version.state_code = "Active", "", ""
    version.update_status, version.update_reason, version.update_code = "Successful", "", ""
    state.put_version(tx, scope, version)
    if version.version == LATEST:
        state.drop_previous(tx, scope, version.name)
