"""Receives that wait are woken when something may have become visible in their queue; none of them polls."""

from penstock.framework.context import Platform
from penstock.framework.wakeups import Wakeup
from penstock.kernel.scope import Scope

_ARRIVALS = "sqs.arrivals"
QueueKey = tuple[Scope, str]


class Arrivals:
    """Wakeups by queue. Lost with the node, as the receives are that wait for them."""

    def __init__(self) -> None:
        self._wakeups: dict[QueueKey, Wakeup] = {}
        self._waiting: dict[QueueKey, int] = {}

    def join(self, key: QueueKey) -> Wakeup:
        """Wait for news of a queue; `leave` must follow."""
        self._waiting[key] = self._waiting.get(key, 0) + 1
        return self._wakeups.setdefault(key, Wakeup())

    def leave(self, key: QueueKey) -> None:
        self._waiting[key] -= 1
        if not self._waiting[key]:
            del self._waiting[key], self._wakeups[key]

    def signal(self, key: QueueKey) -> None:
        """A message was sent, or its visibility changed."""
        if key in self._wakeups:
            self._wakeups[key].signal()

    def signal_all(self) -> None:
        for wakeup in self._wakeups.values():
            wakeup.signal()


def arrivals_of(platform: Platform) -> Arrivals:
    found: Arrivals = platform.volatile.setdefault(_ARRIVALS, Arrivals())
    return found
