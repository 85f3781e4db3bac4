"""How many batches of a queue are worked off at a time: more while there is a backlog, fewer where it goes badly. Pure.

Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
"""

from dataclasses import dataclass

CONCURRENCY_FIRST, CONCURRENCY_MAX = 5, 1250
GROWTH_A_MINUTE, PROVISIONED_GROWTH_A_MINUTE = 300, 1000
INVOKES_A_POLLER = 10
"""Of a provisioned poller."""
REST_MS = 60_000
"""A share that wasn't used up for so long begins anew."""
STEP_MS_MAX = 1000
"""Time without a backlog doesn't count, so one look adds no more than this much."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """`first` batches at once, up to `most`; the share grows by `growth` a minute."""

    first: int = CONCURRENCY_FIRST
    most: int = CONCURRENCY_MAX
    growth: int = GROWTH_A_MINUTE


def bounds_of(concurrency_max: int | None, pollers: tuple[int, int] | None) -> Bounds:
    """`pollers`: the least and the most provisioned ones, None without them."""
    if pollers is not None:
        least, most = pollers
        return Bounds(least * INVOKES_A_POLLER, most * INVOKES_A_POLLER, PROVISIONED_GROWTH_A_MINUTE)
    most = CONCURRENCY_MAX if concurrency_max is None else concurrency_max
    return Bounds(min(CONCURRENCY_FIRST, most), most)


@dataclass(frozen=True, slots=True)
class Share:
    """`places` for batches, as of `at_ms`."""

    places: float
    at_ms: int

    @property
    def count(self) -> int:
        return max(1, int(self.places))


def first_share(bounds: Bounds, now_ms: int) -> Share:
    return Share(bounds.first, now_ms)


def on_full(share: Share, bounds: Bounds, now_ms: int) -> Share:
    """Every place is taken and the queue isn't empty: the share grows by the time since it was last so."""
    elapsed_ms = now_ms - share.at_ms
    if elapsed_ms >= REST_MS and share.places > bounds.first:
        return first_share(bounds, now_ms)
    grown = share.places + min(elapsed_ms, STEP_MS_MAX) * bounds.growth / 60_000
    return Share(min(bounds.most, grown), now_ms)


def on_trouble(share: Share, now_ms: int) -> Share:
    """A throttle, or an error of a function that doesn't report item failures: half as many at a time."""
    return Share(max(1.0, share.places / 2), now_ms)
