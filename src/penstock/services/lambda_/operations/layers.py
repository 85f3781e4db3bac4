"""Layers: packages that functions share.

Source: https://docs.aws.amazon.com/lambda/latest/dg/chapter-layers.html
"""

import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError, Unavailable
from penstock.kernel.scope import Scope
from penstock.services.lambda_ import limits, rules, state
from penstock.services.lambda_.operations import layer_messages, layer_records, packages
from penstock.services.lambda_.operations.layer_records import LayerVersion
from penstock.services.lambda_.state import LayerUse, Version
from penstock.storage.transactions import ReadTransaction, Transaction

_LAYER = re.compile(
    r"arn:(?P<partition>aws[a-zA-Z-]*):lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):layer:(?P<name>[a-zA-Z0-9-_]+)"
    r"(?::(?P<version>\d+))?"
)
# AWS's public layer, which stands for this machine's own packages.
# Source: https://aws-sdk-pandas.readthedocs.io/en/stable/layers.html
_MANAGED = re.compile(r"arn:aws[a-z-]*:lambda:[a-z0-9-]+:336392948345:layer:AWSSDKPandas-Python3\d+(-Arm64)?:\d+")


@operation
async def publish_layer_version(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name, _ = named(ctx.scope, req["LayerName"])
    _check_runtimes(req.get("CompatibleRuntimes") or ())
    package = await packages.receive(ctx, req["Content"])
    now_ms = ctx.clock.now_ms()

    def publish(tx: Transaction) -> LayerVersion:
        packages.check_storage(tx, scope, package.stored_bytes)
        layer = LayerVersion(
            name=name,
            number=layer_records.next_layer_number(tx, scope, name),
            package=package,
            created_ms=now_ms,
            description=req.get("Description") or "",
            runtimes=list(req.get("CompatibleRuntimes") or []),
            architectures=list(req.get("CompatibleArchitectures") or []),
            license=req.get("LicenseInfo") or "",
        )
        layer_records.put_layer(tx, scope, layer)
        return layer

    try:
        layer = await ctx.store.transact(publish)
    except (ServiceError, Unavailable):
        await packages.discard(ctx, package)
        raise
    return await _with_content(ctx, scope, layer)


@operation
async def get_layer_version(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name, _ = named(ctx.scope, req["LayerName"])
    _check_number(req)
    return await _get(ctx, scope, name, int(req["VersionNumber"]))


@operation
async def get_layer_version_by_arn(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, name, number = named(ctx.scope, req["Arn"])
    if not number:
        raise layer_messages.bad_layer_arn(req["Arn"])
    return await _get(ctx, scope, name, number)


def _check_runtimes(runtimes: Sequence[str]) -> None:
    known = (*limits.RUNTIMES, *limits.RETIRED_RUNTIMES)
    if any(runtime not in known for runtime in runtimes):
        raise layer_messages.unknown_layer_runtime(f"[{', '.join(runtimes)}]", "compatibleRuntimes", limits.RUNTIMES)


def _check_runtime(req: dict[str, Any]) -> None:
    wanted = req.get("CompatibleRuntime")
    if wanted and wanted not in limits.RUNTIMES and wanted not in limits.RETIRED_RUNTIMES:
        raise layer_messages.unknown_layer_runtime(wanted, "compatibleRuntime", limits.RUNTIMES)


def _check_number(req: dict[str, Any]) -> None:
    if int(req["VersionNumber"]) < 1:
        raise layer_messages.layer_number_too_low()


async def _get(ctx: Context, scope: Scope, name: str, number: int) -> dict[str, Any]:
    layer = await ctx.store.read(lambda tx: layer_records.find_layer(tx, scope, name, number))
    if layer is None:
        raise layer_messages.no_layer_version()
    return await _with_content(ctx, scope, layer)


@operation
async def list_layers(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Each layer with its newest version that fits."""
    _check_runtime(req)
    size = rules.page_size(req)
    after = rules.parse_marker(req.get("Marker"))[0]

    def read(tx: ReadTransaction) -> list[LayerVersion]:
        newest: dict[str, LayerVersion] = {}
        for layer in layer_records.layers(tx, ctx.scope):
            if layer.name > after and _fits(layer, req):
                newest[layer.name] = layer
        return [newest[name] for name in sorted(newest)][: size + 1]

    page = await ctx.store.read(read)
    listed = [
        {
            "LayerName": layer.name,
            "LayerArn": layer_records.layer_arn(ctx.scope, layer.name),
            "LatestMatchingVersion": _listed(ctx.scope, layer),
        }
        for layer in page[:size]
    ]
    answer: dict[str, Any] = {"Layers": listed}
    if len(page) > size:
        answer["NextMarker"] = rules.format_marker(page[size - 1].name)
    return answer


@operation
async def list_layer_versions(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Newest first."""
    _check_runtime(req)
    scope, name, _ = named(ctx.scope, req["LayerName"])
    size = rules.page_size(req)
    before = rules.parse_marker(req.get("Marker"))[1] or 2**62

    def read(tx: ReadTransaction) -> list[LayerVersion]:
        found = layer_records.layer_versions_backward(tx, scope, name, before=before)
        return list(islice((layer for layer in found if _fits(layer, req)), size + 1))

    page = await ctx.store.read(read)
    answer: dict[str, Any] = {"LayerVersions": [_listed(scope, layer) for layer in page[:size]]}
    if len(page) > size:
        answer["NextMarker"] = rules.format_marker(name, page[size - 1].number)
    return answer


@operation
async def delete_layer_version(ctx: Context, req: dict[str, Any]) -> None:
    """Functions that use it go on; deleting what isn't there is no error."""
    scope, name, _ = named(ctx.scope, req["LayerName"])
    _check_number(req)
    number, now_ms = int(req["VersionNumber"]), ctx.clock.now_ms()

    def delete(tx: Transaction) -> None:
        layer = layer_records.find_layer(tx, scope, name, number)
        if layer is None:
            return
        layer_records.delete_layer(tx, scope, name, number)
        if not state.is_used(tx, layer.package.blob_id):
            packages.drop(tx, layer.package, now_ms=now_ms)

    await ctx.store.transact(delete)


def uses(tx: ReadTransaction, arns: Sequence[str], region: str) -> list[LayerUse]:
    """The layers as a function of `region` holds them, in order. Raises InvalidParameterValueException."""
    found: list[LayerUse] = []
    for arn in arns:
        match = _LAYER.fullmatch(arn)
        if match is None or not match["version"]:
            raise layer_messages.bad_layer_arn(arn)
        if is_managed(arn):
            found.append(LayerUse(arn, 0))
            continue
        if match["region"] != region:
            raise layer_messages.layer_of_other_region(region)
        scope = Scope(match["account"], match["region"], match["partition"])
        layer = layer_records.find_layer(tx, scope, match["name"], int(match["version"]))
        if layer is None:
            raise layer_messages.no_such_layer_version(arn)
        found.append(LayerUse(arn, layer.package.size, layer.package))
    return found


def is_managed(layer_arn: str) -> bool:
    """Whether AWS publishes it and this machine's packages stand for it."""
    return _MANAGED.fullmatch(layer_arn) is not None


def check_size(version: Version) -> None:
    """Code and layers together, unzipped."""
    used = [layer.package.unzipped_bytes for layer in version.layers if layer.package is not None]
    size = version.package.unzipped_bytes + sum(used)
    if size > limits.UNZIPPED_BYTES_MAX.value:
        raise layer_messages.combined_too_large(size, limits.UNZIPPED_BYTES_MAX.value)


def named(scope: Scope, text: str) -> tuple[Scope, str, int]:
    """Where a layer's name or ARN points; version 0 where it has none."""
    match = _LAYER.fullmatch(text)
    if match is None:
        if text.startswith("arn:"):
            raise layer_messages.bad_layer_arn(text)
        return scope, text, 0
    return Scope(match["account"], match["region"], match["partition"]), match["name"], int(match["version"] or 0)


def _fits(layer: LayerVersion, req: dict[str, Any]) -> bool:
    runtime, architecture = req.get("CompatibleRuntime"), req.get("CompatibleArchitecture")
    return (not runtime or runtime in layer.runtimes) and (not architecture or architecture in layer.architectures)


def _listed(scope: Scope, layer: LayerVersion) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "LayerVersionArn": layer_records.layer_arn(scope, layer.name, layer.number),
        "Version": layer.number,
        "Description": layer.description,
        "CreatedDate": rules.lambda_time(layer.created_ms),
    }
    if layer.runtimes:
        answer["CompatibleRuntimes"] = layer.runtimes
    if layer.architectures:
        answer["CompatibleArchitectures"] = layer.architectures
    if layer.license:
        answer["LicenseInfo"] = layer.license
    return answer


async def _with_content(ctx: Context, scope: Scope, layer: LayerVersion) -> dict[str, Any]:
    content: dict[str, Any] = {
        "Location": await packages.location(ctx, layer.package),
        "CodeSha256": layer.package.sha256,
        "CodeSize": layer.package.size,
    }
    if layer.package.reference:
        content["ResolvedS3Object"] = layer.package.reference
    return {"Content": content, "LayerArn": layer_records.layer_arn(scope, layer.name), **_listed(scope, layer)}
