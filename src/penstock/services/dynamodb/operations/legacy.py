"""Parameters from before there were expressions, as the trees that expressions become.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/LegacyConditionalParameters.html
"""

from collections.abc import Mapping
from typing import Any

from penstock.engines.expressions import values
from penstock.engines.expressions.errors import BadExpression
from penstock.engines.expressions.trees import Call, Literal, Path, Update
from penstock.engines.expressions.values import SETS, compare, kind_of
from penstock.services.dynamodb import messages
from penstock.services.dynamodb.operations.key_conditions import KeyCondition

Members = Mapping[str, Any]
_COMPARATORS = {"EQ": "=", "NE": "<>", "LE": "<=", "LT": "<", "GE": ">=", "GT": ">"}
_COUNTS = {"NULL": 0, "NOT_NULL": 0, "BETWEEN": 2}


def projection(req: Members) -> list[Path] | None:
    names = req.get("AttributesToGet")
    if names is None:
        return None
    for name in names:
        if names.count(name) > 1:
            raise messages.wrong(f"Duplicate value in attribute name: {name}")
    return [Path((name,)) for name in names]


def expected(req: Members) -> Call | None:
    """What PutItem, UpdateItem and DeleteItem expect, as a condition."""
    check_operator(req, "Expected")
    if req.get("Expected") is None:
        return None
    return _joined(req, [_expectation(name, one) for name, one in req["Expected"].items()])


def check_operator(req: Members, member: str) -> None:
    """Raises ValidationException for a ConditionalOperator that has nothing to join."""
    if req.get("ConditionalOperator") is None:
        return
    if not req.get(member):
        raise messages.invalid("ConditionalOperator cannot be used without Filter or Expected")
    if len(req[member]) == 1:
        raise messages.invalid("ConditionalOperator can only be used when Filter or Expected has two or more elements")


def _expectation(name: str, one: Members) -> Call:
    operator = one.get("ComparisonOperator")
    if operator is not None:
        if one.get("Exists") is not None:
            raise messages.wrong(f"Exists and ComparisonOperator cannot be used together for Attribute: {name}")
        if one.get("Value") is not None and one.get("AttributeValueList") is not None:
            raise messages.wrong(f"Value and AttributeValueList cannot be used together for Attribute: {name}")
        has_value = one.get("Value") is not None or one.get("AttributeValueList") is not None
        if not has_value and operator not in ("NULL", "NOT_NULL"):
            raise messages.wrong(
                f"Value or AttributeValueList must be used with ComparisonOperator: {operator} for Attribute: {name}"
            )
        return comparison(name, one)
    if one.get("AttributeValueList") is not None:
        raise messages.wrong(f"AttributeValueList can only be used with a ComparisonOperator for Attribute: {name}")
    if one.get("Exists") is False:
        if one.get("Value") is not None:
            raise messages.wrong(f"Value cannot be used when Exists is false for Attribute: {name}")
        return Call("attribute_not_exists", (Path((name,)),))
    if one.get("Value") is None:
        told = "Value must be provided when Exists is {} for Attribute: {}"
        raise messages.wrong(told.format("true" if one.get("Exists") else "null", name))
    return Call("=", (Path((name,)), Literal(_normal(one["Value"]))))


def filter_of(req: Members, member: str) -> Call | None:
    """QueryFilter or ScanFilter as a condition."""
    check_operator(req, member)
    if not req.get(member):
        return None
    return _joined(req, [comparison(name, one) for name, one in req[member].items()])


def _joined(req: Members, calls: list[Call]) -> Call | None:
    how: str = req.get("ConditionalOperator") or "AND"
    tree: Call | None = None
    for call in calls:
        tree = call if tree is None else Call(how, (tree, call))
    return tree


def comparison(name: str, one: Members) -> Call:
    """Raises ValidationException for the wrong number or kind of values."""
    operator: str = one["ComparisonOperator"]
    path = Path((name,))
    given = one.get("AttributeValueList")
    literals = [Literal(_normal(value)) for value in (given if given is not None else [one.get("Value")]) if value]
    wanted = _COUNTS.get(operator, 1)
    if len(literals) != wanted and not (operator == "IN" and literals):
        raise messages.wrong(f"Invalid number of argument(s) for the {operator} ComparisonOperator")
    if operator in ("LE", "LT", "GE", "GT", "BETWEEN", "BEGINS_WITH", "CONTAINS", "NOT_CONTAINS", "IN"):
        _check_kinds(operator, literals)
    if operator in _COMPARATORS:
        return Call(_COMPARATORS[operator], (path, literals[0]))
    if operator == "NULL":
        return Call("attribute_not_exists", (path,))
    if operator == "NOT_NULL":
        return Call("attribute_exists", (path,))
    if operator == "NOT_CONTAINS":
        is_there = Call("attribute_exists", (path,))
        return Call("AND", (is_there, Call("NOT", (Call("contains", (path, literals[0])),))))
    return Call({"CONTAINS": "contains", "BEGINS_WITH": "begins_with"}.get(operator, operator), (path, *literals))


def _check_kinds(operator: str, literals: list[Literal]) -> None:
    allowed = ("S", "B") if operator == "BEGINS_WITH" else ("S", "N", "B")
    for literal in literals:
        if kind_of(literal.value) not in allowed:
            raise messages.wrong(
                f"ComparisonOperator {operator} is not valid for {kind_of(literal.value)} AttributeValue type"
            )
    if len({kind_of(literal.value) for literal in literals}) > 1:
        raise messages.wrong("AttributeValues inside AttributeValueList must all be of the same type")
    if operator == "BETWEEN" and compare(literals[0].value, literals[1].value) == 1:
        raise messages.invalid(
            "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound"
        )


def updates(req: Members) -> Update | None:
    """AttributeUpdates as the clauses of an update expression."""
    if req.get("AttributeUpdates") is None:
        return None
    update = Update()
    for name, one in req["AttributeUpdates"].items():
        path, action, value = Path((name,)), one.get("Action") or "PUT", one.get("Value")
        if value is None:
            if action != "DELETE":
                raise messages.wrong("Only DELETE action is allowed when no attribute value is specified")
            update.removes.append(path)
            continue
        literal = Literal(_normal(value))
        kind = kind_of(literal.value)
        if action == "PUT":
            update.sets.append((path, literal))
        elif action == "ADD":
            if kind not in ("N", "L", *SETS):
                raise messages.wrong(f"ADD action is not supported for the type {kind}")
            update.adds.append((path, literal))
        else:
            if kind not in SETS:
                raise messages.wrong(f"DELETE action with value is not supported for the type {kind}")
            update.deletes.append((path, literal))
    return update


def key_conditions(req: Members) -> dict[str, KeyCondition]:
    given = req["KeyConditions"]
    if not 1 <= len(given) <= 2:
        raise messages.invalid("Conditions can be of length 1 or 2 only")
    found = {}
    for name, one in given.items():
        if one["ComparisonOperator"] not in ("EQ", "LE", "LT", "GE", "GT", "BEGINS_WITH", "BETWEEN"):
            raise messages.invalid("Attempted conditional constraint is not an indexable operation")
        call = comparison(name, one)
        found[name] = KeyCondition(call.name, tuple(literal.value for literal in call.arguments[1:]))
    return found


def _normal(value: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return values.normal(value)
    except BadExpression as error:
        raise messages.invalid(str(error)) from None
