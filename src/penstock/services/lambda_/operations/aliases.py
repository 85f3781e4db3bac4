"""Aliases: names for versions, with a share of the traffic for a second one.

Source: https://docs.aws.amazon.com/lambda/latest/dg/configuring-alias-routing.html
"""

from dataclasses import replace
from itertools import islice
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.lambda_ import messages, rules, state
from penstock.services.lambda_.operations import functions, provisioned
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import LATEST, Alias
from penstock.storage.transactions import ReadTransaction, Transaction


@operation
async def create_alias(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = rules.named(ctx.scope, req["FunctionName"])
    alias = Alias(
        name=req["Name"],
        function=named.name,
        version=req["FunctionVersion"],
        revision_id=ctx.entropy.uuid(),
        description=req.get("Description") or "",
        weights=_weights(req),
    )

    def create(tx: Transaction) -> None:
        functions.get_function_record(tx, named)
        if state.find_alias(tx, named.scope, named.name, alias.name) is not None:
            raise messages.alias_exists(state.arn_of(named.scope, named.name, alias.name))
        _check(tx, named, alias)
        state.put_alias(tx, named.scope, alias)

    await ctx.store.transact(create)
    return _described(named, alias)


@operation
async def get_alias(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = rules.named(ctx.scope, req["FunctionName"])
    return _described(named, await ctx.store.read(lambda tx: _get(tx, named, req["Name"])))


@operation
async def update_alias(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = rules.named(ctx.scope, req["FunctionName"])
    revision_id = ctx.entropy.uuid()

    def update(tx: Transaction) -> Alias:
        functions.get_function_record(tx, named)
        alias = state.find_alias(tx, named.scope, named.name, req["Name"])
        if alias is None:
            raise messages.alias_not_found(state.arn_of(named.scope, named.name, req["Name"]))
        if req.get("RevisionId") and req["RevisionId"] != alias.revision_id:
            raise messages.revision_mismatch()
        alias.version = req.get("FunctionVersion") or alias.version
        if req.get("Description") is not None:
            alias.description = req["Description"]
        if req.get("RoutingConfig") is not None:
            alias.weights = _weights(req)
        alias.revision_id = revision_id
        _check(tx, named, alias)
        state.put_alias(tx, named.scope, alias)
        provisioned.touch(tx, named.scope, named.name, alias.name, now_ms=ctx.clock.now_ms())
        return alias

    return _described(named, await ctx.store.transact(update))


@operation
async def delete_alias(ctx: Context, req: dict[str, Any]) -> None:
    """Deleting what isn't there is no error."""
    named = rules.named(ctx.scope, req["FunctionName"])

    def delete(tx: Transaction) -> None:
        functions.get_function_record(tx, named)
        url = state.find_url(tx, named.scope, named.name, req["Name"])
        if url is not None:
            state.delete_url(tx, named.scope, named.name, url)
        state.delete_alias(tx, named.scope, named.name, req["Name"])

    await ctx.store.transact(delete)


@operation
async def list_aliases(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = rules.named(ctx.scope, req["FunctionName"])
    size = rules.page_size(req)
    after, wanted = rules.parse_marker(req.get("Marker"))[0], req.get("FunctionVersion")

    def read(tx: ReadTransaction) -> list[Alias]:
        functions.get_function_record(tx, named)
        found = state.aliases(tx, named.scope, named.name, after=after)
        return list(islice((a for a in found if not wanted or wanted == a.version or wanted in a.weights), size + 1))

    page = await ctx.store.read(read)
    answer: dict[str, Any] = {"Aliases": [_described(named, alias) for alias in page[:size]]}
    if len(page) > size:
        answer["NextMarker"] = rules.format_marker(page[size - 1].name)
    return answer


def _weights(req: dict[str, Any]) -> dict[str, float]:
    return dict((req.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {})


def _get(tx: ReadTransaction, named: Named, name: str) -> Alias:
    functions.get_function_record(tx, named)
    alias = state.find_alias(tx, named.scope, named.name, name)
    if alias is None:
        raise messages.no_such_alias(state.arn_of(named.scope, named.name, name))
    return alias


def _check(tx: ReadTransaction, named: Named, alias: Alias) -> None:
    if len(alias.weights) > 1:
        raise messages.too_many_weights()
    if alias.weights and alias.version == LATEST:
        raise messages.latest_in_routing()
    if alias.version in alias.weights:
        raise messages.version_twice_in_routing(alias.version)
    targets = [
        functions.get_version(tx, replace(named, qualifier=number)) for number in (alias.version, *alias.weights)
    ]
    if len({version.role for version in targets}) > 1:
        raise messages.versions_differ("execution role")
    if len({version.dead_letter_arn for version in targets}) > 1:
        raise messages.versions_differ("dead-letter queue")


def _described(named: Named, alias: Alias) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "AliasArn": state.arn_of(named.scope, named.name, alias.name),
        "Name": alias.name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RevisionId": alias.revision_id,
    }
    if alias.weights:
        answer["RoutingConfig"] = {"AdditionalVersionWeights": alias.weights}
    return answer
