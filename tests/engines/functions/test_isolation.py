"""What a sandboxed function sees, and what it can't do."""

import json

PRELUDE = (
    "import os, subprocess\n"
    "def attempt(what):\n"
    "    try:\n        what()\n        return 'done'\n"
    "    except OSError as error:\n        return type(error).__name__\n"
)


async def answer(b, body, **settings):
    outcome = await b.run(b.spec(PRELUDE + "def handler(event, context):\n" + body, **{"timeout_s": 20, **settings}))
    return json.loads(outcome.payload)


async def test_code_is_read_only_and_tmp_is_its_own(sandboxed):
    async with sandboxed() as b:
        body = (
            "    open('/tmp/mine', 'w').write('x')\n"
            "    return [attempt(lambda: open('/var/task/new', 'w')), attempt(lambda: open('/etc/new', 'w')),\n"
            "            attempt(lambda: os.mkdir('/opt/x')), os.listdir('/tmp'), sorted(os.listdir('/var/task'))]\n"
        )
        task, etc, opt, tmp, files = await answer(b, body)
        assert {task, etc, opt} <= {"OSError", "PermissionError"}
        assert (tmp, files) == (["mine"], ["app.py"])
        assert await answer(b, "    return os.listdir('/tmp')\n", name="other") == []


async def test_neither_the_store_nor_other_environments_can_be_seen(sandboxed, tmp_path):
    async with sandboxed() as b:
        (tmp_path / "data" / "kv.sqlite3").write_text("secret")
        await b.run(b.spec("def handler(event, context):\n    return 1\n", name="neighbour"))
        body = (
            f"    folder = {str(tmp_path / 'data')!r}\n"
            "    return [os.listdir(folder) if os.path.isdir(folder) else [], os.listdir('/proc'), os.getuid()]\n"
        )
        found, processes, uid = await answer(b, body)
        assert found == []
        assert sorted(name for name in processes if name.isdigit()) == ["1", "2"]
        assert uid != 0


async def test_it_has_no_privileges(sandboxed):
    async with sandboxed() as b:
        body = (
            "    import ctypes\n"
            "    libc = ctypes.CDLL(None, use_errno=True)\n"
            "    status = open('/proc/self/status').read()\n"
            "    caps = next(line.split()[1] for line in status.splitlines() if line.startswith('CapEff'))\n"
            "    return [libc.mount(b'none', b'/tmp', b'tmpfs', 0, None), libc.unshare(0x00020000), caps,\n"
            "            'NoNewPrivs:\\t1' in status, attempt(lambda: os.setuid(0))]\n"
        )
        mounted, unshared, capabilities, is_locked, became_root = await answer(b, body)
        assert (mounted, unshared) == (-1, -1)
        assert (int(capabilities, 16), is_locked, became_root) == (0, True, "PermissionError")


async def test_memory_beyond_the_limit_kills_with_awss_error(sandboxed):
    async with sandboxed() as b:
        if "memory" in str(b.pool.status()["not_enforced"]):
            return
        spec = b.spec("def handler(event, context):\n    return len(bytearray(400 << 20))\n", timeout_s=20)
        outcome = await b.run(spec)
        assert outcome.status == "crash"
        assert json.loads(outcome.payload) == {
            "errorType": "Runtime.ExitError",
            "errorMessage": "RequestId: request-1 Error: Runtime exited with error: signal: killed",
        }
        assert b.sink.lines[-1].endswith("Status: error\tError Type: Runtime.OutOfMemory\n")
        assert "Max Memory Used: 128 MB" in b.sink.lines[-1]


async def test_a_fork_bomb_meets_its_bound(sandboxed):
    async with sandboxed() as b:
        if "control groups" in str(b.pool.status()["not_enforced"]):
            return
        source = (
            "import os, time\n"
            "def handler(event, context):\n"
            "    count = 0\n"
            "    try:\n"
            "        while True:\n"
            "            if os.fork() == 0:\n                time.sleep(60)\n                os._exit(0)\n"
            "            count += 1\n"
            "    except OSError:\n        return count\n"
        )
        outcome = await b.run(b.spec(source, memory_mb=3008, timeout_s=30))
        assert 500 < int(outcome.payload) <= 1024
        assert (await b.run(b.spec("def handler(e, c):\n    return 1\n", name="other"))).payload == b"1"


async def test_runtime_and_layers_are_where_aws_has_them(sandboxed, tmp_path):
    layer = tmp_path / "layer"
    (layer / "python").mkdir(parents=True)
    (layer / "python" / "shared.py").write_text("WORD = 'from the layer'\n")
    (layer / "data.txt").write_text("x")
    async with sandboxed() as b:
        body = (
            "    import shared, boto3\n"
            "    return [shared.WORD, shared.__file__, boto3.__file__, sorted(os.listdir('/opt'))]\n"
        )
        word, shared, boto, opt = await answer(b, body, layer_dirs=(str(layer),))
        assert (word, shared) == ("from the layer", "/opt/python/shared.py")
        assert boto == "/var/runtime/boto3/__init__.py"
        assert opt == ["data.txt", "python"]


async def test_a_function_finds_its_own_user(sandboxed):
    source = (
        "import getpass, os, pwd\ndef handler(e, c): return [getpass.getuser(), pwd.getpwuid(os.getuid()).pw_dir]\n"
    )
    async with sandboxed() as b:
        user, home = json.loads((await b.run(b.spec(source))).payload)
        assert user.startswith("sbx_user")
        assert home == f"/home/{user}"


async def test_later_layers_lie_over_earlier_ones(sandboxed, tmp_path):
    for number in (1, 2):
        folder = tmp_path / f"layer{number}" / "python"
        folder.mkdir(parents=True)
        (folder / "both.py").write_text(f"N = {number}\n")
        (folder / f"only{number}.py").write_text("")
    async with sandboxed() as b:
        layers = (str(tmp_path / "layer1"), str(tmp_path / "layer2"))
        body = "    import both, only1, only2\n    return both.N\n"
        assert await answer(b, body, layer_dirs=layers) == 2


async def test_tmp_has_the_size_that_was_asked_for_and_is_not_counted_as_memory(sandboxed):
    source = (
        "import os\n"
        "def handler(event, context):\n"
        "    written = 0\n"
        "    try:\n"
        "        with open('/tmp/big', 'wb') as file:\n"
        "            while written < 1 << 30:\n                written += file.write(bytes(1 << 20))\n"
        "    except OSError as error:\n        return written >> 20, error.strerror\n"
    )
    async with sandboxed() as b:
        outcome = await b.run(b.spec(source, ephemeral_mb=512, memory_mb=128, timeout_s=20))
        written_mb, error = json.loads(outcome.payload)
        assert error == "No space left on device"
        assert 500 <= written_mb <= 512
