"""Extensions: programs beside the function that learn of its life, and what it logs."""

import json
from pathlib import Path

import pytest

EXTENSION = """#!/usr/bin/env python3
import http.client, http.server, json, os, sys, threading

name = os.path.basename(sys.argv[0])
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

def call(method, path, body=None, **headers):
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    api.request(method, path, None if body is None else json.dumps(body), headers)
    answer = api.getresponse()
    return answer.headers, json.loads(answer.read() or b"null")

def say(*words):
    print("EXT", *words, flush=True)

class Listener(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        for event in json.loads(self.rfile.read(int(self.headers["Content-Length"]))):
            say("told", event["type"], json.dumps(event["record"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass

headers, told = call("POST", "/2020-01-01/extension/register", {"events": EVENTS},
                     Lambda_Extension_Name=name, Lambda_Extension_Accept_Feature="accountId")
me = headers["Lambda-Extension-Identifier"]
say("registered", json.dumps(told), "handler hidden" if "_HANDLER" not in os.environ else "handler shown")
if TELEMETRY:
    server = http.server.HTTPServer(("0.0.0.0", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _, answer = call("PUT", "/2022-07-01/telemetry", {
        "schemaVersion": "2022-07-01", "types": ["platform", "function"],
        "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
        "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:%d/" % server.server_port},
    }, Lambda_Extension_Identifier=me)
    say("subscribed", answer)
while True:
    _, event = call("GET", "/2020-01-01/extension/event/next", Lambda_Extension_Identifier=me)
    say(event["eventType"], event.get("requestId") or event.get("shutdownReason"))
    BODY
    if event["eventType"] == "SHUTDOWN":
        sys.exit(0)
"""
HANDLER = "def handler(event, context):\n    print('from the handler')\n    return 1\n"


def layer(b, *, events=("INVOKE", "SHUTDOWN"), telemetry=False, body="pass", source=EXTENSION, name="watcher"):
    folder = b.folder(f"layer-{name}")
    programs = Path(folder) / "extensions"
    programs.mkdir()
    text = source.replace("EVENTS", json.dumps(list(events))).replace("TELEMETRY", str(telemetry))
    program = programs / name
    program.write_text(text.replace("BODY", body))
    program.chmod(0o755)
    return folder


def log_of(b):
    return "".join(b.sink.lines)


async def test_it_registers_learns_of_invocations_and_of_the_end(bench):
    async with bench() as b:
        spec = b.spec(HANDLER, layer_dirs=(layer(b),), timeout_s=20)
        assert (await b.run(spec)).payload == b"1"
        assert (await b.run(spec, request_id="request-2")).payload == b"1"
        await b.pool.retire(spec.arn)
        await b.pool.close()
        log = log_of(b)
    assert '"functionName": "f", "functionVersion": "$LATEST", "handler": "app.handler"' in log
    assert '"accountId": "000000000000"} handler hidden' in log
    assert "EXTENSION\tName: watcher\tState: Ready\tEvents: [INVOKE, SHUTDOWN]" in log
    assert "EXT INVOKE request-1" in log
    assert "EXT INVOKE request-2" in log
    assert "EXT SHUTDOWN spindown" in log


async def test_an_invocation_ends_when_the_extension_is_done_with_it(bench):
    body = "import time\n    if event['eventType'] == 'INVOKE': time.sleep(0.3); say('done')"
    async with bench() as b:
        outcome = await b.run(b.spec(HANDLER, layer_dirs=(layer(b, body=body),), timeout_s=20))
        assert outcome.duration_ms > 300
        assert "EXT done" in log_of(b)


async def test_telemetry_tells_of_the_platform_and_of_the_functions_output(bench):
    async with bench() as b:
        spec = b.spec(HANDLER, layer_dirs=(layer(b, telemetry=True),), timeout_s=20)
        await b.run(spec)
        await b.pool.retire(spec.arn)
        await b.pool.close()
        log = log_of(b)
    kinds = [line.split()[2] for line in log.splitlines() if line.startswith("EXT told")]
    assert "EXT subscribed OK" in log
    assert {
        "platform.initStart", "platform.initRuntimeDone", "platform.initReport", "platform.extension",
        "platform.telemetrySubscription", "platform.start", "platform.runtimeDone", "platform.report", "function",
    } <= set(kinds)  # fmt: skip
    assert kinds.index("platform.start") < kinds.index("function") < kinds.index("platform.report")
    assert 'EXT told function "from the handler\\n"' in log


@pytest.mark.parametrize(
    ("body", "error_type"),
    [
        ("sys.exit(3)", "Extension.Crash"),
        ("call('POST', '/2020-01-01/extension/exit/error', Lambda_Extension_Identifier=me)", "Extension.ExitError"),
    ],
)
async def test_an_extension_that_fails_ends_the_invocation_and_the_next_starts_anew(sandboxed, body, error_type):
    failing = f"if event.get('requestId') == 'bad': {body}"
    async with sandboxed() as b:
        spec = b.spec(HANDLER, layer_dirs=(layer(b, body=failing),), timeout_s=20)
        assert (await b.run(spec)).status == "success"
        failed = await b.run(spec, request_id="bad")
        assert (failed.status, failed.error_type) == ("crash", error_type)
        assert json.loads(failed.payload)["errorType"] == error_type
        assert (await b.run(spec)).status == "success"


