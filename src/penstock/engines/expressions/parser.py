"""Text to trees: condition, filter, key condition, projection and update expressions. Pure.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
"""

import re
from functools import lru_cache
from typing import Any

from penstock.engines.expressions.errors import BadExpression
from penstock.engines.expressions.reserved import RESERVED
from penstock.engines.expressions.trees import (
    COMPARATORS,
    Call,
    Literal,
    Path,
    Placeholders,
    Update,
    checked,
    shown_path,
)
from penstock.engines.expressions.values import SETS, kind_of

__all__ = ["BadExpression", "Call", "Literal", "Path", "Placeholders", "Update"]

DEPTH_MAX = 50
BYTES_MAX = 4096
OPERATORS_MAX = 300
OPTIONS_MAX = 100
_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*|#[A-Za-z0-9_]+)|(?P<value>:[A-Za-z0-9_]+)|(?P<int>\d+)|(?P<op><>|<=|>=|[=<>(),.\[\]+-]))"
)
_WORD = re.compile(r"\s*\w*")
_CONDITIONS = {"attribute_exists": 1, "attribute_not_exists": 1, "attribute_type": 2, "begins_with": 2, "contains": 2}
_OPERANDS = {"size": 1, "if_not_exists": 2, "list_append": 2}
_KIND_NAMES = {
    "S": "STRING",
    "N": "NUMBER",
    "B": "BINARY",
    "BOOL": "BOOLEAN",
    "NULL": "NULL",
    "M": "MAP",
    "L": "LIST",
    "SS": "STRING_SET",
    "NS": "NUMBER_SET",
    "BS": "BINARY_SET",
}


@lru_cache(1024)
def _tokens(text: str) -> tuple[tuple[tuple[str, str], ...], tuple[int, ...]]:
    """The tokens, and where each begins. Raises BadExpression for what no token begins with."""
    if not text.strip():
        raise BadExpression("The expression can not be empty;")
    if len(text.encode()) > BYTES_MAX:
        raise BadExpression(
            f"Expression size has exceeded the maximum allowed size; expression size: {len(text.encode())}"
        )
    tokens: list[tuple[str, str]] = []
    places: list[int] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            wrong = text[position:].lstrip()
            behind = _WORD.match(wrong, 1)
            end = len(text) - len(wrong) + (behind.end() if behind else 1)
            near = text[places[-1] if places else 0 : end].strip()
            raise BadExpression(f'Syntax error; token: "{wrong[:1]}", near: "{near}"')
        tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
        places.append(match.start(str(match.lastgroup)))
        position = match.end()
    return tuple(tokens), tuple(places)


