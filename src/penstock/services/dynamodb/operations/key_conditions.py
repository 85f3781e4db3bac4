"""Which items a Query wants: conditions on the keys, and the range of the store that they name.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.KeyConditionExpressions.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.engines.expressions.errors import BadExpression
from penstock.engines.expressions.evaluate import holds
from penstock.engines.expressions.trees import Call, Literal, Path
from penstock.engines.expressions.values import kind_of
from penstock.services.dynamodb import messages, state
from penstock.services.dynamodb.state import Schema
from penstock.storage.transactions import Key

_FLIPPED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_OPERATORS = (*_FLIPPED, "BETWEEN", "begins_with")
_NESTED = "KeyConditionExpressions cannot contain nested operations"
_SURROGATES = (0xD800, 0xDFFF)
_LAST_CODE_POINT = 0x10FFFF


@dataclass(frozen=True, slots=True)
class KeyCondition:
    """What is said of one key attribute, the attribute on the left."""

    operator: str
    values: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Store keys below a table's or an index's prefix: all begin with `head`, and lie in [begin, end) if given.

    partition   the partition key's values by name; sort: what the sort key must fulfil, if anything
    """

    head: Key
    begin: Key | None
    end: Key | None
    partition: Mapping[str, Any]
    sort: Call | None

    def check_start(self, start: Mapping[str, Any]) -> None:
        """Raises ValidationException for a starting key that the Query can't have come to."""
        if any(start[name] != value for name, value in self.partition.items()):
            raise messages.invalid("The provided starting key is outside query boundaries based on provided conditions")
        if self.sort is not None and not holds(self.sort, start):
            raise messages.invalid("The provided starting key does not match the range key predicate")


def conditions_of(tree: Call) -> dict[str, KeyCondition]:
    """By attribute. Raises BadExpression for what can't be a key condition."""
    found: dict[str, KeyCondition] = {}
    waiting = [tree]
    while waiting:
        call = waiting.pop(0)
        if call.name == "AND":
            waiting[:0] = call.arguments
            continue
        if call.name not in _OPERATORS:
            raise BadExpression(f"Invalid operator used in KeyConditionExpression: {call.name}")
        name, condition = _one(call)
        if name in found:
            raise BadExpression("KeyConditionExpressions must only contain one condition per key")
        found[name] = condition
    return found


def _one(call: Call) -> tuple[str, KeyCondition]:
    arguments = call.arguments
    if any(isinstance(argument, Call) for argument in arguments):
        raise BadExpression(_NESTED)
    paths = [argument for argument in arguments if isinstance(argument, Path)]
    told = "Invalid condition in KeyConditionExpression: "
    if not paths:
        raise BadExpression(f"{told}No key attribute specified")
    if len(paths) > 1:
        raise BadExpression(f"{told}Multiple attribute names used in one condition")
    if len(paths[0].steps) > 1:
        raise BadExpression("KeyConditionExpressions cannot have conditions on nested attributes")
    values = tuple(argument.value for argument in arguments if isinstance(argument, Literal))
    operator = call.name
    if not isinstance(arguments[0], Path):
        if operator not in _FLIPPED:
            raise BadExpression(f"{told}{operator} operator must have the key attribute as its first operand")
        operator = _FLIPPED[operator]
    return str(paths[0].steps[0]), KeyCondition(operator, values)


def range_of(schema: Schema, types: Mapping[str, str], conditions: Mapping[str, KeyCondition]) -> KeyRange:
    """Raises ValidationException for conditions that don't fit the keys."""
    names = schema.names
    if len(conditions) > max(2, len(names)):
        raise messages.invalid("Conditions can be of length 1 or 2 only")
    for name in schema.hash:
        if name not in conditions:
            raise messages.invalid(f"Query condition missed key schema element: {name}")
    given = [name for name in schema.range if name in conditions]
    if len(given) + len(schema.hash) != len(conditions) or given != schema.range[: len(given)]:
        missing = next((name for name in schema.range if name not in conditions), None)
        if missing is None:
            raise messages.invalid("Query key condition not supported")
        raise messages.invalid(f"Query condition missed key schema element: {missing}")
    for name in [*schema.hash, *given[:-1]]:
        if conditions[name].operator != "=":
            raise messages.invalid("Query key condition not supported")
    for name in [*schema.hash, *given]:
        _check_values(name, types[name], conditions[name])
    equal = [name for name in given if conditions[name].operator == "="]
    partition = {name: conditions[name].values[0] for name in schema.hash}
    head = state.item_key(Schema(schema.hash, equal), {n: conditions[n].values[0] for n in [*schema.hash, *equal]})
    if not given:
        return KeyRange(head, None, None, partition, None)
    last = given[-1]
    sort = Call(conditions[last].operator, (Path((last,)), *map(Literal, conditions[last].values)))
    begin, end = (None, None) if last in equal else _bounds(head, conditions[last])
    return KeyRange(head, begin, end, partition, sort)


def _check_values(name: str, kind: str, condition: KeyCondition) -> None:
    for value in condition.values:
        if kind_of(value) != kind or (condition.operator == "begins_with" and kind == "N"):
            raise messages.wrong("Condition parameter type does not match schema type")
        if kind != "N" and not value[kind] and condition.operator != "begins_with":
            raise messages.empty_key(name, kind)


def _bounds(head: Key, condition: KeyCondition) -> tuple[Key | None, Key | None]:
    """True sorts after whatever may follow a key part, so (part, True) lies behind all that begins with it."""
    parts = [state.key_part(value) for value in condition.values]
    operator = condition.operator
    if operator == "BETWEEN":
        return (*head, parts[0]), (*head, parts[1], True)
    if operator == "begins_with":
        following = _following(parts[0])
        return (*head, parts[0]), (*head, following) if following is not None else None
    if operator in ("<", "<="):
        return None, (*head, parts[0]) if operator == "<" else (*head, parts[0], True)
    return ((*head, parts[0]) if operator == ">=" else (*head, parts[0], True)), None


def _following(part: str | bytes) -> str | bytes | None:
    """The first text or bytes after all that begin with `part`; None where there is none."""
    if isinstance(part, bytes):
        rest = part.rstrip(b"\xff")
        return rest[:-1] + bytes((rest[-1] + 1,)) if rest else None
    text = part.rstrip(chr(_LAST_CODE_POINT))
    if not text:
        return None
    code = ord(text[-1]) + 1
    return text[:-1] + chr(_SURROGATES[1] + 1 if _SURROGATES[0] <= code <= _SURROGATES[1] else code)
