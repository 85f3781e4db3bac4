"""Which of the machine's interpreters runs a runtime identifier: the same one, the nearest one, or none.

| identifier | runs on |
| python3.N  | python3.N (from 3.10 on) where it's found: on PATH, of pyenv, of uv; else on the node's own Python |
| nodejsN.x  | node N where it's found: on PATH, of nvm, fnm, asdf or volta; else on the node that is on PATH |
| javaN      | the java that is on PATH, with AWS's runtime interface client from Maven's local repository |
| provided*  | the function's own bootstrap |

Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
"""

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

OWN_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
OLDEST_MINOR = 10
"""Of the Pythons on which AWS's SDK and runtime client still run. Source: their packages' Requires-Python."""
_IDENTIFIER = re.compile(r"(python|nodejs|java|provided)(?:[.]?([\w.]+))?")
_STARTS_S = 10
_JARS = (
    ("com/amazonaws", "aws-lambda-java-runtime-interface-client"),
    ("com/amazonaws", "aws-lambda-java-core"),
    ("com/amazonaws", "aws-lambda-java-serialization"),
    ("software/amazon/awssdk", "annotations"),
    ("software/amazon/awssdk", "utils-lite"),
)
REQUIRED_JARS = 3
"""Older clients don't need the last two."""
_PYTHONS = (
    ".pyenv/versions/{0}*/bin/python{0}",
    ".local/share/uv/python/cpython-{0}*/bin/python{0}",
    ".asdf/installs/python/{0}*/bin/python{0}",
)
_NODES = (
    ".nvm/versions/node/v{0}.*/bin/node",
    ".local/share/fnm/node-versions/v{0}.*/installation/bin/node",
    ".asdf/installs/nodejs/{0}.*/bin/node",
    ".volta/tools/image/node/{0}.*/bin/node",
)


@dataclass(frozen=True, slots=True)
class Runtime:
    """How a function is run. `warning` says where the machine's interpreter isn't the one that was asked for.

    libraries   of Java: AWS's client and what it needs
    version   of Python: 3.12; prefix: the folder that the interpreter needs to see, where it's known
    """

    kind: Literal["python", "node", "java", "custom"]
    executable: str = ""
    warning: str = ""
    version: str = ""
    prefix: str = ""
    libraries: tuple[str, ...] = ()


def runtime_version(identifier: str, region: str) -> tuple[str, str]:
    """The one version that a node has of a runtime, as AWS names versions, and its ARN: python:3.12.v1."""
    version = re.sub(r"^([a-z]+)[.]?", r"\1:", identifier).removesuffix(".x") + ".v1"
    return version, f"arn:aws:lambda:{region}::runtime:{hashlib.sha256(version.encode()).hexdigest()}"


OWN = Runtime("python", sys.executable, version=OWN_PYTHON.removeprefix("python"), prefix=sys.base_prefix)
"""The node's own Python."""


def python_of(found: Runtime | str) -> Runtime:
    """The Python that an environment is forked from, whatever it becomes then: the runtime itself, or the node's."""
    return found if isinstance(found, Runtime) and found.kind == "python" else OWN


class Runtimes:
    """What this machine offers.

    is_strict   a runtime that isn't installed is an error that says what to install, not a warning
    """

    def __init__(self, *, is_strict: bool = False) -> None:
        self._is_strict = is_strict
        self._asked: dict[str, Runtime | str] = {}

    def find(self, identifier: str, *, is_bound: bool = False) -> Runtime | str:
        """The runtime, or why there is none, for a person to read.

        is_bound   its layers hold packages that only the node's own Python can load
        """
        key = f"{identifier} with AWSSDKPandas" if is_bound else identifier
        if key not in self._asked:
            found = _find(identifier, is_bound=is_bound)
            if self._is_strict and isinstance(found, Runtime) and found.warning and not is_bound:
                found = f"{found.warning}. --strict-runtimes asks for the same one: install {_advice(identifier)}"
            self._asked[key] = found
        return self._asked[key]

    def refusal(self, identifier: str) -> str:
        """Why a function of this runtime is refused; "" where it isn't. What isn't strict refuses none."""
        found = self.find(identifier) if self._is_strict else ""
        return found if isinstance(found, str) else ""

    def mapping(self) -> dict[str, str]:
        """For people: what runs each runtime that was asked for so far."""
        told = {}
        for identifier, found in sorted(self._asked.items()):
            if isinstance(found, str):
                told[identifier] = found
            elif found.kind != "custom":
                told[identifier] = found.warning or found.executable
        return told


