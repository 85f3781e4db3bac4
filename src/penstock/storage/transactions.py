"""The port that everything durable stands on: ordered keys and serializable transactions.

Keys are tuples of str, bytes, int, bool, None and nested tuples; they sort as FoundationDB's tuple layer
sorts them (keys.py). Values are bytes. `fn(tx)` is a plain function: it reads and writes through `tx`, never
waits and has no other effect, so it can be run again.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol, TypeVar

Key = tuple["str | bytes | int | bool | None | Key", ...]
T = TypeVar("T")


class StoreLocked(Exception):
    """Another process holds the store; the message names it."""


class StoreDamaged(Exception):
    """What lies on the disk isn't a store (any more); it is left as found. The message says what to do."""


class ReadTransaction(Protocol):
    """A consistent view of the store."""

    def get(self, key: Key) -> bytes | None: ...

    def range(
        self,
        prefix: Key,
        *,
        begin: Key | None = None,
        end: Key | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[Key, bytes]]:
        """Pairs whose key starts with `prefix`, in key order.

        `begin` (inclusive) and `end` (exclusive) are whole keys that narrow it.
        """


class Transaction(ReadTransaction, Protocol):
    """A view that can be written; reads see the transaction's own writes."""

    def put(self, key: Key, value: bytes) -> None: ...
    def delete(self, key: Key) -> None: ...
    def clear(self, prefix: Key) -> None:
        """Delete every key that starts with `prefix`."""


class Store(Protocol):
    """A durable, ordered map."""

    async def transact(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn` serializably; on return its writes are durable. An exception from `fn` undoes them."""

    async def read(self, fn: Callable[[ReadTransaction], T]) -> T:
        """Run `fn` on the latest committed state."""

    def on_commit(self, prefix: Key, listener: Callable[[], None]) -> None:
        """Call `listener` (on the loop) after a commit that wrote below `prefix`: how loops are woken."""

    @property
    def is_quiet(self) -> bool:
        """Whether no commit is on its way."""

    async def settled(self) -> None:
        """Return once no commit is on its way."""

    async def branch(self, name: str) -> "Store":
        """A second, independent store that starts as a copy of this one."""

    def close(self) -> Awaitable[None]: ...
