"""What IAM is asked, with the conditions by which a policy can let a caller see some items and attributes only.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from penstock.engines.expressions import partiql
from penstock.engines.expressions.errors import BadExpression
from penstock.engines.expressions.parser import parse_condition, parse_projection, parse_update
from penstock.engines.expressions.trees import Path, Placeholders, Update, paths_of
from penstock.framework.context import Context
from penstock.framework.service import Access, Members, Permission
from penstock.kernel.errors import ServiceError
from penstock.services.dynamodb import state
from penstock.services.dynamodb.operations.key_conditions import conditions_of
from penstock.services.dynamodb.operations.named import table_arn, table_of
from penstock.services.dynamodb.operations.streams import iterator_stream_arn, parse_stream_arn
from penstock.storage.transactions import ReadTransaction

Conditions = dict[str, str | list[str]]
_OF_TABLES = (
    *("CreateTable", "DescribeTable", "UpdateTable", "DeleteTable", "UpdateTimeToLive", "DescribeTimeToLive"),
    *("CreateBackup", "UpdateContinuousBackups", "DescribeContinuousBackups", "UpdateContributorInsights"),
    *("DescribeContributorInsights", "EnableKinesisStreamingDestination", "DisableKinesisStreamingDestination"),
    *("UpdateKinesisStreamingDestination", "DescribeKinesisStreamingDestination"),
)
_BY_ARN = {
    **dict.fromkeys(("TagResource", "UntagResource", "ListTagsOfResource"), "ResourceArn"),
    **dict.fromkeys(("PutResourcePolicy", "GetResourcePolicy", "DeleteResourcePolicy"), "ResourceArn"),
    **dict.fromkeys(("DescribeBackup", "DeleteBackup", "RestoreTableFromBackup"), "BackupArn"),
    **dict.fromkeys(("DescribeStream", "GetShardIterator"), "StreamArn"),
    "ExportTableToPointInTime": "TableArn",
    "DescribeExport": "ExportArn",
    "DescribeImport": "ImportArn",
}
_OF_ITEMS = ("PutItem", "GetItem", "UpdateItem", "DeleteItem", "Query", "Scan")
_IN_TRANSACTIONS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}
_SCHEMAS = "@schemas"
_PASSED_ON = {
    "Select": "dynamodb:Select",
    "ReturnValues": "dynamodb:ReturnValues",
    "ReturnConsumedCapacity": "dynamodb:ReturnConsumedCapacity",
}


def _asked(ctx: Context, operation: str, req: Members) -> Sequence[Permission] | None:
    """By kind of operation; None where the table of permissions says it."""
    if operation in _OF_ITEMS:
        return [_permission(ctx, operation, [req], req)]
    if operation in ("BatchGetItem", "BatchWriteItem"):
        return [
            _permission(ctx, operation, _of_batch(table, given), {**req, "TableName": table})
            for table, given in (req.get("RequestItems") or {}).items()
        ]
    if operation in ("TransactWriteItems", "TransactGetItems"):
        return _of_transaction(ctx, operation, req)
    if operation in ("ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction"):
        statements = req.get("Statements") or req.get("TransactStatements") or [req]
        return [_of_statement(ctx, one, req) for one in statements]
    return None


def _of_batch(table: str, given: Any) -> list[Members]:
    if isinstance(given, Mapping):
        return [{**given, "TableName": table, "Key": key} for key in given.get("Keys") or ()]
    return [{"TableName": table, **(one.get("PutRequest") or one.get("DeleteRequest") or {})} for one in given]


def _of_transaction(ctx: Context, operation: str, req: Members) -> list[Permission]:
    """What each item needs, once per action and table."""
    groups: dict[tuple[str, str], list[Members]] = {}
    for one in req.get("TransactItems") or ():
        for kind, members in one.items():
            if members is not None:
                action = _IN_TRANSACTIONS.get(kind, "GetItem")
                groups.setdefault((action, members.get("TableName") or ""), []).append(members)
    return [
        _permission(ctx, action, group, {**req, "TableName": table}, {"dynamodb:EnclosingOperation": operation})
        for (action, table), group in groups.items()
    ]


def _of_statement(ctx: Context, one: Members, req: Members) -> Permission:
    try:
        statement = partiql.parse_statement(one.get("Statement") or "", one.get("Parameters") or [])
    except BadExpression:
        return Permission("dynamodb:PartiQLSelect", lambda ctx, req: "")
    index = ""
    if isinstance(statement, partiql.Exists):
        statement = statement.select
    if isinstance(statement, partiql.Select):
        verb, index = "Select", f"/index/{statement.index}" if statement.index else ""
    elif isinstance(statement, partiql.Insert):
        verb = "Insert"
    else:
        verb = "Update" if statement.update is not None else "Delete"
    resource = table_arn(ctx, statement.table) + index
    return Permission(f"dynamodb:PartiQL{verb}", lambda ctx, req: resource, view=_of_table(statement.table))


def _of_table(name: str) -> Callable[[str, Members], tuple[str, Members]]:
    """The request as far as one table is concerned: its policy decides."""
    return lambda operation, _: (operation, {"TableName": name})


def _permission(
    ctx: Context, action: str, items: Sequence[Members], req: Members, extra: Mapping[str, str] | None = None
) -> Permission:
    name = str(req.get("TableName") or "")
    index = f"/index/{req['IndexName']}" if req.get("IndexName") else ""
    resource = table_arn(ctx, name) + index
    return Permission(
        f"dynamodb:{action}",
        lambda ctx, _: resource,
        lambda ctx, _: {**_conditions(req, items), **(extra or {})},
        view=_of_table(name),
    )


def _conditions(req: Members, items: Sequence[Members]) -> Conditions:
    found: Conditions = {key: str(req[member]) for member, key in _PASSED_ON.items() if req.get(member)}
    schemas: Mapping[str, Any] = req.get(_SCHEMAS) or {}
    name = (schemas.get(str(req.get("TableName"))) or {}).get(req.get("IndexName") or "", "")
    keys = [key for one in items for key in _leading_keys(one, name)]
    if keys:
        found["dynamodb:LeadingKeys"] = list(dict.fromkeys(keys))
    attributes = sorted({name for one in items for name in _attributes(one)})
    if attributes:
        found["dynamodb:Attributes"] = attributes
    return found


def _leading_keys(one: Members, name: str) -> list[str]:
    item = one.get("Key") or one.get("Item")
    if item is not None:
        return [_text(item[name])] if name in item else []
    conditions: Mapping[str, Any] = one.get("KeyConditions") or {}
    if name in conditions:
        return [_text(value) for value in conditions[name].get("AttributeValueList") or ()]
    try:
        tree = parse_condition(one.get("KeyConditionExpression") or "", _placeholders(one))
        told = conditions_of(tree).get(name)
    except BadExpression:
        return []
    return [_text(value) for value in told.values] if told is not None else []


def _text(value: Mapping[str, Any]) -> str:
    content = next(iter(value.values()), "")
    return content if isinstance(content, str) else str(content)


def _placeholders(one: Members) -> Placeholders:
    return Placeholders(one.get("ExpressionAttributeNames"), one.get("ExpressionAttributeValues"))


def _attributes(one: Members) -> set[str]:
    """Top-level attributes that a request names."""
    names: set[str] = set()
    for member in ("Item", "Key", "Expected", "AttributeUpdates", "KeyConditions", "QueryFilter", "ScanFilter"):
        names |= set(one.get(member) or ())
    names |= set(one.get("AttributesToGet") or ())
    paths: list[Path] = []
    try:
        for member in ("ConditionExpression", "FilterExpression", "KeyConditionExpression"):
            if one.get(member):
                paths += paths_of(parse_condition(one[member], _placeholders(one)))
        if one.get("ProjectionExpression"):
            paths += parse_projection(one["ProjectionExpression"], _placeholders(one))
        if one.get("UpdateExpression"):
            paths += _paths_of_update(parse_update(one["UpdateExpression"], _placeholders(one)))
    except BadExpression:
        pass
    return names | {str(path.steps[0]) for path in paths}


def _paths_of_update(update: Update) -> list[Path]:
    return [*update.paths, *(path for _, tree in update.sets for path in paths_of(tree))]


def _table(ctx: Context, req: Members) -> str:
    return table_arn(ctx, str(req.get("TableName") or req.get("TargetTableName") or "*"))


def _source_table(ctx: Context, req: Members) -> str:
    return table_arn(ctx, str(req.get("SourceTableArn") or req.get("SourceTableName") or "*"))


def _imported(ctx: Context, req: Members) -> str:
    return table_arn(ctx, str((req.get("TableCreationParameters") or {}).get("TableName") or "*"))


def _streams(ctx: Context, req: Members) -> str:
    return f"{table_arn(ctx, req['TableName'])}/stream/*" if req.get("TableName") else "*"


def _named(member: str) -> Permission:
    return Permission("", lambda ctx, req: str(req.get(member) or "*"))


def _canonical(tx: ReadTransaction, ctx: Context, req: Members) -> Members:
    """With the partition key of each table and index that the request names."""
    names = {req.get("TableName"), *(req.get("RequestItems") or ())}
    for one in req.get("TransactItems") or ():
        names |= {members.get("TableName") for members in one.values() if members is not None}
    schemas = {}
    for name in names - {None}:
        table = _find(tx, ctx, str(name))
        if table is not None:
            schemas[name] = {"": table.schema.hash[0]} | {one.name: one.schema.hash[0] for one in table.indexes}
    return {**req, _SCHEMAS: schemas}


def _find(tx: ReadTransaction, ctx: Context, name: str) -> state.Table | None:
    try:
        scope, plain = table_of(ctx, name)
    except ServiceError:
        return None
    return state.find_table(tx, scope, plain)


def _resource_policy(tx: ReadTransaction, ctx: Context, operation: str, req: Members) -> str | None:
    """The policy of the stream or the table that the request names."""
    text = req.get("StreamArn") or (iterator_stream_arn(req["ShardIterator"]) if req.get("ShardIterator") else "")
    named = parse_stream_arn(str(text))
    if named is not None:
        stream = state.find_stream(tx, *named)
        return stream.policy or None if stream is not None else None
    name = req.get("TableName") or req.get("ResourceArn")
    table = _find(tx, ctx, str(name)) if name else None
    return table.policy or None if table is not None else None


ACCESS = Access(
    permissions={
        **{name: [Permission(f"dynamodb:{name}", _table)] for name in _OF_TABLES},
        **{name: [Permission(f"dynamodb:{name}", _named(member).resource)] for name, member in _BY_ARN.items()},
        "ListStreams": [Permission("dynamodb:ListStreams", _streams)],
        "GetRecords": [
            Permission("dynamodb:GetRecords", lambda ctx, req: iterator_stream_arn(req.get("ShardIterator") or ""))
        ],
        "RestoreTableToPointInTime": [
            Permission("dynamodb:RestoreTableToPointInTime", _source_table),
            Permission("dynamodb:RestoreTableToPointInTime", _table),
        ],
        "ImportTable": [Permission("dynamodb:ImportTable", _imported)],
    },
    resource_policy=_resource_policy,
    canonical=_canonical,
    asked=_asked,
)
