"""Functions that mean harm: the node stays well, its neighbours answer, and nothing is left behind.

Each source runs beside a neighbour that is invoked all the while. Both isolations where a process of the same user can
be held off at all: what the process isolation can't keep apart (docs/security.md) is tested for recovery only.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sys
import time
from collections import deque
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from penstock.engines.functions import running as phases
from penstock.kernel.errors import Unavailable

NEIGHBOUR = "import os\ndef handler(event, context):\n    return [event, len(os.listdir('/tmp')) >= 0]\n"
NEIGHBOUR_S_MAX = 10.0
GROWTH_BYTES_MAX = 200 << 20
PRELUDE = """
import ctypes, json, os, signal, socket, struct, subprocess, sys, threading, time
def forever(what):
    while True:
        what()
def frame(kind, body=b"", size=None):
    return struct.pack("!BI", kind, len(body) if size is None else size) + body
def log_frame(kind, body, size=None):
    return b"\\xa5\\x5a" + bytes(kind) + struct.pack("!IQ", len(body) if size is None else size, 0) + body
def both(what):
    try:
        return what()
    except BaseException as error:
        return type(error).__name__
"""


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def mounts():
    return Path("/proc/self/mounts").read_text()


def group_name(folder):
    return f"penstock-{hashlib.sha256(str(folder / 'data' / 'work').encode()).hexdigest()[:12]}"


def processes_of(folder):
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                is_its = group_name(folder) in (path / "cgroup").read_text()
                is_dead = (path / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            except OSError:
                continue
            if is_its and not is_dead:
                found.append(int(path.name))
    return found


def groups_of(folder):
    found = []
    for root, folders, _ in os.walk("/sys/fs/cgroup"):
        found += [f"{root}/{name}" for name in folders if name == group_name(folder)]
    return found


@pytest.fixture(autouse=True)
def nothing_escapes(tmp_path):
    """Whatever fails, the machine is left in peace."""
    yield
    for folder in groups_of(tmp_path):
        for bounds in Path(folder).glob("*/pids.max"):
            bounds.write_text("0")
    for _ in range(20):
        for pid in processes_of(tmp_path):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def until(holds, *, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, holds()
        await asyncio.sleep(0.02)


@asynccontextmanager
async def besieged(bench, folder, *, held=0, **settings):
    """A bench whose neighbour is invoked until the block ends; then everything is looked over.

    held   how many environments may stand apart, as snapshots
    """
    before_fds, before_bytes = len(os.listdir("/proc/self/fd")), resident_bytes()
    before_mounts = mounts()
    async with bench(**settings) as b:
        b.sink.lines = deque(maxlen=100)
        neighbour = b.spec(NEIGHBOUR, name="neighbour", timeout_s=20)
        assert json.loads((await b.run(neighbour, b"0")).payload)[0] == 0
        is_over, longest_s, answers = False, 0.0, 0

        async def keep_asking():
            nonlocal longest_s, answers
            while not is_over:
                began_s = time.monotonic()
                outcome = await b.run(neighbour, str(answers).encode())
                assert json.loads(outcome.payload)[0] == answers, outcome
                longest_s, answers = max(longest_s, time.monotonic() - began_s), answers + 1
                await asyncio.sleep(0.02)

        asking = asyncio.create_task(keep_asking())
        try:
            yield b
        finally:
            is_over = True
            await asking
        assert answers
        assert longest_s < NEIGHBOUR_S_MAX
        assert json.loads((await b.run(neighbour, b"1")).payload)[0] == 1
        assert resident_bytes() - before_bytes < GROWTH_BYTES_MAX
        assert b.pool.status()["environments"] - b.pool.status()["idle"] <= held
    await until(lambda: not processes_of(folder))
    assert not groups_of(folder)
    assert mounts() == before_mounts
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before_fds + 3)


def handler(body):
    return PRELUDE + "def handler(event, context):\n" + "".join(f"    {line}\n" for line in body.splitlines())


FLOODS = {
    "endless output without a line end": ("forever(lambda: os.write(1, b'x' * 65536))", {"timeout"}),
    "endless empty lines": ("forever(lambda: os.write(1, b'\\n' * 65536))", {"timeout"}),
    "endless framed lines": ("forever(lambda: os.write(62, log_frame((0, 19), b'x')))", {"timeout"}),
    "garbage on the framed log": ("forever(lambda: os.write(62, os.urandom(4096)))", {"timeout"}),
    "a framed line of 4 GiB": (
        "os.write(62, log_frame((0, 19), b'', 0xFFFFFFFF))\nforever(lambda: os.write(62, bytes(65536)))",
        {"timeout"},
    ),
    "endless ready frames": ("forever(lambda: os.write(63, frame(0)))", {"crash", "timeout"}),
    "a frame of 4 GiB": (
        "os.write(63, frame(1, b'', 0xFFFFFFFF))\nforever(lambda: os.write(63, bytes(65536)))",
        {"crash"},
    ),
}
ENDS = {
    "forged ends of processes": (
        "for told in ['[]', '{'] + ['{\"status\": %s}' % what for what in ('{}', '1e999', '-1', 'null')]:\n"
        "    for kind in range(256):\n"
        "        os.write(62, log_frame((255, kind), told.encode()))\n"
        "time.sleep(60)",
        {"timeout"},
    ),
    "stops itself": ("os.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(60)", {"timeout"}),
    "closes every descriptor": ("os.closerange(0, 4096)\ntime.sleep(60)", {"timeout", "crash"}),
    "a forged failure of an extension": ("os.write(63, frame(7, b'no json'))\ntime.sleep(60)", {"crash"}),
    "a forged exit": ("os.write(63, frame(5))\ntime.sleep(60)", {"crash"}),
    "a forged restore error": ("os.write(63, frame(6, b'x'))\ntime.sleep(60)", {"error", "crash"}),
    "a frame of no kind": ("os.write(63, frame(200, b'x'))\ntime.sleep(60)", {"crash"}),
    "exits": ("os._exit(0)", {"crash"}),
    "aborts": ("os.abort()", {"crash"}),
    "sys.exit": ("sys.exit(3)", {"error", "crash"}),
    "reads address 0": ("ctypes.string_at(0)", {"crash"}),
    "a thread exits": ("threading.Thread(target=lambda: os._exit(9)).start()\ntime.sleep(60)", {"crash"}),
    "an answer of one byte too many": ("return 'x' * 6291555", {"error"}),
    "an answer too deep": ("x = []\nfor _ in range(100000): x = [x]\nreturn x", {"error", "crash"}),
    "masks signals": (
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nforever(lambda: None)",
        {"timeout"},
    ),
}


@pytest.mark.parametrize("kind", ["floods", "ends"])
async def test_whatever_handlers_do_to_themselves_their_neighbours_answer(bench, tmp_path, kind):
    async with besieged(bench, tmp_path) as b:

        async def assault(number, body):
            spec = b.spec(handler(body), name=f"f{number}", timeout_s=2)
            return [(await b.run(spec)).status for _ in range(1 if kind == "floods" else 2)]

        told = FLOODS if kind == "floods" else ENDS
        statuses = await asyncio.gather(*(assault(number, body) for number, (body, _) in enumerate(told.values())))
        found = dict(zip(told, statuses, strict=True))
        wrong = {name: seen for name, seen in found.items() if not set(seen) <= told[name][1]}
        assert not wrong


async def test_a_flood_while_initialising_is_not_kept(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(phases, "INIT_S_MAX", 2.0)
    async with besieged(bench, tmp_path) as b:
        source = "import os\nwhile True: os.write(1, b'a line\\n' * 9000)\n"
        assert (await b.run(b.spec(source, timeout_s=1))).status == "timeout"


async def test_a_payload_and_an_answer_of_six_megabytes_pass(bench, tmp_path):
    async with besieged(bench, tmp_path) as b:
        payload = b'"' + b"x" * 6291554 + b'"'
        outcome = await b.run(b.spec("def handler(event, context):\n    return event\n", timeout_s=20), payload)
        assert outcome.payload == payload


async def test_threads_and_children_left_behind_stand_still_and_end_with_the_environment(bench, tmp_path):
    body = (
        "def run(path):\n"
        "    while True:\n"
        "        with open(path, 'a') as file: file.write('x')\n"
        "        time.sleep(0.005)\n"
        "tmp = os.environ.get('TMPDIR', '/tmp')\n"
        "if event == 'look':\n"
        "    return [os.path.getsize(f'{tmp}/{name}') for name in ('thread', 'child', 'daemon')]\n"
        "threading.Thread(target=run, args=(tmp + '/thread',), daemon=True).start()\n"
        "if os.fork() == 0: run(tmp + '/child')\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    for number in range(1, 32):\n"
        "        if number not in (9, 19): signal.signal(number, signal.SIG_IGN)\n"
        "    if os.fork() == 0: run(tmp + '/daemon')\n"
        "    os._exit(0)\n"
        "time.sleep(0.5)\n"
        "return 1"
    )
    async with besieged(bench, tmp_path) as b:
        spec = b.spec(handler(body), timeout_s=20)
        assert (await b.run(spec)).payload == b"1"
        first = json.loads((await b.run(spec, b'"look"')).payload)
        await asyncio.sleep(1.0)
        second = json.loads((await b.run(spec, b'"look"')).payload)
        assert all(later - earlier < 60 for earlier, later in zip(first, second, strict=True)), (first, second)
        await b.pool.retire(spec.arn)
        await until(lambda: b.pool.status()["environments"] <= 1)


async def test_daemons_of_a_function_that_timed_out_end_too(bench, tmp_path):
    body = (
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(600)\n"
        "    os._exit(0)\n"
        "time.sleep(60)"
    )
    async with besieged(bench, tmp_path) as b:
        await until(lambda: len(processes_of(tmp_path)) > 0)
        outcome = await b.run(b.spec(handler(body), timeout_s=1))
        assert outcome.status == "timeout"
        is_sandbox = b.pool.status()["isolation"] == "sandbox"
        await until(lambda: len(processes_of(tmp_path)) <= (2 if is_sandbox else 1))


async def test_every_descriptor_is_taken_and_the_next_invocation_answers(bench, tmp_path):
    body = (
        "found = []\n"
        "try:\n"
        "    while True: found.append(os.open('/dev/null', 0))\n"
        "except OSError as error:\n"
        "    return len(found)"
    )
    async with besieged(bench, tmp_path) as b:
        spec = b.spec(handler(body))
        counts = [int((await b.run(spec)).payload) for _ in range(2)]
        assert 900 < counts[0] <= 1024


@pytest.mark.parametrize("bomb", ["while True: os.fork()", "subprocess.run(['sh', '-c', 'b() { b | b & }; b; wait'])"])
async def test_a_bomb_of_processes_goes_off_alone(bench, tmp_path, bomb):
    async with besieged(bench, tmp_path) as b:
        if "control groups" in str(b.pool.status()["not_enforced"]):
            pytest.skip("no control groups")
        outcome = await b.run(b.spec(handler(f"{bomb}\ntime.sleep(60)"), timeout_s=2))
        assert outcome.status in {"timeout", "error", "crash"}


@pytest.mark.parametrize(
    "balloon",
    [
        "x = bytearray(1 << 30)",
        "for _ in range(8):\n    if os.fork() == 0:\n        x = bytearray(100 << 20)\n        time.sleep(60)",
        "x = bytearray(1 << 20)\nforever(lambda: x.extend(x))",
        "import mmap\nx = mmap.mmap(-1, 1 << 30)\nx.write(b'x' * (1 << 30))",
    ],
    ids=["at once", "in children", "growing", "shared"],
)
async def test_a_balloon_of_memory_bursts_alone(bench, tmp_path, balloon):
    async with besieged(bench, tmp_path) as b:
        if "control groups" in str(b.pool.status()["not_enforced"]):
            pytest.skip("no control groups")
        outcome = await b.run(b.spec(handler(f"{balloon}\ntime.sleep(60)"), timeout_s=4, ephemeral_mb=512))
        assert outcome.status != "success", outcome  # the kernel may have killed children alone


async def test_a_large_environment_is_run_or_refused_and_hurts_nobody(bench, tmp_path):
    async with besieged(bench, tmp_path) as b:
        for size in (4 << 10, 100 << 10, 128 << 10, 150 << 10, 300 << 10):
            spec = b.spec(
                "def handler(event, context):\n    return 1\n", name=f"f{size}", environment={"X": "x" * size}
            )
            try:
                assert (await b.run(spec)).payload == b"1"
            except Unavailable:
                assert size > 100 << 10


async def test_the_parent_is_out_of_reach_or_replaced(bench, tmp_path):
    """In a sandbox it can't be harmed; a process of the same user can end it: the next invocation has a new one."""
    async with bench() as b:
        is_sandbox = b.pool.status()["isolation"] == "sandbox"
        neighbour = b.spec(NEIGHBOUR, name="neighbour", timeout_s=20)
        assert (await b.run(neighbour)).status == "success"
        for number in ("signal.SIGTERM", "signal.SIGSTOP", "signal.SIGKILL"):
            killer = b.spec(handler(f"os.kill(os.getppid(), {number})\nreturn 1"), name="killer")
            outcome = await b.run(killer)
            assert outcome.payload == b"1" or not is_sandbox
            fresh = b.spec(NEIGHBOUR, name=f"fresh{number[-4:]}", timeout_s=20)
            with contextlib.suppress(*(() if is_sandbox else (Unavailable,))):
                await b.run(fresh)
            assert (await b.run(fresh)).status == "success"


