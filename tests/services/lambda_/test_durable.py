"""Durable executions as a caller of the API sees them; the handler is a script of checkpoints."""

import asyncio
from types import ModuleType

import orjson
import pytest

from penstock.framework.service import Service, operation
from penstock.insight.cost import bill
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.kernel.scope import Scope
from penstock.services import lambda_, sqs
from penstock.storage import metrics, outbox
from penstock.testkit.functions import FakePool, create_function, outcome
from penstock.testkit.world import World

DURABLE = {"ExecutionTimeout": 600, "RetentionPeriodInDays": 2}
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:f"


class Handlers(FakePool):
    """`script(event)` is the handler of every function: a coroutine that answers what the function gives back."""

    def __init__(self):
        super().__init__()
        self.events = []
        self.script = None

    async def invoke(self, spec, invocation):
        event = orjson.loads(invocation.payload)
        self.events.append(event)
        self.invoked.append((spec, invocation))
        answer = await self.script(event)
        return answer if not isinstance(answer, dict) else outcome(orjson.dumps(answer))


class Case:
    """One world, one function f; use as `async with case:`."""

    def __init__(self, *rooms):
        self.pool = Handlers()
        self.world = World(lambda_.SERVICE, sqs.SERVICE, *rooms, functions=self.pool)
        self.call = self.world.call

    async def __aenter__(self):
        await self.world.background.__aenter__()
        await create_function(self.world, DurableConfig=DURABLE)
        return self

    async def __aexit__(self, *error):
        await self.world.background.__aexit__(*error)

    async def start(self, **params):
        params = {"Qualifier": "$LATEST", "InvocationType": "Event", "Payload": b"{}", **params}
        return (await self.call("lambda", "Invoke", FunctionName="f", **params))["DurableExecutionArn"]

    async def checkpoint(self, event, *updates, token="", **params):
        return await self.call(
            "lambda",
            "CheckpointDurableExecution",
            DurableExecutionArn=event["DurableExecutionArn"],
            CheckpointToken=token or event["CheckpointToken"],
            Updates=list(updates),
            **params,
        )

    async def describe(self, arn):
        return await self.call("lambda", "GetDurableExecution", DurableExecutionArn=arn)

    async def listed(self, **params):
        answer = await self.call("lambda", "ListDurableExecutionsByFunction", FunctionName="f", **params)
        return [one["DurableExecutionName"] for one in answer["DurableExecutions"]], answer.get("NextMarker")

    async def refusal(self, operation, **params):
        with pytest.raises(ServiceError) as caught:
            await self.call("lambda", operation, **params)
        return caught.value.code, caught.value.message


@pytest.fixture
def case():
    return Case()


def update(id, kind, action, **members):
    return {"Id": id, "Type": kind, "Action": action, **members}


async def succeed(event):
    return {"Status": "SUCCEEDED", "Result": '"ok"'}


async def never(event):
    await asyncio.get_running_loop().create_future()


async def test_a_durable_function_is_invoked_by_a_qualified_name_only(case):
    async with case:
        for kind in ("Event", "RequestResponse"):
            assert await case.refusal("Invoke", FunctionName="f", InvocationType=kind) == (
                "InvalidParameterValueException",
                "You cannot invoke a durable function using an unqualified ARN.",
            )
        await create_function(case.world, "plain")
        code, _ = await case.refusal("Invoke", FunctionName="plain", DurableExecutionName="x")
        assert code == "InvalidParameterValueException"


async def test_nobody_waits_longer_than_15_minutes_for_an_execution(case):
    async with case:
        await create_function(case.world, "long", DurableConfig={"ExecutionTimeout": 901})
        assert await case.refusal("Invoke", FunctionName="long", Qualifier="$LATEST") == (
            "InvalidParameterValueException",
            "You cannot synchronously invoke a durable function with an executionTimeout greater than 15 minutes.",
        )


