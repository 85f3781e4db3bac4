"""Sub-resources of a bucket that are kept and given back, without an effect on its objects.

Website, logging, acceleration and payer are one each; metrics, analytics, inventory and tiering are many, by Id.
Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from collections.abc import Awaitable, Callable
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.s3 import messages, state
from penstock.services.s3.operations.configurations import deleter, getter
from penstock.storage.transactions import Transaction

Handler = Callable[[Context, dict[str, Any]], Awaitable[dict[str, Any]]]

_PAGE = 100

get_bucket_website = getter(
    "website", dict, "NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration"
)
delete_bucket_website = deleter("website")


@operation
async def put_bucket_website(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Kept, not served: there is no website endpoint here."""
    _check_website(req["WebsiteConfiguration"])
    return await _keep(ctx, req, "website", req["WebsiteConfiguration"])


def _check_website(config: dict[str, Any]) -> None:
    target = config.get("RedirectAllRequestsTo")
    if target is not None:
        if len(config) > 1:
            text = "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules."
            raise messages.invalid_argument(text, "RedirectAllRequestsTo", "not null")
        if not target.get("HostName"):
            raise messages.malformed_xml()
        if target.get("Protocol") not in (None, "http", "https"):
            raise messages.invalid_request(
                "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected "
                "automatically."
            )
        return
    index = config.get("IndexDocument")
    if index is None:
        text = "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty"
        raise messages.invalid_argument(text, "IndexDocument", "null")
    suffix = index.get("Suffix") or ""
    if not suffix or "/" in suffix:
        raise messages.invalid_argument("The IndexDocument Suffix is not well formed", "IndexDocument", suffix)
    if config.get("ErrorDocument") is not None and not config["ErrorDocument"].get("Key"):
        raise messages.malformed_xml()
    for rule in config.get("RoutingRules") or []:
        if not rule.get("Redirect") or {"ReplaceKeyWith", "ReplaceKeyPrefixWith"} <= set(rule["Redirect"]):
            raise messages.malformed_xml()


@operation
async def put_bucket_logging(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Kept: no logs are written. Without LoggingEnabled it is turned off."""
    config = req["BucketLoggingStatus"] or {}
    target = (config.get("LoggingEnabled") or {}).get("TargetBucket")

    def write(tx: Transaction) -> None:
        bucket = state.bucket_of(tx, req)
        if target is not None and state.find_bucket(tx, target) is None:
            raise messages.no_log_target(target)
        state.put_config(tx, bucket.name, "logging", config)

    await ctx.store.transact(write)
    return {}


@operation
async def get_bucket_logging(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Empty until logging is turned on."""
    return dict(await _find(ctx, req, "logging") or {})


@operation
async def put_bucket_accelerate_configuration(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    config = req["AccelerateConfiguration"]
    if config.get("Status") not in ("Enabled", "Suspended"):
        raise messages.malformed_xml()
    if "." in req["Bucket"]:
        raise messages.invalid_request(
            "S3 Transfer Acceleration is not supported for buckets with periods (.) in names"
        )
    return await _keep(ctx, req, "accelerate", config)


@operation
async def get_bucket_accelerate_configuration(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Empty until acceleration is first set."""
    return dict(await _find(ctx, req, "accelerate") or {})


@operation
async def put_bucket_request_payment(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    config = req["RequestPaymentConfiguration"]
    if config.get("Payer") not in ("Requester", "BucketOwner"):
        raise messages.malformed_xml()
    return await _keep(ctx, req, "payment", config)


@operation
async def get_bucket_request_payment(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """The owner pays until told otherwise."""
    return dict(await _find(ctx, req, "payment") or {"Payer": "BucketOwner"})


async def _keep(ctx: Context, req: dict[str, Any], kind: str, config: Any) -> dict[str, Any]:
    def write(tx: Transaction) -> None:
        state.put_config(tx, state.bucket_of(tx, req).name, kind, config)

    await ctx.store.transact(write)
    return {}


async def _find(ctx: Context, req: dict[str, Any], kind: str) -> Any:
    return await ctx.store.read(lambda tx: state.find_config(tx, state.bucket_of(tx, req).name, kind))


def _named_putter(member: str) -> Handler:
    @operation
    async def put(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
        if req[member].get("Id") != req["Id"]:
            raise messages.malformed_xml()

        def write(tx: Transaction) -> None:
            bucket = state.bucket_of(tx, req).name
            held = state.find_config(tx, bucket, member) or {}
            state.put_config(tx, bucket, member, {**held, req["Id"]: req[member]})

        await ctx.store.transact(write)
        return {}

    return put


def _named_getter(member: str) -> Handler:
    @operation
    async def get(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
        held = await _find(ctx, req, member) or {}
        if req["Id"] not in held:
            raise _no_such_id(req["Bucket"])
        return {member: held[req["Id"]]}

    return get


def _named_deleter(member: str) -> Handler:
    @operation
    async def delete(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
        def write(tx: Transaction) -> None:
            bucket = state.bucket_of(tx, req).name
            held = state.find_config(tx, bucket, member) or {}
            if held.pop(req["Id"], None) is None:
                raise _no_such_id(req["Bucket"])
            state.put_config(tx, bucket, member, held)

        await ctx.store.transact(write)
        return {}

    return delete


def _named_lister(member: str) -> Handler:
    @operation
    async def list_all(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
        """A page of 100 in the order of their Ids; the token is the last Id given."""
        held: dict[str, Any] = await _find(ctx, req, member) or {}
        after = req.get("ContinuationToken", "")
        names = sorted(name for name in held if name > after)
        answer: dict[str, Any] = {f"{member}List": [held[name] for name in names[:_PAGE]], "IsTruncated": False}
        if after:
            answer["ContinuationToken"] = after
        if len(names) > _PAGE:
            answer |= {"IsTruncated": True, "NextContinuationToken": names[_PAGE - 1]}
        return answer

    return list_all


def _no_such_id(bucket: str) -> Exception:
    return messages.no_such_configuration("NoSuchConfiguration", "The specified configuration does not exist.", bucket)


put_bucket_metrics_configuration = _named_putter("MetricsConfiguration")
get_bucket_metrics_configuration = _named_getter("MetricsConfiguration")
delete_bucket_metrics_configuration = _named_deleter("MetricsConfiguration")
list_bucket_metrics_configurations = _named_lister("MetricsConfiguration")
put_bucket_analytics_configuration = _named_putter("AnalyticsConfiguration")
get_bucket_analytics_configuration = _named_getter("AnalyticsConfiguration")
delete_bucket_analytics_configuration = _named_deleter("AnalyticsConfiguration")
list_bucket_analytics_configurations = _named_lister("AnalyticsConfiguration")
put_bucket_inventory_configuration = _named_putter("InventoryConfiguration")
get_bucket_inventory_configuration = _named_getter("InventoryConfiguration")
delete_bucket_inventory_configuration = _named_deleter("InventoryConfiguration")
list_bucket_inventory_configurations = _named_lister("InventoryConfiguration")
put_bucket_intelligent_tiering_configuration = _named_putter("IntelligentTieringConfiguration")
get_bucket_intelligent_tiering_configuration = _named_getter("IntelligentTieringConfiguration")
delete_bucket_intelligent_tiering_configuration = _named_deleter("IntelligentTieringConfiguration")
list_bucket_intelligent_tiering_configurations = _named_lister("IntelligentTieringConfiguration")
