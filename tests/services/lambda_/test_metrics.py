from dataclasses import replace

import pytest

from penstock.engines.functions.ports import Throttled
from penstock.kernel.errors import ServiceError
from penstock.services.lambda_.operations.metering import meter_of
from penstock.storage import metrics
from penstock.testkit.functions import create_function, outcome

NAME = ("FunctionName", "f")
PLAIN = (NAME, ("Resource", "f"))


async def told(world, name):
    """The metric's statistics by dimensions, all minutes together."""
    await meter_of(world.platform).flush()
    scope = world.context().scope

    def read(tx):
        found = {}
        for series, _ in metrics.series_of(tx, scope, namespace="AWS/Lambda", name=name):
            for _, _, statistics in metrics.points(tx, scope, series, begin_s=0, end_s=2**40):
                found.setdefault(series.dimensions, metrics.Statistics()).merge(statistics)
        return found

    return await world.platform.store.read(read)


async def sums(world, name):
    return {dimensions: statistics.total for dimensions, statistics in (await told(world, name)).items()}


async def invoke(world, **params):
    return await world.call("lambda", "Invoke", **{"FunctionName": "f", **params})


async def test_invocations_are_told_of_the_function_and_of_what_was_asked_for(world, pool):
    await create_function(world, Publish=True)
    await create_function(world, "g")
    await world.call("lambda", "CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    await invoke(world)
    await invoke(world, FunctionName="g")
    pool.handler = lambda spec, invocation: outcome(error="E", billed_ms=300)
    await invoke(world, Qualifier="live")
    alias = (NAME, ("Resource", "f:live"))
    executed = (("ExecutedVersion", "1"), *alias)
    assert await sums(world, "Invocations") == {
        (): 3,
        (NAME,): 2,
        PLAIN: 1,
        alias: 1,
        executed: 1,
        (("FunctionName", "g"),): 1,
        (("FunctionName", "g"), ("Resource", "g")): 1,
    }
    errors = await told(world, "Errors")
    assert (errors[()].total, errors[()].count, errors[executed].total) == (1, 3, 1)
    duration = (await told(world, "Duration"))[(NAME,)]
    assert (duration.count, duration.lowest, duration.highest) == (2, 99.5, 299.5)
    assert (await told(world, "ConcurrentExecutions"))[(NAME,)].highest == 1


async def test_throttles_are_told_and_are_no_invocations(world, pool):
    await create_function(world)

    def refuse(spec, invocation):
        raise Throttled("ConcurrentInvocationLimitExceeded")

    pool.handler = refuse
    with pytest.raises(ServiceError):
        await invoke(world)
    assert (await sums(world, "Throttles"))[(NAME,)] == 1
    assert await sums(world, "Invocations") == {}


async def test_what_runs_at_once_is_a_level(world, pool):
    await create_function(world)
    await create_function(world, "g")
    await world.call("lambda", "PutFunctionConcurrency", FunctionName="g", ReservedConcurrentExecutions=5)

    async def nested(spec, invocation):
        if spec.name == "f":
            await invoke(world, FunctionName="g")
        return outcome()

    pool.invoke = nested
    await invoke(world)
    levels = await told(world, "ConcurrentExecutions")
    assert (levels[()].highest, levels[(NAME,)].highest, levels[(("FunctionName", "g"),)].highest) == (2, 1, 1)
    assert (await told(world, "UnreservedConcurrentExecutions"))[()].highest == 1


async def test_events_are_told_as_received_aged_and_dropped(world, pool):
    async with world.background:
        await create_function(world, DeadLetterConfig={"TargetArn": "arn:aws:sqs:us-east-1:000000000000:gone"})
        bus = {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:lost"}}
        await world.call("lambda", "PutFunctionEventInvokeConfig", FunctionName="f", DestinationConfig=bus)
        pool.handler = lambda spec, invocation: outcome(error="E")
        await invoke(world, InvocationType="Event")
        await world.advance(600)
        assert await sums(world, "AsyncEventsReceived") == {(): 1, (NAME,): 1, PLAIN: 1}
        ages = (await told(world, "AsyncEventAge"))[(NAME,)]
        assert (ages.count, ages.lowest) == (3, 0)
        assert ages.highest == pytest.approx(180_000, rel=0.01)
        assert (await sums(world, "AsyncEventsDropped"))[PLAIN] == 1
        assert (await sums(world, "Errors"))[(NAME,)] == 3
        assert (await sums(world, "DeadLetterErrors"))[PLAIN] >= 1
        assert (await sums(world, "DestinationDeliveryFailures"))[PLAIN] >= 1


async def test_unsigned_code_under_a_warning_configuration_is_counted(world):
    publishers = {"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/abcdefghij"]}
    made = await world.call("lambda", "CreateCodeSigningConfig", AllowedPublishers=publishers)
    await create_function(world, CodeSigningConfigArn=made["CodeSigningConfig"]["CodeSigningConfigArn"])
    assert (await sums(world, "SignatureValidationErrors"))[(NAME,)] == 1


async def test_what_could_not_be_written_is_kept_for_the_next_time(world, pool):
    await create_function(world)
    await invoke(world)
    meter = meter_of(world.platform)
    store = world.platform.store
    transact = store.transact

    async def fail(fn):
        raise OSError("no disk")

    store.transact = fail
    with pytest.raises(OSError, match="no disk"):
        await meter.flush()
    store.transact = transact
    await invoke(world)
    assert (await sums(world, "Invocations"))[(NAME,)] == 2


async def test_a_mapping_that_asks_for_event_counts_is_told_of(world, pool):
    async with world.background:
        await create_function(world)
        ids = {}
        for name, config in (("loud", {"Metrics": ["EventCount"]}), ("quiet", None)):
            await world.call("sqs", "CreateQueue", QueueName=name)
            source = f"arn:aws:sqs:us-east-1:000000000000:{name}"
            settings = {"MetricsConfig": config} if config else {}
            made = await world.call(
                "lambda", "CreateEventSourceMapping", EventSourceArn=source, FunctionName="f", **settings
            )
            ids[name] = made["UUID"]
            url = f"http://localhost:4566/000000000000/{name}"
            await world.call("sqs", "SendMessage", QueueUrl=url, MessageBody="x")
        await world.advance(10)
        told_of = (("EventSourceMappingUUID", ids["loud"]),)
        assert await sums(world, "InvokedEventCount") == {told_of: 1}
        assert await sums(world, "DeletedEventCount") == {told_of: 1}
        assert (await sums(world, "Invocations"))[(NAME,)] == 2


async def test_provisioned_concurrency_is_told_with_what_spills_over(world, pool):
    async with world.background:
        await create_function(world, Publish=True)
        await world.call("lambda", "PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=10)
        config = {"FunctionName": "f", "Qualifier": "1", "ProvisionedConcurrentExecutions": 2}
        await world.call("lambda", "PutProvisionedConcurrencyConfig", **config)
        await world.advance(1)
        pool.handler = lambda spec, invocation: replace(outcome(), is_provisioned=True)
        await invoke(world, Qualifier="1")
        pool.handler = lambda spec, invocation: outcome()
        await invoke(world, Qualifier="1")
        await create_function(world, "g")
        await invoke(world, FunctionName="g")
        version = (NAME, ("Resource", "f:1"))
        assert (await sums(world, "ProvisionedConcurrencyInvocations"))[version] == 1
        assert (await sums(world, "ProvisionedConcurrencySpilloverInvocations"))[(NAME,)] == 1
        assert await sums(world, "ProvisionedConcurrencyUtilization") == {version: 0.5}
        assert (await told(world, "ClaimedAccountConcurrency"))[()].highest == 11
