"""Provisioned concurrency of versions and aliases: wanted here, held by the node's pool, paid for by the 5 minutes.

Source: https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from penstock.engines.functions.ports import Allocation, FunctionPool, FunctionSpec
from penstock.framework.context import Context
from penstock.framework.service import background, operation
from penstock.framework.wakeups import Wakeup
from penstock.kernel.scope import Scope
from penstock.kernel.units import MINUTE_MS
from penstock.services.lambda_ import limits, messages, rules, state
from penstock.services.lambda_.operations import functions, specs
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import LATEST, PROVISIONED, Usage, Version
from penstock.storage.records import Record
from penstock.storage.transactions import Key, ReadTransaction, Transaction

EPOCH_MS = 5 * MINUTE_MS
"""What is begun is paid for whole. Source: https://aws.amazon.com/lambda/pricing/"""


@dataclass
class Provisioned:
    """What is wanted for one version or alias. `paid_until_ms`: usage has been counted up to there."""

    function: str
    qualifier: str
    wanted: int
    modified_ms: int
    paid_until_ms: int


_PROVISIONED = Record(Provisioned)


@operation
async def put_provisioned_concurrency_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Source: https://docs.aws.amazon.com/lambda/latest/api/API_PutProvisionedConcurrencyConfig.html"""
    named = _named(ctx, req)
    wanted, now_ms = int(req["ProvisionedConcurrentExecutions"]), ctx.clock.now_ms()
    if named.qualifier == LATEST:
        raise messages.provisioned_latest()

    def put(tx: Transaction) -> Provisioned:
        version = functions.get_version(tx, named)
        known = find(tx, named)
        _check(tx, named, version, wanted - (known.wanted if known else 0))
        if known is not None:
            settle(tx, named.scope, known, now_ms=now_ms)
        fresh = Provisioned(named.name, named.qualifier, wanted, now_ms, known.paid_until_ms if known else now_ms)
        settle(tx, named.scope, fresh, now_ms=now_ms + 1)
        tx.put(_key(named.scope, named.name, named.qualifier), _PROVISIONED.dump(fresh))
        return fresh

    return _described(await ctx.store.transact(put), Allocation(0, 0))


@operation
async def get_provisioned_concurrency_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = _named(ctx, req)
    found = await ctx.store.read(lambda tx: _get(tx, named))
    return _described(found, _allocation(ctx, named.scope, found))


