"""Asynchronous events: accepted durably, and whoever runs them told at the commit."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from penstock.framework.context import Context, Platform
from penstock.framework.wakeups import Wakeup
from penstock.kernel.clock import Clock
from penstock.kernel.scope import Scope
from penstock.services.lambda_ import state
from penstock.services.lambda_.state import Event
from penstock.storage.transactions import Transaction

_LINE = "lambda.line"
FunctionKey = tuple[Scope, str]


class Line:
    """Which functions' queues may hold something new.

    A queue is looked at on every wakeup from before a send begins until it is known to have ended; so an event whose
    sender was cancelled in the middle of the commit isn't overlooked. From a mark until its queue was looked at,
    virtual time may not jump, if there is someone to look.
    """

    def __init__(self, clock: Clock) -> None:
        self.wakeup = Wakeup()
        self._clock = clock
        self._busy = ExitStack()
        self._is_busy = self._is_consumed = False
        self._sending: Counter[FunctionKey] = Counter()
        self._marked: set[FunctionKey] = set()

    @contextmanager
    def sending(self, key: FunctionKey) -> Iterator[None]:
        self._sending[key] += 1
        yield
        self._sending[key] -= 1
        if not self._sending[key]:
            del self._sending[key]
        self.mark(key)

    def mark(self, key: FunctionKey) -> None:
        self._marked.add(key)
        if self._is_consumed and not self._is_busy:
            self._is_busy = True
            self._busy.enter_context(self._clock.busy())
        self.wakeup.signal()

    @contextmanager
    def consumed(self) -> Iterator[None]:
        """Someone looks at what is marked, and says `on_looked` after each look."""
        self._is_consumed = True
        try:
            yield
        finally:
            self._is_consumed = self._is_busy = False
            self._busy.close()

    def on_looked(self) -> None:
        if self._is_busy and not self._marked:
            self._is_busy = False
            self._busy.close()

    def take(self) -> set[FunctionKey]:
        marked, self._marked = self._marked, set()
        return marked | set(self._sending)


def line_of(platform: Platform) -> Line:
    line: Line | None = platform.volatile.get(_LINE)
    if line is None:
        line = platform.volatile[_LINE] = Line(platform.clock)
        platform.store.on_commit(("lambda-events",), line.wakeup.signal)
    return line


async def enqueue(ctx: Context, scope: Scope, name: str, event: Event) -> None:
    """On return the event is durable and its consumer is awake."""

    def send(tx: Transaction) -> None:
        state.note_events(tx, scope, name)
        state.events_of(scope, name).send(tx, event.encode(), id=event.request_id, now_ms=event.sent_ms)

    with line_of(ctx.platform).sending((scope, name)):
        await ctx.store.transact(send)
