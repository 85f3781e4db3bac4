"""Deployment packages: taken in from a request or from S3, checked, kept as blobs."""

import asyncio
import base64
import hashlib
import hmac
import io
import os
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.engines.functions.packages import (
    UNREADABLE,
    BadPackage,
    PackageTooLarge,
    extract,
    managed_layer_dir,
)
from penstock.framework.context import Context, Platform
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope, root_principal
from penstock.kernel.streams import ByteStream, StreamTooLong, stream_of
from penstock.services.lambda_ import limits, messages, state
from penstock.services.lambda_.state import Package
from penstock.storage import outbox
from penstock.storage.records import members_of
from penstock.storage.transactions import ReadTransaction, Transaction

CODE_PATH = "/_penstock/lambda/code/"
_SECRET = ("lambda-secret",)


@dataclass(frozen=True, slots=True)
class Archive:
    """A zip that has come in, and where it stays if it is only referred to."""

    data: bytes
    reference: dict[str, str] = field(default_factory=dict)


async def receive(ctx: Context, code: dict[str, Any]) -> Package:
    """Store the package that ZipFile or S3Bucket and S3Key name. The blob is an orphan until a version names it."""
    return await keep(ctx, await fetch(ctx, code))


async def keep(ctx: Context, received: Archive) -> Package:
    """Unpacked first, so that what can't be unpacked is refused in the request that brought it."""
    archive = received.data
    unzipped = await unzipped_bytes(archive)
    await asyncio.to_thread(_unpack, archive, _code_dir(ctx))
    info = await ctx.blobs.put(
        stream_of(archive), digests={"sha256": hashlib.sha256}, bytes_max=limits.S3_ZIPPED_BYTES_MAX.value
    )
    sha256 = base64.b64encode(info.digests["sha256"]).decode()
    return Package(info.id, info.size, sha256, unzipped, received.reference)


async def unpacked(ctx: Context, package: Package) -> str:
    """The folder of a package's files: a cache, made again from the blob where it is gone."""
    known = _code_dir(ctx) / base64.b64decode(package.sha256).hex()
    if known.is_dir():
        return str(known)
    archive = await ctx.blobs.open(package.blob_id).read(bytes_max=limits.S3_ZIPPED_BYTES_MAX.value)
    return await asyncio.to_thread(_unpack, archive, _code_dir(ctx))


def _code_dir(ctx: Context) -> Path:
    return ctx.platform.data_dir / "code"


def _unpack(archive: bytes, code_dir: Path) -> str:
    try:
        return extract(archive, str(code_dir), bytes_max=limits.UNZIPPED_BYTES_MAX.value)
    except PackageTooLarge:
        raise messages.unzipped_too_large(limits.UNZIPPED_BYTES_MAX.value) from None
    except BadPackage:
        raise messages.bad_zip() from None


async def managed_layer(ctx: Context, arn: str) -> str | None:
    """This machine's stand-in for one of AWS's public layers; None where it lacks the packages."""
    return await asyncio.to_thread(managed_layer_dir, arn, str(ctx.platform.data_dir / "work"))


async def unzipped_bytes(archive: bytes) -> int:
    """How many bytes the archive holds by its own account. Raises InvalidParameterValueException for a bad one."""
    return await asyncio.to_thread(_inspect, archive)


async def fetch(ctx: Context, code: dict[str, Any]) -> Archive:
    """The archive. Raises InvalidParameterValueException, RequestEntityTooLargeException."""
    given = code.get("ZipFile")
    if given is not None:
        if code.get("S3Bucket") or code.get("S3Key"):
            raise messages.two_sources()
        archive = bytes(given) if not isinstance(given, ByteStream) else await _read(given)
        _check_size(archive)
        return Archive(archive)
    if not code.get("S3Bucket") or not code.get("S3Key"):
        raise messages.no_code()
    return await _fetch_from_s3(ctx, code)


async def _read(stream: ByteStream) -> bytes:
    try:
        return await stream.read(bytes_max=limits.ZIPPED_BYTES_MAX.value)
    except StreamTooLong:
        raise messages.zipped_too_large(limits.ZIPPED_BYTES_MAX.value) from None


def _check_size(archive: bytes) -> None:
    if not archive:
        raise messages.empty_zip()
    if len(archive) > limits.ZIPPED_BYTES_MAX.value:
        raise messages.zipped_too_large(limits.ZIPPED_BYTES_MAX.value)


async def _fetch_from_s3(ctx: Context, code: dict[str, Any]) -> Archive:
    """What is only referred to may lie in any region, and is of a bucket with versions.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-self-managed-storage.html
    """
    params = {"Bucket": code["S3Bucket"], "Key": code["S3Key"]}
    if code.get("S3ObjectVersion"):
        params["VersionId"] = code["S3ObjectVersion"]
    try:
        answer = await ctx.call("s3", "GetObject", params)
    except ServiceError as error:
        raise messages.s3_refused(error.code, error.message) from None
    reference: dict[str, str] = {}
    if code.get("S3ObjectStorageMode") == "REFERENCE":
        if answer.get("VersionId") in (None, "null"):
            raise messages.unversioned_code(code["S3Bucket"])
        reference = {"S3Bucket": params["Bucket"], "S3Key": params["Key"], "S3ObjectVersion": answer["VersionId"]}
    else:
        await _check_region(ctx, code["S3Bucket"])
    body: ByteStream = answer["Body"]
    try:
        return Archive(await body.read(bytes_max=limits.S3_ZIPPED_BYTES_MAX.value), reference)
    except StreamTooLong:
        raise messages.unzipped_too_large(limits.UNZIPPED_BYTES_MAX.value) from None


