"""The command line's contract: how a node starts, answers and stops."""

import json
import signal
import subprocess
import urllib.request

import pytest

from penstock.testkit.functions import ROLE, zipped

pytestmark = pytest.mark.real_clients


def test_health_names_the_version_and_each_service(node):
    with urllib.request.urlopen(f"{node.url}/_penstock/health") as answer:
        health = json.load(answer)
    assert health["services"]["s3"] == "running"
    assert health["version"]


def test_status_is_json_where_a_script_wants_it(node):
    status = json.loads(node.run("status", "--json").stdout)
    assert status["auth"] == "open"
    assert status["url"] == node.url


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_node_cleanly(fresh_node, how):
    assert fresh_node().stop(how) == 0


def test_a_second_node_on_the_same_folder_is_refused(fresh_node):
    first = fresh_node()
    with pytest.raises(RuntimeError, match="(?i)another|lock|in use"):
        fresh_node(data=first.data)


def test_an_open_node_listens_on_loopback_only(tmp_path, program):
    command = [*program, "up", "--host", "0.0.0.0", "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "--auth enforce" in done.stderr


def test_no_node_is_said_with_exit_code_3(node):
    done = node.run("status", "--endpoint", "http://127.0.0.1:9", check=False)
    assert done.returncode == 3
    assert "penstock up" in done.stderr


def test_time_moves_only_when_told_to_on_a_virtual_clock(fresh_node):
    node = fresh_node("--clock", "virtual")
    before = json.loads(node.run("clock", "now", "--json").stdout)
    assert before["clock"] == "virtual"
    node.run("clock", "advance", "6h")
    after = json.loads(node.run("clock", "now", "--json").stdout)
    assert after["now_ms"] - before["now_ms"] == 6 * 3_600_000
    node.stop()
    again = fresh_node("--clock", "virtual", data=node.data)
    assert json.loads(again.run("clock", "now", "--json").stdout)["now_ms"] == after["now_ms"]


def test_real_time_cannot_be_moved(node):
    done = node.run("clock", "advance", "6h", check=False)
    assert (done.returncode, "--clock virtual" in done.stderr) == (1, True)


def test_a_snapshot_is_gone_back_to_while_the_node_keeps_its_address(fresh_node):
    node = fresh_node()
    s3 = node.client("s3", retries=3)
    s3.create_bucket(Bucket="kept")
    s3.put_object(Bucket="kept", Key="a", Body=b"one")
    node.run("snapshot", "save", "before")
    s3.put_object(Bucket="kept", Key="a", Body=b"two")
    assert [row["name"] for row in json.loads(node.run("snapshot", "list", "--json").stdout)] == ["before"]
    node.run("snapshot", "restore", "before")
    assert s3.get_object(Bucket="kept", Key="a")["Body"].read() == b"one"


def test_acknowledged_objects_survive_sigkill(fresh_node):
    node = fresh_node()
    node.client("s3").create_bucket(Bucket="kept")
    node.client("s3").put_object(Bucket="kept", Key="a", Body=b"x" * 100_000)
    node.stop(signal.SIGKILL)
    again = fresh_node(data=node.data)
    assert len(again.client("s3").get_object(Bucket="kept", Key="a")["Body"].read()) == 100_000


def test_the_bill_has_a_line_for_each_function_that_ran(fresh_node):
    node = fresh_node()
    code = zipped("def handler(event, context):\n    return 1\n")
    client = node.client("lambda")
    client.create_function(
        FunctionName="billed", Runtime="python3.12", Role=ROLE, Handler="app.handler", Code={"ZipFile": code}
    )
    client.get_waiter("function_active_v2").wait(FunctionName="billed")
    for _ in range(3):
        client.invoke(FunctionName="billed")
    bill = json.loads(node.run("cost", "--json").stdout)
    [line] = bill["functions"]
    assert (line["function"], line["requests"], line["cold_starts"]) == ("billed", 3, 1)
    assert bill["usd"] > 3 * 0.0000002
    assert "billed" in node.run("cost").stdout
