import io
import zipfile

import pytest

from penstock.engines.functions.ports import Outcome
from penstock.services import iam, lambda_, logs, s3, sqs, sts
from penstock.testkit.world import World

ROLE = "arn:aws:iam::000000000000:role/worker"


class FakePool:
    """Answers what it's told to; `handler(spec, invocation)` may return an Outcome or raise."""

    def __init__(self):
        self.invoked, self.warmed, self.retired = [], [], []
        self.handler = lambda spec, invocation: outcome(invocation.payload)

    async def invoke(self, spec, invocation):
        self.invoked.append((spec, invocation))
        return self.handler(spec, invocation)

    async def warm(self, spec):
        self.warmed.append(spec)

    async def retire(self, function_arn):
        self.retired.append(function_arn)

    def status(self):
        return {}

    async def close(self):
        pass


def outcome(payload=b"null", *, error=None, log=b"", billed_ms=100, status=None, cold=False):
    return Outcome(
        payload=payload,
        function_error="Unhandled" if error else None,
        status=status or ("error" if error else "success"),
        log_tail=log,
        duration_ms=billed_ms - 0.5,
        billed_ms=billed_ms,
        init_ms=None,
        max_memory_mb=40,
        is_cold=cold,
        error_type=error or "",
    )


def zipped(text="def handler(event, context): return event", name="app.py"):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr(name, text)
    return archive.getvalue()


async def create(world, name="f", *, settle=True, **members):
    params = {"Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler", "Code": {"ZipFile": zipped()}}
    answer = await world.call("lambda", "CreateFunction", FunctionName=name, **{**params, **members})
    if settle:
        await world.settle()
    return answer


@pytest.fixture
def pool():
    return FakePool()


@pytest.fixture
def world(pool):
    return World(lambda_.SERVICE, s3.SERVICE, sqs.SERVICE, logs.SERVICE, iam.SERVICE, sts.SERVICE, functions=pool)
