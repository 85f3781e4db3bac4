"""The machine of durable executions: what may be checkpointed, and what follows from it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.engines.durable import machine as machines
from penstock.engines.durable.answers import Answer, answer_of
from penstock.engines.durable.checks import CHAINED_PAYLOAD_BYTES_MAX, ERROR_BYTES_MAX, PAYLOAD_BYTES_MAX
from penstock.engines.durable.machine import Machine
from penstock.engines.durable.model import OPERATIONS_MAX, CallbackClosed, Execution, Refused

NOW_MS = 1_780_000_000_000
ARN = "arn:aws:lambda:us-east-1:000000000000:function:f:1/durable-execution/n/x"


class Memory:
    """Operations in a dict."""

    def __init__(self):
        self.kept = {}

    def find(self, id):
        return self.kept.get(id)

    def put(self, operation):
        self.kept[operation.id] = operation


class Run:
    """One execution under a clock that the test moves; `told` is its whole history."""

    def __init__(self):
        self.execution = Execution(ARN, "f", "1", "n", "x", NOW_MS, timeout_s=3600, retention_days=1)
        self.operations = Memory()
        self.now_ms = NOW_MS
        self.told = []
        self.chained = []
        self.invocations = 0
        self.do(lambda machine: machine.start("{}"))

    def do(self, apply):
        machine = Machine(self.execution, self.operations, self.now_ms)
        result = apply(machine)
        self.told += [event.type for event in machine.events]
        self.chained += machine.chained
        return result

    def begin(self):
        self.invocations += 1
        return self.do(lambda machine: machine.begin(f"i{self.invocations}"))

    def checkpoint(self, *updates, client_token=""):
        token = machines.format_token(self.execution)
        return self.do(lambda machine: machine.checkpoint(token, client_token, updates, lambda name: None))

    def end(self, kind, **members):
        id = self.execution.invocation_id
        self.do(lambda machine: machine.on_invocation_end(id, Answer(kind, **members)))

    def wait(self, seconds):
        self.now_ms += 1000 * seconds
        self.do(Machine.on_time)


@pytest.fixture
def run():
    run = Run()
    run.begin()
    return run


def update(kind, action, id="a", **members):
    return {"Id": id, "Type": kind, "Action": action, **members}


START = update("STEP", "START")
RETRY = update("STEP", "RETRY", StepOptions={"NextAttemptDelaySeconds": 5})
WAIT = update("WAIT", "START", WaitOptions={"WaitSeconds": 9})
INVOKE = update("CHAINED_INVOKE", "START", ChainedInvokeOptions={"FunctionName": "g"})


@pytest.mark.parametrize(
    ("before", "batch", "text"),
    [
        pytest.param([], [update("WAIT", "SUCCEED")], "Invalid action for the given operation type.", id="action"),
        pytest.param([], [update("WAIT", "START")], "Invalid WaitOptions for the given action.", id="no wait options"),
        pytest.param([], [update("STEP", "RETRY")], "Invalid StepOptions for the given action.", id="no delay"),
        pytest.param([START], [START], "Invalid current STEP state to start.", id="a step started twice"),
        pytest.param(
            [update("STEP", "SUCCEED")], [update("STEP", "FAIL")], "Invalid current STEP state to close.", id="closed"
        ),
        pytest.param([RETRY], [RETRY], "Invalid current STEP state to re-attempt.", id="retried while pending"),
        pytest.param([START], [update("WAIT", "START")], "Inconsistent operation type.", id="another type"),
        pytest.param(
            [update("STEP", "START", Name="a")],
            [update("STEP", "SUCCEED", Name="b")],
            "Inconsistent operation name.",
            id="another name",
        ),
        pytest.param(
            [update("STEP", "START", SubType="Step")],
            [update("STEP", "SUCCEED", SubType="Other")],
            "Inconsistent operation subtype.",
            id="another subtype",
        ),
        pytest.param([WAIT], [WAIT], "Cannot start a WAIT that already exist.", id="a wait twice"),
        pytest.param(
            [],
            [update("WAIT", "CANCEL")],
            "Cannot cancel a WAIT that does not exist or has already completed.",
            id="a wait that isn't there",
        ),
        pytest.param(
            [update("CALLBACK", "START")],
            [update("CALLBACK", "START")],
            "Cannot start a CALLBACK that already exist.",
            id="a callback twice",
        ),
        pytest.param([INVOKE], [INVOKE], "Cannot start a CHAINED_INVOKE operation that already exists.", id="invoke"),
        pytest.param(
            [],
            [update("CHAINED_INVOKE", "START")],
            "Update for CHAINED_INVOKE operation requires ChainedInvokeOptions.",
            id="no function",
        ),
        pytest.param([], [update("STEP", "START", ParentId="p")], "Invalid parent operation id.", id="no parent"),
        pytest.param([START], [update("STEP", "START", "b", ParentId="a")], "Invalid parent operation id.", id="step"),
        pytest.param([], [START, START], "Cannot checkpoint multiple operations with the same ID.", id="same id"),
        pytest.param(
            [],
            [update("EXECUTION", "SUCCEED"), update("EXECUTION", "FAIL", "b")],
            "Cannot checkpoint multiple EXECUTION updates.",
            id="ends twice",
        ),
        pytest.param(
            [],
            [update("EXECUTION", "SUCCEED"), update("STEP", "START", "b")],
            "EXECUTION checkpoint must be the last update.",
            id="something after the end",
        ),
        pytest.param(
            [], [update("STEP", "FAIL", Payload="1")], "Cannot provide a Payload for FAIL action.", id="failed payload"
        ),
        pytest.param(
            [],
            [update("STEP", "SUCCEED", Error={"ErrorMessage": "x"})],
            "Cannot provide an Error for SUCCEED action.",
            id="successful error",
        ),
        pytest.param(
            [],
            [update("STEP", "SUCCEED", Payload="x" * (PAYLOAD_BYTES_MAX + 1))],
            f"STEP output payload size must be less than or equal to {PAYLOAD_BYTES_MAX} bytes.",
            id="a large result",
        ),
        pytest.param(
            [],
            [update("STEP", "FAIL", Error={"ErrorMessage": "x" * ERROR_BYTES_MAX})],
            f"Error object size must be less than {ERROR_BYTES_MAX} bytes.",
            id="a large error",
        ),
        pytest.param(
            [],
            [{**INVOKE, "Payload": "x" * (CHAINED_PAYLOAD_BYTES_MAX + 1)}],
            f"CHAINED_INVOKE input payload size must be less than or equal to {CHAINED_PAYLOAD_BYTES_MAX} bytes.",
            id="a large input",
        ),
    ],
)
def test_what_does_not_follow_is_refused_in_the_services_words(run, before, batch, text):
    for earlier in before:
        run.checkpoint(earlier)
    with pytest.raises(Refused) as refused:
        run.checkpoint(*batch)
    assert str(refused.value) == text


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param([START, update("STEP", "SUCCEED", Payload="x" * PAYLOAD_BYTES_MAX)], id="a step in one batch"),
        pytest.param(
            [update("CONTEXT", "START"), update("STEP", "START", "b", ParentId="a")], id="a new context's step"
        ),
        pytest.param([update("CONTEXT", "START"), update("CONTEXT", "SUCCEED")], id="a context in one batch"),
        pytest.param([WAIT, update("EXECUTION", "FAIL", "x", Error={})], id="the end after a wait"),
    ],
)
def test_what_follows_is_taken(run, batch):
    run.checkpoint(*batch)


def test_an_execution_beyond_a_quota_fails_and_the_handler_gets_no_token(run):
    run.checkpoint(*(update("STEP", "SUCCEED", str(n)) for n in range(OPERATIONS_MAX - 1)))
    assert not run.execution.is_closed
    assert run.checkpoint(update("STEP", "SUCCEED", "more")) == []
    assert run.execution.status == "FAILED"
    assert "maximum number of operations" in run.execution.error["ErrorMessage"]


def test_only_the_running_invocation_checkpoints(run):
    token = machines.format_token(run.execution)
    run.end("CRASHED")
    run.wait(5)
    run.begin()
    with pytest.raises(Refused, match="Invalid checkpoint token"):
        run.do(lambda machine: machine.checkpoint(token, "", [START], lambda name: None))


def test_a_wait_that_ends_while_the_handler_runs_is_told_with_the_next_checkpoint(run):
    run.checkpoint(WAIT)
    run.wait(9)
    assert not run.execution.is_ready
    assert [(o.id, o.status) for o in run.checkpoint()] == [("a", "SUCCEEDED")]
    run.checkpoint(update("WAIT", "START", "b", WaitOptions={"WaitSeconds": 60}))
    run.end("PENDING")
    assert not run.execution.is_ready
    assert run.execution.wake_ms == run.now_ms + 60_000


def test_a_wait_that_ends_unseen_before_the_handler_suspends_has_it_invoked_at_once(run):
    run.checkpoint(WAIT)
    run.wait(9)
    run.end("PENDING")
    assert run.execution.is_ready
    assert run.begin() == ["a"]


def test_a_step_counts_its_attempts_and_keeps_the_state_of_the_last(run):
    run.checkpoint(START)
    [step] = run.checkpoint({**RETRY, "Payload": '"so far"'})
    assert (step.status, step.attempt, step.due_ms, step.result) == ("PENDING", 1, run.now_ms + 5000, '"so far"')
    run.end("PENDING")
    run.wait(5)
    assert (step.status, step.due_ms, run.execution.is_ready) == ("READY", None, True)
    run.begin()
    [step] = run.checkpoint(START, update("STEP", "SUCCEED", Payload="1"))
    assert (step.status, step.attempt, step.result) == ("SUCCEEDED", 2, "1")


def test_a_heartbeat_moves_the_callbacks_time(run):
    run.checkpoint(update("CALLBACK", "START", CallbackOptions={"HeartbeatTimeoutSeconds": 10, "TimeoutSeconds": 25}))
    run.end("PENDING")
    for _ in range(2):
        run.wait(9)
        run.do(lambda machine: machine.on_heartbeat("a"))
    assert run.execution.wake_ms == NOW_MS + 25_000
    run.wait(7)
    assert run.operations.find("a").error["ErrorType"] == "Callback.Timeout"
    with pytest.raises(CallbackClosed):
        run.do(lambda machine: machine.on_callback("a", result="1"))


def test_the_end_of_a_chained_invoke_is_told_once(run):
    run.checkpoint(INVOKE)
    assert [operation.function for operation in run.chained] == ["g"]
    run.end("PENDING")
    for _ in range(2):
        run.do(lambda machine: machine.on_chained_end("a", "SUCCEEDED", result="1", error=None))
    assert run.told.count("ChainedInvokeSucceeded") == 1


@pytest.mark.parametrize(
    ("payload", "function_error", "kind"),
    [
        pytest.param(b'{"Status":"SUCCEEDED","Result":"1"}', None, "SUCCEEDED", id="done"),
        pytest.param(b'{"Status":"PENDING"}', None, "PENDING", id="suspended"),
        pytest.param(b'{"Status":"SUCCEEDED","Result":1}', None, "INVALID", id="a result that isn't text"),
        pytest.param(b"null", None, "INVALID", id="nothing"),
        pytest.param(b'{"errorMessage":"x"}', "Unhandled", "CRASHED", id="crashed"),
    ],
)
def test_a_handlers_answer_is_read(payload, function_error, kind):
    assert answer_of(payload, function_error).kind == kind


ACTIONS = st.one_of(
    st.tuples(
        st.sampled_from(["STEP", "CONTEXT", "WAIT", "CALLBACK", "CHAINED_INVOKE"]),
        st.sampled_from(["START", "SUCCEED", "FAIL", "RETRY", "CANCEL"]),
        st.sampled_from("abcd"),
    ),
    st.sampled_from(["begin", "pending", "crash", "time", "callback", "heartbeat", "chained", "repeat"]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ACTIONS, max_size=40))
def test_whatever_happens_an_operation_ends_once_and_the_execution_is_never_left_alone(actions):
    run = Run()
    ended = {}
    for action in actions:
        _happen(run, action)
        for operation in run.operations.kept.values():
            if operation.has_ended:
                known = ended.setdefault(operation.id, (operation.status, operation.result, operation.ended_ms))
                assert known == (operation.status, operation.result, operation.ended_ms)
        execution = run.execution
        assert execution.is_closed or execution.wake_ms is not None
        assert not (execution.is_ready and execution.invocation_id)
        for id, wake_ms in execution.waiting.items():
            assert run.operations.find(id).wake_ms == (wake_ms or None)
    numbers = sorted(operation.number for operation in run.operations.kept.values())
    assert numbers == list(range(1, len(numbers) + 1))
    run.now_ms = run.execution.deadline_ms
    run.do(Machine.on_time)
    assert run.execution.is_closed


def _checkpoint_twice(run):
    token, updates = machines.format_token(run.execution), [update("STEP", "START", f"s{run.execution.operations}")]

    def checkpoint(machine):
        return machine.checkpoint(token, "same", updates, lambda name: None)

    first = run.do(checkpoint)
    told = len(run.told)
    assert run.do(checkpoint) == first
    assert len(run.told) == told


def _happen(run, action):
    id = "abcd"[run.now_ms // 1000 % 4]
    try:
        match action:
            case "begin":
                if run.execution.is_ready:
                    run.begin()
            case "pending" | "crash":
                if run.execution.invocation_id:
                    run.end("PENDING" if action == "pending" else "CRASHED")
            case "time":
                run.wait(3)
            case "callback":
                run.do(lambda machine: machine.on_callback(id, result="1"))
            case "heartbeat":
                run.do(lambda machine: machine.on_heartbeat(id))
            case "chained":
                run.do(lambda machine: machine.on_chained_end(id, "SUCCEEDED", result="1", error=None))
            case "repeat":
                _checkpoint_twice(run)
            case (kind, action, id):
                options = {
                    "StepOptions": {"NextAttemptDelaySeconds": 4},
                    "WaitOptions": {"WaitSeconds": 5},
                    "CallbackOptions": {"TimeoutSeconds": 8, "HeartbeatTimeoutSeconds": 4},
                    "ChainedInvokeOptions": {"FunctionName": "g"},
                }
                run.checkpoint(update(kind, action, id, **options))
    except (Refused, CallbackClosed):
        pass
