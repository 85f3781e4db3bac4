"""Secret values, their versions and stages."""

import base64
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.kernel.units import DAY_MS
from penstock.services.secretsmanager import messages, rules, state
from penstock.storage.transactions import Transaction


@operation
async def get_secret_value(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()

    def read(tx: Transaction) -> tuple[state.Secret, str, state.Value]:
        secret = state.get(tx, ctx.scope, req["SecretId"])
        version_id = rules.choose_version(secret, req.get("VersionId"), req.get("VersionStage"))
        value = state.find_value(tx, ctx.scope, secret.name, version_id)
        assert value is not None
        today_ms = now_ms - now_ms % DAY_MS  # AWS keeps the date only
        if secret.accessed_ms != today_ms:
            secret.accessed_ms = today_ms
            state.put(tx, ctx.scope, secret)
        return secret, version_id, value

    secret, version_id, value = await ctx.store.transact(read)
    version = secret.versions[version_id]
    answer: dict[str, Any] = {
        "ARN": secret.arn,
        "Name": secret.name,
        "VersionId": version_id,
        "VersionStages": version.stages,
        "CreatedDate": rules.time_of(version.created_ms),
    }
    if value.text is not None:
        return {**answer, "SecretString": value.text}
    return {**answer, "SecretBinary": base64.b64decode(value.binary or "")}


@operation
async def put_secret_value(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()
    value = rules.value_of(req)
    if value is None:
        raise rules.invalid(messages.NO_VALUE)
    version_id = req.get("ClientRequestToken") or ctx.entropy.uuid()
    stages = req.get("VersionStages") or [rules.CURRENT]

    def put(tx: Transaction) -> state.Secret:
        secret = state.get(tx, ctx.scope, req["SecretId"])
        if version_id in secret.versions:
            if state.find_value(tx, ctx.scope, secret.name, version_id) != value:
                raise ServiceError("ResourceExistsException", messages.token_in_use(version_id, secret.arn))
            return secret  # the same request again
        first = [rules.CURRENT] if not secret.versions and rules.CURRENT not in stages else []
        for dropped in rules.add_version(secret, version_id, [*stages, *first], now_ms=now_ms):
            state.drop_value(tx, ctx.scope, secret.name, dropped)
        state.put_value(tx, ctx.scope, secret.name, version_id, value)
        state.put(tx, ctx.scope, secret)
        return secret

    secret = await ctx.store.transact(put)
    return {
        "ARN": secret.arn,
        "Name": secret.name,
        "VersionId": version_id,
        "VersionStages": secret.versions[version_id].stages,
    }


@operation
async def update_secret_version_stage(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    stage, remove_from, move_to = req["VersionStage"], req.get("RemoveFromVersionId"), req.get("MoveToVersionId")

    def update(tx: Transaction) -> state.Secret:
        secret = state.get(tx, ctx.scope, req["SecretId"])
        rules.check_move(secret, stage, remove_from=remove_from, move_to=move_to)
        if move_to is not None:
            rules.attach(secret, stage, move_to)
        elif remove_from is not None:
            secret.versions[remove_from].stages.remove(stage)
        state.put(tx, ctx.scope, secret)
        return secret

    secret = await ctx.store.transact(update)
    return {"ARN": secret.arn, "Name": secret.name}


@operation
async def list_secret_version_ids(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    secret = await ctx.store.read(lambda tx: state.get(tx, ctx.scope, req["SecretId"], is_deleted_allowed=True))
    versions = [
        {"VersionId": id, "VersionStages": version.stages, "CreatedDate": rules.time_of(version.created_ms)}
        for id, version in secret.versions.items()
        if version.stages or req.get("IncludeDeprecated")
    ]
    return {"ARN": secret.arn, "Name": secret.name, "Versions": versions}
