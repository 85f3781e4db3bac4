"""Node.js handlers of every form, on the machine's own node."""

import json
import shutil

import pytest

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js isn't installed")


def node(b, source, *, file="index.js", files=None, **settings):
    given = {"handler": "index.handler", "timeout_s": 10, "memory_mb": 512, "runtime": "nodejs20.x", **settings}
    return b.spec("", files={file: source, **(files or {})}, **given)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("index.mjs", "export const handler = async (event, context) => [event, context.functionName];"),
        ("index.js", "exports.handler = async (event, context) => [event, context.functionName];"),
        ("index.js", "exports.handler = (event, context, callback) => callback(null, [event, context.functionName]);"),
        ("index.js", "exports.handler = (event, context) => { context.succeed([event, context.functionName]); };"),
        ("index.cjs", "module.exports.handler = async (event, context) => [event, context.functionName];"),
        (
            "index.js",
            "exports.handler = (e, c, done) => { setTimeout(() => done(null, [e, c.functionName]), 5); };",
        ),
    ],
)
async def test_a_handler_answers(bench, file, source):
    async with bench() as b:
        spec = node(b, source, file=file)
        first = await b.run(spec, b'{"a":"\xc3\xa9"}')
        assert json.loads(first.payload) == [{"a": "é"}, "f"], b.sink.lines
        assert not (await b.run(spec)).is_cold


async def test_a_package_may_be_a_module_and_a_handler_in_a_folder(bench):
    async with bench() as b:
        spec = node(b, "export const handler = async () => import.meta.url.endsWith('index.js');",
                    files={"package.json": '{"type": "module"}'})  # fmt: skip
        assert (await b.run(spec)).payload == b"true"


async def test_nothing_answered_is_null(bench):
    async with bench() as b:
        assert (await b.run(node(b, "exports.handler = () => { setTimeout(() => {}, 1); };"))).payload == b"null"


@pytest.mark.parametrize(
    ("source", "handler", "error_type", "text"),
    [
        ("exports.handler = async () => { throw new TypeError('no'); };", "index.handler", "TypeError", "no"),
        ("exports.handler = (e, c, done) => done(new RangeError('far'));", "index.handler", "RangeError", "far"),
        ("exports.handler = async () => { throw 'text'; };", "index.handler", "string", "text"),
        ("exports.other = 1;", "index.handler", "Runtime.HandlerNotFound", "index.handler is undefined"),
        ("", "nowhere.handler", "Runtime.ImportModuleError", "Cannot find module 'nowhere'"),
        ("require('left-pad');", "index.handler", "Runtime.ImportModuleError", "left-pad"),
        ("exports.handler = (", "index.handler", "Runtime.UserCodeSyntaxError", "SyntaxError"),
        ("exports.handler = async () => 1n;", "index.handler", "Runtime.MarshalError", "Unable to stringify"),
    ],
)
async def test_a_failure_is_told_as_aws_tells_it(bench, source, handler, error_type, text):
    async with bench() as b:
        outcome = await b.run(node(b, source, handler=handler))
        body = json.loads(outcome.payload)
        assert (outcome.function_error, body["errorType"]) == ("Unhandled", error_type)
        assert text in body["errorMessage"]
        assert isinstance(body["trace"], list)


async def test_the_console_writes_awss_lines(bench):
    async with bench() as b:
        await b.run(
            node(b, "exports.handler = async () => { console.log('one\\ntwo', {a: 1}); console.error('bad'); };")
        )
        lines = [line for line in b.sink.lines if "\t" in line and not line.startswith(("REPORT", "INIT"))]
        assert lines[0].split("\t")[1:] == ["request-1", "INFO", "one\ntwo { a: 1 }\n"]
        assert lines[1].split("\t")[1:] == ["request-1", "ERROR", "bad\n"]


async def test_globals_last_and_an_exit_is_a_crash(bench):
    async with bench() as b:
        spec = node(b, "let n = 0; exports.handler = async (e) => { if (e === 'die') process.exit(3); return ++n; };")
        assert [(await b.run(spec)).payload for _ in range(2)] == [b"1", b"2"]
        dead = await b.run(spec, b'"die"')
        assert (dead.status, "exit status 3" in dead.payload.decode()) == ("crash", True)
        assert (await b.run(spec)).payload == b"1"


async def test_a_streaming_handler_is_answered_whole(bench):
    source = (
        "exports.handler = awslambda.streamifyResponse(async (event, stream) => {"
        " stream.write('a'); stream.write('b'); stream.end(); });"
    )
    async with bench() as b:
        assert (await b.run(node(b, source))).payload == b"ab"


class Taken:
    """A ResponseStream that keeps what came, in order."""

    def __init__(self):
        self.seen = []

    async def begin(self, content_type):
        self.seen.append(content_type)

    async def write(self, chunk):
        self.seen.append(chunk)


async def test_a_streaming_handlers_chunks_leave_as_they_are_written(bench):
    source = """exports.handler = awslambda.streamifyResponse(async (event, out) => {
        out = awslambda.HttpResponseStream.from(out, { statusCode: 201 });
        out.write("one");
        await new Promise((go) => setTimeout(go, 50));
        out.write("two");
    });"""
    async with bench() as b:
        taken = Taken()
        outcome = await b.run(node(b, source), stream=taken)
        assert (outcome.function_error, outcome.payload) == (None, b"")
        assert taken.seen[0] == "application/vnd.awslambda.http-integration-response"
        assert b"".join(taken.seen[1:]) == b'{"statusCode":201}' + bytes(8) + b"onetwo"
        assert taken.seen[-1] == b"two"


async def test_an_error_after_the_first_chunk_follows_it(bench):
    source = """exports.handler = awslambda.streamifyResponse(async (event, out) => {
        out.setContentType("text/plain");
        out.write("begun");
        await new Promise((go) => setTimeout(go, 20));
        throw new RangeError("far");
    });"""
    async with bench() as b:
        taken = Taken()
        outcome = await b.run(node(b, source), stream=taken)
        assert taken.seen == ["text/plain", b"begun"]
        assert outcome.stream_error[0] == "RangeError"
        assert json.loads(outcome.stream_error[1])["errorMessage"] == "far"


async def test_callbacks_ended_with_node_24(bench):
    async with bench() as b:
        source = "exports.handler = (event, context, callback) => callback(null, 1);"
        outcome = await b.run(node(b, source, runtime="nodejs24.x"))
        assert json.loads(outcome.payload)["errorType"] == "Runtime.CallbackHandlerDeprecated"
