"""Every room has the same names in it, and every operation is AWS's."""

import gzip
import importlib
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from penstock.framework.service import Service, snake_name

ROOMS = Path(__file__).parents[2] / "src" / "penstock" / "services"
NAMES = {
    "__init__.py",
    "operations",
    "rules.py",
    "state.py",
    "messages.py",
    "limits.py",
    "events.py",
    "background.py",
    "README.md",
    "__pycache__",
}


def rooms() -> list[str]:
    return sorted(p.name for p in ROOMS.iterdir() if (p / "__init__.py").exists())


def declared_operations(model: str) -> set[str]:
    spec = find_spec("botocore")
    assert spec is not None
    assert spec.origin is not None
    newest = max((Path(spec.origin).parent / "data" / model).iterdir())
    document = json.loads(gzip.decompress((newest / "service-2.json.gz").read_bytes()))
    return {snake_name(name) for name in document["operations"]}


@pytest.mark.parametrize("room", rooms())
def test_a_room_has_no_tenth_name(room: str) -> None:
    assert {p.name for p in (ROOMS / room).iterdir()} - NAMES == set()


@pytest.mark.parametrize("room", rooms())
def test_every_operation_of_a_room_is_declared_by_its_models(room: str) -> None:
    service = importlib.import_module(f"penstock.services.{room}").SERVICE
    assert isinstance(service, Service)
    declared = set().union(*(declared_operations(model) for model in service.models))
    assert set(service.operations) - declared == set()
    assert service.operations
