"""SnapStart by fork: what an environment has of its snapshot, and what is its own."""

import asyncio
import json
import os
import signal

import pytest

from penstock.engines.functions.ports import RestoreFailed

COUNTING = (
    "import os, random, time, uuid\n"
    "STARTED = uuid.uuid4().hex\n"
    "open('/tmp/from-init', 'w').write('kept')\n"
    "calls = 0\n"
    "def handler(event, context):\n"
    "    global calls\n"
    "    calls += 1\n"
    "    time.sleep(event.get('wait', 0))\n"
    "    return {'init': STARTED, 'calls': calls, 'draw': random.random(), 'tmp': sorted(os.listdir('/tmp')),\n"
    "            'type': os.environ['AWS_LAMBDA_INITIALIZATION_TYPE'], 'stream': context.log_stream_name}\n"
)


def snap(b, source, **settings):
    settings = {"snap_start": True, "version": "1", "memory_mb": 256, **settings}
    return b.spec(source, **settings)


async def answer(b, spec, **event):
    return json.loads((await b.run(spec, json.dumps(event).encode())).payload)


async def test_environments_share_one_initialisation_and_nothing_else(bench):
    async with bench() as b:
        spec = snap(b, COUNTING)
        assert await b.pool.snapshot(spec) == ""
        one, other = await asyncio.gather(answer(b, spec, wait=0.5), answer(b, spec, wait=0.5))
        assert one["init"] == other["init"]
        assert (one["calls"], other["calls"]) == (1, 1)
        assert one["draw"] != other["draw"]
        assert one["stream"] is None  # as on AWS: a snapshot can't know it
        assert one["type"] == "snap-start"
        assert (await answer(b, spec))["calls"] == 2


async def spare(b):
    """Once an environment stands ready beside the snapshot, its process."""
    while not b.pool.status()["snapshots"][0]["has_spare"]:  # noqa: ASYNC110 - the pool tells nobody
        await asyncio.sleep(0)
    (task,) = b.pool._snapshots._spares.values()
    return task.result()._child


async def test_one_environment_stands_ready_beside_the_snapshot_and_is_replaced_when_it_is_taken(bench):
    async with bench() as b:
        spec = snap(b, COUNTING)
        await b.pool.snapshot(spec)
        ready = await spare(b)
        outcomes = await asyncio.gather(*(b.run(spec, b'{"wait": 0.3}') for _ in range(3)))
        assert len({json.loads(one.payload)["draw"] for one in outcomes}) == 3
        assert (await spare(b)).pid != ready.pid
        assert b.pool.status()["environments"] == 4  # with the snapshot, without the spare


async def test_a_spare_that_died_is_passed_over(bench):
    async with bench() as b:
        spec = snap(b, COUNTING)
        await b.pool.snapshot(spec)
        ready = await spare(b)
        os.kill(ready.pid, signal.SIGKILL)
        await ready.exited
        assert (await answer(b, spec))["calls"] == 1


async def test_tmp_begins_as_the_snapshot_left_it_and_is_then_its_own(sandboxed):
    source = COUNTING + "    open('/tmp/' + STARTED, 'w')\n"
    writing = source.replace("    return {", "    open(f'/tmp/{uuid.uuid4()}', 'w').close()\n    return {")
    async with sandboxed() as b:
        spec = snap(b, writing)
        found = await asyncio.gather(*(answer(b, spec, wait=0.4) for _ in range(2)))
        assert [len(one["tmp"]) for one in found] == [2, 2]
        assert all("from-init" in one["tmp"] for one in found)


async def test_a_restored_environment_has_no_privilege_and_sees_itself_only(sandboxed):
    source = (
        "import os\n"
        "def handler(event, context):\n"
        "    caps = next(l.split()[1] for l in open('/proc/self/status') if l.startswith('CapEff'))\n"
        "    return [caps, sorted(n for n in os.listdir('/proc') if n.isdigit()), os.getuid() > 0]\n"
    )
    async with sandboxed() as b:
        caps, processes, has_own_user = json.loads((await b.run(snap(b, source))).payload)
        assert (int(caps, 16), processes, has_own_user) == (0, ["1", "2"], True)


async def test_reports_name_the_restore_and_bill_its_hooks(bench):
    source = (
        "import time\n"
        "from snapshot_restore_py import register_after_restore, register_before_snapshot\n"
        "said = []\n"
        "register_before_snapshot(lambda: said.append('before'))\n"
        "register_after_restore(lambda: (time.sleep(0.05), said.append('after')))\n"
        "def handler(event, context):\n"
        "    return said\n"
    )
    async with bench() as b:
        outcome = await b.run(snap(b, source))
        assert json.loads(outcome.payload) == ["before", "after"]
        assert outcome.is_cold
        assert outcome.init_ms is None
        assert outcome.restore_ms > 50
        assert outcome.billed_ms >= outcome.duration_ms + 50
        log = "".join(b.sink.lines)
        assert "INIT_START" in log
        assert "Phase: init\tStatus: success" in log
        assert "RESTORE_START Runtime Version: python:" in log
        assert "RESTORE_REPORT Restore Duration: " in log
        assert "Billed Restore Duration: " in log
        assert "Init Duration" not in log[log.index("REPORT RequestId") :]


