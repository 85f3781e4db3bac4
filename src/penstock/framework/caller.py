"""The door in process: find the room, run the operation."""

from collections.abc import Sequence

from penstock.framework.authorization import Authorizer
from penstock.framework.dispatch import Dispatcher, Validate
from penstock.framework.observe import Observer
from penstock.framework.principals import PolicySource
from penstock.framework.service import Service


class LocalCaller(Dispatcher):
    """Calls rooms of this node. `policy_source` is for an Authenticator; `authorizer` knows the denials."""

    def __init__(
        self, services: Sequence[Service], *, validate: Validate | None = None, observer: Observer | None = None
    ) -> None:
        self.policy_source: PolicySource | None = next((s.policy_source for s in services if s.policy_source), None)
        self.authorizer = Authorizer(self.policy_source)
        super().__init__(services, validate=validate, authorize=self.authorizer, observer=observer)
