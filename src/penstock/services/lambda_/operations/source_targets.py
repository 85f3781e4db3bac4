"""The function that a mapping feeds, and the role as which its sources are read."""

from penstock.engines.functions.ports import Invocation, Outcome
from penstock.framework.context import Context
from penstock.kernel import arn
from penstock.kernel.errors import Unavailable
from penstock.kernel.scope import Principal, root_principal
from penstock.services.lambda_.operations import invocations
from penstock.services.lambda_.operations.mappings import EventSource
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

    async def invoke(self, payload: bytes) -> Outcome:
        """Raises Throttled, Unavailable (also while the function isn't ready), ServiceError where there is none."""
        function, version = await self.find()
        if version.state in _UNREADY:
            raise Unavailable(f"function {self.named.name} is {version.state}")
        trace_id = invocations.new_trace_id(self._ctx)
        invocation = Invocation(self._ctx.entropy.uuid(), payload, self.named.arn, trace_id, "")
        return await invocations.run(self._ctx, self.named.scope, function, version, invocation)


def principal_of(role: str, ctx: Context, name: str) -> Principal:
    return role_principal(role, name) if arn.is_arn(role) else root_principal(ctx.scope.account_id)
