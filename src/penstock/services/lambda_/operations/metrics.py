"""What CloudWatch is told of functions: counted in memory by the minute, written with the usage soon after.

Each number is of a function, of the version or alias that was asked for, for an alias of the version that ran, and of
all functions together.
Source: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
"""

from collections.abc import Callable
from typing import NamedTuple

from penstock.engines.functions.ports import Allocation, Outcome
from penstock.framework.wakeups import Wakeup
from penstock.kernel.clock import Clock
from penstock.kernel.scope import Scope
from penstock.services.lambda_ import rules
from penstock.services.lambda_.operations import mappings
from penstock.services.lambda_.state import Version
from penstock.storage import metrics
from penstock.storage.metrics import Dimensions, Series, Statistics
from penstock.storage.transactions import ReadTransaction, Transaction

NAMESPACE = "AWS/Lambda"
_MINUTE_MS = 60_000
_MILLISECONDS = frozenset(
    {"Duration", "AsyncEventAge", "IteratorAge", "PostRuntimeExtensionsDuration", "DurableExecutionDuration"}
)
_BYTES = frozenset({"DurableExecutionStorageWrittenBytes"})
# Levels, not counts: what functions come to together isn't the sum of what each comes to.
_LEVELS = frozenset(
    {
        "ConcurrentExecutions",
        "UnreservedConcurrentExecutions",
        "ProvisionedConcurrentExecutions",
        "ProvisionedConcurrencyUtilization",
    }
)
Allocated = Callable[[ReadTransaction, Scope], int]
"""The account's concurrency that is reserved or provisioned."""


class Subject(NamedTuple):
    """What a number is of. `resource` is NAME or NAME:QUALIFIER; empty members: of all there are.

    mapping   the id of an event source mapping, whose numbers are its own alone
    """

    scope: Scope
    name: str = ""
    resource: str = ""
    executed: str = ""
    mapping: str = ""


def subject_of(scope: Scope, name: str, qualifier: str = "", version: str = "") -> Subject:
    resource = f"{name}:{qualifier}" if qualifier else name
    return Subject(scope, name, resource, version if rules.is_alias(qualifier) else "")


Minutes = dict[tuple[Subject, int], dict[str, Statistics]]


class Tally:
    """What one subject comes to in the minute that is now; plain counters, because every invocation goes through.

    above    the wider subjects whose levels it counts towards
    levels   how often so many were running when one more began
    """

    __slots__ = ("above", "durations", "errors", "levels", "minute_s", "running", "subject", "unreserved")

    def __init__(self, subject: Subject, above: "list[Tally]") -> None:
        self.subject = subject
        self.above = above
        self.running = self.unreserved = 0
        self.clear(0)

    def clear(self, minute_s: int) -> None:
        self.minute_s = minute_s
        self.errors = 0
        self.durations: list[float] = []
        self.levels: dict[tuple[str, int], int] = {}

    def note(self, name: str, level: int) -> None:
        key = (name, level)
        self.levels[key] = self.levels.get(key, 0) + 1


