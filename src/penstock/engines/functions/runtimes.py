"""Which of the machine's interpreters runs a runtime identifier: the same one, the nearest one, or none.

Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
"""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from typing import Literal

_IDENTIFIER = re.compile(r"(python|nodejs|provided)(?:[.]?([\w.]+))?")
_NODE_STARTS_S = 10


@dataclass(frozen=True, slots=True)
class Runtime:
    """How a function is run. `warning` says where the machine's interpreter isn't the one that was asked for."""

    kind: Literal["python", "node", "custom"]
    executable: str = ""
    warning: str = ""


@cache
def find_runtime(identifier: str) -> Runtime | str:
    """The runtime, or why there is none, for a person to read."""
    found = _IDENTIFIER.fullmatch(identifier)
    if found is None:
        return f"{identifier} can't be run by this node: it runs python3.x, nodejsNN.x and provided.al2023"
    if found[1] == "python":
        here = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return Runtime("python", warning="" if identifier == here else _nearest(identifier, here))
    if found[1] == "provided":
        return Runtime("custom")
    executable = shutil.which("node")
    if executable is None:
        return f"{identifier} needs Node.js, which is not installed: install nodejs, and start the node again"
    here = f"nodejs{_node_major(executable)}.x"
    return Runtime("node", executable, "" if identifier == here else _nearest(identifier, here))


def _nearest(identifier: str, here: str) -> str:
    return f"{identifier} is not installed; this function runs on {here}"


def _node_major(executable: str) -> str:
    try:
        told = subprocess.run([executable, "--version"], capture_output=True, text=True, timeout=_NODE_STARTS_S)
    except (OSError, subprocess.TimeoutExpired):
        return "?"
    return told.stdout.strip().removeprefix("v").partition(".")[0] or "?"
