"""Programs as AWS's durable SDK writes them, run to their end on virtual time."""

import asyncio
import json

import pytest

from penstock.testkit.durable import ARN, Client, DurableWorld

sdk = pytest.importorskip("aws_durable_execution_sdk_python")
config = pytest.importorskip("aws_durable_execution_sdk_python.config")
retries = pytest.importorskip("aws_durable_execution_sdk_python.retries")
waits = pytest.importorskip("aws_durable_execution_sdk_python.waits")

CLIENT = Client()
Duration = config.Duration


def durable(fn):
    return sdk.durable_execution(fn, boto3_client=CLIENT)


@pytest.fixture
def world():
    CLIENT.calls.clear()
    return DurableWorld(CLIENT)


def result_of(execution):
    assert execution["Status"] == "SUCCEEDED", execution.get("Error")
    return json.loads(execution["Result"])


def seconds_of(execution):
    return (execution["EndTimestamp"] - execution["StartTimestamp"]).total_seconds()


async def test_steps_run_once_and_a_wait_suspends_the_execution(world):
    ran = []

    def note(word):
        ran.append(word)
        return word.upper()

    @durable
    def handler(event, context):
        first = context.step(lambda _: note("one"), name="first")
        context.wait(Duration.from_hours(2), name="rest")
        return [first, context.step(lambda _: note(event["word"]), name="second")]

    await world.deploy("f", handler, timeout_s=86_400)
    execution = await world.run("f", {"word": "two"})
    assert result_of(execution) == ["ONE", "TWO"]
    assert ran == ["one", "two"]
    assert seconds_of(execution) == 7200
    assert len(world.pool.invoked) == 2
    assert await world.types(execution["DurableExecutionArn"]) == [
        "ExecutionStarted",
        "StepStarted",
        "StepSucceeded",
        "WaitStarted",
        "InvocationCompleted",
        "WaitSucceeded",
        "StepStarted",
        "StepSucceeded",
        "InvocationCompleted",
        "ExecutionSucceeded",
    ]


async def test_a_step_is_retried_when_its_delay_is_over_and_then_gives_up(world):
    tries = []

    @durable
    def handler(event, context):
        def flaky(step):
            tries.append((step.attempt, world.clock.now_ms()))
            if len(tries) <= event:
                raise ValueError("not yet")
            return len(tries)

        strategy = retries.create_retry_strategy(
            retries.RetryStrategyConfig(
                max_attempts=3,
                initial_delay=Duration.from_seconds(10),
                backoff_rate=2,
                jitter_strategy=config.JitterStrategy.NONE,
            )
        )
        return context.step(flaky, name="flaky", config=config.StepConfig(retry_strategy=strategy))

    await world.deploy("f", handler)
    execution = await world.run("f", 2)
    assert result_of(execution) == 3
    assert [attempt for attempt, _ in tries] == [1, 2, 3]
    assert [after[1] - before[1] for before, after in zip(tries, tries[1:], strict=False)] == [10_000, 20_000]
    failed = [e for e in await world.history(execution["DurableExecutionArn"]) if e["EventType"] == "StepFailed"]
    assert [e["StepFailedDetails"]["RetryDetails"]["NextAttemptDelaySeconds"] for e in failed] == [10, 20]
    tries.clear()
    execution = await world.run("f", 5)
    assert (execution["Status"], execution["Error"]["ErrorMessage"]) == ("FAILED", "not yet")
    assert len(tries) == 3


async def test_parallel_branches_and_a_map_with_waits_inside_come_together(world):
    @durable
    def handler(event, context):
        def branch(number):
            def run(child):
                child.wait(Duration.from_seconds(10 * number))
                return child.step(lambda _: number, name=f"step-{number}")

            return run

        both = context.parallel([branch(1), branch(2)], name="both").get_results()

        def item(child, value, index, items):
            child.wait(Duration.from_seconds(5))
            return child.step(lambda _: value * 10)

        return both + context.map(event, item, name="all").get_results()

    await world.deploy("f", handler)
    execution = await world.run("f", [1, 2, 3])
    assert result_of(execution) == [1, 2, 10, 20, 30]


async def test_a_callback_is_answered_from_outside(world):
    seen = []

    @durable
    def handler(event, context):
        answer = context.wait_for_callback(lambda id, _: seen.append(id), name="approval")
        return {"approved": answer}

    await world.deploy("f", handler)
    arn = await world.start("f", {})
    await world.advance(60)
    assert (await world.describe(arn))["Status"] == "RUNNING"
    await world.call("lambda", "SendDurableExecutionCallbackSuccess", CallbackId=seen[0], Result=b'"yes"')
    await world.background.run_until_idle(horizon_s=3600)
    assert result_of(await world.describe(arn)) == {"approved": '"yes"'}
    assert len(seen) == 1