async def test_a_failing_hook_is_a_failed_restore(bench):
    source = (
        "from snapshot_restore_py import register_after_restore\n"
        "register_after_restore(lambda: 1 / 0)\n"
        "def handler(event, context):\n    return 1\n"
    )
    async with bench() as b:
        with pytest.raises(RestoreFailed) as failed:
            await b.run(snap(b, source))
        assert not failed.value.is_timeout
        assert "ZeroDivisionError" in "".join(b.sink.lines)


async def test_a_hook_without_end_is_a_restore_that_timed_out(bench, monkeypatch):
    monkeypatch.setattr("penstock.engines.functions.running.INIT_S_MAX", 0.5)
    source = (
        "import time\n"
        "from snapshot_restore_py import register_after_restore\n"
        "register_after_restore(lambda: time.sleep(60))\n"
        "def handler(event, context):\n    return 1\n"
    )
    async with bench() as b:
        with pytest.raises(RestoreFailed) as failed:
            await b.run(snap(b, source))
        assert failed.value.is_timeout


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise ValueError('no')\n", "FunctionError.RuntimeInitError"),
        ("import os\nos._exit(3)\n", "FunctionError.RuntimeInitError"),
    ],
)
async def test_an_initialisation_that_fails_says_why(bench, source, reason):
    async with bench() as b:
        assert await b.pool.snapshot(snap(b, source)) == reason


async def test_a_crash_of_one_environment_leaves_the_snapshot(bench):
    source = COUNTING + "\n\ndef end(event, context):\n    os._exit(1)\n"
    async with bench() as b:
        spec = snap(b, source.replace("    calls += 1\n", "    calls += 1\n    if event.get('die'): os._exit(1)\n"))
        first = await answer(b, spec)
        died = await b.run(spec, b'{"die": true}')
        assert died.status == "crash"
        again = await answer(b, spec)
        assert (again["init"], again["calls"]) == (first["init"], 1)


async def test_credentials_come_from_the_container_endpoint_and_need_its_token(bench):
    source = (
        "import json, os, urllib.error, urllib.request\n"
        "def get(token):\n"
        "    url = os.environ['AWS_CONTAINER_CREDENTIALS_FULL_URI']\n"
        "    try:\n"
        "        with urllib.request.urlopen(urllib.request.Request(url, headers={'Authorization': token})) as given:\n"
        "            return json.load(given)\n"
        "    except urllib.error.HTTPError as error:\n"
        "        return error.code\n"
        "def handler(event, context):\n"
        "    names = [name for name in os.environ if name.startswith('AWS_ACCESS') or name == 'AWS_SESSION_TOKEN']\n"
        "    return [names, get(os.environ['AWS_CONTAINER_AUTHORIZATION_TOKEN']), get('other')]\n"
    )
    async with bench() as b:
        names, given, refused = json.loads((await b.run(snap(b, source, timeout_s=20))).payload)
        assert names == []
        assert (given["AccessKeyId"], given["Token"], refused) == ("AKID", "TOKEN", 401)


async def test_a_deleted_functions_snapshot_ends(bench):
    async with bench() as b:
        spec = snap(b, COUNTING)
        await b.run(spec)
        assert len(b.pool.status()["snapshots"]) == 1
        await b.pool.retire(spec.arn)
        assert b.pool.status()["snapshots"] == []


async def test_connections_made_before_the_snapshot_are_closed_in_its_forks(bench):
    source = (
        "import socket\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "client = socket.create_connection(server.getsockname())\n"
        "def handler(event, context):\n"
        "    return client.recv(1).decode()\n"
    )
    async with bench() as b:
        assert json.loads((await b.run(snap(b, source))).payload) == ""


async def test_the_memory_limit_holds_for_a_restored_environment(sandboxed):
    source = "def handler(event, context):\n    return len(bytearray(400 << 20))\n"
    async with sandboxed() as b:
        if b.pool.status()["isolation"] != "sandbox" or any("memory" in gap for gap in b.pool.status()["not_enforced"]):
            pytest.skip("control groups can't be made")
        outcome = await b.run(snap(b, source, timeout_s=20))
        assert (outcome.status, outcome.error_type) == ("crash", "Runtime.OutOfMemory")
