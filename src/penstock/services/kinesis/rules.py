"""Pure decisions: hash keys, sequence numbers, seals, resharding."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from penstock.kernel.scope import Scope
from penstock.services.kinesis import limits, messages
from penstock.services.kinesis.state import HASH_MAX, Shard, Stream

_EPOCH, _POSITION, _SHARD = slice(1, 10), slice(11, 27), slice(38, 46)
_POSITION_SHIFT = 80
_POSITION_LAST = 2**63 - 1
_SEAL_BYTES = 16


def when(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def ms_of(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def hash_of(partition_key: str, explicit: str | None) -> int:
    """The MD5 of the key as a number, unless one is given. Raises InvalidArgumentException beyond 128 bits."""
    if explicit is None:
        return int.from_bytes(hashlib.md5(partition_key.encode(), usedforsecurity=False).digest(), "big")
    key = int(explicit)
    if key > HASH_MAX:
        raise messages.hash_out_of_range(explicit)
    return key


def bounds(count: int) -> list[tuple[int, int]]:
    """Equal parts of the hash key space."""
    step = (HASH_MAX + 1) // count
    return [(index * step, HASH_MAX if index == count - 1 else (index + 1) * step - 1) for index in range(count)]


def new_shards(count: int, now_ms: int, epoch_s: int = 0) -> list[Shard]:
    return [
        Shard(shard_id(index), str(first), str(last), now_ms, epoch_s=epoch_s)
        for index, (first, last) in enumerate(bounds(count))
    ]


def shard_id(index: int) -> str:
    return f"shardId-{index:012d}"


def find_shard(stream: Stream, shard_id: str) -> Shard | None:
    """By its id, in any of the spellings that AWS takes."""
    number = shard_id.removeprefix("shardId-")
    if not number.isdecimal():
        return None
    index = int(number)
    if index < len(stream.shards) and stream.shards[index].index == index:
        return stream.shards[index]
    return next((shard for shard in stream.shards if shard.index == index), None)


def sequence_number(shard: Shard, position: int, at_ms: int) -> str:
    """56 digits, rising within a shard. In hexadecimal: 2, epoch, shard, position, 00, seconds, shard, 2."""
    return str(_sequence_base(shard.index, shard.epoch, at_ms // 1000) + (position << _POSITION_SHIFT))


def sequence_numbers(shard: Shard, position: int, count: int, at_ms: int) -> list[str]:
    """Of records that are appended together."""
    first = _sequence_base(shard.index, shard.epoch, at_ms // 1000) + (position << _POSITION_SHIFT)
    return [str(first + (index << _POSITION_SHIFT)) for index in range(count)]


@lru_cache(maxsize=1024)
def _sequence_base(index: int, epoch_s: int, at_s: int) -> int:
    """The sequence number of position 0; each position adds `1 << _POSITION_SHIFT`."""
    return int(f"2{epoch_s:09x}{index & 15:x}{0:016x}00{at_s:09x}{index:08x}2", 16)


def position_of(number: str) -> int | None:
    """The position within its shard that a sequence number names; None for what is none of ours."""
    text = _places(number)
    return int(text[_POSITION], 16) if text else None


def shard_of(number: str) -> str:
    """The id of the shard that a sequence number names."""
    return shard_id(int(_places(number)[_SHARD], 16))


def is_of_stream(number: str, shard: Shard) -> bool:
    """Whether a sequence number of a shard is of this very one, not of an earlier stream's."""
    return int(_places(number)[_EPOCH], 16) == shard.epoch


def _places(number: str) -> str:
    text = f"{int(number):x}" if number.isdecimal() else ""
    is_ours = len(text) == 47 and text[0] == text[-1] == "2" and int(text[_POSITION], 16) <= _POSITION_LAST
    return text if is_ours else ""


def seal(secret: bytes, kind: str, values: list[Any]) -> str:
    """Something to hand out and take back: nobody can make or change one. `kind` tells iterators from tokens."""
    body = orjson.dumps([kind, *values])
    return base64.b64encode(_mac(secret, body) + body).decode()


def unseal(secret: bytes, kind: str, text: str) -> list[Any] | None:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    mac, body = data[:_SEAL_BYTES], data[_SEAL_BYTES:]
    if not hmac.compare_digest(mac, _mac(secret, body)):
        return None
    values: list[Any] = orjson.loads(body)
    return values[1:] if values[0] == kind else None


def _mac(secret: bytes, body: bytes) -> bytes:
    return hmac.digest(secret, body, "sha256")[:_SEAL_BYTES]


@dataclass(frozen=True, slots=True)
class Iterator:
    """A place in a shard of one stream, as it was made that time (`epoch`)."""

    account_id: str
    region: str
    stream: str
    epoch: int
    shard_id: str
    position: int
    created_ms: int

    def sealed(self, secret: bytes) -> str:
        return seal(secret, "iterator", list(astuple(self)))

    @property
    def scope(self) -> Scope:
        return Scope(self.account_id, self.region)


def read_iterator(secret: bytes, text: str) -> Iterator:
    """Raises InvalidArgumentException. Whether it is too old, `check_age` says. Quotes around it do no harm."""
    values = unseal(secret, "iterator", text.strip('"'))
    if values is None:
        raise messages.bad_iterator()
    return Iterator(*values)


def check_age(iterator: Iterator, now_ms: int) -> None:
    if now_ms - iterator.created_ms > limits.ITERATOR_MS.value:
        raise messages.expired_iterator(_java_time(iterator.created_ms), _java_time(now_ms))


