"""Functions in real processes: what they see, how they end, and what is written of it."""

import asyncio
import json
import re
from dataclasses import replace

import pytest

from penstock.engines.functions import concurrency
from penstock.engines.functions.ports import Throttled

ECHO = "def handler(event, context):\n    return event\n"


async def test_an_event_goes_in_and_an_answer_comes_out(bench):
    async with bench() as b:
        spec = b.spec(ECHO)
        first = await b.run(spec, b'{"a": [1, "\xc3\xa9"]}')
        assert json.loads(first.payload) == {"a": [1, "é"]}
        assert (first.function_error, first.status, first.is_cold) == (None, "success", True)
        again = await b.run(spec, b"null")
        assert (again.payload, again.is_cold, again.init_ms) == (b"null", False, None)


async def test_the_log_has_awss_lines(bench):
    async with bench() as b:
        outcome = await b.run(b.spec("def handler(event, context):\n    print('one\\ntwo')\n"), request_id="r-1")
        assert b.sink.lines[0].startswith("INIT_START Runtime Version: python:3.")
        assert b.sink.lines[1:5] == [
            "START RequestId: r-1 Version: $LATEST\n",
            "one\n",
            "two\n",
            "END RequestId: r-1\n",
        ]
        report = re.fullmatch(
            r"REPORT RequestId: r-1\tDuration: (\d+\.\d\d) ms\tBilled Duration: (\d+) ms\tMemory Size: 128 MB\t"
            r"Max Memory Used: \d+ MB\tInit Duration: (\d+\.\d\d) ms\t\n",
            b.sink.lines[5],
        )
        assert int(report[2]) == outcome.billed_ms >= float(report[1]) + float(report[3]) - 0.01
        assert outcome.log_tail.decode() == "".join(b.sink.lines)


async def test_json_logs_are_one_object_a_line(bench):
    source = "import logging\nlogging.getLogger().setLevel('INFO')\n"
    source += "def handler(event, context):\n    logging.getLogger().info('seen', extra={'k': 1})\n"
    async with bench() as b:
        await b.run(b.spec(source, log_format="JSON"))
        records = [json.loads(line) for line in b.sink.lines]
        types = [record["type"] for record in records if "type" in record]
        assert types == ["platform.initStart", "platform.start", "platform.report"]
        assert next(record for record in records if record.get("message") == "seen")["level"] == "INFO"


async def test_a_function_finds_awss_environment(bench):
    source = (
        "import os\n"
        "def handler(event, context):\n"
        "    return dict(os.environ), context.function_name, context.memory_limit_in_mb, context.aws_request_id,"
        " context.invoked_function_arn, context.get_remaining_time_in_millis(), context.log_group_name\n"
    )
    async with bench() as b:
        spec = b.spec(source, environment={"WORD": "x"}, memory_mb=256)
        variables, name, memory, request_id, arn, left_ms, group = json.loads((await b.run(spec)).payload)
        assert (name, memory, request_id, arn, group) == ("f", "256", "request-1", spec.arn, "/aws/lambda/f")
        assert 2000 < left_ms <= 3000
        expected = {
            "WORD": "x",
            "AWS_REGION": "us-east-1",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "_HANDLER": "app.handler",
            "AWS_ACCESS_KEY_ID": "AKID",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{spec.runtime}",
            "_X_AMZN_TRACE_ID": "Root=1-2-3",
            "TZ": ":UTC",
        }
        assert {key: variables.get(key) for key in expected} == expected
        assert not [key for key in variables if key.startswith("PENSTOCK")]


