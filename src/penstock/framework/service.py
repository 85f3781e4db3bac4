"""A room: its operations, the rules by which the door lets callers in, and its background work.

An operation is `async def put_object(ctx, req) -> dict`, named after AWS's operation; `req` holds the validated
members by their AWS names, the answer likewise. Streaming members are ByteStreams.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from penstock.framework.principals import PolicySource
from penstock.storage.outbox import Intent
from penstock.storage.transactions import ReadTransaction

if TYPE_CHECKING:
    from penstock.framework.context import Context

Members = dict[str, Any]
Operation = Callable[["Context", Members], Awaitable[Members | None]]
IntentHandler = Callable[["Context", Intent], Awaitable[None]]
Loop = Callable[["Context"], Awaitable[None]]
F = TypeVar("F", bound=Callable[..., Any])

_WORD_STARTS = (re.compile(r"(.)([A-Z][a-z]+)"), re.compile(r"([a-z0-9])([A-Z])"))


@dataclass(frozen=True, slots=True)
class Permission:
    """What the door asks IAM for an operation.

    action     `s3:PutObject`
    resource   the ARN that the request names; conditions: extra condition keys
    view       the (operation, request) that it is judged as, where that isn't the one made: a copy reads its source
    """

    action: str
    resource: Callable[["Context", Members], str]
    conditions: Callable[["Context", Members], Mapping[str, str | list[str]]] | None = None
    view: Callable[[str, Members], tuple[str, Members]] | None = None


@dataclass(frozen=True)
class Access:
    """How a room is guarded.

    permissions      by operation name; one without an entry needs `service:Operation` on `*`
    resource_policy  the JSON policy of the resource that a request names, or None
    canonical        the request as the door is to read it: a name that stands for an ARN, replaced by the ARN
    owner            the account that owns the resource, where its ARN doesn't say
    values           condition keys that only the store knows
    asked            what an operation needs where that depends on the request (the tables of a batch); None: see
                     permissions
    """

    permissions: Mapping[str, Sequence[Permission]] = field(default_factory=dict)
    resource_policy: Callable[[ReadTransaction, "Context", str, Members], str | None] | None = None
    canonical: Callable[[ReadTransaction, "Context", Members], Members] | None = None
    owner: Callable[[ReadTransaction, "Context", str, Members], str | None] | None = None
    values: Callable[[ReadTransaction, "Context", str, Members], Mapping[str, str | list[str]]] | None = None
    asked: Callable[["Context", str, Members], Sequence[Permission] | None] | None = None


def operation(fn: F) -> F:
    """Mark a handler of an AWS operation."""
    fn.__dict__["penstock_operation"] = True
    return fn


def on_intent(kind: str) -> Callable[[F], F]:
    """Mark the handler of an outbox intent; raising Unavailable or a throttle puts it back."""

    def mark(fn: F) -> F:
        fn.__dict__["penstock_intent"] = kind
        return fn

    return mark


def background(fn: F) -> F:
    """Mark a loop that runs while the node does; it is restarted if it fails."""
    fn.__dict__["penstock_background"] = True
    return fn


@lru_cache(maxsize=4096)
def snake_name(name: str) -> str:
    """AWS's operation name as Python's: ListObjectsV2 -> list_objects_v2."""
    for pattern in _WORD_STARTS:
        name = pattern.sub(r"\1_\2", name)
    return name.lower()


class Service:
    """A room as the composition root sees it. `models` are the botocore models that it serves.

    policy_source   IAM's alone: how the door learns a principal's policies
    """

    def __init__(
        self,
        *models: str,
        operations: Sequence[ModuleType],
        background: ModuleType | None = None,
        access: Access | None = None,
        policy_source: PolicySource | None = None,
    ) -> None:
        self.models = models
        self.name = models[0]
        self.access = access or Access()
        self.policy_source = policy_source
        self.operations: dict[str, Operation] = {}
        self.intents: dict[str, IntentHandler] = {}
        self.loops: list[Loop] = []
        for module in operations:
            self.operations.update(_marked(module, "penstock_operation"))
        if background is not None:
            self.loops.extend(_marked(background, "penstock_background").values())
            for handler in _marked(background, "penstock_intent").values():
                self.intents[handler.__dict__["penstock_intent"]] = handler

    def find_operation(self, name: str) -> Operation | None:
        return self.operations.get(snake_name(name))


def _marked(module: ModuleType, mark: str) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(module).items()
        if callable(value) and mark in getattr(value, "__dict__", {})
    }
