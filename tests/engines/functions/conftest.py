"""A pool on real processes, in each isolation that this machine allows."""

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from penstock.engines.functions.pool import LocalFunctionPool
from penstock.engines.functions.ports import Credentials, FunctionSpec, Invocation
from penstock.gateway.runtime_http import HttpRuntimeFaces
from penstock.kernel.clock import SystemClock
from penstock.kernel.entropy import SystemEntropy

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


class Sink:
    def __init__(self):
        self.lines = []

    def write(self, spec, stream, lines):
        self.lines += [line.message for line in lines]


class NoCredentials:
    async def credentials_for(self, spec):
        return Credentials("AKID", "SECRET", "TOKEN", 10**15)


class Bench:
    """Functions by their source, run in one pool."""

    def __init__(self, pool, folder, sink):
        self.pool, self.sink = pool, sink
        self._folder = folder

    def spec(self, source, *, name="f", files=None, **settings):
        code = self._folder / f"code-{name}"
        code.mkdir(exist_ok=True)
        for path, text in {"app.py": source, **(files or {})}.items():
            (code / path).write_text(text)
            (code / path).chmod(0o555 if path == "bootstrap" else 0o444)
        base = FunctionSpec(
            id=name,
            arn=ARN.replace(":f", f":{name}") if name != "f" else ARN,
            name=name,
            version="$LATEST",
            account_id="000000000000",
            region="us-east-1",
            runtime=PYTHON,
            handler="app.handler",
            code_dir=str(code),
        )
        return replace(base, **settings)

    def folder(self, name):
        path = self._folder / name
        path.mkdir()
        return str(path)

    async def run(self, spec, payload=b"{}", *, request_id="request-1", stream=None):
        return await self.pool.invoke(spec, Invocation(request_id, payload, spec.arn, "Root=1-2-3", "", stream))


@asynccontextmanager
async def open_bench(folder, isolation, **settings):
    clock, sink = SystemClock(), Sink()
    faces = HttpRuntimeFaces(now_ms=clock.now_ms)
    pool = LocalFunctionPool(
        work_dir=folder / "data" / "work",
        clock=clock,
        wall=clock,
        entropy=SystemEntropy(),
        sink=sink,
        credentials=NoCredentials(),
        endpoint=lambda: "http://127.0.0.1:1",
        isolation=isolation,
        faces=faces,
        **settings,
    )
    try:
        yield Bench(pool, folder, sink)
    finally:
        await pool.close()
        await faces.aclose()


CAN_SANDBOX = sys.platform == "linux" and os.geteuid() == 0
ISOLATIONS = ["process", pytest.param("sandbox", marks=pytest.mark.skipif(not CAN_SANDBOX, reason="needs root"))]


@pytest.fixture(params=ISOLATIONS)
def isolation(request):
    return request.param


@pytest.fixture
def bench(tmp_path, isolation):
    """`async with bench() as b`: in the loop of the test."""
    return lambda **settings: open_bench(tmp_path, isolation, **settings)


@pytest.fixture
def sandboxed(tmp_path):
    if not CAN_SANDBOX:
        pytest.skip("namespaces need root")
    return lambda **settings: open_bench(tmp_path, "sandbox", **settings)


@pytest.fixture
def together():
    return asyncio.gather
