"""CloudWatch Logs filter patterns: terms, space-delimited fields and JSON conditions. Pure.

`compile_pattern(text)` answers a predicate on messages; BadPattern where the text isn't one.
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import translate
from typing import Any

import orjson

Matcher = Callable[[str], bool]
Test = Callable[[Any], bool]

_TOKENS = re.compile(
    r"""\s*(?:(?P<op>&&|\|\||!=|<=|>=|=|<|>|\(|\)|,)|(?P<string>"(?:[^"\\]|\\.)*")|(?P<regex>%[^%]*%)
    |(?P<word>(?:\[[^\]]*\]|[^\s"=!<>&|(),])+))""",
    re.VERBOSE,
)
_TERMS = re.compile(r"""(?P<sign>[?-]?)(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|%(?P<regex>[^%]*)%|(?P<word>[\w.]+))(?=\s|$)""")
_FIELDS = re.compile(r"""\[[^\]]*\]|"[^"]*"|\S+""")
_STEPS = re.compile(r"""\.([^.\[\]]+)|\[(\d+|\*)\]|\["([^"]+)"\]|\['([^']+)'\]""")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")
_COMPARES = ("=", "!=", "<", ">", "<=", ">=")
_DEPTH_MAX = 32


class BadPattern(Exception):
    """The text is no filter pattern."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def compile_pattern(text: str) -> Matcher:
    """A predicate on log messages. Raises BadPattern."""
    text = text.strip()
    if not text:
        return lambda message: True
    if text.startswith("{"):
        return _compile_json(text)
    if text.startswith("["):
        return _compile_fields(text)
    return _compile_terms(text)


def _compile_terms(text: str) -> Matcher:
    required: list[Matcher] = []
    optional: list[Matcher] = []
    excluded: list[Matcher] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        found = _TERMS.match(text, at)
        if found is None:
            raise BadPattern(f"at {at}: {text[at:]!r}")
        group = {"?": optional, "-": excluded}.get(found["sign"], required)
        group.append(_compile_term(found))
        at = found.end()

    def is_match(message: str) -> bool:
        if any(test(message) for test in excluded):
            return False
        if required:  # AWS ignores the optional terms beside required ones
            return all(test(message) for test in required)
        return not optional or any(test(message) for test in optional)

    return is_match


def _compile_term(found: re.Match[str]) -> Matcher:
    if found["regex"] is not None:
        pattern = _regex(found["regex"])
        return lambda message: pattern.search(message) is not None
    term = found["word"] if found["word"] is not None else _unquote(found["quoted"])
    return lambda message: term in message


def _compile_fields(text: str) -> Matcher:
    if not text.endswith("]"):
        raise BadPattern("'[' is never closed")
    parts = _split_fields(text[1:-1])
    dots = [index for index, part in enumerate(parts) if part == "..."]
    if len(dots) > 1:
        raise BadPattern("only one ... is allowed")
    tests = [None if part == "..." else _compile_field(part) for part in parts]

    def is_match(message: str) -> bool:
        values = [_strip_field(value) for value in _FIELDS.findall(message)]
        if dots:
            missing = len(values) - (len(tests) - 1)
            if missing < 0:
                return False
            spread = [*tests[: dots[0]], *[None] * missing, *tests[dots[0] + 1 :]]
        else:
            spread = tests
        return len(values) == len(spread) and all(
            test is None or test(value) for test, value in zip(spread, values, strict=True)
        )

    return is_match


def _split_fields(text: str) -> list[str]:
    parts: list[str] = []
    part = ""
    is_quoted = False
    for char in text:
        is_quoted ^= char == '"'
        if char == "," and not is_quoted:
            parts.append(part.strip())
            part = ""
        else:
            part += char
    return [*parts, part.strip()]


def _strip_field(value: str) -> str:
    return value[1:-1] if len(value) > 1 and (value[0], value[-1]) in {("[", "]"), ('"', '"')} else value


def _compile_field(part: str) -> Test | None:
    if not part or re.fullmatch(r"[\w-]+", part):
        return None
    return _Parser(_tokenize(part), operand=lambda name: lambda value: [value]).parse()


def _compile_json(text: str) -> Matcher:
    if not text.endswith("}"):
        raise BadPattern("'{' is never closed")
    test = _Parser(_tokenize(text[1:-1]), operand=_selector).parse()

    def is_match(message: str) -> bool:
        if "{" not in message:
            return False
        try:
            document = orjson.loads(message)
        except ValueError:
            return False
        return isinstance(document, dict) and test(document)

    return is_match


def _tokenize(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        found = _TOKENS.match(text, at)
        if found is None or found.lastgroup is None:
            raise BadPattern(f"at {at}: {text[at:]!r}")
        tokens.append(_Token(found.lastgroup, found[found.lastgroup]))
        at = found.end()
    return tokens


def _selector(name: str) -> Callable[[Any], list[Any]]:
    """The values that `$.a.b[0]` names in a document; several for `[*]`, none where it is absent."""
    if not name.startswith("$"):
        raise BadPattern(f"{name!r} is no selector")
    steps: list[str | int] = []
    at = 1
    while at < len(name):
        found = _STEPS.match(name, at)
        if found is None:
            raise BadPattern(f"{name!r} is no selector")
        key, index, double, single = found.groups()
        steps.append((index if index == "*" else int(index)) if index is not None else key or double or single)
        at = found.end()
    if not steps:
        raise BadPattern(f"{name!r} is no selector")

    def select(document: Any) -> list[Any]:
        found = [document]
        for step in steps:
            found = [value for item in found for value in _step(item, step)]
        return found

    return select


def _step(item: Any, step: str | int) -> list[Any]:
    if step == "*":
        return item if isinstance(item, list) else list(item.values()) if isinstance(item, dict) else []
    if isinstance(step, int):
        return item[step : step + 1] if isinstance(item, list) else []
    return [item[step]] if isinstance(item, dict) and step in item else []


class _Parser:
    """or := and ('||' and)*; and := unit ('&&' unit)*; unit := '(' or ')' | operand comparison."""

    def __init__(self, tokens: list[_Token], *, operand: Callable[[str], Callable[[Any], list[Any]]]) -> None:
        self._tokens = tokens
        self._at = 0
        self._operand = operand
        self._depth = 0

    def parse(self) -> Test:
        test = self._any()
        if self._at != len(self._tokens):
            raise BadPattern(f"unexpected {self._tokens[self._at].text!r}")
        return test

    def _take(self) -> _Token:
        if self._at >= len(self._tokens):
            raise BadPattern("ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _skip(self, text: str) -> bool:
        is_there = self._at < len(self._tokens) and self._tokens[self._at] == _Token("op", text)
        self._at += is_there
        return is_there

    def _any(self) -> Test:
        tests = [self._all()]
        while self._skip("||"):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda value: any(test(value) for test in tests)

    def _all(self) -> Test:
        tests = [self._unit()]
        while self._skip("&&"):
            tests.append(self._unit())
        return tests[0] if len(tests) == 1 else lambda value: all(test(value) for test in tests)

    def _unit(self) -> Test:
        if self._skip("("):
            self._depth += 1
            if self._depth > _DEPTH_MAX:
                raise BadPattern("nested too deeply")
            test = self._any()
            if not self._skip(")"):
                raise BadPattern("'(' is never closed")
            self._depth -= 1
            return test
        select = self._operand(self._take().text)
        operator = self._take().text.upper()
        if operator == "IS":
            wanted = {"NULL": None, "TRUE": True, "FALSE": False}.get(self._take().text.upper(), ...)
            if wanted is ...:
                raise BadPattern("IS takes NULL, TRUE or FALSE")
            return lambda value: any(found is wanted for found in select(value))
        if operator == "NOT":
            if self._take().text.upper() != "EXISTS":
                raise BadPattern("NOT takes EXISTS")
            return lambda value: not select(value)
        if operator == "EXISTS":
            return lambda value: bool(select(value))
        if operator not in _COMPARES:
            raise BadPattern(f"{operator!r} is no comparison")
        test = _comparison(operator, self._take())
        return lambda value: any(test(found) for found in select(value))


def _comparison(operator: str, wanted: _Token) -> Test:
    if operator in ("=", "!="):
        is_equal = _equality(wanted)
        return is_equal if operator == "=" else lambda value: not is_equal(value)
    if not _NUMBER.match(wanted.text):
        raise BadPattern(f"{wanted.text!r} is no number")
    bound = float(wanted.text)

    def is_match(value: Any) -> bool:
        number = _number(value)
        if number is None:
            return False
        return {"<": number < bound, ">": number > bound, "<=": number <= bound, ">=": number >= bound}[operator]

    return is_match


def _equality(wanted: _Token) -> Test:
    if wanted.kind == "regex":
        pattern = _regex(wanted.text[1:-1])
        return lambda value: isinstance(value, str) and pattern.search(value) is not None
    text = _unquote(wanted.text[1:-1]) if wanted.kind == "string" else wanted.text
    glob = re.compile(translate(re.sub(r"([\[?])", r"[\1]", text)))
    number = float(text) if wanted.kind == "word" and _NUMBER.match(text) else None

    def is_equal(value: Any) -> bool:
        if number is not None and _number(value) == number:
            return True
        if isinstance(value, bool):
            return text == str(value).lower()
        return isinstance(value, str) and glob.match(value) is not None

    return is_equal


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    return float(value) if isinstance(value, str) and _NUMBER.match(value) else None


def _regex(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise BadPattern(f"%{text}%: {error}") from error


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
