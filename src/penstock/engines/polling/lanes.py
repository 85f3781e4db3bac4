"""Several batches of one shard at a time, and each partition key in order: a key belongs to one lane. Pure.

When the number of lanes changes, a record may have been done by its old lane though its new one hasn't come so far.
So the old lanes' checkpoints are kept as a Generation until every new lane is beyond them.
Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-create.html (parallelization factor)
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Generation:
    """How far each lane had come when the number of lanes changed; None where it had done nothing."""

    checkpoints: list[str | None] = field(default_factory=list)


def lane_of(key: bytes, count: int) -> int:
    """The same key, the same lane, on every node and after every restart."""
    return zlib.crc32(key) % count if count > 1 else 0


def is_done(key: bytes, number: int, generations: Sequence[Generation]) -> bool:
    """Whether an earlier division into lanes has done with the record."""
    for generation in generations:
        checkpoint = generation.checkpoints[lane_of(key, len(generation.checkpoints))]
        if checkpoint is not None and number <= int(checkpoint):
            return True
    return False


def restart(
    checkpoints: Sequence[str | None], generations: Sequence[Generation]
) -> tuple[str | None, list[Generation]]:
    """Where new lanes begin, and what they must know of the old ones."""
    if all(checkpoint == checkpoints[0] for checkpoint in checkpoints):
        return checkpoints[0], still_needed(checkpoints[0], generations)
    known = [int(checkpoint) for checkpoint in checkpoints if checkpoint is not None]
    lowest = str(min(known)) if len(known) == len(checkpoints) else None
    return lowest, still_needed(lowest, [*generations, Generation(list(checkpoints))])


def still_needed(lowest: str | None, generations: Sequence[Generation]) -> list[Generation]:
    """The generations that know of something done beyond `lowest`, which every lane has reached."""
    if lowest is None:
        return list(generations)
    return [
        generation
        for generation in generations
        if any(checkpoint is not None and int(checkpoint) > int(lowest) for checkpoint in generation.checkpoints)
    ]