@operation
async def list_provisioned_concurrency_configs(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = rules.named(ctx.scope, req["FunctionName"])
    size = min(req.get("MaxItems") or limits.PAGE_MAX.value, limits.PAGE_MAX.value)
    after = rules.parse_marker(req.get("Marker"))[0]

    def read(tx: ReadTransaction) -> list[Provisioned]:
        functions.get_function_record(tx, named)
        found = (one for one in of_function(tx, named.scope, named.name) if one.qualifier > after)
        return list(islice(found, size + 1))

    page = await ctx.store.read(read)
    listed = [
        {
            "FunctionArn": state.arn_of(named.scope, named.name, one.qualifier),
            **_described(one, _allocation(ctx, named.scope, one)),
        }
        for one in page[:size]
    ]
    answer: dict[str, Any] = {"ProvisionedConcurrencyConfigs": listed}
    if len(page) > size:
        answer["NextMarker"] = rules.format_marker(page[size - 1].qualifier)
    return answer


@operation
async def delete_provisioned_concurrency_config(ctx: Context, req: dict[str, Any]) -> None:
    named = _named(ctx, req)
    now_ms = ctx.clock.now_ms()

    def delete(tx: Transaction) -> None:
        functions.get_function_record(tx, named)
        known = find(tx, named)
        if known is not None:
            settle(tx, named.scope, known, now_ms=now_ms)
            tx.delete(_key(named.scope, named.name, named.qualifier))

    await ctx.store.transact(delete)


@background
async def keep_provisioned(ctx: Context) -> None:
    """Have the pool hold what is wanted, after each change and after a start."""
    pool = ctx.platform.functions
    if pool is None:
        return
    changes = Wakeup()
    ctx.store.on_commit(PROVISIONED, changes.signal)
    held: dict[str, FunctionSpec] = {}
    while True:
        changed = changes.changed
        await _reconcile(ctx, pool, held)
        await changed.wait()


async def _reconcile(ctx: Context, pool: FunctionPool, held: dict[str, FunctionSpec]) -> None:
    def read(tx: ReadTransaction) -> list[tuple[Scope, Provisioned, Version, int | None]]:
        found = []
        for scope, one in every(tx):
            function = state.find_function(tx, scope, one.function)
            version = _version(tx, scope, one)
            if function is not None and version is not None:
                found.append((scope, one, version, function.reserved_concurrency))
        return found

    wanted: dict[str, tuple[FunctionSpec, int]] = {}
    for scope, one, version, reserved in await ctx.store.read(read):
        spec = await specs.prepare(ctx, scope, version, reserved=reserved)
        wanted[state.arn_of(scope, one.function, one.qualifier)] = spec, one.wanted
    for arn in held.keys() - wanted.keys():
        pool.provision(arn, held.pop(arn), 0)
    for arn, (spec, count) in wanted.items():
        held[arn] = spec
        pool.provision(arn, spec, count)


def touch(tx: Transaction, scope: Scope, name: str, alias: str, *, now_ms: int) -> None:
    """The alias names another version now: what it holds moves there."""
    known = _PROVISIONED.find(tx.get(_key(scope, name, alias)))
    if known is not None:
        known.modified_ms = now_ms
        tx.put(_key(scope, name, alias), _PROVISIONED.dump(known))


def find(tx: ReadTransaction, named: Named) -> Provisioned | None:
    return _PROVISIONED.find(tx.get(_key(named.scope, named.name, named.qualifier)))


def of_function(tx: ReadTransaction, scope: Scope, name: str) -> Iterator[Provisioned]:
    for _, value in tx.range((*PROVISIONED, scope.account_id, scope.region, name)):
        yield _PROVISIONED.load(value)


def every(tx: ReadTransaction) -> Iterator[tuple[Scope, Provisioned]]:
    for key, value in tx.range(PROVISIONED):
        yield Scope(str(key[1]), str(key[2])), _PROVISIONED.load(value)


def unreserved(tx: ReadTransaction, scope: Scope) -> int:
    """What is left of the account's concurrency: neither reserved nor provisioned outside of reserved shares."""
    reserved = {function.name: function.reserved_concurrency for function in state.functions(tx, scope)}
    held = sum(one.wanted for place, one in every(tx) if place == scope and reserved.get(one.function) is None)
    return limits.CONCURRENCY.value - sum(value or 0 for value in reserved.values()) - held


def settle(tx: Transaction, scope: Scope, one: Provisioned, *, now_ms: int) -> None:
    """Count what has been held since it was last counted, in whole epochs, on the day in which each began."""
    version = _version(tx, scope, one)
    while version is not None and one.paid_until_ms < now_ms:
        day = rules.when(one.paid_until_ms).strftime("%Y-%m-%d")
        held = Usage(held_mb_ms=one.wanted * version.memory_mb * EPOCH_MS)
        state.add_usage(tx, scope, day, one.function, version.architecture, held)
        one.paid_until_ms += EPOCH_MS


def settle_all(tx: Transaction, *, now_ms: int) -> None:
    for scope, one in list(every(tx)):
        if one.paid_until_ms < now_ms:
            settle(tx, scope, one, now_ms=now_ms)
            tx.put(_key(scope, one.function, one.qualifier), _PROVISIONED.dump(one))


def _version(tx: ReadTransaction, scope: Scope, one: Provisioned) -> Version | None:
    alias = state.find_alias(tx, scope, one.function, one.qualifier)
    number = alias.version if alias is not None else one.qualifier
    return state.find_version(tx, scope, one.function, number) if number.isdigit() else None


def _check(tx: ReadTransaction, named: Named, version: Version, more: int) -> None:
    """Source: https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html"""
    alias = state.find_alias(tx, named.scope, named.name, named.qualifier)
    others = [one for one in of_function(tx, named.scope, named.name) if one.qualifier != named.qualifier]
    if alias is not None and alias.version == LATEST:
        raise messages.provisioned_latest()
    if version.is_tenant_isolated:
        raise messages.not_with_tenants("Provisioned Concurrency")
    if version.has_snap_start:
        raise messages.provisioned_snap_start()
    for other in others:
        if alias is not None and other.qualifier == alias.version:
            raise messages.conflict(
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
            )
        if alias is None and (found := _version(tx, named.scope, other)) and found.version == named.qualifier:
            raise messages.conflict("Version is pointed by a Provisioned Concurrency alias")
    reserved = functions.get_function_record(tx, named).reserved_concurrency
    if reserved is not None:
        wanted = sum(one.wanted for one in of_function(tx, named.scope, named.name)) + more
        if wanted > reserved:
            raise messages.provisioned_above_reserved()
    elif unreserved(tx, named.scope) - more < limits.UNRESERVED_CONCURRENCY_MIN.value:
        raise messages.too_little_unreserved(limits.UNRESERVED_CONCURRENCY_MIN.value)


def _get(tx: ReadTransaction, named: Named) -> Provisioned:
    functions.get_function_record(tx, named)
    found = find(tx, named)
    if found is None:
        raise messages.no_provisioned()
    return found


def _allocation(ctx: Context, scope: Scope, one: Provisioned) -> Allocation:
    pool = ctx.platform.functions
    if pool is None:
        return Allocation(0, 0, "This node runs no functions.")
    return pool.allocation(state.arn_of(scope, one.function, one.qualifier))


def _described(one: Provisioned, allocation: Allocation) -> dict[str, Any]:
    is_ready = allocation.available >= one.wanted
    answer: dict[str, Any] = {
        "RequestedProvisionedConcurrentExecutions": one.wanted,
        "AvailableProvisionedConcurrentExecutions": min(allocation.available, one.wanted),
        "AllocatedProvisionedConcurrentExecutions": min(allocation.allocated, one.wanted),
        "Status": "FAILED" if allocation.failure else "READY" if is_ready else "IN_PROGRESS",
        "LastModified": datetime.fromtimestamp(one.modified_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000"),
    }
    if allocation.failure:
        answer["StatusReason"] = allocation.failure
    return answer


def _named(ctx: Context, req: dict[str, Any]) -> Named:
    return rules.named(ctx.scope, req["FunctionName"], req["Qualifier"])


def _key(scope: Scope, name: str, qualifier: str) -> Key:
    return (*PROVISIONED, scope.account_id, scope.region, name, qualifier)