async def test_durability_is_chosen_at_creation_and_only_changed_later(case):
    async with case:
        await create_function(case.world, "plain")
        code, _ = await case.refusal(
            "UpdateFunctionConfiguration", FunctionName="plain", DurableConfig={"ExecutionTimeout": 5}
        )
        assert code == "InvalidParameterValueException"
        await case.call(
            "lambda", "UpdateFunctionConfiguration", FunctionName="f", DurableConfig={"ExecutionTimeout": 5}
        )
        shown = await case.call("lambda", "GetFunctionConfiguration", FunctionName="f")
        assert shown["DurableConfig"] == {"ExecutionTimeout": 5, "RetentionPeriodInDays": 2}


async def test_a_name_starts_one_execution_however_often_it_is_given(case):
    case.pool.script = succeed
    async with case:
        first = await case.start(DurableExecutionName="order-1", Payload=b'{"n":1}')
        assert await case.start(DurableExecutionName="order-1", Payload=b'{"n":1}') == first
        await case.world.settle()
        answer = await case.call(
            "lambda",
            "Invoke",
            FunctionName="f",
            Qualifier="$LATEST",
            DurableExecutionName="order-1",
            Payload=b'{"n":1}',
        )
        assert (answer["Payload"], answer["DurableExecutionArn"]) == (b'"ok"', first)
        await case.call("lambda", "PublishVersion", FunctionName="f")
        assert await case.start(Qualifier="1", DurableExecutionName="order-1", Payload=b'{"n":1}') == first
        code, _ = await case.refusal(
            "Invoke",
            FunctionName="f",
            Qualifier="$LATEST",
            InvocationType="Event",
            DurableExecutionName="order-1",
            Payload=b'{"n":2}',
        )
        assert code == "DurableExecutionAlreadyStartedException"
        assert len(case.pool.events) == 1


async def test_each_checkpoint_takes_a_token_and_gives_the_next(case):
    seen = {}

    async def script(event):
        start = update("s", "STEP", "START", Name="pay")
        first = await case.checkpoint(event, start, ClientToken="one")
        assert await case.checkpoint(event, start, ClientToken="one") == first
        stale = await case.refusal(
            "CheckpointDurableExecution",
            DurableExecutionArn=event["DurableExecutionArn"],
            CheckpointToken=event["CheckpointToken"],
            Updates=[start],
        )
        second = await case.checkpoint(
            event, update("s", "STEP", "SUCCEED", Payload='"paid"'), token=first["CheckpointToken"]
        )
        seen.update(stale=stale, first=first, second=second)
        return {"Status": "SUCCEEDED", "Result": "1"}

    case.pool.script = script
    async with case:
        arn = await case.start()
        await case.world.advance(1)
        assert (await case.describe(arn))["Status"] == "SUCCEEDED"
        assert seen["stale"] == ("InvalidParameterValueException", "Invalid checkpoint token")
        [started], [ended] = (seen[name]["NewExecutionState"]["Operations"] for name in ("first", "second"))
        assert (started["Status"], started["StepDetails"]) == ("STARTED", {"Attempt": 0})
        assert (ended["Status"], ended["StepDetails"]) == ("SUCCEEDED", {"Attempt": 1, "Result": '"paid"'})
        late = await case.refusal(
            "CheckpointDurableExecution",
            DurableExecutionArn=arn,
            CheckpointToken=seen["second"]["CheckpointToken"],
            Updates=[update("t", "STEP", "START")],
        )
        assert late == ("InvalidParameterValueException", "Invalid checkpoint token")


