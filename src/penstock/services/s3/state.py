"""What the room keeps, and under which keys.

("s3", "bucket", name)              Bucket; names are one space for all accounts
("s3", "owned", account, name)      index for ListBuckets
("s3", "config", bucket, kind)      a sub-resource as its members: notification, policy, cors ...
("s3", "current", bucket, key)      Version that a plain GET sees, delete markers included
("s3", "older", bucket, key, -order)  versions behind it, newest first
("s3", "data", id)                  bytes of a small body
("s3", "secret")                    what the keys of encrypted bytes are made of
("s3", "upload", bucket, key, id)   Upload; ("s3", "part", id, number): Part
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import orjson

from penstock.services.s3 import limits, messages
from penstock.storage import outbox
from penstock.storage.transactions import ReadTransaction, Transaction

DELETE_BLOB = "s3.delete_blob"
NULL = "null"
_BLOBS_AT_ONCE = 500


@dataclass(slots=True)
class Bucket:
    """`versioning` is "" until it is first set, then Enabled or Suspended.

    configs   the kinds of configuration that are set, so that a put needn't look for them; None: not known
    """

    name: str
    account_id: str
    region: str
    created_ms: int
    versioning: str = ""
    has_object_lock: bool = False
    configs: list[str] | None = None


@dataclass(slots=True)
class Content:
    """Where bytes are: in the store under `data_id`, or in blob `blob_id`; neither if empty."""

    size: int
    etag: str
    blob_id: str = ""
    data_id: str = ""
    checksums: dict[str, str] = field(default_factory=dict)
    checksum_type: str = "FULL_OBJECT"
    salt: str = ""


@dataclass(slots=True)
class Version:
    """An object version or delete marker. `headers` are the members that GET gives back as they came.

    parts    (number, size, checksums) of a multipart upload
    blobs    where each part's bytes are, "" for an empty one; then `blob_id` is empty
    order    grows with every change of the key; also the sequencer of its event
    sealed   (size, salt) of each run of encrypted bytes; empty where they lie as they are
    grants   an ACL that isn't canned
    lock_until_ms, lock_mode, has_legal_hold      what keeps the version from being deleted
    restored_until_ms    how long a restored copy of an archived object can be read
    replicated           ReplicationStatus
    owner    the account that owns the object where that isn't the bucket's
    upload_id        the multipart upload that it came by
    became_old_ms    when another version took its place
    """

    key: str
    size: int = 0
    etag: str = ""
    modified_ms: int = 0
    version_id: str = NULL
    order: int = 0
    blob_id: str = ""
    data_id: str = ""
    blobs: list[str] = field(default_factory=list)
    is_delete_marker: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)
    checksum_type: str = "FULL_OBJECT"
    parts: list[tuple[int, int, dict[str, str]]] = field(default_factory=list)
    acl: str = "private"
    grants: list[dict[str, Any]] = field(default_factory=list)
    sealed: list[tuple[int, str]] = field(default_factory=list)
    lock_mode: str = ""
    lock_until_ms: int = 0
    has_legal_hold: bool = False
    restored_until_ms: int = 0
    replicated: str = ""
    owner: str = ""
    upload_id: str = ""
    became_old_ms: int = 0


@dataclass(slots=True)
class Upload:
    id: str
    key: str
    started_ms: int
    headers: dict[str, str]
    metadata: dict[str, str]
    tags: dict[str, str]
    algorithm: str = ""
    checksum_type: str = ""
    acl: str = "private"
    grants: list[dict[str, Any]] = field(default_factory=list)
    lock: dict[str, Any] = field(default_factory=dict)
    is_algorithm_named: bool = True
    owner: str = ""


@dataclass(slots=True)
class Part:
    number: int
    modified_ms: int
    content: Content


def get_bucket(tx: ReadTransaction, name: str) -> Bucket:
    value = tx.get(("s3", "bucket", name))
    if value is None:
        raise messages.no_such_bucket(name)
    return Bucket(**orjson.loads(value))


def bucket_of(tx: ReadTransaction, req: dict[str, Any]) -> Bucket:
    """The bucket that a request names. Raises AccessDenied (403) where it isn't ExpectedBucketOwner's."""
    bucket = get_bucket(tx, req["Bucket"])
    check_owner(bucket, req)
    return bucket


def check_owner(bucket: Bucket, req: dict[str, Any]) -> None:
    """Raises AccessDenied (403) where the request expects another account to own the bucket."""
    expected = req.get("ExpectedBucketOwner")
    if expected is not None and expected != bucket.account_id:
        raise messages.access_denied()


def find_bucket(tx: ReadTransaction, name: str) -> Bucket | None:
    value = tx.get(("s3", "bucket", name))
    return Bucket(**orjson.loads(value)) if value else None


def put_bucket(tx: Transaction, bucket: Bucket) -> None:
    tx.put(("s3", "bucket", bucket.name), orjson.dumps(bucket))
    tx.put(("s3", "owned", bucket.account_id, bucket.name), b"")


def delete_bucket(tx: Transaction, bucket: Bucket) -> None:
    tx.delete(("s3", "bucket", bucket.name))
    tx.delete(("s3", "owned", bucket.account_id, bucket.name))
    tx.clear(("s3", "config", bucket.name))


def find_config(tx: ReadTransaction, bucket: str, kind: str) -> Any:
    value = tx.get(("s3", "config", bucket, kind))
    return None if value is None else orjson.loads(value)


def config_of(tx: ReadTransaction, bucket: Bucket, kind: str) -> Any:
    """`find_config`, without a look where the bucket says that there is none."""
    if bucket.configs is not None and kind not in bucket.configs:
        return None
    return find_config(tx, bucket.name, kind)


def put_config(tx: Transaction, bucket: str, kind: str, members: Any) -> None:
    tx.put(("s3", "config", bucket, kind), orjson.dumps(members, option=orjson.OPT_UTC_Z))
    _note_config(tx, bucket, kind, is_set=True)


def delete_config(tx: Transaction, bucket: str, kind: str) -> None:
    tx.delete(("s3", "config", bucket, kind))
    _note_config(tx, bucket, kind, is_set=False)


def _note_config(tx: Transaction, name: str, kind: str, *, is_set: bool) -> None:
    bucket = find_bucket(tx, name)
    if bucket is None or bucket.configs is None or (kind in bucket.configs) == is_set:
        return
    bucket.configs = sorted({*bucket.configs, kind} if is_set else set(bucket.configs) - {kind})
    put_bucket(tx, bucket)


def find_current(tx: ReadTransaction, bucket: str, key: str) -> Version | None:
    value = tx.get(("s3", "current", bucket, key))
    return Version(**orjson.loads(value)) if value else None


_VERSION_DEFAULTS = [(item.name, item.default) for item in fields(Version)]


def dump_version(version: Version) -> bytes:
    """Without what is as it would be anyway: a listing reads a thousand of these."""
    members = {
        name: value for name, default in _VERSION_DEFAULTS if (value := getattr(version, name)) and value != default
    }
    return orjson.dumps(members)


def read_version(value: bytes) -> Version:
    return Version(**orjson.loads(value))


def older(tx: ReadTransaction, bucket: str, key: str) -> Iterator[Version]:
    for _, value in tx.range(("s3", "older", bucket, key)):
        yield read_version(value)


def find_version(tx: ReadTransaction, bucket: str, key: str, version_id: str | None) -> Version | None:
    """The current version, or the one named."""
    current = find_current(tx, bucket, key)
    if version_id is None or current is None or current.version_id == version_id:
        return current
    return next((version for version in older(tx, bucket, key) if version.version_id == version_id), None)


def put_current(tx: Transaction, bucket: Bucket, version: Version, now_ms: int) -> None:
    """Make `version` the current one; what it replaces is kept or freed as the bucket's versioning says."""
    before = find_current(tx, bucket.name, version.key)
    version.order = max(now_ms * 1000, before.order + 1 if before else 0)
    if before is not None:
        if before.version_id == version.version_id:
            free(tx, before, now_ms)
        else:
            before.became_old_ms = now_ms
            tx.put(("s3", "older", bucket.name, before.key, -before.order), dump_version(before))
            if version.version_id == NULL:
                _drop_older(tx, bucket.name, version.key, NULL, now_ms)
    tx.put(("s3", "current", bucket.name, version.key), dump_version(version))


