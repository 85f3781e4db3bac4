"""The door: validate, authorize, run the handler, observe.

A Bug or an unexpected exception of a handler becomes an answer here: InternalFailure, 500, logged.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from penstock.framework.context import Context
from penstock.framework.observe import Observer
from penstock.framework.service import Members, Operation, Service
from penstock.kernel.errors import ServiceError, Unavailable

log = logging.getLogger("penstock.dispatch")

Validate = Callable[[str, str, Members], None]
Authorize = Callable[[Context, Service, str, Members], Awaitable[None]]
Fault = Callable[[str, str], Awaitable[None]]


class Dispatcher:
    """Runs operations of this node's rooms.

    validate    raises AWS's error for members that break the model's constraints
    authorize   raises AccessDenied where the caller may not
    fault       awaited before each handler: tests raise from it, or wait
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        validate: Validate | None = None,
        authorize: Authorize | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.rooms: dict[str, Service] = {model: room for room in services for model in room.models}
        self.observer = observer or Observer()
        self.fault: Fault | None = None
        self._validate = validate
        self._authorize = authorize

    async def call(self, service: str, operation: str, params: Mapping[str, Any], *, ctx: Context) -> dict[str, Any]:
        """Run one operation as `ctx.principal` in `ctx.scope`. Raises ServiceError only."""
        inner = _inner_context(service, operation, ctx)
        wall = ctx.platform.wall
        started_s = wall.monotonic_s()
        code, status = "", 200
        try:
            return await self._run(service, operation, dict(params), inner)
        except ServiceError as error:
            code, status = error.code, error.status
            raise
        finally:
            seconds = wall.monotonic_s() - started_s
            self.observer.note(service, operation, inner.request.request_id, seconds=seconds, code=code, status=status)

    async def _run(self, service: str, operation: str, req: Members, ctx: Context) -> dict[str, Any]:
        room = self.rooms.get(service)
        handler = room.find_operation(operation) if room else None
        if room is None or handler is None:
            raise not_built(service, operation)
        try:
            if self._validate is not None:
                self._validate(service, operation, req)
            if self._authorize is not None:
                await self._authorize(ctx, room, operation, req)
            return await self._handle(handler, service, operation, req, ctx)
        except ServiceError:
            raise
        except Unavailable as error:
            log.warning("unavailable service=%s operation=%s reason=%s", service, operation, error)
            raise ServiceError(
                "ServiceUnavailable", "Service Unavailable. Please try again later.", status=503
            ) from error
        except Exception as error:
            log.exception(
                "operation failed service=%s operation=%s request_id=%s", service, operation, ctx.request.request_id
            )
            raise internal_failure(service) from error

    async def _handle(
        self, handler: Operation, service: str, operation: str, req: Members, ctx: Context
    ) -> dict[str, Any]:
        if self.fault is not None:
            await self.fault(service, operation)
        return await handler(ctx, req) or {}


def not_built(service: str, operation: str) -> ServiceError:
    """AWS's answer to an operation that it doesn't know; S3 says NotImplemented instead."""
    if service == "s3":
        message = f"A header you provided implies functionality that is not implemented: {operation}"
        return ServiceError("NotImplemented", message, status=501)
    return ServiceError(
        "UnknownOperationException", f"{service} {operation} is not built yet; see docs/coverage.md", status=501
    )


def internal_failure(service: str) -> ServiceError:
    """What a caller hears of our own mistake."""
    if service == "s3":
        return ServiceError("InternalError", "We encountered an internal error. Please try again.", status=500)
    message = "The request processing has failed because of an unknown error, exception or failure."
    return ServiceError("InternalFailure", message, status=500)


def _inner_context(service: str, operation: str, ctx: Context) -> Context:
    """The context of the call. The gateway's own request keeps its id; a call made inside gets a new one."""
    is_first = not ctx.request.service and bool(ctx.request.request_id)
    request_id = ctx.request.request_id if is_first else ctx.entropy.uuid()
    request = replace(ctx.request, request_id=request_id, service=service, operation=operation)
    return Context(ctx.platform, ctx.scope, ctx.principal, request)