class _Parser:
    def __init__(self, text: str, known: Placeholders, *, where: str = "a condition") -> None:
        self._known = known
        self._text = text
        self._tokens, self._places = _tokens(text)
        self._at = 0
        self._where = where
        self._operators = 0

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
        last = min(self._at + 1, len(self._tokens) - 1)
        end = self._places[last] + len(self._tokens[last][1])
        near = self._text[self._places[max(0, min(self._at - 1, last))] : end]
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
            self._count()
            left = Call("OR", (left, self._and(depth)))
        return left

    def _and(self, depth: int) -> Call:
        left = self._not(depth)
        while self.accept_word("AND"):
            self._count()
            left = Call("AND", (left, self._not(depth)))
        return left

    def _not(self, depth: int) -> Call:
        if self.accept_word("NOT"):
            self._count()
            if depth >= DEPTH_MAX:
                raise BadExpression("The expression is nested too deeply")
            return Call("NOT", (self._not(depth + 1),))
        if self.peek() == ("op", "("):
            return self._parenthesised(depth)
        kind, text = self.peek()
        if kind == "name" and self.peek(1) == ("op", "(") and text != "size":
            self._count()
            if text not in _CONDITIONS:
                self._refuse_function(text)
            return checked(self._function(_CONDITIONS[text]))
        return self._comparison()

    def _parenthesised(self, depth: int) -> Call:
        self.take()
        is_doubled, began = self.peek() == ("op", "("), self._at
        inner = self.condition(depth + 1)
        if is_doubled and self._closing(began) == self._at - 1 and self.peek() == ("op", ")"):
            raise BadExpression("The expression has redundant parentheses;")
        self.expect(")")
        return inner

    def _closing(self, at: int) -> int:
        """Where the parenthesis that opens at `at` closes."""
        depth = 0
        for index in range(at, len(self._tokens)):
            if self._tokens[index][0] == "op":
                depth += {"(": 1, ")": -1}.get(self._tokens[index][1], 0)
            if depth == 0:
                return index
        return -1

    def _refuse_function(self, name: str) -> None:
        if name in _CONDITIONS or name in _OPERANDS:
            raise BadExpression(f"The function is not allowed in {self._where} expression; function: {name}")
        raise BadExpression(f"Invalid function name; function: {name}")

    def _count(self) -> None:
        self._operators += 1
        if self._operators > OPERATORS_MAX:
            raise BadExpression(
                f"The expression contains too many operators and functions; operator count: {self._operators}"
            )

    def _comparison(self) -> Call:
        left = self._condition_operand()
        kind, text = self.take()
        self._count()
        if kind == "op" and text in COMPARATORS:
            return checked(Call(text, (left, self._condition_operand())))
        if kind == "name" and text.upper() == "BETWEEN":
            low = self._condition_operand()
            if not self.accept_word("AND"):
                raise self.wrong()
            return checked(Call("BETWEEN", (left, low, self._condition_operand())))
        if kind == "name" and text.upper() == "IN":
            self.expect("(")
            options = [self._condition_operand()]
            while self.accept(","):
                options.append(self._condition_operand())
            self.expect(")")
            if len(options) > OPTIONS_MAX:
                raise BadExpression(
                    f"The IN operator is provided with too many operands; number of operands: {len(options)}"
                )
            return checked(Call("IN", (left, *options)))
        self._at -= 1
        raise self.wrong()

    def _condition_operand(self) -> Any:
        kind, text = self.peek()
        if kind == "name" and self.peek(1) == ("op", "(") and text.upper() not in ("IN", "AND"):
            if text != "size":
                self._refuse_function(text)
            return checked(self._function(1))
        return self.operand()

    def _function(self, count: int) -> Call:
        name = self.take()[1]
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
        """A value, a path, or a function that gives one."""
        kind, text = self.peek()
        if kind == "value":
            self.take()
            return self._known.value(text)
        if kind == "name" and self.peek(1) == ("op", "("):
            self._count()
            allowed = ("if_not_exists", "list_append") if self._where == "an update" else ("size",)
            if text not in allowed:
                self._refuse_function(text)
            return checked(self._function(_OPERANDS[text]))
        return self.path()

    def path(self) -> Path:
        steps: list[str | int] = [self._name()]
        while True:
            if self.accept("."):
                steps.append(self._name())
            elif self.peek() == ("op", "[") and self.peek(1)[0] == "int":
                self.take()
                steps.append(int(self.take()[1]))
                self.expect("]")
            else:
                return Path(tuple(steps))

    def _name(self) -> str:
        kind, text = self.take()
        if kind != "name":
            self._at -= 1
            raise self.wrong()
        if text[0] != "#" and text.upper() in RESERVED:
            raise BadExpression(f"Attribute name is a reserved keyword; reserved keyword: {text}")
        return self._known.name(text)

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
            update.sets.append((path, self._sum()))
        else:
            kind, text = self.take()
            if kind != "value":
                self._at -= 1
                raise self.wrong()
            literal = self._known.value(text)
            allowed = ("N", *SETS) if word == "ADD" else SETS
            if kind_of(literal.value) not in allowed:
                raise BadExpression(
                    f"Incorrect operand type for operator or function; operator: {word}, operand type: "
                    f"{_KIND_NAMES[kind_of(literal.value)]}, typeSet: ALLOWED_FOR_{word}_OPERAND"
                )
            (update.adds if word == "ADD" else update.deletes).append((path, literal))

    def _sum(self) -> Any:
        if self.accept("("):
            value = self._sum()
            self.expect(")")
        else:
            value = self.operand()
        if self.peek() not in (("op", "+"), ("op", "-")):
            return value
        self._count()
        sign = self.take()[1]
        return checked(Call(sign, (value, self.operand())))


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
    parser = _Parser(text, known, where="an update")
    update = parser.update()
    parser.finish()
    return update


def _check_overlap(paths: list[Path]) -> None:
    if len({path.steps[0] for path in paths}) == len(paths):
        return
    for index, one in enumerate(paths):
        for other in paths[index + 1 :]:
            clash = _clash(one.steps, other.steps)
            if clash:
                raise BadExpression(
                    f"Two document paths {clash} with each other; must remove or rewrite one of these paths; path one: "
                    f"{shown_path(one)}, path two: {shown_path(other)}"
                )


def _clash(one: tuple[str | int, ...], other: tuple[str | int, ...]) -> str:
    for left, right in zip(one, other, strict=False):
        if type(left) is not type(right):
            return "conflict"
        if left != right:
            return ""
    return "overlap"
