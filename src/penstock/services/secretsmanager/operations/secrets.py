"""Secrets: create, describe, list, change, delete, restore, tag."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.kernel.units import DAY_MS
from penstock.services.secretsmanager import limits, messages, rules, state
from penstock.services.secretsmanager.background import PURGE
from penstock.storage import outbox
from penstock.storage.transactions import Transaction

_SUFFIX = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@operation
async def create_secret(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()
    name, scope = req["Name"], ctx.scope
    value = rules.value_of(req)
    version_id = req.get("ClientRequestToken") or ctx.entropy.uuid()
    suffix = ctx.entropy.text(_SUFFIX, 6)

    def create(tx: Transaction) -> state.Secret:
        found = state.find(tx, scope, name)
        if found is not None:
            if found.deletion_ms is not None:
                raise ServiceError("InvalidRequestException", messages.NAME_IS_DELETED)
            if value is not None and state.find_value(tx, scope, name, version_id) == value:
                return found  # the same request again
            raise ServiceError("ResourceExistsException", messages.exists(name))
        secret = state.Secret(
            name,
            f"arn:{scope.partition}:secretsmanager:{scope.region}:{scope.account_id}:secret:{name}-{suffix}",
            now_ms,
            now_ms,
            description=req.get("Description"),
            kms_key_id=req.get("KmsKeyId"),
            tags={tag["Key"]: tag.get("Value", "") for tag in req.get("Tags") or []},
        )
        if value is not None:
            rules.add_version(secret, version_id, [rules.CURRENT], now_ms=now_ms)
            state.put_value(tx, scope, name, version_id, value)
        state.put(tx, scope, secret)
        return secret

    secret = await ctx.store.transact(create)
    answer = {"ARN": secret.arn, "Name": secret.name}
    return {**answer, "VersionId": version_id} if value is not None else answer


@operation
async def describe_secret(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    secret = await ctx.store.read(lambda tx: state.get(tx, ctx.scope, req["SecretId"], is_deleted_allowed=True))
    return {**_describe(secret), "VersionIdsToStages": _stages(secret)}


def _stages(secret: state.Secret) -> dict[str, list[str]]:
    return {id: version.stages for id, version in secret.versions.items() if version.stages}


def _describe(secret: state.Secret) -> dict[str, Any]:
    members: dict[str, Any] = {
        "ARN": secret.arn,
        "Name": secret.name,
        "Description": secret.description,
        "KmsKeyId": secret.kms_key_id,
        "CreatedDate": rules.time_of(secret.created_ms),
        "LastChangedDate": rules.time_of(secret.changed_ms),
        "LastAccessedDate": rules.time_of(secret.accessed_ms) if secret.accessed_ms else None,
        "DeletedDate": rules.time_of(secret.deleted_ms) if secret.deleted_ms else None,
        "Tags": [{"Key": key, "Value": value} for key, value in secret.tags.items()] or None,
    }
    return {name: value for name, value in members.items() if value is not None}


@operation
async def list_secrets(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    found = await ctx.store.read(lambda tx: list(state.every(tx, ctx.scope)))
    shown = [
        secret
        for secret in found
        if (secret.deletion_ms is None or req.get("IncludePlannedDeletion"))
        and rules.is_listed(secret, req.get("Filters") or [])
    ]
    shown.sort(key=lambda secret: (secret.created_ms, secret.name), reverse=req.get("SortOrder") != "asc")
    token = req.get("NextToken") or "0"
    if not token.isdecimal():
        raise ServiceError("InvalidNextTokenException", messages.BAD_NEXT_TOKEN)
    start = int(token)
    end = start + (req.get("MaxResults") or limits.PAGE.value)
    listed = [{**_describe(secret), "SecretVersionsToStages": _stages(secret)} for secret in shown[start:end]]
    return {"SecretList": listed, **({"NextToken": str(end)} if end < len(shown) else {})}


@operation
async def update_secret(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()
    value = rules.value_of(req)
    version_id = req.get("ClientRequestToken") or ctx.entropy.uuid()

    def update(tx: Transaction) -> state.Secret:
        secret = state.get(tx, ctx.scope, req["SecretId"])
        secret.description = req.get("Description", secret.description)
        secret.kms_key_id = req.get("KmsKeyId", secret.kms_key_id)
        secret.changed_ms = now_ms
        if value is not None and state.find_value(tx, ctx.scope, secret.name, version_id) != value:
            if version_id in secret.versions:
                raise ServiceError("ResourceExistsException", messages.token_in_use(version_id, secret.arn))
            for dropped in rules.add_version(secret, version_id, [rules.CURRENT], now_ms=now_ms):
                state.drop_value(tx, ctx.scope, secret.name, dropped)
            state.put_value(tx, ctx.scope, secret.name, version_id, value)
        state.put(tx, ctx.scope, secret)
        return secret

    secret = await ctx.store.transact(update)
    answer = {"ARN": secret.arn, "Name": secret.name}
    return {**answer, "VersionId": version_id} if value is not None else answer


@operation
async def delete_secret(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()
    days = rules.deletion_delay_days(req)

    def delete(tx: Transaction) -> state.Secret:
        secret = state.get(tx, ctx.scope, req["SecretId"], is_deleted_allowed=days == 0)
        if days == 0:
            state.delete(tx, ctx.scope, secret.name)
            outbox.cancel(tx, PURGE, secret.arn)
            return secret
        secret.deleted_ms, secret.deletion_ms = now_ms, now_ms + days * DAY_MS
        state.put(tx, ctx.scope, secret)
        payload: dict[str, object] = {
            "arn": secret.arn,
            "account_id": ctx.scope.account_id,
            "region": ctx.scope.region,
        }
        outbox.add(tx, PURGE, payload, due_ms=secret.deletion_ms, id=secret.arn)
        return secret

    secret = await ctx.store.transact(delete)
    return {"ARN": secret.arn, "Name": secret.name, "DeletionDate": rules.time_of(now_ms + days * DAY_MS)}


@operation
async def restore_secret(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def restore(tx: Transaction) -> state.Secret:
        secret = state.get(tx, ctx.scope, req["SecretId"], is_deleted_allowed=True)
        secret.deleted_ms = secret.deletion_ms = None
        outbox.cancel(tx, PURGE, secret.arn)
        state.put(tx, ctx.scope, secret)
        return secret

    secret = await ctx.store.transact(restore)
    return {"ARN": secret.arn, "Name": secret.name}


@operation
async def tag_resource(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def tag(tx: Transaction) -> None:
        secret = state.get(tx, ctx.scope, req["SecretId"])
        secret.tags.update({item["Key"]: item.get("Value", "") for item in req["Tags"]})
        state.put(tx, ctx.scope, secret)

    await ctx.store.transact(tag)
    return {}


@operation
async def untag_resource(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def untag(tx: Transaction) -> None:
        secret = state.get(tx, ctx.scope, req["SecretId"])
        secret.tags = {key: value for key, value in secret.tags.items() if key not in req["TagKeys"]}
        state.put(tx, ctx.scope, secret)

    await ctx.store.transact(untag)
    return {}
