"""What AWS takes for keeping a SnapStart version's snapshot: from its publication on, three hours at least.

Source: https://aws.amazon.com/lambda/pricing/
"""

from collections.abc import Iterator
from dataclasses import dataclass

from penstock.kernel.scope import Scope
from penstock.kernel.units import HOUR_MS
from penstock.services.lambda_ import rules, state
from penstock.services.lambda_.state import Usage, Version
from penstock.storage.records import Record
from penstock.storage.transactions import Key, ReadTransaction, Transaction

LEAST_MS = 3 * HOUR_MS
_DAY_MS = 24 * HOUR_MS
_CACHED = ("lambda-cached",)


@dataclass
class Cached:
    """A version whose snapshot is kept. `paid_until_ms`: usage has been counted up to there."""

    memory_mb: int
    architecture: str
    paid_until_ms: int


_RECORD = Record(Cached)


def begin(tx: Transaction, scope: Scope, version: Version, *, now_ms: int) -> None:
    """The version's snapshot was made."""
    cached = Cached(version.memory_mb, version.architecture, now_ms)
    _count(tx, scope, version.name, cached, now_ms + LEAST_MS)
    tx.put(_key(scope, version.name, version.version), _RECORD.dump(cached))


def settle_all(tx: Transaction, *, now_ms: int) -> None:
    """Count what was kept since it was last counted; of a version that's gone, nothing since then."""
    for scope, name, number, cached in list(_every(tx)):
        if state.find_version(tx, scope, name, number) is None:
            tx.delete(_key(scope, name, number))
        elif cached.paid_until_ms < now_ms:
            _count(tx, scope, name, cached, now_ms)
            tx.put(_key(scope, name, number), _RECORD.dump(cached))


def _count(tx: Transaction, scope: Scope, name: str, cached: Cached, until_ms: int) -> None:
    """On the days on which it was kept."""
    while cached.paid_until_ms < until_ms:
        end_ms = min(until_ms, (cached.paid_until_ms // _DAY_MS + 1) * _DAY_MS)
        day = rules.when(cached.paid_until_ms).strftime("%Y-%m-%d")
        kept = Usage(cached_mb_ms=cached.memory_mb * (end_ms - cached.paid_until_ms))
        state.add_usage(tx, scope, day, name, cached.architecture, kept)
        cached.paid_until_ms = end_ms


def _every(tx: ReadTransaction) -> Iterator[tuple[Scope, str, str, Cached]]:
    for key, value in tx.range(_CACHED):
        yield Scope(str(key[1]), str(key[2])), str(key[3]), str(key[4]), _RECORD.load(value)


def _key(scope: Scope, name: str, number: str) -> Key:
    return (*_CACHED, scope.account_id, scope.region, name, number)
