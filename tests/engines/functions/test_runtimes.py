"""Which interpreter runs which runtime, on this machine and on one that has others."""

import json
import sys

import pytest

from penstock.engines.functions import runtimes
from penstock.engines.functions.runtimes import OWN_PYTHON, Runtime, Runtimes

OTHERS = [f"python3.{minor}" for minor in (10, 11, 12, 13, 14) if f"python3.{minor}" != OWN_PYTHON]
VERSION = "import sys, json, boto3\ndef handler(event, context): return [sys.version_info[:2], boto3.__version__]\n"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A home and a PATH with interpreters that only say their version; called with name and path below home."""
    runtimes._exact_python.cache_clear()
    runtimes._node_major.cache_clear()
    monkeypatch.setattr(runtimes.Path, "home", lambda: tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def install(path, says):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\necho {says}\n")
        file.chmod(0o755)
        return str(file)

    yield install
    runtimes._exact_python.cache_clear()
    runtimes._node_major.cache_clear()


@pytest.mark.parametrize(
    ("path", "runtime", "says"),
    [
        ("bin/python3.19", "python3.19", "19"),
        (".pyenv/versions/3.19.2/bin/python3.19", "python3.19", "19"),
        (".local/share/uv/python/cpython-3.19.1-linux-x86_64-gnu/bin/python3.19", "python3.19", "19"),
        ("bin/node24", "nodejs24.x", "v24.1.0"),
        (".nvm/versions/node/v24.3.1/bin/node", "nodejs24.x", "v24.3.1"),
    ],
)
def test_the_same_interpreter_is_found_where_people_have_it(machine, path, runtime, says):
    executable = machine(path, says)
    found = Runtimes().find(runtime)
    assert (found.executable, found.warning) == (executable, "")
    assert Runtimes().mapping() == {}


def test_one_that_does_not_start_is_passed_over(machine):
    machine("bin/python3.19", "3")
    assert Runtimes().find("python3.19").executable == sys.executable


def test_the_nearest_stands_in_with_a_warning_that_status_shows(machine):
    machine("bin/node", "v20.1.0")
    known = Runtimes()
    assert known.find("nodejs24.x").warning == "nodejs24.x isn't installed: it runs on nodejs20.x"
    assert known.find("python3.19").warning == f"python3.19 isn't installed: it runs on {OWN_PYTHON}"
    assert set(known.mapping()) == {"nodejs24.x", "python3.19"}
    assert known.refusal("python3.19") == ""


def test_strict_runtimes_say_what_to_install(machine):
    machine("bin/node", "v20.1.0")
    strict = Runtimes(is_strict=True)
    assert "pyenv install 3.19" in strict.refusal("python3.19")
    assert "Node.js 24" in strict.refusal("nodejs24.x")
    assert strict.refusal(OWN_PYTHON) == ""
    assert strict.refusal("nodejs20.x") == ""


def test_a_layer_of_the_nodes_own_packages_binds_to_its_own_python(machine):
    machine("bin/python3.19", "19")
    found = Runtimes().find("python3.19", is_bound=True)
    assert found.executable == sys.executable
    assert "AWSSDKPandas" in found.warning


@pytest.mark.parametrize("runtime", OTHERS)
async def test_a_function_runs_on_the_python_that_it_asks_for(bench, runtime):
    found = Runtimes().find(runtime)
    if not isinstance(found, Runtime) or found.warning:
        pytest.skip(f"{runtime} isn't installed")
    async with bench() as b:
        outcome = await b.run(b.spec(VERSION, runtime=runtime, timeout_s=30))
        minor = int(runtime.removeprefix("python3."))
        assert outcome.status == "success", b.sink.lines
        assert json.loads(outcome.payload)[0] == [3, minor]
        assert not any("WARNING" in line for line in b.sink.lines)
        snapped = b.spec(VERSION, name="snapped", runtime=runtime, version="1", snap_start=True, memory_mb=256)
        assert await b.pool.snapshot(snapped) == ""
        outcome = await b.run(snapped)
        assert json.loads(outcome.payload)[0] == [3, minor]
        assert outcome.restore_ms is not None
