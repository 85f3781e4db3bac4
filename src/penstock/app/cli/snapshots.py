"""`penstock snapshot`: keeping a node's whole state under a name, and going back to it."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from cyclopts import App

from penstock.app.cli.look import Json, report_failure
from penstock.app.client import NodeUnreachable, Refused, ask, endpoint_of
from penstock.app.config import ConfigError, load
from penstock.kernel.clock import SystemClock
from penstock.storage import snapshots

app = App(
    name="snapshot",
    help="Keep all that a node knows under a name, and go back to it. Objects are shared, so a snapshot of gigabytes "
    "takes milliseconds. With --data, a stopped node's folder is used; else a running node is asked.",
)
_RESTART_S = 30


@app.command
def save(name: str, /, *, data: Path | None = None, endpoint: str | None = None, as_json: Json = False) -> int:
    """Keep the present state as NAME.

    Parameters
    ----------
    name
        Letters, digits, dots, dashes and underscores.
    data
        The data folder of a node that isn't running.
    endpoint
        The node: AWS_ENDPOINT_URL, or http://127.0.0.1:4566.
    as_json
        Print JSON.
    """
    try:
        if data is not None:
            found = snapshots.save(_folder(data), name)
            row: dict[str, Any] = {"name": found.name, "map_bytes": found.map_bytes}
        else:
            row = ask(endpoint_of(endpoint), "POST", "snapshots", {"name": name})
    except (NodeUnreachable, Refused, OSError, ValueError, ConfigError) as error:
        return report_failure(error)
    print(
        json.dumps(row) if as_json else f"saved {row['name']} ({row['map_bytes']:,} bytes of state; objects are shared)"
    )
    return 0


@app.command
def restore(name: str, /, *, data: Path | None = None, endpoint: str | None = None) -> int:
    """Go back to NAME. What happened since is gone, unless it was saved.

    Parameters
    ----------
    name
        A snapshot's name: see `penstock snapshot list`.
    data
        The data folder of a node that isn't running.
    endpoint
        The node: AWS_ENDPOINT_URL, or http://127.0.0.1:4566. It restarts.
    """
    try:
        if data is not None:
            snapshots.restore(_folder(data), name)
        else:
            where = endpoint_of(endpoint)
            started = ask(where, "GET", "health")["started"]
            ask(where, "POST", "snapshots/restore", {"name": name})
            asyncio.run(_wait_for_restart(where, started))
    except KeyError:
        return report_failure(Refused(f"there is no snapshot {name!r}"))
    except (NodeUnreachable, Refused, OSError, ValueError, ConfigError) as error:
        return report_failure(error)
    print(f"restored {name}")
    return 0


@app.command(name="list")
def list_(*, data: Path | None = None, endpoint: str | None = None, as_json: Json = False) -> int:
    """All snapshots, oldest first.

    Parameters
    ----------
    data
        The data folder of a node that isn't running.
    endpoint
        The node: AWS_ENDPOINT_URL, or http://127.0.0.1:4566.
    as_json
        Print JSON.
    """
    try:
        if data is not None:
            rows = [{"name": found.name, "map_bytes": found.map_bytes} for found in snapshots.list_all(_folder(data))]
        else:
            rows = ask(endpoint_of(endpoint), "GET", "snapshots")["snapshots"]
    except (NodeUnreachable, Refused, OSError, ConfigError) as error:
        return report_failure(error)
    if as_json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        print(f"{row.get('created', ''):<26}{row['map_bytes']:>14,} bytes  {row['name']}")
    return 0


def _folder(data: Path) -> Path:
    return load(flags={"data": data}, environment=os.environ, folder=Path.cwd()).data_dir


async def _wait_for_restart(endpoint: str, started: str) -> None:
    clock = SystemClock()
    until_s = clock.monotonic_s() + _RESTART_S
    while clock.monotonic_s() < until_s:
        try:
            if ask(endpoint, "GET", "health")["started"] != started:
                return
        except NodeUnreachable:
            pass  # between its stop and its start
        await clock.sleep(0.05)
    raise NodeUnreachable(f"the node at {endpoint} did not come back within {_RESTART_S} s: see its log")
