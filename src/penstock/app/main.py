"""The command `penstock`. Each subcommand is imported when it is used: `penstock up` should be ready at once."""

import sys

from cyclopts import App

from penstock.app import version

app = App(
    name="penstock",
    version=version.VERSION,
    help="A serverless data-processing platform: AWS Lambda functions and the services around them, unmodified, on "
    "your machine.\n\nStart with `penstock demo`, or run `penstock up` and point any AWS client at it with "
    "AWS_ENDPOINT_URL=http://127.0.0.1:4566.",
)
_COMMANDS = {
    "up": "up:up",
    "demo": "demo:demo",
    "status": "look:status",
    "logs": "look:logs",
    "invoke": "look:invoke",
    "cost": "money:cost",
    "clock": "time:app",
    "snapshot": "snapshots:app",
    "fsck": "fsck:fsck",
}
for _order, (_name, _where) in enumerate(_COMMANDS.items()):
    app.command(f"penstock.app.cli.{_where}", name=_name, sort_key=_order)


def main() -> None:
    """Run a command line; exit code 0 is success, 1 failure, 2 misuse, 3 no node."""
    if sys.argv[1:2] in ([], ["--help"], ["-h"]):
        for name in _COMMANDS:  # the list of commands shows what each says of itself
            app[name]
    code = app(result_action="return_value")
    sys.exit(code if isinstance(code, int) else 0)
