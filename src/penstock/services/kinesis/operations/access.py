"""What IAM is asked, and which stream a request names.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonkinesis.html
"""

from penstock.framework.context import Context
from penstock.framework.service import Access, Members, Permission
from penstock.kernel import arn
from penstock.services.kinesis import messages

_OF_STREAMS = (
    *(
        "CreateStream",
        "DeleteStream",
        "DescribeStream",
        "DescribeStreamSummary",
        "ListShards",
        "PutRecord",
        "PutRecords",
    ),
    *("GetShardIterator", "GetRecords", "SplitShard", "MergeShards", "UpdateShardCount", "UpdateStreamMode"),
    *("IncreaseStreamRetentionPeriod", "DecreaseStreamRetentionPeriod", "AddTagsToStream", "RemoveTagsFromStream"),
    *("ListTagsForStream", "StartStreamEncryption", "StopStreamEncryption"),
)


def named(req: Members) -> str:
    """The stream's name, from StreamName or StreamARN. Raises InvalidArgumentException where there is neither."""
    if req.get("StreamName"):
        return str(req["StreamName"])
    text = req.get("StreamARN")
    if not text or not arn.is_arn(text):
        raise messages.missing_name()
    return arn.parse(text).resource.removeprefix("stream/")


def _stream(ctx: Context, req: Members) -> str:
    if not req.get("StreamName") and not req.get("StreamARN"):
        return "*"
    scope = ctx.scope
    return f"arn:{scope.partition}:kinesis:{scope.region}:{scope.account_id}:stream/{named(req)}"


ACCESS = Access(permissions={name: [Permission(f"kinesis:{name}", _stream)] for name in _OF_STREAMS})
