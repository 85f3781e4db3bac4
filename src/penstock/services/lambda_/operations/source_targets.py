"""The function that a mapping feeds, and the role as which its sources are read."""

from collections.abc import Iterable

from penstock.engines.functions.ports import Invocation, Outcome
from penstock.framework.context import Context
from penstock.kernel import arn
from penstock.kernel.errors import Unavailable
from penstock.kernel.scope import Principal, root_principal
from penstock.services.lambda_ import limits, rules, state
from penstock.services.lambda_.operations import invocations, metrics
from penstock.services.lambda_.operations.mappings import EventSource
from penstock.services.lambda_.operations.metering import meter_of
from penstock.services.lambda_.operations.role_credentials import role_principal
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import Function, Version

_UNREADY = ("Pending", "Failed")


class Target:
    """Looked up anew for each batch: an alias may have moved, a role changed."""

    def __init__(self, ctx: Context, source: EventSource) -> None:
        self._ctx = ctx
        self.named = Named(ctx.scope, source.function, source.qualifier)

    async def find(self) -> tuple[Function, Version]:
        return await invocations.find_target(self._ctx, self.named)

    async def principal(self) -> Principal:
        """The function's role, in a session of the function's name."""
        _, version = await self.find()
        return principal_of(version.role, self._ctx, self.named.name)

    async def is_circling(self, trace_id: str) -> bool:
        """Whether an event of that trace header goes round once too often; it is counted then.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
        """
        hops = rules.hops(trace_id, self._arn) if trace_id else 0
        if hops < limits.RECURSION_HOPS_MAX.value:
            return False
        function, version = await self.find()
        if not invocations.is_recursive(function, rules.with_hop(trace_id, self._arn), self.named):
            return False
        subject = metrics.subject_of(self.named.scope, self.named.name, self.named.qualifier, version.version)
        meter_of(self._ctx.platform).metrics.count(subject, "RecursiveInvocationsDropped")
        return True

    def longest(self, trace_ids: Iterable[str]) -> str:
        """The header of the event that came through the function most often; a batch goes under one header."""
        return max(trace_ids, key=lambda trace_id: rules.hops(trace_id, self._arn), default="")

    @property
    def _arn(self) -> str:
        return state.arn_of(self.named.scope, self.named.name)

    async def invoke(self, payload: bytes, *, trace_id: str = "") -> Outcome:
        """Raises Throttled, Unavailable (also while the function isn't ready), ServiceError where there is none."""
        function, version = await self.find()
        if version.state in _UNREADY:
            raise Unavailable(f"function {self.named.name} is {version.state}")
        trace_id = rules.with_hop(trace_id or invocations.new_trace_id(self._ctx), self._arn)
        invocation = Invocation(self._ctx.entropy.uuid(), payload, self.named.arn, trace_id, "")
        return await invocations.run(self._ctx, self.named.scope, function, version, invocation)


def principal_of(role: str, ctx: Context, name: str) -> Principal:
    return role_principal(role, name) if arn.is_arn(role) else root_principal(ctx.scope.account_id)
