"""Making environments: warm interpreters by package set, and the world that a fork of one is put into."""

import asyncio
import contextlib
import hashlib
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast

from penstock.engines.functions import imports, libraries, packages, reports
from penstock.engines.functions.bootstrap import runtime
from penstock.engines.functions.environment import INIT_ERROR, READY, Answer, Environment
from penstock.engines.functions.extensions import Extensions
from penstock.engines.functions.file_systems import FileSystems
from penstock.engines.functions.ports import CredentialsSource, FileSystemUnavailable, FunctionSpec
from penstock.engines.functions.runtime_api import EnvironmentApi, RuntimeApi, RuntimeFaces
from penstock.engines.functions.runtimes import OWN, Runtime, Runtimes, python_of
from penstock.engines.functions.snapstart import Held
from penstock.engines.functions.telemetry import Telemetry
from penstock.engines.sandbox import snapshots
from penstock.engines.sandbox.cgroups import Cgroups
from penstock.engines.sandbox.places import UID_FIRST, UIDS, root_mounts
from penstock.engines.sandbox.snapshots import FunctionSnapshot, Template
from penstock.kernel.clock import Clock
from penstock.kernel.entropy import Entropy
from penstock.kernel.errors import Unavailable
from penstock.kernel.units import MIB

TEMPLATES_MAX = 8
CLOSE_TURNS_MAX = 500
MEMORY_FLOOR_MB = 24
SNAP_START = "snap-start"
LIBRARIES = "libraries"
LIBRARIES_S_MAX = 60.0
NEVER_MS = 1 << 60
JAVA_MAIN = "com.amazonaws.services.lambda.runtime.api.client.AWSLambda"
JAVA_HEAP_PERCENT = 85
EXEC_WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"
HIDDEN_FROM_EXTENSIONS = (
    "AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS", "LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "_AWS_XRAY_DAEMON_ADDRESS",
    "_AWS_XRAY_DAEMON_PORT", "_HANDLER",
)  # fmt: skip
"""Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html#runtimes-extensions-environment"""
_OWN_VARIABLES = ("TMPDIR",)
"""What differs between the environments of one snapshot."""
_LIBRARY_DIRS = (
    *("/var/lang/lib", "/lib64", "/usr/lib64", "/var/runtime", "/var/runtime/lib", "/var/task", "/var/task/lib"),
    "/opt/lib",
)

Isolation = Literal["auto", "sandbox", "process"]


