"""What a request says in expressions, and what older ones say without."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.engines.expressions import values
from penstock.engines.expressions.errors import BadExpression
from penstock.engines.expressions.parser import parse_condition, parse_projection, parse_update
from penstock.engines.expressions.trees import Call, Path, Placeholders, Update
from penstock.kernel.errors import ServiceError
from penstock.services.dynamodb import limits, messages
from penstock.services.dynamodb.operations import legacy

Members = Mapping[str, Any]
_NAME, _VALUE = re.compile(r"#[A-Za-z0-9_]+\Z"), re.compile(r":[A-Za-z0-9_]+\Z")


class Expressions:
    """The expressions of one request, parsed; `finish` refuses placeholders that none of them used."""

    def __init__(self, req: Members, expressions: Sequence[str], legacies: Sequence[str]) -> None:
        """`expressions` and `legacies`: the members by which the operation takes either kind."""
        self._req = req
        given = [name for name in expressions if req.get(name) is not None]
        old = [name for name in legacies if req.get(name) is not None]
        if old:
            if given:
                raise messages.mixed(given, old)
            if "ConditionalOperator" in old and old == ["ConditionalOperator"]:
                raise messages.invalid("ConditionalOperator cannot be used without Filter or Expected")
        names, replaced = req.get("ExpressionAttributeNames"), req.get("ExpressionAttributeValues")
        if names is None and replaced is None:
            self._known = Placeholders(None, None)
        else:
            _check_placeholders(names, replaced, given, expressions)
            self._known = Placeholders(names, _normal_values(replaced) if replaced else None)

    def condition(self, member: str = "ConditionExpression") -> Call | None:
        text = self._req.get(member)
        if text is None:
            return None
        try:
            return parse_condition(text, self._known)
        except BadExpression as error:
            raise bad(member, error) from None

    def update(self) -> Update | None:
        text = self._req.get("UpdateExpression")
        if text is None:
            return None
        try:
            return parse_update(text, self._known)
        except BadExpression as error:
            raise bad("UpdateExpression", error) from None

    def projection(self) -> list[Path] | None:
        text = self._req.get("ProjectionExpression")
        if text is None:
            return legacy.projection(self._req)
        try:
            return parse_projection(text, self._known)
        except BadExpression as error:
            raise bad("ProjectionExpression", error) from None

    def finish(self) -> None:
        names, replaced = self._known.unused()
        if names:
            raise messages.invalid(
                f"Value provided in ExpressionAttributeNames unused in expressions: keys: {{{', '.join(names)}}}"
            )
        if replaced:
            raise messages.invalid(
                f"Value provided in ExpressionAttributeValues unused in expressions: keys: {{{', '.join(replaced)}}}"
            )


def bad(member: str, error: BadExpression) -> ServiceError:
    return messages.invalid(f"Invalid {member}: {error}")


def _check_placeholders(
    names: Mapping[str, str] | None,
    replaced: Mapping[str, Any] | None,
    given: Sequence[str],
    expressions: Sequence[str],
) -> None:
    if names is not None:
        if not given:
            raise messages.invalid("ExpressionAttributeNames can only be specified when using expressions")
        if not names:
            raise messages.invalid("ExpressionAttributeNames must not be empty")
        for name in names:
            if not _NAME.match(name):
                told = f'ExpressionAttributeNames contains invalid key: Syntax error; key: "{name}"'
                raise messages.invalid(told)
            if not 0 < len(names[name]) <= limits.NAME_LENGTH_MAX.value:
                raise messages.bad_attribute_name(names[name])
    if replaced is not None:
        able = [name for name in expressions if name != "ProjectionExpression"]
        if not any(name in given for name in able):
            verb = "is" if len(able) == 1 else "are"
            told = (
                f"ExpressionAttributeValues can only be specified when using expressions: {' and '.join(able)} {verb}"
            )
            raise messages.invalid(f"{told} null")
        if not replaced:
            raise messages.invalid("ExpressionAttributeValues must not be empty")
        for name in replaced:
            if not _VALUE.match(name):
                told = f'ExpressionAttributeValues contains invalid key: Syntax error; key: "{name}"'
                raise messages.invalid(told)


def _normal_values(replaced: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in replaced.items():
        try:
            found[name] = values.normal(value)
        except BadExpression as error:
            told = f"ExpressionAttributeValues contains invalid value: {error} for key {name}"
            raise messages.invalid(told) from None
    return found
