"""Who may run now: the account's and a function's reserved concurrency. Pure.

Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
"""

from collections import Counter
from dataclasses import dataclass, field

from penstock.engines.functions.ports import Throttled

ACCOUNT_CONCURRENCY = 1000
ACCOUNT_LIMIT_REASON = "ConcurrentInvocationLimitExceeded"
RESERVED_LIMIT_REASON = "ReservedFunctionConcurrentInvocationLimitExceeded"


@dataclass(slots=True)
class Concurrency:
    """Invocations in flight. A reserved function counts against its own share, others against the rest."""

    account_limit: int = ACCOUNT_CONCURRENCY
    _unreserved: Counter[str] = field(default_factory=Counter)
    _by_function: Counter[str] = field(default_factory=Counter)
    _reserved: dict[str, dict[str, int]] = field(default_factory=dict)

    def on_start(self, account: str, function: str, reserved: int | None) -> None:
        """Count one more. Raises Throttled with AWS's reason. Whoever starts passes the same values to on_end."""
        shares = self._reserved.setdefault(account, {})
        if reserved is None:
            shares.pop(function, None)
            if self._unreserved[account] >= self.account_limit - sum(shares.values()):
                raise Throttled(ACCOUNT_LIMIT_REASON)
            self._unreserved[account] += 1
            return
        shares[function] = reserved
        if self._by_function[function] >= reserved:
            raise Throttled(RESERVED_LIMIT_REASON)
        self._by_function[function] += 1

    def on_end(self, account: str, function: str, reserved: int | None) -> None:
        counter, key = (self._unreserved, account) if reserved is None else (self._by_function, function)
        assert counter[key] > 0, "an invocation ended that never started"
        counter[key] -= 1

    def on_retire(self, account: str, function: str) -> None:
        """A deleted function gives its share back."""
        self._reserved.get(account, {}).pop(function, None)
