"""What IAM is asked for each operation, and what the bucket and the object say: policy, ACLs, public access block.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from penstock.framework.authorization import refusal_of
from penstock.framework.context import Context
from penstock.framework.service import Access, Members, Permission
from penstock.kernel.errors import ServiceError
from penstock.services.s3 import messages, state
from penstock.services.s3.operations import acls, finding
from penstock.services.s3.operations.acls import Grant
from penstock.services.s3.operations.finding import source_of
from penstock.services.s3.operations.policies import is_public, statements_of
from penstock.services.s3.state import Bucket, Version
from penstock.storage.transactions import ReadTransaction


def _bucket(ctx: Context, req: Members) -> str:
    return f"arn:{ctx.scope.partition}:s3:::{req.get('Bucket', '*')}"


def _object(ctx: Context, req: Members) -> str:
    return f"{_bucket(ctx, req)}/{req.get('Key', '*')}"


def _current(ctx: Context, req: Members) -> str:
    return "" if req.get("VersionId") else _object(ctx, req)


def _version(ctx: Context, req: Members) -> str:
    return _object(ctx, req) if req.get("VersionId") else ""


def _bypassing(ctx: Context, req: Members) -> str:
    return _object(ctx, req) if req.get("BypassGovernanceRetention") else ""


def asked(ctx: Context, operation: str, req: Members) -> list[Permission] | None:
    """A batch is as many deletions: the room refuses those that it may not do, the door only notes them."""
    if operation != "DeleteObjects":
        return None
    if ctx.platform.auth == "enforce":
        return []
    return [replace(one, view=_as_deletion(named)) for named in deletions(req) for one in _DELETING]


def deletions(req: Members) -> list[Members]:
    """What a batch is made of, as requests of DeleteObject."""
    wanted = (req.get("Delete") or {}).get("Objects") or []
    shared = {"Bucket": req["Bucket"], "BypassGovernanceRetention": req.get("BypassGovernanceRetention")}
    return [{**shared, "Key": item.get("Key"), "VersionId": item.get("VersionId")} for item in wanted]


def _as_deletion(named: Members) -> Callable[[str, Members], tuple[str, Members]]:
    return lambda operation, req: ("DeleteObject", named)


def _any(ctx: Context, req: Members) -> str:
    return "*"


def _as_source(operation: str, req: Members) -> tuple[str, Members]:
    """The source of a copy is read as by GetObject."""
    return "GetObject", dict(source_of(req))


_OBJECT_ACTIONS = {
    "PutObject": "PutObject",
    "RestoreObject": "RestoreObject",
    "RenameObject": "PutObject",
    "SelectObjectContent": "GetObject",
    "GetObjectRetention": "GetObjectRetention",
    "PutObjectLegalHold": "PutObjectLegalHold",
    "GetObjectLegalHold": "GetObjectLegalHold",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "AbortMultipartUpload": "AbortMultipartUpload",
    "ListParts": "ListMultipartUploadParts",
}
_VERSIONED_ACTIONS = {
    "GetObject": "GetObject",
    "HeadObject": "GetObject",
    "GetObjectAttributes": "GetObject",
    "GetObjectTagging": "GetObjectTagging",
    "PutObjectTagging": "PutObjectTagging",
    "DeleteObjectTagging": "DeleteObjectTagging",
    "GetObjectAcl": "GetObjectAcl",
    "PutObjectAcl": "PutObjectAcl",
}
_VERSION_NAMES = {
    "GetObject": "GetObjectVersion",
    "GetObjectTagging": "GetObjectVersionTagging",
    "PutObjectTagging": "PutObjectVersionTagging",
    "DeleteObjectTagging": "DeleteObjectVersionTagging",
    "GetObjectAcl": "GetObjectVersionAcl",
    "PutObjectAcl": "PutObjectVersionAcl",
}
_BUCKET_ACTIONS = {
    "CreateBucket": "CreateBucket",
    "DeleteBucket": "DeleteBucket",
    "HeadBucket": "ListBucket",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "GetBucketLocation": "GetBucketLocation",
    "GetBucketVersioning": "GetBucketVersioning",
    "PutBucketVersioning": "PutBucketVersioning",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "GetBucketTagging": "GetBucketTagging",
    "PutBucketTagging": "PutBucketTagging",
    "DeleteBucketTagging": "PutBucketTagging",
    "GetBucketPolicy": "GetBucketPolicy",
    "PutBucketPolicy": "PutBucketPolicy",
    "DeleteBucketPolicy": "DeleteBucketPolicy",
    "GetBucketPolicyStatus": "GetBucketPolicyStatus",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
    "GetBucketReplication": "GetReplicationConfiguration",
    "PutBucketReplication": "PutReplicationConfiguration",
    "DeleteBucketReplication": "PutReplicationConfiguration",
    "GetBucketCors": "GetBucketCORS",
    "PutBucketCors": "PutBucketCORS",
    "DeleteBucketCors": "PutBucketCORS",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "GetBucketAcl": "GetBucketAcl",
    "PutBucketAcl": "PutBucketAcl",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketOwnershipControls": "GetBucketOwnershipControls",
    "PutBucketOwnershipControls": "PutBucketOwnershipControls",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    "GetBucketWebsite": "GetBucketWebsite",
    "PutBucketWebsite": "PutBucketWebsite",
    "DeleteBucketWebsite": "DeleteBucketWebsite",
    "GetBucketLogging": "GetBucketLogging",
    "PutBucketLogging": "PutBucketLogging",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "PutBucketAccelerateConfiguration": "PutAccelerateConfiguration",
    "GetBucketRequestPayment": "GetBucketRequestPayment",
    "PutBucketRequestPayment": "PutBucketRequestPayment",
    "PutBucketMetricsConfiguration": "PutMetricsConfiguration",
    "GetBucketMetricsConfiguration": "GetMetricsConfiguration",
    "DeleteBucketMetricsConfiguration": "PutMetricsConfiguration",
    "ListBucketMetricsConfigurations": "GetMetricsConfiguration",
    "PutBucketAnalyticsConfiguration": "PutAnalyticsConfiguration",
    "GetBucketAnalyticsConfiguration": "GetAnalyticsConfiguration",
    "DeleteBucketAnalyticsConfiguration": "PutAnalyticsConfiguration",
    "ListBucketAnalyticsConfigurations": "GetAnalyticsConfiguration",
    "PutBucketInventoryConfiguration": "PutInventoryConfiguration",
    "GetBucketInventoryConfiguration": "GetInventoryConfiguration",
    "DeleteBucketInventoryConfiguration": "PutInventoryConfiguration",
    "ListBucketInventoryConfigurations": "GetInventoryConfiguration",
    "PutBucketIntelligentTieringConfiguration": "PutIntelligentTieringConfiguration",
    "GetBucketIntelligentTieringConfiguration": "GetIntelligentTieringConfiguration",
    "DeleteBucketIntelligentTieringConfiguration": "PutIntelligentTieringConfiguration",
    "ListBucketIntelligentTieringConfigurations": "GetIntelligentTieringConfiguration",
}
_CONDITION_KEYS = {
    "Prefix": "prefix",
    "Delimiter": "delimiter",
    "MaxKeys": "max-keys",
    "VersionId": "VersionId",
    "ACL": "x-amz-acl",
    "GrantFullControl": "x-amz-grant-full-control",
    "GrantRead": "x-amz-grant-read",
    "GrantReadACP": "x-amz-grant-read-acp",
    "GrantWrite": "x-amz-grant-write",
    "GrantWriteACP": "x-amz-grant-write-acp",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "SSECustomerAlgorithm": "x-amz-server-side-encryption-customer-algorithm",
    "StorageClass": "x-amz-storage-class",
    "CopySource": "x-amz-copy-source",
    "MetadataDirective": "x-amz-metadata-directive",
    "WebsiteRedirectLocation": "x-amz-website-redirect-location",
    "IfNoneMatch": "if-none-match",
    "IfMatch": "if-match",
    "ObjectLockMode": "object-lock-mode",
    "ObjectLockLegalHoldStatus": "object-lock-legal-hold",
    "ObjectOwnership": "x-amz-object-ownership",
}
"""Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html"""


def _conditions(ctx: Context, req: Members) -> Mapping[str, str | list[str]]:
    found: dict[str, str | list[str]] = {
        f"s3:{key}": str(req[member]) for member, key in _CONDITION_KEYS.items() if req.get(member) is not None
    }
    tagging = req.get("Tagging")
    tags = dict(parse_qsl(tagging, keep_blank_values=True)) if isinstance(tagging, str) else {}
    if isinstance(tagging, dict):
        tags = {tag["Key"]: tag.get("Value", "") for tag in tagging.get("TagSet") or []}
    found |= {f"s3:RequestObjectTag/{name}": value for name, value in tags.items()}
    if tags:
        found["s3:RequestObjectTagKeys"] = list(tags)
    if ctx.request.headers.get("referer"):
        found["aws:Referer"] = ctx.request.headers["referer"]
    return found


_COPY = [
    Permission("s3:GetObject", _current, _conditions, _as_source),
    Permission("s3:GetObjectVersion", _version, _conditions, _as_source),
    Permission("s3:PutObject", _object, _conditions),
]
PERMISSIONS: dict[str, Sequence[Permission]] = {
    **{name: [Permission(f"s3:{action}", _object, _conditions)] for name, action in _OBJECT_ACTIONS.items()},
    **{name: [Permission(f"s3:{action}", _bucket, _conditions)] for name, action in _BUCKET_ACTIONS.items()},
    **{
        name: [
            Permission(f"s3:{action}", _current, _conditions),
            Permission(f"s3:{_VERSION_NAMES[action]}", _version, _conditions),
        ]
        for name, action in _VERSIONED_ACTIONS.items()
    },
    "ListBuckets": [Permission("s3:ListAllMyBuckets", _any)],
    "ListDirectoryBuckets": [Permission("s3:ListAllMyBuckets", _any)],
    "CopyObject": _COPY,
    "UploadPartCopy": _COPY,
}
_BYPASS = Permission("s3:BypassGovernanceRetention", _bypassing, _conditions)
_DELETING = [
    Permission("s3:DeleteObject", _current, _conditions),
    Permission("s3:DeleteObjectVersion", _version, _conditions),
    _BYPASS,
]
PERMISSIONS["DeleteObject"] = _DELETING
PERMISSIONS["PutObjectRetention"] = [Permission("s3:PutObjectRetention", _object, _conditions), _BYPASS]

_BY_BUCKET_ACL = {
    "READ": ("ListBucket", "ListBucketVersions", "ListBucketMultipartUploads"),
    "WRITE": ("PutObject", "DeleteObject", "DeleteObjectVersion", "AbortMultipartUpload", "ListMultipartUploadParts"),
    "READ_ACP": ("GetBucketAcl",),
    "WRITE_ACP": ("PutBucketAcl",),
}
_BY_OBJECT_ACL = {
    "READ": ("GetObject", "GetObjectVersion"),
    "READ_ACP": ("GetObjectAcl", "GetObjectVersionAcl"),
    "WRITE_ACP": ("PutObjectAcl", "PutObjectVersionAcl"),
}
_READING = ("GetObject", "HeadObject", "GetObjectAttributes", "GetObjectAcl", "PutObjectAcl")
_UNLOCKING = ("GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy")
"""What the owner's root may do whatever the policy denies: nobody locks themselves out.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketPolicy.html
"""

_TAGGED = (*_READING, "GetObjectTagging", "PutObjectTagging", "DeleteObjectTagging", "DeleteObject")


def resource_policy(tx: ReadTransaction, ctx: Context, operation: str, req: Members) -> str | None:
    """One policy of all that guards a bucket. One that isn't there may be asked for by anyone: they hear so."""
    if not req.get("Bucket"):
        return None
    bucket = state.find_bucket(tx, req["Bucket"])
    if bucket is None:
        return None if operation == "CreateBucket" else _allowing(["*"])
    block = acls.public_block_of(tx, bucket)
    is_foreign = ctx.principal.kind == "anonymous" or ctx.principal.account_id != bucket.account_id
    has_agreed = ctx.principal.kind != "anonymous" and req.get("RequestPayer") == "requester"
    if is_foreign and not has_agreed and finding.is_requester_paying(tx, bucket):
        return None
    statements: list[dict[str, Any]] = []
    text = state.config_of(tx, bucket, "policy")
    is_lifted = operation in _UNLOCKING and ctx.principal.kind == "root" and not is_foreign
    if text is not None and not is_lifted:
        policy = json.loads(text)
        statements = statements_of(policy)
        if block.get("RestrictPublicBuckets") and is_foreign and is_public(policy):
            statements = [statement for statement in statements if statement.get("Effect") == "Deny"]
    allowed = _allowed_by_acls(tx, ctx, bucket, operation, req, is_public_ignored=block.get("IgnorePublicAcls", False))
    if allowed:
        statements = [*statements, *json.loads(_allowing(allowed))["Statement"]]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}) if statements else None


