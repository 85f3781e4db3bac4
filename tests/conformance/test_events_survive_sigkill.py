"""A node that is killed with SIGKILL in a burst of asynchronous invocations, again and again."""

import io
import json
import signal
import threading
import time
import zipfile

from botocore.exceptions import BotoCoreError, ClientError

CODE = """
def handler(event, context):
    if event["n"] % 3 == 0:
        raise ValueError(event["n"])
    return event["n"]
"""
KILLS = 3
SENDERS = 4
WAIT_S = 90.0


def zipped(text):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("app.py", text)
    return archive.getvalue()


def make(node):
    queues = {}
    for name in ("done", "failed", "dead"):
        url = node.client("sqs").create_queue(QueueName=name)["QueueUrl"]
        queues[name] = f"arn:aws:sqs:us-east-1:000000000000:{url.rsplit('/', 1)[1]}"
    functions = node.client("lambda")
    functions.create_function(
        FunctionName="f",
        Runtime="python3.11",
        Role="arn:aws:iam::000000000000:role/worker",
        Handler="app.handler",
        Code={"ZipFile": zipped(CODE)},
        DeadLetterConfig={"TargetArn": queues["dead"]},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName="f")
    functions.put_function_event_invoke_config(
        FunctionName="f",
        MaximumRetryAttempts=0,
        DestinationConfig={
            "OnSuccess": {"Destination": queues["done"]},
            "OnFailure": {"Destination": queues["failed"]},
        },
    )


class Burst:
    """Sends events until it is told to stop; notes those that were acknowledged."""

    def __init__(self, node):
        self.acknowledged = {}
        self.node = node
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(SENDERS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _send(self, number):
        client, of = None, None
        while not self._is_over.is_set():
            if of is not self.node:
                of = self.node
                client = of.client("lambda")
            try:
                answer = client.invoke(FunctionName="f", InvocationType="Event", Payload=json.dumps({"n": number}))
                self.acknowledged[number] = answer["ResponseMetadata"]["RequestId"]
            except (BotoCoreError, ClientError):
                self._is_over.wait(0.05)  # it is dead: this one may have been taken or not
            number += SENDERS
            self._is_over.wait(0.005)


def taken(node, name, into):
    client = node.client("sqs")
    url = client.get_queue_url(QueueName=name)["QueueUrl"]
    while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            told = json.loads(message["Body"])
            number = told["n"] if name == "dead" else told["requestPayload"]["n"]
            into.setdefault(number, set()).add(told.get("requestContext", {}).get("requestId"))
            client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def test_every_acknowledged_event_runs_to_its_ending_though_the_node_is_killed(fresh_node):
    node = fresh_node()
    make(node)
    told = {"done": {}, "failed": {}, "dead": {}}
    with Burst(node) as burst:
        for _ in range(KILLS):
            burst.node = node
            before = len(burst.acknowledged)
            while len(burst.acknowledged) < before + 60:
                time.sleep(0.01)
            node.stop(signal.SIGKILL)
            node = fresh_node()
        burst.node = node
        time.sleep(0.5)
    sent = burst.acknowledged
    wanted = {
        "done": {number for number in sent if number % 3},
        "failed": {number for number in sent if not number % 3},
        "dead": {number for number in sent if not number % 3},
    }
    deadline = time.monotonic() + WAIT_S
    while any(wanted[name] - set(told[name]) for name in wanted):
        assert time.monotonic() < deadline, {name: sorted(wanted[name] - set(told[name]))[:9] for name in wanted}
        for name in told:
            taken(node, name, told[name])
    assert len(sent) > KILLS * 60
    for name in ("done", "failed"):
        assert all(told[name][number] == {sent[number]} for number in wanted[name])
    assert node.stop() == 0
