"""Trees over items: whether a condition holds, what an update makes of an item. Pure.

An item is a dict of attribute values as DynamoDB's API has them: {"S": "x"}, {"N": "1"}, {"M": {...}}.
"""

import copy
from collections.abc import Mapping
from decimal import Context, Decimal, InvalidOperation
from typing import Any

from penstock.engines.expressions.parser import BadExpression, Call, Literal, Path, Update

Value = Mapping[str, Any]
Item = dict[str, Any]
DIGITS_MAX = 38
_NUMBERS = Context(prec=60)
_SETS = ("SS", "NS", "BS")


def number_text(value: Decimal) -> str:
    """A number as DynamoDB answers it: plain digits, no trailing zeros."""
    if value == 0:
        return "0"
    return format(value.normalize(_NUMBERS), "f")


def parse_number(text: str) -> Decimal:
    """Raises BadExpression for what is no number, or has more than 38 digits."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise BadExpression("The parameter cannot be converted to a numeric value") from None
    if not value.is_finite():
        raise BadExpression("The parameter cannot be converted to a numeric value")
    if len(value.normalize(_NUMBERS).as_tuple().digits) > DIGITS_MAX:
        raise BadExpression("Attempting to store more than 38 significant digits in a Number")
    return value


def kind_of(value: Value) -> str:
    return next(iter(value))


def get(item: Mapping[str, Any], path: Path) -> Value | None:
    """The value at a path, or None."""
    node: Any = {"M": item}
    for step in path.steps:
        if isinstance(step, str):
            node = node.get("M", {}).get(step) if isinstance(node, Mapping) else None
        else:
            members = node.get("L") if isinstance(node, Mapping) else None
            node = members[step] if members is not None and step < len(members) else None
        if node is None:
            return None
    found: Value = node
    return found


def holds(tree: Call, item: Mapping[str, Any]) -> bool:
    name, arguments = tree.name, tree.arguments
    if name == "AND":
        return holds(arguments[0], item) and holds(arguments[1], item)
    if name == "OR":
        return holds(arguments[0], item) or holds(arguments[1], item)
    if name == "NOT":
        return not holds(arguments[0], item)
    values = [_operand(argument, item) for argument in arguments]
    if name == "attribute_exists":
        return values[0] is not None
    if name == "attribute_not_exists":
        return values[0] is None
    if values[0] is None:
        return name == "<>"
    if name == "IN":
        return any(option is not None and equals(values[0], option) for option in values[1:])
    if any(value is None for value in values):
        return name == "<>"
    return bool(_TESTS[name](*values))


def _operand(argument: Any, item: Mapping[str, Any]) -> Value | None:
    if isinstance(argument, Literal):
        return argument.value
    if isinstance(argument, Path):
        return get(item, argument)
    assert isinstance(argument, Call)
    assert argument.name == "size", f"{argument.name} is no operand of a condition"
    value = _operand(argument.arguments[0], item)
    size = _size(value) if value is not None else None
    return None if size is None else {"N": str(size)}


def _size(value: Value) -> int | None:
    kind, content = kind_of(value), next(iter(value.values()))
    if kind == "S":
        return len(content.encode())
    return len(content) if kind in ("B", "M", "L", *_SETS) else None


def equals(one: Value, other: Value) -> bool:
    kind = kind_of(one)
    if kind != kind_of(other):
        return False
    left, right = one[kind], other[kind]
    if kind == "N":
        return Decimal(left) == Decimal(right)
    if kind == "NS":
        return {Decimal(n) for n in left} == {Decimal(n) for n in right}
    if kind in _SETS:
        return set(left) == set(right)
    if kind == "L":
        return len(left) == len(right) and all(equals(a, b) for a, b in zip(left, right, strict=True))
    if kind == "M":
        return left.keys() == right.keys() and all(equals(left[key], right[key]) for key in left)
    return bool(left == right)


def _compare(one: Value, other: Value) -> int | None:
    kind = kind_of(one)
    if kind != kind_of(other) or kind not in ("S", "N", "B"):
        return None
    left, right = _ordered(one), _ordered(other)
    return int(left > right) - int(left < right)


def _ordered(value: Value) -> Any:
    kind = kind_of(value)
    content = value[kind]
    return Decimal(content) if kind == "N" else content.encode() if kind == "S" else bytes(content)


def _test(wanted: tuple[int, ...]) -> Any:
    return lambda one, other: _compare(one, other) in wanted


def _between(value: Value, low: Value, high: Value) -> bool:
    return _compare(value, low) in (0, 1) and _compare(value, high) in (-1, 0)


def _begins_with(value: Value, head: Value) -> bool:
    kind = kind_of(value)
    return kind == kind_of(head) and kind in ("S", "B") and bool(value[kind].startswith(head[kind]))


def _contains(value: Value, part: Value) -> bool:
    kind, part_kind = kind_of(value), kind_of(part)
    if kind in ("S", "B"):
        return kind == part_kind and part[kind] in value[kind]
    if kind in _SETS:
        return part_kind == kind[0] and any(equals({part_kind: one}, part) for one in value[kind])
    return kind == "L" and any(equals(one, part) for one in value["L"])


_TESTS: Mapping[str, Any] = {
    "=": equals,
    "<>": lambda one, other: not equals(one, other),
    "<": _test((-1,)),
    "<=": _test((-1, 0)),
    ">": _test((1,)),
    ">=": _test((0, 1)),
    "BETWEEN": _between,
    "begins_with": _begins_with,
    "contains": _contains,
    "attribute_type": lambda value, kind: kind_of(value) == kind.get("S"),
}


def project(item: Mapping[str, Any], paths: list[Path]) -> Item:
    """The parts of an item at the paths, in their places."""
    found: Item = {}
    for path in paths:
        value = get(item, path)
        if value is not None:
            _place(found, path.steps, value)
    return found


def _place(target: Item, steps: tuple[str | int, ...], value: Value) -> None:
    node: Any = target
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if following is None:
            leaf: Any = value
        else:
            leaf = {"L": []} if isinstance(following, int) else {"M": {}}
        if isinstance(node, list):
            node.append(leaf)
            child = node[-1]
        else:
            child = node.setdefault(step, leaf)
        node = child.get("M", child.get("L")) if following is not None else None


def apply(update: Update, item: Mapping[str, Any]) -> Item:
    """The item after the update; every value is taken from the item before it. Raises BadExpression."""
    after: Item = copy.deepcopy(dict(item))
    for path, tree in update.sets:
        _write(after, path, _value_of(tree, item))
    for path in sorted(update.removes, key=lambda one: [str(step).zfill(8) for step in one.steps], reverse=True):
        _remove(after, path)
    for path, literal in update.adds:
        _write(after, path, _added(get(after, path), literal.value))
    for path, literal in update.deletes:
        left = _without(get(after, path), literal.value)
        if left is None:
            _remove(after, path)
        else:
            _write(after, path, left)
    return after


def _value_of(tree: Any, item: Mapping[str, Any]) -> Value:
    if isinstance(tree, Literal):
        return tree.value
    if isinstance(tree, Path):
        value = get(item, tree)
        if value is None:
            raise BadExpression("The provided expression refers to an attribute that does not exist in the item")
        return value
    assert isinstance(tree, Call)
    if tree.name == "if_not_exists":
        found = get(item, tree.arguments[0])
        return found if found is not None else _value_of(tree.arguments[1], item)
    left, right = (_value_of(argument, item) for argument in tree.arguments)
    if tree.name == "list_append":
        if kind_of(left) != "L" or kind_of(right) != "L":
            raise _wrong_type()
        return {"L": [*left["L"], *right["L"]]}
    if kind_of(left) != "N" or kind_of(right) != "N":
        raise _wrong_type()
    one, other = Decimal(left["N"]), Decimal(right["N"])
    result = _NUMBERS.add(one, other) if tree.name == "+" else _NUMBERS.subtract(one, other)
    return {"N": number_text(parse_number(str(result)))}


def _added(known: Value | None, value: Value) -> Value:
    kind = kind_of(value)
    if kind != "N" and kind not in _SETS:
        raise BadExpression("Incorrect operand type for operator or function; operator: ADD, operand type: " + kind)
    if known is None:
        return value
    if kind_of(known) != kind:
        raise _wrong_type()
    if kind == "N":
        return {"N": number_text(parse_number(str(_NUMBERS.add(Decimal(known["N"]), Decimal(value["N"])))))}
    return {kind: [*known[kind], *(one for one in value[kind] if one not in known[kind])]}


def _without(known: Value | None, value: Value) -> Value | None:
    """What is left of a set; None where nothing is."""
    kind = kind_of(value)
    if kind not in _SETS:
        raise BadExpression("Incorrect operand type for operator or function; operator: DELETE, operand type: " + kind)
    if known is None:
        return None
    if kind_of(known) != kind:
        raise _wrong_type()
    left = [one for one in known[kind] if one not in value[kind]]
    return {kind: left} if left else None


def _wrong_type() -> BadExpression:
    return BadExpression("An operand in the update expression has an incorrect data type")


def _parent(item: Item, path: Path) -> Any:
    """The map or list that holds the last step; None where the way to it isn't there."""
    if len(path.steps) == 1:
        return item
    node = get(item, Path(path.steps[:-1]))
    if node is None:
        return None
    return node.get("M") if isinstance(path.steps[-1], str) else node.get("L")


def _write(item: Item, path: Path, value: Value) -> None:
    parent, last = _parent(item, path), path.steps[-1]
    if parent is None:
        raise BadExpression("The document path provided in the update expression is invalid for update")
    if isinstance(parent, list):
        assert isinstance(last, int)
        if last < len(parent):
            parent[last] = copy.deepcopy(value)
        else:
            parent.append(copy.deepcopy(value))
    else:
        parent[last] = copy.deepcopy(value)


def _remove(item: Item, path: Path) -> None:
    parent, last = _parent(item, path), path.steps[-1]
    if isinstance(parent, list):
        if isinstance(last, int) and last < len(parent):
            del parent[last]
    elif parent is not None:
        parent.pop(last, None)
