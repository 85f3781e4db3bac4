"""Rooms look alike, and what they name exists in AWS's models."""

import ast
import importlib
from functools import cache
from pathlib import Path

import pytest
from botocore.loaders import Loader

from penstock.framework.service import Service, snake_name

ROOT = Path(__file__).parents[2] / "src" / "penstock"
ROOMS = sorted(path.parent.name for path in (ROOT / "services").glob("*/__init__.py"))
NAMES = {
    "__init__",
    "operations",
    "rules",
    "state",
    "messages",
    "limits",
    "events",
    "background",
    "access",
}


@cache
def operations_of(service: str) -> frozenset[str]:
    return frozenset(Loader().load_service_model(service, "service-2")["operations"])


@pytest.mark.parametrize("room", ROOMS)
def test_every_operation_of_a_room_exists_in_its_models(room):
    service: Service = importlib.import_module(f"penstock.services.{room}").SERVICE
    declared = {snake_name(name) for model in service.models for name in operations_of(model)}
    assert set(service.operations) <= declared


def literal_calls():
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "call"):
                continue
            texts = [arg.value for arg in node.args[:2] if isinstance(arg, ast.Constant)]
            if len(texts) == 2 and all(isinstance(text, str) for text in texts):
                yield pytest.param(*texts, id=f"{path.relative_to(ROOT)}:{node.lineno}")


@pytest.mark.parametrize(("service", "operation"), list(literal_calls()))
def test_every_call_through_the_door_names_an_operation_of_aws(service, operation):
    assert operation in operations_of(service)


@pytest.mark.parametrize("room", ROOMS)
def test_room_has_a_readme_and_only_known_files(room):
    folder = ROOT / "services" / room
    assert (folder / "README.md").is_file()
    unknown = {path.stem for path in folder.glob("*.py")} - NAMES
    assert not unknown
