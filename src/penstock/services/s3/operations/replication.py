"""Replication: rules checked and kept, and new versions copied to other buckets of this node.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication.html
"""

from dataclasses import replace
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.s3 import events, messages, state
from penstock.services.s3.operations import bodies
from penstock.services.s3.operations.configurations import deleter, getter, under
from penstock.services.s3.state import Bucket, Version
from penstock.storage import outbox
from penstock.storage.transactions import ReadTransaction, Transaction

KIND = "replication"
REPLICATE = "s3.replicate"
_RULES_MAX = 1000

get_bucket_replication = getter(
    KIND,
    under("ReplicationConfiguration"),
    "ReplicationConfigurationNotFoundError",
    "The replication configuration was not found",
)
delete_bucket_replication = deleter(KIND)


@operation
async def put_bucket_replication(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidRequest (400) unless both buckets keep versions."""
    config = req["ReplicationConfiguration"]
    given = config.get("Rules") or []
    if not config.get("Role") or not 1 <= len(given) <= _RULES_MAX:
        raise messages.malformed_xml()
    kept = [_checked(rule, ctx) for rule in given]

    def write(tx: Transaction) -> None:
        bucket = state.bucket_of(tx, req)
        if bucket.versioning != "Enabled":
            text = "Versioning must be 'Enabled' on the bucket to apply a replication configuration"
            raise messages.invalid_request(text)
        for rule in kept:
            target = state.find_bucket(tx, _bucket_name(rule))
            if target is None:
                raise messages.invalid_request("Destination bucket must exist.")
            if target.versioning != "Enabled":
                raise messages.invalid_request("Destination bucket must have versioning enabled.")
        state.put_config(tx, bucket.name, KIND, {"Role": config["Role"], "Rules": kept})

    await ctx.store.transact(write)
    return {}


def _checked(rule: dict[str, Any], ctx: Context) -> dict[str, Any]:
    if rule.get("Status") not in ("Enabled", "Disabled"):
        raise messages.malformed_xml()
    arn = str((rule.get("Destination") or {}).get("Bucket") or "")
    if not arn.startswith("arn:aws:s3:::") or not _bucket_name(rule):
        raise messages.invalid_argument("Invalid bucket ARN", "Bucket", arn)
    for member in ("Priority", "DeleteMarkerReplication"):
        if rule.get("Filter") is not None and member not in rule:
            raise messages.invalid_request(
                f"{member} must be specified for this version of Cross Region Replication configuration schema. "
                "Please refer to S3 Developer Guide for more information."
            )
    return {**rule, "ID": rule.get("ID") or ctx.entropy.uuid()}


def _bucket_name(rule: dict[str, Any]) -> str:
    return str(rule["Destination"]["Bucket"]).rpartition(":")[2]


def plan(tx: Transaction, bucket: Bucket, version: Version, now_ms: int) -> None:
    """Mark a new version PENDING and intend its copy, where a rule covers it. Replicas aren't replicated again."""
    config = state.config_of(tx, bucket, KIND)
    if not config or version.replicated:
        return
    found = [rule for rule in config["Rules"] if rule["Status"] == "Enabled" and _covers(rule, version)]
    if not found:
        return
    rule = max(found, key=lambda rule: int(rule.get("Priority") or 0))
    if not version.is_delete_marker:
        version.replicated = "PENDING"
    target = {"target": _bucket_name(rule), "class": rule["Destination"].get("StorageClass") or ""}
    named: dict[str, object] = {"bucket": bucket.name, "key": version.key, "version": version.version_id, **target}
    outbox.add(tx, REPLICATE, named, due_ms=now_ms, id=f"{bucket.name}/{version.version_id}")


def _covers(rule: dict[str, Any], version: Version) -> bool:
    where = rule.get("Filter") or {}
    where = {**where, **(where.get("And") or {})}
    tags = where.get("Tags") or ([where["Tag"]] if where.get("Tag") else [])
    if not version.key.startswith(str(where.get("Prefix") or rule.get("Prefix") or "")):
        return False
    if version.is_delete_marker:
        markers = (rule.get("DeleteMarkerReplication") or {}).get("Status") == "Enabled"
        return not tags and (markers or rule.get("Filter") is None)
    return all(version.tags.get(tag["Key"]) == tag.get("Value", "") for tag in tags)


async def replicate(ctx: Context, payload: dict[str, Any]) -> None:
    """Copy one version under its own id. Done again, it changes nothing; a bucket that went leaves FAILED behind."""

    def look(tx: ReadTransaction) -> tuple[Version | None, bytes]:
        version = state.find_version(tx, payload["bucket"], payload["key"], payload["version"])
        return version, bodies.read_data(tx, version) if version and version.data_id else b""

    source, data = await ctx.store.read(look)
    if source is None:
        return
    replica = replace(source, replicated="REPLICA", lock_mode="", lock_until_ms=0, has_legal_hold=False)
    if payload["class"]:
        replica.headers = {**source.headers, "StorageClass": payload["class"]}
    made = await _copy_blobs(ctx, replica)
    if replica.data_id:
        replica.data_id = ctx.entropy.token_hex(12)
    now_ms = ctx.clock.now_ms()

    def write(tx: Transaction) -> bool:
        target = state.find_bucket(tx, payload["target"])
        is_possible = target is not None and target.versioning == "Enabled"
        known = state.find_version(tx, payload["target"], source.key, source.version_id)
        is_written = target is not None and is_possible and known is None
        if is_written and target is not None:
            if replica.data_id:
                tx.put(("s3", "data", replica.data_id), data)
            state.put_current(tx, target, replica, now_ms)
        current = state.find_version(tx, payload["bucket"], source.key, source.version_id)
        if current is not None and not current.is_delete_marker:
            current.replicated = "COMPLETED" if is_possible else "FAILED"
            state.rewrite(tx, payload["bucket"], current)
            bucket = state.find_bucket(tx, payload["bucket"])
            if not is_possible and bucket is not None:
                events.notify(tx, ctx, bucket, "Replication:OperationFailedReplication", current, now_ms)
        return is_written

    if not await ctx.store.transact(write):
        for blob_id in made:
            await ctx.blobs.delete(blob_id)


async def _copy_blobs(ctx: Context, replica: Version) -> list[str]:
    made = []
    if replica.blob_id:
        replica.blob_id = (await ctx.blobs.concat([replica.blob_id])).id
        made.append(replica.blob_id)
    if replica.blobs:
        replica.blobs = [(await ctx.blobs.concat([blob_id])).id for blob_id in replica.blobs]
        made += replica.blobs
    return made
