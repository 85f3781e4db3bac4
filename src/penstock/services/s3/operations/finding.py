"""The version that a request names, or the source that it copies from."""

from typing import Any
from urllib.parse import parse_qs, unquote

from penstock.services.s3 import messages, rules, state
from penstock.services.s3.state import Bucket, Version
from penstock.storage.transactions import ReadTransaction


def find(tx: ReadTransaction, req: dict[str, Any]) -> tuple[Bucket, Version]:
    """The version that Bucket, Key and VersionId name. Raises NoSuchBucket, NoSuchKey, NoSuchVersion."""
    bucket = state.bucket_of(tx, req)
    version_id = req.get("VersionId")
    rules.check_version_id(version_id)
    version = state.find_version(tx, bucket.name, req["Key"], version_id)
    if version is None:
        raise messages.no_such_version(req["Key"], version_id) if version_id else messages.no_such_key(req["Key"])
    if version.is_delete_marker:
        headers = rules.marker_headers(version)
        raise messages.marker_not_allowed(headers) if version_id else messages.no_such_key(req["Key"], headers)
    return bucket, version


def source_of(req: dict[str, Any]) -> dict[str, Any]:
    """`bucket/key?versionId=..`, percent-encoded, or the members as boto3 takes them."""
    source = req["CopySource"]
    if isinstance(source, dict):
        return source
    path, _, query = source.partition("?versionId=")
    bucket, _, key = unquote(path).removeprefix("/").partition("/")
    if not bucket or not key:
        text = "Invalid copy source object key" if bucket else "Invalid copy source bucket name"
        raise messages.invalid_argument(text, "x-amz-copy-source", source)
    version_id = parse_qs(f"versionId={query}").get("versionId")
    return {"Bucket": bucket, "Key": key, **({"VersionId": version_id[0]} if version_id else {})}


def is_requester_paying(tx: ReadTransaction, bucket: Bucket) -> bool:
    return (state.config_of(tx, bucket, "payment") or {}).get("Payer") == "Requester"


def charged(tx: ReadTransaction, bucket: Bucket, req: dict[str, Any]) -> dict[str, str]:
    """RequestCharged, where the caller agrees to pay and the bucket wants it to.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/RequesterPaysBuckets.html
    """
    is_agreed = req.get("RequestPayer") == "requester"
    return {"RequestCharged": "requester"} if is_agreed and is_requester_paying(tx, bucket) else {}
