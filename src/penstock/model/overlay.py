"""Corrections of botocore's models: one JSON per service, each entry with the source that shows it.

An overlay is a list of `{"path": ["shapes", "X", "max"], "value": 5, "source": "..."}`; a value of null deletes.
An entry that changes nothing any more is an error, so overlays can't rot.
"""

from importlib.resources import files
from typing import Any

import orjson

from penstock.kernel.errors import Bug


def read_overlay(name: str) -> list[dict[str, Any]]:
    """The entries for a service; none where it has no file."""
    file = files("penstock.model") / "overlays" / f"{name}.json"
    entries: list[dict[str, Any]] = orjson.loads(file.read_bytes()) if file.is_file() else []
    return entries


def apply_overlay(declared: dict[str, Any], entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The model with the entries applied in place. Raises Bug for one that has no source or changes nothing."""
    for entry in entries:
        *way, last = entry["path"]
        node = declared
        for step in way:
            node = node.setdefault(step, {})
        if not entry.get("source") or node.get(last) == entry["value"]:
            raise Bug(f"overlay entry {entry['path']} has no source or changes nothing")
        if entry["value"] is None:
            del node[last]
        else:
            node[last] = entry["value"]
    return declared
