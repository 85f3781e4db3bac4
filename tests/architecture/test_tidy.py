"""Sizes of files and functions, as the style guide bounds them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "src" / "penstock"
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_within_a_sitting(path):
    text = path.read_text()
    assert len(text.splitlines()) <= FILE_LINES_MAX
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_have_names_of_the_field(path):
    assert path.stem not in {"utils", "util", "helpers", "common", "misc", "manager"}