class Metrics:
    """Signals `wakeup` when there is something to write."""

    def __init__(self, clock: Clock, wakeup: Wakeup) -> None:
        self._clock = clock
        self._wakeup = wakeup
        self._has_news = False
        self._minutes: Minutes = {}
        self._tallies: dict[Subject, Tally] = {}
        self._known: dict[tuple[str, str], Tally] = {}

    @property
    def is_empty(self) -> bool:
        return not self._has_news

    def count(self, subject: Subject, name: str, value: float = 1.0) -> None:
        """Note a value of the metric in the minute that is now."""
        self._add(subject, self._minute(), name, value)

    def running(self, scope: Scope, version: Version, invoked_arn: str, *, is_reserved: bool) -> "Run":
        """To be held while an invocation runs; it belongs to the minute in which it begins."""
        tally = self._known.get((invoked_arn, version.version))
        if tally is None:
            tally = self._tally(subject_of_version(scope, version, invoked_arn))
            self._known[invoked_arn, version.version] = tally
        return Run(self, tally, self._minute(), is_reserved=is_reserved)

    def _tally(self, subject: Subject) -> Tally:
        tally = self._tallies.get(subject)
        if tally is None:
            wider = [Subject(subject.scope), Subject(subject.scope, subject.name), subject._replace(executed="")]
            above = [self._tally(one) for one in dict.fromkeys(wider) if subject.name and one != subject]
            tally = self._tallies[subject] = Tally(subject, above)
        return tally

    def in_minute(self, tally: Tally, minute_s: int) -> bool:
        """Whether the tally is of that minute; one of an earlier minute is put away and begun anew."""
        if tally.minute_s < minute_s:
            self._fold(tally)
            tally.clear(minute_s)
        return tally.minute_s == minute_s

    def on_news(self) -> None:
        if not self._has_news:
            self._has_news = True
            self._wakeup.signal()

    def on_provisioned(self, subject: Subject, provision: Allocation, *, is_spilled: bool) -> None:
        """An invocation of what has provisioned concurrency, in it or beside it."""
        if is_spilled:
            self.count(subject, "ProvisionedConcurrencySpilloverInvocations")
            return
        self.count(subject, "ProvisionedConcurrencyInvocations")
        asked, busy = subject._replace(executed=""), provision.busy + 1
        self.count(asked, "ProvisionedConcurrentExecutions", busy)
        self.count(asked, "ProvisionedConcurrencyUtilization", busy / provision.allocated)

    def _minute(self) -> int:
        now_ms = self._clock.now_ms()
        return (now_ms - now_ms % _MINUTE_MS) // 1000

    def _add(self, subject: Subject, minute_s: int, name: str, value: float, count: float = 1.0) -> None:
        self.on_news()
        values = self._minutes.setdefault((subject, minute_s), {})
        known = values.get(name)
        if known is None:
            known = values[name] = Statistics()
        known.add(value, count)

    def add_outcome(self, subject: Subject, minute_s: int, duration_ms: float, *, is_error: bool) -> None:
        """One that began in an earlier minute."""
        self._add_outcomes(subject, minute_s, [duration_ms], int(is_error))

    def _add_outcomes(self, subject: Subject, minute_s: int, durations: list[float], errors: int) -> None:
        """Errors and throttles are told as 0 too, so that their averages are rates."""
        self._add(subject, minute_s, "Invocations", 1, len(durations))
        self._add(subject, minute_s, "Throttles", 0, len(durations))
        if errors:
            self._add(subject, minute_s, "Errors", 1, errors)
        if errors < len(durations):
            self._add(subject, minute_s, "Errors", 0, len(durations) - errors)
        for duration_ms in durations:
            self._add(subject, minute_s, "Duration", duration_ms)

    def _fold(self, tally: Tally) -> None:
        for (name, level), times in tally.levels.items():
            self._add(tally.subject, tally.minute_s, name, level, times)
        if tally.durations:
            self._add_outcomes(tally.subject, tally.minute_s, tally.durations, tally.errors)

    def take(self) -> Minutes:
        """What wasn't written yet; whoever takes it writes it or gives it back."""
        for tally in self._tallies.values():
            self._fold(tally)
            tally.clear(tally.minute_s)
        self._tallies = {subject: tally for subject, tally in self._tallies.items() if tally.running}
        self._known = {key: tally for key, tally in self._known.items() if tally.running}
        taken, self._minutes, self._has_news = self._minutes, {}, False
        return taken

    def give_back(self, taken: Minutes) -> None:
        for key, values in taken.items():
            self.on_news()
            known = self._minutes.setdefault(key, {})
            for name, statistics in values.items():
                known.setdefault(name, Statistics()).merge(statistics)


