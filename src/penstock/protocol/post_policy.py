"""The policy of a form upload: what a browser may send, and the signature under it. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from penstock.kernel.errors import ServiceError
from penstock.protocol.sigv4 import Claim, signing_key

SizeRange = tuple[int, int]

_UNCHECKED = ("policy", "x-amz-signature", "signature", "awsaccesskeyid", "file", "submit")
_IGNORED = "x-ignore-"
_RANGE = "content-length-range"


def claim_of(fields: Mapping[str, str]) -> Claim | None:
    """Who says to have signed the policy; None for a form without one. Raises InvalidArgument (400)."""
    is_signed = any(name in fields for name in ("x-amz-signature", "signature", "awsaccesskeyid", "x-amz-credential"))
    if "policy" not in fields:
        if is_signed:
            raise _missing("policy")
        return None
    token = fields.get("x-amz-security-token")
    if "x-amz-algorithm" not in fields and "x-amz-signature" not in fields:
        for name, shown in (("awsaccesskeyid", "AWSAccessKeyId"), ("signature", "Signature")):
            if name not in fields:
                raise _missing(shown)
        return _claim(fields["awsaccesskeyid"], "", "", "", fields["signature"], token, 2)
    for name in ("x-amz-credential", "x-amz-date", "x-amz-signature"):
        if name not in fields:
            raise _missing(name.title())
    scope = fields["x-amz-credential"].rsplit("/", 4)
    if len(scope) != 5:
        text = "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting "
        text += '"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'
        raise ServiceError("AuthorizationQueryParametersError", text)
    return _claim(scope[0], scope[1], scope[2], scope[3], fields["x-amz-signature"], token, 4)


def _claim(key_id: str, date: str, region: str, service: str, signature: str, token: str | None, version: int) -> Claim:
    return Claim(
        access_key_id=key_id,
        date=date,
        region=region,
        service=service,
        signed_headers=(),
        signature=signature,
        time="",
        session_token=token,
        payload_hash=None,
        version=version,
    )


def check_signature(claim: Claim, policy: str, secret: str) -> None:
    """Raises SignatureDoesNotMatch (403)."""
    if claim.version == 2:
        expected = base64.b64encode(hmac.digest(secret.encode(), policy.encode(), "sha1")).decode()
    else:
        key = signing_key(secret, claim.date, claim.region, claim.service)
        expected = hmac.new(key, policy.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
        text = (
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method."
        )
        raise ServiceError("SignatureDoesNotMatch", text, status=403)


def check_policy(policy: str, fields: Mapping[str, str], bucket: str, now_ms: int) -> SizeRange | None:
    """The bounds of the file's size, if it has any. Raises InvalidPolicyDocument (400) or AccessDenied (403)."""
    document = _document(policy)
    if _expires_ms(document["expiration"]) <= now_ms:
        raise _denied("Policy expired.")
    given = {**fields, "bucket": bucket}
    sizes: SizeRange | None = None
    covered = set()
    for condition in document["conditions"]:
        kind, name, value = _condition(condition)
        if kind == _RANGE:
            sizes = _sizes(name, value)
            continue
        covered.add(name)
        actual = given.get(name, "")
        is_met = actual == value if kind == "eq" else actual.startswith(str(value))
        if kind == "starts-with" and name == "content-type":
            is_met = all(item.strip().startswith(str(value)) for item in actual.split(","))
        if not is_met:
            shown = [kind, f"${name}", value] if isinstance(condition, list) else {name: value}
            raise _denied(f"Policy Condition failed: {json.dumps(shown)}")
    extra = [name for name in given if name not in covered and not _is_free(name)]
    if extra:
        raise _denied(f"Extra input fields: {', '.join(extra)}")
    return sizes


def _is_free(name: str) -> bool:
    return name in _UNCHECKED or name.startswith(_IGNORED)


def _document(policy: str) -> dict[str, Any]:
    try:
        document = json.loads(base64.b64decode(policy, validate=False))
    except (binascii.Error, ValueError):
        raise _invalid("Invalid JSON.") from None
    if not isinstance(document, dict):
        raise _invalid("Invalid JSON.")
    if "expiration" not in document:
        raise _invalid("Policy missing expiration.")
    if not isinstance(document.get("conditions"), list):
        raise _invalid("Policy missing conditions.")
    return document


def _expires_ms(text: Any) -> int:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        moment = None
    if moment is None or "T" not in str(text):
        raise _invalid(f"Invalid 'expiration' value: '{text}'")
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _condition(condition: Any) -> tuple[str, str, Any]:
    """(kind, field, value); for a range of sizes (kind, least, most)."""
    if isinstance(condition, dict) and len(condition) == 1:
        name, value = next(iter(condition.items()))
        return "eq", str(name).lower(), str(value)
    if isinstance(condition, list) and len(condition) == 3:
        kind = str(condition[0]).lower()
        if kind == _RANGE:
            return kind, str(condition[1]), condition[2]
        if kind in ("eq", "starts-with") and str(condition[1]).startswith("$"):
            return kind, str(condition[1])[1:].lower(), str(condition[2])
    raise _invalid("Invalid Simple-Condition: " + json.dumps(condition))


def _sizes(least: Any, most: Any) -> SizeRange:
    try:
        found = int(least), int(most)
    except (TypeError, ValueError):
        raise _invalid("Invalid content-length-range.") from None
    if found[0] < 0 or found[1] < found[0]:
        raise _invalid("Invalid content-length-range.")
    return found


def _missing(name: str) -> ServiceError:
    text = (
        f"Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
    )
    return ServiceError("InvalidArgument", text, fields={"ArgumentName": name, "ArgumentValue": ""})


def _denied(reason: str) -> ServiceError:
    return ServiceError("AccessDenied", f"Invalid according to Policy: {reason}", status=403)


def _invalid(reason: str) -> ServiceError:
    return ServiceError("InvalidPolicyDocument", f"Invalid Policy: {reason}")
