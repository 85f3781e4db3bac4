"""What the framework asks of the room that knows principals."""

from typing import Protocol

from penstock.kernel.scope import Principal
from penstock.storage.transactions import ReadTransaction


class PolicySource(Protocol):
    """IAM as the door sees it (services/iam/state.py)."""

    def find_access_key(self, tx: ReadTransaction, access_key_id: str) -> tuple[str, Principal] | None:
        """The secret and the user of an active key."""

    def policies_of(self, tx: ReadTransaction, principal: Principal) -> tuple[list[str], str | None]:
        """The identity policies' documents, and the permissions boundary's."""
