"""The composition root: the one place where a node's parts are chosen and put together."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from penstock.app import version
from penstock.app.config import Config
from penstock.app.control import CLOCK_KEY, PUBLIC, Control
from penstock.app.urls import UrlCalls
from penstock.engines.functions.file_systems import parse_mapping
from penstock.engines.functions.pool import LocalFunctionPool
from penstock.framework.background import BackgroundRunner
from penstock.framework.caller import LocalCaller
from penstock.framework.context import Platform
from penstock.framework.credentials import Authenticator, root_credentials
from penstock.framework.service import Service
from penstock.gateway.admin import Admin
from penstock.gateway.aws import AwsFace
from penstock.gateway.downloads import Downloads
from penstock.gateway.function_urls import FunctionUrls, is_function_url
from penstock.gateway.http import HttpServer
from penstock.gateway.runtime_http import HttpRuntimeFaces
from penstock.kernel.clock import Clock, SystemClock, VirtualClock
from penstock.kernel.entropy import SystemEntropy
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.kernel.units import DAY_MS
from penstock.model.validation import validate
from penstock.protocol.messages import HttpRequest, HttpResponse
from penstock.services import dynamodb, iam, kinesis, lambda_, logs, s3, secretsmanager, sqs, ssm, sts
from penstock.services.lambda_.background import LogShipper, RoleCredentials
from penstock.storage.backends.files import FileBlobStore
from penstock.storage.backends.sqlite import SqliteStore
from penstock.storage.backends.sqlite_files import BRANCHES
from penstock.storage.collection import live_blob_ids
from penstock.storage.transactions import ReadTransaction, StoreDamaged, StoreLocked

SERVICES: list[Service] = [
    s3.SERVICE,
    lambda_.SERVICE,
    logs.SERVICE,
    sqs.SERVICE,
    kinesis.SERVICE,
    dynamodb.SERVICE,
    secretsmanager.SERVICE,
    ssm.SERVICE,
    iam.SERVICE,
    sts.SERVICE,
]
DRAIN_S = 3.0
COLLECT_EVERY_S = 6 * 3600.0
FIRST_COLLECT_S = 60.0
ROOT_FILE = "root-credentials.json"


class NodeStartFailed(Exception):
    """The node can't start; the message says why and what to do."""


