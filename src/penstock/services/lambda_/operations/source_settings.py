"""The settings of event source mappings: what each kind of source takes, its defaults and bounds.

Source: https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html, and the parameters' pages
services-kinesis-parameters, services-ddb-params, services-sqs-parameters, services-kafka-parameters of the guide.
"""

from collections.abc import Mapping
from typing import Any

from penstock.engines.patterns.match import InvalidPattern, compile_pattern
from penstock.kernel import arn
from penstock.services.lambda_ import messages, rules
from penstock.services.lambda_.operations.mappings import EventSource

BATCH_SIZE_DEFAULTS = {"sqs": 10, "kinesis": 100, "dynamodb": 100, "kafka": 100, "self-managed": 100}
BATCH_WITHOUT_WINDOW_MAX = FIFO_BATCH_MAX = 10
FILTERS_MAX = 10
AGE_S_MIN = 60
POLLERS_DEFAULT, POLLERS_MAX = {"sqs": (2, 200), "kafka": (1, 200)}, 2000

_OF_STREAMS = ("kinesis", "dynamodb")
_KAFKA = ("kafka", "self-managed")
_ALLOWED: dict[str, tuple[str, ...]] = {
    "StartingPosition": (*_OF_STREAMS, *_KAFKA),
    "StartingPositionTimestamp": ("kinesis", *_KAFKA),
    "ParallelizationFactor": _OF_STREAMS,
    "TumblingWindowInSeconds": _OF_STREAMS,
    "BisectBatchOnFunctionError": (*_OF_STREAMS, *_KAFKA),
    "MaximumRetryAttempts": (*_OF_STREAMS, *_KAFKA),
    "MaximumRecordAgeInSeconds": (*_OF_STREAMS, *_KAFKA),
    "DestinationConfig": (*_OF_STREAMS, *_KAFKA),
    "ScalingConfig": ("sqs",),
    "ProvisionedPollerConfig": ("sqs", *_KAFKA),
    "Topics": _KAFKA,
    "SourceAccessConfigurations": _KAFKA,
    "SelfManagedEventSource": ("self-managed",),
    "AmazonManagedKafkaEventSourceConfig": ("kafka",),
    "SelfManagedKafkaEventSourceConfig": ("self-managed",),
    "Queues": (),
    "DocumentDBEventSourceConfig": (),
}
_OFF: dict[str, object] = {"BisectBatchOnFunctionError": False, "TumblingWindowInSeconds": 0}
"""What turns a setting off may be said of any source."""
_PLAIN = {
    "BatchSize": "batch_size",
    "MaximumBatchingWindowInSeconds": "window_s",
    "Enabled": "is_enabled",
    "FunctionResponseTypes": "response_types",
    "BisectBatchOnFunctionError": "has_bisect",
    "ParallelizationFactor": "parallelization",
    "TumblingWindowInSeconds": "tumbling_s",
    "SourceAccessConfigurations": "access",
}
_KEPT = ("MetricsConfig", "LoggingConfig", "KMSKeyArn")
_DESTINATIONS = ("sqs", "sns", "s3")


def begin(source: EventSource, req: Mapping[str, Any]) -> None:
    """What only CreateEventSourceMapping says: where to start, and which cluster and topics."""
    source.batch_size = BATCH_SIZE_DEFAULTS[source.kind]
    source.tags = dict(req.get("Tags") or {})
    if source.is_kafka:
        _begin_kafka(source, req)
    if not source.is_stream:
        return
    if not req.get("StartingPosition"):
        raise messages.invalid("1 validation error detected: Value null at 'startingPosition' failed to satisfy "
                               "constraint: Member must not be null.")  # fmt: skip
    source.starting_position = req["StartingPosition"]
    if source.starting_position == "AT_TIMESTAMP":
        if source.kind == "dynamodb":
            raise messages.invalid(f"Unsupported starting position for arn type: {source.source_arn}")
        if req.get("StartingPositionTimestamp") is None:
            raise messages.invalid("StartingPositionTimestamp is required with StartingPosition AT_TIMESTAMP.")
        source.starting_ms = round(req["StartingPositionTimestamp"].timestamp() * 1000)