def rewrite(tx: Transaction, bucket: str, version: Version) -> None:
    """Write back a version whose tags or ACL changed, where it is."""
    current = find_current(tx, bucket, version.key)
    if current is not None and current.version_id == version.version_id:
        tx.put(("s3", "current", bucket, version.key), dump_version(version))
    else:
        tx.put(("s3", "older", bucket, version.key, -version.order), dump_version(version))


def delete_version(tx: Transaction, bucket: str, version: Version, now_ms: int) -> None:
    """Remove one version for good; the newest of the others becomes current."""
    current = find_current(tx, bucket, version.key)
    if current is None or current.version_id != version.version_id:
        _drop_older(tx, bucket, version.key, version.version_id, now_ms)
        return
    free(tx, current, now_ms)
    for key, value in tx.range(("s3", "older", bucket, version.key), limit=1):
        newest = read_version(value)
        newest.became_old_ms = 0
        tx.put(("s3", "current", bucket, version.key), dump_version(newest))
        tx.delete(key)
        return
    tx.delete(("s3", "current", bucket, version.key))


def _drop_older(tx: Transaction, bucket: str, key: str, version_id: str, now_ms: int) -> None:
    for version in older(tx, bucket, key):
        if version.version_id == version_id:
            free(tx, version, now_ms)
            tx.delete(("s3", "older", bucket, key, -version.order))
            return