async def test_the_handler_is_given_what_happened_so_far(case):
    async def script(event):
        if len(case.pool.events) == 1:
            await case.checkpoint(event, update("w", "WAIT", "START", Name="rest", WaitOptions={"WaitSeconds": 30}))
            return {"Status": "PENDING"}
        return {"Status": "SUCCEEDED", "Result": "2"}

    case.pool.script = script
    async with case:
        arn = await case.start(Payload=b'{"a":1}')
        before_ms = case.world.clock.now_ms()
        await case.world.advance(60)
        first, second = case.pool.events
        [execution] = first["InitialExecutionState"]["Operations"]
        assert (first["DurableExecutionArn"], execution["Type"]) == (arn, "EXECUTION")
        assert execution["ExecutionDetails"] == {"InputPayload": '{"a":1}'}
        assert first["InitialExecutionState"]["NextMarker"] == ""
        wait = second["InitialExecutionState"]["Operations"][1]
        assert wait == {
            "Id": "w",
            "Name": "rest",
            "Type": "WAIT",
            "StartTimestamp": before_ms,
            "EndTimestamp": before_ms + 30_000,
            "Status": "SUCCEEDED",
            "WaitDetails": {"ScheduledEndTimestamp": before_ms + 30_000},
        }
        assert second["UpdatedOperationIds"] == ["w"]


async def test_a_handler_that_crashes_is_invoked_again_five_seconds_later_and_five_times_at_most(case):
    async def script(event):
        return outcome(b'{"errorMessage":"out of memory","errorType":"Runtime.ExitError"}', error="Runtime.ExitError")

    case.pool.script = script
    async with case:
        arn = await case.start()
        await case.world.advance(60)
        execution = await case.describe(arn)
        assert (execution["Status"], execution["Error"]["ErrorType"]) == ("FAILED", "Runtime.ExitError")
        assert (execution["EndTimestamp"] - execution["StartTimestamp"]).total_seconds() == 20
        assert len(case.pool.events) == 5


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        pytest.param({"Status": "MAYBE"}, "Invalid Status in invocation output.", id="no such status"),
        pytest.param({"Status": "FAILED", "Result": "1"}, "Cannot provide a Result for FAILED status.", id="failed"),
        pytest.param(
            {"Status": "PENDING"}, "Cannot return PENDING status with no pending operations.", id="waits for nothing"
        ),
    ],
)
async def test_an_answer_that_breaks_the_protocol_fails_the_execution(case, answer, text):
    async def script(event):
        return answer

    case.pool.script = script
    async with case:
        arn = await case.start()
        await case.world.advance(60)
        execution = await case.describe(arn)
        assert execution["Error"] == {"ErrorMessage": text, "ErrorType": "InvalidParameterValueException"}


async def test_an_execution_times_out_while_its_handler_runs_or_waits(case):
    case.pool.script = never
    async with case:
        arn = await case.start()
        await case.world.clock.sleep(0)
        case.world.clock.advance_to(case.world.clock.now_ms() + 600_000)
        await case.world.settle()
        execution = await case.describe(arn)
        assert execution["Status"] == "TIMED_OUT"
        assert execution["Error"] == {"ErrorMessage": "Execution timed out after 600 seconds."}


async def test_a_stopped_execution_takes_no_checkpoint_and_stays_stopped(case):
    async def script(event):
        await case.checkpoint(event, update("w", "WAIT", "START", WaitOptions={"WaitSeconds": 30}))
        return {"Status": "PENDING"}

    case.pool.script = script
    async with case:
        arn = await case.start()
        await case.world.advance(1)
        error = {"ErrorMessage": "no longer wanted", "ErrorType": "Cancelled"}
        stopped = await case.call("lambda", "StopDurableExecution", DurableExecutionArn=arn, Error=error)
        await case.world.advance(100)
        execution = await case.describe(arn)
        assert (execution["Status"], execution["Error"]) == ("STOPPED", error)
        assert execution["EndTimestamp"] == stopped["StopTimestamp"]
        assert await case.call("lambda", "StopDurableExecution", DurableExecutionArn=arn) == stopped
        assert len(case.pool.events) == 1


