"""The door in process: find the room, run the operation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import Service
from penstock.kernel.errors import ServiceError


class LocalCaller:
    """Calls rooms of this node."""

    def __init__(self, services: Sequence[Service]) -> None:
        self.rooms: dict[str, Service] = {model: room for room in services for model in room.models}

    async def call(self, service: str, operation: str, params: Mapping[str, Any], *, ctx: Context) -> dict[str, Any]:
        room = self.rooms.get(service)
        handler = room.find_operation(operation) if room else None
        if handler is None:
            raise ServiceError(
                "UnknownOperationException",
                f"{service} {operation} is not built yet; see docs/coverage.md",
                status=501,
            )
        request = replace(ctx.request, request_id=ctx.entropy.uuid(), service=service, operation=operation)
        inner = Context(ctx.platform, ctx.scope, ctx.principal, request)
        return await handler(inner, dict(params)) or {}
