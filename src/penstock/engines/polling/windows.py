"""Tumbling windows: records by the time at which they arrived, with a state that goes from batch to batch. Pure.

Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-windows.html
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

STATE_BYTES_MAX = 1024 * 1024
GRACE_MS = 1000
"""How long after its end a window is kept open for records that were dated before it and committed after."""


@dataclass(frozen=True)
class Window:
    """`state` is the JSON that the function answered last. `failures` of its final invocation."""

    start_ms: int
    end_ms: int
    state: str = "{}"
    failures: int = 0
    is_early: bool = False


def window_of(at_ms: int, size_ms: int) -> Window:
    """The window in which a record falls."""
    start_ms = at_ms - at_ms % size_ms
    return Window(start_ms, start_ms + size_ms)


def within(window: Window, times_ms: Sequence[int]) -> int:
    """How many of the records, in order, come before the first that belongs to a later window."""
    return next((index for index, at_ms in enumerate(times_ms) if at_ms >= window.end_ms), len(times_ms))


def is_over(window: Window, next_at_ms: int | None, now_ms: int, *, is_shard_end: bool) -> bool:
    """`next_at_ms`: when the next record arrived, None where there is none yet."""
    if window.is_early:
        return True
    if next_at_ms is not None:
        return next_at_ms >= window.end_ms
    return is_shard_end or now_ms >= window.end_ms + GRACE_MS


def on_answer(window: Window, state: str) -> Window:
    """A state beyond the limit ends the window early."""
    return replace(window, state=state, is_early=len(state.encode()) > STATE_BYTES_MAX)


def on_final_failure(window: Window) -> Window:
    return replace(window, failures=window.failures + 1)
