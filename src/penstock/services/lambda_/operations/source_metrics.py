"""What event source mappings did, counted in memory: the numbers behind IteratorAge and the EventCount metrics.

Source: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html#event-source-mapping-metrics
"""

from collections import Counter
from collections.abc import Callable

from penstock.framework.context import Platform
from penstock.kernel.scope import Scope

_METRICS = "lambda.source-metrics"
Listener = Callable[[str, Scope, str, str, float], None]
"""(metric, scope, mapping id, function name, value): told at once of whatever is counted."""


class SourceMetrics:
    """`counts` by mapping id and metric; whoever publishes them adds a listener."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.iterator_age_ms: dict[str, int] = {}
        self.listeners: list[Listener] = []

    def count(self, metric: str, scope: Scope, id: str, function: str, value: int) -> None:
        if value:
            self.counts[id, metric] += value
            self._tell(metric, scope, id, function, value)

    def on_iterator_age(self, scope: Scope, id: str, function: str, age_ms: int) -> None:
        """`age_ms`: of the last record of a batch, when the function had done with it."""
        self.iterator_age_ms[id] = age_ms
        self._tell("IteratorAge", scope, id, function, age_ms)

    def _tell(self, metric: str, scope: Scope, id: str, function: str, value: float) -> None:
        for listener in self.listeners:
            listener(metric, scope, id, function, value)


def source_metrics_of(platform: Platform) -> SourceMetrics:
    found: SourceMetrics = platform.volatile.setdefault(_METRICS, SourceMetrics())
    return found
