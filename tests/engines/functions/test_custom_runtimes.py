"""The real Runtime API: AWS's own client unmodified, and a bootstrap of one's own."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent / "bootstraps"
SHELL = """#!/bin/sh
API="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
while true; do
  HEADERS="$(mktemp)"
  EVENT=$(curl -sS -LD "$HEADERS" "$API/invocation/next")
  ID=$(grep -Fi Lambda-Runtime-Aws-Request-Id "$HEADERS" | tr -d '[:space:]' | cut -d: -f2)
  echo "shell saw $EVENT"
  if [ "$EVENT" = '"fail"' ]; then
    curl -sS "$API/invocation/$ID/error" -d '{"errorType": "Shell.Error", "errorMessage": "told to"}' > /dev/null
  else
    curl -sS "$API/invocation/$ID/response" -d "[$EVENT]" > /dev/null
  fi
done
"""
PYTHON = f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"
RIC = f"#!/bin/sh\nexec {PYTHON} -m awslambdaric app.handler\n"


async def test_awss_own_client_runs_unmodified(sandboxed):
    source = (
        "import awslambdaric, runtime_client\n"
        "def handler(event, context):\n"
        "    if event == 'fail':\n        raise ValueError('no')\n"
        "    print('in the handler')\n"
        "    return event, context.aws_request_id, bool(runtime_client)\n"
    )
    async with sandboxed() as b:
        spec = b.spec(source, files={"bootstrap": RIC}, runtime="provided.al2023", memory_mb=512, timeout_s=10)
        for number in (1, 2):
            outcome = await b.run(spec, str(number).encode(), request_id=f"r-{number}")
            assert json.loads(outcome.payload) == [number, f"r-{number}", True], "".join(b.sink.lines)
        failed = await b.run(spec, b'"fail"')
        assert json.loads(failed.payload)["errorType"] == "ValueError"
        assert "in the handler\n" in b.sink.lines


async def test_a_shell_script_is_a_runtime(bench):
    async with bench() as b:
        spec = b.spec("", files={"bootstrap": SHELL}, runtime="provided.al2023", timeout_s=10)
        outcome = await b.run(spec, b'{"a":1}')
        assert (json.loads(outcome.payload), outcome.is_cold) == ([{"a": 1}], True)
        assert (await b.run(spec, b"2")).payload == b"[2]"
        failed = await b.run(spec, b'"fail"')
        assert (failed.function_error, json.loads(failed.payload)["errorType"]) == ("Unhandled", "Shell.Error")
        assert 'shell saw {"a":1}\n' in b.sink.lines


@pytest.mark.parametrize(
    ("compiler", "source", "command"),
    [
        ("gcc", "bootstrap.c", ["gcc", "-O1", "-o"]),
        ("go", "bootstrap.go", ["go", "build", "-o"]),
        ("rustc", "bootstrap.rs", ["rustc", "-o"]),
    ],
)
async def test_a_compiled_program_is_a_runtime(bench, tmp_path, compiler, source, command):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} isn't installed")
    built = tmp_path / "bootstrap"
    variables = {**os.environ, "CGO_ENABLED": "0"}
    built_by = await asyncio.create_subprocess_exec(*command, str(built), str(SOURCES / source), env=variables)
    assert await built_by.wait() == 0
    async with bench() as b:
        spec = b.spec("", runtime="provided.al2023", timeout_s=10, memory_mb=256)
        shutil.copy(built, f"{spec.code_dir}/bootstrap")
        os.chmod(f"{spec.code_dir}/bootstrap", 0o555)
        for event in (b'{"a":1}', b"2"):
            assert (await b.run(spec, event)).payload == b"[" + event + b"]", b.sink.lines


async def test_a_missing_bootstrap_is_told(bench):
    async with bench() as b:
        outcome = await b.run(b.spec("", runtime="provided.al2023"))
        assert json.loads(outcome.payload)["errorType"] == "Runtime.InvalidEntrypoint"


async def test_a_bootstrap_that_ends_is_a_crash(bench):
    async with bench() as b:
        spec = b.spec("", files={"bootstrap": "#!/bin/sh\nexit 4\n"}, runtime="provided.al2023")
        outcome = await b.run(spec)
        assert outcome.status == "crash"
        assert "exit status 4" in json.loads(outcome.payload)["errorMessage"]
