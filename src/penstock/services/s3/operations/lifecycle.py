"""Lifecycle configurations: checked, kept, and carried out bucket by bucket.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html
"""

from datetime import UTC, datetime
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.s3 import events, messages, rules, state
from penstock.services.s3.operations import expiry, locks
from penstock.services.s3.operations.configurations import deleter
from penstock.services.s3.operations.expiry import Rule
from penstock.services.s3.operations.objects import new_version_id
from penstock.services.s3.state import Bucket, Version
from penstock.storage import outbox
from penstock.storage.transactions import Transaction

RUN = "s3.lifecycle"
_RULES_MAX = 1000
_ID_MAX = 255
_BATCH = 500
_DEFAULT_SIZE = "all_storage_classes_128K"
_SIZES = (_DEFAULT_SIZE, "varies_by_storage_class")
_CLASSES = ("STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "GLACIER_IR", "DEEP_ARCHIVE")
_INFREQUENT = ("STANDARD_IA", "ONEZONE_IA")
_ACTIONS = (
    "Expiration",
    "Transitions",
    "NoncurrentVersionExpiration",
    "NoncurrentVersionTransitions",
    "AbortIncompleteMultipartUpload",
)

delete_bucket_lifecycle = deleter(expiry.LIFECYCLE)


@operation
async def put_bucket_lifecycle_configuration(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Replace the configuration; the next midnight (UTC) is the first at which it acts."""
    given = (req.get("LifecycleConfiguration") or {}).get("Rules") or []
    if not 1 <= len(given) <= _RULES_MAX:
        raise messages.malformed_xml()
    size = req.get("TransitionDefaultMinimumObjectSize") or _DEFAULT_SIZE
    if size not in _SIZES:
        raise messages.invalid_request(f"Invalid TransitionDefaultMinimumObjectSize found: {size}")
    for item in given:
        _check(item)
    kept = [{**item, "ID": item.get("ID") or ctx.entropy.uuid()} for item in given]
    if len({item["ID"] for item in kept}) != len(kept):
        text = "Rule ID must be unique. Found same ID for more than one rule"
        raise messages.invalid_argument(text)
    config = {"Rules": kept, "TransitionDefaultMinimumObjectSize": size}
    due_ms = expiry.next_midnight_ms(ctx.clock.now_ms())

    def write(tx: Transaction) -> None:
        bucket = state.bucket_of(tx, req)
        state.put_config(tx, bucket.name, expiry.LIFECYCLE, config)
        _plan(tx, bucket, due_ms)

    await ctx.store.transact(write)
    return {"TransitionDefaultMinimumObjectSize": size}


@operation
async def get_bucket_lifecycle_configuration(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    config = await ctx.store.read(lambda tx: state.find_config(tx, state.bucket_of(tx, req).name, expiry.LIFECYCLE))
    if config is None:
        text = "The lifecycle configuration does not exist"
        raise messages.no_such_configuration("NoSuchLifecycleConfiguration", text, req["Bucket"])
    return {**config, "Rules": [_dated(rule) for rule in config["Rules"]]}


def _dated(rule: dict[str, Any]) -> dict[str, Any]:
    """A stored rule with its dates as dates."""
    shown = dict(rule)
    if (rule.get("Expiration") or {}).get("Date"):
        shown["Expiration"] = {"Date": rules.when(expiry.date_ms(rule["Expiration"]["Date"]))}
    if rule.get("Transitions"):
        shown["Transitions"] = [
            {**action, "Date": rules.when(expiry.date_ms(action["Date"]))} if action.get("Date") else action
            for action in rule["Transitions"]
        ]
    return shown


def _check(rule: dict[str, Any]) -> None:
    if len(rule.get("ID") or "") > _ID_MAX:
        raise messages.invalid_argument(f"ID length should not exceed allowed limit of {_ID_MAX}")
    has_filter, has_prefix = rule.get("Filter") is not None, rule.get("Prefix") is not None
    if rule.get("Status") not in ("Enabled", "Disabled") or has_filter == has_prefix:
        raise messages.malformed_xml()
    where = rule.get("Filter") or {}
    if len(where) > 1 or (where.get("And") is not None and len(where["And"]) + _extra_tags(where["And"]) < 2):
        raise messages.malformed_xml()
    if not any(rule.get(name) for name in _ACTIONS):
        raise messages.invalid_request("At least one action needs to be specified in a rule")
    has_tags = bool(where.get("Tag") or (where.get("And") or {}).get("Tags"))
    _check_expiration(rule.get("Expiration"), has_tags=has_tags)
    for action in rule.get("Transitions") or []:
        _check_transition(action, "Transition", "Days")
    for action in rule.get("NoncurrentVersionTransitions") or []:
        _check_transition(action, "NoncurrentVersionTransition", "NoncurrentDays")
    old = rule.get("NoncurrentVersionExpiration")
    if old is not None:
        _check_days(old.get("NoncurrentDays"), "NoncurrentDays", "NoncurrentVersionExpiration")
    abort = rule.get("AbortIncompleteMultipartUpload")
    if abort is not None:
        if has_tags:
            raise messages.invalid_request("AbortIncompleteMultipartUpload cannot be specified with Tags.")
        _check_days(abort.get("DaysAfterInitiation"), "DaysAfterInitiation", "AbortIncompleteMultipartUpload")


def _extra_tags(both: dict[str, Any]) -> int:
    return max(len(both.get("Tags") or []) - 1, 0)


def _check_expiration(action: dict[str, Any] | None, *, has_tags: bool) -> None:
    if action is None:
        return
    if len(action) != 1:
        raise messages.malformed_xml()
    if "ExpiredObjectDeleteMarker" in action and has_tags:
        raise messages.invalid_request("ExpiredObjectDeleteMarker cannot be specified with Tags.")
    if "Days" in action:
        _check_days(action["Days"], "Days", "Expiration")
    if "Date" in action:
        _check_date(action["Date"])


def _check_days(days: Any, name: str, action: str) -> None:
    if days is None:
        raise messages.malformed_xml()
    if int(days) <= 0:
        raise messages.invalid_argument(f"'{name}' for {action} action must be a positive integer")


def _check_date(date: Any) -> None:
    if not isinstance(date, datetime):
        raise messages.malformed_xml()
    if date.astimezone(UTC).timetz().replace(tzinfo=None) != datetime.min.time():
        raise messages.invalid_argument("'Date' must be at midnight GMT")


def _check_transition(action: dict[str, Any], kind: str, member: str) -> None:
    storage_class = action.get("StorageClass")
    if storage_class not in _CLASSES or (action.get(member) is None) == (action.get("Date") is None):
        raise messages.malformed_xml()
    if action.get("Date") is not None:
        _check_date(action["Date"])
        return
    days = int(action[member])
    if days < 0:
        raise messages.invalid_argument(f"'{member}' in {kind} action must be nonnegative")
    if storage_class in _INFREQUENT and days < 30:
        raise messages.invalid_argument(
            f"'{member}' in {kind} action must be greater than or equal to 30 for storageClass '{storage_class}'"
        )


def _plan(tx: Transaction, bucket: Bucket, due_ms: int) -> None:
    payload: dict[str, object] = {"bucket": bucket.name, "account_id": bucket.account_id, "region": bucket.region}
    outbox.add(tx, RUN, payload, due_ms=due_ms, id=bucket.name)


async def run(ctx: Context, bucket_name: str) -> None:
    """Apply the bucket's rules as of now, some keys per transaction, and come back at the next midnight."""
    now_ms = ctx.clock.now_ms()
    after = ""
    while True:

        def step(tx: Transaction, after: str = after) -> str | None:
            return _step(tx, ctx, bucket_name, after, now_ms)

        following = await ctx.store.transact(step)
        if following is None:
            return
        after = following


def _step(tx: Transaction, ctx: Context, name: str, after: str, now_ms: int) -> str | None:
    """The key to go on after; None at the end."""
    bucket = state.find_bucket(tx, name)
    config = state.find_config(tx, name, expiry.LIFECYCLE) if bucket else None
    if bucket is None or config is None:
        return None
    applied = expiry.rules_of(config)
    root = ("s3", "current", name)
    start = _next_covered(applied, after + "\0" if after else "")
    batch = list(tx.range(root, begin=(*root, start), limit=_BATCH)) if start is not None else []
    for key, value in batch:
        if not any(str(key[3]).startswith(rule.prefix) for rule in applied):
            return str(key[3])
        _apply(tx, ctx, bucket, state.read_version(value), applied, now_ms)
    if len(batch) == _BATCH:
        return str(batch[-1][0][3])
    for upload in state.uploads(tx, name):
        if any((due_ms := expiry.abort_ms(rule, upload)) is not None and due_ms <= now_ms for rule in applied):
            state.drop_upload(tx, name, upload, now_ms)
    _plan(tx, bucket, expiry.next_midnight_ms(now_ms))
    return None


def _next_covered(applied: list[Rule], start: str) -> str | None:
    """The first key from `start` on that a rule's prefix can cover; None where there is none."""
    if any(start.startswith(rule.prefix) for rule in applied):
        return start
    return min((rule.prefix for rule in applied if rule.prefix > start), default=None)


def _apply(tx: Transaction, ctx: Context, bucket: Bucket, current: Version, applied: list[Rule], now_ms: int) -> None:
    """One key: its old versions first, so that a delete marker that outlives them can go in the same run."""
    relevant = [rule for rule in applied if current.key.startswith(rule.prefix)]
    if not relevant:
        return
    left = 0
    for newer, version in enumerate(list(state.older(tx, bucket.name, current.key))):
        left += not _apply_old(tx, ctx, bucket, version, relevant, newer, now_ms)
    covering = [rule for rule in relevant if rule.covers(current)]
    if current.is_delete_marker:
        if not left and any(expiry.is_marker_expired(rule, current, now_ms) for rule in covering):
            state.delete_version(tx, bucket.name, current, now_ms)
            _tell(tx, ctx, bucket, "LifecycleExpiration:Delete", current, now_ms)
        return
    if any((due_ms := expiry.expires_ms(rule, current)) is not None and due_ms <= now_ms for rule in covering):
        _expire(tx, ctx, bucket, current, now_ms)
        return
    for rule in covering:
        _move(tx, ctx, bucket, current, expiry.storage_class_at(rule, current, now_ms, is_current=True), now_ms)


def _apply_old(
    tx: Transaction, ctx: Context, bucket: Bucket, version: Version, applied: list[Rule], newer: int, now_ms: int
) -> bool:
    """Whether a noncurrent version went."""
    for rule in applied:
        if not rule.covers(version):
            continue
        due_ms = expiry.noncurrent_expires_ms(rule, version, newer)
        is_kept = locks.is_locked(version, now_ms, is_bypassing=False)
        if due_ms is not None and due_ms <= now_ms and not is_kept:
            state.delete_version(tx, bucket.name, version, now_ms)
            _tell(tx, ctx, bucket, "LifecycleExpiration:Delete", version, now_ms)
            return True
        if not version.is_delete_marker:
            moved = expiry.storage_class_at(rule, version, now_ms, is_current=False, newer=newer)
            _move(tx, ctx, bucket, version, moved, now_ms)
    return False


def _expire(tx: Transaction, ctx: Context, bucket: Bucket, current: Version, now_ms: int) -> None:
    if not bucket.versioning:
        state.delete_version(tx, bucket.name, current, now_ms)
        _tell(tx, ctx, bucket, "LifecycleExpiration:Delete", current, now_ms)
        return
    marker = Version(current.key, modified_ms=now_ms, version_id=new_version_id(ctx, bucket), is_delete_marker=True)
    state.put_current(tx, bucket, marker, now_ms)
    _tell(tx, ctx, bucket, "LifecycleExpiration:DeleteMarkerCreated", marker, now_ms)


def _move(tx: Transaction, ctx: Context, bucket: Bucket, version: Version, storage_class: str, now_ms: int) -> None:
    if not storage_class or version.headers.get("StorageClass", "STANDARD") == storage_class:
        return
    version.headers["StorageClass"] = storage_class
    state.rewrite(tx, bucket.name, version)
    _tell(tx, ctx, bucket, "LifecycleTransition", version, now_ms)


def _tell(tx: Transaction, ctx: Context, bucket: Bucket, event: str, version: Version, now_ms: int) -> None:
    events.notify(tx, ctx, bucket, event, version, now_ms)
