"""Which table a request names: a name, or an ARN that may be another account's."""

import re

from penstock.framework.context import Context
from penstock.kernel import arn
from penstock.kernel.scope import Scope
from penstock.services.dynamodb import messages

_NAME = re.compile(r"[a-zA-Z0-9_.-]+\Z")
NAME_LENGTH_MIN, NAME_LENGTH_MAX = 3, 255


def table_of(ctx: Context, text: str) -> tuple[Scope, str]:
    """The table's scope and name. Raises ValidationException for what can be neither a name nor an ARN."""
    if text.startswith("arn:"):
        return _of_arn(text)
    if not NAME_LENGTH_MIN <= len(text) <= NAME_LENGTH_MAX or not _NAME.match(text):
        raise _bad_name(text)
    return ctx.scope, text


def _bad_name(text: str) -> Exception:
    errors = []
    told = f"Value '{text}' at 'tableName' failed to satisfy constraint: Member must "
    if not _NAME.match(text):
        errors.append(told + "satisfy regular expression pattern: [a-zA-Z0-9_.-]+")
    if len(text) < NAME_LENGTH_MIN:
        errors.append(told + f"have length greater than or equal to {NAME_LENGTH_MIN}")
    if len(text) > NAME_LENGTH_MAX:
        errors.append(told + f"have length less than or equal to {NAME_LENGTH_MAX}")
    noun = "validation error" if len(errors) == 1 else "validation errors"
    return messages.invalid(f"{len(errors)} {noun} detected: {'; '.join(errors)}")


def _of_arn(text: str) -> tuple[Scope, str]:
    try:
        found = arn.parse(text)
    except ValueError:
        raise messages.invalid_arn() from None
    kind, _, name = found.resource.partition("/")
    if found.service != "dynamodb" or kind != "table" or not name:
        raise messages.invalid_arn()
    return Scope(found.account_id, found.region, found.partition), name.partition("/")[0]


def table_arn(ctx: Context, text: str) -> str:
    """The ARN of the table that `text` names; never raises."""
    if text.startswith("arn:"):
        return "/".join(text.split("/")[:2])
    scope = ctx.scope
    return f"arn:{scope.partition}:dynamodb:{scope.region}:{scope.account_id}:table/{text}"
