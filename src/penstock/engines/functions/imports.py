"""Which packages a function will import, read from its handler's file without running it. Pure but for the reading."""

import ast
from collections.abc import Sequence
from pathlib import Path

SOURCE_BYTES_MAX = 1 << 20
PRELOADED = {"s3fs": ("s3fs", "aiobotocore.session"), "pandas": ("pandas", "pandas.io.parquet", "pandas.io.parsers")}


def handler_file(code_dir: str, handler: str) -> Path:
    return Path(code_dir) / (handler.rsplit(".", 1)[0].replace(".", "/") + ".py")


def imported_names(source: str) -> list[str]:
    """Top-level names that a module imports, at any depth, in order; [] for what doesn't parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return []
    names: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(dict.fromkeys(alias.name.partition(".")[0] for alias in node.names))
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names[node.module.partition(".")[0]] = None
    return list(names)


def predicted_packages(code_dir: str, handler: str, folders: Sequence[str]) -> list[str]:
    """Packages that the handler imports from `folders` (layers and runtime), and doesn't bring itself."""
    path = handler_file(code_dir, handler)
    try:
        if path.stat().st_size > SOURCE_BYTES_MAX:
            return []
        source = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    names = [name for name in imported_names(source) if not _has(code_dir, name)]
    found = [name for name in names if any(_has(folder, name) for folder in folders)]
    if "pandas" in found and "s3://" in source and "s3fs" not in found and any(_has(f, "s3fs") for f in folders):
        found.append("s3fs")
    if "pandas" in found and "pyarrow" not in found and any(_has(f, "pyarrow") for f in folders):
        found.append("pyarrow")
    return sorted(name for package in found for name in PRELOADED.get(package, (package,)))


def _has(folder: str, name: str) -> bool:
    root = Path(folder)
    return (root / name).is_dir() or (root / f"{name}.py").is_file() or any(root.glob(f"{name}.*.so"))
