"""When a batch is closed: it is full, it is as large as an invocation may be, or its window is over. Pure.

Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html#invocation-eventsourcemapping-batching
"""

from collections.abc import Sequence
from dataclasses import dataclass

PAYLOAD_BYTES_MAX = 6 * 1024 * 1024
ENVELOPE_BYTES = 1024
"""What an event needs beside its records: names, brackets, a window's members without its state."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`size` in records, `window_ms` how long the first of a batch may wait for more."""

    size: int
    window_ms: int = 0
    bytes_max: int = PAYLOAD_BYTES_MAX - ENVELOPE_BYTES


def fitting(sizes: Sequence[int], rule: Rule) -> tuple[int, bool]:
    """How many of the waiting records make a batch, and whether it is full. One is taken however large it is."""
    total = 0
    for index, size in enumerate(sizes):
        total += size + 1
        if index == rule.size:
            return index, True
        if index and total > rule.bytes_max:
            return index, True
    return len(sizes), len(sizes) >= rule.size


def closes_at_ms(rule: Rule, first_at_ms: int) -> int:
    """When a batch is sent though it isn't full; `first_at_ms`: when its first record was read."""
    return first_at_ms + rule.window_ms
