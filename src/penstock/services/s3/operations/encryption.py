"""Which key an object's bytes lie under, and what a caller has to show to read them.

SSE-S3 and SSE-KMS use a secret of the node's own, SSE-C the caller's key. Bytes are encrypted where a request or the
bucket's configuration asks for it; else they lie as they are, and S3's own default is told.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/serv-side-encryption.html
"""

import base64
import binascii
import hashlib
import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from penstock.engines import ciphers
from penstock.framework.context import Context
from penstock.kernel.streams import ByteStream
from penstock.services.s3 import messages
from penstock.services.s3.state import Version
from penstock.storage.transactions import Transaction

log = logging.getLogger("penstock.s3")

SECRET_KEY = ("s3", "secret")
_KEPT = "s3.secret"
_KEY_BYTES = 32
_ALGORITHMS = ("AES256", "aws:kms", "aws:kms:dsse", "aws:fsx")
_CUSTOMER = ("SSECustomerAlgorithm", "SSECustomerKeyMD5")
ANSWERED = ("ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled", *_CUSTOMER)
"""The members of an answer that say how an object is encrypted."""


@dataclass(frozen=True, slots=True)
class Sealing:
    """How bytes are to be kept: `members` are stored and answered; without a `secret` they lie as they are."""

    members: dict[str, Any] = field(default_factory=dict)
    secret: bytes = b""

    def new_salt(self, ctx: Context) -> str:
        return ctx.entropy.token_hex(ciphers.SALT_BYTES) if self.secret else ""

    def sealer(self, salt: str) -> Callable[[bytes], bytes] | None:
        return ciphers.sealer(self.secret, salt) if salt else None


async def plan(ctx: Context, req: dict[str, Any], default: Any) -> Sealing:
    """What the request asks for, or else the bucket's `default` (its configuration, None where it has none)."""
    customer = customer_key(req)
    asked = req.get("ServerSideEncryption")
    if customer is not None:
        if asked:
            text = (
                "Server Side Encryption with Customer provided key is incompatible with the encryption method specified"
            )
            raise messages.invalid_argument(text, "x-amz-server-side-encryption", asked)
        members = {name: req[name] for name in _CUSTOMER}
        return Sealing(members, _needed(customer))
    if asked is not None and asked not in _ALGORITHMS:
        text = "The encryption method specified is not supported"
        raise messages.invalid_argument(text, "x-amz-server-side-encryption", asked)
    if req.get("SSEKMSKeyId") and not str(asked).startswith("aws:kms"):
        text = (
            "Server Side Encryption with AWS KMS managed key requires HTTP header "
            "x-amz-server-side-encryption : aws:kms"
        )
        raise messages.invalid_argument(text, "x-amz-server-side-encryption", str(asked or "null"))
    rule = _default_rule(default)
    if asked is None and not rule:
        return Sealing({"ServerSideEncryption": "AES256"})
    kind = asked or rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]
    members = {"ServerSideEncryption": kind}
    if kind.startswith("aws:kms"):
        key_id = req.get("SSEKMSKeyId") or rule.get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID")
        members["SSEKMSKeyId"] = _key_arn(ctx, key_id)
        if req.get("BucketKeyEnabled", rule.get("BucketKeyEnabled")):
            members["BucketKeyEnabled"] = True
    return Sealing(members, await _own_secret(ctx) if _can_encrypt() else b"")


def _default_rule(config: Any) -> dict[str, Any]:
    rules = (config or {}).get("Rules") or [{}]
    rule: dict[str, Any] = rules[0]
    return rule if rule.get("ApplyServerSideEncryptionByDefault") else {}


def _key_arn(ctx: Context, key_id: str | None) -> str:
    """AWS answers the key's ARN, whatever it was named by; aws/s3's own has an id made of the account's."""
    if key_id and key_id.startswith("arn:"):
        return key_id
    place = f"arn:{ctx.scope.partition}:kms:{ctx.scope.region}:{ctx.scope.account_id}"
    if key_id and key_id.startswith("alias/"):
        return f"{place}:{key_id}"
    if not key_id:
        digest = hashlib.sha256(f"{place}:aws/s3".encode()).hexdigest()
        key_id = f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
    return f"{place}:key/{key_id}"