def _find(identifier: str, *, is_bound: bool) -> Runtime | str:
    found = _IDENTIFIER.fullmatch(identifier)
    if found is None:
        return f"{identifier} can't be run by this node: it runs python3.x, nodejsNN.x, javaN and provided.al2023"
    if found[1] == "provided":
        return Runtime("custom")
    version = found[2] or ""
    if found[1] == "java":
        return _java(identifier, version)
    return _python(identifier, version, is_bound) if found[1] == "python" else _node(identifier, version)


def _python(identifier: str, version: str, is_bound: bool) -> Runtime:
    if identifier == OWN_PYTHON:
        return OWN
    executable = _exact_python(version)
    if executable and not is_bound:
        prefix = str(Path(executable).resolve().parent.parent)
        return Runtime("python", executable, "", version, prefix)
    why = (
        f"{identifier} can't load this machine's AWSSDKPandas layer" if executable else f"{identifier} isn't installed"
    )
    return replace(OWN, warning=f"{why}: it runs on {OWN_PYTHON}")


def _node(identifier: str, version: str) -> Runtime | str:
    major = version.removesuffix(".x")
    exact = next(_found(f"node{major}", _NODES, major), "")
    executable = exact or shutil.which("node")
    if not executable:
        return f"{identifier} needs Node.js, which isn't installed: install {_advice(identifier)}, start the node again"
    here = _node_major(executable)
    warning = "" if here == major else f"{identifier} isn't installed: it runs on nodejs{here}.x"
    return Runtime("node", executable, warning, here, str(Path(executable).resolve().parent.parent))


def _java(identifier: str, version: str) -> Runtime | str:
    executable = shutil.which("java")
    if not executable:
        return f"{identifier} needs Java, which isn't installed: install {_advice(identifier)}, start the node again"
    jars = [_newest_jar(Path.home() / ".m2" / "repository" / group, name) for group, name in _JARS]
    if not all(jars[:REQUIRED_JARS]):
        return (
            f"{identifier} needs AWS's runtime interface client in Maven's local repository. "
            "Run: mvn dependency:get -Dartifact=com.amazonaws:aws-lambda-java-runtime-interface-client:2.8.7"
        )
    here = _java_major(executable)
    is_same = here == version.partition(".")[0]
    warning = "" if is_same else f"{identifier} isn't installed: it runs on java{here}"
    prefix = str(Path(executable).resolve().parent.parent)
    return Runtime("java", executable, warning, here, prefix, tuple(filter(None, jars)))


def _newest_jar(folder: Path, name: str) -> str:
    found = folder.glob(f"{name}/*/{name}-*.jar")
    plain = [jar for jar in found if jar.name == f"{name}-{jar.parent.name}.jar"]
    return str(max(plain, key=lambda jar: _numbers(jar.parent.name), default="")) if plain else ""


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


@cache
def _java_major(executable: str) -> str:
    """`java -version` of 8 says 1.8."""
    found = re.search(r'version "(?:1\.)?(\d+)', _told([executable, "-version"], is_error=True))
    return found[1] if found else "?"


def _advice(identifier: str) -> str:
    if identifier.startswith("java"):
        return f"a JDK {identifier.removeprefix('java').partition('.')[0]} (your system's packages, or Corretto)"
    if identifier.startswith("python"):
        version = identifier.removeprefix("python")
        return f"Python {version} (`uv python install {version}` or `pyenv install {version}`)"
    return f"Node.js {identifier.removeprefix('nodejs').removesuffix('.x')} (with nvm, fnm or your system's packages)"


@cache
def _exact_python(version: str) -> str:
    """Its path, if it's there and starts; cached as asking costs a process."""
    minor = version.partition(".")[2]
    if not minor.isdigit() or int(minor) < OLDEST_MINOR:
        return ""
    for path in _found(f"python{version}", _PYTHONS, version):
        if _told([path, "-I", "-S", "-c", "import sys; print(sys.version_info[1])"]) == minor:
            return path
    return ""


@cache
def _node_major(executable: str) -> str:
    return _told([executable, "--version"]).removeprefix("v").partition(".")[0] or "?"


def _found(name: str, patterns: tuple[str, ...], version: str) -> Iterator[str]:
    on_path = shutil.which(name)
    if on_path:
        yield on_path
    for pattern in patterns:
        yield from map(str, sorted(Path.home().glob(pattern.format(version)), reverse=True))


def _told(command: list[str], *, is_error: bool = False) -> str:
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=_STARTS_S)
        return (told.stderr if is_error else told.stdout).strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
