import logging
from types import ModuleType

import pytest

from penstock.framework.dispatch import Dispatcher
from penstock.framework.service import Service, operation
from penstock.kernel.errors import Bug, ServiceError, Unavailable
from penstock.testkit.world import World

ERRORS = {
    "bug": Bug("x"),
    "key": KeyError("x"),
    "away": Unavailable("disk full"),
    "own": ServiceError("NoSuchKey", "m"),
}


@operation
async def get_object(ctx, req):
    if req["Key"] in ERRORS:
        raise ERRORS[req["Key"]]
    return {"Id": ctx.request.request_id, "Operation": ctx.request.operation}


MODULE = ModuleType("objects")
MODULE.get_object = get_object


def room(name: str) -> Service:
    return Service(name, operations=[MODULE])


@pytest.mark.parametrize(
    ("service", "key", "code", "status"),
    [
        ("s3", "bug", "InternalError", 500),
        ("sqs", "bug", "InternalFailure", 500),
        ("sqs", "key", "InternalFailure", 500),
        ("sqs", "away", "ServiceUnavailable", 503),
        ("s3", "own", "NoSuchKey", 400),
    ],
)
async def test_whatever_a_handler_raises_becomes_an_answer(service, key, code, status):
    with pytest.raises(ServiceError) as caught:
        await World(room(service), is_validating=False).call(service, "GetObject", Key=key)
    assert (caught.value.code, caught.value.status) == (code, status)


@pytest.mark.parametrize(("service", "code"), [("s3", "NotImplemented"), ("sqs", "UnknownOperationException")])
async def test_unbuilt_operation_is_refused_with_501(service, code):
    with pytest.raises(ServiceError) as caught:
        await World(room(service), is_validating=False).call(service, "PutObject", Key="k")
    assert (caught.value.code, caught.value.status) == (code, 501)


async def test_request_id_of_the_client_is_kept_and_inner_calls_get_their_own():
    world = World(room("s3"), is_validating=False)
    answer = await world.call("s3", "GetObject", Key="k")
    assert answer == {"Id": "test-request", "Operation": "GetObject"}


async def test_order_is_validate_authorize_fault_handler():
    steps = []

    async def authorize(ctx, service, name, req):
        steps.append("authorize")

    async def fault(service, name):
        steps.append("fault")
        raise ServiceError("SlowDown", "m", status=503)

    world = World(room("s3"), is_validating=False)
    caller = Dispatcher([room("s3")], validate=lambda *_: steps.append("validate"), authorize=authorize)
    caller.fault = fault
    world.platform.caller = caller
    with pytest.raises(ServiceError, match="SlowDown"):
        await world.call("s3", "GetObject", Key="k")
    assert steps == ["validate", "authorize", "fault"]


async def test_every_call_is_counted_and_logged_once(caplog):
    world = World(room("s3"), is_validating=False)
    with caplog.at_level(logging.DEBUG, "penstock.operations"):
        await world.call("s3", "GetObject", Key="k")
    assert [record.getMessage().split(" ms=")[0] for record in caplog.records] == [
        "operation service=s3 operation=GetObject request_id=test-request status=200 code=-"
    ]
    with pytest.raises(ServiceError):
        await world.call("s3", "GetObject", Key="own")
    counter = world.platform.caller.observer.counters()["s3", "GetObject"]
    assert (counter.calls, counter.errors, counter.faults) == (2, 1, 0)
