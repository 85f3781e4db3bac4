"""What IAM is asked, and which stream a request names: by name, by ARN, or sealed in what we handed out.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonkinesis.html
"""

from penstock.framework.context import Context
from penstock.framework.service import Access, Members, Permission
from penstock.kernel import arn
from penstock.kernel.scope import Scope
from penstock.services.kinesis import messages, rules, state
from penstock.storage.transactions import ReadTransaction, Transaction

_SECRET = "kinesis.secret"
_SECRET_BYTES = 32
_OF_ACCOUNT = ("ListStreams", "DescribeLimits", "DescribeAccountSettings", "UpdateAccountSettings")
_OF_STREAMS = (
    *("CreateStream", "DeleteStream", "DescribeStream", "DescribeStreamSummary", "ListShards"),
    *("PutRecord", "PutRecords", "GetShardIterator", "GetRecords", "SplitShard", "MergeShards", "UpdateShardCount"),
    *("UpdateStreamMode", "UpdateMaxRecordSize", "UpdateStreamWarmThroughput"),
    *("UpdateStreamRecordDistributionStrategy", "EnableEnhancedMonitoring", "DisableEnhancedMonitoring"),
    *("IncreaseStreamRetentionPeriod", "DecreaseStreamRetentionPeriod", "AddTagsToStream", "RemoveTagsFromStream"),
    *("ListTagsForStream", "StartStreamEncryption", "StopStreamEncryption"),
    *("RegisterStreamConsumer", "ListStreamConsumers"),
)
_OF_CONSUMERS = ("DescribeStreamConsumer", "DeregisterStreamConsumer", "SubscribeToShard")
_OF_RESOURCES = (
    *("TagResource", "UntagResource", "ListTagsForResource"),
    *("PutResourcePolicy", "GetResourcePolicy", "DeleteResourcePolicy"),
)


def located(ctx: Context, req: Members) -> tuple[Scope, str]:
    """The scope and the name of a stream, from StreamARN or StreamName.

    Raises InvalidArgumentException where there is neither, ResourceNotFoundException for another region's.
    """
    text, name = req.get("StreamARN"), str(req.get("StreamName") or "")
    if not text:
        if not name:
            raise messages.missing_name()
        return ctx.scope, name
    scope, resource = located_resource(ctx, text)
    named = resource.removeprefix("stream/")
    if name and name != named:
        raise messages.names_differ()
    return scope, named


def located_resource(ctx: Context, text: str) -> tuple[Scope, str]:
    """The scope of an ARN and its last part: `stream/NAME` or `stream/NAME/consumer/NAME:TIME`."""
    if not arn.is_arn(text):
        raise messages.missing_name()
    parsed = arn.parse(text)
    if parsed.region != ctx.scope.region or not parsed.resource.startswith("stream/"):
        raise messages.no_stream(parsed.resource.removeprefix("stream/"), parsed.account_id)
    return Scope(parsed.account_id, parsed.region, parsed.partition), parsed.resource


def consumer_of(resource: str) -> tuple[str, str]:
    """(stream, consumer with its time) that a consumer's ARN ends with; the consumer is "" for a stream's."""
    _, stream, *rest = resource.split("/")
    return stream, rest[1] if len(rest) == 2 and rest[0] == "consumer" else ""


async def secret_of(ctx: Context) -> bytes:
    """What is handed out is sealed with it; made at first use, kept with the streams."""
    known: bytes | None = ctx.platform.volatile.get(_SECRET)
    if known is None:
        fresh = ctx.entropy.token_bytes(_SECRET_BYTES)

        def get_or_make(tx: Transaction) -> bytes:
            found = state.find_secret(tx)
            if found is None:
                state.put_secret(tx, fresh)
            return found or fresh

        known = ctx.platform.volatile[_SECRET] = await ctx.store.transact(get_or_make)
    return known


def _canonical(tx: ReadTransaction, ctx: Context, req: Members) -> Members:
    """A stream that is named inside an iterator or a token is what IAM is asked about, and so is a consumer's ARN."""
    secret = state.find_secret(tx) or b""
    if req.get("ShardIterator"):
        iterator = rules.read_iterator(secret, req["ShardIterator"])
        return {**req, "StreamARN": state.stream_arn(iterator.scope, iterator.stream)}
    if req.get("NextToken"):
        named = rules.unseal(secret, "shards", req["NextToken"]) or rules.unseal(secret, "consumers", req["NextToken"])
        if named is not None:
            return {**req, "StreamARN": state.stream_arn(Scope(named[0], named[1]), named[2])}
    if req.get("ConsumerName") and req.get("StreamARN") and ctx.request.operation in _OF_CONSUMERS:
        scope, stream = located(ctx, req)
        consumer = state.find_consumer(tx, scope, stream, req["ConsumerName"])
        return {**req, "ConsumerARN": consumer.arn(scope, stream)} if consumer else req
    return req


def _resource(ctx: Context, req: Members) -> str:
    for member in ("ConsumerARN", "ResourceARN", "StreamARN"):
        if req.get(member):
            return str(req[member])
    return state.stream_arn(ctx.scope, str(req["StreamName"])) if req.get("StreamName") else "*"


def _tagged(ctx: Context, req: Members) -> str:
    return _resource(ctx, req) if req.get("Tags") else ""


def _policy(tx: ReadTransaction, ctx: Context, operation: str, req: Members) -> str | None:
    """The policy of the stream or the consumer itself."""
    text = _resource(ctx, req)
    if not arn.is_arn(text):
        return None
    parsed = arn.parse(text)
    return state.find_policy(tx, Scope(parsed.account_id, parsed.region, parsed.partition), parsed.resource)


ACCESS = Access(
    permissions={
        **{name: [Permission(f"kinesis:{name}", lambda ctx, req: "*")] for name in _OF_ACCOUNT},
        **{name: [Permission(f"kinesis:{name}", _resource)] for name in (*_OF_STREAMS, *_OF_CONSUMERS, *_OF_RESOURCES)},
        "CreateStream": [Permission("kinesis:CreateStream", _resource), Permission("kinesis:AddTagsToStream", _tagged)],
        "RegisterStreamConsumer": [
            Permission("kinesis:RegisterStreamConsumer", _resource),
            Permission("kinesis:TagResource", _tagged),
        ],
    },
    resource_policy=_policy,
    canonical=_canonical,
)
