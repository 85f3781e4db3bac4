"""Which operations of a REST service a method, a path and a query may mean.

A trie of path segments, built once per service. A label takes one segment, a greedy one (`{Key+}`) all that is left,
slashes and all. Which of several operations is meant is decided by constants in the query (`?uploads`), then by the
query parameters and headers that an operation requires (CopyObject has its source in a header); of two names for one
binding, the one that isn't deprecated.
Source: https://smithy.io/2.0/spec/http-bindings.html#http-uri
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from penstock.model.shapes import OperationModel

_OPERATION_HINT = "x-id"
"""Newer SDKs name the operation in the query; it says nothing that the rest doesn't, but for ListDirectoryBuckets."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """An operation as its binding describes it; `labels` are its URI labels in order."""

    operation: OperationModel
    labels: tuple[str, ...]
    constants: Mapping[str, str | None]
    required_query: frozenset[str]
    required_headers: frozenset[str]


@dataclass(slots=True)
class _Node:
    literals: dict[str, "_Node"] = field(default_factory=dict)
    label: "_Node | None" = None
    greedy: "_Node | None" = None
    patterns: list[Pattern] = field(default_factory=list)


class UriIndex:
    """The patterns of one service."""

    def __init__(self, operations: Iterable[OperationModel]) -> None:
        self._methods: dict[str, _Node] = {}
        for operation in operations:
            self._add(operation)

    def find(
        self, method: str, path: str, query: Mapping[str, str], headers: Collection[str]
    ) -> tuple[OperationModel, dict[str, str]] | None:
        """The operation and its labels, decoded; None where nothing has this method and path."""
        root = self._methods.get(method)
        found = _walk(root, path.split("/")[1:], []) if root else None
        if found is None:
            return None
        patterns, values = found
        possible = [
            pattern for pattern in patterns if not pattern.constants or pattern.constants.keys() <= query.keys()
        ]
        best = max(possible, key=lambda pattern: _fitness(pattern, query, headers), default=None)
        if best is None or _fitness(best, query, headers) < (0,):
            return None
        return best.operation, {label: unquote(value) for label, value in zip(best.labels, values, strict=True)}

    def _add(self, operation: OperationModel) -> None:
        path, _, constants = operation.uri.partition("?")
        node = self._methods.setdefault(operation.method, _Node())
        labels: list[str] = []
        for segment in path.rstrip("/").split("/")[1:]:
            if not segment.startswith("{"):
                node = node.literals.setdefault(segment, _Node())
                continue
            labels.append(segment.strip("{}+"))
            if segment.endswith("+}"):
                node.greedy = node = node.greedy or _Node()
            else:
                node.label = node = node.label or _Node()
        node.patterns.append(_pattern(operation, tuple(labels), constants))


def _pattern(operation: OperationModel, labels: tuple[str, ...], constants: str) -> Pattern:
    pairs = [item.partition("=") for item in constants.split("&") if item]
    members = operation.input.members if operation.input else {}
    required = [members[name] for name in operation.input.required] if operation.input else []
    return Pattern(
        operation,
        labels,
        {name: value if equals else None for name, equals, value in pairs if name != _OPERATION_HINT},
        frozenset(shape.wire_name or "" for shape in required if shape.location == "querystring"),
        frozenset((shape.wire_name or "").lower() for shape in required if shape.location == "header"),
    )


def _walk(node: _Node, segments: list[str], values: list[str]) -> tuple[list[Pattern], list[str]] | None:
    """Literals before labels before greedy labels; a trailing slash means nothing unless a label can take it."""
    if not segments or segments == [""]:
        if node.patterns:
            return node.patterns, values
        return None
    head, rest = segments[0], segments[1:]
    if head in node.literals and (found := _walk(node.literals[head], rest, values)):
        return found
    if node.label and head and (found := _walk(node.label, rest, [*values, head])):
        return found
    if node.greedy:
        return node.greedy.patterns, [*values, "/".join(segments)]
    return None


def _fitness(pattern: Pattern, query: Mapping[str, str], headers: Collection[str]) -> tuple[int, ...]:
    """Constants that match, then requirements unmet (fewer is better), then met; (-1,) if a constant is missing."""
    for name, value in pattern.constants.items():
        if name not in query or (value is not None and query[name] != value):
            return (-1,)
    met = sum(name in query for name in pattern.required_query) + sum(
        name in headers for name in pattern.required_headers
    )
    unmet = len(pattern.required_query) + len(pattern.required_headers) - met
    is_named = query.get(_OPERATION_HINT) == pattern.operation.name
    return (len(pattern.constants), -unmet, met, is_named, not pattern.operation.declared.get("deprecated"))
