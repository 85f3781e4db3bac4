"""Which libraries a function imports, learned from its first initialisation.

What it learned is kept beside the unpacked code, by the code and the layers: a cache, made again when it's gone.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from penstock.engines.functions.ports import FunctionSpec

WORTH_MS = 60.0
"""An initialisation that is faster isn't worth a process that holds its libraries."""
NAMES_MAX = 4000


class Learned:
    """By function version: the modules to import ahead, in the order in which it imported them."""

    def __init__(self, work_dir: Path) -> None:
        self._folder = work_dir / "learned"
        self._known: dict[str, list[str]] = {}

    def find(self, spec: FunctionSpec) -> list[str] | None:
        """None where it has yet to be learned; [] where there is nothing worth it."""
        key = _key(spec)
        if key not in self._known:
            try:
                self._known[key] = json.loads((self._folder / key).read_text())
            except (OSError, ValueError):
                return None
        return self._known[key]

    def learn(self, spec: FunctionSpec, told: bytes, *, init_ms: float) -> list[str]:
        """What its runtime has told: [name, whether it's in the function's own code] of each module it imported."""
        modules = _parsed(told)
        if modules is None:
            return []
        own = vendored(spec.code_dir)
        names = [name for name, is_own in modules if not is_own or name.partition(".")[0] in own]
        if init_ms < WORTH_MS or len(names) > NAMES_MAX:
            names = []
        self._keep(spec, names)
        return names

    def forget(self, spec: FunctionSpec) -> None:
        """It can't be done with this function: its libraries start threads, say."""
        self._keep(spec, [])

    def _keep(self, spec: FunctionSpec, names: list[str]) -> None:
        key = _key(spec)
        self._known[key] = names
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / key).write_text(json.dumps(names))


def _parsed(told: bytes) -> list[tuple[str, bool]] | None:
    """None for what isn't of that form: a function can write what it wants there."""
    try:
        modules = [(name, bool(is_own)) for name, is_own in json.loads(told)]
    except (ValueError, TypeError):
        return None
    return modules if all(isinstance(name, str) for name, _ in modules) else None


def _key(spec: FunctionSpec) -> str:
    parts = [spec.code_dir, spec.handler, spec.runtime, *spec.layer_dirs, json.dumps(spec.environment, sort_keys=True)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@lru_cache(maxsize=256)
def vendored(code_dir: str) -> frozenset[str]:
    """Top-level names in a package that an installer put there, as its records say; the rest is the user's own.

    Source: https://packaging.python.org/en/latest/specifications/recording-installed-packages/
    """
    names = set()
    for record in Path(code_dir).glob("*.dist-info/RECORD"):
        try:
            lines = record.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            top = line.partition(",")[0].partition("/")[0]
            if top and not top.endswith((".dist-info", ".data")) and top not in ("..", "__pycache__", "bin"):
                names.add(top.partition(".")[0])
    return frozenset(names)


def provided(folders: Sequence[str]) -> set[str]:
    """Top-level names that can be imported from folders."""
    names = set()
    for folder in folders:
        path = Path(folder)
        if path.is_dir():
            names |= {item.name.partition(".")[0] for item in path.iterdir()}
    return names
