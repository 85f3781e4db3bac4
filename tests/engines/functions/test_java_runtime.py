"""Java handlers on AWS's own runtime interface client, where the machine has both."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from penstock.engines.functions.runtimes import Runtime, Runtimes

FOUND = Runtimes().find("java17")
pytestmark = pytest.mark.skipif(
    not isinstance(FOUND, Runtime) or shutil.which("javac") is None, reason="no Java, or AWS's client isn't there"
)
SOURCE = """
package example;
import com.amazonaws.services.lambda.runtime.Context;
import java.util.Map;
public class Handler {
  static int count = 0;
  public Object handleRequest(Map<String, Object> event, Context context) {
    if (event.containsKey("fail")) throw new IllegalStateException("told to");
    System.out.println("seen " + event);
    return Map.of("count", ++count, "name", context.getFunctionName(), "event", event);
  }
}
"""


async def test_a_java_handler_answers_logs_and_fails(bench, tmp_path):
    (tmp_path / "Handler.java").write_text(SOURCE)
    compiler = await asyncio.create_subprocess_exec(
        "javac", "-cp", ":".join(FOUND.libraries), "-d", str(tmp_path / "classes"), str(tmp_path / "Handler.java")
    )
    assert await compiler.wait() == 0
    async with bench() as b:
        spec = b.spec(
            "", runtime="java17", handler="example.Handler::handleRequest", memory_mb=512, timeout_s=30,
        )  # fmt: skip
        shutil.copytree(tmp_path / "classes", spec.code_dir, dirs_exist_ok=True)
        first = await b.run(spec, b'{"a": 1}')
        assert first.function_error is None, b.sink.lines
        assert json.loads(first.payload) == {"count": 1, "name": "f", "event": {"a": 1}}
        assert json.loads((await b.run(spec)).payload)["count"] == 2
        failed = await b.run(spec, b'{"fail": 1}')
        assert json.loads(failed.payload)["errorType"] == "java.lang.IllegalStateException"
        assert any("seen {a=1}" in line for line in b.sink.lines)


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert "mvn dependency:get" in Runtimes().find("java21")
