"""What an environment sees of the machine: which folders are hidden, which are shown in them."""

import site
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HIDDEN = ("/home", "/root", "/var", "/opt", "/run", "/mnt", "/srv", "/media")


@dataclass(frozen=True, slots=True)
class View:
    """`hidden` folders in order, outer before inner; `binds` are (target, source), shown read-only."""

    hidden: tuple[str, ...]
    binds: tuple[tuple[str, str], ...]


def view_of(
    *,
    data_dir: str,
    code_dir: str,
    opt_dir: str,
    runtime_dir: str,
    layer_dirs: Sequence[str],
    own_hidden: Sequence[str],
) -> View:
    """The function's code, layers and runtime at AWS's places; nothing of the store, of people or of services.

    own_hidden   further folders of this node's that functions must not see
    """
    hidden = sorted({*HIDDEN, *(_real(path) for path in (data_dir, *own_hidden))})
    needed = [sys.base_prefix, sys.prefix, *site.getsitepackages(), runtime_dir, *layer_dirs]
    shown: list[tuple[str, str]] = []
    for path in dict.fromkeys(map(_real, needed)):
        is_hidden = any(Path(path).is_relative_to(folder) for folder in hidden)
        if is_hidden and not any(Path(path).is_relative_to(known) for known, _ in shown):
            shown.append((path, path))
    binds = [*shown, ("/var/task", code_dir), ("/var/runtime", runtime_dir)]
    if opt_dir:
        binds.append(("/opt", opt_dir))
    return View(tuple(hidden), tuple(binds))


def _real(path: str) -> str:
    return str(Path(path).resolve())
