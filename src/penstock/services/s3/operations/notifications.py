"""Which events of a bucket go where."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel import arn
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope, service_principal
from penstock.services.s3 import events, messages, rules, state
from penstock.services.s3.operations.sending import send
from penstock.services.s3.state import Bucket
from penstock.storage.transactions import Transaction

_ID_MAX = 255
_KINDS = {"sqs": "queue", "sns": "topic", "lambda": "Lambda"}
_REFUSED = {"lambda": "Not authorized to invoke function [{}]"}
_REFUSED_ELSE = "Permissions on the destination do not allow S3 to publish notifications from this bucket"
_EVENTS = frozenset(
    f"s3:{name}"
    for name in (
        "ReducedRedundancyLostObject",
        *(f"ObjectCreated:{kind}" for kind in ("*", "Put", "Post", "Copy", "CompleteMultipartUpload")),
        *(f"ObjectRemoved:{kind}" for kind in ("*", "Delete", "DeleteMarkerCreated")),
        *(f"ObjectRestore:{kind}" for kind in ("*", "Post", "Completed", "Delete")),
        "Replication:*",
        "Replication:OperationFailedReplication",
        "Replication:OperationNotTracked",
        "Replication:OperationMissedThreshold",
        "Replication:OperationReplicatedAfterThreshold",
        "LifecycleTransition",
        *(f"LifecycleExpiration:{kind}" for kind in ("*", "Delete", "DeleteMarkerCreated")),
        "IntelligentTiering",
        "ObjectAcl:Put",
        *(f"ObjectTagging:{kind}" for kind in ("*", "Put", "Delete")),
        *(f"ObjectAnnotation:{kind}" for kind in ("*", "Put", "Delete")),
        "ObjectRetention:Put",
    )
)
"""Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-event-types-and-destinations.html"""


@operation
async def get_bucket_notification_configuration(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def read(tx: Any) -> dict[str, Any]:
        return state.find_config(tx, state.bucket_of(tx, req).name, "notification") or {}

    return await ctx.store.read(read)


@operation
async def put_bucket_notification_configuration(ctx: Context, req: dict[str, Any]) -> None:
    """Replace the whole configuration, once every destination has been seen to answer."""
    bucket = await ctx.store.read(lambda tx: state.bucket_of(tx, req))
    config = req["NotificationConfiguration"]
    kept: dict[str, Any] = {}
    for kind, (service, arn_member) in events.DESTINATIONS.items():
        for item in config.get(kind) or ():
            _check(item, item.get(arn_member) or "", service, bucket)
            kept.setdefault(kind, []).append({**item, "Id": item.get("Id") or ctx.entropy.uuid()})
    _check_overlaps([item for items in kept.values() for item in items])
    if config.get("EventBridgeConfiguration") is not None:
        kept["EventBridgeConfiguration"] = {}
    if not req.get("SkipDestinationValidation"):
        for kind, (service, arn_member) in events.DESTINATIONS.items():
            for destination in sorted({item[arn_member] for item in kept.get(kind, [])}):
                await _reach(ctx, bucket, service, destination)

    def write(tx: Transaction) -> None:
        state.put_config(tx, state.get_bucket(tx, bucket.name).name, "notification", kept)

    await ctx.store.transact(write)


def _check(item: dict[str, Any], destination: str, service: str, bucket: Bucket) -> None:
    if not arn.is_arn(destination):
        raise messages.invalid_argument("The ARN could not be parsed", "Arn", destination)
    target = arn.parse(destination)
    if target.service != service:
        raise messages.invalid_argument("The ARN is not well formed", "Arn", destination)
    if target.region != bucket.region:
        text = "The notification destination service region is not valid for the bucket location constraint"
        raise messages.invalid_argument(text, "Arn", destination)
    if service == "sqs" and destination.endswith(".fifo"):
        text = "Unable to validate the following destination configurations"
        raise messages.invalid_argument(text, destination, "FIFO queues are not supported")
    if not item.get("Events"):
        raise messages.malformed_xml()
    for event in item["Events"]:
        if event not in _EVENTS:
            raise messages.invalid_argument("The event is not supported for notifications", "Event", str(event))
    if len(item.get("Id") or "") > _ID_MAX:
        raise messages.invalid_argument("ID length should not exceed allowed limit of 255")
    names: list[str] = []
    for rule in ((item.get("Filter") or {}).get("Key") or {}).get("FilterRules") or ():
        name = str(rule.get("Name") or "").lower()
        if name not in ("prefix", "suffix"):
            text = "filter rule name must be either prefix or suffix"
            raise messages.invalid_argument(text, "FilterRule.Name", str(rule.get("Name")))
        names.append(name)
    if len(names) != len(set(names)):
        text = "Cannot specify more than one prefix rule in a filter."
        raise messages.invalid_argument(text.replace("prefix", max(names, key=names.count)))


def _check_overlaps(items: list[dict[str, Any]]) -> None:
    """Two rules may not both want one event of one key.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-filtering.html
    """
    for index, first in enumerate(items):
        for second in items[index + 1 :]:
            if _share_event(first["Events"], second["Events"]) and _share_key(first, second):
                raise messages.overlapping_notifications()


def _share_event(first: list[str], second: list[str]) -> bool:
    return any(a == b or _covers(a, b) or _covers(b, a) for a in first for b in second)


def _covers(wide: str, narrow: str) -> bool:
    return wide.endswith("*") and narrow.startswith(wide[:-1])


def _share_key(first: dict[str, Any], second: dict[str, Any]) -> bool:
    (prefix, suffix), (other_prefix, other_suffix) = events.filters(first), events.filters(second)
    is_nested = prefix.startswith(other_prefix) or other_prefix.startswith(prefix)
    return is_nested and (suffix.endswith(other_suffix) or other_suffix.endswith(suffix))


async def _reach(ctx: Context, bucket: Bucket, service: str, destination: str) -> None:
    """Queues and topics get s3:TestEvent, a function a dry run. Raises InvalidArgument if they refuse."""
    target = arn.parse(destination)
    try:
        if service == "lambda":
            bucket_arn = f"arn:aws:s3:::{bucket.name}"
            principal = service_principal("s3.amazonaws.com", account_id=bucket.account_id, source_arn=bucket_arn)
            params = {"FunctionName": destination, "InvocationType": "DryRun"}
            scope = Scope(target.account_id, target.region)
            await ctx.call("lambda", "Invoke", params, as_=principal, scope=scope)
            return
        told = {"service": service, "arn": destination, "is_test": True, "record": _test_event(ctx, bucket)}
        await send(ctx, told | {"bucket": bucket.name, "account": bucket.account_id, "region": bucket.region})
    except ServiceError as error:
        is_missing = any(word in error.code for word in ("NotFound", "NonExistent", "DoesNotExist"))
        reason = _REFUSED.get(service, _REFUSED_ELSE).format(destination)
        reason = f"The destination {_KINDS[service]} does not exist" if is_missing else reason
        raise messages.unreachable_destination(destination, reason) from None


def _test_event(ctx: Context, bucket: Bucket) -> dict[str, str]:
    return {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": rules.when(ctx.clock.now_ms()).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "Bucket": bucket.name,
        "RequestId": ctx.request.request_id,
        "HostId": state.canonical_id(ctx.request.request_id),
    }