class Run:
    """One invocation while it runs."""

    __slots__ = ("_is_reserved", "_levels", "_metrics", "_minute_s", "_tally", "_unreserved")

    def __init__(self, owner: Metrics, tally: Tally, minute_s: int, *, is_reserved: bool) -> None:
        self._metrics = owner
        self._tally = tally
        self._minute_s = minute_s
        self._is_reserved = is_reserved

    def __enter__(self) -> "Run":
        tally = self._tally
        self._levels: list[tuple[Tally, int]] = []
        for level in (tally, *tally.above):
            level.running += 1
            self._levels.append((level, level.running))
        if not self._is_reserved:
            tally.above[0].unreserved += 1
        self._unreserved = tally.above[0].unreserved
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        tally = self._tally
        for level in (tally, *tally.above):
            level.running -= 1
        if not self._is_reserved:
            tally.above[0].unreserved -= 1

    def on_outcome(self, outcome: Outcome, provision: Allocation) -> None:
        """The function ran, well or not; a throttled one was never among those that run.

        `provision`: what was held for it before it ran.
        """
        tally, owner, minute_s = self._tally, self._metrics, self._minute_s
        owner.on_news()
        for level, running in self._levels:
            if owner.in_minute(level, minute_s):
                level.note("ConcurrentExecutions", running)
        if not self._is_reserved:
            tally.above[0].note("UnreservedConcurrentExecutions", self._unreserved)
        is_error = outcome.function_error is not None
        if tally.minute_s == minute_s:
            tally.durations.append(outcome.duration_ms)
            tally.errors += is_error
        else:
            owner.add_outcome(tally.subject, minute_s, outcome.duration_ms, is_error=is_error)
        if provision.allocated:
            owner.on_provisioned(tally.subject, provision, is_spilled=not outcome.is_provisioned)

    def on_throttle(self) -> None:
        self._metrics.count(self._tally.subject, "Throttles")


Told = dict[tuple[Scope, str, Dimensions, int], Statistics]


def write(tx: Transaction, taken: Minutes, allocated: Allocated | None = None) -> None:
    told: Told = {}
    for (subject, minute_s), values in taken.items():
        if subject.mapping and not _is_wanted(tx, subject):
            continue
        for name, statistics in values.items():
            for dimensions in _dimensions(subject, is_level=name in _LEVELS):
                told.setdefault((subject.scope, name, dimensions, minute_s), Statistics()).merge(statistics)
    if allocated is not None:
        _add_claimed(tx, told, allocated)
    for (scope, name, dimensions, minute_s), statistics in told.items():
        unit = "Milliseconds" if name in _MILLISECONDS else "Bytes" if name in _BYTES else "Count"
        metrics.record(tx, scope, Series(NAMESPACE, name, dimensions, unit), minute_s, statistics)


def _add_claimed(tx: ReadTransaction, told: Told, allocated: Allocated) -> None:
    """ClaimedAccountConcurrency: what runs unreserved, and all that is kept for someone.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-concurrency.html#claimed-account-concurrency
    """
    for (scope, name, dimensions, minute_s), statistics in list(told.items()):
        if name == "UnreservedConcurrentExecutions":
            claimed = Statistics()
            claimed.add(statistics.highest + allocated(tx, scope), statistics.count)
            told[scope, "ClaimedAccountConcurrency", dimensions, minute_s] = claimed


def _is_wanted(tx: ReadTransaction, subject: Subject) -> bool:
    """A mapping's own numbers are told where its MetricsConfig asks for them."""
    source = mappings.find_source(tx, subject.scope, subject.mapping)
    config = source.kept.get("MetricsConfig") if source is not None else None
    return "EventCount" in ((config or {}).get("Metrics") or ())


def _dimensions(subject: Subject, *, is_level: bool) -> list[Dimensions]:
    """The series that a subject's numbers belong to, in order of dimension name."""
    if subject.mapping:
        return [(("EventSourceMappingUUID", subject.mapping),)]
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
