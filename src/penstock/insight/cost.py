"""What AWS would have billed for it.

The price of a GB-second falls in tiers with a month's sum over all functions of an account, a region and an
architecture; a function bears its share of that sum.
Source: https://aws.amazon.com/lambda/pricing/
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from penstock.framework.context import Platform
from penstock.insight.metering import DayOfFunction, function_days
from penstock.kernel.scope import Scope

_PRICES = Path(__file__).parent / "prices.json"


EXTRAS = ("provisioned_usd", "ephemeral_usd", "snap_start_usd", "streaming_usd", "durable_usd", "tenant_usd")


@dataclass(slots=True)
class FunctionCost:
    """One line of the bill. `usd` is all of it together.

    provisioned_usd   provisioned concurrency, held and used; snap_start_usd: snapshots and restores
    ephemeral_usd     /tmp above 512 MB; streaming_usd: streamed answers above 6 MB each
    tenant_usd        environments made for tenants
    durable_usd       durable executions' operations and what they wrote, without its keeping
    """

    function: str
    requests: int = 0
    errors: int = 0
    cold_starts: int = 0
    billed_ms: int = 0
    gb_s: float = 0.0
    request_usd: float = 0.0
    duration_usd: float = 0.0
    provisioned_usd: float = 0.0
    ephemeral_usd: float = 0.0
    snap_start_usd: float = 0.0
    streaming_usd: float = 0.0
    durable_usd: float = 0.0
    tenant_usd: float = 0.0

    @property
    def usd(self) -> float:
        return self.request_usd + self.duration_usd + float(sum(getattr(self, name) for name in EXTRAS))


@dataclass(frozen=True, slots=True)
class Bill:
    """Lines by function, dearest first. `region` is where the prices hold, `published` when they did."""

    functions: Sequence[FunctionCost]
    region: str
    published: str

    @property
    def usd(self) -> float:
        return sum(line.usd for line in self.functions)


async def bill(
    platform: Platform,
    scope: Scope | None = None,
    *,
    day_first: str = "",
    day_last: str = "9",
    has_free_tier: bool = False,
) -> Bill:
    """The bill of an account and region for the days from `day_first` to `day_last` (YYYY-MM-DD, both included)."""
    days = await function_days(platform, scope or Scope(), day_first=day_first, day_last=day_last)
    return price(days, has_free_tier=has_free_tier)


def price(days: Iterable[DayOfFunction], *, has_free_tier: bool = False) -> Bill:
    """Pure: price what was run. The free tier is taken off each month's requests and GB-seconds, x86_64 first."""
    prices = _prices()
    months: dict[str, list[DayOfFunction]] = defaultdict(list)
    for day in days:
        months[day.day[:7]].append(day)
    lines: dict[str, FunctionCost] = {}
    for _, month in sorted(months.items()):
        _price_month(month, prices, lines, has_free_tier=has_free_tier)
    ordered = sorted(lines.values(), key=lambda line: (-line.usd, line.function))
    return Bill(ordered, prices["region"], prices["published"])


def _price_month(
    month: list[DayOfFunction], prices: dict[str, Any], lines: dict[str, FunctionCost], *, has_free_tier: bool
) -> None:
    requests = sum(day.requests for day in month)
    free_requests = min(prices["free_requests"], requests) if has_free_tier else 0
    request_usd = prices["request_usd"] * (requests - free_requests) / requests if requests else 0.0
    rates = _rates(month, prices, has_free_tier=has_free_tier)
    for day in month:
        line = lines.setdefault(day.function, FunctionCost(day.function))
        line.requests += day.requests
        line.errors += day.errors
        line.cold_starts += day.cold_starts
        line.billed_ms += day.billed_ms
        line.gb_s += day.gb_s
        line.request_usd += day.requests * request_usd
        line.duration_usd += (day.gb_s - day.provisioned_gb_s) * rates[day.architecture]
        _add_extras(line, day, prices)


def _add_extras(line: FunctionCost, day: DayOfFunction, prices: dict[str, Any]) -> None:
    """What has one price whatever the month's sum."""
    held, used = prices["provisioned_gb_second_usd"].get(day.architecture, (0.0, 0.0))
    line.provisioned_usd += day.held_gb_s * held + day.provisioned_gb_s * used
    line.ephemeral_usd += day.ephemeral_gb_s * prices["ephemeral_gb_second_usd"]
    line.snap_start_usd += day.restored_gb * prices["restored_gb_usd"]
    line.snap_start_usd += day.cached_gb_s * prices["cached_gb_second_usd"]
    line.tenant_usd += day.tenant_gb * prices["tenant_gb_usd"].get(day.architecture, 0.0)
    line.streaming_usd += day.streamed_gb * prices["streamed_gb_usd"]
    line.durable_usd += day.durable_operations * prices["durable_operation_usd"]
    line.durable_usd += day.durable_gb * prices["durable_gb_usd"]


def _rates(month: list[DayOfFunction], prices: dict[str, Any], *, has_free_tier: bool) -> dict[str, float]:
    """USD per GB-second of the month, by architecture: the mean over its tiers and what was free."""
    used: dict[str, float] = defaultdict(float)
    for day in month:
        used[day.architecture] += day.gb_s - day.provisioned_gb_s
    free_gb_s = float(prices["free_gb_seconds"]) if has_free_tier else 0.0
    rates: dict[str, float] = {}
    for architecture in sorted(used, reverse=True):
        gb_s = used[architecture]
        free = min(free_gb_s, gb_s)
        free_gb_s -= free
        tiers = prices["gb_second_usd"].get(architecture) or prices["gb_second_usd"]["x86_64"]
        rates[architecture] = tiered_usd(gb_s - free, tiers) / gb_s if gb_s else 0.0
    return rates


def tiered_usd(amount: float, tiers: Sequence[Sequence[float | None]]) -> float:
    """`tiers` are [width, USD each]; the last one has no width."""
    usd = 0.0
    for width, each in tiers:
        part = amount if width is None else min(amount, width)
        usd += part * float(each or 0)
        amount -= part
    return usd


@cache
def _prices() -> dict[str, Any]:
    prices: dict[str, Any] = json.loads(_PRICES.read_text())
    return prices
