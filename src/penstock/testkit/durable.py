"""AWS's own SDK for durable functions, run against the room on virtual time: handlers are threads of this process."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from penstock.engines.functions.ports import FunctionSpec, Invocation, Outcome
from penstock.kernel.errors import ServiceError
from penstock.services import lambda_, sqs
from penstock.testkit.functions import FakePool, create_function, outcome
from penstock.testkit.world import World

Handler = Callable[[Any, Any], Any]
ARN = "arn:aws:lambda:us-east-1:000000000000:function"


class Client:
    """What the SDK takes for its boto3 client. `calls` are (operation, params); `fault` may raise before one."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.world: World | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.fault: Callable[[str], None] = lambda operation: None

    def checkpoint_durable_execution(self, **params: Any) -> dict[str, Any]:
        return self._call("CheckpointDurableExecution", params)

    def get_durable_execution_state(self, **params: Any) -> dict[str, Any]:
        return self._call("GetDurableExecutionState", params)

    def _call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        assert self.world is not None, "the client belongs to no world yet"
        assert self.loop is not None, "the world runs nothing yet"
        self.calls.append((operation, params))
        self.fault(operation)
        future = asyncio.run_coroutine_threadsafe(self.world.call("lambda", operation, **params), self.loop)
        try:
            return future.result(30)
        except ServiceError as error:
            told = {"Error": {"Code": error.code, "Message": error.message}}
            raise ClientError({**told, "ResponseMetadata": {"HTTPStatusCode": error.status}}, operation) from None


class SdkPool(FakePool):
    """`handlers` by function name take (event, context), as a runtime calls them."""

    def __init__(self) -> None:
        super().__init__()
        self.handlers: dict[str, Handler] = {}

    async def invoke(self, spec: FunctionSpec, invocation: Invocation) -> Outcome:
        self.invoked.append((spec, invocation))
        context = SimpleNamespace(
            aws_request_id=invocation.request_id,
            invoked_function_arn=invocation.invoked_arn,
            function_name=spec.name,
            function_version=spec.version,
            tenant_id=None,
            log_group_name="",
            log_stream_name="",
            get_remaining_time_in_millis=lambda: 60_000,
        )
        try:
            answer = await asyncio.to_thread(self.handlers[spec.name], json.loads(invocation.payload), context)
        except Exception as error:
            told = {"errorMessage": str(error), "errorType": type(error).__name__}
            return outcome(json.dumps(told).encode(), error=type(error).__name__)
        return outcome(json.dumps(answer).encode())


class DurableWorld(World):
    """A world whose functions are the SDK's handlers. Its background runs from the first deployment on."""

    def __init__(self, client: Client, seed: int = 1) -> None:
        self.pool = SdkPool()
        super().__init__(lambda_.SERVICE, sqs.SERVICE, seed=seed, functions=self.pool)
        self.client = client
        client.world = self

    async def deploy(self, name: str, handler: Handler, *, timeout_s: int = 900, **members: Any) -> None:
        if self.client.loop is not asyncio.get_running_loop():
            self.client.loop = asyncio.get_running_loop()
            await self.background.__aenter__()
        self.pool.handlers[name] = handler
        if timeout_s:
            members["DurableConfig"] = {"ExecutionTimeout": timeout_s, "RetentionPeriodInDays": 3}
        await create_function(self, name, **members)

    async def start(self, name: str, event: object = None, **params: Any) -> str:
        """Begin without waiting; the execution's ARN."""
        params = {"Qualifier": "$LATEST", "InvocationType": "Event", **params}
        answer = await self.call("lambda", "Invoke", FunctionName=name, Payload=json.dumps(event).encode(), **params)
        return str(answer["DurableExecutionArn"])

    async def run(self, name: str, event: object = None, **params: Any) -> dict[str, Any]:
        """Begin, and let time go on until nothing is left to do; what GetDurableExecution says then."""
        arn = await self.start(name, event, **params)
        await self.background.run_until_idle(horizon_s=86_400)
        return await self.describe(arn)

    async def describe(self, arn: str) -> dict[str, Any]:
        return await self.call("lambda", "GetDurableExecution", DurableExecutionArn=arn)

    async def history(self, arn: str, **params: Any) -> list[dict[str, Any]]:
        answer = await self.call("lambda", "GetDurableExecutionHistory", DurableExecutionArn=arn, **params)
        return list(answer["Events"])

    async def types(self, arn: str) -> list[str]:
        return [str(event["EventType"]) for event in await self.history(arn)]
