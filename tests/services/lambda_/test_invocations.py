import base64

import pytest

from penstock.engines.functions.ports import Throttled
from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import stream_of
from penstock.testkit.functions import create_function, outcome

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


async def test_an_invocation_answers_what_the_function_does_and_the_tail_of_its_log(world, pool):
    await create_function(world)
    pool.handler = lambda spec, invocation: outcome(b'{"ok":true}', log=b"END\n")
    answer = await world.call("lambda", "Invoke", FunctionName="f", Payload=stream_of(b'{"a":1}'), LogType="Tail")
    assert answer == {
        "StatusCode": 200,
        "ExecutedVersion": "$LATEST",
        "Payload": b'{"ok":true}',
        "LogResult": base64.b64encode(b"END\n").decode(),
    }
    ((spec, invocation),) = pool.invoked
    assert (invocation.payload, invocation.invoked_arn, spec.version) == (b'{"a":1}', ARN, "$LATEST")
    assert invocation.request_id == "test-request"
    assert invocation.trace_id.startswith("Root=1-")


async def test_a_function_error_is_marked_and_answered_with_200(world, pool):
    await create_function(world)
    pool.handler = lambda spec, invocation: outcome(b'{"errorType":"ValueError"}', error="ValueError")
    answer = await world.call("lambda", "Invoke", FunctionName="f", Payload=b"{}")
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert "LogResult" not in answer


async def test_a_dry_run_runs_nothing(world, pool):
    await create_function(world)
    assert await world.call("lambda", "Invoke", FunctionName="f", InvocationType="DryRun") == {"StatusCode": 204}
    assert pool.invoked == []


@pytest.mark.parametrize(
    ("members", "code", "text"),
    [
        ({"Payload": b'{"a"'}, "InvalidRequestContentException", "Could not parse request body into json: "),
        ({"Payload": b"nope"}, "InvalidRequestContentException", "Unrecognized token 'nope': was expecting (JSON"),
        (
            {"Payload": b"x" * 6_291_457},
            "RequestTooLargeException",
            "smaller than 6291456 bytes for the InvokeFunction",
        ),
        ({"Payload": stream_of(b"x" * 6_291_457)}, "RequestTooLargeException", "smaller than 6291456 bytes"),
        (
            {"Payload": b"x" * 1_048_577, "InvocationType": "Event"},
            "RequestTooLargeException",
            "smaller than 1048576 bytes",
        ),
        (
            {"ClientContext": "bm8=", "InvocationType": "RequestResponse"},
            "InvalidRequestContentException",
            "Client context must be a valid",
        ),
        ({"ClientContext": "!"}, "InvalidRequestContentException", "Client context must be a valid Base64-encoded"),
        ({"FunctionName": "g"}, "ResourceNotFoundException", "Function not found: "),
    ],
)
async def test_an_invocation_that_aws_would_refuse_is_refused_in_its_words(world, pool, members, code, text):
    await create_function(world)
    with pytest.raises(ServiceError) as raised:
        await world.call("lambda", "Invoke", **{"FunctionName": "f", **members})
    assert raised.value.code == code
    assert text in raised.value.message
    assert pool.invoked == []


async def test_a_throttle_names_its_reason_and_when_to_come_back(world, pool):
    await create_function(world)

    def throttle(spec, invocation):
        raise Throttled("ConcurrentInvocationLimitExceeded")

    pool.handler = throttle
    with pytest.raises(ServiceError) as raised:
        await world.call("lambda", "Invoke", FunctionName="f")
    assert (raised.value.code, raised.value.status, raised.value.message) == (
        "TooManyRequestsException",
        429,
        "Rate Exceeded.",
    )
    assert raised.value.fields["Reason"] == "ConcurrentInvocationLimitExceeded"
    assert raised.value.fields["retryAfterSeconds"] == "1"


async def test_a_pending_function_is_not_invoked(world):
    await create_function(world, settle=False)
    with pytest.raises(ServiceError, match="currently in the following state: Pending") as raised:
        await world.call("lambda", "Invoke", FunctionName="f")
    assert raised.value.status == 409
