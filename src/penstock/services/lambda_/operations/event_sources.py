"""Event source mappings: which queue, stream or topic feeds which function, and how.

A mapping that was created, changed or deleted is in transition until its supervisor (background.py) has followed.
Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html
"""

from collections.abc import Mapping
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.lambda_ import messages, rules, state
from penstock.services.lambda_.operations import durable_starts, functions, mappings, source_settings
from penstock.services.lambda_.operations.mappings import EventSource
from penstock.services.lambda_.operations.source_checks import check_arn, check_source
from penstock.services.lambda_.rules import Named
from penstock.storage.transactions import ReadTransaction, Transaction

PAGE_MAX = 100


@operation
async def create_event_source_mapping(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = rules.named(ctx.scope, req["FunctionName"])
    now_ms = ctx.clock.now_ms()
    source = EventSource(
        id=ctx.entropy.uuid(),
        source_arn=check_arn(req.get("EventSourceArn"), is_self_managed=bool(req.get("SelfManagedEventSource"))),
        function=named.name,
        qualifier=named.qualifier,
        modified_ms=now_ms,
        created_ms=now_ms,
        revision=ctx.entropy.uuid(),
        state="Creating",
    )
    source_settings.begin(source, req)
    source_settings.apply(source, req)
    await check_source(ctx, named, source)

    def create(tx: Transaction) -> None:
        durable_starts.check_mappable(named, functions.get_version(tx, named))
        _check_is_new(tx, ctx, source)
        mappings.put_source(tx, ctx.scope, source)

    await ctx.store.transact(create)
    return await _described(ctx, source)


def _check_is_new(tx: ReadTransaction, ctx: Context, source: EventSource) -> None:
    """One mapping for one source and function."""

    def identity(one: EventSource) -> tuple[object, ...]:
        return (one.source_arn, one.servers, one.topics, one.function, one.qualifier)

    for known in mappings.sources(tx, ctx.scope):
        if known.id != source.id and identity(known) == identity(source):
            name = f"{source.function}:{source.qualifier}" if source.qualifier else source.function
            origin = source.source_arn or ",".join(source.servers)
            raise messages.mapping_exists(source.kind, origin, name, known.id)


@operation
async def get_event_source_mapping(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    return await _described(ctx, await ctx.store.read(lambda tx: _get(tx, ctx, req)))


@operation
async def list_event_source_mappings(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """By id. A function's name finds the mappings of its versions and aliases too, a qualified one only its own."""
    wanted = rules.named(ctx.scope, req["FunctionName"]) if req.get("FunctionName") else None
    marker, count = req.get("Marker") or "", min(req.get("MaxItems") or PAGE_MAX, PAGE_MAX)

    def find(tx: ReadTransaction) -> list[EventSource]:
        return [
            source
            for source in mappings.sources(tx, ctx.scope)
            if source.id > marker
            and (wanted is None or wanted.name == source.function)
            and (wanted is None or wanted.qualifier in ("", source.qualifier))
            and req.get("EventSourceArn") in (None, source.source_arn)
        ]

    found = await ctx.store.read(find)
    answer: dict[str, Any] = {"EventSourceMappings": [await _described(ctx, source) for source in found[:count]]}
    if len(found) > count:
        answer["NextMarker"] = found[count - 1].id
    return answer


@operation
async def update_event_source_mapping(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    source = await ctx.store.read(lambda tx: _get(tx, ctx, req))
    was_enabled, revision = source.is_enabled, source.revision
    _check_at_rest(source, "update")
    if req.get("FunctionName"):
        named = rules.named(ctx.scope, req["FunctionName"])
        source.function, source.qualifier = named.name, named.qualifier
    source_settings.apply(source, req)
    source.modified_ms, source.revision = ctx.clock.now_ms(), ctx.entropy.uuid()
    source.state = "Updating" if was_enabled == source.is_enabled else "Enabling" if source.is_enabled else "Disabling"
    await check_source(ctx, Named(ctx.scope, source.function, source.qualifier), source)

    def update(tx: Transaction) -> None:
        known = _get(tx, ctx, req)
        if known.revision != revision:
            raise messages.mapping_in_use("update")
        named = Named(ctx.scope, source.function, source.qualifier)
        durable_starts.check_mappable(named, functions.get_version(tx, named))
        _check_is_new(tx, ctx, source)
        source.tags = known.tags
        mappings.put_source(tx, ctx.scope, source)

    await ctx.store.transact(update)
    return await _described(ctx, source)


@operation
async def delete_event_source_mapping(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms, revision = ctx.clock.now_ms(), ctx.entropy.uuid()

    def delete(tx: Transaction) -> EventSource:
        source = _get(tx, ctx, req)
        _check_at_rest(source, "delete")
        source.state, source.revision, source.modified_ms = "Deleting", revision, now_ms
        mappings.put_source(tx, ctx.scope, source)
        return source

    return await _described(ctx, await ctx.store.transact(delete))


def _get(tx: ReadTransaction, ctx: Context, req: Mapping[str, Any]) -> EventSource:
    source = mappings.find_source(tx, ctx.scope, req["UUID"])
    if source is None:
        raise messages.no_mapping()
    return source


def _check_at_rest(source: EventSource, verb: str) -> None:
    """Source: https://docs.aws.amazon.com/lambda/latest/api/API_UpdateEventSourceMapping.html (ResourceInUse)"""
    if source.state in mappings.IN_TRANSITION:
        raise messages.mapping_in_use(verb)


async def _described(ctx: Context, source: EventSource) -> dict[str, Any]:
    result = await ctx.store.read(lambda tx: mappings.find_result(tx, ctx.scope, source.id))
    return source_settings.described(source, result) | {
        "FunctionArn": state.arn_of(ctx.scope, source.function, source.qualifier),
        "EventSourceMappingArn": source.arn(ctx.scope),
    }
