"""Functions' code and configuration, changed."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.services.lambda_ import messages, rules, state
from penstock.services.lambda_.operations import code_signing, functions, layer_permissions, layers, packages, roles
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import LATEST, Package, Version
from penstock.storage.transactions import ReadTransaction, Transaction


@operation
async def update_function_code(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = _unqualified(ctx, req)
    if req.get("ImageUri"):
        raise messages.image_for_zip()
    rules.check_publication(req)
    await ctx.store.read(lambda tx: _updatable(tx, named, req))
    archive = await packages.fetch(ctx, req)
    if req.get("DryRun"):
        return await _dry_run(ctx, named, req, archive.data)
    package = await packages.keep(ctx, archive)

    def change(tx: Transaction, version: Version) -> None:
        packages.check_storage(tx, named.scope, package.stored_bytes)
        code_signing.check(tx, named.name, functions.get_function_record(tx, named).code_signing_arn)
        version.package = package
        rules.keep_source_key(version, req)
        version.architecture = (req.get("Architectures") or [version.architecture])[0]
        layers.check_size(version)

    try:
        answer = await _update(ctx, named, req, change)
    except (ServiceError, Unavailable):
        await packages.discard(ctx, package)
        raise
    function = await ctx.store.read(lambda tx: state.find_function(tx, named.scope, named.name))
    functions.warn_of_signature(ctx, named, function.code_signing_arn if function else "")
    return answer


@operation
async def update_function_configuration(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = _unqualified(ctx, req)
    rules.check_configuration(req)
    functions.check_runtime(ctx, req)
    latest = await ctx.store.read(lambda tx: functions.get_version(tx, named))
    await roles.check(ctx, req.get("Role") or latest.role, named.name, req)
    await layer_permissions.check_use(ctx, req.get("Layers") or ())

    def change(tx: Transaction, version: Version) -> None:
        rules.check_durable_change(version, req)
        rules.configure(version, req)
        if req.get("Layers") is not None:
            if req["Layers"]:
                code_signing.check(tx, named.name, functions.get_function_record(tx, named).code_signing_arn)
            version.layers = layers.uses(tx, req["Layers"], named.scope.region)
            layers.check_size(version)

    return await _update(ctx, named, req, change)


def _unqualified(ctx: Context, req: dict[str, Any]) -> Named:
    named = rules.named(ctx.scope, req["FunctionName"])
    if named.qualifier not in ("", LATEST):
        raise messages.unpublished_only()
    return replace(named, qualifier="")


def _updatable(tx: ReadTransaction, named: Named, req: dict[str, Any]) -> Version:
    """$LATEST, if it may be changed now. Raises ResourceConflictException, PreconditionFailedException."""
    version = functions.get_version(tx, named)
    if req.get("RevisionId") and req["RevisionId"] != version.revision_id:
        raise messages.revision_mismatch()
    if version.state == "Pending":
        raise messages.not_ready(version.state)
    if version.update_status == "InProgress":
        raise messages.update_in_progress(named.arn)
    return version


async def _update(
    ctx: Context, named: Named, req: dict[str, Any], change: Callable[[Transaction, Version], None]
) -> dict[str, Any]:
    """Write the change as an update in progress; the version before it is run until its activation has ended."""
    now_ms = ctx.clock.now_ms()
    config_id, revision_id = ctx.entropy.token_hex(8), ctx.entropy.uuid()
    published_ids = functions.new_ids(ctx)

    def write(tx: Transaction) -> Version:
        version = _updatable(tx, named, req)
        state.put_previous(tx, named.scope, version)
        change(tx, version)
        version.config_id, version.revision_id, version.modified_ms = config_id, revision_id, now_ms
        version.update_status, version.update_reason, version.update_code = "InProgress", messages.CREATING, "Creating"
        state.put_version(tx, named.scope, version)
        functions.activate_later(tx, named.scope, version, now_ms=now_ms)
        if not req.get("Publish"):
            return version
        function = functions.get_function_record(tx, named)
        return functions.publish(tx, named.scope, function, version, ids=published_ids, now_ms=now_ms)

    written = await ctx.store.transact(write)
    return rules.configuration(named.scope, written, "" if written.version == LATEST else written.version)


async def _dry_run(ctx: Context, named: Named, req: dict[str, Any], archive: bytes) -> dict[str, Any]:
    version = await ctx.store.read(lambda tx: _updatable(tx, named, req))
    unzipped = await packages.unzipped_bytes(archive)
    sha256 = base64.b64encode(hashlib.sha256(archive).digest()).decode()
    return rules.configuration(named.scope, replace(version, package=Package("", len(archive), sha256, unzipped)))
