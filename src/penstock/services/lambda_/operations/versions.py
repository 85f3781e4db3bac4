"""Published versions.

Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-versions.html
"""

from itertools import islice
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.lambda_ import messages, rules, state
from penstock.services.lambda_.operations import functions
from penstock.services.lambda_.state import Version
from penstock.storage.transactions import ReadTransaction, Transaction


@operation
async def publish_version(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """A snapshot of $LATEST; the last one again where nothing has changed since."""
    named = rules.named(ctx.scope, req["FunctionName"])
    rules.check_publication(req)
    ids, now_ms = functions.new_ids(ctx), ctx.clock.now_ms()

    def write(tx: Transaction) -> Version:
        function = functions.get_function_record(tx, named)
        latest = functions.get_version(tx, rules.Named(named.scope, named.name))
        _check(latest, req, named.arn)
        last = state.find_version(tx, named.scope, named.name, str(function.version_last))
        if function.version_last and last is not None and rules.is_same(last, latest):
            return last
        published = functions.publish(tx, named.scope, function, latest, ids=ids, now_ms=now_ms)
        if req.get("Description"):
            published.description = req["Description"]
            state.put_version(tx, named.scope, published)
        return published

    published = await ctx.store.transact(write)
    return rules.configuration(named.scope, published, published.version)


def _check(latest: Version, req: dict[str, Any], arn: str) -> None:
    if req.get("RevisionId") and req["RevisionId"] != latest.revision_id:
        raise messages.revision_mismatch()
    if req.get("CodeSha256") and req["CodeSha256"] != latest.package.sha256:
        raise messages.other_code(req["CodeSha256"], latest.package.sha256)
    if latest.state == "Pending":
        raise messages.not_ready(latest.state)
    if latest.update_status == "InProgress":
        raise messages.update_in_progress(arn)


@operation
async def list_versions_by_function(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """$LATEST, then the published ones by number."""
    named = rules.named(ctx.scope, req["FunctionName"])
    size = rules.page_size(req)
    begin = rules.parse_marker(req.get("Marker"))[1]

    def read(tx: ReadTransaction) -> list[Version]:
        functions.get_function_record(tx, named)
        return list(islice(state.versions(tx, named.scope, named.name, begin=begin), size + 1))

    found = await ctx.store.read(read)
    described = [rules.configuration(named.scope, v, v.version, is_listed=True) for v in found[:size]]
    answer: dict[str, Any] = {"Versions": described}
    if len(found) > size:
        answer["NextMarker"] = rules.format_marker(named.name, found[size].number)
    return answer
