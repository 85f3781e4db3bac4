"""Durable functions on a running node: AWS's SDK in the package, its own client, and a node that is killed."""

import importlib.util
import io
import json
import signal
import time
import zipfile
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from penstock.testkit.functions import ROLE

pytestmark = [pytest.mark.real_clients, pytest.mark.xdist_group("conformance-durable")]
SDK = importlib.util.find_spec("aws_durable_execution_sdk_python")
if SDK is None:
    pytest.skip("the SDK for durable functions isn't installed", allow_module_level=True)
HEAD = """
from aws_durable_execution_sdk_python import DurableContext, StepContext, durable_execution, durable_step
from aws_durable_execution_sdk_python.config import Duration, StepConfig, WaitForCallbackConfig
from aws_durable_execution_sdk_python.retries import RetryStrategyConfig, create_retry_strategy
"""
ORDER = (
    HEAD
    + """
@durable_step
def charge(step, amount):
    if step.attempt < 2:
        raise RuntimeError("card reader is busy")
    return {"charged": amount}

@durable_execution
def handler(event, context: DurableContext):
    quick = StepConfig(retry_strategy=create_retry_strategy(
        RetryStrategyConfig(max_attempts=3, initial_delay=Duration.from_seconds(1), backoff_rate=1)))
    paid = context.step(charge(event["amount"]), config=quick)
    context.wait(Duration.from_seconds(1), name="cool down")
    sent = context.parallel([
        lambda child: child.step(lambda _: "label", name="label"),
        lambda child: child.step(lambda _: "mail", name="mail"),
    ], name="ship").get_results()
    sizes = context.map([1, 2, 3], lambda child, n, i, all: child.step(lambda _: n * n)).get_results()
    tax = context.invoke("tax:$LATEST", event["amount"], name="tax")
    fee = context.invoke("fee", tax, name="fee")
    nested = context.run_in_child_context(lambda child: child.step(lambda _: "deep"), name="nested")
    return {**paid, "sent": sent, "sizes": sizes, "tax": tax, "fee": fee, "nested": nested}
"""
)
TAX = (
    HEAD
    + """
@durable_execution
def handler(event, context):
    return context.step(lambda _: event * 0.2)
"""
)
FEE = "def handler(event, context): return event + 1"
APPROVAL = (
    HEAD
    + """
@durable_execution
def handler(event, context):
    return context.wait_for_callback(
        lambda id, _: print("callback", id), name="approval",
        config=WaitForCallbackConfig(timeout=Duration.from_seconds(60)))
"""
)
SLOW = (
    HEAD
    + """
import time
@durable_execution
def handler(event, context):
    done = []
    for number in range(event["steps"]):
        done.append(context.step(lambda _: work(event, number), name=f"step-{number}"))
        if number % 5 == 4:
            context.wait(Duration.from_seconds(1))
    return done

def work(event, number):
    time.sleep(0.05)
    return number
"""
)
CALLER = (
    HEAD
    + """
@durable_execution
def handler(event, context):
    return context.invoke("tax:$LATEST", context.step(lambda _: event))
"""
)
PATIENT = (
    HEAD
    + """
@durable_execution
def handler(event, context):
    context.wait(Duration.from_days(30))
    return context.step(lambda _: "rested")
"""
)


def package(code):
    """A zip of the program with the SDK beside it."""
    archive = io.BytesIO()
    root = Path(SDK.origin).parent
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("app.py", code)
        for file in sorted(root.rglob("*.py")):
            zipped.write(file, f"{root.name}/{file.relative_to(root)}")
    return archive.getvalue()


def deploy(client, name, code, **members):
    client.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Handler="app.handler",
        Timeout=30,
        MemorySize=256,
        Code={"ZipFile": package(code)},
        **{"Role": ROLE, **members},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name)


DURABLE = {"DurableConfig": {"ExecutionTimeout": 120, "RetentionPeriodInDays": 1}}


def ended(client, arn, *, seconds=60):
    """The execution, once it has ended."""
    deadline_s = time.monotonic() + seconds
    while (execution := client.get_durable_execution(DurableExecutionArn=arn))["Status"] == "RUNNING":
        assert time.monotonic() < deadline_s, client.get_durable_execution_history(DurableExecutionArn=arn)["Events"]
        time.sleep(0.1)
    return execution


def test_an_order_runs_through_every_kind_of_operation(node):
    client = node.client("lambda")
    deploy(client, "order", ORDER, **DURABLE)
    deploy(client, "tax", TAX, **DURABLE)
    deploy(client, "fee", FEE)
    answer = client.invoke(
        FunctionName="order", Qualifier="$LATEST", DurableExecutionName="order-7", Payload=b'{"amount": 10}'
    )
    assert json.load(answer["Payload"]) == {
        "charged": 10,
        "sent": ["label", "mail"],
        "sizes": [1, 4, 9],
        "tax": 2.0,
        "fee": 3.0,
        "nested": "deep",
    }
    arn = answer["DurableExecutionArn"]
    execution = client.get_durable_execution(DurableExecutionArn=arn)
    assert (execution["Status"], execution["DurableExecutionName"]) == ("SUCCEEDED", "order-7")
    pages = client.get_paginator("get_durable_execution_history").paginate(
        DurableExecutionArn=arn, PaginationConfig={"PageSize": 5}
    )
    types = [event["EventType"] for page in pages for event in page["Events"]]
    assert types[0] == "ExecutionStarted"
    assert types[-1] == "ExecutionSucceeded"
    for kind in ("StepFailed", "WaitSucceeded", "ContextSucceeded", "ChainedInvokeSucceeded"):
        assert kind in types
    again = client.invoke(
        FunctionName="order",
        Qualifier="$LATEST",
        DurableExecutionName="order-7",
        InvocationType="Event",
        Payload=b'{"amount": 10}',
    )
    assert again["DurableExecutionArn"] == arn


