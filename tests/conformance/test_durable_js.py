"""AWS's SDK of durable functions for JavaScript, unmodified, on a running node. Skipped without npm's registry."""

import io
import json
import shutil
import subprocess
import zipfile

import pytest

from penstock.testkit.functions import ROLE, zipped

pytestmark = [pytest.mark.real_clients, pytest.mark.slow, pytest.mark.xdist_group("conformance-durable")]
SDK = "@aws/durable-execution-sdk-js@2.4.0"
PROGRAM = """
import { withDurableExecution } from "@aws/durable-execution-sdk-js";

export const handler = withDurableExecution(async (event, context) => {
  const paid = await context.step("charge", async () => ({ charged: event.amount }));
  const flaky = await context.step("flaky", async (step) => {
    if (step.attempt < 2) throw new Error("again");
    return "ok";
  }, { retryStrategy: (error, attempt) => ({ shouldRetry: attempt < 3, delay: { seconds: 1 } }) });
  await context.wait("rest", { seconds: 1 });
  const both = await context.parallel("both", [
    async (child) => child.step("a", async () => 1),
    async (child) => child.step("b", async () => 2),
  ]);
  const squares = await context.map("squares", [1, 2, 3], async (child, n) => child.step(async () => n * n));
  const nested = await context.runInChildContext("nested", async (child) => child.step(async () => "deep"));
  const fee = await context.invoke("fee", "js-fee", event.amount);
  return { ...paid, flaky, both: both.getResults(), squares: squares.getResults(), nested, fee };
});
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """A folder with the SDK and all that it needs below node_modules."""
    folder = tmp_path_factory.mktemp("js")
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("needs Node.js and npm")
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", SDK]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90)
    except subprocess.TimeoutExpired:
        pytest.skip("npm's registry doesn't answer")
    if done.returncode:
        pytest.skip(f"npm can't install it: {done.stderr[-200:]}")
    return folder


def package(folder):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("app.mjs", PROGRAM)
        for file in sorted((folder / "node_modules").rglob("*")):
            if file.is_file() and file.suffix in (".js", ".cjs", ".mjs", ".json"):
                zipped.write(file, file.relative_to(folder))
    return archive.getvalue()


def test_a_javascript_program_runs_through_every_kind_of_operation(node, modules):
    client = node.client("lambda")
    client.create_function(
        FunctionName="js-order",
        Runtime="nodejs22.x",
        Role=ROLE,
        Handler="app.handler",
        Timeout=30,
        MemorySize=1024,
        Code={"ZipFile": package(modules)},
        Environment={"Variables": {"HOME": "/tmp"}},  # the SDK asks the system for a home folder
        DurableConfig={"ExecutionTimeout": 120},
    )
    client.create_function(
        FunctionName="js-fee",
        Runtime="python3.13",
        Role=ROLE,
        Handler="app.handler",
        Code={"ZipFile": zipped("def handler(event, context): return event + 1")},
    )
    for name in ("js-order", "js-fee"):
        client.get_waiter("function_active_v2").wait(FunctionName=name)
    answer = client.invoke(FunctionName="js-order", Qualifier="$LATEST", Payload=b'{"amount": 5}')
    assert json.load(answer["Payload"]) == {
        "charged": 5,
        "flaky": "ok",
        "both": [1, 2],
        "squares": [1, 4, 9],
        "nested": "deep",
        "fee": 6,
    }
