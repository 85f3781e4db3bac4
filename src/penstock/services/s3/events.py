"""Event notifications: which destinations an event goes to, and its record.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
"""

from typing import Any
from urllib.parse import quote_plus

from penstock.framework.context import Context
from penstock.services.s3 import rules, state
from penstock.services.s3.state import Bucket, Version
from penstock.storage import outbox
from penstock.storage.transactions import Transaction

NOTIFY = "s3.notify"
_NEWER = ("Lifecycle", "ObjectAcl", "ObjectTagging", "ObjectRetention", "ObjectRestore:Delete", "IntelligentTiering")
"""Kinds of event that came with version 2.3 of the record; replication's came with 2.2."""

DESTINATIONS = {
    "LambdaFunctionConfigurations": ("lambda", "LambdaFunctionArn"),
    "QueueConfigurations": ("sqs", "QueueArn"),
    "TopicConfigurations": ("sns", "TopicArn"),
}
_BRIDGE_TYPES = {
    "ObjectCreated": "Object Created",
    "ObjectRemoved": "Object Deleted",
    "ObjectRestore:Post": "Object Restore Initiated",
    "ObjectRestore:Completed": "Object Restore Completed",
    "ObjectRestore:Delete": "Object Restore Expired",
    "LifecycleTransition": "Object Storage Class Changed",
    "LifecycleExpiration": "Object Deleted",
    "ObjectAcl:Put": "Object ACL Updated",
    "ObjectTagging:Put": "Object Tags Added",
    "ObjectTagging:Delete": "Object Tags Deleted",
}
_BRIDGE_REASONS = {
    "ObjectCreated:Put": "PutObject",
    "ObjectCreated:Post": "POST Object",
    "ObjectCreated:Copy": "CopyObject",
    "ObjectCreated:CompleteMultipartUpload": "CompleteMultipartUpload",
}


def notify(tx: Transaction, ctx: Context, bucket: Bucket, event: str, version: Version, now_ms: int) -> None:
    """Write an intent for every destination that wants `event` (`ObjectCreated:Put`) of this key."""
    config = state.config_of(tx, bucket, "notification")
    if not config:
        return
    for kind, (service, arn_member) in DESTINATIONS.items():
        for wanted in config.get(kind) or ():
            if _is_wanted(wanted, event, version.key):
                record = _record(ctx, bucket, event, version, now_ms, wanted["Id"])
                _intend(tx, ctx, {"service": service, "arn": wanted[arn_member], "record": record}, bucket, now_ms)
    if config.get("EventBridgeConfiguration") is not None:
        detail_type = _BRIDGE_TYPES.get(event) or _BRIDGE_TYPES.get(event.split(":")[0])
        if detail_type:
            detail = _bridge_detail(ctx, bucket, event, version)
            _intend(tx, ctx, {"service": "events", "type": detail_type, "record": detail}, bucket, now_ms)


def _intend(tx: Transaction, ctx: Context, payload: dict[str, object], bucket: Bucket, now_ms: int) -> None:
    """The trace goes along: by it Lambda sees that a chain of events runs in a circle."""
    payload |= {"bucket": bucket.name, "account": bucket.account_id, "region": bucket.region}
    if ctx.request.trace_id:
        payload["trace_id"] = ctx.request.trace_id
    outbox.add(tx, NOTIFY, payload, due_ms=now_ms, id=ctx.entropy.token_hex(16))


def _is_wanted(wanted: dict[str, Any], event: str, key: str) -> bool:
    family = event.split(":")[0]
    if not any(name in (f"s3:{event}", f"s3:{family}:*") for name in wanted["Events"]):
        return False
    prefix, suffix = filters(wanted)
    return key.startswith(prefix) and key.endswith(suffix)


def filters(wanted: dict[str, Any]) -> tuple[str, str]:
    """The (prefix, suffix) of a configuration; filter names come in any case."""
    found = {"prefix": "", "suffix": ""}
    for rule in ((wanted.get("Filter") or {}).get("Key") or {}).get("FilterRules") or ():
        found[str(rule["Name"]).lower()] = str(rule.get("Value") or "")
    return found["prefix"], found["suffix"]


def _record(
    ctx: Context, bucket: Bucket, event: str, version: Version, now_ms: int, configuration_id: str
) -> dict[str, object]:
    told: dict[str, object] = {"key": quote_plus(version.key, safe="/")}
    is_gone = event.startswith(("ObjectRemoved", "LifecycleExpiration"))
    if not is_gone:
        told |= {"size": version.size, "eTag": version.etag}
    elif version.is_delete_marker:
        told |= {"eTag": version.etag or "d41d8cd98f00b204e9800998ecf8427e"}
    if version.version_id != state.NULL:
        told["versionId"] = version.version_id
    told["sequencer"] = f"{version.order:018X}"
    who = ctx.principal.user_id or ctx.scope.account_id
    principal_id = who if ctx.principal.kind == "service" else f"AWS:{who}"
    record: dict[str, object] = {
        "eventVersion": "2.3" if event.startswith(_NEWER) else "2.2" if event.startswith("Replication") else "2.1",
        "eventSource": "aws:s3",
        "awsRegion": bucket.region,
        "eventTime": _iso(now_ms),
        "eventName": event,
        "userIdentity": {"principalId": principal_id},
        "requestParameters": {"sourceIPAddress": ctx.request.source_ip},
        "responseElements": {
            "x-amz-request-id": ctx.request.request_id,
            "x-amz-id-2": state.canonical_id(ctx.request.request_id),
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration_id,
            "bucket": {
                "name": bucket.name,
                "ownerIdentity": {"principalId": state.canonical_id(bucket.account_id)[:14].upper()},
                "arn": f"arn:aws:s3:::{bucket.name}",
            },
            "object": told,
        },
    }
    if event == "ObjectRestore:Completed":
        restored = {
            "lifecycleRestorationExpiryTime": _iso(version.restored_until_ms),
            "lifecycleRestoreStorageClass": version.headers.get("StorageClass", "STANDARD"),
        }
        record["glacierEventData"] = {"restoreEventData": restored}
    return record


def _iso(time_ms: int) -> str:
    return rules.when(time_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _bridge_detail(ctx: Context, bucket: Bucket, event: str, version: Version) -> dict[str, object]:
    told: dict[str, object] = {"key": version.key}
    if event.startswith("ObjectCreated"):
        told["size"] = version.size
    told |= {"etag": version.etag, "sequencer": f"{version.order:018X}"}
    if version.version_id != state.NULL:
        told["version-id"] = version.version_id
    detail: dict[str, object] = {
        "version": "0",
        "bucket": {"name": bucket.name},
        "object": told,
        "request-id": ctx.request.request_id,
        "requester": ctx.scope.account_id,
        "source-ip-address": ctx.request.source_ip,
    }
    if event.startswith(("ObjectRemoved", "LifecycleExpiration")):
        is_marked = event.endswith("DeleteMarkerCreated")
        reason = "DeleteObject" if event.startswith("ObjectRemoved") else "Lifecycle Expiration"
        detail |= {"reason": reason, "deletion-type": "Delete Marker Created" if is_marked else "Permanently Deleted"}
    elif event == "LifecycleTransition":
        detail["destination-storage-class"] = version.headers.get("StorageClass", "STANDARD")
    elif event.startswith("ObjectRestore"):
        detail["source-storage-class"] = version.headers.get("StorageClass", "STANDARD")
        if event != "ObjectRestore:Post":
            detail["restore-expiry-time"] = _iso(version.restored_until_ms)
    elif event in _BRIDGE_REASONS:
        detail["reason"] = _BRIDGE_REASONS[event]
    return detail
