"""Cold starts: an environment forked from a warm template, beside a plain interpreter that does the same.

Pairs of runs, one of each in turn; medians. The initialisation is what REPORT calls Init Duration.
"""

import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pandas

from penstock.engines.functions.packages import managed_layer_dir
from penstock.engines.functions.pool import LocalFunctionPool
from penstock.engines.functions.ports import Credentials, FunctionSpec, Invocation
from penstock.engines.functions.runtimes import OWN_PYTHON
from penstock.kernel.clock import SystemClock
from penstock.kernel.entropy import SystemEntropy

PAIRS = 15
PANDAS_LAYER = "arn:aws:lambda:us-east-1:336392948345:layer:AWSSDKPandas-Python312:1"
HANDLER = "\ndef handler(event, context):\n    return 1\n"
CASES = {
    "empty handler": "",
    "boto3 client": "import boto3\ns3 = boto3.client('s3', region_name='us-east-1')",
    "pandas, pyarrow, boto3": "import boto3, pandas, pyarrow\nimport pyarrow.parquet",
}
VENDORED = "\ndef handler(event, context):\n    time.sleep(event)\n    return 1\n"
AIM_MS = {"pandas, pyarrow, boto3": 100.0}


class Silent:
    def write(self, spec: object, stream: object, lines: object) -> None: ...


class Fixed:
    async def credentials_for(self, spec: object) -> Credentials:
        return Credentials("AK", "SK", "T", 10**15)


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        asyncio.run(_measure(Path(folder)))


def open_pool(folder: Path, *, max_environments: int | None = None) -> LocalFunctionPool:
    clock = SystemClock()
    return LocalFunctionPool(
        work_dir=folder / "data" / "work",
        clock=clock,
        wall=clock,
        entropy=SystemEntropy(),
        sink=Silent(),
        credentials=Fixed(),
        endpoint=lambda: "http://127.0.0.1:1",
        max_environments=max_environments,
    )


async def _measure(folder: Path) -> None:
    pool = open_pool(folder)
    print(f"isolation: {pool.status()['isolation']}")
    layer = managed_layer_dir(PANDAS_LAYER, str(folder / "data" / "work"))
    for name, imports in CASES.items():
        code = folder / name.replace(" ", "-").replace(",", "")
        code.mkdir()
        (code / "app.py").write_text(imports + HANDLER)
        spec = spec_of(str(code), (layer,) if layer and "pandas" in name else ())
        await pool.warm(spec)
        ours, plain = [], []
        for number in range(PAIRS):
            outcome = await pool.invoke(replace(spec, id=f"{name}{number}"), Invocation("r", b"{}", spec.arn))
            assert outcome.status == "success", outcome.payload
            ours.append(outcome.init_ms or 0.0)
            plain.append(_plain_ms(imports))
        mine, theirs = statistics.median(ours), statistics.median(plain)
        aim = f", aim {AIM_MS[name]:g} ms" if name in AIM_MS else ""
        print(
            f"cold start, {name:<24}{mine:8.1f} ms   plain interpreter {theirs:8.1f} ms   {theirs / mine:5.1f} x{aim}"
        )
    await _measure_vendored(pool, folder)
    await pool.close()


async def _measure_vendored(pool: LocalFunctionPool, folder: Path) -> None:
    """pandas and pyarrow in the function's own zip, as builders put them there: the first start, and later ones."""
    code = folder / "vendored"
    code.mkdir()
    site = Path(pandas.__file__).parent.parent
    for name in ("pandas", "numpy", "numpy.libs", "pyarrow", "dateutil", "pytz", "tzdata", "six.py"):
        if (site / name).exists():
            (shutil.copytree if (site / name).is_dir() else shutil.copy)(site / name, code / name)
    for name in ("pandas", "numpy", "pyarrow", "python_dateutil", "pytz", "tzdata", "six"):
        for record in site.glob(f"{name}-*.dist-info"):
            shutil.copytree(record, code / record.name)
    (code / "app.py").write_text("import pandas, pyarrow.parquet\nimport time\n" + VENDORED)
    spec = replace(spec_of(str(code), ()), id="vendored", runtime=OWN_PYTHON)
    first = await pool.invoke(spec, Invocation("r", b"0", spec.arn))
    assert first.status == "success", first.payload
    while not pool.status()["libraries"]:
        assert pool._endings, "its libraries can't be held"
        await asyncio.sleep(0.05)
    later = []
    for _ in range(PAIRS):
        one, other = await asyncio.gather(*(pool.invoke(spec, Invocation("r", b"0.1", spec.arn)) for _ in range(2)))
        later += [outcome.init_ms for outcome in (one, other) if outcome.init_ms is not None]
        for environment in [one for idle in pool._idle.values() for one in idle]:
            pool._end(environment)
        pool._idle.clear()
    print(f"cold start, pandas in the zip: first {first.init_ms:.0f} ms, later {statistics.median(later):.1f} ms")


def _plain_ms(imports: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", imports or "pass"], check=True)
    return (time.perf_counter() - began) * 1000


def spec_of(code_dir: str, layers: tuple[str, ...]) -> FunctionSpec:
    return FunctionSpec(
        id="f",
        arn="arn:aws:lambda:us-east-1:000000000000:function:f",
        name="f",
        version="$LATEST",
        account_id="000000000000",
        region="us-east-1",
        runtime="python3.12",
        handler="app.handler",
        code_dir=code_dir,
        layer_dirs=layers,
        memory_mb=1024,
        timeout_s=30,
    )
