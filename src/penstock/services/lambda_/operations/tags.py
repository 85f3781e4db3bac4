"""Tags of functions, event source mappings and code signing configurations.

Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-tags.html
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel import arn
from penstock.kernel.scope import Scope
from penstock.services.lambda_ import messages, rules, state
from penstock.services.lambda_.operations import code_signing, functions, mappings
from penstock.services.lambda_.rules import Named
from penstock.storage.transactions import ReadTransaction, Transaction

_UNBUILT = re.compile(r"(capacity-provider|network-connector):")
Tags = dict[str, str]


@operation
async def tag_resource(ctx: Context, req: dict[str, Any]) -> None:
    if not req["Tags"]:
        raise messages.no_tags()
    await _change(ctx, req["Resource"], lambda known: known | req["Tags"])


@operation
async def untag_resource(ctx: Context, req: dict[str, Any]) -> None:
    gone = frozenset(req["TagKeys"])
    await _change(ctx, req["Resource"], lambda known: {name: known[name] for name in known if name not in gone})


@operation
async def list_tags(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    return {"Tags": await ctx.store.read(lambda tx: _read(tx, ctx, req["Resource"]))}


async def _change(ctx: Context, resource: str, change: Callable[[Tags], Tags]) -> None:
    revision_id = ctx.entropy.uuid()

    def write(tx: Transaction) -> None:
        tags = change(_read(tx, ctx, resource))
        rules.check_tag_count(tags)
        kind, id, scope = _parsed(resource)
        if kind == "code-signing-config":
            code_signing.put_tags(tx, scope, id, tags)
        elif kind == "event-source-mapping":
            mappings.put_source(tx, scope, replace(_source(tx, scope, id), tags=tags))
        else:
            _write_function(tx, _named(ctx, resource), tags, revision_id)

    await ctx.store.transact(write)


def _read(tx: ReadTransaction, ctx: Context, resource: str) -> Tags:
    kind, id, scope = _parsed(resource)
    if kind == "code-signing-config":
        return code_signing.tags_of(tx, scope, id)
    if kind == "event-source-mapping":
        return _source(tx, scope, id).tags
    return functions.get_function_record(tx, _named(ctx, resource)).tags


def _source(tx: ReadTransaction, scope: Scope, id: str) -> mappings.EventSource:
    source = mappings.find_source(tx, scope, id)
    if source is None:
        raise messages.no_mapping()
    return source


def _write_function(tx: Transaction, named: Named, tags: Tags, revision_id: str) -> None:
    """Tags are part of the function's revision."""
    function = functions.get_function_record(tx, named)
    latest = functions.get_version(tx, named)
    if latest.update_status == "InProgress":
        raise messages.update_in_progress(named.arn)
    function.tags, latest.revision_id = tags, revision_id
    state.put_function(tx, named.scope, function)
    state.put_version(tx, named.scope, latest)


def _named(ctx: Context, resource: str) -> Named:
    named = rules.named(ctx.scope, resource)
    if named.qualifier:
        raise messages.tags_of_versions()
    return named


def _parsed(resource: str) -> tuple[str, str, Scope]:
    """What kind of thing it is, its id, and where it lives."""
    at = arn.parse(resource)
    kind, _, id = at.resource.partition(":")
    if _UNBUILT.match(at.resource):
        raise messages.untaggable(kind)
    return kind, id, Scope(at.account_id, at.region, at.partition)
