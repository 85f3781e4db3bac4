"""Who may run now: the account's concurrency, a function's reserved share, and how fast either may be asked. Pure.

Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
"""

from collections import Counter
from dataclasses import dataclass, field

from penstock.engines.functions.ports import Throttled

ACCOUNT_CONCURRENCY = 1000
REQUESTS_PER_PLACE = 10
"""Synchronous requests a second, for each unit of concurrency. Source: as above, "Requests per second quota"."""
SCALING_PER_10_S = 1000
"""New environments of one function. Source: https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html"""
ACCOUNT_LIMIT_REASON = "ConcurrentInvocationLimitExceeded"
ACCOUNT_RATE_REASON = "CallerRateLimitExceeded"
SCALING_REASON = "FunctionInvocationRateLimitExceeded"
RESERVED_LIMIT_REASON = "ReservedFunctionConcurrentInvocationLimitExceeded"
RESERVED_RATE_REASON = "ReservedFunctionInvocationRateLimitExceeded"


@dataclass(slots=True)
class TokenBucket:
    """Up to `size` at once, and `per_s` more each second."""

    size: float
    per_s: float
    level: float
    at_s: float

    def take(self, now_s: float) -> bool:
        self.level = min(self.size, self.level + max(now_s - self.at_s, 0.0) * self.per_s)
        self.at_s = now_s
        if self.level < 1:
            return False
        self.level -= 1
        return True


@dataclass(frozen=True, slots=True)
class Ticket:
    """What an invocation counts against; it is given back when that ends."""

    counter: Counter[str]
    key: str


@dataclass(slots=True)
class Concurrency:
    """Invocations in flight. A reserved function counts against its own share, others against the rest.

    What provisioned concurrency holds is taken from the rest as long as it is held, busy or not.
    """

    account_limit: int = ACCOUNT_CONCURRENCY
    _unreserved: Counter[str] = field(default_factory=Counter)
    _by_function: Counter[str] = field(default_factory=Counter)
    _provisioned: Counter[str] = field(default_factory=Counter)
    _reserved: dict[str, dict[str, int]] = field(default_factory=dict)
    _held: dict[str, dict[str, int]] = field(default_factory=dict)
    _rates: dict[str, TokenBucket] = field(default_factory=dict)
    _scaling: dict[str, TokenBucket] = field(default_factory=dict)

    def on_start(
        self, account: str, function: str, reserved: int | None, *, now_s: float, is_paced: bool, is_provisioned: bool
    ) -> Ticket:
        """Count one more. Raises Throttled with AWS's reason.

        is_paced         it's a synchronous request, of which there may be only so many a second
        is_provisioned   it runs in provisioned concurrency, which has its place already
        """
        shares = self._reserved.setdefault(account, {})
        if reserved is None:
            shares.pop(function, None)
        else:
            shares[function] = reserved
        counter, key = self._place(account, function, reserved, is_provisioned=is_provisioned)
        if is_paced:
            self._pace(account, function, reserved, now_s)
        counter[key] += 1
        return Ticket(counter, key)

    def _place(
        self, account: str, function: str, reserved: int | None, *, is_provisioned: bool
    ) -> tuple[Counter[str], str]:
        if reserved is not None:
            if self._by_function[function] >= reserved:
                raise Throttled(RESERVED_LIMIT_REASON)
            return self._by_function, function
        if is_provisioned:
            return self._provisioned, function
        taken = sum(self._reserved[account].values()) + self._held_of(account)
        if self._unreserved[account] >= self.account_limit - taken:
            raise Throttled(ACCOUNT_LIMIT_REASON)
        return self._unreserved, account

    def _held_of(self, account: str) -> int:
        """Provisioned concurrency outside of reserved shares."""
        shares = self._reserved[account]
        return sum(count for arn, count in self._held.get(account, {}).items() if arn.rsplit(":", 1)[0] not in shares)

    def _pace(self, account: str, function: str, reserved: int | None, now_s: float) -> None:
        key, places = (account, self.account_limit) if reserved is None else (function, reserved)
        per_s = float(places * REQUESTS_PER_PLACE)
        bucket = self._rates.get(key)
        if bucket is None or bucket.per_s != per_s:
            bucket = self._rates[key] = TokenBucket(per_s, per_s, per_s, now_s)
        if not bucket.take(now_s):
            raise Throttled(ACCOUNT_RATE_REASON if reserved is None else RESERVED_RATE_REASON)

    def on_scale(self, function: str, *, now_s: float) -> None:
        """Count a new environment. Raises Throttled."""
        bucket = self._scaling.get(function)
        if bucket is None:
            size = float(SCALING_PER_10_S)
            bucket = self._scaling[function] = TokenBucket(size, size / 10, size, now_s)
        if not bucket.take(now_s):
            raise Throttled(SCALING_REASON)

    def on_end(self, ticket: Ticket) -> None:
        assert ticket.counter[ticket.key] > 0, "an invocation ended that never started"
        ticket.counter[ticket.key] -= 1

    def on_provision(self, account: str, arn: str, count: int) -> None:
        """So many are held for what is invoked as `arn`, which is qualified; 0: none any more."""
        held = self._held.setdefault(account, {})
        held.pop(arn, None)
        if count:
            held[arn] = count

    def on_retire(self, account: str, function: str) -> None:
        """A deleted function gives its share back."""
        self._reserved.get(account, {}).pop(function, None)
        self._rates.pop(function, None)
        self._scaling.pop(function, None)
