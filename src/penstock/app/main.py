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
app.command("penstock.app.cli.up:up", name="up")
app.command("penstock.app.cli.demo:demo", name="demo")
app.command("penstock.app.cli.look:status", name="status")
app.command("penstock.app.cli.look:logs", name="logs")
app.command("penstock.app.cli.look:invoke", name="invoke")
app.command("penstock.app.cli.money:cost", name="cost")
app.command("penstock.app.cli.time:app", name="clock")
app.command("penstock.app.cli.snapshots:app", name="snapshot")


def main() -> None:
    """Run a command line; exit code 0 is success, 1 failure, 2 misuse, 3 no node."""
    code = app(result_action="return_value")
    sys.exit(code if isinstance(code, int) else 0)