@pytest.mark.parametrize("how", ["failure", "timeout", "heartbeat"])
async def test_a_callback_that_fails_or_times_out_raises_in_the_handler(world, how):
    seen = []

    @durable
    def handler(event, context):
        callback = context.create_callback(
            name="c",
            config=config.CallbackConfig(
                timeout=Duration.from_seconds(100), heartbeat_timeout=Duration.from_seconds(40)
            ),
        )
        seen.append(callback.callback_id)
        try:
            return callback.result()
        except Exception as error:
            return [type(error).__name__, str(error)]

    await world.deploy("f", handler)
    arn = await world.start("f", {})
    await world.advance(30)
    if how == "failure":
        error = {"ErrorMessage": "refused", "ErrorType": "Denied"}
        await world.call("lambda", "SendDurableExecutionCallbackFailure", CallbackId=seen[0], Error=error)
    elif how == "timeout":
        for _ in range(3):
            await world.call("lambda", "SendDurableExecutionCallbackHeartbeat", CallbackId=seen[0])
            await world.advance(30)
    await world.background.run_until_idle(horizon_s=3600)
    execution = await world.describe(arn)
    text = result_of(execution)[1]
    expected = {
        "failure": ("refused", 30),
        "timeout": ("Callback timed out", 100),
        "heartbeat": ("Callback timed out on heartbeat", 40),
    }
    assert (text, seconds_of(execution)) == expected[how]


async def test_a_durable_function_invokes_a_durable_one_and_a_plain_one(world):
    @durable
    def parent(event, context):
        child = context.invoke(f"{ARN}:child:$LATEST", event, name="child")
        return [child, context.invoke("plain", child, name="plain")]

    @durable
    def child(event, context):
        context.wait(Duration.from_seconds(30))
        return event + 1

    await world.deploy("parent", parent)
    await world.deploy("child", child)
    await world.deploy("plain", lambda event, context: event * 2, timeout_s=0)
    execution = await world.run("parent", 1)
    assert result_of(execution) == [2, 4]
    history = await world.history(execution["DurableExecutionArn"])
    begun = [e["ChainedInvokeStartedDetails"] for e in history if e["EventType"] == "ChainedInvokeStarted"]
    assert begun[0]["DurableExecutionArn"].startswith(f"{ARN}:child:$LATEST/durable-execution/")
    assert "DurableExecutionArn" not in begun[1]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param("missing", "Function not found", id="a function that isn't there"),
        pytest.param("child", "You cannot invoke a durable function using an unqualified ARN.", id="unqualified"),
        pytest.param("child:$LATEST", "boom", id="one that fails"),
        pytest.param("slow:$LATEST", "CHAINED_INVOKE timed out after 60 seconds.", id="one that takes too long"),
    ],
)
async def test_an_invoke_that_comes_to_nothing_raises_in_the_parent(world, target, expected):
    @durable
    def parent(event, context):
        try:
            return context.invoke(target, event)
        except Exception as error:
            return str(error)

    @durable
    def child(event, context):
        raise RuntimeError("boom")

    @durable
    def slow(event, context):
        context.wait(Duration.from_days(1))

    await world.deploy("parent", parent)
    await world.deploy("child", child)
    await world.deploy("slow", slow, timeout_s=60)
    assert expected in result_of(await world.run("parent", 1))


async def test_wait_for_condition_polls_until_it_holds(world):
    @durable
    def handler(event, context):
        def check(state, _):
            return state + 1

        settings = waits.WaitForConditionConfig(
            wait_strategy=lambda state, attempt: (
                waits.WaitForConditionDecision.continue_waiting(Duration.from_seconds(7))
                if state < 4
                else waits.WaitForConditionDecision.stop_polling()
            ),
            initial_state=0,
        )
        return context.wait_for_condition(check, settings, name="poll")

    await world.deploy("f", handler)
    execution = await world.run("f")
    assert result_of(execution) == 4
    assert seconds_of(execution) == 21


async def test_a_saga_undoes_what_it_did_when_a_later_step_fails(world):
    done = []

    @durable
    def handler(event, context):
        undo = []
        once = config.StepConfig(retry_strategy=retries.RetryPresets.none())
        try:
            for name in ("hotel", "flight", "car"):
                context.step(lambda _, name=name: book(name), name=f"book-{name}", config=once)
                undo.append(name)
        except Exception:
            for name in reversed(undo):
                context.step(lambda _, name=name: done.append(f"cancel {name}"), name=f"cancel-{name}")
            return "undone"

    def book(name):
        if name == "car":
            raise RuntimeError("no cars")
        done.append(f"book {name}")

    await world.deploy("f", handler)
    assert result_of(await world.run("f")) == "undone"
    assert done == ["book hotel", "book flight", "cancel flight", "cancel hotel"]