@pytest.mark.parametrize(
    ("source", "settings", "status", "error_type", "text"),
    [
        ("def handler(e, c):\n    raise KeyError('k')\n", {}, "error", "KeyError", "'k'"),
        ("import no_such\n", {}, "error", "Runtime.ImportModuleError", "Unable to import module 'app'"),
        ("x = 1\n", {}, "error", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        ("def handler(:\n", {}, "error", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'"),
        ("def handler(e, c):\n    return {1}\n", {}, "error", "Runtime.MarshalError", "Unable to marshal response"),
        ("def handler(e, c):\n    import os; os._exit(7)\n", {}, "crash", "Runtime.ExitError", "exit status 7"),
        ("def handler(e, c):\n    import sys; sys.exit(0)\n", {}, "crash", "Runtime.ExitError", "Runtime exited"),
        (
            "import ctypes\ndef handler(e, c):\n    ctypes.string_at(0)\n",
            {},
            "crash",
            "Runtime.ExitError",
            "signal: segm",
        ),
        ("def handler(e, c):\n    return 'x' * 6_300_000\n", {}, "error", "Function.ResponseSizeTooLarge", "6291556"),
        ("while True: pass\n", {"timeout_s": 1}, "timeout", "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
    ],
)
async def test_a_failure_is_told_as_aws_tells_it(bench, monkeypatch, source, settings, status, error_type, text):
    monkeypatch.setattr("penstock.engines.functions.running.INIT_S_MAX", 1)
    async with bench() as b:
        spec = b.spec(source, **settings)
        outcome = await b.run(spec)
        body = json.loads(outcome.payload)
        assert (outcome.function_error, outcome.status) == ("Unhandled", status)
        assert body["errorType"] == error_type
        assert text in body["errorMessage"]
        assert any(line.startswith("REPORT RequestId: request-1") for line in b.sink.lines)
        assert (await b.run(b.spec(ECHO, name="other"), b"1")).payload == b"1"


async def test_a_function_that_never_returns_is_ended(bench):
    source = "import time\ndef handler(event, context):\n    time.sleep(60)\n"
    async with bench() as b:
        outcome = await b.run(b.spec(source, timeout_s=1), request_id="r-9")
        assert outcome.status == "timeout"
        assert json.loads(outcome.payload) == {
            "errorType": "Sandbox.Timedout",
            "errorMessage": "RequestId: r-9 Error: Task timed out after 1.00 seconds",
        }
        assert b.sink.lines[-1].endswith("Status: timeout\n")
        assert any(line.endswith("r-9 Task timed out after 1.00 seconds\n\n") for line in b.sink.lines)


async def test_globals_last_while_an_environment_is_warm(bench):
    source = "n = 0\ndef handler(event, context):\n    global n\n    n += 1\n    return n\n"
    async with bench() as b:
        spec = b.spec(source)
        assert [(await b.run(spec)).payload for _ in range(3)] == [b"1", b"2", b"3"]


async def test_environments_are_bounded_and_invocations_wait_in_line(bench, together):
    async with bench(max_environments=3) as b:
        spec = b.spec(ECHO)
        outcomes = await together(*(b.run(spec, str(n).encode()) for n in range(50)))
        assert [outcome.payload for outcome in outcomes] == [str(n).encode() for n in range(50)]
        assert sum(outcome.is_cold for outcome in outcomes) <= 3
        assert b.pool.status()["environments"] <= 3


async def test_an_idle_environment_gives_way_to_another_function(bench):
    async with bench(max_environments=1) as b:
        for name in ("one", "two", "one"):
            outcome = await b.run(b.spec(ECHO, name=name))
            assert outcome.is_cold
        assert b.pool.status()["environments"] == 1


async def test_functions_that_call_each_other_do_not_starve(bench, together):
    async with bench(max_environments=64) as b:
        inner, outer = (
            b.spec(ECHO, name="inner"),
            b.spec("import time\ndef handler(event, context):\n    time.sleep(0.7)\n", name="outer", timeout_s=5),
        )
        waiting = [asyncio.ensure_future(b.run(outer)) for _ in range(20)]
        assert (await b.run(inner, b"2")).payload == b"2"
        assert {outcome.status for outcome in await together(*waiting)} == {"success"}


async def test_reserved_concurrency_throttles_with_awss_reason(bench, together):
    async with bench() as b:
        spec = b.spec("import time\ndef handler(e, c):\n    time.sleep(0.3)\n", reserved_concurrency=1)
        running = asyncio.ensure_future(b.run(spec))
        await asyncio.sleep(0)
        with pytest.raises(Throttled, match="ReservedFunctionConcurrentInvocationLimitExceeded"):
            await b.run(spec)
        assert (await running).status == "success"


async def test_a_replaced_function_gets_new_environments(bench):
    async with bench() as b:
        spec = b.spec(ECHO)
        await b.run(spec)
        await b.pool.retire(spec.arn)
        assert b.pool.status()["environments"] == 0
        assert (await b.run(spec)).is_cold


async def test_what_replaces_a_configuration_keeps_its_environments(bench):
    async with bench() as b:
        old = b.spec(ECHO)
        new = replace(old, id="new")
        await b.run(old)
        await b.run(new)
        await b.pool.retire(new.arn, keep="new")
        assert b.pool.status()["environments"] == 1
        assert not (await b.run(new)).is_cold
        assert (await b.run(old)).is_cold


async def test_background_work_stands_still_between_invocations(bench):
    source = (
        "import threading, time\n"
        "ticks = 0\n"
        "def tick():\n    global ticks\n    while True:\n        ticks += 1\n        time.sleep(0.01)\n"
        "threading.Thread(target=tick, daemon=True).start()\n"
        "def handler(event, context):\n    return ticks\n"
    )
    async with bench() as b:
        spec = b.spec(source)
        first = int((await b.run(spec)).payload)
        await asyncio.sleep(0.5)
        assert int((await b.run(spec)).payload) - first < 30


async def test_a_flood_of_output_is_taken_and_the_pool_stays_well(bench):
    source = "def handler(event, context):\n    for _ in range(3000):\n        print('x' * 1000)\n    return 'done'\n"
    async with bench() as b:
        outcome = await b.run(b.spec(source, timeout_s=20))
        assert outcome.payload == b'"done"'
        assert len(outcome.log_tail) <= 4096
        assert sum(line.startswith("xxx") for line in b.sink.lines) == 3000


async def test_closed_descriptors_and_children_left_behind_hurt_nobody(bench):
    source = (
        "import os\n"
        "def handler(event, context):\n"
        "    if os.fork() == 0:\n        os.setsid()\n        import time; time.sleep(60); os._exit(0)\n"
        "    os.close(1)\n    return 'ok'\n"
    )
    async with bench() as b:
        spec = b.spec(source)
        assert (await b.run(spec)).payload == b'"ok"'
        assert (await b.run(b.spec(ECHO, name="other"), b"3")).payload == b"3"


async def test_a_package_set_is_loaded_once_for_all_who_import_it(bench):
    source = "import sys\nwas_there = 'simplejson' in sys.modules\nimport simplejson\n"
    source += "def handler(event, context):\n    return was_there\n"
    async with bench() as b:
        assert (await b.run(b.spec(source))).payload == b"true"
        assert any("simplejson" in held["packages"] for held in b.pool.status()["package_sets"])


async def test_randomness_differs_between_forks(bench):
    source = "import random, uuid, os\nvalue = [random.random(), str(uuid.uuid4()), os.urandom(8).hex()]\n"
    source += "def handler(event, context):\n    return value\n"
    async with bench() as b:
        seen = [json.loads((await b.run(b.spec(source, name=f"f{n}"))).payload) for n in range(2)]
        assert all(one != other for one, other in zip(*seen, strict=True))


async def test_nothing_outlives_the_pool(bench):
    async with bench() as b:
        spec = b.spec("import os\ndef handler(event, context):\n    return 1\n")
        await b.run(spec)
        pids = [child.pid for child in _children(b.pool)]
        assert pids
    async with asyncio.timeout(10):
        while any(_is_running(pid) for pid in pids):  # noqa: ASYNC110 - the kernel sends no event
            await asyncio.sleep(0.01)


def _is_running(pid):
    """A zombie that the system has yet to collect doesn't run."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _children(pool):
    return [environment._child for environment in pool._environments]


async def test_two_busy_functions_do_not_take_each_others_places(bench, together):
    source = "import time\ndef handler(event, context):\n    time.sleep(0.02)\n    return event\n"
    async with bench(max_environments=4) as b:
        one, two = b.spec(source, name="one"), b.spec(source, name="two")
        outcomes = await together(*(b.run(one if n % 2 else two) for n in range(200)))
        assert sum(outcome.is_cold for outcome in outcomes) <= 12


async def test_waiting_for_an_environment_is_no_new_environment(bench, together, monkeypatch):
    monkeypatch.setattr(concurrency, "SCALING_PER_10_S", 2)
    async with bench(max_environments=2) as b:
        spec = b.spec(ECHO)
        outcomes = await together(*(b.run(spec) for _ in range(40)))
        assert all(outcome.function_error is None for outcome in outcomes)


async def test_another_python_is_stood_in_for_with_a_warning(bench):
    async with bench() as b:
        outcome = await b.run(b.spec(ECHO, runtime="python3.7"), b"1")
        assert outcome.payload == b"1"
        assert b.sink.lines[1].startswith("[WARNING] python3.7 isn't installed: it runs on python3.")


async def test_a_runtime_that_the_machine_lacks_is_told(bench):
    async with bench() as b:
        outcome = await b.run(b.spec(ECHO, runtime="dotnet8"))
        assert "dotnet8 can't be run by this node" in json.loads(outcome.payload)["errorMessage"]


async def test_a_failed_initialisation_is_run_once_more_within_the_invocation(bench):
    source = (
        "import os\n"
        "seen = os.environ['SEEN']\n"
        "count = len(os.listdir(seen))\n"
        "open(os.path.join(seen, str(count)), 'w').close()\n"
        "if count == 0:\n    raise RuntimeError('not yet')\n"
        "def handler(event, context):\n    return count\n"
    )
    async with bench() as b:
        if b.pool.status()["isolation"] == "sandbox":
            return  # nothing that a first try leaves behind would be seen by the second
        spec = b.spec(source, environment={"SEEN": b.folder("seen")})
        outcome = await b.run(spec)
        assert (outcome.payload, outcome.status) == (b"1", "success")
        kinds = [line.split(" ")[0] for line in b.sink.lines if line.startswith(("INIT", "START", "END", "REPORT"))]
        assert kinds == ["INIT_START", "INIT_REPORT", "START", "END", "REPORT"]


async def test_an_initialisation_that_fails_twice_is_the_invocations_failure(bench):
    async with bench() as b:
        outcome = await b.run(b.spec("print('trying')\nraise RuntimeError('never')\n"))
        assert json.loads(outcome.payload)["errorMessage"] == "never"
        assert b.sink.lines.count("trying\n") == 2
        assert outcome.init_ms is None
