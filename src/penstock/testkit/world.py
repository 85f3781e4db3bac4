"""A whole platform in one process on virtual time, for tests of rooms."""

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

from penstock.engines.functions.ports import FunctionPool
from penstock.framework.background import BackgroundRunner
from penstock.framework.caller import LocalCaller
from penstock.framework.context import Context, Platform, RequestInfo
from penstock.framework.service import Service
from penstock.kernel.clock import VirtualClock
from penstock.kernel.entropy import SeededEntropy
from penstock.kernel.scope import Principal, Scope, root_principal
from penstock.model.validation import validate
from penstock.storage.backends.memory import MemoryBlobStore, MemoryStore
from penstock.storage.blobs import BlobStore

START_MS = 1_780_000_000_000


class World:
    """`await World(s3.SERVICE).call("s3", "CreateBucket", Bucket="b")`.

    is_validating   whether members are checked against the model; not for rooms made up by a test
    """

    def __init__(
        self,
        *services: Service,
        seed: int = 1,
        blobs: BlobStore | None = None,
        functions: FunctionPool | None = None,
        is_validating: bool = True,
    ) -> None:
        self.clock = VirtualClock(START_MS)
        data_dir = tempfile.mkdtemp(prefix="penstock-world-")
        weakref.finalize(self, shutil.rmtree, data_dir, ignore_errors=True)
        self.platform = Platform(
            clock=self.clock,
            wall=self.clock,
            entropy=SeededEntropy(seed),
            store=MemoryStore(),
            blobs=blobs or MemoryBlobStore(),
            caller=LocalCaller(services, validate=validate if is_validating else None),
            data_dir=Path(data_dir),
            functions=functions,
        )
        self.background = BackgroundRunner(self.platform, services)

    def context(self, *, scope: Scope | None = None, principal: Principal | None = None) -> Context:
        scope = scope or Scope()
        return Context(self.platform, scope, principal or root_principal(scope.account_id), RequestInfo("test-request"))

    async def call(self, service: str, operation: str, /, **params: Any) -> dict[str, Any]:
        return await self.context().call(service, operation, params)

    async def settle(self) -> None:
        """Carry out due intents, and what they cause, until none is due. Time stands still."""
        await self.background.drain()

    async def advance(self, seconds: float) -> None:
        """Move time on, carrying out what becomes due on the way."""
        await self.background.run_until(self.clock.now_ms() + round(seconds * 1000))