async def test_a_child_context_with_a_large_result_is_rebuilt_from_its_children(world):
    @durable
    def handler(event, context):
        def child(inner):
            return [inner.step(lambda _, n=n: str(n) * 100_000, name=f"s{n}") for n in range(4)]

        found = context.run_in_child_context(child, name="large")
        context.wait(Duration.from_seconds(1))
        return [len(text) for text in found]

    await world.deploy("f", handler)
    assert result_of(await world.run("f")) == [100_000] * 4


async def test_a_result_beyond_an_answers_size_is_checkpointed(world):
    @durable
    def handler(event, context):
        return "x" * (6 * 1024 * 1024 - 10)

    await world.deploy("f", handler)
    execution = await world.run("f")
    assert len(result_of(execution)) == 6 * 1024 * 1024 - 10


async def test_a_caller_may_wait_for_the_end(world):
    @durable
    def handler(event, context):
        context.wait(Duration.from_seconds(300))
        if event == "bad":
            raise ValueError("told to fail")
        return {"done": event}

    await world.deploy("f", handler)

    async def invoke(event):
        task = asyncio.ensure_future(
            world.call("lambda", "Invoke", FunctionName="f", Qualifier="$LATEST", Payload=json.dumps(event).encode())
        )
        await asyncio.sleep(0)
        await world.background.run_until_idle(horizon_s=3600)
        return await task

    answer = await invoke("well")
    assert json.loads(answer["Payload"]) == {"done": "well"}
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert answer["DurableExecutionArn"].startswith(f"{ARN}:f:$LATEST/durable-execution/")
    answer = await invoke("bad")
    assert answer["FunctionError"] == "Unhandled"
    error = json.loads(answer["Payload"])
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "told to fail")


async def test_a_state_of_many_operations_is_read_page_by_page(world):
    @durable
    def handler(event, context):
        found = [context.step(lambda _, n=n: "x" * 10_000 + str(n)) for n in range(700)]
        context.wait(Duration.from_seconds(1))
        return len(found)

    await world.deploy("f", handler)
    assert result_of(await world.run("f")) == 700
    assert [params["MaxItems"] for name, params in CLIENT.calls if name == "GetDurableExecutionState"] == [1000]


async def test_a_function_that_invokes_itself_for_ever_is_stopped(world):
    begun = []

    @durable
    def handler(event, context):
        begun.append(event)
        return context.invoke("f:$LATEST", event + 1)

    await world.deploy("f", handler)
    execution = await world.run("f", 0)
    assert execution["Status"] == "FAILED"
    assert max(begun) == 15


@pytest.mark.parametrize(
    ("semantics", "expected", "times"),
    [
        pytest.param("AT_LEAST_ONCE_PER_RETRY", "charged", 2, id="at least once"),
        pytest.param("AT_MOST_ONCE_PER_RETRY", "StepError", 1, id="at most once"),
    ],
)
async def test_a_step_whose_success_never_arrived_is_repeated_or_given_up_as_it_asked(
    world, semantics, expected, times
):
    charged = []

    @durable
    def handler(event, context):
        settings = config.StepConfig(
            step_semantics=config.StepSemantics[semantics], retry_strategy=retries.RetryPresets.none()
        )
        try:
            context.step(lambda _: charged.append(1), name="charge", config=settings)
        except Exception as error:
            return type(error).__name__
        return "charged"

    def cut_off(operation):
        if charged and CLIENT.fault is cut_off:
            CLIENT.fault = lambda operation: None
            raise ConnectionError("the line is dead")

    await world.deploy("f", handler)
    CLIENT.fault = cut_off
    execution = await world.run("f")
    assert result_of(execution) == expected
    assert len(charged) == times
    types = await world.types(execution["DurableExecutionArn"])
    assert types.count("InvocationCompleted") == 2
    assert seconds_of(execution) == 5


async def test_branches_that_wait_are_left_behind_by_a_batch_that_has_enough(world):
    @durable
    def handler(event, context):
        def branch(seconds):
            def run(child):
                child.wait(Duration.from_seconds(seconds))
                return seconds

            return run

        enough = config.ParallelConfig(completion_config=config.CompletionConfig(min_successful=1))
        first = context.parallel([branch(100), branch(5), branch(200)], name="race", config=enough)
        context.wait(Duration.from_seconds(300))
        return [first.get_results(), first.completion_reason.value]

    await world.deploy("f", handler)
    execution = await world.run("f")
    assert result_of(execution) == [[5], "MIN_SUCCESSFUL_REACHED"]
    assert seconds_of(execution) == 305
