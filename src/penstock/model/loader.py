"""Reads a service's model from botocore's data, without importing botocore (0.3 s and 20 MB).

The newest version of a model is used; `overlays/<service>.json` lies over it (overlay.py).
"""

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from penstock.kernel.errors import Bug
from penstock.model.overlay import apply_overlay, read_overlay
from penstock.model.shapes import ServiceModel

_PROSE = ("documentation", "documentationUrl")


@cache
def service_model(name: str) -> ServiceModel:
    """The model of a service by its SDK name; kept once loaded. Raises Bug for one that botocore doesn't know."""
    return ServiceModel(name, apply_overlay(read_model_file(name, "service-2"), read_overlay(name)))


@cache
def query_model(name: str) -> ServiceModel:
    """The model of a service that used to speak query, with the names that members had then (`<service>-query.json`).

    Others are as `service_model` has them.
    """
    entries = read_overlay(f"{name}-query")
    if not entries:
        return service_model(name)
    declared = apply_overlay(read_model_file(name, "service-2"), read_overlay(name))
    return ServiceModel(name, apply_overlay(declared, entries))


@cache
def paginators(name: str) -> dict[str, Any]:
    """What `paginators-1.json` says, by operation; empty where there is none."""
    try:
        pages: dict[str, Any] = read_model_file(name, "paginators-1")["pagination"]
    except Bug:
        return {}
    return pages


def model_dir(name: str) -> Path:
    """The folder of the newest version of a service's model."""
    folder = _data_dir() / name
    versions = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not versions:
        raise Bug(f"botocore has no model of {name!r}")
    return versions[-1]


def read_model_file(name: str, kind: str) -> dict[str, Any]:
    """One JSON document of a service, plain or compressed, without its documentation."""
    folder = model_dir(name)
    plain, packed = folder / f"{kind}.json", folder / f"{kind}.json.gz"
    if packed.exists():
        text = gzip.decompress(packed.read_bytes())
    elif plain.exists():
        text = plain.read_bytes()
    else:
        raise Bug(f"botocore has no {kind} of {name!r}")
    found: dict[str, Any] = _without_documentation(orjson.loads(text))
    return found


@cache
def _data_dir() -> Path:
    spec = find_spec("botocore")
    if spec is None or spec.origin is None:
        raise Bug("botocore isn't installed: pip install botocore")
    return Path(spec.origin).parent / "data"


def _without_documentation(node: Any) -> Any:
    """Half of a model is prose. A member that is called so is a dict and stays."""
    if isinstance(node, dict):
        return {
            key: _without_documentation(value)
            for key, value in node.items()
            if not (key in _PROSE and isinstance(value, str))
        }
    if isinstance(node, list):
        return [_without_documentation(item) for item in node]
    return node
