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


def bad_sequence(number: str, shard_id: str) -> ServiceError:
    return invalid(f"StartingSequenceNumber {number} used in GetShardIterator on shard {shard_id} is invalid.")


def foreign_sequence(number: str, shard_id: str, name: str, account_id: str) -> ServiceError:
    return invalid(
        f"StartingSequenceNumber {number} used in GetShardIterator on shard {shard_id} in stream {name} under account "
        f"{account_id} is invalid because it did not come from this stream."
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
    word, bound = ("Minimum", lowest) if hours < lowest else ("Maximum", highest)
    return invalid(
        f"{word} allowed retention period is {bound} hours. Requested retention period ({hours} hours) is out of range."
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


def bad_split(at_hash: int, shard_id: str, name: str) -> ServiceError:
    return invalid(
        f"NewStartingHashKey {at_hash} used in SplitShard() on shard {shard_id} in stream {name} is not both greater "
        "than one plus the shard's StartingHashKey and less than the shard's EndingHashKey minus one."
    )


def not_adjacent(one: str, other: str, name: str) -> ServiceError:
    return invalid(f"Shards {one} and {other} in stream {name} are not an adjacent pair of shards eligible for merging")


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


def not_provisioned(name: str, operation: str) -> ServiceError:
    return ServiceError(
        "ValidationException", f"Request is invalid. {operation} isn't supported for the on-demand stream {name}."
    )


def not_on_demand(name: str, operation: str) -> ServiceError:
    return ServiceError(
        "ValidationException", f"Request is invalid. {operation} isn't supported for the provisioned stream {name}."
    )


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


def too_many_tags(name: str) -> ServiceError:
    return invalid(f"Failed to add tags to {name}: it may have {limits.TAGS_MAX.value} tags at most.")


def bad_policy() -> ServiceError:
    return invalid("The resource policy is not valid: it must be a JSON document with statements.")


def no_policy(arn: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"No resource policy found for resource ARN {arn}")


def commitment_holds() -> ServiceError:
    return ServiceError("ValidationException", "The minimum throughput billing commitment can't be ended yet.")