async def test_executions_are_listed_newest_first_and_filtered(case):
    async def script(event):
        if "fail" in event["InitialExecutionState"]["Operations"][0]["ExecutionDetails"]["InputPayload"]:
            return {"Status": "FAILED", "Error": {"ErrorMessage": "x"}}
        return {"Status": "SUCCEEDED"}

    case.pool.script = script
    async with case:
        for number in range(5):
            payload = b'"fail"' if number % 2 else b"1"
            await case.start(DurableExecutionName=f"e{number}", Payload=payload)
            await case.world.advance(1)
        assert (await case.listed())[0] == ["e4", "e3", "e2", "e1", "e0"]
        assert (await case.listed(ReverseOrder=True))[0] == ["e0", "e1", "e2", "e3", "e4"]
        assert (await case.listed(Statuses=["FAILED"]))[0] == ["e3", "e1"]
        assert (await case.listed(DurableExecutionName="e2"))[0] == ["e2"]
        found, marker = await case.listed(MaxItems=2)
        while marker:
            page, marker = await case.listed(MaxItems=2, Marker=marker)
            found += page
        assert found == ["e4", "e3", "e2", "e1", "e0"]
        assert (await case.listed(Qualifier="$LATEST", Statuses=["RUNNING"]))[0] == []


async def test_the_history_is_read_in_pages_either_way_and_with_or_without_data(case):
    case.pool.script = succeed
    async with case:
        arn = await case.start(Payload=b'{"a":1}')
        await case.world.advance(1)

        async def history(**params):
            answer = await case.call("lambda", "GetDurableExecutionHistory", DurableExecutionArn=arn, **params)
            return [event["EventType"] for event in answer["Events"]], answer

        types, answer = await history()
        assert types == ["ExecutionStarted", "InvocationCompleted", "ExecutionSucceeded"]
        started = answer["Events"][0]["ExecutionStartedDetails"]
        assert started == {"Input": {"Payload": '{"a":1}'}, "ExecutionTimeout": 600}
        assert (await history(ReverseOrder=True))[0] == types[::-1]
        page, answer = await history(MaxItems=2, ReverseOrder=True)
        rest, _ = await history(MaxItems=2, ReverseOrder=True, Marker=answer["NextMarker"])
        assert page + rest == types[::-1]
        _, answer = await history(IncludeExecutionData=False)
        assert answer["Events"][0]["ExecutionStartedDetails"]["Input"] == {}


async def test_each_invocation_is_in_the_history_with_what_it_failed_with(case):
    async def script(event):
        return {"Status": "FAILED", "Error": {"ErrorMessage": "no stock", "ErrorType": "NoStock"}}

    case.pool.script = script
    async with case:
        arn = await case.start()
        before = case.world.context().clock.now_ms()
        await case.world.advance(1)
        answer = await case.call("lambda", "GetDurableExecutionHistory", DurableExecutionArn=arn)
        _, invocation, _ = answer["Events"]
        details = invocation["InvocationCompletedDetails"]
        assert details["Error"] == {"Payload": {"ErrorMessage": "no stock", "ErrorType": "NoStock"}}
        assert details["RequestId"] == case.pool.invoked[0][1].request_id
        assert details["StartTimestamp"].timestamp() * 1000 == before


async def test_an_execution_is_forgotten_when_its_retention_is_over(case):
    case.pool.script = succeed
    async with case:
        arn = await case.start(DurableExecutionName="n")
        await case.world.advance(2 * 86_400 - 1)
        assert (await case.describe(arn))["Status"] == "SUCCEEDED"
        await case.world.advance(2)
        assert (await case.refusal("GetDurableExecution", DurableExecutionArn=arn))[0] == "ResourceNotFoundException"
        assert await case.start(DurableExecutionName="n") != arn