# What a sandbox keeps out


async def answer(b, body, **settings):
    outcome = await b.run(b.spec(handler(body), **{"timeout_s": 20, **settings}))
    return json.loads(outcome.payload)


async def test_nothing_but_tmp_can_be_written_to(sandboxed, tmp_path):
    body = (
        "found = []\n"
        "for root, folders, _ in os.walk('/'):\n"
        "    folders[:] = [f for f in folders if os.path.join(root, f) not in ('/proc', '/sys')]\n"
        "    try:\n"
        "        open(os.path.join(root, 'hostile'), 'w').close()\n"
        "        found.append(root)\n"
        "    except OSError: pass\n"
        "return found"
    )
    async with besieged(sandboxed, tmp_path) as b:
        assert set(await answer(b, body)) == {"/tmp"}


async def test_it_can_neither_mount_nor_trace_nor_make_devices_nor_see_others(sandboxed, tmp_path):
    body = (
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "tried = {\n"
        "    'mount': lambda: libc.mount(b'none', b'/tmp', b'tmpfs', 0, None),\n"
        "    'umount': lambda: libc.umount2(b'/tmp', 2),\n"
        "    'chroot': lambda: libc.chroot(b'/tmp'),\n"
        "    'pivot': lambda: libc.syscall(155, b'/tmp', b'/tmp'),\n"
        "    'trace 1': lambda: libc.ptrace(16, 1, 0, 0),\n"
        "    'mknod': lambda: libc.mknod(b'/tmp/disk', 0o60666, 0xFE00),\n"
        "    'sethostname': lambda: libc.sethostname(b'x', 1),\n"
        "    'setns': lambda: libc.setns(os.open('/proc/1/ns/mnt', 0), 0),\n"
        "    'reboot': lambda: libc.reboot(0x89ABCDEF),\n"
        "    'swapoff': lambda: libc.swapoff(b'/dev/vda'),\n"
        "    'kmsg': lambda: os.open('/dev/kmsg', os.O_WRONLY),\n"
        "    'disk': lambda: os.open('/dev/vda', os.O_RDONLY),\n"
        "    'mem': lambda: os.open('/dev/mem', os.O_RDONLY),\n"
        "    'kill all': lambda: os.kill(1, 9) or -1,\n"
        "    'environ of 1': lambda: open('/proc/1/environ').read(),\n"
        "    'setuid': lambda: os.setuid(0),\n"
        "    'nice': lambda: os.nice(-5),\n"
        "    'limit': lambda: __import__('resource').setrlimit(7, (1 << 20, 1 << 20)),\n"
        "}\n"
        "return {name: both(what) for name, what in tried.items()}"
    )
    async with besieged(sandboxed, tmp_path) as b:
        told = await answer(b, body)
        assert all(what == -1 or str(what).endswith("Error") for what in told.values()), told