def customer_key(req: dict[str, Any], prefix: str = "") -> bytes | None:
    """The key that the caller sent along (`prefix` CopySource: for the source), checked; None where it sent none.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html
    """
    algorithm = req.get(f"{prefix}SSECustomerAlgorithm")
    key, digest = req.get(f"{prefix}SSECustomerKey"), req.get(f"{prefix}SSECustomerKeyMD5")
    if algorithm is None and key is None and digest is None:
        return None
    head = "Requests specifying Server Side Encryption with Customer provided keys must provide"
    header = "x-amz-server-side-encryption-customer"
    if algorithm is None:
        raise messages.invalid_argument(f"{head} a valid encryption algorithm.", f"{header}-algorithm", "null")
    if algorithm != "AES256":
        raise messages.invalid_argument(f"{head} a valid encryption algorithm.", f"{header}-algorithm", algorithm)
    if key is None:
        raise messages.invalid_argument(f"{head} an appropriate secret key.", f"{header}-key", "null")
    if digest is None:
        raise messages.invalid_argument(f"{head} the client calculated MD5 of the secret key.", f"{header}-key-MD5")
    value = _decoded(key)
    if len(value) != _KEY_BYTES:
        raise messages.invalid_argument("The secret key was invalid for the specified algorithm.", f"{header}-key")
    if base64.b64encode(hashlib.md5(value, usedforsecurity=False).digest()).decode() != digest:
        text = "The calculated MD5 hash of the key did not match the hash that was provided."
        raise messages.invalid_argument(text, f"{header}-key-MD5")
    return value


def _decoded(key: Any) -> bytes:
    try:
        return base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return b""


def check_reader(version: Version, req: dict[str, Any], prefix: str = "") -> bytes | None:
    """The caller's key where the object needs one. Raises InvalidRequest (400) or AccessDenied (403) without it."""
    key = customer_key(req, prefix)
    kept = version.headers.get("SSECustomerKeyMD5")
    if kept is None:
        if key is not None:
            raise messages.invalid_request("The encryption parameters are not applicable to this object.")
        return None
    if key is None:
        raise messages.invalid_request(
            "The object was stored using a form of Server Side Encryption. "
            "The correct parameters must be provided to retrieve the object."
        )
    if not hmac.compare_digest(str(req[f"{prefix}SSECustomerKeyMD5"]), kept):
        raise messages.wrong_customer_key()
    return key


async def plan_part(ctx: Context, req: dict[str, Any], kept: dict[str, Any]) -> Sealing:
    """How a part is kept: as its upload (`kept`: the headers of that) was begun."""
    key = customer_key(req)
    digest = kept.get("SSECustomerKeyMD5")
    if digest is None:
        if key is not None:
            raise messages.invalid_request(
                "The multipart upload initiate did not request encryption with the provided encryption parameters."
            )
        members = {name: kept[name] for name in ANSWERED if name in kept}
        is_sealed = bool(kept.get("is_sealed")) and _can_encrypt()
        return Sealing(members, await _own_secret(ctx) if is_sealed else b"")
    if key is None:
        raise messages.invalid_request(
            "The multipart upload initiate requested encryption. "
            "Subsequent part requests must include the appropriate encryption parameters."
        )
    if not hmac.compare_digest(str(req["SSECustomerKeyMD5"]), digest):
        raise messages.invalid_request("The provided encryption parameters did not match the ones used originally.")
    return Sealing({name: kept[name] for name in _CUSTOMER}, _needed(key))


def check_completer(kept: dict[str, Any], req: dict[str, Any]) -> None:
    """Whoever completes an upload may show the customer's key; a wrong one is refused."""
    if customer_key(req) is not None and req["SSECustomerKeyMD5"] != kept.get("SSECustomerKeyMD5"):
        raise messages.invalid_request("The provided encryption parameters did not match the ones used originally.")


async def unsealed(
    ctx: Context, version: Version, stream: ByteStream, req: dict[str, Any], *, offset: int, prefix: str = ""
) -> ByteStream:
    """The bytes of a version as they were sent, from a stream of the bytes as they lie."""
    key = check_reader(version, req, prefix)
    if not version.sealed:
        return stream
    secret = _needed(key) if key is not None else await _own_secret(ctx)
    return ciphers.opened(stream, secret, version.sealed, offset=offset)


async def _own_secret(ctx: Context) -> bytes:
    """Made once, kept in the store."""
    known: bytes | None = ctx.platform.volatile.get(_KEPT)
    if known is None:
        fresh = ctx.entropy.token_bytes(_KEY_BYTES)

        def get(tx: Transaction) -> bytes:
            kept = tx.get(SECRET_KEY)
            if kept is None:
                tx.put(SECRET_KEY, fresh)
            return kept or fresh

        known = ctx.platform.volatile[_KEPT] = await ctx.store.transact(get)
    return known


def _can_encrypt() -> bool:
    if ciphers.is_available():
        return True
    log.warning("objects are kept unencrypted: install penstock[encryption]")
    return False


def _needed(key: bytes) -> bytes:
    if not ciphers.is_available():
        raise messages.not_implemented("customer provided keys need penstock[encryption]")
    return key
