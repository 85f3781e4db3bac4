"""What every protocol asks of an error: its declared shape, its status, its members."""

from collections.abc import Mapping
from typing import Any

from penstock.kernel.errors import ServiceError
from penstock.model.shapes import ErrorShape, OperationModel

UNDECLARED_STATUS = 400


def declared_error(operation: OperationModel | None, error: ServiceError) -> ErrorShape | None:
    return operation.service.errors.get(error.code) if operation else None


def status_of(error: ServiceError, declared: ErrorShape | None) -> int:
    """The model's, where it declares one and the room left it open."""
    if error.status == UNDECLARED_STATUS and declared is not None and declared.status:
        return declared.status
    return error.status


def members_of(error: ServiceError, declared: ErrorShape | None, *, default: str = "message") -> Mapping[str, Any]:
    """The message under the name that the shape gives it (message, Message), with the error's other members."""
    name = default
    if declared is not None:
        name = next((member for member in declared.shape.members if member.lower() == "message"), default)
    return {name: error.message, **error.fields}


def query_error(error: ServiceError, declared: ErrorShape | None) -> str:
    """`x-amzn-query-error`: the code of a service that used to speak query, for clients that know it by that."""
    return f"{declared.code if declared else error.code};{'Sender' if error.is_sender_fault else 'Receiver'}"