class Starter:
    """Starts environments' processes. Raises Unavailable where `sandbox` is insisted on and can't be had."""

    def __init__(
        self,
        *,
        work_dir: Path,
        wall: Clock,
        entropy: Entropy,
        credentials: CredentialsSource,
        endpoint: Callable[[], str],
        isolation: Isolation,
        faces: RuntimeFaces | None,
        runtimes: Runtimes,
        file_systems: FileSystems,
    ) -> None:
        self._file_systems = file_systems
        self._work_dir = work_dir
        self._runtimes = runtimes
        self._copies: dict[str, str] = {}
        self._wall, self._entropy = wall, entropy
        self._credentials, self._endpoint = credentials, endpoint
        self._cgroups = Cgroups(f"penstock-{hashlib.sha256(str(work_dir).encode()).hexdigest()[:12]}")
        self.isolation, self.gaps = self._choose(isolation)
        self._faces = faces
        self._templates: dict[str, asyncio.Task[Template]] = {}
        self._next_uid = 0
        self._made: dict[Environment, FunctionSnapshot] = {}
        self._tokens: dict[str, str] = {}
        self._closing: set[asyncio.Task[None]] = set()
        (work_dir / "view").mkdir(mode=0o755, parents=True, exist_ok=True)

    async def start(self, environment: Environment, *, kind: str = "on-demand", held: Held | None = None) -> Answer:
        """Fork the environment's process and let the function initialise itself.

        kind   the initialization type; of snap-start it becomes a snapshot (take_snapshot)
        held   a process that has the function's libraries loaded, to be forked instead of the template
        """
        if held is not None:
            request = await self._request(environment, shared_mb=held.server.shared_mb, kind=kind)
            held.server.used_s = self._wall.monotonic_s()
            await environment.spawn(held.server, {**request, "has_own_environment": True})
            return await environment.initialised()
        template = await self.template(environment.spec)
        request = await self._request(environment, shared_mb=template.resident_mb, kind=kind)
        template.used_s = self._wall.monotonic_s()
        found = self.runtime_of(environment.spec)
        if isinstance(found, str):
            return Answer(INIT_ERROR, _entrypoint_error(found))
        command = self._command(environment.spec, found)
        if isinstance(command, bytes):
            return Answer(INIT_ERROR, command)
        if kind == SNAP_START and not command:
            return await self._start_snapshot(environment, template, {**request, "is_snapshot": True})
        if self._faces is None:
            if command:
                raise Unavailable("this node serves no Runtime API")
            await environment.spawn(template, request)
            return await environment.initialised()
        return await self._start_with_apis(environment, template, request, command, self._faces)

    def runtime_of(self, spec: FunctionSpec) -> Runtime | str:
        """What runs it, or why nothing does."""
        is_bound = any(packages.is_stand_in(layer, str(self._work_dir)) for layer in spec.layer_dirs)
        return self._runtimes.find(spec.runtime, is_bound=is_bound)

    def _runtime_dir(self, found: Runtime | str) -> str:
        """Where its own packages are. A copy for another Python was made with the template."""
        if isinstance(found, Runtime) and found.kind == "java":
            return packages.java_dir(found.libraries, str(self._work_dir))
        return self._copies.get(python_of(found).version) or packages.runtime_dir(str(self._work_dir))

    def is_restorable(self, spec: FunctionSpec) -> bool:
        """Whether environments are forks of a snapshot; else each is initialised by itself.

        That needs Python, and nothing beside it that a fork would leave behind: extensions, a wrapper.
        """
        return spec.snap_start and self.can_hold_libraries(spec)

    async def _start_snapshot(self, environment: Environment, template: Template, request: dict[str, object]) -> Answer:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server = FunctionSnapshot(control=ours)
        server.listen()
        self._made[environment] = server
        with theirs:
            await environment.spawn(template, request, control=theirs)
            return await environment.initialised()

    async def hold_libraries(self, environment: Environment, names: list[str]) -> bool:
        """Have a process import the function's libraries, with its variables, and be a snapshot (take_snapshot).

        False where that can't be: it isn't the process's only thread, or doesn't end well.
        """
        template = await self.template(environment.spec)
        request = await self._request(environment, shared_mb=template.resident_mb, kind=LIBRARIES)
        async with asyncio.timeout(LIBRARIES_S_MAX):
            answer = await self._start_snapshot(environment, template, {**request, "libraries": names})
        return answer.kind == READY and answer.body == b"alone"

    def can_hold_libraries(self, spec: FunctionSpec) -> bool:
        found = self.runtime_of(spec)
        is_python = not isinstance(found, str) and found.kind == "python"
        return is_python and EXEC_WRAPPER not in spec.environment and not self._external(spec)

    def take_snapshot(self, environment: Environment) -> FunctionSnapshot | None:
        """What `start` made of it; None where it didn't come that far."""
        server = self._made.pop(environment, None)
        if server is not None and not environment.is_initialised:
            server.close()
            return None
        if server is not None:
            server.shared_mb = environment.resident_mb
        return server

    async def restore(self, environment: Environment, held: Held) -> Answer:
        """A fork of the snapshot as this environment."""
        await self.restore_ahead(environment, held, is_held=False)
        return await environment.initialised()

    async def restore_ahead(self, environment: Environment, held: Held, *, is_held: bool = True) -> None:
        """Have it all but restored, for who comes next. Raises Unavailable."""
        request = await self._request(environment, shared_mb=held.server.shared_mb, kind=SNAP_START)
        variables = cast(dict[str, str], request["environment"])
        held.server.used_s = self._wall.monotonic_s()
        own = {name: variables[name] for name in _OWN_VARIABLES if name in variables}
        await environment.spawn(held.server, {**request, "environment": own, "is_held": is_held})

    async def _start_with_apis(
        self,
        environment: Environment,
        template: Template,
        request: dict[str, object],
        command: list[str],
        faces: RuntimeFaces,
    ) -> Answer:
        """With the Extensions and Telemetry APIs at its address, and the Runtime API for what isn't a fork."""
        spec = environment.spec
        paths = self._external(spec)
        extensions = Extensions(spec, [os.path.basename(path) for path in paths], new_id=self._entropy.uuid)
        telemetry = Telemetry(faces.send, lambda: reports.iso(self._wall.now_ms()))
        runtime_api = RuntimeApi() if command else None
        api = EnvironmentApi(extensions, telemetry, self._entropy.token_hex(16), _zone_id(spec), runtime_api)
        mounts = cast(dict[str, int] | None, request["mounts"])
        address = await faces.open(api, uid=mounts["uid"] if mounts else None)
        environment.on_reset = lambda: faces.close(address)
        variables = cast(dict[str, str], request["environment"]) | {
            "AWS_LAMBDA_RUNTIME_API": address,
            "AWS_LAMBDA_METADATA_API": address,
            "AWS_LAMBDA_METADATA_TOKEN": api.metadata_token,
        }
        request = {**request, "environment": variables} | ({"exec": command} if command else {})
        if paths:
            own = {name: value for name, value in variables.items() if name not in HIDDEN_FROM_EXTENSIONS}
            request |= {"extensions": paths, "extension_environment": own}
        await environment.spawn(template, request, channel=runtime_api, extensions=extensions, telemetry=telemetry)
        return await environment.initialised()

    def _external(self, spec: FunctionSpec) -> list[str]:
        """The programs of its layers that are started beside it, as it sees them."""
        opt_dir = packages.merged_layers(spec.layer_dirs, str(self._work_dir))
        shown_at = "/opt" if self.isolation == "sandbox" else opt_dir
        folder = f"{opt_dir}/extensions"
        if not opt_dir or not os.path.isdir(folder):
            return []
        names = [name for name in sorted(os.listdir(folder)) if os.path.isfile(f"{folder}/{name}")]
        return [f"{shown_at}/extensions/{name}" for name in names if os.access(f"{folder}/{name}", os.X_OK)]

    def _command(self, spec: FunctionSpec, found: Runtime) -> list[str] | bytes:
        """What to execute, [] for a fork that goes on by itself; AWS's error body where there is nothing to."""
        is_sandboxed = self.isolation == "sandbox"
        runtime_dir = "/var/runtime" if is_sandboxed else self._runtime_dir(found)
        wrapper = [spec.environment[EXEC_WRAPPER]] if spec.environment.get(EXEC_WRAPPER) else []
        if found.kind == "python" and wrapper:
            name = os.path.basename(os.path.realpath(found.executable))
            interpreter = f"/var/lang/bin/{name}" if is_sandboxed else found.executable
            return [*wrapper, interpreter, f"{runtime_dir}/{packages.PYTHON_CLIENT}"]
        if found.kind == "python":
            return []
        if found.kind == "node":
            return [*wrapper, found.executable, f"{runtime_dir}/{packages.NODE_CLIENT}"]
        if found.kind == "java":
            return [*wrapper, *self._java(spec, found)]
        opt_dir = packages.merged_layers(spec.layer_dirs, str(self._work_dir))
        return _find_bootstrap(spec.code_dir, opt_dir, is_sandboxed=is_sandboxed)

    def _java(self, spec: FunctionSpec, found: Runtime) -> list[str]:
        """Its client loads the function's classes itself, from /var/task, its lib folder and layers.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/java-customization.html
        """
        folder = (
            "/var/runtime" if self.isolation == "sandbox" else packages.java_dir(found.libraries, str(self._work_dir))
        )
        heap_mb = spec.memory_mb * JAVA_HEAP_PERCENT // 100
        options = [f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
        return [found.executable, *options, "-cp", f"{folder}/*", JAVA_MAIN, spec.handler]

    def retire(self, environment: Environment) -> None:
        """Give back what an ended environment was given."""
        if environment.group is not None:
            self._cgroups.retire(environment.group)
            environment.group = None

    def sweep(self) -> None:
        self._cgroups.sweep()

    def loaded(self) -> list[dict[str, object]]:
        """For people: the package sets that are held, what memory their environments share, and how many those are."""
        ready = [
            task.result()
            for task in self._templates.values()
            if task.done() and not task.cancelled() and task.exception() is None
        ]
        now_s = self._wall.monotonic_s()
        return [
            {
                "packages": [name for name in template.loaded if name not in snapshots.BASE_PACKAGES],
                "shared_mb": template.resident_mb,
                "environments": template.children,
                "unused_s": round(now_s - template.used_s),
            }
            for template in sorted(ready, key=lambda template: -template.used_s)
        ]

    async def close(self) -> None:
        """End every template, and with it what it forked."""
        for task in self._templates.values():
            with contextlib.suppress(Unavailable, OSError, asyncio.CancelledError):
                await (await task).close()
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)
        for _ in range(CLOSE_TURNS_MAX):  # what was killed has yet to end
            if self._cgroups.close():
                return
            await self._wall.sleep(0.01)

    async def _request(self, environment: Environment, *, shared_mb: int, kind: str) -> dict[str, object]:
        """What whoever forks it needs to know to make the environment."""
        spec = environment.spec
        runtime = self.runtime_of(spec)
        runtime_dir, version = self._runtime_dir(runtime), python_of(runtime).version
        opt_dir = packages.merged_layers(spec.layer_dirs, str(self._work_dir))
        variables = {
            **_base_variables(spec, environment.stream),
            **spec.environment,
            **(await self._credential_variables(environment, kind) if kind != LIBRARIES else {}),
            "AWS_LAMBDA_INITIALIZATION_TYPE": kind,
        }
        if kind == SNAP_START:
            variables.pop("AWS_LAMBDA_LOG_GROUP_NAME")
            variables.pop("AWS_LAMBDA_LOG_STREAM_NAME")
        if spec.application_log_level:
            variables["AWS_LAMBDA_LOG_LEVEL"] = spec.application_log_level
        variables.setdefault("AWS_ENDPOINT_URL", self._endpoint())
        request: dict[str, object] = {
            "environment": variables,
            "handler": spec.handler,
            "log_format": spec.log_format,
            "cgroup_files": self._grouped(environment, shared_mb),
        }
        if self.isolation != "sandbox":
            opt = _python_dirs(opt_dir, version)
            variables |= {"TMPDIR": environment.tmp_dir, "LAMBDA_TASK_ROOT": spec.code_dir}
            return request | {
                "mounts": None,
                "learn_from": [spec.code_dir, *opt, runtime_dir],
                "sys_path": [spec.code_dir, *opt, runtime_dir],
                "task_root": spec.code_dir,
            }
        return request | {
            "mounts": self._mounts(environment),
            "learn_from": ["/var/task", "/opt", "/var/runtime"],
            "sys_path": ["/var/task", *_python_dirs(opt_dir, version, shown_at="/opt"), "/var/runtime"],
            "task_root": "/var/task",
        }

    async def _credential_variables(self, environment: Environment, kind: str) -> dict[str, str]:
        """The role's credentials, or for SnapStart where they are to be had: a snapshot outlives any of them.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/snapstart-activate.html
        """
        spec = environment.spec
        if kind == SNAP_START and self._faces is not None:
            environment.credentials_expire_ms = NEVER_MS
            token = self._tokens.setdefault(spec.id, self._entropy.token_hex(32))
            return {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": await self._faces.open_credentials(
                    token, spec, self._credentials
                ),
                "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
            }
        credentials = await self._credentials.credentials_for(spec)
        environment.credentials_expire_ms = credentials.expires_ms
        return {
            "AWS_ACCESS_KEY_ID": credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
            "AWS_SESSION_TOKEN": credentials.session_token,
        }

    def _mounts(self, environment: Environment) -> dict[str, object]:
        """The environment's own places, and a user of its own to whom /tmp belongs."""
        uid = self._file_systems.owner(environment.spec) or UID_FIRST + self._next_uid % UIDS
        self._next_uid += 1
        return {
            "task_dir": os.path.realpath(environment.spec.code_dir),
            "tmp_mb": environment.spec.ephemeral_mb,
            "data_dir": os.path.realpath(self._work_dir.parent),
            "uid": uid,
        }

    def _grouped(self, environment: Environment, shared_mb: int) -> list[str]:
        """The control groups that the process joins. What it shares counts for it too, as it would on AWS."""
        self.retire(environment)
        if not self._cgroups.can_limit_memory:
            return []
        memory_mb = max(environment.spec.memory_mb - shared_mb, MEMORY_FLOOR_MB)
        environment.memory_bytes_max = memory_mb * MIB
        # What is in /tmp counts against the group too; the environment watches its own memory within it.
        tmp_mb = environment.spec.ephemeral_mb if self.isolation == "sandbox" else 0
        environment.group = self._cgroups.create(
            self._entropy.token_hex(6), memory_bytes=(memory_mb + tmp_mb) * MIB, memory_mb=environment.spec.memory_mb
        )
        return environment.group.files if environment.group else []

    async def template(self, spec: FunctionSpec) -> Template:
        """The warm interpreter that has this function's packages loaded; started once for all who share them."""
        found = self.runtime_of(spec)
        own = python_of(found)
        if own.version != OWN.version and own.version not in self._copies:
            self._copies[own.version] = await asyncio.to_thread(packages.runtime_copy, own.executable, own.version)
        runtime_dir = self._runtime_dir(found)
        opt_dir = packages.merged_layers(spec.layer_dirs, str(self._work_dir))
        predicted = self._predicted(spec, _python_dirs(opt_dir, own.version), runtime_dir)
        prefixes = [own.prefix, found.prefix if isinstance(found, Runtime) else ""]
        mounted = self._file_systems.of(spec)
        if mounted and self.isolation != "sandbox":
            raise FileSystemUnavailable("file systems are mounted with --isolation sandbox only: on Linux, as root")
        shown = [f"{local_path}={folder}" for local_path, folder in mounted]
        kind = found.kind if isinstance(found, Runtime) else "none"
        key = "; ".join(filter(None, [", ".join(predicted) or kind, opt_dir, *prefixes, *shown]))
        task = self._templates.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception() or not task.result().is_alive)):
            self._make_room()
            starting = self._start_template(key, predicted, runtime_dir, opt_dir, own, prefixes, mounted)
            task = self._templates[key] = asyncio.get_running_loop().create_task(starting, name="penstock-template")
        return await asyncio.shield(task)

    def _predicted(self, spec: FunctionSpec, opt_dirs: list[str], runtime_dir: str) -> list[str]:
        """What its template imports, as root: only what came with the node, and only what the function would get.

        A package of the user's own under one of those names would be imported instead, or beside them.
        """
        own = [layer for layer in spec.layer_dirs if not packages.is_stand_in(layer, str(self._work_dir))]
        theirs = libraries.provided([spec.code_dir, *(f"{layer}/python" for layer in own)])
        if theirs & packages.STOCK:
            return []
        folders = [runtime_dir] if own else [*opt_dirs, runtime_dir]
        return imports.predicted_packages(spec.code_dir, spec.handler, folders)

    async def _start_template(
        self,
        key: str,
        predicted: list[str],
        runtime_dir: str,
        opt_dir: str,
        own: Runtime,
        prefixes: list[str],
        mounted: list[tuple[str, str]],
    ) -> Template:
        work_dir = str(self._work_dir)
        trusted = _python_dirs(opt_dir, own.version) if packages.is_stand_in(opt_dir, work_dir) else []
        root, sys_path = None, [*trusted, runtime_dir]
        if self.isolation == "sandbox":
            data_dir = str(self._work_dir.parent)
            root = root_mounts(
                work_dir=work_dir,
                data_dir=data_dir,
                runtime_dir=runtime_dir,
                opt_dir=opt_dir,
                prefixes=prefixes,
                writable=mounted,
            )
            shown = _python_dirs(opt_dir, own.version, shown_at="/opt") if trusted else []
            sys_path = [*shown, "/var/runtime"]
        return await snapshots.start_template(
            key,
            runtime_file=runtime.__file__,
            interpreter=own.executable,
            sys_path=sys_path,
            packages=predicted,
            root=root,
        )

    def _make_room(self) -> None:
        """Close the template that forked longest ago and has nobody left."""
        if len(self._templates) < TEMPLATES_MAX:
            return
        closable = [
            (task.result().used_s, key)
            for key, task in self._templates.items()
            if task.done() and not task.cancelled() and not task.exception() and not task.result().children
        ]
        if closable:
            task = self._templates.pop(min(closable)[1])
            closing = asyncio.get_running_loop().create_task(task.result().close(), name="penstock-template-end")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _choose(self, wanted: Isolation) -> tuple[str, list[str]]:
        gaps = []
        can_sandbox = sys.platform == "linux" and os.geteuid() == 0
        if wanted == "sandbox" and not can_sandbox:
            raise Unavailable("--isolation sandbox needs Linux and root: namespaces can't be made otherwise")
        chosen = "sandbox" if can_sandbox and wanted != "process" else "process"
        if not self._cgroups.can_limit_memory:
            gaps.append("memory limit and CPU share (control groups can't be made)")
        if chosen == "process":
            gaps.append(
                "private /tmp and its size, read-only code, separate users and processes (needs Linux and root)"
            )
        return chosen, gaps


