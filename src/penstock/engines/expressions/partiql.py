"""DynamoDB's PartiQL: statements to the trees that its expressions have. Pure.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.html
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.engines.expressions.errors import BadExpression
from penstock.engines.expressions.trees import Call, Literal, Path, Update, checked
from penstock.engines.expressions.values import SETS, kind_of, normal

DEPTH_MAX = 50
_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<quoted>\"(?:[^\"]|\"\")*\")|(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<op><<|>>|<>|!=|<=|>=|[=<>(),.\[\]{}:?*+-]))"
)
_COMPARATORS = {"=": "=", "<>": "<>", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_CONDITIONS = {"begins_with": 2, "contains": 2, "attribute_type": 2, "attribute_exists": 1, "attribute_not_exists": 1}
_OPERANDS = {"size": 1, "if_not_exists": 2, "list_append": 2}
_CLAUSES = ("SET", "REMOVE", "WHERE", "RETURNING")


@dataclass
class Select:
    """paths None: all. index: of the table, if one is named; order: attribute and whether it descends."""

    table: str
    index: str | None
    paths: list[Path] | None
    where: Call | None
    order: list[tuple[str, bool]] = field(default_factory=list)


@dataclass
class Insert:
    table: str
    item: Mapping[str, Any]


@dataclass
class Change:
    """UPDATE, or DELETE where there is no update. returning: ALL_OLD, ALL_NEW, MODIFIED_OLD, MODIFIED_NEW or ""."""

    table: str
    update: Update | None
    where: Call | None
    returning: str = ""


@dataclass
class Exists:
    """A condition check in a transaction."""

    select: Select


Statement = Select | Insert | Change | Exists


def parse_statement(text: str, parameters: Sequence[Mapping[str, Any]]) -> Statement:
    """Raises BadExpression."""
    parser = _Parser(text, parameters)
    return parser.statement()


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position, end = 0, len(text.rstrip().rstrip(";"))
    while position < end:
        match = _TOKEN.match(text, position, end)
        if match is None:
            break
        kind = str(match.lastgroup)
        tokens.append((kind, match[kind]))
        position = match.end()
    if text[position:end].strip():
        raise _malformed(f"Unexpected character near '{text[position:end].strip()[:10]}'")
    return tokens


def _malformed(why: str) -> BadExpression:
    return BadExpression(f"Statement wasn't well formed, can't be processed: {why}")


class _Parser:
    def __init__(self, text: str, parameters: Sequence[Mapping[str, Any]]) -> None:
        self._tokens = _tokens(text)
        self._parameters = parameters
        self._at = self._used = 0

    def statement(self) -> Statement:
        starts: Mapping[str, Callable[[], Statement]] = {
            "SELECT": self._select,
            "INSERT": self._insert,
            "UPDATE": self._update,
            "DELETE": self._delete,
            "EXISTS": self._exists,
        }
        word = self._peek()[1].upper()
        if word not in starts:
            raise _malformed("Expected data manipulation")
        self._at += 1
        found = starts[word]()
        if self._at < len(self._tokens):
            raise _malformed(f"Unexpected token {self._peek()[1]}")
        if self._used != len(self._parameters):
            raise BadExpression("Number of parameters in request and statement don't match.")
        return found

    def _peek(self, ahead: int = 0) -> tuple[str, str]:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else ("end", "")

    def _take(self) -> tuple[str, str]:
        token = self._peek()
        self._at += 1
        return token

    def _accept(self, text: str) -> bool:
        if self._peek() == ("op", text):
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise _malformed(f"Expected {text}, got {self._peek()[1] or 'end of statement'}")

    def _is_word(self, *words: str) -> bool:
        kind, text = self._peek()
        return kind == "word" and text.upper() in words

    def _accept_word(self, word: str) -> bool:
        if self._is_word(word):
            self._at += 1
            return True
        return False

    def _expect_word(self, word: str) -> None:
        if not self._accept_word(word):
            raise _malformed(f"Expected {word}, got {self._peek()[1] or 'end of statement'}")

    def _identifier(self) -> str:
        kind, text = self._take()
        if kind == "word":
            return text
        if kind == "quoted":
            return text[1:-1].replace('""', '"')
        if kind == "string":
            return text[1:-1].replace("''", "'")
        raise _malformed(f"Expected identifier, got {text or 'end of statement'}")

    def _select(self) -> Select:
        paths: list[Path] | None = None
        if not self._accept("*"):
            paths = [self._path()]
            while self._accept(","):
                paths.append(self._path())
        self._expect_word("FROM")
        table, index = self._identifier(), None
        if self._accept("."):
            index = self._identifier()
        select = Select(table, index, paths, self._where())
        if self._accept_word("ORDER"):
            self._expect_word("BY")
            select.order.append(self._order())
            while self._accept(","):
                select.order.append(self._order())
        return select

    def _order(self) -> tuple[str, bool]:
        name = self._identifier()
        is_descending = self._accept_word("DESC")
        if not is_descending:
            self._accept_word("ASC")
        return name, is_descending

    def _exists(self) -> Exists:
        self._expect("(")
        self._expect_word("SELECT")
        select = self._select()
        self._expect(")")
        return Exists(select)

    def _insert(self) -> Insert:
        self._expect_word("INTO")
        table = self._identifier()
        if not self._accept_word("VALUE"):
            raise _malformed("Unexpected keyword")
        value = self._value(0)
        if "M" not in value:
            raise BadExpression("Unsupported operation: inserting a value that isn't a tuple")
        return Insert(table, value["M"])

    def _update(self) -> Change:
        table, update = self._identifier(), Update()
        if not self._is_word("SET", "REMOVE"):
            raise _malformed("Expected SET or REMOVE")
        while self._is_word("SET", "REMOVE"):
            is_set = self._take()[1].upper() == "SET"
            self._clause(update, is_set=is_set)
            while self._accept(","):
                self._clause(update, is_set=is_set)
        return Change(table, update, self._where(), self._returning())

    def _delete(self) -> Change:
        self._expect_word("FROM")
        return Change(self._identifier(), None, self._where(), self._returning())

    def _where(self) -> Call | None:
        return self._condition(0) if self._accept_word("WHERE") else None

    def _returning(self) -> str:
        if not self._accept_word("RETURNING"):
            return ""
        which, when = self._take()[1].upper(), self._take()[1].upper()
        self._expect("*")
        if which not in ("ALL", "MODIFIED") or when not in ("OLD", "NEW"):
            raise _malformed("Expected ALL or MODIFIED, OLD or NEW after RETURNING")
        return f"{which}_{when}"

    def _clause(self, update: Update, *, is_set: bool) -> None:
        path = self._path()
        if not is_set:
            update.removes.append(path)
            return
        self._expect("=")
        kind, text = self._peek()
        if kind == "word" and text.lower() in ("set_add", "set_delete"):
            self._at += 1
            self._expect("(")
            if self._path() != path:
                raise BadExpression(f"{text} must change the attribute that it is assigned to")
            self._expect(",")
            literal = Literal(self._value(0))
            self._expect(")")
            if kind_of(literal.value) not in (*SETS, "N"):
                raise BadExpression(f"Incorrect operand type for {text}")
            (update.adds if text.lower() == "set_add" else update.deletes).append((path, literal))
            return
        update.sets.append((path, self._sum()))

    def _sum(self) -> Any:
        value = self._operand()
        while self._peek() in (("op", "+"), ("op", "-")):
            sign = self._take()[1]
            value = checked(Call(sign, (value, self._operand())))
        return value

    def _condition(self, depth: int) -> Call:
        if depth > DEPTH_MAX:
            raise BadExpression("The statement is nested too deeply")
        left = self._and(depth)
        while self._accept_word("OR"):
            left = Call("OR", (left, self._and(depth)))
        return left

    def _and(self, depth: int) -> Call:
        left = self._not(depth)
        while self._accept_word("AND"):
            left = Call("AND", (left, self._not(depth)))
        return left

    def _not(self, depth: int) -> Call:
        if self._accept_word("NOT"):
            if depth > DEPTH_MAX:
                raise BadExpression("The statement is nested too deeply")
            return Call("NOT", (self._not(depth + 1),))
        if self._accept("("):
            inner = self._condition(depth + 1)
            self._expect(")")
            return inner
        kind, text = self._peek()
        if kind == "word" and text.lower() in _CONDITIONS and self._peek(1) == ("op", "("):
            return checked(self._function(_CONDITIONS[text.lower()]))
        return self._comparison()

    def _comparison(self) -> Call:
        left = self._operand()
        if self._accept_word("BETWEEN"):
            low = self._operand()
            self._expect_word("AND")
            return checked(Call("BETWEEN", (left, low, self._operand())))
        if self._accept_word("IN"):
            return checked(Call("IN", (left, *self._options())))
        if self._accept_word("IS"):
            return self._state_of(left)
        kind, text = self._take()
        if kind == "op" and text in _COMPARATORS:
            return checked(Call(_COMPARATORS[text], (left, self._operand())))
        raise _malformed(f"Expected an operator, got {text or 'end of statement'}")

    def _state_of(self, left: Any) -> Call:
        is_not = self._accept_word("NOT")
        if self._accept_word("MISSING"):
            return Call("attribute_exists" if is_not else "attribute_not_exists", (left,))
        self._expect_word("NULL")
        is_null = Call("attribute_type", (left, Literal({"S": "NULL"})))
        return Call("NOT", (is_null,)) if is_not else is_null

    def _options(self) -> list[Any]:
        closing = "]" if self._accept("[") else ")"
        if closing == ")":
            self._expect("(")
        options = [self._operand()]
        while self._accept(","):
            options.append(self._operand())
        self._expect(closing)
        return options

    def _function(self, count: int) -> Call:
        name = self._take()[1].lower()
        self._expect("(")
        arguments = [self._operand()]
        while self._accept(","):
            arguments.append(self._operand())
        self._expect(")")
        if len(arguments) != count:
            raise BadExpression(f"Incorrect number of operands for function {name}: {len(arguments)}")
        return Call(name, tuple(arguments))

    def _operand(self) -> Any:
        kind, text = self._peek()
        if kind == "word" and text.lower() in _OPERANDS and self._peek(1) == ("op", "("):
            return checked(self._function(_OPERANDS[text.lower()]))
        if kind == "quoted" or (kind == "word" and text.upper() not in ("TRUE", "FALSE", "NULL")):
            return self._path()
        return Literal(self._value(0))

    def _path(self) -> Path:
        if self._peek()[0] == "string" or self._is_word("FROM", *_CLAUSES):
            raise _malformed(f"Expected a path, got {self._peek()[1]}")
        steps: list[str | int] = [self._identifier()]
        while True:
            if self._accept("."):
                steps.append(self._identifier())
            elif self._peek() == ("op", "[") and self._peek(1)[0] in ("number", "string"):
                self._at += 1
                kind, text = self._take()
                steps.append(int(text) if kind == "number" and text.isdecimal() else text.strip("'"))
                self._expect("]")
            else:
                return Path(tuple(steps))

    def _value(self, depth: int) -> Mapping[str, Any]:
        if depth > DEPTH_MAX:
            raise BadExpression("The statement is nested too deeply")
        kind, text = self._take()
        if kind == "string":
            return {"S": text[1:-1].replace("''", "'")}
        if kind == "number" or (kind, text) in (("op", "-"), ("op", "+")):
            digits = text if kind == "number" else text.strip("+") + self._take()[1]
            return normal({"N": digits})
        if kind == "word" and text.upper() in ("TRUE", "FALSE"):
            return {"BOOL": text.upper() == "TRUE"}
        if kind == "word" and text.upper() == "NULL":
            return {"NULL": True}
        if (kind, text) == ("op", "?"):
            if self._used >= len(self._parameters):
                raise BadExpression("Number of parameters in request and statement don't match.")
            self._used += 1
            return normal(self._parameters[self._used - 1])
        if (kind, text) == ("op", "{"):
            return {"M": self._members(depth)}
        if (kind, text) == ("op", "["):
            return {"L": self._elements("]", depth)}
        if (kind, text) == ("op", "<<"):
            return self._set(self._elements(">>", depth))
        raise _malformed(f"Expected expression, got {text or 'end of statement'}")

    def _members(self, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        while not self._accept("}"):
            if members:
                self._expect(",")
            name = self._identifier()
            self._expect(":")
            members[name] = self._value(depth + 1)
        return members

    def _elements(self, closing: str, depth: int) -> list[Any]:
        elements: list[Any] = []
        while not self._accept(closing):
            if elements:
                self._expect(",")
            elements.append(self._value(depth + 1))
        return elements

    def _set(self, elements: list[Any]) -> Mapping[str, Any]:
        kinds = {kind_of(one) for one in elements}
        if len(kinds) != 1 or not kinds <= {"S", "N", "B"}:
            raise BadExpression("A set holds strings, numbers or binaries, of one kind")
        kind = kinds.pop()
        return normal({f"{kind}S": [one[kind] for one in elements]})
