"""Parameters, their versions, history and labels."""

import base64
import hashlib
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.services.ssm import limits, messages, rules, state
from penstock.storage.transactions import Transaction

_DEFAULT_KEY = "alias/aws/ssm"


@operation
async def put_parameter(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()
    name, is_overwrite, tags = req["Name"], bool(req.get("Overwrite")), req.get("Tags") or []
    rules.check_name(name)
    if tags and is_overwrite:
        raise rules.invalid(messages.TAGS_AND_OVERWRITE)
    tier = rules.tier_of(req)
    rules.check_value(req["Value"], tier=tier, allowed_pattern=req.get("AllowedPattern"))

    def put(tx: Transaction) -> state.Version:
        parameter = state.find(tx, ctx.scope, name)
        if parameter is None:
            if not req.get("Type"):
                raise rules.invalid(messages.TYPE_REQUIRED)
            parameter = state.Parameter(name, req["Type"], tags={tag["Key"]: tag["Value"] for tag in tags})
        elif not is_overwrite:
            raise ServiceError("ParameterAlreadyExists", messages.ALREADY_EXISTS)
        else:
            parameter.type = req.get("Type") or parameter.type
        version = state.Version(
            parameter.latest.number + 1 if parameter.versions else 1,
            req["Value"],
            now_ms,
            ctx.principal.arn,
            description=req.get("Description") or (parameter.versions[-1].description if parameter.versions else None),
            key_id=(req.get("KeyId") or _DEFAULT_KEY) if parameter.type == "SecureString" else None,
            allowed_pattern=req.get("AllowedPattern"),
            tier=tier,
            data_type=req.get("DataType") or "text",
        )
        parameter.versions = [*parameter.versions, version][-limits.VERSIONS_MAX.value :]
        state.put(tx, ctx.scope, parameter)
        return version

    version = await ctx.store.transact(put)
    return {"Version": version.number, "Tier": version.tier}


def _shown(
    ctx: Context, parameter: state.Parameter, version: state.Version, req: dict[str, Any], selector: str = ""
) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "Name": parameter.name,
        "Type": parameter.type,
        "Value": _value(parameter, version, is_decrypted=bool(req.get("WithDecryption"))),
        "Version": version.number,
        "LastModifiedDate": rules.time_of(version.modified_ms),
        "ARN": parameter.arn(ctx.scope),
        "DataType": version.data_type,
    }
    return {**answer, "Selector": f":{selector}"} if selector else answer


def _value(parameter: state.Parameter, version: state.Version, *, is_decrypted: bool) -> str:
    """A SecureString is shown as an opaque text unless decryption is asked for."""
    if parameter.type != "SecureString" or is_decrypted:
        return version.value
    opaque = hashlib.sha512(f"{version.key_id}:{parameter.name}:{version.number}:{version.value}".encode()).digest()
    return base64.b64encode(opaque).decode()


