"""From a stored version to what the function engine runs: code on disk, layers, limits."""

import asyncio
import base64
import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Literal

from penstock.engines.functions.ports import FunctionSpec
from penstock.framework.context import Context
from penstock.kernel.scope import Scope
from penstock.services.lambda_ import limits, state
from penstock.services.lambda_.state import Package, Version

_SPECS = "lambda.specs"


async def prepare(ctx: Context, scope: Scope, version: Version, *, reserved: int | None) -> FunctionSpec:
    """The spec of `version`, its code unpacked. Raises BadPackage."""
    specs: dict[str, FunctionSpec] = ctx.platform.volatile.setdefault(_SPECS, {})
    spec = specs.get(version.config_id)
    if spec is None:
        spec = await _build(ctx, scope, version)
        if len(specs) >= limits.SPECS_MAX:
            del specs[next(iter(specs))]
        specs[version.config_id] = spec
    if spec.reserved_concurrency != reserved:
        spec = specs[version.config_id] = replace(spec, reserved_concurrency=reserved)
    return spec


async def _build(ctx: Context, scope: Scope, version: Version) -> FunctionSpec:
    log_format: Literal["Text", "JSON"] = "JSON" if version.logging.get("LogFormat") == "JSON" else "Text"
    return FunctionSpec(
        id=f"{state.arn_of(scope, version.name, version.version)}#{version.config_id}",
        arn=state.arn_of(scope, version.name, version.version),
        name=version.name,
        version=version.version,
        account_id=scope.account_id,
        region=scope.region,
        runtime=version.runtime,
        handler=version.handler,
        code_dir=await _unpacked(ctx, version.package),
        layer_dirs=tuple([await _unpacked(ctx, layer.package) for layer in version.layers if layer.package]),
        memory_mb=version.memory_mb,
        timeout_s=version.timeout_s,
        ephemeral_mb=version.ephemeral_mb,
        environment=dict(version.environment),
        role_arn=version.role,
        architecture=version.architecture,
        log_group=version.log_group,
        log_format=log_format,
    )


async def _unpacked(ctx: Context, package: Package) -> str:
    """The folder of a package's files: a cache, made again from the blob where it is gone."""
    code_dir = ctx.platform.data_dir / "code"
    known = code_dir / base64.b64decode(package.sha256).hex()
    if known.is_dir():
        return str(known)
    archive = await ctx.blobs.open(package.blob_id).read(bytes_max=limits.S3_ZIPPED_BYTES_MAX.value)
    return await asyncio.to_thread(_unpack, archive, code_dir)


def _unpack(archive: bytes, code_dir: Path) -> str:
    target = code_dir / hashlib.sha256(archive).hexdigest()
    code_dir.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=code_dir, prefix=".unpacking-"))
    with zipfile.ZipFile(io.BytesIO(archive)) as package:
        package.extractall(building)
    building.chmod(0o755)
    try:
        os.rename(building, target)
    except OSError:
        shutil.rmtree(building, ignore_errors=True)
    return str(target)
