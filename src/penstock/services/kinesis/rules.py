"""Pure decisions: hash keys, sequence numbers, iterators, resharding."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from penstock.kernel.scope import Scope
from penstock.services.kinesis import limits, messages
from penstock.services.kinesis.state import HASH_MAX, Shard, Stream

_POSITION = slice(10, 28)


def when(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def hash_of(partition_key: str, explicit: str | None) -> int:
    """The MD5 of the key as a number, unless one is given. Raises InvalidArgumentException beyond 128 bits."""
    if explicit is None:
        return int.from_bytes(hashlib.md5(partition_key.encode(), usedforsecurity=False).digest(), "big")
    key = int(explicit)
    if key > HASH_MAX:
        raise messages.hash_out_of_range(explicit)
    return key


def shard_for(stream: Stream, key: int) -> Shard:
    return next(shard for shard in stream.open_shards if shard.has_hash(key))


def new_shards(count: int, now_ms: int) -> list[Shard]:
    """Equal parts of the hash key space."""
    step = (HASH_MAX + 1) // count
    return [
        Shard(
            shard_id(index),
            str(index * step),
            str(HASH_MAX if index == count - 1 else (index + 1) * step - 1),
            now_ms,
        )
        for index in range(count)
    ]


def shard_id(index: int) -> str:
    return f"shardId-{index:012d}"


def sequence_number(shard: Shard, position: int, at_ms: int) -> str:
    """56 digits, rising within a shard: creation, position, time and shard as hexadecimal places of one number."""
    text = f"2{shard.created_ms // 1000:09x}{position:018x}0{at_ms // 1000:09x}{shard.index:08x}2"
    return str(int(text, 16))


def position_of(number: str) -> int | None:
    """The position within its shard that a sequence number names; None for what is none of ours."""
    if not number.isdecimal():
        return None
    text = f"{int(number):x}"
    return int(text[_POSITION], 16) if len(text) == 47 else None


@dataclass(frozen=True)
class Iterator:
    stream: str
    shard_id: str
    position: int
    created_ms: int

    def encode(self) -> str:
        value = [self.stream, self.shard_id, self.position, self.created_ms]
        return base64.b64encode(orjson.dumps(value)).decode()


def parse_iterator(text: str, now_ms: int) -> Iterator:
    """Raises InvalidArgumentException, ExpiredIteratorException."""
    try:
        iterator = Iterator(*orjson.loads(base64.b64decode(text, validate=True)))
    except (binascii.Error, ValueError, TypeError):
        raise messages.invalid("Invalid ShardIterator.") from None
    if now_ms - iterator.created_ms > limits.ITERATOR_MS.value:
        raise messages.expired_iterator(_java_time(iterator.created_ms), _java_time(now_ms))
    return iterator


def _java_time(time_ms: int) -> str:
    return when(time_ms).strftime("%a %b %d %H:%M:%S UTC %Y")


def split(stream: Stream, shard: Shard, at_hash: int, now_ms: int) -> None:
    """Close a shard and open two children. Raises InvalidArgumentException for a key outside it."""
    if not int(shard.first_hash) < at_hash <= int(shard.last_hash):
        raise messages.bad_split(at_hash, shard.id, stream.name)
    shard.closed_ms = now_ms
    first = len(stream.shards)
    stream.shards += [
        Shard(shard_id(first), shard.first_hash, str(at_hash - 1), now_ms, parent=shard.id),
        Shard(shard_id(first + 1), str(at_hash), shard.last_hash, now_ms, parent=shard.id),
    ]


def merge(stream: Stream, one: Shard, other: Shard, now_ms: int) -> None:
    """Close two neighbours and open their child. Raises InvalidArgumentException if they aren't neighbours."""
    low, high = sorted((one, other), key=lambda shard: int(shard.first_hash))
    if int(low.last_hash) + 1 != int(high.first_hash):
        raise messages.not_adjacent(one.id, other.id, stream.name)
    one.closed_ms = other.closed_ms = now_ms
    child = Shard(shard_id(len(stream.shards)), low.first_hash, high.last_hash, now_ms, one.id, other.id)
    stream.shards.append(child)


def shown_shard(scope: Scope, shard: Shard, *, next_position: int) -> dict[str, object]:
    """A shard as ListShards and DescribeStream answer it. A closed one has the number after its last record's."""
    numbers = {"StartingSequenceNumber": sequence_number(shard, 0, shard.created_ms)}
    if shard.closed_ms is not None:
        numbers["EndingSequenceNumber"] = sequence_number(shard, next_position, shard.closed_ms)
    shown: dict[str, object] = {
        "ShardId": shard.id,
        "HashKeyRange": {"StartingHashKey": shard.first_hash, "EndingHashKey": shard.last_hash},
        "SequenceNumberRange": numbers,
    }
    if shard.parent:
        shown["ParentShardId"] = shard.parent
    if shard.adjacent_parent:
        shown["AdjacentParentShardId"] = shard.adjacent_parent
    return shown