async def test_an_asynchronous_execution_that_fails_goes_to_the_dead_letters(case):
    async def script(event):
        return {"Status": "FAILED", "Error": {"ErrorMessage": "no stock", "ErrorType": "NoStock"}}

    case.pool.script = script
    async with case:
        await case.call("sqs", "CreateQueue", QueueName="dead")
        target = {"TargetArn": "arn:aws:sqs:us-east-1:000000000000:dead"}
        await case.call("lambda", "UpdateFunctionConfiguration", FunctionName="f", DeadLetterConfig=target)
        await case.world.settle()
        await case.start(Payload=b'{"order":7}')
        await case.world.advance(1)
        url = "http://localhost:4566/000000000000/dead"
        answer = await case.call("sqs", "ReceiveMessage", QueueUrl=url, MessageAttributeNames=["All"])
        [message] = answer["Messages"]
        assert message["Body"] == '{"order":7}'
        assert message["MessageAttributes"]["ErrorMessage"]["StringValue"] == "no stock"


async def test_an_execution_whose_function_is_gone_fails(case):
    async def script(event):
        await case.checkpoint(event, update("w", "WAIT", "START", WaitOptions={"WaitSeconds": 30}))
        return {"Status": "PENDING"}

    case.pool.script = script
    async with case:
        arn = await case.start()
        await case.world.advance(1)
        await case.call("lambda", "DeleteFunction", FunctionName="f")
        await case.world.advance(60)
        execution = await case.describe(arn)
        assert execution["Error"] == {
            "ErrorMessage": f"Function not found: {FUNCTION}:$LATEST",
            "ErrorType": "ResourceNotFoundException",
        }


