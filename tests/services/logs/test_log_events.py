import asyncio

import pytest

from penstock.kernel.errors import ServiceError
from penstock.services.logs import SERVICE
from penstock.services.logs.background import expire
from penstock.storage import outbox
from penstock.testkit.world import START_MS, World

DAY_MS = 86_400_000
G = {"logGroupName": "g"}
S = {"logGroupName": "g", "logStreamName": "s"}


def run(coroutine):
    return asyncio.run(coroutine)


async def _world(**group):
    world = World(SERVICE)
    await world.call("logs", "CreateLogGroup", **G, **group)
    await world.call("logs", "CreateLogStream", **S)
    return world


def _events(*times):
    return [{"timestamp": START_MS + t, "message": f"m{t}"} for t in times]


def test_overlapping_batches_are_read_in_time_order_in_both_directions():
    async def scenario():
        world = await _world()
        for times in [(0, 50, 100), (10, 60), (5, 200), (99,)]:
            await world.call("logs", "PutLogEvents", **S, logEvents=_events(*times))
        expected = [f"m{t}" for t in sorted([0, 50, 100, 10, 60, 5, 200, 99])]
        seen, token = [], None
        for _ in range(10):
            extra = {"nextToken": token} if token else {"startFromHead": True}
            page = await world.call("logs", "GetLogEvents", **S, limit=3, **extra)
            seen += [event["message"] for event in page["events"]]
            if page["nextForwardToken"] == token:
                break
            token = page["nextForwardToken"]
        assert seen == expected
        page = await world.call("logs", "GetLogEvents", **S, limit=3)
        assert [event["message"] for event in page["events"]] == expected[-3:]
        page = await world.call("logs", "GetLogEvents", **S, limit=3, nextToken=page["nextBackwardToken"])
        assert [event["message"] for event in page["events"]] == expected[-6:-3]

    run(scenario())


def test_filter_merges_streams_and_pages():
    async def scenario():
        world = await _world()
        await world.call("logs", "CreateLogStream", logGroupName="g", logStreamName="t")
        await world.call("logs", "PutLogEvents", **S, logEvents=_events(1, 3, 5))
        await world.call("logs", "PutLogEvents", logGroupName="g", logStreamName="t", logEvents=_events(2, 3, 4))
        seen, token = [], None
        while True:
            extra = {"nextToken": token} if token else {}
            page = await world.call("logs", "FilterLogEvents", **G, limit=2, filterPattern="-m4", **extra)
            seen += [(event["logStreamName"], event["message"]) for event in page["events"]]
            token = page.get("nextToken")
            if token is None:
                break
        assert seen == [("s", "m1"), ("t", "m2"), ("s", "m3"), ("t", "m3"), ("s", "m5")]

    run(scenario())


@pytest.mark.parametrize(
    ("times", "message"),
    [((5, 4), "chronological"), ((-DAY_MS, 1), "24 hours")],
)
def test_bad_batches_are_refused(times, message):
    async def scenario():
        world = await _world()
        with pytest.raises(ServiceError, match=message):
            await world.call("logs", "PutLogEvents", **S, logEvents=_events(*times))

    run(scenario())


def test_batch_of_a_mebibyte_passes_and_one_byte_more_does_not():
    async def scenario():
        world = await _world()
        event = {"timestamp": START_MS, "message": "x" * (1_048_576 - 26)}
        await world.call("logs", "PutLogEvents", **S, logEvents=[event])
        with pytest.raises(ServiceError, match="Upload too large: 1048577 bytes exceeds limit of 1048576"):
            await world.call("logs", "PutLogEvents", **S, logEvents=[{**event, "message": event["message"] + "x"}])

    run(scenario())


def test_events_too_old_and_too_new_are_rejected_by_index():
    async def scenario():
        world = await _world()
        late = await world.call("logs", "PutLogEvents", **S, logEvents=_events(0, 2 * 3_600_000, 2 * 3_600_000 + 1))
        assert late["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 2}
        old = await world.call("logs", "PutLogEvents", **S, logEvents=_events(-14 * DAY_MS - 1, -14 * DAY_MS))
        assert old["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}

    run(scenario())


def test_retention_drops_events_when_their_time_comes():
    async def scenario():
        world = await _world()
        await world.call("logs", "PutLogEvents", **S, logEvents=_events(0))
        await world.call("logs", "PutRetentionPolicy", **G, retentionInDays=1)
        world.clock.advance_to(START_MS + 3_600_000)
        await world.call("logs", "PutLogEvents", **S, logEvents=_events(3_600_000))
        for _ in range(2):
            due_ms = await world.platform.store.read(outbox.next_due_ms)
            world.clock.advance_to(due_ms)
            for intent in await world.platform.store.read(lambda tx, due_ms=due_ms: outbox.due(tx, due_ms, limit=9)):
                await world.platform.store.transact(lambda tx, i=intent: outbox.cancel(tx, i.kind, i.id))
                await expire(world.context(), intent)
            left = (await world.call("logs", "GetLogEvents", **S, startFromHead=True))["events"]
            assert len(left) == (1 if due_ms < START_MS + DAY_MS + 3_600_000 else 0)
        assert await world.platform.store.read(outbox.next_due_ms) is None

    run(scenario())


def test_groups_and_streams_are_described_by_prefix_order_and_page():
    async def scenario():
        world = await _world(tags={"a": "1"})
        await world.call("logs", "CreateLogStream", logGroupName="g", logStreamName="a")
        await world.call("logs", "PutLogEvents", **S, logEvents=_events(1))
        names = await world.call("logs", "DescribeLogStreams", **G, limit=1)
        assert [s["logStreamName"] for s in names["logStreams"]] == ["a"]
        rest = await world.call("logs", "DescribeLogStreams", **G, limit=1, nextToken=names["nextToken"])
        assert [s["logStreamName"] for s in rest["logStreams"]] == ["s"]
        latest = await world.call("logs", "DescribeLogStreams", **G, orderBy="LastEventTime", descending=True)
        assert latest["logStreams"][0]["lastEventTimestamp"] == START_MS + 1
        groups = await world.call("logs", "DescribeLogGroups", logGroupNamePrefix="g")
        arn = groups["logGroups"][0]["logGroupArn"]
        assert arn == "arn:aws:logs:us-east-1:000000000000:log-group:g"
        await world.call("logs", "TagResource", resourceArn=arn, tags={"b": "2"})
        assert (await world.call("logs", "ListTagsForResource", resourceArn=arn))["tags"] == {"a": "1", "b": "2"}
        await world.call("logs", "DeleteLogGroup", **G)
        with pytest.raises(ServiceError, match="The specified log group does not exist"):
            await world.call("logs", "GetLogEvents", **S)

    run(scenario())
