"""`penstock status`, `logs` and `invoke`: looking at a running node and its functions."""

import asyncio
import base64
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from botocore.exceptions import ClientError, EndpointConnectionError
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from penstock.app.client import NodeUnreachable, Refused, ask, endpoint_of, sdk
from penstock.app.durations import parse_duration_ms
from penstock.kernel.clock import SystemClock

Json = Annotated[bool, Parameter(name="--json", negative=())]
Flag = Annotated[bool, Parameter(negative=())]
EXIT_FAILED, EXIT_USAGE, EXIT_UNREACHABLE = 1, 2, 3
_POLL_S = 0.5
_LATE_MS = 5000


def status(*, endpoint: str | None = None, as_json: Json = False) -> int:
    """What a node is doing: its settings, functions, calls, and what --auth enforce would have denied.

    Parameters
    ----------
    endpoint
        The node: AWS_ENDPOINT_URL, or http://127.0.0.1:4566.
    as_json
        Print everything as JSON.
    """
    try:
        found = ask(endpoint_of(endpoint), "GET", "status")
    except (NodeUnreachable, Refused) as error:
        return report_failure(error)
    if as_json:
        print(json.dumps(found, indent=2))
        return 0
    _show_status(found, Console())
    return 0


def logs(
    function: str,
    /,
    *,
    follow: Annotated[bool, Parameter(name=("-f", "--follow"), negative=())] = False,
    since: str = "1h",
    pattern: str = "",
    endpoint: str | None = None,
    as_json: Json = False,
) -> int:
    """The log of a function, oldest line first.

    Parameters
    ----------
    function
        Its name; or a log group, if it begins with a slash.
    follow
        Go on printing what comes, until Ctrl-C.
    since
        How far back to begin: 90s, 15m, 6h, 2d.
    pattern
        A CloudWatch Logs filter pattern: ERROR, or { $.level = "error" }.
    endpoint
        The node: AWS_ENDPOINT_URL, or http://127.0.0.1:4566.
    as_json
        One JSON object per line.
    """
    group = function if function.startswith("/") else f"/aws/lambda/{function}"
    try:
        since_ms = parse_duration_ms(since)
        where = endpoint_of(endpoint)
        begin_ms = ask(where, "GET", "clock")["now_ms"] - since_ms
        _print_logs(sdk("logs", where), group, pattern, begin_ms, follow=follow, as_json=as_json)
    except KeyboardInterrupt:
        return 130
    except (NodeUnreachable, Refused, ClientError, EndpointConnectionError, ValueError) as error:
        return report_failure(error)
    return 0


def invoke(
    function: str,
    payload: str = "{}",
    /,
    *,
    asynchronous: Annotated[bool, Parameter(name="--async", negative=())] = False,
    log: Flag = False,
    qualifier: str | None = None,
    endpoint: str | None = None,
    quiet: Flag = False,
) -> int:
    """Invoke a function and print its answer. Exit code 1 if the function failed.

    Parameters
    ----------
    function
        Its name or ARN.
    payload
        The event: JSON, @FILE, or - for standard input.
    asynchronous
        Queue the event and return: --async.
    log
        Print the end of the function's log on stderr.
    qualifier
        A version or an alias.
    endpoint
        The node: AWS_ENDPOINT_URL, or http://127.0.0.1:4566.
    quiet
        Print nothing but the answer.
    """
    try:
        event = _read_payload(payload)
    except OSError as error:
        return report_failure(error)
    wanted: dict[str, Any] = {"FunctionName": function, "Payload": event}
    wanted["InvocationType"] = "Event" if asynchronous else "RequestResponse"
    if qualifier:
        wanted["Qualifier"] = qualifier
    if log and not asynchronous:
        wanted["LogType"] = "Tail"
    try:
        answer = sdk("lambda", endpoint_of(endpoint)).invoke(**wanted)
    except (ClientError, EndpointConnectionError) as error:
        return report_failure(error)
    if log and "LogResult" in answer:
        sys.stderr.write(base64.b64decode(answer["LogResult"]).decode(errors="replace"))
    body = answer["Payload"].read().decode(errors="replace")
    if body:
        print(body)
    if asynchronous and not quiet:
        print(f"queued: its log will be in `penstock logs {function}`", file=sys.stderr)
    if "FunctionError" in answer:
        if not quiet:
            print(f"the function failed ({answer['FunctionError']})", file=sys.stderr)
        return EXIT_FAILED
    return 0


