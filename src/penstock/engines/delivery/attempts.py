"""When to try again: exponential backoff with bounds. Pure."""

from dataclasses import dataclass

from penstock.kernel.units import MINUTE_MS, SECOND_MS

_DOUBLINGS_MAX = 40


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Delays double from `delay_ms_first` up to `delay_ms_max`.

    attempts_max   tries in all, the first one counted; None: no bound
    age_ms_max     no try starts later than this after the first one was due; None: no bound
    jitter_share   how much of a delay chance may take away, 0..1
    """

    delay_ms_first: int = SECOND_MS
    delay_ms_max: int = 5 * MINUTE_MS
    attempts_max: int | None = None
    age_ms_max: int | None = None
    jitter_share: float = 0.5


def next_attempt(policy: RetryPolicy, attempt: int, first_ms: int, now_ms: int, jitter: float) -> int | None:
    """When to try again after failed try number `attempt` (from 1), or None to give up.

    `first_ms` is when the first try was due; `jitter` is drawn from [0, 1).
    """
    if policy.attempts_max is not None and attempt >= policy.attempts_max:
        return None
    doublings = min(max(attempt - 1, 0), _DOUBLINGS_MAX)
    whole_ms = min(policy.delay_ms_first * (1 << doublings), policy.delay_ms_max)
    due_ms = now_ms + max(1, round(whole_ms * (1 - policy.jitter_share * jitter)))
    if policy.age_ms_max is not None and due_ms > first_ms + policy.age_ms_max:
        return None
    return due_ms