def _begin_kafka(source: EventSource, req: Mapping[str, Any]) -> None:
    source.topics = list(req.get("Topics") or [])
    if not source.topics:
        raise messages.invalid("Topics is required for Kafka event sources.")
    endpoints = (req.get("SelfManagedEventSource") or {}).get("Endpoints") or {}
    source.servers = list(endpoints.get("KAFKA_BOOTSTRAP_SERVERS") or [])
    if source.kind == "self-managed" and not source.servers:
        raise messages.invalid("KAFKA_BOOTSTRAP_SERVERS is required for a self-managed Apache Kafka event source.")
    member = "AmazonManagedKafkaEventSourceConfig" if source.kind == "kafka" else "SelfManagedKafkaEventSourceConfig"
    source.group_id = (req.get(member) or {}).get("ConsumerGroupId") or source.id


def apply(source: EventSource, req: Mapping[str, Any]) -> None:
    """Take over what the request sets, and check that it goes together. Raises InvalidParameterValueException."""
    for member, kinds in _ALLOWED.items():
        if source.kind not in kinds and req.get(member) not in (None, [], {}, _OFF.get(member)):
            raise messages.unsupported_setting(member)
    for member, name in _PLAIN.items():
        if req.get(member) is not None:
            setattr(source, name, req[member])
    for member, name in (("MaximumRetryAttempts", "retries_max"), ("MaximumRecordAgeInSeconds", "age_s_max")):
        if req.get(member) is not None:  # -1 is without end
            setattr(source, name, None if req[member] < 0 else req[member])
    if req.get("DestinationConfig") is not None:
        source.on_failure = (req["DestinationConfig"].get("OnFailure") or {}).get("Destination") or ""
    if req.get("ScalingConfig") is not None:
        source.concurrency_max = req["ScalingConfig"].get("MaximumConcurrency")
    if req.get("ProvisionedPollerConfig") is not None:
        source.pollers = _pollers(source, req["ProvisionedPollerConfig"])
    if req.get("FilterCriteria") is not None:
        source.filters = [one.get("Pattern") or "{}" for one in req["FilterCriteria"].get("Filters") or []]
    source.kept |= {member: req[member] for member in _KEPT if req.get(member) is not None}
    _check(source, req)


def _pollers(source: EventSource, given: Mapping[str, Any]) -> list[int]:
    """The least and the most; an empty configuration turns provisioned mode off."""
    if not given.get("MinimumPollers") and not given.get("MaximumPollers"):
        return []
    least, most = POLLERS_DEFAULT["sqs" if source.kind == "sqs" else "kafka"]
    lowest = given.get("MinimumPollers") or min(least, given.get("MaximumPollers") or least)
    highest = given.get("MaximumPollers") or max(most, lowest)
    if lowest > highest:
        raise messages.invalid("MinimumPollers must be less than or equal to MaximumPollers.")
    if highest > POLLERS_MAX or (source.kind == "sqs" and lowest < 2):
        raise messages.invalid(f"Pollers of this source must be between {least} and {POLLERS_MAX}.")
    return [lowest, highest]


def _check(source: EventSource, req: Mapping[str, Any]) -> None:
    if len(source.filters) > FILTERS_MAX:
        raise messages.invalid(f"Maximum number of filters exceeded: {FILTERS_MAX}.")
    for pattern in source.filters:
        try:
            compile_pattern(pattern)
        except InvalidPattern:
            raise messages.invalid("Invalid filter pattern definition.") from None
    if source.age_s_max is not None and source.age_s_max < AGE_S_MIN:
        raise messages.invalid(f"MaximumRecordAgeInSeconds must be -1, or between {AGE_S_MIN} and 604800.")
    if source.tumbling_s and source.parallelization > 1:
        raise messages.invalid("ParallelizationFactor must be 1 when TumblingWindowInSeconds is set.")
    if source.concurrency_max is not None and source.pollers:
        raise messages.invalid("ScalingConfig and ProvisionedPollerConfig can't be used together.")
    for member in ("AmazonManagedKafkaEventSourceConfig", "SelfManagedKafkaEventSourceConfig"):
        if (req.get(member) or {}).get("SchemaRegistryConfig"):
            raise messages.unbuilt("SchemaRegistryConfig")
    _check_destination(source)
    if source.kind == "sqs":
        _check_queue_batch(source)
    elif source.is_kafka and source.batch_size > 1 and "BatchSize" in req and source.window_s > 300:
        raise messages.bad_constraint("maximumBatchingWindowInSeconds", 300)


