"""Resource policies of tables and streams, and the flag that is Contributor Insights.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/access-control-resource-based.html
"""

from typing import Any

import orjson

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.services.dynamodb import limits, messages, state
from penstock.services.dynamodb.operations.named import table_of
from penstock.services.dynamodb.operations.streams import parse_stream_arn
from penstock.services.dynamodb.state import Stream, Table
from penstock.storage.transactions import ReadTransaction, Transaction

_NO_POLICY = "NO_POLICY"


def _edit(tx: ReadTransaction, ctx: Context, resource: str) -> Table | Stream:
    """Raises ResourceNotFoundException."""
    named = parse_stream_arn(resource)
    if named is not None:
        stream = state.edit_stream(tx, *named)
        if stream is None:
            raise messages.no_stream(resource)
        return stream
    scope, name = table_of(ctx, resource)
    if state.find_table(tx, scope, name) is None:
        raise messages.no_resource_of(resource)
    return state.edit_table(tx, scope, name)


def _keep(tx: Transaction, ctx: Context, resource: str, holder: Table | Stream) -> None:
    if isinstance(holder, Stream):
        named = parse_stream_arn(resource)
        assert named is not None
        state.put_stream(tx, named[0], holder)
    else:
        state.put_table(tx, table_of(ctx, resource)[0], holder)


def _check_policy(text: str) -> None:
    if len(text.encode()) > limits.POLICY_BYTES_MAX.value:
        raise messages.invalid("Resource-based policy size exceeds the limit of 20 KB")
    try:
        document = orjson.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict) or "Statement" not in document:
        raise messages.invalid("Invalid policy document: Syntax errors in policy.")


def _no_policy(resource: str) -> ServiceError:
    return ServiceError(
        "PolicyNotFoundException", f"Resource-based policy not found for the provided ResourceArn: {resource}"
    )


@operation
async def put_resource_policy(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    resource, expected = req["ResourceArn"], req.get("ExpectedRevisionId")
    _check_policy(req["Policy"])
    revision = str(ctx.clock.now_ms())

    def put(tx: Transaction) -> str:
        holder = _edit(tx, ctx, resource)
        if expected is not None and expected != (holder.policy_id or _NO_POLICY):
            raise _no_policy(resource)
        if holder.policy == req["Policy"]:
            return holder.policy_id
        holder.policy = req["Policy"]
        holder.policy_id = revision if revision != holder.policy_id else revision + "1"
        _keep(tx, ctx, resource, holder)
        return holder.policy_id

    return {"RevisionId": await ctx.store.transact(put)}


@operation
async def get_resource_policy(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    holder = await ctx.store.read(lambda tx: _edit(tx, ctx, req["ResourceArn"]))
    if not holder.policy:
        raise _no_policy(req["ResourceArn"])
    return {"Policy": holder.policy, "RevisionId": holder.policy_id}


@operation
async def delete_resource_policy(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Deleting what isn't there is no error, unless a revision is expected."""
    resource, expected = req["ResourceArn"], req.get("ExpectedRevisionId")

    def delete(tx: Transaction) -> str:
        holder = _edit(tx, ctx, resource)
        if expected is not None and expected != holder.policy_id:
            raise _no_policy(resource)
        revision, holder.policy, holder.policy_id = holder.policy_id, "", ""
        _keep(tx, ctx, resource, holder)
        return revision

    revision = await ctx.store.transact(delete)
    return {"RevisionId": revision} if revision else {}


@operation
async def update_contributor_insights(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """A flag: nothing is counted."""
    scope, name = table_of(ctx, req["TableName"])
    index, is_on = req.get("IndexName") or "", req["ContributorInsightsAction"] == "ENABLE"
    mode = req.get("ContributorInsightsMode") or "ACCESSED_AND_THROTTLED_KEYS"

    def update(tx: Transaction) -> None:
        table = _with_index(state.edit_table(tx, scope, name), index)
        table.insights.pop(index, None)
        if is_on:
            table.insights[index] = mode
        state.put_table(tx, scope, table)

    await ctx.store.transact(update)
    shown = {"TableName": name, "ContributorInsightsStatus": "ENABLING" if is_on else "DISABLING"}
    return shown | ({"IndexName": index} if index else {}) | ({"ContributorInsightsMode": mode} if is_on else {})


def _with_index(table: Table, index: str) -> Table:
    if index and table.find_index(index) is None:
        raise messages.no_resource()
    return table


@operation
async def describe_contributor_insights(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name = table_of(ctx, req["TableName"])
    index = req.get("IndexName") or ""

    def read(tx: ReadTransaction) -> Table:
        return _with_index(state.edit_table(tx, scope, name), index)

    mode = (await ctx.store.read(read)).insights.get(index)
    shown: dict[str, Any] = {"TableName": name, "ContributorInsightsStatus": "ENABLED" if mode else "DISABLED"}
    if index:
        shown["IndexName"] = index
    if mode:
        shown["ContributorInsightsMode"] = mode
        kinds = ("PKC", "PKT") if mode == "ACCESSED_AND_THROTTLED_KEYS" else ("PKT",)
        of = f"{name}-{index}" if index else name
        shown["ContributorInsightsRuleList"] = [f"DynamoDBContributorInsights-{kind}-{of}" for kind in kinds]
    return shown


@operation
async def list_contributor_insights(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    wanted = table_of(ctx, req["TableName"])[1] if req.get("TableName") else None

    def read(tx: ReadTransaction) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for name in state.table_names(tx, ctx.scope):
            table = state.find_table(tx, ctx.scope, name)
            if table is None or (wanted is not None and name != wanted):
                continue
            for index, mode in table.insights.items():
                shown = {"TableName": name, "ContributorInsightsStatus": "ENABLED", "ContributorInsightsMode": mode}
                found.append(shown | ({"IndexName": index} if index else {}))
        return found

    found = await ctx.store.read(read)
    token = req.get("NextToken") or "0"
    if not token.isdecimal():
        raise messages.invalid("Invalid NextToken")
    count, start = req.get("MaxResults") or 100, int(token)
    more = {"NextToken": str(start + count)} if len(found) > start + count else {}
    return {"ContributorInsightsSummaries": found[start : start + count], **more}
