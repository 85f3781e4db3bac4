"""What Kinesis answers when it refuses. Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/"""

from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.kinesis import limits


def no_stream(name: str, account_id: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"Stream {name} under account {account_id} not found.")


def stream_exists(name: str, account_id: str) -> ServiceError:
    return ServiceError("ResourceInUseException", f"Stream {name} under account {account_id} already exists.")


def too_many_shards(scope: Scope, known: int, more: int) -> ServiceError:
    return ServiceError(
        "LimitExceededException",
        f"This request would exceed the shard limit for the account {scope.account_id} in {scope.region}. Current "
        f"shard count for the account: {known}. Limit: {limits.SHARDS_MAX.value}. Number of additional shards that "
        f"would have resulted from this request: {more}. Refer to the AWS Service Limits page "
        "(http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) for current limits and how to request "
        "higher limits.",
    )


def not_active(name: str, account_id: str, state: str) -> ServiceError:
    return ServiceError(
        "ResourceInUseException", f"Stream {name} under account {account_id} not ACTIVE, instead in state {state}"
    )


def has_consumers(name: str, account_id: str) -> ServiceError:
    return ServiceError(
        "ResourceInUseException",
        f"Stream {name} under account {account_id} has registered consumers. Deregister them, or set "
        "EnforceConsumerDeletion.",
    )


def no_shard(shard_id: str, name: str, account_id: str) -> ServiceError:
    return ServiceError(
        "ResourceNotFoundException",
        f"Could not find shard {shard_id} in stream {name} under account {account_id}.",
    )


def shard_gone(shard_id: str, name: str, account_id: str) -> ServiceError:
    return ServiceError(
        "ResourceNotFoundException", f"Shard {shard_id} in stream {name} under account {account_id} does not exist"
    )


def no_consumer(name: str, stream_arn: str, account_id: str) -> ServiceError:
    return ServiceError(
        "ResourceNotFoundException", f"Consumer {name} for stream {stream_arn} not found under account {account_id}."
    )


def consumer_exists(name: str) -> ServiceError:
    return ServiceError("ResourceInUseException", f"Consumer {name} already exists.")


def consumer_not_active(name: str, status: str) -> ServiceError:
    return ServiceError("ResourceInUseException", f"Consumer {name} not ACTIVE, instead in state {status}")


def too_many_consumers(name: str) -> ServiceError:
    return ServiceError(
        "LimitExceededException",
        f"Stream {name} has the maximum of {limits.CONSUMERS_MAX.value} registered consumers already.",
    )


def subscribed_just_now(consumer_arn: str, shard_id: str) -> ServiceError:
    return ServiceError(
        "ResourceInUseException",
        f"Another active subscription exists for this consumer: {consumer_arn} and shard: {shard_id}",
    )


def invalid(text: str) -> ServiceError:
    return ServiceError("InvalidArgumentException", text)


def null_member(member: str) -> ServiceError:
    return ServiceError(
        "ValidationException",
        f"1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null",
    )


def missing_name() -> ServiceError:
    return invalid("Either StreamName or StreamARN must be provided.")


def names_differ() -> ServiceError:
    return invalid("StreamARN and StreamName must name the same stream.")


def missing_consumer() -> ServiceError:
    return invalid("Either ConsumerARN or both StreamARN and ConsumerName must be provided.")


def dry_run() -> ServiceError:
    return ServiceError("DryRunOperationException", "The request would have succeeded, but the DryRun flag is set.")


def bad_iterator() -> ServiceError:
    return invalid("Invalid ShardIterator.")


def expired_iterator(created: str, now: str) -> ServiceError:
    return ServiceError(
        "ExpiredIteratorException",
        f"Iterator expired. The iterator was created at time {created} while right now it is {now} which is further in "
        "the future than the tolerated delay of 300000 milliseconds.",
    )


def bad_token() -> ServiceError:
    return invalid("Invalid NextToken.")


def expired_token() -> ServiceError:
    return ServiceError("ExpiredNextTokenException", "The NextToken has expired: it holds for 300 seconds.")


def token_and(member: str) -> ServiceError:
    return invalid(f"NextToken and {member} cannot be provided together.")


def missing_of_filter(member: str, kind: str) -> ServiceError:
    return invalid(f"Must specify {member} parameter for a shard filter of type {kind}.")


def _start(number: str, shard_id: str, name: str, account_id: str) -> str:
    return (
        f"StartingSequenceNumber {number} used in GetShardIterator on shard {shard_id} in stream {name} under account "
        f"{account_id} is invalid"
    )


def bad_sequence(number: str, shard_id: str, name: str, account_id: str) -> ServiceError:
    return invalid(f"{_start(number, shard_id, name, account_id)}.")


def foreign_sequence(number: str, shard_id: str, name: str, account_id: str) -> ServiceError:
    return invalid(f"{_start(number, shard_id, name, account_id)} because it did not come from this stream.")


def sequence_of_another(encoded: str, shard_id: str) -> ServiceError:
    return invalid(
        f"Invalid StartingSequenceNumber. It encodes {encoded}, while it was used in a call to a shard with {shard_id}"
    )


