"""Decisions of SQS: names, attributes, checksums, handles, redrive. Pure."""

import base64
import hashlib
import re
import struct
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from penstock.kernel.errors import ServiceError
from penstock.services.sqs import limits, messages

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")


def invalid(message: str, code: str = "InvalidParameterValue") -> ServiceError:
    return ServiceError(code, message)


def queue_of(url: str, account_id: str) -> tuple[str, str]:
    """(account, name) that a queue URL names; a bare name is the caller's own."""
    parts = [part for part in urlsplit(url).path.split("/") if part]
    if not parts:
        raise ServiceError("QueueDoesNotExist", messages.NO_QUEUE)
    return (parts[-2] if len(parts) > 1 and parts[-2].isdigit() else account_id), parts[-1]


def check_name(name: str) -> None:
    if name.endswith(".fifo"):
        raise ServiceError("UnsupportedOperation", messages.FIFO)
    if not _NAME.match(name):
        raise invalid(messages.BAD_NAME)


def check_attributes(attributes: Mapping[str, str]) -> None:
    for name, text in attributes.items():
        if name == "FifoQueue":
            raise ServiceError("UnsupportedOperation", messages.FIFO)
        if name not in limits.SETTABLE:
            raise invalid(messages.unknown_attribute(name), "InvalidAttributeName")
        low, high = limits.RANGES.get(name, (0, 0))
        if name in limits.RANGES and not (text.isdigit() and low <= int(text) <= high):
            raise invalid(messages.bad_value(name), "InvalidAttributeValue")
        if name == "RedrivePolicy" and text:
            redrive(text)


def redrive(policy: str) -> tuple[str, int]:
    """(dead-letter queue's ARN, receives allowed)."""
    try:
        document = orjson.loads(policy)
        return str(document["deadLetterTargetArn"]), int(document["maxReceiveCount"])
    except (ValueError, KeyError, TypeError) as error:
        raise invalid(messages.bad_value("RedrivePolicy"), "InvalidAttributeValue") from error


def check_range(name: str, value: int, high: int) -> None:
    if not 0 <= value <= high:
        raise invalid(messages.out_of_range(name, value, 0, high))


def md5_of(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def md5_of_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> str:
    """Source: SQSDeveloperGuide/sqs-message-metadata.html, calculating the MD5 message digest."""
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        value = attributes[name]
        is_binary = value["DataType"].startswith("Binary")
        data = base64.b64decode(value["Binary64"]) if is_binary else value["StringValue"].encode()
        for part in (name.encode(), value["DataType"].encode()):
            digest.update(struct.pack(">I", len(part)) + part)
        digest.update((b"\x02" if is_binary else b"\x01") + struct.pack(">I", len(data)) + data)
    return digest.hexdigest()


def stored_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    stored: dict[str, dict[str, Any]] = {}
    for name, value in attributes.items():
        if value["DataType"].startswith("Binary"):
            data = base64.b64encode(value.get("BinaryValue") or b"").decode()
            stored[name] = {"DataType": value["DataType"], "Binary64": data}
        else:
            stored[name] = {"DataType": value["DataType"], "StringValue": value.get("StringValue") or ""}
    return stored


def shown_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {"DataType": value["DataType"], "BinaryValue": base64.b64decode(value["Binary64"])}
        if "Binary64" in value
        else dict(value)
        for name, value in attributes.items()
    }


def handle(message_id: str, received: int) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([message_id, received])).decode()


def read_handle(text: str) -> str:
    """The message id that a receipt handle names."""
    try:
        return str(orjson.loads(base64.urlsafe_b64decode(text))[0])
    except (ValueError, IndexError, TypeError) as error:
        raise ServiceError("ReceiptHandleIsInvalid", messages.bad_handle(text)) from error