def test_a_person_answers_a_callback(node):
    client = node.client("lambda")
    deploy(client, "approval", APPROVAL, **DURABLE)
    started = client.invoke(FunctionName="approval", Qualifier="$LATEST", InvocationType="Event", Payload=b"{}")
    arn = started["DurableExecutionArn"]
    deadline_s = time.monotonic() + 30
    while True:
        events = client.get_durable_execution_history(DurableExecutionArn=arn)["Events"]
        ids = [e["CallbackStartedDetails"]["CallbackId"] for e in events if e["EventType"] == "CallbackStarted"]
        if ids:
            break
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    client.send_durable_execution_callback_heartbeat(CallbackId=ids[0])
    client.send_durable_execution_callback_success(CallbackId=ids[0], Result=b'{"by": "ada"}')
    execution = ended(client, arn)
    assert json.loads(execution["Result"]) == '{"by": "ada"}', execution
    with pytest.raises(ClientError) as caught:
        client.send_durable_execution_callback_success(CallbackId=ids[0], Result=b"1")
    assert caught.value.response["Error"]["Code"] == "CallbackTimeoutException"


def test_executions_go_on_where_a_killed_node_left_them(fresh_node):
    node = fresh_node()
    client = node.client("lambda")
    deploy(client, "slow", SLOW, **DURABLE)
    arns = [
        client.invoke(
            FunctionName="slow", Qualifier="$LATEST", InvocationType="Event", Payload=json.dumps({"steps": 20}).encode()
        )["DurableExecutionArn"]
        for _ in range(3)
    ]
    for pause_s in (1.2, 1.7):
        time.sleep(pause_s)
        node.stop(signal.SIGKILL)
        node = fresh_node(data=node.data)
        client = node.client("lambda")
    for arn in arns:
        execution = ended(client, arn)
        assert json.loads(execution["Result"]) == list(range(20))
        events = client.get_durable_execution_history(DurableExecutionArn=arn, MaxItems=1000)["Events"]
        names = [event["Name"] for event in events if event["EventType"] == "StepSucceeded"]
        assert names == [f"step-{number}" for number in range(20)]


def test_a_month_passes_in_a_moment_on_a_virtual_clock(fresh_node):
    node = fresh_node("--clock", "virtual")
    client = node.client("lambda")
    deploy(client, "patient", PATIENT, DurableConfig={"ExecutionTimeout": 90 * 86_400})
    started = client.invoke(FunctionName="patient", Qualifier="$LATEST", InvocationType="Event", Payload=b"{}")
    arn = started["DurableExecutionArn"]
    assert client.get_durable_execution(DurableExecutionArn=arn)["Status"] == "RUNNING"
    node.run("clock", "advance", "29d")
    assert client.get_durable_execution(DurableExecutionArn=arn)["Status"] == "RUNNING"
    node.run("clock", "advance", "2d")
    execution = ended(client, arn)
    assert json.loads(execution["Result"]) == "rested"
    assert (execution["EndTimestamp"] - execution["StartTimestamp"]).days == 30


def test_checkpoints_and_invokes_are_made_with_the_rights_of_the_functions_role(fresh_node):
    node = fresh_node("--auth", "enforce")
    root = json.loads((node.data / "root-credentials.json").read_text())
    root = {"aws_access_key_id": root["AccessKeyId"], "aws_secret_access_key": root["SecretAccessKey"]}
    iam, client = node.client("iam", **root), node.client("lambda", **root)
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName="job", AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]

    def grant(*actions):
        allow = {"Effect": "Allow", "Action": list(actions), "Resource": "arn:aws:lambda:us-east-1:*:function:*"}
        iam.put_role_policy(RoleName="job", PolicyName="p", PolicyDocument=policy(allow))

    def error_of_a_run():
        answer = client.invoke(FunctionName="caller", Qualifier="$LATEST", Payload=b"1")
        return json.load(answer["Payload"]) if "FunctionError" in answer else None

    deploy(client, "caller", CALLER, **DURABLE, Role=role)
    deploy(client, "tax", TAX, **DURABLE, Role=role)
    grant("lambda:InvokeFunction")
    refused = error_of_a_run()["errorMessage"]
    assert "AccessDeniedException" in refused
    assert "lambda:CheckpointDurableExecution" in refused
    grant("lambda:CheckpointDurableExecution", "lambda:GetDurableExecutionState")
    assert "lambda:InvokeFunction" in error_of_a_run()["errorMessage"]
    grant("lambda:CheckpointDurableExecution", "lambda:GetDurableExecutionState", "lambda:InvokeFunction")
    assert error_of_a_run() is None


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