def _java_time(time_ms: int) -> str:
    return when(time_ms).strftime("%a %b %d %H:%M:%S UTC %Y")


def check_split(stream: Stream, shard: Shard, at_hash: int, account_id: str) -> None:
    """Raises InvalidArgumentException for a key that leaves no two shards."""
    if not int(shard.first_hash) + 1 < at_hash < int(shard.last_hash):
        bounds = (shard.id, shard.first_hash, shard.last_hash)
        raise messages.bad_split(at_hash, bounds, stream.name, account_id)


def check_merge(stream: Stream, one: Shard, other: Shard, account_id: str) -> None:
    """Raises InvalidArgumentException for shards that aren't neighbours."""
    low, high = sorted((one, other), key=lambda shard: int(shard.first_hash))
    if int(low.last_hash) + 1 != int(high.first_hash):
        raise messages.not_adjacent(one.id, other.id, stream.name, account_id)


def split(stream: Stream, shard: Shard, at_hash: int, now_ms: int) -> tuple[Shard, Shard]:
    """Close a shard and open two children."""
    assert int(shard.first_hash) < at_hash <= int(shard.last_hash)
    shard.closed_ms = now_ms
    low = _child(stream, shard.first_hash, str(at_hash - 1), now_ms, shard)
    high = _child(stream, str(at_hash), shard.last_hash, now_ms, shard)
    return low, high


def merge(stream: Stream, one: Shard, other: Shard, now_ms: int) -> Shard:
    """Close two neighbours and open their child."""
    low, high = sorted((one, other), key=lambda shard: int(shard.first_hash))
    one.closed_ms = other.closed_ms = now_ms
    return _child(stream, low.first_hash, high.last_hash, now_ms, one, other)


def _child(stream: Stream, first_hash: str, last_hash: str, now_ms: int, *parents: Shard) -> Shard:
    """Its sequence numbers are beyond those of its parents."""
    index = stream.shard_count
    epoch_s = max(now_ms // 1000, max(parent.epoch for parent in parents) + 1)
    adjacent = parents[1].id if len(parents) > 1 else ""
    child = Shard(shard_id(index), first_hash, last_hash, now_ms, parents[0].id, adjacent, epoch_s=epoch_s)
    stream.next_shard = index + 1
    stream.shards.append(child)
    return child


def scale(stream: Stream, target: int, now_ms: int) -> None:
    """Split and merge until `target` shards are open. Raises InvalidArgumentException beyond double or half.

    Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html
    """
    count = len(stream.open_shards)
    if target == count or target > 2 * count or 2 * target < count:
        raise messages.bad_target(target, count)
    rescale(stream, target, now_ms)


def rescale(stream: Stream, target: int, now_ms: int) -> None:
    """As AWS does it: every shard is halved until there are enough, then the narrowest neighbours are merged.

    Double and half keep equal shards equal; in between the widest takes up to twice what the narrowest does.
    """
    pieces = sorted(stream.open_shards, key=lambda shard: int(shard.first_hash))
    while len(pieces) < target:
        pieces = [half for shard in pieces for half in split(stream, shard, _middle(shard), now_ms)]
    while len(pieces) > target:
        at = min(range(len(pieces) - 1), key=lambda index: _width(pieces[index]) + _width(pieces[index + 1]))
        pieces[at : at + 2] = [merge(stream, pieces[at], pieces[at + 1], now_ms)]


def _middle(shard: Shard) -> int:
    return (int(shard.first_hash) + int(shard.last_hash) + 1) // 2


def _width(shard: Shard) -> int:
    """Roughly, as the last of equal shards is a little wider than the others."""
    return (int(shard.last_hash) - int(shard.first_hash)) >> 16


def is_listed(shard: Shard, shard_filter: Mapping[str, Any], oldest_ms: int) -> bool:
    """Whether a visible shard passes ListShards' filter. `oldest_ms` is the trim horizon.

    Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ShardFilter.html
    """
    kind = shard_filter["Type"]
    if kind == "AFTER_SHARD_ID":
        return shard.id > str(shard_filter["ShardId"])
    if kind == "AT_LATEST":
        return shard.closed_ms is None
    at_ms = max(oldest_ms, shard_filter["TimestampMs"]) if kind.endswith("TIMESTAMP") else oldest_ms
    if kind.startswith("FROM"):
        return shard.closed_ms is None or shard.closed_ms >= at_ms
    return shard.created_ms <= at_ms and (shard.closed_ms is None or shard.closed_ms > at_ms)


def shown_shard(shard: Shard) -> dict[str, object]:
    """A shard as ListShards and DescribeStream answer it. A closed one has a number beyond all its records'."""
    numbers = {"StartingSequenceNumber": sequence_number(shard, 0, shard.created_ms)}
    if shard.closed_ms is not None:
        numbers["EndingSequenceNumber"] = sequence_number(shard, _POSITION_LAST, shard.closed_ms)
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


def children_of(stream: Stream, shard: Shard) -> list[dict[str, Any]]:
    return [
        {
            "ShardId": child.id,
            "ParentShards": [parent for parent in (child.parent, child.adjacent_parent) if parent],
            "HashKeyRange": {"StartingHashKey": child.first_hash, "EndingHashKey": child.last_hash},
        }
        for child in stream.shards
        if shard.id in (child.parent, child.adjacent_parent)
    ]
