"""The version that a request names."""

from typing import Any

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