def _read_payload(payload: str) -> bytes:
    if payload == "-":
        return sys.stdin.buffer.read()
    if payload.startswith("@"):
        with open(payload[1:], "rb") as file:
            return file.read()
    return payload.encode()


def _print_logs(client: Any, group: str, pattern: str, begin_ms: int, *, follow: bool, as_json: bool) -> None:
    printed: dict[str, int] = {}
    while True:
        for event in _log_events(client, group, pattern, begin_ms):
            if event["eventId"] not in printed:
                printed[event["eventId"]] = event["timestamp"]
                _print_event(event, as_json=as_json)
        if not follow:
            return
        sys.stdout.flush()
        begin_ms = max(begin_ms, max(printed.values(), default=0) - _LATE_MS)
        printed = {event_id: time_ms for event_id, time_ms in printed.items() if time_ms >= begin_ms}
        asyncio.run(SystemClock().sleep(_POLL_S))


def _log_events(client: Any, group: str, pattern: str, begin_ms: int) -> Iterator[dict[str, Any]]:
    request: dict[str, Any] = {"logGroupName": group, "startTime": begin_ms}
    if pattern:
        request["filterPattern"] = pattern
    while True:
        page = client.filter_log_events(**request)
        yield from page["events"]
        if "nextToken" not in page:
            return
        request["nextToken"] = page["nextToken"]


def _print_event(event: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(event))
        return
    when = datetime.fromtimestamp(event["timestamp"] / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
    print(f"{when}  {event['message'].rstrip()}")


def _show_status(found: dict[str, Any], console: Console) -> None:
    console.print(f"penstock {found['version']} at {found['url']}, up {found['uptime_s']} s, {found['now']}")
    for name in ("data", "auth", "clock", "isolation"):
        console.print(f"  {name:<10} {found[name]}", highlight=False)
    for gap in found.get("isolation_gaps", ()):
        console.print(f"             not enforced: {gap}", highlight=False)
    if found["functions"]:
        _show_functions(found["functions"], console)
    if found["calls"]:
        table = Table("service", "calls", "errors", "faults", "ms a call")
        for service, row in found["calls"].items():
            each_ms = 1000 * row["seconds"] / max(row["calls"], 1)
            table.add_row(service, str(row["calls"]), str(row["errors"]), str(row["faults"]), f"{each_ms:.2f}")
        console.print(table)
    if found["would_have_been_denied"]:
        table = Table("principal", "action", "resource", "times", title="--auth enforce would have denied")
        for denial in found["would_have_been_denied"]:
            table.add_row(denial["principal_arn"], denial["action"], denial["resource"], str(denial["count"]))
        console.print(table)


def _show_functions(pool: dict[str, Any], console: Console) -> None:
    """Environments, what runs which runtime, and what is held in memory so that starts are fast."""
    say = partial(console.print, highlight=False, soft_wrap=True)
    say(
        f"  functions  {pool['environments']} environments of at most {pool['environments_max']}: {pool['idle']} idle, "
        f"{pool['provisioned']} provisioned; {pool['waiting']} invocations wait; "
        f"{pool['starts']['cold']} cold starts, {pool['starts']['warm']} warm"
    )
    for runtime, told in pool["runtimes"].items():
        say(f"  runtime    {told if told.startswith(runtime) else f'{runtime} runs on {told}'}")
    for held in pool["package_sets"]:
        names = ", ".join(held["packages"]) or "the interpreter alone"
        say(f"  packages   {names}: {held['shared_mb']} MB, {held['environments']} environments share it")
    for kind, name in (("libraries", "libraries"), ("snapshots", "snapshot")):
        for held in pool[kind]:
            say(
                f"  {name:<10} {held['function']}: {held['shared_mb']} MB, {held['environments']} environments share it"
            )


def report_failure(error: Exception) -> int:
    """Say what went wrong on stderr; the exit code."""
    print(f"penstock: {error}", file=sys.stderr)
    return EXIT_UNREACHABLE if isinstance(error, NodeUnreachable | EndpointConnectionError) else EXIT_FAILED
