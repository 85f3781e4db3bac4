"""Functions: created, described, listed, deleted."""

from itertools import islice
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.kernel.scope import Scope
from penstock.services.lambda_ import limits, messages, rules, state
from penstock.services.lambda_.operations import (
    code_signing,
    durable_records,
    layer_messages,
    layer_permissions,
    layers,
    metrics,
    packages,
    roles,
)
from penstock.services.lambda_.operations.metering import meter_of
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import LATEST, Function, Package, Policy, Version
from penstock.storage import outbox
from penstock.storage.transactions import ReadTransaction, Transaction


@operation
async def create_function(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = rules.named(ctx.scope, req["FunctionName"])
    if named.scope != ctx.scope:
        raise messages.other_account(ctx.principal.arn, "lambda:CreateFunction", named.arn)
    rules.check_new(named, req)
    check_runtime(ctx, req)
    await ctx.store.read(lambda tx: _check_absent(tx, named))
    await roles.check(ctx, req["Role"], named.name, req)
    await layer_permissions.check_use(ctx, req.get("Layers") or ())
    package = await packages.receive(ctx, req["Code"])
    version = new_version(ctx, named.name, package, req)
    now_ms, published_ids = ctx.clock.now_ms(), new_ids(ctx)
    signing_arn = req.get("CodeSigningConfigArn") or ""

    def create(tx: Transaction) -> Version:
        _check_absent(tx, named)
        packages.check_storage(tx, named.scope, package.stored_bytes)
        version.layers = layers.uses(tx, req.get("Layers") or (), named.scope.region)
        layers.check_size(version)
        if signing_arn and code_signing.find(tx, signing_arn) is None:
            raise layer_messages.no_code_signing_config(signing_arn)
        code_signing.check(tx, named.name, signing_arn)
        function = Function(named.name, now_ms, tags=dict(req.get("Tags") or {}), code_signing_arn=signing_arn)
        state.put_version(tx, named.scope, version)
        activate_later(tx, named.scope, version, now_ms=now_ms)
        if not req.get("Publish"):
            state.put_function(tx, named.scope, function)
            return version
        return publish(tx, named.scope, function, version, ids=published_ids, now_ms=now_ms)

    try:
        created = await ctx.store.transact(create)
    except (ServiceError, Unavailable):
        await packages.discard(ctx, package)
        raise
    warn_of_signature(ctx, named, signing_arn)
    return rules.configuration(named.scope, created)


def warn_of_signature(ctx: Context, named: Named, signing_arn: str) -> None:
    """Code that went in although its signature couldn't be checked is counted."""
    if signing_arn:
        subject = metrics.subject_of(named.scope, named.name)
        meter_of(ctx.platform).metrics.count(subject, "SignatureValidationErrors")


def check_runtime(ctx: Context, req: dict[str, Any]) -> None:
    """A node with --strict-runtimes refuses what it would run on another interpreter."""
    pool, runtime = ctx.platform.functions, req.get("Runtime")
    if pool is not None and runtime and (refusal := pool.runtime_refusal(runtime)):
        raise messages.invalid(refusal)


def _check_absent(tx: ReadTransaction, named: Named) -> None:
    if state.find_function(tx, named.scope, named.name) is not None:
        raise messages.function_exists(named.name)


def new_version(ctx: Context, name: str, package: Package, req: dict[str, Any]) -> Version:
    """$LATEST of a new function."""
    version = Version(
        name=name,
        version=LATEST,
        config_id=ctx.entropy.token_hex(8),
        revision_id=ctx.entropy.uuid(),
        modified_ms=ctx.clock.now_ms(),
        package=package,
        role=req["Role"],
        runtime=req["Runtime"],
        handler=req["Handler"],
        timeout_s=limits.TIMEOUT_S_DEFAULT.value,
        memory_mb=limits.MEMORY_MB_DEFAULT.value,
        ephemeral_mb=limits.EPHEMERAL_MB_DEFAULT.value,
        state_reason=messages.CREATING,
        state_code="Creating",
    )
    rules.configure(version, req)
    rules.keep_source_key(version, req["Code"])
    version.architecture = (req.get("Architectures") or [version.architecture])[0]
    return version


def new_ids(ctx: Context) -> tuple[str, str, str]:
    """What a publication needs: the copy's configuration id, its revision, and the original's new one."""
    return ctx.entropy.token_hex(8), ctx.entropy.uuid(), ctx.entropy.uuid()


def activate_later(tx: Transaction, scope: Scope, version: Version, *, now_ms: int) -> None:
    """Unpack, then Active: an intent, so that it also happens after a crash."""
    payload: dict[str, object] = {
        "account_id": scope.account_id,
        "region": scope.region,
        "name": version.name,
        "version": version.version,
        "config_id": version.config_id,
    }
    outbox.add(tx, state.ACTIVATE, payload, due_ms=now_ms, id=f"{version.name}/{version.config_id}")


def get_function_record(tx: ReadTransaction, named: Named) -> Function:
    function = state.find_function(tx, named.scope, named.name)
    if function is None:
        raise messages.function_not_found(named.arn)
    return function


def get_version(tx: ReadTransaction, named: Named, *, chance: float = 1.0) -> Version:
    """The version that the qualifier means; `chance` in [0, 1) draws among an alias's versions, 1 takes its first."""
    number = named.qualifier or LATEST
    if number != LATEST and not number.isdigit():
        alias = state.find_alias(tx, named.scope, named.name, number)
        if alias is None:
            raise messages.function_not_found(named.arn)
        number = rules.routed(alias, chance) if chance < 1 else alias.version
    version = state.find_version(tx, named.scope, named.name, number)
    if version is None:
        raise messages.function_not_found(named.arn)
    return version


@operation
async def get_function(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = rules.named(ctx.scope, req["FunctionName"], req.get("Qualifier"))

    def read(tx: ReadTransaction) -> tuple[Version, Function]:
        return get_version(tx, named), get_function_record(tx, named)

    version, function = await ctx.store.read(read)
    location = await packages.location(ctx, version.package)
    code: dict[str, Any] = {"RepositoryType": "S3", "Location": location}
    if version.package.reference:
        code["ResolvedS3Object"] = version.package.reference
    if version.kept.get("SourceKMSKeyArn"):
        code["SourceKMSKeyArn"] = version.kept["SourceKMSKeyArn"]
    answer: dict[str, Any] = {
        "Configuration": rules.configuration(named.scope, version, named.qualifier),
        "Code": code,
    }
    if function.tags:
        answer["Tags"] = function.tags
    if function.reserved_concurrency is not None:
        answer["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved_concurrency}
    return answer


@operation
async def get_function_configuration(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = rules.named(ctx.scope, req["FunctionName"], req.get("Qualifier"))
    version = await ctx.store.read(lambda tx: get_version(tx, named))
    return rules.configuration(named.scope, version, named.qualifier)


@operation
async def list_functions(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """A page of $LATEST, or with FunctionVersion=ALL of every version, by name.

    Functions of another MasterRegion would be replicas of it, and there are none.
    """
    if req.get("MasterRegion") not in (None, "ALL", ctx.scope.region):
        return {"Functions": []}
    size = rules.page_size(req)
    is_all = req.get("FunctionVersion") == "ALL"
    after, number = rules.parse_marker(req.get("Marker"))

    def read(tx: ReadTransaction) -> list[Version]:
        found = (
            version
            for function in state.functions(tx, ctx.scope, after=after[:-1] if after else "")
            for version in state.versions(tx, ctx.scope, function.name, begin=number if function.name == after else 0)
            if is_all or version.version == LATEST
        )
        return list(islice((v for v in found if (v.name, v.number) >= (after, number)), size + 1))

    page = await ctx.store.read(read)
    answer: dict[str, Any] = {"Functions": [_listed(ctx.scope, version, is_all) for version in page[:size]]}
    if len(page) > size:
        answer["NextMarker"] = rules.format_marker(page[size].name, page[size].number)
    return answer


def _listed(scope: Scope, version: Version, is_all: bool) -> dict[str, Any]:
    return rules.configuration(scope, version, version.version if is_all else "", is_listed=True)


@operation
async def delete_function(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """The whole function, or the version that the qualifier names; one that isn't there is no error."""
    named = rules.named(ctx.scope, req["FunctionName"], req.get("Qualifier"))
    now_ms = ctx.clock.now_ms()

    def delete(tx: Transaction) -> list[Version]:
        get_function_record(tx, named)
        if named.qualifier:
            return _delete_version(tx, named, now_ms)
        gone = list(state.versions(tx, named.scope, named.name))
        for url in list(state.urls(tx, named.scope, named.name)):
            state.delete_url(tx, named.scope, named.name, url)
        previous = state.find_previous(tx, named.scope, named.name)
        state.delete_function(tx, named.scope, named.name)
        durable_records.forget_names(tx, named.scope, named.name)
        held = {one.package.blob_id: one.package for one in [*gone, *([previous] if previous else [])]}
        for blob_id in sorted(held):
            packages.drop(tx, held[blob_id], now_ms=now_ms)
        return gone

    for version in await ctx.store.transact(delete):
        if ctx.platform.functions is not None:
            await ctx.platform.functions.retire(state.arn_of(named.scope, version.name, version.version))
    return {"StatusCode": 204}


def _delete_version(tx: Transaction, named: Named, now_ms: int) -> list[Version]:
    if named.qualifier == LATEST:
        raise messages.latest_undeletable()
    if not named.qualifier.isdigit():
        raise messages.alias_as_qualifier()
    version = state.find_version(tx, named.scope, named.name, named.qualifier)
    if version is None:
        return []
    using = [
        alias.name
        for alias in state.aliases(tx, named.scope, named.name)
        if named.qualifier == alias.version or named.qualifier in alias.weights
    ]
    if using:
        raise messages.version_in_use(using)
    state.delete_version(tx, named.scope, named.name, version.number)
    state.put_policy(tx, named.scope, named.name, named.qualifier, Policy(""))
    state.delete_event_config(tx, named.scope, named.name, named.qualifier)
    if not state.is_package_used(tx, named.scope, named.name, version.package.blob_id):
        packages.drop(tx, version.package, now_ms=now_ms)
    return [version]


def publish(
    tx: Transaction, scope: Scope, function: Function, latest: Version, *, ids: tuple[str, str, str], now_ms: int
) -> Version:
    """A numbered copy of `latest`, Pending; writes the function and the copy, and gives `latest` a new revision."""
    function.version_last += 1
    published = state.copy_version(latest, str(function.version_last), config_id=ids[0], revision_id=ids[1])
    published.modified_ms = now_ms
    published.update_status, published.update_reason, published.update_code = "Successful", "", ""
    published.state, published.state_reason, published.state_code = "Pending", messages.CREATING, "Creating"
    if function.runtime_updates.get(LATEST):
        function.runtime_updates[published.version] = function.runtime_updates[LATEST]
    latest.revision_id = ids[2]
    state.put_function(tx, scope, function)
    state.put_version(tx, scope, latest)
    state.put_version(tx, scope, published)
    activate_later(tx, scope, published, now_ms=now_ms)
    return published