async def test_a_crash_of_the_runtime_is_told_to_the_extension(sandboxed):
    async with sandboxed() as b:
        source = "import os\ndef handler(event, context):\n    os._exit(1)\n"
        outcome = await b.run(b.spec(source, layer_dirs=(layer(b),), timeout_s=20))
        assert (outcome.status, outcome.error_type) == ("crash", "Runtime.ExitError")
        assert "EXT SHUTDOWN failure" in log_of(b)


async def test_a_timeout_is_told_to_the_extension(sandboxed):
    async with sandboxed() as b:
        source = "import time\ndef handler(event, context):\n    time.sleep(60)\n"
        outcome = await b.run(b.spec(source, layer_dirs=(layer(b),), timeout_s=1))
        assert outcome.status == "timeout"
        assert "EXT SHUTDOWN timeout" in log_of(b)


async def test_a_program_that_cannot_be_run_fails_the_initialisation(sandboxed):
    async with sandboxed() as b:
        folder = layer(b, source="#!/no/such/interpreter\n")
        outcome = await b.run(b.spec(HANDLER, layer_dirs=(folder,)))
        assert outcome.error_type == "Extension.Crash"


async def test_an_internal_extension_registers_from_the_functions_own_process(bench):
    source = (
        "import http.client, json, os, threading\n"
        "api = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])\n"
        "def call(method, path, body, headers):\n"
        "    api.request(method, path, json.dumps(body), headers)\n"
        "    answer = api.getresponse()\n"
        "    return answer.status, answer.headers, json.loads(answer.read())\n"
        "register = '/2020-01-01/extension/register'\n"
        "refused = call('POST', register, {'events': ['SHUTDOWN']}, {'Lambda-Extension-Name': 'inside'})\n"
        "status, headers, told = call('POST', register, {'events': ['INVOKE']}, {'Lambda-Extension-Name': 'inside'})\n"
        "me = {'Lambda-Extension-Identifier': headers['Lambda-Extension-Identifier']}\n"
        "seen = []\n"
        "def listen():\n"
        "    while True:\n"
        "        seen.append(call('GET', '/2020-01-01/extension/event/next', None, me)[2]['requestId'])\n"
        "threading.Thread(target=listen, daemon=True).start()\n"
        "def handler(event, context):\n"
        "    return [refused[0], refused[2]['errorType'], seen[:]]\n"
    )
    async with bench() as b:
        spec = b.spec(source, timeout_s=20)
        await b.run(spec, request_id="one")
        status, error_type, seen = json.loads((await b.run(spec, request_id="two")).payload)
        assert (status, error_type) == (403, "ShutdownEventNotSupportedForInternalExtension")
        assert "one" in seen


async def test_a_wrapper_starts_the_runtime(bench):
    source = (
        "import os, sys\ndef handler(event, context):\n    return [os.environ['ADDED'], event, sys.flags.dev_mode]\n"
    )
    wrapper = '#!/bin/sh\nexport ADDED=by-the-wrapper\nprogram=$1\nshift\nexec $program -X dev "$@"\n'
    async with bench() as b:
        base = b.spec(source, files={"wrapper": wrapper}, timeout_s=20)
        code = Path(base.code_dir)
        (code / "wrapper").chmod(0o555)
        path = "/var/task/wrapper" if b.pool.status()["isolation"] == "sandbox" else f"{code}/wrapper"
        spec = b.spec(source, files={}, timeout_s=20, environment={"AWS_LAMBDA_EXEC_WRAPPER": path})
        assert json.loads((await b.run(spec, b'{"a": 1}')).payload) == ["by-the-wrapper", {"a": 1}, True]


async def test_the_metadata_endpoint_says_where_it_runs_to_who_has_the_token(bench):
    source = (
        "import json, os, urllib.error, urllib.request\n"
        "def get(token):\n"
        "    url = f\"http://{os.environ['AWS_LAMBDA_METADATA_API']}/2026-01-15/metadata/execution-environment\"\n"
        "    request = urllib.request.Request(url, headers={'Authorization': f'Bearer {token}'})\n"
        "    try:\n"
        "        return json.load(urllib.request.urlopen(request))\n"
        "    except urllib.error.HTTPError as error:\n"
        "        return error.code\n"
        "def handler(event, context):\n"
        "    return [get(os.environ['AWS_LAMBDA_METADATA_TOKEN']), get('other')]\n"
    )
    async with bench() as b:
        answer = json.loads((await b.run(b.spec(source, timeout_s=20))).payload)
        assert answer == [{"AvailabilityZoneID": "use1-az1"}, 401]