class Node:
    """A whole node, from its folder to its port. `start`, then `stop`; not to be used again."""

    def __init__(self, config: Config, *, on_restore: Callable[[str], None]) -> None:
        self.config = config
        self.facts: dict[str, Any] = {}
        self._on_restore = on_restore
        self._stack = AsyncExitStack()

    async def start(self) -> str:
        """Open the store, take up what was left undone, listen. Answers the URL. Raises NodeStartFailed."""
        try:
            async with AsyncExitStack() as stack:
                url = await self._start(stack)
                self._stack = stack.pop_all()
                return url
        except (StoreLocked, StoreDamaged, Unavailable) as error:
            raise NodeStartFailed(str(error)) from error
        except OSError as error:
            where = error.filename or self.config.data_dir
            raise NodeStartFailed(f"can't use {where} ({error.strerror}): choose another folder with --data") from error

    async def stop(self) -> None:
        """Drain what runs, then close everything in reverse order."""
        await self._stack.aclose()

    def config_with_its_port(self) -> Config:
        """The settings to start it again where clients know it."""
        return replace(self.config, port=self.facts["port"])

    async def _start(self, stack: AsyncExitStack) -> str:
        config, data_dir = self.config, self.config.data_dir
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        store = SqliteStore.open(data_dir)
        stack.push_async_callback(store.close)
        blobs = FileBlobStore(data_dir / "blobs")
        stack.push_async_callback(blobs.close)
        wall = SystemClock()
        clock: Clock = wall
        if config.clock == "virtual":
            clock = VirtualClock(await store.read(_kept_time) or wall.now_ms())
        caller = LocalCaller(SERVICES, validate=validate)
        platform = Platform(
            clock=clock,
            wall=wall,
            entropy=SystemEntropy(),
            store=store,
            blobs=blobs,
            caller=caller,
            data_dir=data_dir,
            auth=config.auth,
            limits=config.limits,
        )
        authenticator = Authenticator(store, platform.entropy, mode=config.auth, keys=caller.policy_source)
        shipper = LogShipper(platform)
        stack.push_async_callback(shipper.close)
        stack.push_async_callback(lambda_.meter_of(platform).flush)
        faces = HttpRuntimeFaces(now_ms=wall.now_ms)
        stack.push_async_callback(faces.aclose)
        pool = self._pool(platform, shipper, faces)
        stack.push_async_callback(pool.close)
        background = BackgroundRunner(platform, SERVICES)
        server = self._server(platform, caller, background, authenticator, shipper)
        try:
            port = await server.start(config.host, config.port)
        except OSError as error:
            where = f"{config.host}:{config.port}"
            raise NodeStartFailed(
                f"can't listen on {where} ({os.strerror(error.errno or 0)}): choose another --port"
            ) from error
        stack.push_async_callback(server.close, drain_s=DRAIN_S)
        platform.endpoint = f"http://{_reachable(config.host)}:{port}"
        await self._fill_facts(platform, port, pool)
        await stack.enter_async_context(background)
        collector = asyncio.get_running_loop().create_task(_collect(platform, blobs), name="penstock-collector")
        stack.push_async_callback(_end, collector)
        return str(self.facts["url"])

    def _pool(self, platform: Platform, shipper: LogShipper, faces: HttpRuntimeFaces) -> LocalFunctionPool:
        pool = LocalFunctionPool(
            work_dir=platform.data_dir / "work",
            clock=platform.clock,
            wall=platform.wall,
            entropy=platform.entropy,
            sink=shipper,
            credentials=RoleCredentials(platform),
            endpoint=lambda: platform.endpoint,
            isolation=self.config.isolation,
            memory_mb=self.config.memory_mb or None,
            max_environments=self.config.environments_max or None,
            faces=faces,
            strict_runtimes=self.config.strict_runtimes,
            file_systems=parse_mapping(self.config.file_systems),
        )
        platform.functions = pool
        return pool

    def _server(
        self,
        platform: Platform,
        caller: LocalCaller,
        background: BackgroundRunner,
        authenticator: Authenticator,
        shipper: LogShipper,
    ) -> HttpServer:
        control = Control(
            version=version.VERSION,
            platform=platform,
            services=SERVICES,
            caller=caller,
            background=background,
            facts=self.facts,
            restore=self._on_restore,
            flush=shipper.flush,
            flush_usage=lambda_.meter_of(platform).flush,
        )
        face = AwsFace(platform, authenticator, find_cors=partial(s3.find_cors, platform))
        admin = Admin(control.actions(), public=PUBLIC, authorize=self._authorize_root(face))

        calls = UrlCalls(platform, face)
        urls = FunctionUrls(calls.call, calls.find_cors, now_ms=platform.clock.now_ms, new_id=platform.entropy.uuid)
        downloads = Downloads(lambda_.CODE_PATH, partial(lambda_.download, platform))

        async def handle(request: HttpRequest) -> HttpResponse:
            if is_function_url(request.headers.get("host", "")):
                return await urls.handle(request)
            if request.path.startswith(downloads.prefix):
                return await downloads.handle(request)
            return await (admin.handle(request) if request.path.startswith("/_penstock/") else face.handle(request))

        return HttpServer(handle, now_ms=platform.wall.now_ms)

    def _authorize_root(self, face: AwsFace) -> Callable[[HttpRequest], Awaitable[None]]:
        """Who may drive the node: on an open one whoever reaches it, else the root's signature."""

        async def authorize(request: HttpRequest) -> None:
            if self.config.auth == "enforce" and (await face.authenticate(request)).kind != "root":
                raise ServiceError("AccessDenied", "this needs the signature of the account's root", status=403)

        return authorize

    async def _fill_facts(self, platform: Platform, port: int, pool: LocalFunctionPool) -> None:
        config, functions = self.config, pool.status()
        self.facts.update(
            version=version.VERSION,
            url=f"http://{_bracketed(config.host)}:{port}",
            port=port,
            data=str(platform.data_dir),
            auth=config.auth,
            clock=config.clock,
            isolation=functions.get("isolation"),
            isolation_gaps=functions.get("not_enforced", []),
            started=str(platform.wall.now_ms()),
        )
        if config.auth == "enforce":
            file = platform.data_dir / ROOT_FILE
            key_id, secret = await root_credentials(platform.store, platform.entropy)
            _write_private(file, orjson.dumps({"AccessKeyId": key_id, "SecretAccessKey": secret}))
            self.facts.update(root_access_key_id=key_id, root_file=str(file))


def _kept_time(tx: ReadTransaction) -> int:
    """Where virtual time stood; 0 before it was first moved."""
    return int(tx.get(CLOCK_KEY) or 0)


def _reachable(host: str) -> str:
    """The address by which this machine's own functions reach the node."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, _bracketed(host))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _write_private(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)


async def _collect(platform: Platform, blobs: FileBlobStore) -> None:
    """Now and then, delete the bytes that no key names: what a crash left, and what was deleted.

    Soon after the start, all that an earlier run left goes; unless there are branches, which others may be writing.
    """
    started_ms = platform.wall.now_ms()
    is_alone = not (platform.data_dir / BRANCHES).exists()
    wait_s = FIRST_COLLECT_S if is_alone else COLLECT_EVERY_S
    while True:
        await platform.wall.sleep(wait_s)
        older_than_ms = started_ms if wait_s == FIRST_COLLECT_S else platform.wall.now_ms() - DAY_MS
        wait_s = COLLECT_EVERY_S
        live = await asyncio.to_thread(live_blob_ids, platform.data_dir)
        await blobs.collect(live, older_than_ms=older_than_ms)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
