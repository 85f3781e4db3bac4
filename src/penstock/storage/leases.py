"""One owner at a time for a shard, an execution, a poller.

A lease is held until it expires or is given back. Its token grows with each change of owner, so that work begun
under an old lease can be told from work under the present one (fencing).
"""

from dataclasses import dataclass

from penstock.storage.records import Record
from penstock.storage.transactions import Key, ReadTransaction, Transaction


@dataclass(frozen=True, slots=True)
class Lease:
    """`owner` is a node's incarnation id; times in ms since the epoch."""

    owner: str
    token: int
    expires_at_ms: int

    def is_held(self, now_ms: int) -> bool:
        return bool(self.owner) and self.expires_at_ms > now_ms


_LEASE = Record(Lease)


def acquire(tx: Transaction, key: Key, owner: str, *, now_ms: int, duration_ms: int) -> Lease | None:
    """Take or renew the lease at `key`; None while another owner holds it."""
    lease = find(tx, key)
    if lease is not None and lease.owner != owner and lease.is_held(now_ms):
        return None
    is_renewal = lease is not None and lease.owner == owner and lease.is_held(now_ms)
    token = (lease.token if lease is not None else 0) + (0 if is_renewal else 1)
    taken = Lease(owner, token, now_ms + duration_ms)
    tx.put(key, _LEASE.dump(taken))
    return taken


def release(tx: Transaction, key: Key, owner: str) -> bool:
    """Give the lease back at once; whether `owner` had it. The token lives on."""
    lease = find(tx, key)
    if lease is None or lease.owner != owner:
        return False
    tx.put(key, _LEASE.dump(Lease("", lease.token, 0)))
    return True


def find(tx: ReadTransaction, key: Key) -> Lease | None:
    return _LEASE.find(tx.get(key))


def is_current(tx: ReadTransaction, key: Key, lease: Lease) -> bool:
    """No one else has taken it since: what a write under a lease checks in its own transaction."""
    present = find(tx, key)
    return present is not None and present.owner == lease.owner and present.token == lease.token
