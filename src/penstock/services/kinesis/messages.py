"""What Kinesis answers when it refuses. Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/"""

from penstock.kernel.errors import ServiceError
from penstock.services.kinesis import limits


def no_stream(name: str, account_id: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"Stream {name} under account {account_id} not found.")


def stream_exists(name: str, account_id: str) -> ServiceError:
    return ServiceError("ResourceInUseException", f"Stream {name} under account {account_id} already exists.")


def not_active(name: str, account_id: str, state: str) -> ServiceError:
    return ServiceError(
        "ResourceInUseException", f"Stream {name} under account {account_id} not ACTIVE, instead in state {state}"
    )


def no_shard(shard_id: str, name: str, account_id: str) -> ServiceError:
    return ServiceError(
        "ResourceNotFoundException",
        f"Could not find shard {shard_id} in stream {name} under account {account_id}.",
    )


def invalid(text: str) -> ServiceError:
    return ServiceError("InvalidArgumentException", text)


def missing_name() -> ServiceError:
    return invalid("Either StreamName or StreamARN must be provided.")


def expired_iterator(created: str, now: str) -> ServiceError:
    return ServiceError(
        "ExpiredIteratorException",
        f"Iterator expired. The iterator was created at time {created} while right now it is {now} which is further in "
        "the future than the tolerated delay of 300000 milliseconds.",
    )


def bad_sequence(number: str, shard_id: str) -> ServiceError:
    return invalid(f"StartingSequenceNumber {number} used in GetShardIterator on shard {shard_id} is invalid.")


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
