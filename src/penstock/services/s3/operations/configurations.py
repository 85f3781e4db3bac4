"""Sub-resources of a bucket that are kept and given back as they came.

Each is put, read and deleted whole; reading one that isn't set raises its own 404.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from penstock.framework.context import Context, Platform
from penstock.framework.service import operation
from penstock.services.s3 import messages, state
from penstock.services.s3.operations.buckets import owner
from penstock.services.s3.operations.objects import find
from penstock.storage.transactions import ReadTransaction, Transaction

Handler = Callable[[Context, dict[str, Any]], Awaitable[dict[str, Any]]]

_SSE_S3 = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]}
_ALL_USERS = {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"}
_ANY_AWS_USER = {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"}
_CANNED = {
    "private": [],
    "bucket-owner-read": [],
    "bucket-owner-full-control": [],
    "aws-exec-read": [],
    "log-delivery-write": [],
    "public-read": [(_ALL_USERS, "READ")],
    "public-read-write": [(_ALL_USERS, "READ"), (_ALL_USERS, "WRITE")],
    "authenticated-read": [(_ANY_AWS_USER, "READ")],
}


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
        await ctx.store.transact(lambda tx: tx.delete(("s3", "config", state.bucket_of(tx, req).name, kind)))
        return {}

    return delete


def _under(member: str) -> Callable[[Any], dict[str, Any]]:
    return lambda config: {member: config}


put_bucket_cors = putter("cors", "CORSConfiguration")
get_bucket_cors = getter("cors", dict, "NoSuchCORSConfiguration", "The CORS configuration does not exist")
delete_bucket_cors = deleter("cors")


async def find_cors(platform: Platform, bucket: str) -> list[dict[str, Any]]:
    """The CORS rules of a bucket, for whoever stands before it; none where there is no such bucket."""
    config = await platform.store.read(lambda tx: state.find_config(tx, bucket, "cors"))
    return list(config["CORSRules"]) if config else []


put_public_access_block = putter("public-access", "PublicAccessBlockConfiguration")
get_public_access_block = getter(
    "public-access",
    _under("PublicAccessBlockConfiguration"),
    "NoSuchPublicAccessBlockConfiguration",
    "The public access block configuration was not found",
)
delete_public_access_block = deleter("public-access")
put_bucket_ownership_controls = putter("ownership", "OwnershipControls")
get_bucket_ownership_controls = getter(
    "ownership",
    _under("OwnershipControls"),
    "OwnershipControlsNotFoundError",
    "The bucket ownership controls were not found",
)
delete_bucket_ownership_controls = deleter("ownership")
get_bucket_policy = getter("policy", _under("Policy"), "NoSuchBucketPolicy", "The bucket policy does not exist")
delete_bucket_policy = deleter("policy")
put_bucket_encryption = putter("encryption", "ServerSideEncryptionConfiguration")
delete_bucket_encryption = deleter("encryption")


@operation
async def put_bucket_policy(ctx: Context, req: dict[str, Any]) -> None:
    """Raises MalformedPolicy (400) for what is no JSON object with statements."""
    _check_policy(req["Policy"])

    def write(tx: Transaction) -> None:
        state.put_config(tx, state.bucket_of(tx, req).name, "policy", req["Policy"])

    await ctx.store.transact(write)


def _check_policy(text: str) -> None:
    try:
        policy = json.loads(text)
    except ValueError:
        policy = None
    if not isinstance(policy, dict):
        raise messages.malformed_policy("Policies must be valid JSON and the first byte must be '{'")
    if not policy.get("Statement"):
        raise messages.malformed_policy("Missing required field Statement")


@operation
async def get_bucket_encryption(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Every bucket is encrypted with SSE-S3 until told otherwise."""

    def read(tx: ReadTransaction) -> Any:
        return state.find_config(tx, state.bucket_of(tx, req).name, "encryption") or _SSE_S3

    return {"ServerSideEncryptionConfiguration": await ctx.store.read(read)}


@operation
async def get_bucket_acl(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def read(tx: ReadTransaction) -> dict[str, Any]:
        bucket = state.bucket_of(tx, req)
        return _grants(bucket.account_id, state.find_config(tx, bucket.name, "acl") or "private")

    return await ctx.store.read(read)


@operation
async def put_bucket_acl(ctx: Context, req: dict[str, Any]) -> None:
    """Canned ACLs only."""
    canned = _canned(req)
    await ctx.store.transact(lambda tx: state.put_config(tx, state.bucket_of(tx, req).name, "acl", canned))


@operation
async def get_object_acl(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    bucket, version = await ctx.store.read(lambda tx: find(tx, req))
    return _grants(bucket.account_id, version.acl)


@operation
async def put_object_acl(ctx: Context, req: dict[str, Any]) -> None:
    """Canned ACLs only."""
    canned = _canned(req)

    def write(tx: Transaction) -> None:
        bucket, version = find(tx, req)
        version.acl = canned
        state.rewrite(tx, bucket.name, version)

    await ctx.store.transact(write)


def _canned(req: dict[str, Any]) -> str:
    canned = req.get("ACL")
    if canned not in _CANNED:
        raise messages.not_implemented("Only canned ACLs (x-amz-acl) can be set")
    return str(canned)


def _grants(account_id: str, canned: str) -> dict[str, Any]:
    me = owner(account_id)
    grants = [({"Type": "CanonicalUser", **me}, "FULL_CONTROL"), *_CANNED.get(canned, [])]
    return {"Owner": me, "Grants": [{"Grantee": who, "Permission": what} for who, what in grants]}
