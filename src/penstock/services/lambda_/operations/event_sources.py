"""Event source mappings: which queue feeds which function, and how. Queues and Kinesis streams.

Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html
"""

from collections.abc import Mapping
from typing import Any

from penstock.engines.patterns.match import InvalidPattern, compile_pattern
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel import arn
from penstock.kernel.errors import ServiceError
from penstock.services.lambda_ import messages, rules, state
from penstock.services.lambda_.operations import functions
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import EventSource
from penstock.storage.transactions import ReadTransaction, Transaction

BATCH_SIZE_DEFAULT = 10
STREAM_BATCH_SIZE_DEFAULT = 100
FIFO_BATCH_MAX = 10
PAGE_DEFAULT = 100


@operation
async def create_event_source_mapping(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = rules.named(ctx.scope, req["FunctionName"])
    source = EventSource(
        id=ctx.entropy.uuid(),
        source_arn=_source_arn(req.get("EventSourceArn")),
        function=named.name,
        qualifier=named.qualifier,
        modified_ms=ctx.clock.now_ms(),
        created_ms=ctx.clock.now_ms(),
    )
    if source.is_stream:
        source.batch_size = STREAM_BATCH_SIZE_DEFAULT
        _start(source, req)
    _apply(source, req)
    await _check_source(ctx, named, source)

    def create(tx: Transaction) -> None:
        functions.get_version(tx, named)
        for known in state.event_sources(tx, ctx.scope):
            if (known.source_arn, known.function) == (source.source_arn, source.function):
                raise messages.mapping_exists(source.source_arn, source.function, known.id)
        state.put_event_source(tx, ctx.scope, source)

    await ctx.store.transact(create)
    return _described(ctx, source, "Creating")


@operation
async def get_event_source_mapping(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    return _described(ctx, await ctx.store.read(lambda tx: _get(tx, ctx, req)))


@operation
async def list_event_source_mappings(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    wanted = rules.named(ctx.scope, req["FunctionName"]).name if req.get("FunctionName") else None
    marker, count = req.get("Marker") or "", req.get("MaxItems") or PAGE_DEFAULT

    def find(tx: ReadTransaction) -> list[EventSource]:
        return [
            source
            for source in state.event_sources(tx, ctx.scope)
            if source.id > marker
            and wanted in (None, source.function)
            and req.get("EventSourceArn") in (None, source.source_arn)
        ]

    found = await ctx.store.read(find)
    answer: dict[str, Any] = {"EventSourceMappings": [_described(ctx, source) for source in found[:count]]}
    if len(found) > count:
        answer["NextMarker"] = found[count - 1].id
    return answer


@operation
async def update_event_source_mapping(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    source = await ctx.store.read(lambda tx: _get(tx, ctx, req))
    if req.get("FunctionName"):
        named = rules.named(ctx.scope, req["FunctionName"])
        source.function, source.qualifier = named.name, named.qualifier
    source.modified_ms = ctx.clock.now_ms()
    _apply(source, req)
    await _check_source(ctx, Named(ctx.scope, source.function, source.qualifier), source)

    def update(tx: Transaction) -> None:
        _get(tx, ctx, req)
        functions.get_version(tx, Named(ctx.scope, source.function, source.qualifier))
        state.put_event_source(tx, ctx.scope, source)

    await ctx.store.transact(update)
    return _described(ctx, source, "Updating")


@operation
async def delete_event_source_mapping(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def delete(tx: Transaction) -> EventSource:
        source = _get(tx, ctx, req)
        state.delete_event_source(tx, ctx.scope, source.id)
        return source

    return _described(ctx, await ctx.store.transact(delete), "Deleting")


def _get(tx: ReadTransaction, ctx: Context, req: Mapping[str, Any]) -> EventSource:
    source = state.find_event_source(tx, ctx.scope, req["UUID"])
    if source is None:
        raise messages.no_mapping()
    return source


def _source_arn(text: str | None) -> str:
    """Raises InvalidParameterValueException for a source that is neither a queue nor a Kinesis stream."""
    if not text:
        raise messages.invalid("Missing EventSourceArn: self-managed sources are not supported.")
    if not arn.is_arn(text) or arn.parse(text).service not in ("sqs", "kinesis"):
        raise messages.invalid(f"Unrecognized event source, must be sqs or kinesis: {text}")
    return text


def _start(source: EventSource, req: Mapping[str, Any]) -> None:
    """Where a stream is begun."""
    if not req.get("StartingPosition"):
        raise messages.invalid("1 validation error detected: Value null at 'startingPosition' failed to satisfy "
                               "constraint: Member must not be null.")  # fmt: skip
    source.starting_position = req["StartingPosition"]
    if source.starting_position == "AT_TIMESTAMP":
        if req.get("StartingPositionTimestamp") is None:
            raise messages.invalid("StartingPositionTimestamp is required with StartingPosition AT_TIMESTAMP.")
        source.starting_ms = round(req["StartingPositionTimestamp"].timestamp() * 1000)


def _apply(source: EventSource, req: Mapping[str, Any]) -> None:
    """Take over what the request sets, and check that it goes together."""
    for member, name in (
        ("BatchSize", "batch_size"),
        ("MaximumBatchingWindowInSeconds", "window_s"),
        ("Enabled", "is_enabled"),
        ("FunctionResponseTypes", "response_types"),
        ("BisectBatchOnFunctionError", "has_bisect"),
    ):
        if req.get(member) is not None:
            setattr(source, name, req[member])
    for member, name in (("MaximumRetryAttempts", "retries_max"), ("MaximumRecordAgeInSeconds", "age_s_max")):
        if req.get(member) is not None:  # -1 is without end
            setattr(source, name, None if req[member] < 0 else req[member])
    if req.get("DestinationConfig") is not None:
        source.on_failure = (req["DestinationConfig"].get("OnFailure") or {}).get("Destination") or ""
    for member in ("TumblingWindowInSeconds", "ParallelizationFactor"):
        if (req.get(member) or 0) > (member == "ParallelizationFactor"):
            raise messages.invalid(f"{member} is not built yet; leave it out.")
    if req.get("ScalingConfig") is not None:
        source.concurrency_max = req["ScalingConfig"].get("MaximumConcurrency")
    if req.get("FilterCriteria") is not None:
        source.filters = [one.get("Pattern") or "{}" for one in req["FilterCriteria"].get("Filters") or []]
    for pattern in source.filters:
        try:
            compile_pattern(pattern)
        except InvalidPattern:
            raise messages.invalid("Invalid filter pattern definition.") from None
    if source.is_stream:
        return
    if source.source_arn.endswith(".fifo"):
        if source.batch_size > FIFO_BATCH_MAX:
            raise messages.invalid("Maximum batch size for FIFO queues is 10.")
        if source.window_s:
            raise messages.invalid("Batching window is not supported for FIFO queues")
    elif source.batch_size > BATCH_SIZE_DEFAULT and not source.window_s:
        raise messages.invalid(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        )


async def _check_source(ctx: Context, named: Named, source: EventSource) -> None:
    """The source is there, and goes with the function."""
    if not source.is_stream:
        await _check_queue(ctx, named, source)
        return
    try:
        await ctx.call("kinesis", "DescribeStreamSummary", {"StreamARN": source.source_arn})
    except ServiceError as error:
        raise messages.stream_refused(source.source_arn, error.message) from None


async def _check_queue(ctx: Context, named: Named, source: EventSource) -> None:
    """The queue exists and hides messages at least as long as the function may run."""
    queue = arn.parse(source.source_arn)
    try:
        url = f"{ctx.endpoint}/{queue.account_id}/{queue.resource}"
        wanted = {"QueueUrl": url, "AttributeNames": ["VisibilityTimeout"]}
        answer = await ctx.call("sqs", "GetQueueAttributes", wanted)
    except ServiceError as error:
        raise messages.queue_refused(error.code, error.message) from None
    hidden_s = int(answer["Attributes"]["VisibilityTimeout"])
    version = await ctx.store.read(lambda tx: functions.get_version(tx, named))
    if hidden_s < version.timeout_s:
        raise messages.visibility_too_short(hidden_s, version.timeout_s)


def _described(ctx: Context, source: EventSource, transition: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = {
        "UUID": source.id,
        "BatchSize": source.batch_size,
        "MaximumBatchingWindowInSeconds": source.window_s,
        "EventSourceArn": source.source_arn,
        "FunctionArn": state.arn_of(ctx.scope, source.function, source.qualifier),
        "LastModified": rules.when(source.modified_ms),
        "State": transition or ("Enabled" if source.is_enabled else "Disabled"),
        "StateTransitionReason": "USER_INITIATED",
        "FunctionResponseTypes": source.response_types,
        "EventSourceMappingArn": (
            f"arn:{ctx.scope.partition}:lambda:{ctx.scope.region}:{ctx.scope.account_id}"
            f":event-source-mapping:{source.id}"
        ),
    }
    if source.is_stream:
        answer |= {
            "StartingPosition": source.starting_position,
            "ParallelizationFactor": 1,
            "MaximumRetryAttempts": -1 if source.retries_max is None else source.retries_max,
            "MaximumRecordAgeInSeconds": -1 if source.age_s_max is None else source.age_s_max,
            "BisectBatchOnFunctionError": source.has_bisect,
            "TumblingWindowInSeconds": 0,
            "DestinationConfig": {"OnFailure": {"Destination": source.on_failure} if source.on_failure else {}},
        }
        if source.starting_ms:
            answer["StartingPositionTimestamp"] = rules.when(source.starting_ms)
    if source.filters:
        answer["FilterCriteria"] = {"Filters": [{"Pattern": pattern} for pattern in source.filters]}
    if source.concurrency_max is not None:
        answer["ScalingConfig"] = {"MaximumConcurrency": source.concurrency_max}
    return answer
