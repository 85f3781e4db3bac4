"""One lane's progress through a stream: what is done, what is tried, and what follows from a failure. Pure.

A shard has one lane, or several that share its partition keys among them (lanes.py). A batch is a range of sequence
numbers. The first pending range is tried until it succeeds, is halved, or is given up; only then the next one, so
order within the lane holds. Halves come left first; halving doesn't use up retries.
Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-create.html
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

RETRY_MS_FIRST, RETRY_MS_MAX = 100, 60_000

Reason = Literal["RetryAttemptsExhausted", "RecordAgeExceeded", "MaximumPayloadSizeExceeded"]


@dataclass(frozen=True, slots=True)
class Policy:
    """`retries_max` and `age_ms_max` None: without end."""

    retries_max: int | None = None
    age_ms_max: int | None = None
    has_bisect: bool = False


@dataclass(frozen=True)
class Range:
    """Records from `first` to `last`, both included. `failures` counts failed tries."""

    first: str
    last: str
    failures: int = 0


@dataclass(frozen=True)
class Progress:
    """`checkpoint` is the last sequence number that is done with; None before the first."""

    checkpoint: str | None = None
    pending: tuple[Range, ...] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Discarded:
    """Records that are given up, for the on-failure destination. `tries` that they have had."""

    first: str
    last: str
    reason: Reason
    tries: int = 0


def on_records(progress: Progress, first: str, last: str) -> Progress:
    """A new batch, when nothing is pending."""
    assert not progress.pending, "a batch is pending"
    return replace(progress, pending=(Range(first, last),))


def on_success(progress: Progress) -> Progress:
    """The first pending range is done."""
    head, *rest = progress.pending
    return Progress(head.last, tuple(rest))


def on_failure(
    progress: Progress, policy: Policy, numbers: Sequence[str], *, failed_from: str | None = None
) -> tuple[Progress, Discarded | None]:
    """The first pending range failed; `numbers` are its records'. Where it is given up, that is told.

    failed_from   the lowest record that the function named as failed: what lies before it is done. With bisecting,
                  that was the cut: the rest is tried again as it is, and no retry is used up.
    Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
    """
    head, *rest = progress.pending
    if failed_from is not None and failed_from in numbers and failed_from != numbers[0]:
        at = numbers.index(failed_from)
        done = Progress(numbers[at - 1], (Range(failed_from, head.last, head.failures), *rest))
        return (done, None) if policy.has_bisect else on_failure(done, policy, numbers[at:])
    if policy.has_bisect and len(numbers) > 1:
        middle = len(numbers) // 2
        halves = (
            Range(head.first, numbers[middle - 1], head.failures),
            Range(numbers[middle], head.last, head.failures),
        )
        return replace(progress, pending=(*halves, *rest)), None
    failures = head.failures + 1
    if policy.retries_max is not None and failures > policy.retries_max:
        given_up = Discarded(head.first, head.last, "RetryAttemptsExhausted", failures)
        return Progress(head.last, tuple(rest)), given_up
    return replace(progress, pending=(replace(head, failures=failures), *rest)), None


def on_look(
    progress: Progress, policy: Policy, records: Sequence[tuple[str, int]], now_ms: int
) -> tuple[Progress, Discarded | None]:
    """Before a try: give up the records at the head of the range that are too old. `records` are (number, time).

    A range without records has been trimmed away by the stream: it is given up too.
    """
    head, *rest = progress.pending
    if not records:
        return on_success(progress), Discarded(head.first, head.last, "RecordAgeExceeded", head.failures)
    if policy.age_ms_max is None:
        return progress, None
    old = [number for number, at_ms in records if now_ms - at_ms > policy.age_ms_max]
    if not old:
        return progress, None
    given_up = Discarded(head.first, old[-1], "RecordAgeExceeded", head.failures)
    left = [number for number, _ in records[len(old) :]]
    remaining = (Range(left[0], head.last, head.failures),) if left else ()
    return Progress(old[-1], (*remaining, *rest)), given_up


def retry_delay_ms(failures: int) -> int:
    """Doubling, bounded."""
    return min(RETRY_MS_FIRST << min(max(failures - 1, 0), 20), RETRY_MS_MAX)
