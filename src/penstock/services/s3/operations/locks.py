"""Object lock: versions that can't be deleted before a time, or while a hold is on them.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
"""

from datetime import datetime
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.units import DAY_MS
from penstock.services.s3 import events, messages, rules, state
from penstock.services.s3.operations.finding import find
from penstock.services.s3.state import Bucket, Version
from penstock.storage.transactions import ReadTransaction, Transaction

_MODES = ("GOVERNANCE", "COMPLIANCE")
_DAYS_MAX, _YEARS_MAX = 36_500, 100

Lock = tuple[str, int, bool]
"""Mode ("" for none), until when in ms, and whether a legal hold is on."""


def wanted(req: dict[str, Any], bucket: Bucket, config: Any, now_ms: int) -> Lock:
    """The lock of a new version: what the headers say, else the bucket's default."""
    mode, until = req.get("ObjectLockMode"), req.get("ObjectLockRetainUntilDate")
    hold = req.get("ObjectLockLegalHoldStatus")
    if mode is None and until is None and hold is None:
        return _default(config, now_ms) if bucket.has_object_lock else ("", 0, False)
    if not bucket.has_object_lock:
        raise messages.no_lock_configuration()
    if (mode is None) != (until is None):
        text = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied"
        raise messages.invalid_argument(text, "x-amz-object-lock-retain-until-date")
    if mode is not None and mode not in _MODES:
        raise messages.invalid_argument("Unknown wormMode directive.", "x-amz-object-lock-mode", mode)
    if hold is not None and hold not in ("ON", "OFF"):
        text = "Legal Hold must be either of 'ON' or 'OFF'"
        raise messages.invalid_argument(text, "x-amz-object-lock-legal-hold", hold)
    if mode is None:
        default = _default(config, now_ms)
        return default[0], default[1], hold == "ON"
    return mode, _future(until, now_ms), hold == "ON"


def _default(config: Any, now_ms: int) -> Lock:
    retention = ((config or {}).get("Rule") or {}).get("DefaultRetention")
    if not retention:
        return "", 0, False
    days = retention.get("Days") or 365 * retention["Years"]
    return retention["Mode"], now_ms + days * DAY_MS, False


def _future(until: Any, now_ms: int) -> int:
    until_ms = _ms_of(until)
    if until_ms <= now_ms:
        text = "The retain until date must be in the future!"
        raise messages.invalid_argument(text, "x-amz-object-lock-retain-until-date", str(until))
    return until_ms


def _ms_of(moment: Any) -> int:
    return round(moment.timestamp() * 1000) if isinstance(moment, datetime) else round(float(moment) * 1000)


def set_lock(version: Version, lock: Lock) -> None:
    version.lock_mode, version.lock_until_ms, version.has_legal_hold = lock


def members_of(version: Version) -> dict[str, Any]:
    """What GET and HEAD say of the lock."""
    answer: dict[str, Any] = {}
    if version.lock_mode:
        answer["ObjectLockMode"] = version.lock_mode
        answer["ObjectLockRetainUntilDate"] = rules.when(version.lock_until_ms)
    if version.has_legal_hold:
        answer["ObjectLockLegalHoldStatus"] = "ON"
    return answer


def is_locked(version: Version, now_ms: int, *, is_bypassing: bool) -> bool:
    """A hold always keeps; retention does until its time, GOVERNANCE only from those who don't bypass it."""
    if version.has_legal_hold:
        return True
    if version.lock_until_ms <= now_ms or not version.lock_mode:
        return False
    return version.lock_mode == "COMPLIANCE" or not is_bypassing


def check_deletable(version: Version, now_ms: int, *, is_bypassing: bool) -> None:
    """Raises AccessDenied (403)."""
    if is_locked(version, now_ms, is_bypassing=is_bypassing):
        raise messages.access_denied_by_lock()