async def _check_region(ctx: Context, bucket: str) -> None:
    """The bucket is in the function's own region. Where its owner doesn't tell, it is taken to be."""
    try:
        found = await ctx.call("s3", "HeadBucket", {"Bucket": bucket}, as_=root_principal(ctx.scope.account_id))
    except ServiceError:
        return
    region = found.get("BucketRegion") or ctx.scope.region
    if region != ctx.scope.region:
        text = f"The bucket is in this region: {region}. Please use this region to retry the request"
        raise messages.s3_refused("PermanentRedirect", text)


def _inspect(archive: bytes) -> int:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as package:
            entries = package.infolist()
    except UNREADABLE:
        raise messages.bad_zip() from None
    if not entries:
        raise messages.empty_zip()
    size = sum(entry.file_size for entry in entries)
    if size > limits.UNZIPPED_BYTES_MAX.value:
        raise messages.unzipped_too_large(limits.UNZIPPED_BYTES_MAX.value)
    return size


def code_bytes(tx: ReadTransaction, scope: Scope) -> int:
    """What counts against the account's code storage: every version's package and every layer's."""
    kinds = (state.room(scope, "version"), state.room(scope, "layer"))
    stored = (members_of(value)["package"] for kind in kinds for _, value in tx.range(kind))
    return sum(package["size"] for package in stored if not package.get("reference"))


def check_storage(tx: ReadTransaction, scope: Scope, added: int) -> None:
    if code_bytes(tx, scope) + added > limits.CODE_STORAGE_BYTES_MAX.value:
        raise messages.code_storage_exceeded()


def drop(tx: Transaction, package: Package, *, now_ms: int) -> None:
    """Collect the blob once those who are reading it have had their time, the unpacked code once no one runs it."""
    payload: dict[str, object] = {"blob": package.blob_id, "sha256": package.sha256}
    outbox.add(tx, state.DELETE_BLOB, payload, due_ms=now_ms + limits.BLOB_GRACE_MS, id=package.blob_id)
    outbox.add(tx, state.DELETE_CODE, payload, due_ms=now_ms + limits.CODE_GRACE_MS, id=package.sha256)


async def discard(ctx: Context, package: Package) -> None:
    """Forget a package that nothing came to name."""
    await ctx.blobs.delete(package.blob_id)
    await remove_unpacked(ctx, package.sha256)


async def remove_unpacked(ctx: Context, sha256: str) -> None:
    """Delete the folder, unless a package of the same content is in use. Renamed first, so it never lacks files."""
    if await ctx.store.read(lambda tx: state.is_used(tx, sha256)):
        return
    folder = _code_dir(ctx) / base64.b64decode(sha256).hex()
    leaving = folder.with_name(f".leaving-{folder.name}")
    await asyncio.to_thread(_remove, folder, leaving)


def _remove(folder: Path, leaving: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(leaving, ignore_errors=True)
        os.rename(folder, leaving)
    shutil.rmtree(leaving, ignore_errors=True)


async def location(ctx: Context, package: Package) -> str:
    """A URL of this node that gives the zip out for ten minutes to whoever has it."""
    expires_ms = ctx.clock.now_ms() + limits.CODE_URL_MS
    signature = _sign(await _secret(ctx.platform), package.blob_id, expires_ms)
    return f"{ctx.endpoint}{CODE_PATH}{package.blob_id}?expires={expires_ms}&signature={signature}"


async def download(platform: Platform, blob_id: str, expires_ms: int, signature: str) -> ByteStream:
    """The zip behind `location`: what the node's HTTP face answers with. Raises AccessDenied, NoSuchKey (404)."""
    known = _sign(await _secret(platform), blob_id, expires_ms)
    if not hmac.compare_digest(known.encode(), signature.encode()) or platform.clock.now_ms() > expires_ms:
        raise ServiceError("AccessDenied", "Request has expired", status=403)
    try:
        return platform.blobs.open(blob_id)
    except KeyError:
        raise ServiceError("NoSuchKey", "The specified key does not exist.", status=404) from None


async def _secret(platform: Platform) -> bytes:
    fresh = platform.entropy.token_bytes(32)

    def get(tx: Transaction) -> bytes:
        known = tx.get(_SECRET)
        if known is None:
            tx.put(_SECRET, fresh)
        return known or fresh

    known = await platform.store.read(lambda tx: tx.get(_SECRET))
    return known if known is not None else await platform.store.transact(get)


def _sign(secret: bytes, blob_id: str, expires_ms: int) -> str:
    return hmac.new(secret, f"{blob_id} {expires_ms}".encode(), hashlib.sha256).hexdigest()
