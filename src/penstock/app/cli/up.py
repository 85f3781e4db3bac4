"""`penstock up`: a node in the foreground."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import uvloop
from cyclopts import Parameter

from penstock.app.build import Node, NodeStartFailed
from penstock.app.config import Auth, ClockName, Config, ConfigError, Isolation, Limits, load
from penstock.storage import snapshots

EXIT_FAILED, EXIT_USAGE = 1, 2


def up(
    *,
    host: str | None = None,
    port: int | None = None,
    data: Path | None = None,
    auth: Auth | None = None,
    clock: ClockName | None = None,
    limits: Limits | None = None,
    isolation: Isolation | None = None,
    strict_runtimes: Annotated[bool | None, Parameter(negative=())] = None,
    quiet: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Run a node in the foreground until Ctrl-C.

    Prints `ready http://HOST:PORT` on stdout once it answers; then AWS_ENDPOINT_URL=http://HOST:PORT is all that a
    client needs. Settings may also come from penstock.toml or PENSTOCK_* variables.

    Parameters
    ----------
    host
        Where to listen: 127.0.0.1 unless told otherwise. Anything but this machine needs --auth enforce.
    port
        4566 unless told otherwise; 0 takes a free one.
    data
        The folder that holds everything the node knows: ~/.local/share/penstock unless told otherwise.
    auth
        open: any credentials are the account's root. enforce: signatures and IAM policies are checked.
    clock
        real, or virtual: time stands still until `penstock clock advance 6h`.
    limits
        off, or aws: throughput is bounded as on AWS (a Kinesis shard's 1 MB/s), and what is beyond is throttled.
    isolation
        auto takes the strongest that this machine allows; sandbox insists on it; process does without.
    strict_runtimes
        Refuse functions whose runtime isn't installed on this machine; else the nearest one runs them, with a warning.
    quiet
        No banner on stderr.
    """
    flags = {
        "host": host,
        "port": port,
        "data": data,
        "auth": auth,
        "clock": clock,
        "limits": limits,
        "isolation": isolation,
        "strict_runtimes": strict_runtimes,
    }
    try:
        config = load(flags=flags, environment=os.environ, folder=Path.cwd())
    except ConfigError as error:
        print(f"penstock: {error}", file=sys.stderr)
        return EXIT_USAGE
    logging.basicConfig(
        stream=sys.stderr, level=config.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    return uvloop.run(_serve(config, quiet=quiet))


async def _serve(config: Config, *, quiet: bool) -> int:
    """Run until told to stop; a restore stops the node, puts the snapshot in place and starts it again."""
    stop = _Stop()
    while True:
        node = Node(config, on_restore=stop.restore)
        try:
            url = await node.start()
        except NodeStartFailed as error:
            print(f"penstock: {error}", file=sys.stderr)
            return EXIT_FAILED
        gc.collect()
        gc.freeze()
        if not quiet:
            print(_banner(node.facts), file=sys.stderr, flush=True)
        with contextlib.suppress(BrokenPipeError):
            print(f"ready {url}", flush=True)
        await stop.asked.wait()
        await node.stop()
        name = stop.take_restore()
        if name is None:
            return 0
        await asyncio.to_thread(snapshots.restore, config.data_dir, name)
        config = node.config_with_its_port()


class _Stop:
    """Why the node should stop: a signal, or a snapshot to go back to. A second signal ends the process at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._snapshot: str | None = None
        self._is_signalled = False
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: int) -> None:
        if self._is_signalled:
            os._exit(128 + number)
        self._is_signalled = True
        self.asked.set()

    def restore(self, name: str) -> None:
        self._snapshot = name
        self.asked.set()

    def take_restore(self) -> str | None:
        name, self._snapshot = self._snapshot, None
        if self._is_signalled or name is None:
            return None
        self.asked.clear()
        return name


def _banner(facts: dict[str, Any]) -> str:
    lines = [
        f"penstock {facts['version']}",
        f"  data       {facts['data']}",
        f"  auth       {facts['auth']}"
        + (" (any credentials are the account's root)" if facts["auth"] == "open" else ""),
        f"  clock      {facts['clock']}",
        f"  isolation  {facts['isolation']}",
        *(f"             not enforced: {gap}" for gap in facts.get("isolation_gaps", ())),
    ]
    if facts.get("root_access_key_id"):
        lines.append(f"  root       access key {facts['root_access_key_id']}, its secret is in {facts['root_file']}")
    return "\n".join(lines)
