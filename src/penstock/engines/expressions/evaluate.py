"""Trees over items: whether a condition holds, what an update makes of an item. Pure.

An item is a dict of attribute values as DynamoDB's API has them: {"S": "x"}, {"N": "1"}, {"M": {...}}. What is given
is never changed: an update copies what lies on the way to its paths.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from penstock.engines.expressions import numbers
from penstock.engines.expressions.errors import BadExpression
from penstock.engines.expressions.numbers import number_text, parse_number
from penstock.engines.expressions.trees import Call, Literal, Path, Update
from penstock.engines.expressions.values import SETS as _SETS
from penstock.engines.expressions.values import Item, Value, compare, kind_of, ordered_set

__all__ = ["number_text", "parse_number"]


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
    if any(value is None and isinstance(argument, Call) for value, argument in zip(values, arguments, strict=True)):
        return False  # what has no size compares with nothing
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
        # DynamoDB counts as Java does: what lies beyond the basic plane counts twice.
        return len(content) if content.isascii() else len(content.encode("utf-16-le")) // 2
    return len(content) if kind in ("B", "M", "L", *_SETS) else None


def equals(one: Value, other: Value) -> bool:
    if one == other:
        return True
    kind = kind_of(one)
    if kind in ("S", "BOOL", "NULL") or kind != kind_of(other):
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


def _test(wanted: tuple[int, ...]) -> Any:
    return lambda one, other: compare(one, other) in wanted


def _between(value: Value, low: Value, high: Value) -> bool:
    return compare(value, low) in (0, 1) and compare(value, high) in (-1, 0)


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
    """The parts of an item at the paths. Elements of a list come together in order, without gaps."""
    tree: dict[str | int, Any] = {}
    for path in paths:
        node = tree
        for step in path.steps[:-1]:
            node = node.setdefault(step, {})
        node[path.steps[-1]] = None
    return _part_of_map(item, tree)


def _part_of_map(members: Mapping[str, Any], tree: Mapping[str | int, Any]) -> Item:
    found: Item = {}
    for step, inner in tree.items():
        value = members.get(step) if isinstance(step, str) else None
        part = _part(value, inner) if value is not None else None
        if part is not None:
            found[str(step)] = part
    return found


def _part(value: Value, tree: Mapping[str | int, Any] | None) -> Value | None:
    if tree is None:
        return value
    if "M" in value:
        members = _part_of_map(value["M"], tree)
        return {"M": members} if members else None
    if "L" in value:
        content = value["L"]
        indexes = sorted(step for step in tree if isinstance(step, int) and step < len(content))
        parts = [_part(content[index], tree[index]) for index in indexes]
        kept = [part for part in parts if part is not None]
        return {"L": kept} if kept else None
    return None


class Refused(BadExpression):
    """The expression is right, but not for this item; the message needs no name before it."""


def apply(update: Update, item: Mapping[str, Any]) -> Item:
    """The item after the update; every value is read from the item before it. Raises Refused, BadExpression."""
    after: Item = dict(item)
    for path, tree in sorted(update.sets, key=_last_index) if len(update.sets) > 1 else update.sets:
        _write(after, path.steps, _value_of(tree, item))
    for path, literal in update.adds:
        _write(after, path.steps, _added(get(after, path), literal.value))
    gone = list(update.removes)
    for path, literal in update.deletes:
        known = get(after, path)
        if known is None:
            if len(path.steps) > 1 and _parent(after, path.steps) is None:
                raise _bad_path()
            continue
        left = _without(known, literal.value)
        if left is None:
            gone.append(path)
        else:
            _write(after, path.steps, left)
    for path in sorted(gone, key=_removal_order, reverse=True):
        _remove(after, path)
    return after


def _last_index(pair: tuple[Path, Any]) -> int:
    """Elements that lie beyond a list's end are appended in order of their indexes."""
    last = pair[0].steps[-1]
    return last if isinstance(last, int) else -1


def _removal_order(path: Path) -> list[tuple[int, int, str]]:
    """Indexes are those from before the update, so the highest goes first."""
    return [(1, step, "") if isinstance(step, int) else (0, 0, step) for step in path.steps]


def _value_of(tree: Any, item: Mapping[str, Any]) -> Value:
    if isinstance(tree, Literal):
        return tree.value
    if isinstance(tree, Path):
        value = get(item, tree)
        if value is None:
            raise Refused("The provided expression refers to an attribute that does not exist in the item")
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
    work = numbers.add if tree.name == "+" else numbers.subtract
    return {"N": work(left["N"], right["N"])}


def _added(known: Value | None, value: Value) -> Value:
    kind = kind_of(value)
    if known is None:
        return value
    if kind_of(known) != kind:
        raise _wrong_type()
    if kind == "N":
        return {"N": numbers.add(known["N"], value["N"])}
    if kind == "L":
        return {"L": [*known["L"], *value["L"]]}
    return {kind: ordered_set(kind, {*known[kind], *value[kind]})}


def _without(known: Value, value: Value) -> Value | None:
    """What is left of a set; None where nothing is."""
    kind = kind_of(value)
    if kind_of(known) != kind:
        raise _wrong_type()
    left = [one for one in known[kind] if one not in value[kind]]
    return {kind: left} if left else None


def _wrong_type() -> Refused:
    return Refused("An operand in the update expression has an incorrect data type")


def _bad_path() -> Refused:
    return Refused("The document path provided in the update expression is invalid for update")


def _parent(item: Item, steps: tuple[str | int, ...]) -> Any:
    """The map or list that holds the last step, copied with all on the way to it; None where the way isn't there."""
    node: Any = item
    for step, following in zip(steps, steps[1:], strict=False):
        if isinstance(node, list):
            value = node[step] if isinstance(step, int) and step < len(node) else None
        else:
            value = node.get(step)
        kind = "L" if isinstance(following, int) else "M"
        if value is None or kind not in value:
            return None
        child = value[kind].copy()
        node[step] = {kind: child}
        node = child
    return node


def _write(item: Item, steps: tuple[str | int, ...], value: Value) -> None:
    parent, last = _parent(item, steps), steps[-1]
    if parent is None:
        raise _bad_path()
    if isinstance(parent, list):
        assert isinstance(last, int)
        if last < len(parent):
            parent[last] = value
        else:
            parent.append(value)
    else:
        parent[last] = value


def _remove(item: Item, path: Path) -> None:
    parent, last = _parent(item, path.steps), path.steps[-1]
    if parent is None:
        raise _bad_path()
    if isinstance(parent, list):
        if isinstance(last, int) and last < len(parent):
            del parent[last]
    else:
        parent.pop(last, None)
