"""The three kinds of failure, never mixed.

ServiceError   answer the caller: AWS's code, message and status
Unavailable    something we stand on is away: retry
Bug            ours: logged, answered 500, never caught on the way
"""

from collections.abc import Mapping


class ServiceError(Exception):
    """An error that AWS would answer, with its code, message, HTTP status and extra members."""

    def __init__(
        self, code: str, message: str, *, status: int = 400, fields: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.fields: Mapping[str, object] = fields or {}

    @property
    def is_sender_fault(self) -> bool:
        return self.status < 500


class Unavailable(Exception):
    """What the call needs can't be reached now; nothing was changed, so it may be tried again."""


class Bug(Exception):
    """A state that our own code should have made impossible."""
