"""ACLs: who else may read or write a bucket or an object, and whether the bucket's ownership lets ACLs say so.

A canned ACL is kept by its name, any other by its grants. A bucket whose ownership was never set is as one from before
April 2023: it takes ACLs.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html
"""

import re
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.scope import Principal
from penstock.services.s3 import events, messages, state
from penstock.services.s3.operations.finding import find
from penstock.services.s3.state import Bucket, Version
from penstock.storage.transactions import ReadTransaction, Transaction

Grant = dict[str, Any]

_GROUPS = "http://acs.amazonaws.com/groups/"
ALL_USERS = f"{_GROUPS}global/AllUsers"
ANY_AWS_USER = f"{_GROUPS}global/AuthenticatedUsers"
_LOG_DELIVERY = f"{_GROUPS}s3/LogDelivery"
_URIS = (ALL_USERS, ANY_AWS_USER, _LOG_DELIVERY)
_EC2_ID = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"
_CANNED: dict[str, list[tuple[str, str]]] = {
    "private": [],
    "bucket-owner-read": [],
    "bucket-owner-full-control": [],
    "aws-exec-read": [(_EC2_ID, "READ")],
    "log-delivery-write": [(_LOG_DELIVERY, "WRITE"), (_LOG_DELIVERY, "READ_ACP")],
    "public-read": [(ALL_USERS, "READ")],
    "public-read-write": [(ALL_USERS, "READ"), (ALL_USERS, "WRITE")],
    "authenticated-read": [(ANY_AWS_USER, "READ")],
}
_BUCKET_OWNER = {"bucket-owner-read": "READ", "bucket-owner-full-control": "FULL_CONTROL"}
_HEADERS = {
    "GrantFullControl": "FULL_CONTROL",
    "GrantRead": "READ",
    "GrantReadACP": "READ_ACP",
    "GrantWrite": "WRITE",
    "GrantWriteACP": "WRITE_ACP",
}
_PERMISSIONS = tuple(_HEADERS.values())
_GRANTEE = re.compile(r'\s*(id|uri|emailAddress)\s*=\s*"?([^",]*)"?\s*')
_CANONICAL_ID = re.compile(r"[0-9a-f]{64}")
_GRANTS_MAX = 100
ENFORCED = "BucketOwnerEnforced"


def ownership_of(tx: ReadTransaction, bucket: Bucket) -> str:
    """ObjectOwnership; "" where it was never set."""
    config = state.config_of(tx, bucket, "ownership")
    return str(config["Rules"][0]["ObjectOwnership"]) if config else ""


def public_block_of(tx: ReadTransaction, bucket: Bucket) -> dict[str, bool]:
    return dict(state.config_of(tx, bucket, "public-access") or {})


def granted_in_headers(req: dict[str, Any]) -> list[Grant]:
    """What the x-amz-grant-* headers say. Raises InvalidRequest (400) beside a canned ACL, InvalidArgument (400)."""
    grants: list[Grant] = []
    for member, permission in _HEADERS.items():
        for item in str(req[member] or "").split(",") if member in req else ():
            if item.strip():
                grants.append({"Grantee": _grantee_of(item), "Permission": permission})
    if grants and req.get("ACL"):
        raise messages.invalid_request("Specifying both Canned ACLs and Header Grants is not allowed")
    if req.get("ACL") and req["ACL"] not in _CANNED:
        raise messages.invalid_argument("", "x-amz-acl", req["ACL"])
    return grants


def _grantee_of(item: str) -> dict[str, str]:
    match = _GRANTEE.fullmatch(item)
    if match is None:
        raise messages.invalid_argument("Argument format not recognized", "x-amz-grant", item.strip())
    kind, value = match.groups()
    if kind == "id":
        return _checked({"Type": "CanonicalUser", "ID": value})
    if kind == "uri":
        return _checked({"Type": "Group", "URI": value})
    return _checked({"Type": "AmazonCustomerByEmail", "EmailAddress": value})