async def test_namespaces_of_its_own_uncover_nothing(sandboxed, tmp_path):
    secret = tmp_path / "data" / "secret"
    secret.parent.mkdir()
    secret.write_text("secret")
    body = (
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "uid = os.getuid()\n"
        "made = libc.unshare(0x10000000 | 0x00020000)\n"
        "if made == 0:\n"
        "    both(lambda: open('/proc/self/setgroups', 'w').write('deny'))\n"
        "    both(lambda: open('/proc/self/uid_map', 'w').write(f'0 {uid} 1'))\n"
        f"folder = {str(secret.parent)!r}\n"
        "for place in (folder, '/home', '/root', '/var', '/dev/shm', '/proc'):\n"
        "    libc.umount2(place.encode(), 2)\n"
        "return [os.listdir(folder) if os.path.isdir(folder) else [], both(lambda: open(folder + '/secret').read()),\n"
        "        sorted(n for n in os.listdir('/proc') if n.isdigit())]"
    )
    async with besieged(sandboxed, tmp_path) as b:
        listed, read, processes = await answer(b, body)
        assert "secret" not in listed
        assert read.endswith("Error")
        assert processes in ([], ["1", "2"])


async def test_shared_memory_is_not_shared_and_not_kept(sandboxed, tmp_path):
    body = (
        "def put(folder):\n"
        "    with open(folder + '/hostile', 'wb') as file:\n"
        "        for _ in range(600): file.write(bytes(1 << 20))\n"
        "return both(lambda: put('/dev/shm'))"
    )
    async with besieged(sandboxed, tmp_path) as b:
        await b.run(b.spec(handler(body), timeout_s=20))
        assert "hostile" not in os.listdir("/dev/shm")
        assert "hostile" not in await answer(b, "return os.listdir('/dev/shm')", name="other")