def _check_queue_batch(source: EventSource) -> None:
    if source.source_arn.endswith(".fifo"):
        if source.batch_size > FIFO_BATCH_MAX:
            raise messages.invalid("Maximum batch size for FIFO queues is 10.")
        if source.window_s:
            raise messages.invalid("Batching window is not supported for FIFO queues")
    elif source.batch_size > BATCH_WITHOUT_WINDOW_MAX and not source.window_s:
        raise messages.invalid(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        )


def _check_destination(source: EventSource) -> None:
    target = source.on_failure
    if not target:
        return
    if target.startswith("kafka://") and source.is_kafka:
        if target.removeprefix("kafka://") in source.topics:
            raise messages.destination_is_source(target)
        return
    if not arn.is_arn(target) or arn.parse(target).service not in _DESTINATIONS or target.endswith(".fifo"):
        raise messages.bad_destinations("", target)


def described(source: EventSource, result: str) -> dict[str, Any]:
    """The settings as AWS shows them, with the defaults; `result`: LastProcessingResult."""
    answer: dict[str, Any] = {
        "UUID": source.id,
        "BatchSize": source.batch_size,
        "MaximumBatchingWindowInSeconds": source.window_s,
        "LastModified": rules.when(source.modified_ms),
        "State": source.state,
        "StateTransitionReason": "User action" if source.is_stream else "USER_INITIATED",
        "FunctionResponseTypes": source.response_types,
        **source.kept,
    }
    if source.source_arn:
        answer["EventSourceArn"] = source.source_arn
    if source.is_stream:
        answer |= _described_stream(source) | {"LastProcessingResult": result}
    if source.is_kafka:
        answer |= _described_kafka(source)
    if source.filters:
        answer["FilterCriteria"] = {"Filters": [{"Pattern": pattern} for pattern in source.filters]}
    if source.concurrency_max is not None:
        answer["ScalingConfig"] = {"MaximumConcurrency": source.concurrency_max}
    if source.pollers:
        answer["ProvisionedPollerConfig"] = dict(zip(("MinimumPollers", "MaximumPollers"), source.pollers, strict=True))
    return answer


def _described_stream(source: EventSource) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "StartingPosition": source.starting_position,
        "MaximumRetryAttempts": -1 if source.retries_max is None else source.retries_max,
        "MaximumRecordAgeInSeconds": -1 if source.age_s_max is None else source.age_s_max,
        "BisectBatchOnFunctionError": source.has_bisect,
        "DestinationConfig": {"OnFailure": {"Destination": source.on_failure} if source.on_failure else {}},
    }
    if not source.is_kafka:
        answer |= {"ParallelizationFactor": source.parallelization, "TumblingWindowInSeconds": source.tumbling_s}
    if source.starting_ms:
        answer["StartingPositionTimestamp"] = rules.when(source.starting_ms)
    return answer


def _described_kafka(source: EventSource) -> dict[str, Any]:
    answer: dict[str, Any] = {"Topics": source.topics, "SourceAccessConfigurations": source.access}
    if source.kind == "kafka":
        return answer | {"AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": source.group_id}}
    return answer | {
        "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": source.servers}},
        "SelfManagedKafkaEventSourceConfig": {"ConsumerGroupId": source.group_id},
    }
