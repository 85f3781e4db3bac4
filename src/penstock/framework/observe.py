"""What is known of the operations that ran: one log line each, and counters per service and operation."""

import logging
from dataclasses import dataclass

log = logging.getLogger("penstock.operations")

OPERATIONS_MAX = 5000


@dataclass(slots=True)
class Counter:
    """`seconds` is the time spent in all calls; `errors` by the code that was answered."""

    calls: int = 0
    faults: int = 0
    errors: int = 0
    seconds: float = 0.0


class Observer:
    """Counts and logs. Names come from the models, so the table is bounded; OPERATIONS_MAX is the belt to that."""

    def __init__(self) -> None:
        self._counters: dict[tuple[str, str], Counter] = {}

    def note(self, service: str, operation: str, request_id: str, *, seconds: float, code: str, status: int) -> None:
        """`code` is the error's, or empty where the call succeeded."""
        counter = self._counters.get((service, operation))
        if counter is None:
            if len(self._counters) >= OPERATIONS_MAX:
                return
            counter = self._counters[service, operation] = Counter()
        counter.calls += 1
        counter.seconds += seconds
        if code:
            counter.errors += 1
            counter.faults += status >= 500
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "operation service=%s operation=%s request_id=%s status=%d code=%s ms=%.2f",
                service,
                operation,
                request_id,
                status,
                code or "-",
                seconds * 1000,
            )

    def counters(self) -> dict[tuple[str, str], Counter]:
        """By service and operation, in order of name."""
        return dict(sorted(self._counters.items()))