def free(tx: Transaction, content: Version | Content, now_ms: int) -> None:
    """Drop the bytes behind a version or a part: small ones now, a blob once its readers have gone."""
    if content.data_id:
        tx.delete(("s3", "data", content.data_id))
    blobs = [content.blob_id] if content.blob_id else []
    if isinstance(content, Version):
        blobs += [blob for blob in content.blobs if blob]
    for first in range(0, len(blobs), _BLOBS_AT_ONCE):
        some = blobs[first : first + _BLOBS_AT_ONCE]
        outbox.add(tx, DELETE_BLOB, {"blobs": some}, due_ms=now_ms + limits.BLOB_GRACE_MS, id=some[0])


def get_upload(tx: ReadTransaction, bucket: str, key: str, upload_id: str) -> Upload:
    value = tx.get(("s3", "upload", bucket, key, upload_id))
    if value is None:
        raise messages.no_such_upload(upload_id)
    return Upload(**orjson.loads(value))


def put_upload(tx: Transaction, bucket: str, upload: Upload) -> None:
    tx.put(("s3", "upload", bucket, upload.key, upload.id), orjson.dumps(upload))


def put_part(tx: Transaction, upload_id: str, part: Part, now_ms: int) -> None:
    key = ("s3", "part", upload_id, part.number)
    before = tx.get(key)
    if before is not None:
        free(tx, _read_part(before).content, now_ms)
    tx.put(key, orjson.dumps(part))


def parts(tx: ReadTransaction, upload_id: str, *, after: int = 0, limit: int | None = None) -> list[Part]:
    root = ("s3", "part", upload_id)
    return [_read_part(value) for _, value in tx.range(root, begin=(*root, after + 1), limit=limit)]


def _read_part(value: bytes) -> Part:
    stored = orjson.loads(value)
    return Part(stored["number"], stored["modified_ms"], Content(**stored["content"]))


def uploads(tx: ReadTransaction, bucket: str) -> list[Upload]:
    return [Upload(**orjson.loads(value)) for _, value in tx.range(("s3", "upload", bucket))]


def drop_upload(
    tx: Transaction, bucket: str, upload: Upload, now_ms: int, *, kept: frozenset[str] = frozenset()
) -> None:
    """Abort or complete: the parts' bytes go too, but for the blobs that are `kept`."""
    for part in parts(tx, upload.id):
        if part.content.blob_id not in kept:
            free(tx, part.content, now_ms)
    delete_upload(tx, bucket, upload)


def delete_upload(tx: Transaction, bucket: str, upload: Upload) -> None:
    tx.delete(("s3", "upload", bucket, upload.key, upload.id))
    tx.clear(("s3", "part", upload.id))


def canonical_id(account_id: str) -> str:
    """The account's canonical user id: 64 hex digits."""
    return hashlib.sha256(account_id.encode()).hexdigest()
