"""What IAM is asked for each operation.

A group is asked for with an empty stream, as CloudWatch Logs does: a policy has to name `log-group:NAME:*`, except
for tags. Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html
"""

from penstock.framework.context import Context
from penstock.framework.service import Access, Members, Permission
from penstock.services.logs import rules

_NAMES = ("logGroupName", "logGroupIdentifier", "resourceArn")


def _tagged(ctx: Context, req: Members) -> str:
    scope = ctx.scope
    name = rules.group_name(req) if any(req.get(member) for member in _NAMES) else ""
    return f"arn:{scope.partition}:logs:{scope.region}:{scope.account_id}:log-group:{name}"


def _group(ctx: Context, req: Members) -> str:
    return f"{_tagged(ctx, req)}:log-stream:"


def _stream(ctx: Context, req: Members) -> str:
    return f"{_group(ctx, req)}{req.get('logStreamName') or ''}"


_OF_GROUPS = (
    "CreateLogGroup",
    "DeleteLogGroup",
    "DescribeLogGroups",
    "DescribeLogStreams",
    "FilterLogEvents",
    "PutRetentionPolicy",
    "DeleteRetentionPolicy",
    "TagLogGroup",
    "UntagLogGroup",
    "ListTagsLogGroup",
)
_OF_STREAMS = ("CreateLogStream", "DeleteLogStream", "PutLogEvents", "GetLogEvents")
_OF_TAGS = ("TagResource", "UntagResource", "ListTagsForResource")
ACCESS = Access(
    permissions={
        **{name: [Permission(f"logs:{name}", _group)] for name in _OF_GROUPS},
        **{name: [Permission(f"logs:{name}", _stream)] for name in _OF_STREAMS},
        **{name: [Permission(f"logs:{name}", _tagged)] for name in _OF_TAGS},
    }
)
