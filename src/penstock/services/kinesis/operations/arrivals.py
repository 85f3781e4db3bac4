"""Subscribers are woken when something was put to their stream, or its shards changed; none of them polls."""

from penstock.framework.context import Platform
from penstock.framework.wakeups import Wakeup
from penstock.kernel.scope import Scope

_ARRIVALS = "kinesis.arrivals"
StreamKey = tuple[Scope, str]


class Arrivals:
    """Wakeups by stream, for as long as anybody waits."""

    def __init__(self) -> None:
        self._wakeups: dict[StreamKey, Wakeup] = {}
        self._waiting: dict[StreamKey, int] = {}

    def join(self, key: StreamKey) -> Wakeup:
        """Wait for news of a stream; `leave` must follow."""
        self._waiting[key] = self._waiting.get(key, 0) + 1
        return self._wakeups.setdefault(key, Wakeup())

    def leave(self, key: StreamKey) -> None:
        self._waiting[key] -= 1
        if not self._waiting[key]:
            del self._waiting[key], self._wakeups[key]

    def signal(self, key: StreamKey) -> None:
        if key in self._wakeups:
            self._wakeups[key].signal()


def arrivals_of(platform: Platform) -> Arrivals:
    found: Arrivals = platform.volatile.setdefault(_ARRIVALS, Arrivals())
    return found
