import pytest

from penstock.engines.functions.ports import RestoreFailed
from penstock.insight.cost import bill
from penstock.kernel.errors import ServiceError
from penstock.testkit.functions import create_function

ON = {"ApplyOn": "PublishedVersions"}


async def call(world, operation, **params):
    return await world.call("lambda", operation, **{"FunctionName": "f", **params})


async def test_a_published_version_is_pending_until_its_snapshot_is_made(world, pool):
    created = await create_function(world, Runtime="python3.13", SnapStart=ON)
    assert created["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    assert pool.snapshots == []
    published = await call(world, "PublishVersion")
    assert (published["State"], published["StateReasonCode"]) == ("Pending", "Creating")
    assert published["SnapStart"]["OptimizationStatus"] == "On"
    with pytest.raises(ServiceError, match="Pending"):
        await call(world, "Invoke", Qualifier="1")
    await world.settle()
    assert [(spec.version, spec.snap_start) for spec in pool.snapshots] == [("1", True)]
    assert (await call(world, "GetFunctionConfiguration", Qualifier="1"))["State"] == "Active"
    await call(world, "Invoke")
    assert [spec.snap_start for spec, _ in pool.invoked] == [False]


async def test_a_version_that_cannot_be_initialised_has_failed(world, pool):
    await create_function(world, Runtime="python3.12", SnapStart=ON)
    pool.snapshot_failure = "FunctionError.InitTimeout"
    await call(world, "PublishVersion")
    await world.settle()
    version = await call(world, "GetFunctionConfiguration", Qualifier="1")
    assert (version["State"], version["StateReasonCode"]) == ("Failed", "FunctionError.InitTimeout")


@pytest.mark.parametrize(
    ("is_timeout", "code", "status"), [(True, "SnapStartTimeoutException", 408), (False, "SnapStartException", 400)]
)
async def test_a_failed_restore_is_told_by_its_own_error(world, pool, is_timeout, code, status):
    await create_function(world, Runtime="python3.12", SnapStart=ON, Publish=True)

    def fail(spec, invocation):
        raise RestoreFailed(is_timeout=is_timeout)

    pool.handler = fail
    with pytest.raises(ServiceError) as failed:
        await call(world, "Invoke", Qualifier="1")
    assert (failed.value.code, failed.value.status) == (code, status)


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"Runtime": "python3.11"}, "python3.11 is not supported for SnapStart enabled functions."),
        ({"Runtime": "nodejs22.x"}, "nodejs22.x is not supported for SnapStart enabled functions."),
        ({"Runtime": "python3.13", "EphemeralStorage": {"Size": 1024}}, "ephemeral storage greater than 512 MB"),
    ],
)
async def test_what_snapstart_does_not_support_is_refused(world, pool, members, text):
    with pytest.raises(ServiceError, match=text):
        await create_function(world, SnapStart=ON, **members)


async def test_a_snapshot_is_paid_for_while_it_is_kept_three_hours_at_least(world):
    await create_function(world, Runtime="python3.12", SnapStart=ON, Publish=True, MemorySize=1024)
    await world.settle()
    least = (await bill(world.platform)).functions[0].snap_start_usd
    assert least == pytest.approx(3 * 3600 * 0.0000015046)
    await world.advance(30 * 3600)
    assert (await bill(world.platform)).functions[0].snap_start_usd == pytest.approx(10 * least)
    await world.call("lambda", "DeleteFunction", FunctionName="f", Qualifier="1")
    await world.advance(30 * 3600)
    assert (await bill(world.platform)).functions[0].snap_start_usd == pytest.approx(10 * least)
