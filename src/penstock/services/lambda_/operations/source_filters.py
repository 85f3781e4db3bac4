"""Which records of a source its function is to see.

The data of a record is JSON or plain text, and so is what a filter says of it; where the two differ, the record isn't
wanted. Source: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs-filtering.html
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson

from penstock.engines.patterns.match import Pattern, compile_pattern

_DataKind = Literal["json", "text", "none"]


class Filters:
    """Any of the patterns has to match. `data_key` names the member that holds the data: body, data, value."""

    def __init__(self, texts: Sequence[str], data_key: str = "") -> None:
        self._data_key = data_key
        self._patterns: list[tuple[_DataKind, Pattern]] = [
            (_kind_of(orjson.loads(text), data_key), compile_pattern(text)) for text in texts
        ]
        self._needs_json = any(kind != "none" for kind, _ in self._patterns)

    @property
    def is_open(self) -> bool:
        """Nothing is filtered."""
        return not self._patterns

    def is_wanted(self, record: Mapping[str, Any], data: bytes | str = b"") -> bool:
        """`record` as functions see it; `data` is what its data member holds, decoded."""
        if not self._patterns:
            return True
        parsed = _parsed(data) if self._needs_json else None
        is_json = isinstance(parsed, dict | list)
        for kind, pattern in self._patterns:
            if kind == "none":
                if pattern.matches(record):
                    return True
            elif is_json == (kind == "json"):
                seen = parsed if is_json else data.decode("utf-8", "replace") if isinstance(data, bytes) else data
                if pattern.matches({**record, self._data_key: seen}):
                    return True
        return False


def _kind_of(source: Any, data_key: str) -> _DataKind:
    """What a pattern expects the data to be; it may say so within alternatives."""
    if not data_key or not isinstance(source, dict):
        return "none"
    if data_key in source:
        return "json" if isinstance(source[data_key], dict) else "text"
    alternatives = source.get("$or")
    kinds = [_kind_of(inner, data_key) for inner in alternatives] if isinstance(alternatives, list) else []
    return next((kind for kind in kinds if kind != "none"), "none")


def _parsed(data: bytes | str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