async def test_an_execution_keeps_to_the_version_that_it_began_with(case):
    async def script(event):
        if len(case.pool.events) == 1:
            await case.checkpoint(event, update("w", "WAIT", "START", WaitOptions={"WaitSeconds": 30}))
            return {"Status": "PENDING"}
        return {"Status": "SUCCEEDED"}

    case.pool.script = script
    async with case:
        await case.call("lambda", "PublishVersion", FunctionName="f")
        await case.call("lambda", "CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
        arn = await case.start(Qualifier="live")
        assert arn.startswith(f"{FUNCTION}:1/durable-execution/")
        await case.call("lambda", "UpdateFunctionConfiguration", FunctionName="f", MemorySize=256)
        await case.world.settle()
        await case.call("lambda", "PublishVersion", FunctionName="f")
        await case.call("lambda", "UpdateAlias", FunctionName="f", Name="live", FunctionVersion="2")
        await case.world.advance(60)
        assert (await case.describe(arn))["Version"] == "1"
        assert [spec.version for spec, _ in case.pool.invoked] == ["1", "1"]


async def test_a_callback_that_has_ended_takes_no_second_answer(case):
    async def script(event):
        if len(case.pool.events) == 1:
            answer = await case.checkpoint(event, update("c", "CALLBACK", "START", CallbackOptions={}))
            case.callback = answer["NewExecutionState"]["Operations"][0]["CallbackDetails"]["CallbackId"]
            return {"Status": "PENDING"}
        return {"Status": "SUCCEEDED"}

    case.pool.script = script
    async with case:
        arn = await case.start()
        await case.world.advance(1)
        await case.call("lambda", "SendDurableExecutionCallbackSuccess", CallbackId=case.callback, Result=b'{"x":1}')
        for operation in ("Success", "Failure", "Heartbeat"):
            refusal = await case.refusal(f"SendDurableExecutionCallback{operation}", CallbackId=case.callback)
            assert refusal[0] == "CallbackTimeoutException"
        await case.world.advance(1)
        assert (await case.describe(arn))["Status"] == "SUCCEEDED"
        code, _ = await case.refusal("SendDurableExecutionCallbackHeartbeat", CallbackId="bm90aGluZw==")
        assert code == "InvalidParameterValueException"


async def test_a_mapping_begins_an_execution_for_each_batch_and_waits_for_its_end(case):
    async def script(event):
        if len(case.pool.events) == 1:
            await case.checkpoint(event, update("w", "WAIT", "START", WaitOptions={"WaitSeconds": 20}))
            return {"Status": "PENDING"}
        return {"Status": "SUCCEEDED"}

    case.pool.script = script
    async with case:
        queue = "arn:aws:sqs:us-east-1:000000000000:work"
        await case.call("sqs", "CreateQueue", QueueName="work", Attributes={"VisibilityTimeout": "60"})
        assert (await case.refusal("CreateEventSourceMapping", FunctionName="f", EventSourceArn=queue))[0] == (
            "InvalidParameterValueException"
        )
        await case.call("lambda", "CreateEventSourceMapping", FunctionName="f:$LATEST", EventSourceArn=queue)
        await case.world.advance(1)
        url = "http://localhost:4566/000000000000/work"
        await case.call("sqs", "SendMessage", QueueUrl=url, MessageBody="hello")
        await case.world.advance(10)
        names = ["ApproximateNumberOfMessagesNotVisible"]
        seen = await case.call("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=names)
        assert seen["Attributes"] == {names[0]: "1"}
        await case.world.advance(20)
        seen = await case.call("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=names)
        assert seen["Attributes"] == {names[0]: "0"}
        started = case.pool.events[0]["InitialExecutionState"]["Operations"][0]["ExecutionDetails"]["InputPayload"]
        assert orjson.loads(started)["Records"][0]["body"] == "hello"
        answer = await case.call("lambda", "ListDurableExecutionsByFunction", FunctionName="f", Statuses=["SUCCEEDED"])
        assert len(answer["DurableExecutions"]) == 1


async def test_operations_and_bytes_are_metered_and_told_to_cloudwatch(case):
    async def script(event):
        answer = await case.checkpoint(event, update("s", "STEP", "SUCCEED", Payload="x" * 1000))
        await case.checkpoint(event, update("t", "STEP", "SUCCEED"), token=answer["CheckpointToken"])
        return {"Status": "SUCCEEDED"}

    case.pool.script = script
    async with case:
        await case.start()
        await case.world.advance(60)
        whole = await bill(case.world.platform)
        [line] = whole.functions
        assert line.durable_usd == pytest.approx(3 * 0.000008 + 1002 / 2**30 * 0.25)
        wanted = ("Started", "Succeeded", "Operations", "StorageWrittenBytes", "Duration")
        found = await case.world.platform.store.read(
            lambda tx: [
                series.name
                for name in wanted
                for series, _ in metrics.series_of(tx, Scope(), namespace="AWS/Lambda", name=f"DurableExecution{name}")
            ]
        )
        assert set(found) == {f"DurableExecution{name}" for name in wanted}


async def test_changes_of_status_go_to_the_event_bus():
    told = []

    @operation
    async def put_events(ctx, req):
        told.extend((ctx.principal.arn, entry) for entry in req["Entries"])
        return {"FailedEntryCount": 0, "Entries": []}

    module = ModuleType("operations")
    module.put_events = put_events
    case = Case(Service("events", operations=[module]))
    case.pool.script = succeed
    async with case:
        arn = await case.start(DurableExecutionName="order-7")
        await case.world.advance(1)
    entries = [entry for _, entry in told]
    assert {(entry["Source"], entry["DetailType"]) for entry in entries} == {
        ("aws.lambda", "Durable Execution Status Change")
    }
    begun, ended = sorted((orjson.loads(entry["Detail"]) for entry in entries), key=lambda detail: detail["status"])
    assert begun == {
        "durableExecutionArn": arn,
        "durableExecutionName": "order-7",
        "functionArn": f"{FUNCTION}:$LATEST",
        "status": "RUNNING",
        "startTimestamp": "2026-05-28T20:26:40.000Z",
    }
    assert (ended["status"], ended["endTimestamp"]) == ("SUCCEEDED", "2026-05-28T20:26:40.000Z")


async def test_a_node_without_an_event_bus_tells_nobody(case):
    case.pool.script = succeed
    async with case:
        for _ in range(3):
            await case.start()
            await case.world.advance(1)
        due = await case.world.platform.store.read(lambda tx: outbox.due(tx, 2**62, limit=100))
        assert {intent.kind for intent in due} == {"lambda.durable_forget"}


class Unsure:
    """A store that fails one commit of an execution, before or after it was written."""

    def __init__(self, store, number, *, is_written):
        self._store = store
        self._left = number
        self._is_written = is_written

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def transact(self, fn):
        if not fn.__qualname__.startswith("Ledger."):
            return await self._store.transact(fn)
        self._left -= 1
        if self._left == 0 and not self._is_written:
            raise Unavailable("not written")
        answer = await self._store.transact(fn)
        if self._left == 0:
            raise Unavailable("nobody knows whether it was written")
        return answer


@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("is_written", [False, True], ids=["not written", "written unknowingly"])
async def test_whichever_commit_fails_the_execution_ends_as_if_none_had(case, number, is_written):
    async def script(event):
        if len(case.pool.events) > 1:
            return {"Status": "SUCCEEDED", "Result": "1"}
        steps = [
            update("s", "STEP", "SUCCEED", Payload="1"),
            update("w", "WAIT", "START", WaitOptions={"WaitSeconds": 9}),
        ]
        await patient(lambda: case.checkpoint(event, *steps, ClientToken="c"))
        return {"Status": "PENDING"}

    async def patient(call):
        try:
            return await call()
        except ServiceError as error:
            if error.code != "ServiceUnavailable":
                raise
            return await call()

    case.pool.script = script
    async with case:
        await case.world.settle()
        case.world.platform.store = Unsure(case.world.platform.store, number, is_written=is_written)
        arn = await patient(lambda: case.start(DurableExecutionName="n"))
        await case.world.advance(300)
        assert (await case.describe(arn))["Status"] == "SUCCEEDED"
        answer = await case.call("lambda", "GetDurableExecutionHistory", DurableExecutionArn=arn)
        assert [event["EventType"] for event in answer["Events"]] == [
            "ExecutionStarted",
            "StepSucceeded",
            "WaitStarted",
            "InvocationCompleted",
            "WaitSucceeded",
            "InvocationCompleted",
            "ExecutionSucceeded",
        ]


async def test_an_execution_and_what_it_invokes_run_for_their_tenants(case):
    async def script(event):
        if case.pool.invoked[-1][0].name == "shared":
            return outcome(b"1")
        if len(case.pool.events) == 1:
            options = {"FunctionName": "shared", "TenantId": "blue"}
            invokes = [update("a", "CHAINED_INVOKE", "START", ChainedInvokeOptions=options)]
            invokes.append(update("b", "CHAINED_INVOKE", "START", ChainedInvokeOptions={"FunctionName": "shared"}))
            await case.checkpoint(event, *invokes)
            return {"Status": "PENDING"}
        return {"Status": "SUCCEEDED"}

    case.pool.script = script
    async with case:
        config = {"TenantIsolationMode": "PER_TENANT"}
        await create_function(case.world, "own", DurableConfig=DURABLE, TenancyConfig=config)
        await create_function(case.world, "shared", TenancyConfig=config)
        start = {"FunctionName": "own", "Qualifier": "$LATEST", "InvocationType": "Event", "Payload": b"{}"}
        answer = await case.call("lambda", "Invoke", TenantId="red", **start)
        await case.world.advance(1)
        ran = [(spec.name, invocation.tenant_id) for spec, invocation in case.pool.invoked]
        assert set(ran) == {("own", "red"), ("shared", "blue")}
        told = await case.call(
            "lambda", "GetDurableExecutionHistory", DurableExecutionArn=answer["DurableExecutionArn"]
        )
        [failed] = [event for event in told["Events"] if event["EventType"] == "ChainedInvokeFailed"]
        assert failed["Id"] == "b"
        assert "tenant ID" in failed["ChainedInvokeFailedDetails"]["Error"]["Payload"]["ErrorMessage"]
