"""What expressions are once parsed, and what can be told of an operand before there is an item. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.engines.expressions.errors import BadExpression
from penstock.engines.expressions.values import SETS, compare, kind_of, shown

COMPARATORS = ("=", "<>", "<", "<=", ">", ">=")
TYPES = ("B", "NULL", "SS", "BOOL", "L", "BS", "N", "NS", "S", "M")


@dataclass(frozen=True)
class Path:
    """A document path: names and list indexes."""

    steps: tuple[str | int, ...]


@dataclass(frozen=True)
class Literal:
    """The value that a placeholder stands for."""

    value: Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """A function, a comparison (its operator), BETWEEN, IN, AND, OR or NOT."""

    name: str
    arguments: tuple[Any, ...]


@dataclass
class Update:
    """The clauses of an update expression."""

    sets: list[tuple[Path, Any]] = field(default_factory=list)
    removes: list[Path] = field(default_factory=list)
    adds: list[tuple[Path, Literal]] = field(default_factory=list)
    deletes: list[tuple[Path, Literal]] = field(default_factory=list)

    @property
    def paths(self) -> list[Path]:
        return [path for path, _ in self.sets + self.adds + self.deletes] + self.removes


def paths_of(tree: Any) -> Iterator[Path]:
    """Every document path that a condition reads, from left to right."""
    if isinstance(tree, Path):
        yield tree
    elif isinstance(tree, Call):
        for argument in tree.arguments:
            yield from paths_of(argument)


class Placeholders:
    """What #names and :values stand for; notes which were used."""

    def __init__(self, names: Mapping[str, str] | None, values: Mapping[str, Mapping[str, Any]] | None) -> None:
        self._names, self._values = names or {}, values or {}
        self.used: set[str] = set()

    def name(self, text: str) -> str:
        if not text.startswith("#"):
            return text
        if text not in self._names:
            raise BadExpression(
                f"An expression attribute name used in the document path is not defined; attribute name: {text}"
            )
        self.used.add(text)
        return self._names[text]

    def value(self, text: str) -> Literal:
        if text not in self._values:
            raise BadExpression(
                f"An expression attribute value used in expression is not defined; attribute value: {text}"
            )
        self.used.add(text)
        return Literal(self._values[text])

    def unused(self) -> tuple[list[str], list[str]]:
        """Names and values that no expression used."""
        return [n for n in self._names if n not in self.used], [v for v in self._values if v not in self.used]


def checked(call: Call) -> Call:
    """The call, if its operands can be right. Raises BadExpression."""
    name, arguments = call.name, call.arguments
    if name in ("attribute_exists", "attribute_not_exists", "if_not_exists") and not isinstance(arguments[0], Path):
        raise BadExpression(f"Operator or function requires a document path; operator or function: {name}")
    if name == "size" and isinstance(arguments[0], Call):
        raise BadExpression(
            "Incorrect operand type for operator or function; operator or function: size, operand type: N"
        )
    if name in _ALLOWED:
        for index, argument in enumerate(arguments):
            if isinstance(argument, Literal) and kind_of(argument.value) not in _ALLOWED[name][min(index, 1)]:
                raise BadExpression(
                    "Incorrect operand type for operator or function; operator or function: "
                    f"{name}, operand type: {kind_of(argument.value)}"
                )
    if name == "attribute_type" and isinstance(arguments[1], Literal) and arguments[1].value["S"] not in TYPES:
        raise BadExpression(
            f"Invalid attribute type name found; type: {arguments[1].value['S']}, valid types: {{{','.join(TYPES)}}}"
        )
    if name == "BETWEEN" and isinstance(arguments[1], Literal) and isinstance(arguments[2], Literal):
        _check_bounds(arguments[1].value, arguments[2].value)
    is_path = isinstance(arguments[0], Path) and name in (*COMPARATORS, "begins_with", "contains")
    if is_path and arguments[0] == arguments[1]:
        raise BadExpression(
            "The first operand must be distinct from the remaining operands for this operator or function; "
            f"operator: {name}, first operand: {shown_path(arguments[0])}"
        )
    return call


def _check_bounds(low: Mapping[str, Any], high: Mapping[str, Any]) -> None:
    told = f"lower bound operand: AttributeValue: {shown(low)}, upper bound operand: AttributeValue: {shown(high)}"
    if kind_of(low) != kind_of(high):
        raise BadExpression(f"The BETWEEN operator requires same data type for lower and upper bounds; {told}")
    if compare(low, high) == 1:
        raise BadExpression(
            f"The BETWEEN operator requires upper bound to be greater than or equal to lower bound; {told}"
        )


_ORDERED = ("S", "N", "B")
_ALLOWED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "<": (_ORDERED, _ORDERED),
    "<=": (_ORDERED, _ORDERED),
    ">": (_ORDERED, _ORDERED),
    ">=": (_ORDERED, _ORDERED),
    "BETWEEN": (_ORDERED, _ORDERED),
    "begins_with": (("S", "B"), ("S", "B")),
    "attribute_type": (TYPES, ("S",)),
    "size": (("S", "B", "L", "M", *SETS), ()),
    "list_append": (("L",), ("L",)),
    "+": (("N",), ("N",)),
    "-": (("N",), ("N",)),
}


def shown_path(path: Path) -> str:
    """As AWS prints it: [list, [0], name]."""
    return "[" + ", ".join(f"[{step}]" if isinstance(step, int) else step for step in path.steps) + "]"
