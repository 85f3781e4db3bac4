"""`penstock demo`: the main job on a real data set, on a node of its own."""

import json
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from penstock.app.cli.flights import AGGREGATE, BAD_FILES, BUCKET, CLEAN, MEMORY_MB, Flights, Stalled, Starts
from penstock.app.cli.flights import daily_files as _daily_files
from penstock.app.client import DEFAULT_ENDPOINT
from penstock.kernel.clock import SystemClock

_GB_SECOND_USD = 0.0000166667  # Source: https://aws.amazon.com/lambda/pricing/ (x86, us-east-1)
_REQUEST_USD = 0.20 / 1_000_000
_STOP_S = 8


class NodeFailed(Exception):
    """The node ended before it was ready."""


def start_node(data_dir: Path, port: int) -> subprocess.Popen[str]:
    """A node as its own process, ready to answer. Its log goes to node.log in `data_dir`."""
    data_dir.mkdir(parents=True, exist_ok=True)
    program = [sys.executable, "-c", "from penstock.app.main import main; main()"]
    with (data_dir / "node.log").open("a") as log:
        node = subprocess.Popen(
            [*program, "up", "--port", str(port), "--data", str(data_dir / "data")],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert node.stdout is not None
    for line in node.stdout:
        if line.startswith("ready "):
            return node
    node.wait()
    raise NodeFailed(f"the node ended with {node.returncode}:\n{(data_dir / 'node.log').read_text()[-2000:]}")


def stop_node(node: subprocess.Popen[str]) -> None:
    if node.poll() is not None:
        return
    node.send_signal(signal.SIGTERM)
    try:
        node.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        node.kill()
        node.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def demo(
    *, days: int = 365, keep: bool = False, as_json: Annotated[bool, Parameter(name="--json", negative=())] = False
) -> int:
    """Clean a year of real flights into Parquet with two Lambda functions, and show what it took.

    Parameters
    ----------
    days
        How many days of 2013 to process, 1 to 365.
    keep
        Leave the node running at the end, with its data, to look further.
    as_json
        Print the result as JSON.
    """
    console = Console(stderr=as_json)
    if not 1 <= days <= 365:
        console.print("--days must be between 1 and 365")
        return 2
    folder = Path(tempfile.mkdtemp(prefix="penstock-demo-"))
    node: subprocess.Popen[str] | None = None
    is_done = False
    try:
        port = free_port()
        node = start_node(folder, port)
        console.print(f"node    http://127.0.0.1:{port}, data in {folder}")
        result = _run(Flights(f"http://127.0.0.1:{port}"), days, console)
        is_done = True
        _show(result, console, folder / "data", is_json=as_json, is_kept=keep)
        if keep:
            console.print("The node goes on; Ctrl-C ends it.")
            node.wait()
        return 0 if result["is_complete"] else 1
    except (Stalled, NodeFailed) as error:
        console.print(f"demo failed: {error}\nthe node's log is {folder / 'node.log'}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if node is not None:
            stop_node(node)
        if is_done and as_json and not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _run(flights: Flights, days: int, console: Console) -> dict[str, Any]:
    clock = SystemClock()
    began_s = clock.monotonic_s()
    flights.deploy()
    console.print(f"deployed {CLEAN} and {AGGREGATE} in {clock.monotonic_s() - began_s:.1f} s")
    began_s = clock.monotonic_s()
    rows = files = 0
    first: tuple[str, bytes] | None = None
    with _progress(console) as progress:
        uploads = progress.add_task("uploading", total=days + len(BAD_FILES))
        for date, body, count in _daily_files(days):
            flights.upload(date, body)
            first = first or (date, body)
            files, rows = files + 1, rows + count
            progress.advance(uploads)
        for name, body in BAD_FILES.items():
            flights.upload(name, body)
            progress.advance(uploads)
        done = progress.add_task("processing", total=days + len(BAD_FILES))
        flights.wait(
            days=files, bad=len(BAD_FILES), progress=lambda count, total: progress.update(done, completed=count)
        )
    elapsed_s = clock.monotonic_s() - began_s
    assert first is not None
    is_unchanged = _upload_again(flights, *first)
    result = _collect(flights, files=files, rows=rows, elapsed_s=elapsed_s)
    result["second_upload_changed_nothing"] = is_unchanged
    result["is_complete"] = (
        is_unchanged and result["rows_clean"] + sum(result["rejected"].values()) == rows and result["files_in"] == days
    )
    return result


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    columns = (TextColumn("{task.description:11}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress


def _upload_again(flights: Flights, date: str, body: bytes) -> bool:
    """Whether uploading a file again left its output as it was."""
    before = {key: item["LastModified"] for key, item in flights.objects("silver/").items()}
    flights.upload(date, body)
    is_skipped = flights.wait_for_log(CLEAN, f"Already processed, skipping: bronze/{date}.csv")
    after = {key: item["LastModified"] for key, item in flights.objects("silver/").items()}
    return is_skipped and before == after


def _collect(flights: Flights, *, files: int, rows: int, elapsed_s: float) -> dict[str, Any]:
    rejected: Counter[str] = Counter()
    clean = 0
    for report in flights.reports():
        clean += report["rows_out"]
        rejected.update(report["rejected"])
    parquet = {layer: flights.objects(f"{layer}/") for layer in ("silver", "gold")}
    functions = {name: flights.starts(name) for name in (CLEAN, AGGREGATE)}
    return {
        "endpoint": flights.endpoint,
        "elapsed_s": round(elapsed_s, 1),
        "files_in": files,
        "rows_in": rows,
        "rows_clean": clean,
        "rejected": dict(rejected.most_common()),
        "quarantined": flights.quarantined(),
        "parquet": {
            layer: {"files": len(found), "bytes": sum(item["Size"] for item in found.values())}
            for layer, found in parquet.items()
        },
        "functions": {name: _function(starts) for name, starts in functions.items()},
        "aws_usd": round(sum(_cost_usd(starts) for starts in functions.values()), 6),
    }


def _function(starts: Starts) -> dict[str, Any]:
    return {
        "invocations": len(starts.durations),
        "cold": len(starts.inits),
        "warm": starts.warm,
        "init_ms_median": round(statistics.median(starts.inits), 1) if starts.inits else None,
        "duration_ms_median": round(statistics.median(starts.durations), 1) if starts.durations else None,
        "billed_ms": starts.billed_ms,
        "memory_mb_max": starts.memory_mb_max,
    }


def _cost_usd(starts: Starts) -> float:
    return starts.billed_ms / 1000 * MEMORY_MB / 1024 * _GB_SECOND_USD + len(starts.durations) * _REQUEST_USD


def _show(result: dict[str, Any], console: Console, data: Path, *, is_json: bool, is_kept: bool) -> None:
    if is_json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("in", f"{result['files_in']:,} files, {result['rows_in']:,} rows")
    table.add_row("clean", f"{result['rows_clean']:,} rows")
    for reason, count in result["rejected"].items():
        table.add_row("rejected", f"{count:,} rows: {reason}")
    for name, reason in result["quarantined"].items():
        table.add_row("quarantined", f"{name}: {reason}")
    for layer, parquet in result["parquet"].items():
        table.add_row(layer, f"{parquet['files']:,} Parquet files, {parquet['bytes'] / 1e6:.1f} MB")
    for name, starts in result["functions"].items():
        table.add_row(
            name,
            f"{starts['invocations']:,} invocations: {starts['cold']} cold (init {starts['init_ms_median']} ms), "
            f"{starts['warm']:,} warm; {starts['duration_ms_median']} ms each at the median",
        )
    table.add_row("same again", "changed nothing" if result["second_upload_changed_nothing"] else "CHANGED the output")
    table.add_row("time", f"{result['elapsed_s']} s from the first upload to the last result")
    table.add_row("on AWS", f"${result['aws_usd']:.4f} for Lambda, from the billed durations at {MEMORY_MB} MB")
    console.print(table)
    _show_commands(console, result["endpoint"] if is_kept else None, data)


def _show_commands(console: Console, endpoint: str | None, data: Path) -> None:
    """What to type to look further; without an endpoint the node has ended, and its data is still there."""
    console.print("\nTo look further:")
    if endpoint is None:
        console.print(f"  penstock up --data {data} &", soft_wrap=True, markup=False, highlight=False)
        endpoint = DEFAULT_ENDPOINT
    for command in (
        f"penstock logs {CLEAN} --endpoint {endpoint}",
        f"penstock status --endpoint {endpoint}",
        f"aws --endpoint-url {endpoint} s3 ls --recursive s3://{BUCKET}/gold/",
    ):
        console.print(f"  {command}", soft_wrap=True, markup=False, highlight=False)
