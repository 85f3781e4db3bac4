"""SnapStart: restores of a pandas, pyarrow and boto3 function one after the other, and what many at once weigh.

Every invocation stays in its handler until all have begun, so that each needs an environment of its own. Memory is
the sum of the environments' proportional set sizes (pages that are shared count by share), the snapshot included.
"""

import asyncio
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.start import PANDAS_LAYER, open_pool, spec_of
from penstock.engines.functions.packages import managed_layer_dir
from penstock.engines.functions.pool import LocalFunctionPool
from penstock.engines.functions.ports import FunctionSpec, Invocation

ENVIRONMENTS = 200
SERIAL = 40
BODY = """
import os, time
def handler(event, context):
    while event.get("hold") and not os.path.exists("/var/task/go"):
        time.sleep(0.05)
    return 1
"""
CASES = {
    "empty handler": "",
    "pandas, pyarrow, boto3": (
        "import boto3, pandas, pyarrow\nimport pyarrow.parquet\ns3 = boto3.client('s3', region_name='us-east-1')"
    ),
}


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> None:
    pool = open_pool(folder, max_environments=ENVIRONMENTS + 16)
    pool._soft_max = pool._hard_max  # all at once is what is measured
    print(f"isolation: {pool.status()['isolation']}")
    layer = managed_layer_dir(PANDAS_LAYER, str(folder / "data" / "work"))
    for name, imports in CASES.items():
        code = folder / name.replace(" ", "-").replace(",", "")
        code.mkdir()
        (code / "app.py").write_text(imports + BODY)
        spec = replace(
            spec_of(str(code), (layer,) if layer and "pandas" in name else ()),
            id=f"snap-{code}",
            arn="arn:aws:lambda:us-east-1:000000000000:function:f:1",
            version="1",
            timeout_s=60,
            snap_start=True,
        )
        reason = await pool.snapshot(spec)
        assert not reason, reason
        await _serial(pool, name, spec, code, 0.3)
        await _serial(pool, name, spec, code, 0.0)
        await _together(pool, name, spec, code)
        await pool.retire(spec.arn)
    await pool.close()


async def _serial(pool: LocalFunctionPool, name: str, spec: FunctionSpec, code: Path, pause_s: float) -> None:
    """One restore at a time, so long apart, while the earlier environments wait in their handlers."""
    held, times, restores = [], [], []
    for number in range(SERIAL):
        await asyncio.sleep(pause_s)
        began = time.perf_counter()
        outcome = await pool.invoke(spec, Invocation(f"r{number}", b"{}", spec.arn))
        times.append((time.perf_counter() - began) * 1000)
        restores.append(outcome.restore_ms or 0.0)
        assert outcome.status == "success", outcome.payload
        held.append(asyncio.ensure_future(pool.invoke(spec, Invocation("h", b'{"hold": true}', spec.arn))))
        await asyncio.sleep(0)
    (code / "go").touch()
    await asyncio.gather(*held)
    (code / "go").unlink()
    for environment in [one for idle in pool._idle.values() for one in idle]:
        pool._end(environment)
    pool._idle.clear()
    when = f"{pause_s} s apart" if pause_s else "one after the other"
    print(
        f"{name:<24} {when:<20} restore {statistics.median(restores):6.1f} ms"
        f"   cold invocation, whole {statistics.median(times):6.1f} ms   best {min(times):6.1f} ms"
    )


async def _together(pool: LocalFunctionPool, name: str, spec: FunctionSpec, code: Path) -> None:
    before = _pss_mb()
    began = time.perf_counter()
    held = [
        asyncio.ensure_future(pool.invoke(spec, Invocation(f"t{number}", b'{"hold": true}', spec.arn)))
        for number in range(ENVIRONMENTS)
    ]
    while sum(one.state == "busy" for one in pool._environments) < ENVIRONMENTS:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    all_s = time.perf_counter() - began
    await asyncio.sleep(1)
    weight = _pss_mb()
    (code / "go").touch()
    await asyncio.gather(*held)
    (code / "go").unlink()
    print(f"{name:<24} {ENVIRONMENTS} at once: all run after {all_s:.2f} s, {weight:,.0f} MB ({before:,.0f} before)")


def _pss_mb() -> float:
    """All processes below this one."""
    total = 0
    for pid in _descendants(os.getpid()):
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            continue
    return total / 1024


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    found, todo = [], [root]
    while todo:
        for child in children.get(todo.pop(), []):
            found.append(child)
            todo.append(child)
    return found
