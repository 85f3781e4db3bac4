"""Whether a mapping's source is there, and its function's role may read it."""

from typing import Any

from penstock.engines.polling.kafka import is_installed
from penstock.framework.context import Context
from penstock.kernel import arn
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Principal, Scope
from penstock.services.lambda_ import messages
from penstock.services.lambda_.operations import functions, roles
from penstock.services.lambda_.operations.kafka_source import SERVERS_TAG, check_access, servers_of
from penstock.services.lambda_.operations.mappings import EventSource
from penstock.services.lambda_.operations.source_targets import principal_of
from penstock.services.lambda_.rules import Named

_REFUSALS = ("AccessDenied", "AccessDeniedException")
_SERVICES = ("sqs", "kinesis", "dynamodb", "kafka")


def check_arn(text: str | None, *, is_self_managed: bool) -> str:
    """Raises InvalidParameterValueException for a source that can't be polled."""
    if not text:
        if is_self_managed:
            return ""
        raise messages.invalid("Event source arn must be provided, or SelfManagedEventSource.")
    if not arn.is_arn(text) or arn.parse(text).service not in _SERVICES:
        raise messages.invalid(f"Unrecognized event source, must be sqs, kinesis, dynamodb or kafka: {text}")
    source = arn.parse(text)
    if source.service == "dynamodb" and "/stream/" not in source.resource:
        raise messages.invalid(f"Unrecognized event source, must be kinesis, dynamodb stream, sqs or kafka: {text}")
    return text


async def check_source(ctx: Context, named: Named, source: EventSource) -> None:
    """Raises InvalidParameterValueException where the function couldn't be fed."""
    version = await ctx.store.read(lambda tx: functions.get_version(tx, named))
    role = principal_of(version.role, ctx, named.name)
    await roles.check_target(ctx, version.role, named.name, source.on_failure)
    if source.kind == "sqs":
        await _check_queue(ctx, source, role, version.timeout_s)
    elif source.kind in ("kinesis", "dynamodb"):
        await _check_stream(ctx, source, role)
    else:
        _check_cluster(source)


def _check_cluster(source: EventSource) -> None:
    """As on AWS, whether the brokers answer is only seen later: in LastProcessingResult."""
    if not is_installed():
        raise messages.no_kafka_client()
    if not servers_of(source):
        raise messages.unknown_cluster(source.source_arn, SERVERS_TAG)
    check_access(source)


async def _check_queue(ctx: Context, source: EventSource, role: Principal, timeout_s: int) -> None:
    """The queue exists and hides messages at least as long as the function may run.

    The role is asked with requests that do nothing once they are let in.
    """
    queue = arn.parse(source.source_arn)
    url = f"{ctx.endpoint}/{queue.account_id}/{queue.resource}"
    probes: list[tuple[str, dict[str, Any]]] = [
        ("ReceiveMessage", {"QueueUrl": url, "MaxNumberOfMessages": 0}),
        ("DeleteMessage", {"QueueUrl": url, "ReceiptHandle": "-"}),
    ]
    for operation, params in probes:
        code, text = await _refusal(ctx, source, "sqs", operation, params, role)
        if code in _REFUSALS:
            raise messages.role_lacks(operation, "SQS")
        if code in ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"):
            raise messages.queue_refused(code, text)
    wanted = {"QueueUrl": url, "AttributeNames": ["VisibilityTimeout"]}
    try:
        answer = await ctx.call("sqs", "GetQueueAttributes", wanted, as_=role, scope=_scope_of(source))
    except ServiceError as error:
        if error.code in _REFUSALS:
            raise messages.role_lacks("GetQueueAttributes", "SQS") from None
        raise messages.queue_refused(error.code, error.message) from None
    hidden_s = int(answer["Attributes"]["VisibilityTimeout"])
    if hidden_s < timeout_s:
        raise messages.visibility_too_short(hidden_s, timeout_s)


async def _check_stream(ctx: Context, source: EventSource, role: Principal) -> None:
    """GetRecords is asked with an iterator that is none, which only a role that may read is told."""
    probes: list[tuple[str, str, dict[str, Any]]]
    if source.kind == "kinesis":
        stream = {"StreamARN": source.stream_arn}
        consumer = ("kinesis", "DescribeStreamConsumer", {"ConsumerARN": source.source_arn})
        probes = [
            *([consumer] if source.source_arn != source.stream_arn else []),
            ("kinesis", "DescribeStreamSummary", stream),
            ("kinesis", "ListShards", stream),
            ("kinesis", "GetRecords", {**stream, "ShardIterator": "-"}),
        ]
    else:
        probes = [
            ("dynamodbstreams", "DescribeStream", {"StreamArn": source.source_arn}),
            ("dynamodbstreams", "GetRecords", {"ShardIterator": f"{source.source_arn}|1|-"}),
        ]
    for service, operation, params in probes:
        code, text = await _refusal(ctx, source, service, operation, params, role)
        if code in _REFUSALS:
            raise messages.stream_inaccessible(source.source_arn)
        if code and operation != "GetRecords":
            raise messages.stream_refused(source.source_arn, text)


async def _refusal(
    ctx: Context, source: EventSource, service: str, operation: str, params: dict[str, Any], role: Principal
) -> tuple[str, str]:
    """The code and text of the error; empty where there is none."""
    try:
        await ctx.call(service, operation, params, as_=role, scope=_scope_of(source))
    except ServiceError as error:
        return error.code, error.message
    return "", ""


def _scope_of(source: EventSource) -> Scope:
    found = arn.parse(source.source_arn)
    return Scope(found.account_id, found.region, found.partition)
