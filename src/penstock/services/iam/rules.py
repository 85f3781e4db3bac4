"""Decisions of IAM that need no store."""

import json

from penstock.kernel.entropy import Entropy
from penstock.kernel.errors import ServiceError
from penstock.services.iam import messages

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def new_id(entropy: Entropy, prefix: str) -> str:
    """AIDA… (user), AROA… (role), ANPA… (policy), AKIA… (key).

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
    """
    return prefix + entropy.text(_LETTERS, 17 if prefix != "AKIA" else 16)


def check_document(text: str) -> str:
    """The document as given, once it is a policy."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict) or "Statement" not in document:
        raise ServiceError("MalformedPolicyDocument", messages.MALFORMED)
    return text


def no_entity(kind: str, name: str) -> ServiceError:
    return ServiceError("NoSuchEntity", messages.no_entity(kind, name), status=404)


def conflict(message: str) -> ServiceError:
    return ServiceError("DeleteConflict", message, status=409)


def exists(message: str) -> ServiceError:
    return ServiceError("EntityAlreadyExists", message, status=409)


def over_quota(what: str, value: int) -> ServiceError:
    return ServiceError("LimitExceeded", messages.quota(what, value), status=409)
