"""From a stored version to what the function engine runs: code on disk, layers, limits."""

from dataclasses import replace
from typing import Literal, cast

from penstock.engines.functions.ports import FunctionSpec
from penstock.framework.context import Context
from penstock.kernel.scope import Scope
from penstock.services.lambda_ import limits, state
from penstock.services.lambda_.operations import packages
from penstock.services.lambda_.state import LayerUse, Version

_SPECS = "lambda.specs"


async def prepare(ctx: Context, scope: Scope, version: Version, *, reserved: int | None) -> FunctionSpec:
    """The spec of `version`, its code unpacked."""
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
        code_dir=await packages.unpacked(ctx, version.package),
        layer_dirs=tuple([folder for layer in version.layers if (folder := await _layer_dir(ctx, layer))]),
        memory_mb=version.memory_mb,
        timeout_s=version.timeout_s,
        ephemeral_mb=version.ephemeral_mb,
        environment=dict(version.environment or {}),
        role_arn=version.role,
        architecture=version.architecture,
        log_group=version.log_group,
        log_format=log_format,
        application_log_level=version.logging.get("ApplicationLogLevel", "INFO") if log_format == "JSON" else "",
        system_log_level=cast(Literal["DEBUG", "INFO", "WARN"], version.logging.get("SystemLogLevel", "INFO")),
        snap_start=version.has_snap_start,
        file_systems=tuple((one["Arn"], one["LocalMountPath"]) for one in version.kept.get("FileSystemConfigs") or ()),
    )


async def _layer_dir(ctx: Context, layer: LayerUse) -> str | None:
    """The folder of a layer: unpacked, or this machine's stand-in for one that AWS publishes."""
    return await (packages.unpacked(ctx, layer.package) if layer.package else packages.managed_layer(ctx, layer.arn))