def needless_sequence(kind: str) -> ServiceError:
    return invalid(
        "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) "
        f"TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {kind} and also a "
        "StartingSequenceNumber."
    )


def bad_ordering(number: str, name: str, account_id: str) -> ServiceError:
    return invalid(
        f"ExclusiveMinimumSequenceNumber {number} used in PutRecord on stream {name} under account {account_id} is "
        "invalid."
    )


def future_time(at_ms: int, now_ms: int) -> ServiceError:
    return invalid(
        "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: "
        f"{at_ms}, currentTimestampInMillis: {now_ms}"
    )


def missing_start(member: str, kind: str, shown: str) -> ServiceError:
    return invalid(
        f"Must specify {member} parameter for iterator of type {kind}. Current request has no {shown} parameter."
    )


def shard_closed(shard_id: str, name: str, account_id: str) -> ServiceError:
    return invalid(
        f"Shard {shard_id} in stream {name} under account {account_id} has already been merged or split, and thus is "
        "not eligible for merging or splitting."
    )


def retention_out_of_range(hours: int) -> ServiceError:
    lowest, highest = limits.RETENTION_HOURS_MIN.value, limits.RETENTION_HOURS_MAX.value
    word, bound, how = ("Minimum", lowest, "short") if hours < lowest else ("Maximum", highest, "long")
    return invalid(
        f"{word} allowed retention period is {bound} hours. Requested retention period ({hours} hours) is too {how}."
    )


def wrong_direction(hours: int, name: str, known_hours: int, *, is_increase: bool) -> ServiceError:
    word, other = ("shorter", "Decrease") if is_increase else ("longer", "Increase")
    return invalid(
        f"Requested retention period ({hours} hours) for stream {name} can not be {word} than existing retention "
        f"period ({known_hours} hours). Use {other}RetentionPeriod API."
    )


def hash_out_of_range(explicit: str) -> ServiceError:
    return invalid(
        "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was " + explicit
    )


def bad_split(at_hash: int, shard: tuple[str, str, str], name: str, account_id: str) -> ServiceError:
    """`shard` is its id and its hash keys, the first and the last."""
    return invalid(
        f"NewStartingHashKey {at_hash} used in SplitShard() on shard {shard[0]} in stream {name} under account "
        f"{account_id} is not both greater than one plus the shard's StartingHashKey {shard[1]} and less than the "
        f"shard's EndingHashKey {shard[2]}."
    )


def not_adjacent(one: str, other: str, name: str, account_id: str) -> ServiceError:
    return invalid(
        f"Shards {one} and {other} in stream {name} under account {account_id} are not an adjacent pair of shards "
        "eligible for merging"
    )


def bad_target(target: int, count: int) -> ServiceError:
    if target == count:
        text = f"The target shard count {target} is the stream's current open shard count."
    elif target > count:
        text = "UpdateShardCount cannot scale up over double your current open shard count."
    else:
        text = "UpdateShardCount cannot scale down below half your current open shard count."
    return invalid(f"{text} Current open shard count: {count} Target shard count: {target}")


def scaled_too_often(name: str) -> ServiceError:
    return ServiceError(
        "LimitExceededException",
        f"Stream {name} was scaled {limits.SCALINGS_A_DAY.value} times in the last 24 hours, which is the limit.",
    )


def wrong_mode(name: str, account_id: str, mode: str) -> ServiceError:
    """`mode` as AWS says it here: On-Demand, Provisioned."""
    return ServiceError(
        "ValidationException", f"Request is invalid. Stream {name} under account {account_id} is in {mode} mode."
    )


def too_warm(mibps: int) -> ServiceError:
    return invalid(f"The warm throughput can't be more than {limits.WARM_MIBPS_MAX} MiB/s: {mibps}")


def record_too_long(member: str, size_max: int) -> ServiceError:
    return ServiceError(
        "ValidationException",
        f"1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must have length less "
        f"than or equal to {size_max}",
    )


def rate_exceeded(shard_id: str, name: str, account_id: str) -> ServiceError:
    return ServiceError(
        "ProvisionedThroughputExceededException",
        f"Rate exceeded for shard {shard_id} in stream {name} under account {account_id}.",
    )


def too_many_tags(name: str, account_id: str) -> ServiceError:
    return invalid(
        f"Failed to add tags to stream {name} under account {account_id} because a given stream cannot have more than "
        f"{limits.TAGS_MAX.value} tags associated with it."
    )


def bad_tags() -> ServiceError:
    return invalid(
        "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . / = + - % @."
    )


def forbidden_tags(name: str, account_id: str) -> ServiceError:
    return invalid(
        f"Failed to add tags to stream {name} under account {account_id} because some tags contained illegal "
        "characters. The allowed characters are Unicode letters, white-spaces, '_',',','/','=','+','-','@'."
    )


def no_token() -> ServiceError:
    return invalid("Either NextToken or StreamName should be provided.")


def bad_policy() -> ServiceError:
    return invalid("The resource policy is not valid: it must be a JSON document with statements.")


def no_policy(arn: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"No resource policy found for resource ARN {arn}.")


def commitment_holds() -> ServiceError:
    return ServiceError("ValidationException", "The minimum throughput billing commitment can't be ended yet.")
