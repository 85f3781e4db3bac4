"""What CloudWatch is told of functions: counted in memory by the minute, written with the usage soon after.

Each number is of a function, of the version or alias that was asked for, for an alias of the version that ran, and of
all functions together.
Source: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from penstock.engines.functions.ports import Outcome
from penstock.framework.wakeups import Wakeup
from penstock.kernel.clock import Clock
from penstock.kernel.scope import Scope
from penstock.services.lambda_ import rules
from penstock.services.lambda_.state import Version
from penstock.storage import metrics
from penstock.storage.metrics import Dimensions, Series, Statistics
from penstock.storage.transactions import Transaction

NAMESPACE = "AWS/Lambda"
_MINUTE_MS = 60_000
_MILLISECONDS = frozenset({"Duration", "AsyncEventAge", "IteratorAge", "PostRuntimeExtensionsDuration"})
# Levels, not counts: what functions come to together isn't the sum of what each comes to.
_LEVELS = frozenset({"ConcurrentExecutions", "UnreservedConcurrentExecutions"})


class Subject(NamedTuple):
    """What a number is of. `resource` is NAME or NAME:QUALIFIER; empty members: of all there are."""

    scope: Scope
    name: str = ""
    resource: str = ""
    executed: str = ""


def subject_of(scope: Scope, name: str, qualifier: str = "", version: str = "") -> Subject:
    resource = f"{name}:{qualifier}" if qualifier else name
    return Subject(scope, name, resource, version if rules.is_alias(qualifier) else "")


Minutes = dict[tuple[Subject, int], dict[str, Statistics]]


class Metrics:
    """Signals `wakeup` when there is something to write."""

    def __init__(self, clock: Clock, wakeup: Wakeup) -> None:
        self._clock = clock
        self._wakeup = wakeup
        self._minutes: Minutes = {}
        self._running: Counter[Subject] = Counter()
        self._unreserved: Counter[Scope] = Counter()

    @property
    def is_empty(self) -> bool:
        return not self._minutes

    def count(self, subject: Subject, name: str, value: float = 1.0) -> None:
        """Note a value of the metric in the minute that is now."""
        self._add(subject, self._minute(), name, value)

    @contextmanager
    def running(self, subject: Subject, *, is_reserved: bool) -> Iterator[int]:
        """While an invocation runs; gives the minute in which it began, to which its numbers belong."""
        minute_s = self._minute()
        levels = {subject, Subject(subject.scope, subject.name), Subject(subject.scope)}
        if subject.executed:
            levels.add(subject._replace(executed=""))
        for level in levels:
            self._running[level] += 1
            self._add(level, minute_s, "ConcurrentExecutions", self._running[level])
        if not is_reserved:
            self._unreserved[subject.scope] += 1
            of_all = Subject(subject.scope)
            self._add(of_all, minute_s, "UnreservedConcurrentExecutions", self._unreserved[subject.scope])
        try:
            yield minute_s
        finally:
            for level in levels:
                self._running[level] -= 1
                if not self._running[level]:
                    del self._running[level]
            if not is_reserved:
                self._unreserved[subject.scope] -= 1

    def on_outcome(self, subject: Subject, minute_s: int, outcome: Outcome) -> None:
        """A function that ran, well or not. Errors and throttles are told as 0 too, so that averages are rates."""
        self._add(subject, minute_s, "Invocations", 1)
        self._add(subject, minute_s, "Errors", outcome.function_error is not None)
        self._add(subject, minute_s, "Throttles", 0)
        self._add(subject, minute_s, "Duration", outcome.duration_ms)
        if outcome.is_provisioned:
            self._add(subject, minute_s, "ProvisionedConcurrencyInvocations", 1)

    def _minute(self) -> int:
        now_ms = self._clock.now_ms()
        return (now_ms - now_ms % _MINUTE_MS) // 1000

    def _add(self, subject: Subject, minute_s: int, name: str, value: float) -> None:
        if not self._minutes:
            self._wakeup.signal()
        values = self._minutes.setdefault((subject, minute_s), {})
        known = values.get(name)
        if known is None:
            known = values[name] = Statistics()
        known.add(value)

    def take(self) -> Minutes:
        """What wasn't written yet; whoever takes it writes it or gives it back."""
        taken, self._minutes = self._minutes, {}
        return taken

    def give_back(self, taken: Minutes) -> None:
        for key, values in taken.items():
            known = self._minutes.setdefault(key, {})
            for name, statistics in values.items():
                known.setdefault(name, Statistics()).merge(statistics)


def write(tx: Transaction, taken: Minutes) -> None:
    told: dict[tuple[Scope, str, Dimensions, int], Statistics] = {}
    for (subject, minute_s), values in taken.items():
        for name, statistics in values.items():
            for dimensions in _dimensions(subject, is_level=name in _LEVELS):
                told.setdefault((subject.scope, name, dimensions, minute_s), Statistics()).merge(statistics)
    for (scope, name, dimensions, minute_s), statistics in told.items():
        unit = "Milliseconds" if name in _MILLISECONDS else "Count"
        metrics.record(tx, scope, Series(NAMESPACE, name, dimensions, unit), minute_s, statistics)


def _dimensions(subject: Subject, *, is_level: bool) -> list[Dimensions]:
    """The series that a subject's numbers belong to, in order of dimension name."""
    function, resource = ("FunctionName", subject.name), ("Resource", subject.resource)
    found: list[Dimensions] = [()]
    if subject.name:
        found.append((function,))
    if subject.resource:
        found.append((function, resource))
    if subject.executed:
        found.append((("ExecutedVersion", subject.executed), function, resource))
    return found[-1:] if is_level else found


def subject_of_version(scope: Scope, version: Version, invoked_arn: str) -> Subject:
    """For an invocation by that ARN."""
    parts = invoked_arn.split(":", 7)
    return subject_of(scope, version.name, parts[7] if len(parts) > 7 else "", version.version)
