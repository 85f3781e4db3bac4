"""Text to trees: condition, filter, key condition, projection and update expressions. Pure.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEPTH_MAX = 50
_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*|#[A-Za-z0-9_]+)|(?P<value>:[A-Za-z0-9_]+)|(?P<int>\d+)|(?P<op><>|<=|>=|[=<>(),.\[\]+-]))"
)
_COMPARATORS = ("=", "<>", "<", "<=", ">", ">=")
_CONDITIONS = {"attribute_exists": 1, "attribute_not_exists": 1, "attribute_type": 2, "begins_with": 2, "contains": 2}


class BadExpression(ValueError):
    """Why an expression isn't one; the caller says which expression it was."""


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


class _Parser:
    def __init__(self, text: str, known: Placeholders) -> None:
        self._known = known
        self._tokens: list[tuple[str, str]] = []
        self._at = 0
        position, end = 0, len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None:
                near = text[max(0, position - 5) : position + 10].strip()
                raise BadExpression(f'Syntax error; token: "{text[position:].strip()[:1]}", near: "{near}"')
            self._tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
            position = match.end()
        if not self._tokens:
            raise BadExpression("The expression can not be empty;")

    def is_at_end(self) -> bool:
        return self._at >= len(self._tokens)

    def finish(self) -> None:
        """Raises BadExpression for what is left."""
        if not self.is_at_end():
            raise self.wrong()

    def peek(self, ahead: int = 0) -> tuple[str, str]:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else ("end", "<EOF>")

    def take(self) -> tuple[str, str]:
        token = self.peek()
        self._at += 1
        return token

    def wrong(self) -> BadExpression:
        near = " ".join(text for _, text in self._tokens[max(0, self._at - 1) : self._at + 2])
        return BadExpression(f'Syntax error; token: "{self.peek()[1]}", near: "{near}"')

    def is_word(self, word: str) -> bool:
        kind, text = self.peek()
        return kind == "name" and text.upper() == word

    def accept(self, text: str) -> bool:
        if self.peek() == ("op", text):
            self._at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.wrong()

    def accept_word(self, word: str) -> bool:
        if self.is_word(word):
            self._at += 1
            return True
        return False

    def condition(self, depth: int = 0) -> Call:
        if depth > DEPTH_MAX:
            raise BadExpression("The expression is nested too deeply")
        left = self._and(depth)
        while self.accept_word("OR"):
            left = Call("OR", (left, self._and(depth)))
        return left

    def _and(self, depth: int) -> Call:
        left = self._not(depth)
        while self.accept_word("AND"):
            left = Call("AND", (left, self._not(depth)))
        return left

    def _not(self, depth: int) -> Call:
        if self.accept_word("NOT"):
            return Call("NOT", (self._not(depth + 1),))
        if self.peek() == ("op", "("):
            self.take()
            inner = self.condition(depth + 1)
            self.expect(")")
            return inner
        kind, text = self.peek()
        if kind == "name" and text.lower() in _CONDITIONS and self.peek(1) == ("op", "("):
            return self._function(_CONDITIONS[text.lower()])
        return self._comparison()

    def _comparison(self) -> Call:
        left = self.operand()
        kind, text = self.take()
        if kind == "op" and text in _COMPARATORS:
            return Call(text, (left, self.operand()))
        if text.upper() == "BETWEEN":
            low = self.operand()
            if not self.accept_word("AND"):
                raise self.wrong()
            return Call("BETWEEN", (left, low, self.operand()))
        if text.upper() == "IN":
            self.expect("(")
            options = [self.operand()]
            while self.accept(","):
                options.append(self.operand())
            self.expect(")")
            return Call("IN", (left, *options))
        self._at -= 1
        raise self.wrong()

    def _function(self, count: int) -> Call:
        name = self.take()[1].lower()
        self.expect("(")
        arguments = [self.operand()]
        while self.accept(","):
            arguments.append(self.operand())
        self.expect(")")
        if len(arguments) != count:
            raise BadExpression(
                "Incorrect number of operands for operator or function; operator or function: "
                f"{name}, number of operands: {len(arguments)}"
            )
        return Call(name, tuple(arguments))

    def operand(self) -> Any:
        kind, text = self.peek()
        if kind == "value":
            self.take()
            return self._known.value(text)
        if kind == "name" and text.lower() in ("size", "if_not_exists", "list_append") and self.peek(1) == ("op", "("):
            return self._function(1 if text.lower() == "size" else 2)
        return self.path()

    def path(self) -> Path:
        kind, text = self.take()
        if kind != "name":
            self._at -= 1
            raise self.wrong()
        steps: list[str | int] = [self._known.name(text)]
        while True:
            if self.accept("."):
                kind, text = self.take()
                if kind != "name":
                    self._at -= 1
                    raise self.wrong()
                steps.append(self._known.name(text))
            elif self.peek() == ("op", "[") and self.peek(1)[0] == "int":
                self.take()
                steps.append(int(self.take()[1]))
                self.expect("]")
            else:
                return Path(tuple(steps))

    def paths(self) -> list[Path]:
        found = [self.path()]
        while self.accept(","):
            found.append(self.path())
        return found

    def update(self) -> Update:
        update, seen = Update(), set[str]()
        while not self.is_at_end():
            word = self.take()[1].upper()
            if word not in ("SET", "REMOVE", "ADD", "DELETE"):
                self._at -= 1
                raise self.wrong()
            if word in seen:
                raise BadExpression(f'The "{word}" section can only be used once in an update expression;')
            seen.add(word)
            self._clause(word, update)
            while self.accept(","):
                self._clause(word, update)
        _check_overlap(update.paths)
        return update

    def _clause(self, word: str, update: Update) -> None:
        path = self.path()
        if word == "REMOVE":
            update.removes.append(path)
        elif word == "SET":
            self.expect("=")
            value = self.operand()
            if self.peek() in (("op", "+"), ("op", "-")):
                value = Call(self.take()[1], (value, self.operand()))
            update.sets.append((path, value))
        else:
            kind, text = self.take()
            if kind != "value":
                self._at -= 1
                raise self.wrong()
            (update.adds if word == "ADD" else update.deletes).append((path, self._known.value(text)))


def parse_condition(text: str, known: Placeholders) -> Call:
    """A condition, filter or key condition. Raises BadExpression."""
    parser = _Parser(text, known)
    tree = parser.condition()
    parser.finish()
    return tree


def parse_projection(text: str, known: Placeholders) -> list[Path]:
    parser = _Parser(text, known)
    found = parser.paths()
    parser.finish()
    _check_overlap(found)
    return found


def parse_update(text: str, known: Placeholders) -> Update:
    parser = _Parser(text, known)
    update = parser.update()
    parser.finish()
    return update


def _check_overlap(paths: list[Path]) -> None:
    for index, one in enumerate(paths):
        for other in paths[index + 1 :]:
            size = min(len(one.steps), len(other.steps))
            if one.steps[:size] == other.steps[:size]:
                raise BadExpression(
                    f"Two document paths overlap with each other; must remove or rewrite one of these paths; path one: "
                    f"{_shown(one)}, path two: {_shown(other)}"
                )


def _shown(path: Path) -> str:
    return "[" + ", ".join(f"[{step}]" if isinstance(step, int) else step for step in path.steps) + "]"
