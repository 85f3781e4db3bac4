"""What stands between a function URL and the function: whose it is, who may call it, and the call."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

from penstock.framework.context import Context, Platform, RequestInfo
from penstock.gateway.aws import AwsFace
from penstock.gateway.function_urls import Called
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Principal, Scope, root_principal
from penstock.protocol.messages import EventStream, HttpRequest
from penstock.services.lambda_ import function_urls


class UrlCalls:
    """`call` and `find_cors` are what gateway/function_urls.py asks for."""

    def __init__(self, platform: Platform, face: AwsFace) -> None:
        self._platform, self._face = platform, face

    async def find_cors(self, id: str) -> Mapping[str, Any]:
        found = await function_urls.find_called(self._context(Scope(), root_principal()), id)
        return found[1].cors if found else {}

    async def call(self, request: HttpRequest, id: str, event: bytes) -> Called:
        """Invoke the function behind a URL as AuthType and the function's policy allow."""
        found = await function_urls.find_called(self._context(Scope(), root_principal()), id)
        if found is None:
            return Called(refusal=(403, "Forbidden"))
        named, url = found
        owner = self._context(named.scope, root_principal(named.scope.account_id))
        try:
            if url.auth_type == "AWS_IAM":
                caller = self._context(named.scope, await self._face.authenticate(request))
            elif self._platform.auth == "enforce" and not await function_urls.may_anyone_call(owner, named):
                return Called(refusal=(403, "Forbidden"))
            else:
                caller = owner
            members = {"FunctionName": named.arn, "Payload": event}
            if url.invoke_mode == "RESPONSE_STREAM":
                answer = await self._platform.caller.call("lambda", "InvokeWithResponseStream", members, ctx=caller)
                return await _streamed(answer)
            answer = await self._platform.caller.call("lambda", "Invoke", members, ctx=caller)
        except ServiceError as error:
            return Called(refusal=function_urls.error_of(error))
        return Called(answer["Payload"], has_failed="FunctionError" in answer)

    def _context(self, scope: Scope, principal: Principal) -> Context:
        return Context(self._platform, scope, principal, RequestInfo(self._platform.entropy.uuid()))


async def _streamed(answer: Mapping[str, Any]) -> Called:
    """The answer from its first chunk on: an error before that is the function's failure, one after cuts it off."""
    events = answer["EventStream"]
    first = await anext(events)
    if first[0] == "InvokeComplete" and first[1].get("ErrorCode"):
        return Called(has_failed=True)
    return Called(stream=_chunks(first, events), content_type=answer["ResponseStreamContentType"])


async def _chunks(first: tuple[str, Mapping[str, Any]], events: EventStream) -> AsyncIterator[bytes]:
    yield first[1].get("Payload", b"")
    async for name, members in events:
        if name == "PayloadChunk":
            yield cast(bytes, members["Payload"])
        elif members.get("ErrorCode"):
            raise ConnectionError("the function failed while its answer was sent")
