"""Sub-resources of a bucket that are kept and given back as they came.

Each is put, read and deleted whole; reading one that isn't set raises its own 404.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from penstock.framework.context import Context, Platform
from penstock.framework.service import operation
from penstock.services.s3 import messages, state
from penstock.storage.transactions import ReadTransaction, Transaction

Handler = Callable[[Context, dict[str, Any]], Awaitable[dict[str, Any]]]

OWNERSHIPS = ("BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter")
_PUBLIC_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
_SSE_S3 = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]}


def putter(kind: str, member: str) -> Handler:
    @operation
    async def put(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
        def write(tx: Transaction) -> None:
            state.put_config(tx, state.bucket_of(tx, req).name, kind, req[member])

        await ctx.store.transact(write)
        return {}

    return put


def getter(kind: str, shape: Callable[[Any], dict[str, Any]], code: str, text: str) -> Handler:
    @operation
    async def get(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
        config = await ctx.store.read(lambda tx: state.find_config(tx, state.bucket_of(tx, req).name, kind))
        if config is None:
            raise messages.no_such_configuration(code, text, req["Bucket"])
        return shape(config)

    return get


def deleter(kind: str) -> Handler:
    @operation
    async def delete(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
        await ctx.store.transact(lambda tx: state.delete_config(tx, state.bucket_of(tx, req).name, kind))
        return {}

    return delete


def under(member: str) -> Callable[[Any], dict[str, Any]]:
    return lambda config: {member: config}


_CORS_METHODS = ("GET", "PUT", "HEAD", "POST", "DELETE")
_CORS_RULES_MAX = 100


@operation
async def put_bucket_cors(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidRequest (400) with what S3 doesn't allow in a rule."""
    given = (req["CORSConfiguration"] or {}).get("CORSRules") or []
    if not given:
        raise messages.malformed_xml()
    if len(given) > _CORS_RULES_MAX:
        text = f"The number of CORS rules should not exceed allowed limit of {_CORS_RULES_MAX} rules."
        raise messages.invalid_request(text)
    for rule in given:
        _check_cors(rule)
    await ctx.store.transact(
        lambda tx: state.put_config(tx, state.bucket_of(tx, req).name, "cors", req["CORSConfiguration"])
    )
    return {}


def _check_cors(rule: dict[str, Any]) -> None:
    if not rule.get("AllowedMethods") or not rule.get("AllowedOrigins"):
        raise messages.malformed_xml()
    for method in rule["AllowedMethods"]:
        if method not in _CORS_METHODS:
            text = f"Found unsupported HTTP method in CORS config. Unsupported method is {method}"
            raise messages.invalid_request(text)
    for member, name in (("AllowedOrigins", "AllowedOrigin"), ("AllowedHeaders", "AllowedHeader")):
        for value in rule.get(member) or []:
            if str(value).count("*") > 1:
                raise messages.invalid_request(f'{name} "{value}" can not have more than one wildcard.')
    for value in rule.get("ExposeHeaders") or []:
        if "*" in str(value):
            raise messages.invalid_request(
                f'ExposeHeader "{value}" contains wildcard. We currently do not support wildcard for ExposeHeader.'
            )


get_bucket_cors = getter("cors", dict, "NoSuchCORSConfiguration", "The CORS configuration does not exist")
delete_bucket_cors = deleter("cors")


async def find_cors(platform: Platform, bucket: str) -> list[dict[str, Any]]:
    """The CORS rules of a bucket, for whoever stands before it; none where there is no such bucket."""
    config = await platform.store.read(lambda tx: state.find_config(tx, bucket, "cors"))
    return list(config["CORSRules"]) if config else []


@operation
async def put_public_access_block(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    config = req["PublicAccessBlockConfiguration"]
    if not config:
        raise messages.invalid_request("Must specify at least one configuration.")
    whole = {name: bool(config.get(name)) for name in _PUBLIC_BLOCKS}
    await ctx.store.transact(lambda tx: state.put_config(tx, state.bucket_of(tx, req).name, "public-access", whole))
    return {}


get_public_access_block = getter(
    "public-access",
    under("PublicAccessBlockConfiguration"),
    "NoSuchPublicAccessBlockConfiguration",
    "The public access block configuration was not found",
)
delete_public_access_block = deleter("public-access")


@operation
async def put_bucket_ownership_controls(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidBucketAclWithObjectOwnership (400) where ACLs are to go but the bucket's isn't private."""
    given = req["OwnershipControls"].get("Rules") or []
    if len(given) != 1 or given[0].get("ObjectOwnership") not in OWNERSHIPS:
        raise messages.malformed_xml()

    def write(tx: Transaction) -> None:
        bucket = state.bucket_of(tx, req)
        opened = state.find_config(tx, bucket.name, "acl") not in (None, "private")
        if opened and given[0]["ObjectOwnership"] == OWNERSHIPS[0]:
            raise messages.acl_with_ownership()
        state.put_config(tx, bucket.name, "ownership", req["OwnershipControls"])

    await ctx.store.transact(write)
    return {}


get_bucket_ownership_controls = getter(
    "ownership",
    under("OwnershipControls"),
    "OwnershipControlsNotFoundError",
    "The bucket ownership controls were not found",
)
delete_bucket_ownership_controls = deleter("ownership")
delete_bucket_encryption = deleter("encryption")


@operation
async def put_bucket_encryption(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    given = (req["ServerSideEncryptionConfiguration"] or {}).get("Rules") or []
    if len(given) != 1:
        raise messages.malformed_xml()
    default = given[0].get("ApplyServerSideEncryptionByDefault")
    if default is not None:
        if default.get("SSEAlgorithm") not in ("AES256", "aws:kms", "aws:kms:dsse"):
            raise messages.malformed_xml()
        if default.get("KMSMasterKeyID") and default["SSEAlgorithm"] == "AES256":
            raise messages.invalid_argument(
                "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse",
                "ApplyServerSideEncryptionByDefault",
            )
    rule = {"BucketKeyEnabled": False, **given[0]}

    def write(tx: Transaction) -> None:
        state.put_config(tx, state.bucket_of(tx, req).name, "encryption", {"Rules": [rule]})

    await ctx.store.transact(write)
    return {}


@operation
async def get_bucket_encryption(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Every bucket is encrypted with SSE-S3 until told otherwise."""

    def read(tx: ReadTransaction) -> Any:
        return state.find_config(tx, state.bucket_of(tx, req).name, "encryption") or _SSE_S3

    return {"ServerSideEncryptionConfiguration": await ctx.store.read(read)}
