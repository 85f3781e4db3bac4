"""The numbers of the style: no file too long to read in a sitting, no function too long for a screen."""

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "penstock"
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
VAGUE_NAMES = {"utils", "helpers", "common", "base", "manager", "misc"}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def test_no_file_is_longer_than_a_sitting() -> None:
    long = {str(p.relative_to(SOURCE)): n for p in modules() if (n := len(p.read_text().splitlines())) > FILE_LINES_MAX}
    assert long == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    long.append(f"{path.relative_to(SOURCE)}:{node.name} {lines}")
    assert long == []


def test_modules_are_named_for_what_they_are() -> None:
    assert [str(p.relative_to(SOURCE)) for p in modules() if p.stem in VAGUE_NAMES] == []


def test_every_module_with_code_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(SOURCE))
        for path in modules()
        if (tree := ast.parse(path.read_text())).body and ast.get_docstring(tree) is None
    ]
    assert silent == []