@operation
async def put_object_lock_configuration(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """A lock can be put on a bucket with versions; it is never taken off."""
    config = req.get("ObjectLockConfiguration")
    if not config or config.get("ObjectLockEnabled") != "Enabled":
        raise messages.malformed_xml()
    retention = (config.get("Rule") or {}).get("DefaultRetention")
    if "Rule" in config:
        _check_default(retention or {})

    def write(tx: Transaction) -> None:
        bucket = state.bucket_of(tx, req)
        if bucket.versioning != "Enabled":
            raise messages.invalid_bucket_state(
                "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration"
            )
        bucket.has_object_lock = True
        state.put_bucket(tx, bucket)
        state.put_config(tx, bucket.name, "object-lock", config)

    await ctx.store.transact(write)
    return {}


def _check_default(retention: dict[str, Any]) -> None:
    days, years = retention.get("Days"), retention.get("Years")
    if retention.get("Mode") not in _MODES or (days is None) == (years is None):
        raise messages.malformed_xml()
    if (days is not None and days <= 0) or (years is not None and years <= 0):
        raise messages.invalid_argument("Default retention period must be a positive integer value.")
    if (days or 0) > _DAYS_MAX or (years or 0) > _YEARS_MAX:
        raise messages.invalid_argument("Default retention period is too large.")


@operation
async def get_object_lock_configuration(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def read(tx: ReadTransaction) -> Any:
        bucket = state.bucket_of(tx, req)
        if not bucket.has_object_lock:
            raise messages.no_such_configuration(
                "ObjectLockConfigurationNotFoundError",
                "Object Lock configuration does not exist for this bucket",
                bucket.name,
            )
        return state.find_config(tx, bucket.name, "object-lock") or {"ObjectLockEnabled": "Enabled"}

    return {"ObjectLockConfiguration": await ctx.store.read(read)}


def _lockable(tx: ReadTransaction, req: dict[str, Any]) -> tuple[Bucket, Version]:
    bucket, version = find(tx, req)
    if not bucket.has_object_lock:
        raise messages.no_lock_configuration()
    return bucket, version


@operation
async def put_object_retention(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Prolonging is for everyone; shortening needs a bypass of GOVERNANCE, and COMPLIANCE is never shortened."""
    retention = req.get("Retention") or {}
    mode, until = retention.get("Mode"), retention.get("RetainUntilDate")
    if (mode is None) != (until is None) or (mode is not None and mode not in _MODES):
        raise messages.malformed_xml()
    now_ms = ctx.clock.now_ms()
    until_ms = _future(until, now_ms) if until is not None else 0

    def write(tx: Transaction) -> None:
        bucket, version = _lockable(tx, req)
        is_kept = version.lock_mode and version.lock_until_ms > now_ms
        is_weaker = until_ms < version.lock_until_ms or (version.lock_mode == "COMPLIANCE" and mode != "COMPLIANCE")
        is_bypassing = bool(req.get("BypassGovernanceRetention")) and version.lock_mode == "GOVERNANCE"
        is_changed = version.lock_mode == "GOVERNANCE" and mode != "GOVERNANCE" and until_ms <= version.lock_until_ms
        if is_kept and (is_weaker or is_changed) and not is_bypassing:
            raise messages.access_denied_by_lock()
        version.lock_mode, version.lock_until_ms = mode or "", until_ms
        state.rewrite(tx, bucket.name, version)
        events.notify(tx, ctx, bucket, "ObjectRetention:Put", version, now_ms)

    await ctx.store.transact(write)
    return {}


@operation
async def get_object_retention(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    _, version = await ctx.store.read(lambda tx: _lockable(tx, req))
    if not version.lock_mode:
        raise _not_locked(version.key)
    until = rules.when(version.lock_until_ms)
    return {"Retention": {"Mode": version.lock_mode, "RetainUntilDate": until}}


@operation
async def put_object_legal_hold(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    status = (req.get("LegalHold") or {}).get("Status")
    if status not in ("ON", "OFF"):
        raise messages.malformed_xml()

    def write(tx: Transaction) -> None:
        bucket, version = _lockable(tx, req)
        version.has_legal_hold = status == "ON"
        state.rewrite(tx, bucket.name, version)

    await ctx.store.transact(write)
    return {}


@operation
async def get_object_legal_hold(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    _, version = await ctx.store.read(lambda tx: _lockable(tx, req))
    return {"LegalHold": {"Status": "ON" if version.has_legal_hold else "OFF"}}


def _not_locked(key: str) -> Exception:
    text = "The specified object does not have a ObjectLock configuration"
    return messages.no_such_lock("NoSuchObjectLockConfiguration", text, key)
