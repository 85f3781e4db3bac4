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
_FIFO_NAME = re.compile(r"(?=.{1,80}\Z)[A-Za-z0-9_-]+\.fifo\Z")


def invalid(message: str, code: str = "InvalidParameterValue") -> ServiceError:
    return ServiceError(code, message)


def queue_of(url: str, account_id: str) -> tuple[str, str]:
    """(account, name) that a queue URL names; a bare name is the caller's own."""
    parts = [part for part in urlsplit(url).path.split("/") if part]
    if not parts:
        raise ServiceError("QueueDoesNotExist", messages.NO_QUEUE)
    return (parts[-2] if len(parts) > 1 and parts[-2].isdigit() else account_id), parts[-1]


def check_name(name: str, *, is_fifo: bool) -> None:
    if not (_FIFO_NAME if is_fifo else _NAME).match(name):
        raise invalid(messages.BAD_FIFO_NAME if is_fifo else messages.BAD_NAME)


def check_attributes(attributes: Mapping[str, str], *, is_fifo: bool, is_new: bool = True) -> None:
    for name, text in attributes.items():
        if name in limits.FIFO_VALUES and (is_fifo or name == "FifoQueue"):
            if text not in limits.FIFO_VALUES[name] or (name == "FifoQueue" and is_fifo != (text == "true")):
                raise invalid(messages.bad_value(name), "InvalidAttributeValue")
            if name == "FifoQueue" and not is_new and not is_fifo:
                raise invalid(messages.bad_value(name), "InvalidAttributeValue")
            continue
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


def deduplication(entry: Mapping[str, Any], attributes: Mapping[str, str]) -> tuple[str, str]:
    """(group, deduplication id) of a message sent to a FIFO queue.

    Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
    """
    group, id = entry.get("MessageGroupId"), entry.get("MessageDeduplicationId")
    if not group:
        raise ServiceError("MissingParameter", messages.NO_GROUP)
    if entry.get("DelaySeconds"):
        raise invalid(messages.delay_of_fifo(entry["DelaySeconds"]))
    if not id:
        if attributes.get("ContentBasedDeduplication") != "true":
            raise invalid(messages.NO_DEDUPLICATION)
        id = hashlib.sha256(entry["MessageBody"].encode()).hexdigest()
    return str(group), str(id)


def handle(raw: str, queue_created_ms: int) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([raw, queue_created_ms])).decode()


def read_handle(text: str, queue_created_ms: int) -> str:
    """The storage's handle in a receipt handle; "" for one of an earlier queue of the same name."""
    try:
        raw, created_ms = orjson.loads(base64.urlsafe_b64decode(text))
        sequence_of(raw)
        return str(raw) if created_ms == queue_created_ms else ""
    except (ValueError, TypeError, AttributeError) as error:
        raise ServiceError("ReceiptHandleIsInvalid", messages.bad_handle(text)) from error


def sequence_of(raw: str) -> int:
    """Which message a storage handle names, whichever receive it came from; 0 is none."""
    number = raw.partition("-")[0]
    return int(number, 16) if number else 0
