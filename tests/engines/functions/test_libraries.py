"""What a function imports is learned from its first initialisation, and held for the next ones."""

import asyncio
import json
from dataclasses import replace

import pytest

from penstock.engines.functions import libraries
from penstock.engines.functions.libraries import Learned, vendored

LIBRARY = "import time, uuid\ntime.sleep(0.1)\nMADE = uuid.uuid4().hex\nfrom slowlib import part\n"
SOURCE = """
import os, sys, time, uuid
import slowlib
OWN = uuid.uuid4().hex
def handler(event, context):
    time.sleep(event.get("wait", 0))
    return {"lib": slowlib.MADE, "own": OWN, "word": os.environ.get("WORD"), "key": os.environ["AWS_ACCESS_KEY_ID"],
            "stream": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"], "uid": os.getuid(), "path": sys.path[0],
            "tmp": os.listdir("/tmp") if os.getuid() else []}
"""
RECORD = "slowlib/__init__.py,sha256=x,1\nslowlib/part.py,,\nslowlib-1.dist-info/RECORD,,\n../bin/slow,,\n"


def slow(b, library=LIBRARY, **settings):
    spec = b.spec(SOURCE, timeout_s=20, memory_mb=256, **settings)
    (b._folder / "code-f" / "slowlib").mkdir(exist_ok=True)
    (b._folder / "code-f" / "slowlib-1.dist-info").mkdir(exist_ok=True)
    (b._folder / "code-f" / "slowlib" / "__init__.py").write_text(library)
    (b._folder / "code-f" / "slowlib" / "part.py").write_text("")
    (b._folder / "code-f" / "slowlib-1.dist-info" / "RECORD").write_text(RECORD)
    return spec


async def held(b):
    while not b.pool.status()["libraries"] and b.pool._endings:  # noqa: ASYNC110 - the pool tells nobody
        await asyncio.sleep(0)
    return b.pool.status()["libraries"]


async def test_the_second_cold_start_finds_its_libraries_loaded_and_the_rest_anew(bench):
    async with bench() as b:
        spec = slow(b, environment={"WORD": "w"})
        first = await b.run(spec)
        assert first.status == "success", b.sink.lines
        assert first.init_ms > 100
        assert [one["function"] for one in await held(b)] == [spec.arn]
        outcomes = await asyncio.gather(*(b.run(spec, b'{"wait": 0.3}') for _ in range(3)))
        told = [json.loads(one.payload) for one in outcomes if one.is_cold]
        assert len(told) >= 2
        assert len({one["lib"] for one in told}) == 1
        assert len({one["own"] for one in told}) == len(told)
        assert len({one["stream"] for one in told}) == len(told)
        assert {(one["word"], one["key"]) for one in told} == {("w", "AKID")}
        assert min(one.init_ms for one in outcomes if one.is_cold) < 100
        assert all(one["tmp"] == [] for one in told)


async def test_what_was_learned_outlives_the_pool(bench, tmp_path):
    async with bench() as b:
        spec = slow(b)
        await b.run(spec)
        await held(b)
        names = sorted(Learned(b.pool._work_dir).find(spec))
    assert names == ["slowlib", "slowlib.part"]


async def test_libraries_that_start_threads_are_not_forked(bench):
    threads = LIBRARY + "import threading\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    async with bench() as b:
        spec = slow(b, threads)
        await b.run(spec)
        assert await held(b) == []
        assert Learned(b.pool._work_dir).find(spec) == []
        assert (await b.run(replace(spec, id="again"))).init_ms > 100


async def test_a_quick_initialisation_is_not_worth_it(bench, monkeypatch):
    monkeypatch.setattr(libraries, "WORTH_MS", 1e9)
    async with bench() as b:
        spec = slow(b, "from slowlib import part\nMADE = 1\n")
        await b.run(spec)
        assert await held(b) == []


async def test_a_deleted_functions_libraries_end(bench):
    async with bench() as b:
        spec = slow(b)
        await b.run(spec)
        await held(b)
        await b.pool.retire(spec.arn.removesuffix(f":{spec.version}"))
        assert b.pool.status()["libraries"] == []
        assert b.pool.status()["environments"] == 0


async def test_a_users_own_package_under_a_stock_name_is_the_one_that_is_imported(bench):
    source = "import boto3, urllib3\ndef handler(event, context): return urllib3.__file__\n"
    async with bench() as b:
        outcome = await b.run(b.spec(source, files={"urllib3.py": "mine = 1\n"}, timeout_s=20))
        told = outcome.payload.decode()
        assert "urllib3.py" in told or outcome.status == "error", told  # boto3 can't work with it, as on AWS


async def test_a_layers_packages_are_not_imported_as_root(sandboxed):
    async with sandboxed() as b:
        layer = b.folder("layer")
        (b._folder / "layer" / "python").mkdir()
        (b._folder / "layer" / "python" / "sneaky.py").write_text("import os\nUID = os.getuid()\n")
        source = "import sneaky\ndef handler(event, context): return sneaky.UID\n"
        assert int((await b.run(b.spec(source, layer_dirs=(layer,)))).payload) > 0


@pytest.mark.parametrize("told", [b"", b"{}", b"[1]", b'[["a"]]', b"\xff", b"[[1, true]]"])
def test_what_a_function_makes_up_is_not_learned(tmp_path, told):
    class Spec:
        code_dir, handler, runtime, layer_dirs, environment = str(tmp_path), "a.h", "python3.11", (), {}

    assert Learned(tmp_path).learn(Spec, told, init_ms=1000.0) == []


def test_only_what_an_installer_recorded_counts_as_vendored(tmp_path):
    info = tmp_path / "x-1.dist-info"
    info.mkdir()
    info.joinpath("RECORD").write_text(
        "x/__init__.py,,\nsix.py,,\n_x.cpython-311.so,,\nx-1.dist-info/RECORD,,\n../bin/x,,\n"
    )
    assert vendored(str(tmp_path)) == {"x", "six", "_x"}