def _base_variables(spec: FunctionSpec, stream: str) -> dict[str, str]:
    """Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html"""
    return {
        "AWS_LAMBDA_FUNCTION_NAME": spec.name,
        "AWS_LAMBDA_FUNCTION_VERSION": spec.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
        "AWS_LAMBDA_LOG_GROUP_NAME": spec.log_group or f"/aws/lambda/{spec.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "AWS_LAMBDA_LOG_FORMAT": spec.log_format,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{spec.runtime}",
        "AWS_REGION": spec.region,
        "AWS_DEFAULT_REGION": spec.region,
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:2000",
        "_AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129",
        "_AWS_XRAY_DAEMON_PORT": "2000",
        "LAMBDA_TASK_ROOT": "/var/task",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "_HANDLER": spec.handler,
        "TZ": ":UTC",
        "LANG": "en_US.UTF-8",
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "LD_LIBRARY_PATH": ":".join(_LIBRARY_DIRS),
        "PYTHONPATH": "/var/runtime",
        "NODE_PATH": "/opt/nodejs/node_modules:/var/runtime/node_modules:/var/task",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _zone_id(spec: FunctionSpec) -> str:
    """us-east-1 -> use1-az1."""
    area, *sides, number = spec.region.split("-")
    return f"{area}{''.join(side[0] for side in sides)}{number}-az1"


def _python_dirs(opt_dir: str, version: str, *, shown_at: str = "") -> list[str]:
    """Where Python looks for packages in the merged layers; `shown_at` is what functions call that folder."""
    if not opt_dir:
        return []
    folders = (f"python/lib/python{version}/site-packages", "python")
    return [f"{shown_at or opt_dir}/{folder}" for folder in folders if os.path.isdir(f"{opt_dir}/{folder}")]


def _find_bootstrap(code_dir: str, opt_dir: str, *, is_sandboxed: bool) -> list[str] | bytes:
    """The executable to run, as the function sees it; AWS's error body where there is none."""
    for folder, shown_at in ((code_dir, "/var/task"), (opt_dir, "/opt")):
        path = f"{folder}/bootstrap"
        if not folder or not os.path.isfile(path):
            continue
        if os.access(path, os.X_OK) and os.stat(path).st_mode & 0o111:
            return [f"{shown_at}/bootstrap" if is_sandboxed else path]
        return _entrypoint_error(f"fork/exec {shown_at}/bootstrap: permission denied")
    return _entrypoint_error("Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]")


def _entrypoint_error(text: str) -> bytes:
    return json.dumps({"errorType": "Runtime.InvalidEntrypoint", "errorMessage": f"Error: {text}"}).encode()