def _checked(grantee: dict[str, Any]) -> dict[str, str]:
    """A grantee as it is kept."""
    kind = grantee.get("Type")
    if kind == "CanonicalUser":
        who = str(grantee.get("ID") or "")
        if not _CANONICAL_ID.fullmatch(who):
            raise messages.invalid_argument("Invalid id", "CanonicalUser/ID", who)
        return {"Type": kind, "ID": who}
    if kind == "Group":
        if grantee.get("URI") not in _URIS:
            raise messages.invalid_argument("Invalid group uri", "Group/URI", str(grantee.get("URI")))
        return {"Type": kind, "URI": grantee["URI"]}
    if kind == "AmazonCustomerByEmail":
        raise messages.unresolvable_email(str(grantee.get("EmailAddress") or ""))
    raise messages.malformed_xml()


def check_allowed(tx: ReadTransaction, bucket: Bucket, req: dict[str, Any]) -> None:
    """Whether a new object may bring its ACL along.

    Raises AccessControlListNotSupported (400), or AccessDenied (403) where public ACLs are blocked.
    """
    grants = granted_in_headers(req)
    canned = req.get("ACL")
    if not grants and not canned:
        return
    if ownership_of(tx, bucket) == ENFORCED and not _gives_all_to_owner(canned, grants, bucket):
        raise messages.acls_not_supported()
    _check_public(tx, bucket, canned or "", grants)


def _gives_all_to_owner(canned: str | None, grants: list[Grant], bucket: Bucket) -> bool:
    """The only ACL that a bucket without ACLs takes."""
    if canned:
        return canned == "bucket-owner-full-control"
    owner_id = state.canonical_id(bucket.account_id)
    return all(item["Permission"] == "FULL_CONTROL" and item["Grantee"].get("ID") == owner_id for item in grants)


def _check_public(tx: ReadTransaction, bucket: Bucket, canned: str, grants: list[Grant]) -> None:
    if not public_block_of(tx, bucket).get("BlockPublicAcls"):
        return
    uris = {who for who, _ in _CANNED.get(canned, ())} | {item["Grantee"].get("URI") for item in grants}
    if uris & {ALL_USERS, ANY_AWS_USER}:
        raise messages.access_denied()


def check_new_bucket(req: dict[str, Any]) -> None:
    """An ACL that opens a new bucket can't stand beside BucketOwnerEnforced."""
    grants, canned = granted_in_headers(req), req.get("ACL") or "private"
    if req.get("ObjectOwnership") == ENFORCED and (grants or canned != "private"):
        raise messages.acl_with_ownership()


def keep_bucket_acl(tx: Transaction, bucket: str, req: dict[str, Any]) -> None:
    grants = granted_in_headers(req)
    if grants or req.get("ACL"):
        state.put_config(tx, bucket, "acl", {"Grants": grants} if grants else req["ACL"])


def grants_of_bucket(tx: ReadTransaction, bucket: Bucket) -> list[Grant]:
    config = state.config_of(tx, bucket, "acl")
    if ownership_of(tx, bucket) == ENFORCED:
        config = None
    if isinstance(config, dict):
        return list(config["Grants"])
    return _expanded(config or "private", bucket.account_id, bucket.account_id)


def grants_of_object(tx: ReadTransaction, bucket: Bucket, version: Version) -> list[Grant]:
    if ownership_of(tx, bucket) == ENFORCED:
        return _expanded("private", bucket.account_id, bucket.account_id)
    if version.grants:
        return version.grants
    return _expanded(version.acl, version.owner or bucket.account_id, bucket.account_id)


def owner_of_new(tx: ReadTransaction, bucket: Bucket, version: Version, principal: Principal) -> str:
    """The account that owns a new object where that isn't the bucket's: a writer from elsewhere, if ACLs are on.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html
    """
    writer = version.owner or principal.account_id
    if writer in ("", bucket.account_id) or principal.kind in ("service", "anonymous"):
        return ""
    ownership = ownership_of(tx, bucket)
    if ownership == ENFORCED or (ownership == "BucketOwnerPreferred" and version.acl == "bucket-owner-full-control"):
        return ""
    return writer


def _expanded(canned: str, account_id: str, bucket_account_id: str) -> list[Grant]:
    grants = [(state.canonical_id(account_id), "FULL_CONTROL"), *_CANNED.get(canned, [])]
    if canned in _BUCKET_OWNER and account_id != bucket_account_id:
        grants.append((state.canonical_id(bucket_account_id), _BUCKET_OWNER[canned]))
    return [{"Grantee": _named(who), "Permission": what} for who, what in grants]