async def test_signals_to_everyone_reach_only_itself(sandboxed, tmp_path):
    async with besieged(sandboxed, tmp_path) as b:
        for body in ("os.kill(-1, 9)\nreturn 1", "os.killpg(0, 9)", "os.kill(-1, 19)\nreturn 1"):
            assert (await b.run(b.spec(handler(body), timeout_s=2))).status in {"success", "error", "crash", "timeout"}


# The Runtime API

POLITE = """
import http.client, os, sys
def ask(method, path, body=None):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"], timeout=60)
    connection.request(method, "/2018-06-01/runtime/" + path, body)
    answer = connection.getresponse()
    return answer.getheader("Lambda-Runtime-Aws-Request-Id"), answer.read()
def serve(answer=lambda event: event):
    while True:
        id, event = ask("GET", "invocation/next")
        ask("POST", f"invocation/{id}/response", answer(event))
"""
INTERPRETER = f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"


def bootstrap(body):
    return {"bootstrap": f"#!/bin/sh\nexec {INTERPRETER} -I -c '\n{POLITE}\n{body}'\n"}


def custom(b, body, **settings):
    return b.spec(
        "", files=bootstrap(body), runtime="provided.al2023", **{"timeout_s": 10, "memory_mb": 256, **settings}
    )


async def test_nonsense_at_the_runtime_api_is_refused_and_sense_is_answered(bench, tmp_path):
    nonsense = """
import socket
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
def say(what, size=100):
    with socket.create_connection((host, int(port)), 5) as talk:
        talk.settimeout(5)
        try:
            talk.sendall(what)
            talk.shutdown(1)
            talk.recv(size)
        except OSError: pass
end = b"\\r\\n"
for what in (b"\\0" * 9999, b"GET / HTTP/9.9" + end + end, b"GET /" + b"x" * 200000,
             b"POST / HTTP/1.1" + end + b"Content-Length: -1" + end + end,
             b"GET / HTTP/1.1" + end + (b"A: b" + end) * 30000,
             b"PRI * HTTP/2.0" + end + end + b"SM" + end + end + b"\\xff" * 999,
             b"POST /2018-06-01/runtime/invocation/x/response HTTP/1.1" + end
             + b"Transfer-Encoding: chunked" + end + end + b"zz" + end):
    say(what)
for path in ("invocation/x/response", "invocation/x/error", "invocation/x/other", "restore/next", ""):
    ask("POST", path, b"\\xff\\xfe" * 1000)
kept = [socket.create_connection((host, int(port)), 5) for _ in range(40)]
serve()
"""
    async with besieged(bench, tmp_path) as b:
        spec = custom(b, nonsense)
        for number in range(2):
            assert (await b.run(spec, b"%d" % number)).payload == b"%d" % number


