"""`penstock clock`: looking at a node's time, and moving it where it is virtual."""

import json

from cyclopts import App

from penstock.app.cli.look import Json, report_failure
from penstock.app.client import NodeUnreachable, Refused, ask, endpoint_of

app = App(name="clock", help="A node's time: look at it, or move it on a node started with --clock virtual.")


@app.command
def now(*, endpoint: str | None = None, as_json: Json = False) -> int:
    """What time it is on the node.

    Parameters
    ----------
    endpoint
        The node: AWS_ENDPOINT_URL, or http://127.0.0.1:4566.
    as_json
        Print JSON.
    """
    return _call("GET", None, endpoint, as_json=as_json)


@app.command
def advance(span: str, /, *, endpoint: str | None = None, as_json: Json = False) -> int:
    """Move virtual time on, carrying out all that becomes due on the way.

    Parameters
    ----------
    span
        How far: 90s, 15m, 6h, 2d, 1h30m.
    endpoint
        The node: AWS_ENDPOINT_URL, or http://127.0.0.1:4566.
    as_json
        Print JSON.
    """
    return _call("POST", {"advance": span}, endpoint, as_json=as_json)


@app.command
def run_until_idle(*, endpoint: str | None = None, as_json: Json = False) -> int:
    """Move virtual time from one due thing to the next, until nothing is left to do.

    Parameters
    ----------
    endpoint
        The node: AWS_ENDPOINT_URL, or http://127.0.0.1:4566.
    as_json
        Print JSON.
    """
    return _call("POST", {"run_until_idle": True}, endpoint, as_json=as_json)


def _call(method: str, body: dict[str, object] | None, endpoint: str | None, *, as_json: bool) -> int:
    try:
        found = ask(endpoint_of(endpoint), method, "clock", body)
    except (NodeUnreachable, Refused) as error:
        return report_failure(error)
    print(json.dumps(found) if as_json else f"{found['now']} ({found['clock']})")
    return 0