def _named(who: str) -> dict[str, str]:
    return {"Type": "Group", "URI": who} if who.startswith("http") else {"Type": "CanonicalUser", "ID": who}


def _answer(account_id: str, grants: list[Grant]) -> dict[str, Any]:
    shown = []
    for item in grants:
        who = dict(item["Grantee"])
        if who["Type"] == "CanonicalUser":
            who["DisplayName"] = "webfile"
        shown.append({"Grantee": who, "Permission": item["Permission"]})
    return {"Owner": {"ID": state.canonical_id(account_id), "DisplayName": "webfile"}, "Grants": shown}


@operation
async def get_bucket_acl(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def read(tx: ReadTransaction) -> dict[str, Any]:
        bucket = state.bucket_of(tx, req)
        return _answer(bucket.account_id, grants_of_bucket(tx, bucket))

    return await ctx.store.read(read)


@operation
async def put_bucket_acl(ctx: Context, req: dict[str, Any]) -> None:
    def write(tx: Transaction) -> None:
        bucket = state.bucket_of(tx, req)
        canned, grants = _wanted(req, bucket.account_id)
        if ownership_of(tx, bucket) == ENFORCED and canned != "private":
            raise messages.acls_not_supported()
        _check_public(tx, bucket, canned, grants)
        state.put_config(tx, bucket.name, "acl", canned or {"Grants": grants})

    await ctx.store.transact(write)


@operation
async def get_object_acl(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def read(tx: ReadTransaction) -> dict[str, Any]:
        bucket, version = find(tx, req)
        return _answer(version.owner or bucket.account_id, grants_of_object(tx, bucket, version))

    return await ctx.store.read(read)


@operation
async def put_object_acl(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()

    def write(tx: Transaction) -> None:
        bucket, version = find(tx, req)
        canned, grants = _wanted(req, version.owner or bucket.account_id)
        if ownership_of(tx, bucket) == ENFORCED and canned != "bucket-owner-full-control":
            raise messages.acls_not_supported()
        _check_public(tx, bucket, canned, grants)
        version.acl, version.grants = canned or "private", grants
        state.rewrite(tx, bucket.name, version)
        events.notify(tx, ctx, bucket, "ObjectAcl:Put", version, now_ms)

    await ctx.store.transact(write)
    return {}


def _wanted(req: dict[str, Any], owner_account_id: str) -> tuple[str, list[Grant]]:
    """The (canned ACL, grants) that a request sets: one of its three ways, one of the two."""
    in_headers = granted_in_headers(req)
    policy = req.get("AccessControlPolicy")
    if policy is not None and (in_headers or req.get("ACL")):
        raise messages.unexpected_content()
    if req.get("ACL"):
        return str(req["ACL"]), []
    if in_headers:
        return "", in_headers
    if policy is None:
        raise messages.missing_security_header()
    owner = (policy.get("Owner") or {}).get("ID")
    if owner is None:
        raise messages.malformed_acl()
    if not _CANONICAL_ID.fullmatch(owner):
        raise messages.invalid_argument("Invalid id", "CanonicalUser/ID", owner)
    if owner != state.canonical_id(owner_account_id):
        raise messages.access_denied()
    grants = []
    for item in policy.get("Grants") or []:
        if item.get("Permission") not in _PERMISSIONS or not item.get("Grantee"):
            raise messages.malformed_acl()
        grants.append({"Grantee": _checked(item["Grantee"]), "Permission": item["Permission"]})
    if len(grants) > _GRANTS_MAX:
        raise messages.malformed_acl()
    return "", grants


def permits(grants: list[Grant], permission: str, account_id: str, *, is_public_ignored: bool) -> bool:
    """Whether a grant gives `permission` to whoever asks: an account, or "" for nobody in particular."""
    for item in grants:
        if item["Permission"] not in (permission, "FULL_CONTROL"):
            continue
        who = item["Grantee"]
        if who.get("URI") == ALL_USERS or (who.get("URI") == ANY_AWS_USER and account_id):
            if not is_public_ignored:
                return True
        elif account_id and who.get("ID") == state.canonical_id(account_id):
            return True
    return False