async def test_a_flood_of_connections_to_the_runtime_api_meets_its_bound(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(phases, "INIT_S_MAX", 2.5)
    flood = """
import socket
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
kept = []
for _ in range(900):
    try: kept.append(socket.create_connection((host, int(port)), 5))
    except OSError: break
import time
time.sleep(60)
"""
    async with besieged(bench, tmp_path) as b:
        before = len(os.listdir("/proc/self/fd"))
        running = asyncio.create_task(b.run(custom(b, flood, timeout_s=2)))
        await asyncio.sleep(2)
        assert len(os.listdir("/proc/self/fd")) < before + 200
        assert (await running).status in {"timeout", "crash"}


async def test_a_bootstrap_that_never_asks_times_out(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(phases, "INIT_S_MAX", 0.5)
    async with besieged(bench, tmp_path) as b:
        outcome = await b.run(custom(b, "import time; time.sleep(600)", timeout_s=1))
        assert outcome.status == "timeout"


async def test_a_binary_answer_is_handed_on_and_a_large_one_refused(bench, tmp_path):
    async with besieged(bench, tmp_path) as b:
        garbage = bytes(range(256)) * 10
        spec = custom(b, "serve(lambda event: bytes(range(256)) * 10)")
        assert (await b.run(spec)).payload == garbage
        outcome = await b.run(custom(b, "serve(lambda event: bytes(6291557))", name="large"))
        assert json.loads(outcome.payload)["errorType"] == "Function.ResponseSizeTooLarge"


async def test_the_runtime_api_of_another_function_is_out_of_reach(sandboxed, tmp_path):
    thief = (
        "import http.client\n"
        "def ask(method, path):\n"
        "    connection = http.client.HTTPConnection(event, timeout=2)\n"
        "    connection.request(method, path)\n"
        "    return connection.getresponse().status\n"
        "return [both(lambda: ask('GET', '/2018-06-01/runtime/invocation/next')),\n"
        "        both(lambda: ask('POST', '/2020-01-01/extension/register'))]"
    )
    async with besieged(sandboxed, tmp_path) as b:
        victim = custom(b, "serve()", name="victim")
        assert (await b.run(victim, b"1")).payload == b"1"
        for address in list(b.pool._starter._faces._servers):
            outcome = await b.run(b.spec(handler(thief), name="thief", timeout_s=10), json.dumps(address).encode())
            assert all(str(told).endswith(("Error", "Disconnected")) for told in json.loads(outcome.payload)), outcome
        assert (await b.run(victim, b"2")).payload == b"2"


# SnapStart: the process that is forked is the function's own

SNAPSHOTS = {
    "garbage on its control socket": "os.write(61, b'garbage')",
    "a list on its control socket": "os.write(61, b'[1]')",
    "a fork that nobody asked for": 'os.write(61, b\'{"spawned": 1, "pid": VICTIM}\')',
    "forks that aren't its own": (
        "def lie():\n"
        "    for number in list(range(1, 9)) * 300:\n"
        "        both(lambda: os.write(61, json.dumps({'spawned': number, 'pid': VICTIM}).encode()))\n"
        "        time.sleep(0.002)\n"
        "threading.Thread(target=lie, daemon=True).start()"
    ),
    "ends once it is ready": "threading.Thread(target=lambda: (time.sleep(0.3), os._exit(0)), daemon=True).start()",
    "never forks": "import select\nselect.poll = lambda: time.sleep(600)",
    "a socket that is closed": "os.close(61)",
}


@pytest.mark.parametrize("body", SNAPSHOTS.values(), ids=SNAPSHOTS)
async def test_a_snapshot_that_lies_hurts_only_itself(bench, tmp_path, monkeypatch, body):
    monkeypatch.setattr(phases, "INIT_S_MAX", 2.0)
    monkeypatch.setattr(phases, "LONG_INIT_S_MAX", 3.0)
    victim = await asyncio.create_subprocess_exec("sleep", "600")
    try:
        async with besieged(bench, tmp_path, held=1) as b:
            source = (
                PRELUDE + body.replace("VICTIM", str(victim.pid)) + "\ndef handler(event, context):\n    return 1\n"
            )
            spec = b.spec(source, name="snap", snap_start=True, version="1", memory_mb=256, timeout_s=2)
            for _ in range(3):
                with contextlib.suppress(Unavailable):
                    await b.run(spec)
            assert victim.pid not in processes_of(tmp_path)
        assert victim.returncode is None
    finally:
        victim.kill()
        await victim.wait()