def _allowing(actions: list[str]) -> str:
    named = [action if action == "*" else f"s3:{action}" for action in actions]
    statement = {"Effect": "Allow", "Principal": "*", "Action": named, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _allowed_by_acls(
    tx: ReadTransaction, ctx: Context, bucket: Bucket, operation: str, req: Members, *, is_public_ignored: bool
) -> list[str]:
    """The actions that ACLs give to whoever asks. What they give an account is for its own IAM to hand on."""
    who = "" if ctx.principal.kind == "anonymous" else ctx.principal.account_id

    def gives(grants: list[Grant], permission: str, owner: str) -> bool:
        groups = [grant for grant in grants if grant["Grantee"]["Type"] == "Group"] if who == owner else grants
        return acls.permits(groups, permission, who, is_public_ignored=is_public_ignored)

    actions: list[str] = []
    of_bucket = acls.grants_of_bucket(tx, bucket)
    for permission, names in _BY_BUCKET_ACL.items():
        if gives(of_bucket, permission, bucket.account_id):
            actions += names
    if operation in _READING and req.get("Key"):
        version = state.find_version(tx, bucket.name, req["Key"], req.get("VersionId"))
        if version is None or version.is_delete_marker:
            return actions + (list(_BY_OBJECT_ACL["READ"]) if "ListBucket" in actions else [])
        of_object = acls.grants_of_object(tx, bucket, version)
        for permission, names in _BY_OBJECT_ACL.items():
            if gives(of_object, permission, version.owner or bucket.account_id):
                actions += names
    return actions


async def as_told(ctx: Context, req: Members, error: ServiceError) -> ServiceError:
    """What a reader hears of a key that isn't there: who may not list the bucket isn't told so.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    if error.code != "NoSuchKey":
        return error
    is_hidden = await refusal_of(ctx, "s3", "ListObjectsV2", {"Bucket": req["Bucket"]})
    return messages.access_denied() if is_hidden else error


def owner(tx: ReadTransaction, ctx: Context, operation: str, req: Members) -> str | None:
    """The account that owns what is asked for: the bucket's, or that of an object which someone else wrote."""
    bucket = state.find_bucket(tx, req["Bucket"]) if req.get("Bucket") else None
    if bucket is None:
        return None
    version = _named(tx, operation, req, _READING)
    is_elsewhere = version is not None and version.owner and acls.ownership_of(tx, bucket) != acls.ENFORCED
    return version.owner if version is not None and is_elsewhere else bucket.account_id


def values(tx: ReadTransaction, ctx: Context, operation: str, req: Members) -> dict[str, str | list[str]]:
    """Condition keys that only the store knows: the tags of the object that is asked for."""
    version = _named(tx, operation, req, _TAGGED)
    return {f"s3:ExistingObjectTag/{name}": value for name, value in version.tags.items()} if version else {}


def _named(tx: ReadTransaction, operation: str, req: Members, operations: tuple[str, ...]) -> Version | None:
    if operation not in operations or not req.get("Key") or not req.get("Bucket"):
        return None
    return state.find_version(tx, req["Bucket"], req["Key"], req.get("VersionId"))


ACCESS = Access(permissions=PERMISSIONS, resource_policy=resource_policy, owner=owner, values=values, asked=asked)