@operation
async def get_parameter(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    name, selector = rules.split_selector(req["Name"])
    parameter = await ctx.store.read(lambda tx: state.find(tx, ctx.scope, name))
    if parameter is None:
        raise ServiceError("ParameterNotFound", messages.not_found(req["Name"]))
    return {"Parameter": _shown(ctx, parameter, rules.choose(parameter, selector), req, selector)}


@operation
async def get_parameters(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    wanted = {name: rules.split_selector(name) for name in req["Names"]}
    found = await ctx.store.read(
        lambda tx: {text: state.find(tx, ctx.scope, name) for text, (name, _) in wanted.items()}
    )
    shown, bad = [], []
    for text, parameter in found.items():
        try:
            if parameter is None:
                raise ServiceError("ParameterNotFound", messages.not_found(text))
            selector = wanted[text][1]
            shown.append(_shown(ctx, parameter, rules.choose(parameter, selector), req, selector))
        except ServiceError:
            bad.append(text)
    return {"Parameters": shown, "InvalidParameters": bad}


@operation
async def get_parameters_by_path(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    rules.check_path(req["Path"])
    found = await ctx.store.read(lambda tx: list(state.every(tx, ctx.scope)))
    below = [
        parameter
        for parameter in found
        if rules.is_below(parameter.name, req["Path"], is_recursive=bool(req.get("Recursive")))
        and rules.matches(parameter, req.get("ParameterFilters") or [])
    ]
    shown, more = rules.page(below, req, limits.PAGE.value)
    return {"Parameters": [_shown(ctx, item, item.latest, req) for item in shown], **more}


@operation
async def describe_parameters(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    filters = [*(req.get("ParameterFilters") or []), *(req.get("Filters") or [])]
    found = await ctx.store.read(lambda tx: list(state.every(tx, ctx.scope)))
    shown, more = rules.page(
        [parameter for parameter in found if rules.matches(parameter, filters)], req, limits.DESCRIBE_PAGE.value
    )
    listed = [
        {"ARN": item.arn(ctx.scope), "Name": item.name, "Type": item.type, **_described(item.latest)} for item in shown
    ]
    return {"Parameters": listed, **more}


def _described(version: state.Version) -> dict[str, Any]:
    members: dict[str, Any] = {
        "KeyId": version.key_id,
        "LastModifiedDate": rules.time_of(version.modified_ms),
        "LastModifiedUser": version.user,
        "Description": version.description,
        "AllowedPattern": version.allowed_pattern,
        "Version": version.number,
        "Tier": version.tier,
        "Policies": [],
        "DataType": version.data_type,
    }
    return {name: value for name, value in members.items() if value is not None}


@operation
async def get_parameter_history(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    parameter = await ctx.store.read(lambda tx: state.get(tx, ctx.scope, req["Name"]))
    shown, more = rules.page(parameter.versions, req, limits.DESCRIBE_PAGE.value)
    is_decrypted = bool(req.get("WithDecryption"))
    history = [
        {
            "Name": parameter.name,
            "Type": parameter.type,
            **_described(version),
            "Value": _value(parameter, version, is_decrypted=is_decrypted),
            "Labels": version.labels,
        }
        for version in shown
    ]
    return {"Parameters": history, **more}


@operation
async def delete_parameter(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def delete(tx: Transaction) -> None:
        if not state.delete(tx, ctx.scope, req["Name"]):
            raise ServiceError("ParameterNotFound", messages.not_found(req["Name"]))

    await ctx.store.transact(delete)
    return {}


@operation
async def delete_parameters(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def delete(tx: Transaction) -> dict[str, bool]:
        return {name: state.delete(tx, ctx.scope, name) for name in req["Names"]}

    gone = await ctx.store.transact(delete)
    return {
        "DeletedParameters": [name for name, was_there in gone.items() if was_there],
        "InvalidParameters": [name for name, was_there in gone.items() if not was_there],
    }


@operation
async def label_parameter_version(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def label(tx: Transaction) -> tuple[int, list[str]]:
        parameter = state.get(tx, ctx.scope, req["Name"])
        version = rules.choose(parameter, str(req.get("ParameterVersion") or ""))
        bad = rules.label(parameter, version, req["Labels"])
        state.put(tx, ctx.scope, parameter)
        return version.number, bad

    number, bad = await ctx.store.transact(label)
    return {"InvalidLabels": bad, "ParameterVersion": number}


@operation
async def unlabel_parameter_version(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def unlabel(tx: Transaction) -> tuple[list[str], list[str]]:
        parameter = state.get(tx, ctx.scope, req["Name"])
        version = rules.choose(parameter, str(req["ParameterVersion"]))
        removed = [name for name in req["Labels"] if name in version.labels]
        version.labels = [name for name in version.labels if name not in removed]
        state.put(tx, ctx.scope, parameter)
        return removed, [name for name in req["Labels"] if name not in removed]

    removed, bad = await ctx.store.transact(unlabel)
    return {"RemovedLabels": removed, "InvalidLabels": bad}
