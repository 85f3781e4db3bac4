"""Decisions of SQS: names, attributes, checksums, handles. Pure."""

import base64
import hashlib
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from penstock.kernel import arn
from penstock.kernel.errors import ServiceError
from penstock.model.loader import service_model
from penstock.services.sqs import limits, messages

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")
_FIFO_NAME = re.compile(r"(?=.{1,80}\Z)[A-Za-z0-9_-]+\.fifo\Z")
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")
_ID = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}\Z")
_ATTRIBUTE_NAME = re.compile(r"(?!.*\.\.)(?!\.)[A-Za-z0-9_.\-]{1,256}(?<!\.)\Z")
_NOT_ALLOWED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")
_KINDS = ("String", "Number", "Binary")


def invalid(message: str, code: str = "InvalidParameterValue") -> ServiceError:
    return ServiceError(code, message)


def invalid_value(value: object, name: str, reason: str) -> ServiceError:
    return invalid(messages.invalid_because(value, name, reason))


def query_code(error: ServiceError) -> str:
    """The code by which a batch's failed entry is known: the one that the query protocol says."""
    declared = service_model("sqs").errors.get(error.code)
    return declared.code if declared else error.code


def queue_of(url: str, account_id: str) -> tuple[str, str]:
    """(account, name) that a queue URL names; a bare name is the caller's own."""
    parts = [part for part in urlsplit(url).path.split("/") if part]
    if not parts:
        raise ServiceError("QueueDoesNotExist", messages.NO_QUEUE)
    return (parts[-2] if len(parts) > 1 and parts[-2].isdigit() else account_id), parts[-1]


def check_name(name: str, *, is_fifo: bool) -> None:
    if not (_FIFO_NAME if is_fifo else _NAME).match(name):
        raise invalid(messages.BAD_FIFO_NAME if is_fifo else messages.BAD_NAME)


def check_attributes(attributes: Mapping[str, str], *, is_fifo: bool, known: Mapping[str, str] | None = None) -> None:
    """Raises InvalidAttributeName, InvalidAttributeValue. `known` are those of a queue that is there already."""
    for name, text in attributes.items():
        if name not in limits.SETTABLE or (name in limits.OF_FIFO and not is_fifo):
            raise invalid(messages.unknown_attribute(name), "InvalidAttributeName")
        if text == "" and name not in limits.VALUES and name not in limits.RANGES:
            continue
        low, high = limits.RANGES.get(name, (0, 0))
        if name in limits.RANGES and not (text.isdecimal() and low <= int(text) <= high):
            raise invalid(messages.bad_value(name), "InvalidAttributeValue")
        if name in limits.VALUES and text not in limits.VALUES[name]:
            raise invalid(messages.bad_value(name), "InvalidAttributeValue")
        if name == "Policy":
            _check_policy(text)
        elif name == "RedrivePolicy":
            redrive(text)
        elif name == "RedriveAllowPolicy":
            redrive_allow(text)
    if attributes.get("KmsMasterKeyId") and attributes.get("SqsManagedSseEnabled") == "true":
        raise invalid(messages.ONE_ENCRYPTION, "InvalidAttributeValue")
    merged = {**(known or limits.FIFO_DEFAULTS), **attributes}
    if merged.get("FifoThroughputLimit") == "perMessageGroupId" and merged.get("DeduplicationScope") != "messageGroup":
        raise invalid(messages.THROUGHPUT_NEEDS_SCOPE, "InvalidAttributeValue")


def _check_policy(text: str) -> None:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict) or "Statement" not in document:
        raise invalid(messages.bad_value("Policy"), "InvalidAttributeValue")


def normal_attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    """As they are kept and given back: the redrive policy's count is a number, a key ends the other encryption."""
    normal = dict(attributes)
    if normal.get("RedrivePolicy"):
        target, received_max = redrive(normal["RedrivePolicy"])
        policy = {"deadLetterTargetArn": target, "maxReceiveCount": received_max}
        normal["RedrivePolicy"] = orjson.dumps(policy).decode()
    if normal.get("KmsMasterKeyId"):
        normal["SqsManagedSseEnabled"] = "false"
        normal.setdefault("KmsDataKeyReusePeriodSeconds", "300")
    return normal


def redrive(policy: str) -> tuple[str, int]:
    """(dead-letter queue's ARN, receives allowed). Raises InvalidParameterValue."""
    name = "RedrivePolicy"
    try:
        document = orjson.loads(policy)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise invalid_value(policy, name, "Redrive policy is not a valid JSON map.")
    for member in ("deadLetterTargetArn", "maxReceiveCount"):
        if document.get(member) in (None, ""):
            raise invalid_value(policy, name, f"Redrive policy does not contain mandatory attribute: {member}.")
    target, count = str(document["deadLetterTargetArn"]), str(document["maxReceiveCount"])
    if not arn.is_arn(target):
        raise invalid_value(policy, name, "Invalid value for deadLetterTargetArn.")
    highest = limits.RECEIVES_MAX.value
    if not count.isdecimal() or not 1 <= int(count) <= highest:
        told = f"Invalid value for maxReceiveCount: {count}, valid values are from 1 to {highest} both inclusive."
        raise invalid_value(policy, name, told)
    return target, int(count)


def redrive_allow(policy: str) -> tuple[str, tuple[str, ...]]:
    """(allowAll, denyAll or byQueue; the ARNs for byQueue). Raises InvalidParameterValue."""
    name = "RedriveAllowPolicy"
    try:
        document = orjson.loads(policy)
    except orjson.JSONDecodeError:
        document = None
    kind = document.get("redrivePermission") if isinstance(document, dict) else None
    if kind not in ("allowAll", "denyAll", "byQueue"):
        raise invalid_value(policy, name, messages.BAD_REDRIVE_ALLOW)
    sources = document.get("sourceQueueArns") or []
    if kind == "byQueue" and not 1 <= len(sources) <= limits.SOURCE_QUEUES_MAX.value:
        raise invalid_value(policy, name, messages.BAD_REDRIVE_ALLOW)
    if kind != "byQueue" and sources:
        raise invalid_value(policy, name, messages.BAD_REDRIVE_ALLOW)
    return str(kind), tuple(str(one) for one in sources)


def is_source_allowed(allow_policy: str | None, source_arn: str) -> bool:
    """Whether a dead-letter queue takes a queue's dead letters."""
    if not allow_policy:
        return True
    kind, sources = redrive_allow(allow_policy)
    return kind == "allowAll" or source_arn in sources


def check_range(name: str, value: int, high: int, low: int = 0) -> None:
    if not low <= value <= high:
        raise invalid(messages.out_of_range(name, value, low, high))


def check_body(body: str) -> None:
    if not body:
        raise ServiceError("MissingParameter", messages.EMPTY_BODY)
    if not body.isascii() or not body.isprintable():
        check_characters(body)


def check_characters(text: str) -> None:
    if _NOT_ALLOWED.search(text):
        raise ServiceError("InvalidMessageContents", messages.BAD_CHARACTERS)


def check_entry_ids(ids: Iterable[str]) -> None:
    seen: set[str] = set()
    for id in ids:
        if not _ENTRY_ID.match(id):
            raise ServiceError("InvalidBatchEntryId", messages.BAD_ENTRY_ID)
        if id in seen:
            raise ServiceError("BatchEntryIdsNotDistinct", messages.DUPLICATE_IDS.format(id))
        seen.add(id)


def check_message_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> None:
    """Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html"""
    if len(attributes) > limits.ATTRIBUTES_MAX.value:
        raise invalid(messages.too_many_attributes(len(attributes)))
    for name, value in attributes.items():
        if name.lower().startswith(("aws.", "amazon.")):
            raise invalid(messages.RESERVED_NAME)
        if not _ATTRIBUTE_NAME.match(name):
            raise invalid(messages.bad_attribute_name(name))
        _check_value(name, value)


def _check_value(name: str, value: Mapping[str, Any]) -> None:
    kind = value.get("DataType") or ""
    if not kind:
        raise invalid(messages.no_attribute_type(name))
    base = kind.partition(".")[0]
    if base not in _KINDS or len(kind) > limits.ATTRIBUTE_NAME_MAX.value:
        raise invalid(messages.bad_attribute_type(name))
    found = value.get("BinaryValue" if base == "Binary" else "StringValue")
    if not found:
        raise invalid(messages.empty_attribute(name, kind))
    if base != "Binary":
        check_characters(found)
    if base == "Number" and not _NUMBER.match(found):
        raise invalid(messages.not_a_number(name))


def check_system_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> None:
    """AWSTraceHeader is the only one that can be sent."""
    for name, value in attributes.items():
        if name != "AWSTraceHeader":
            raise invalid(messages.bad_system_attribute(name))
        if value.get("DataType") != "String" or not value.get("StringValue"):
            raise invalid(messages.empty_attribute(name, "String"))


def attributes_bytes(attributes: Mapping[str, Mapping[str, Any]]) -> int:
    """What a message's attributes count of its size: names, types and values."""
    size = 0
    for name, value in attributes.items():
        data = value.get("BinaryValue") or (value.get("StringValue") or "").encode()
        size += len(name.encode()) + len(value.get("DataType") or "") + len(data)
    return size


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


def is_attribute_named(key: str, names: Iterable[str]) -> bool:
    """Whether MessageAttributeNames asks for it: by name, by prefix (`bar.*`), or all."""
    return any(name in ("All", ".*", key) or (name.endswith(".*") and key.startswith(name[:-2])) for name in names)


def deduplication(entry: Mapping[str, Any], attributes: Mapping[str, str]) -> tuple[str, str]:
    """(group, deduplication id) of a message sent to a FIFO queue.

    Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
    """
    check_fifo_members(entry, attributes)
    group, id = entry["MessageGroupId"], entry.get("MessageDeduplicationId")
    check_id("MessageGroupId", group)
    if entry.get("DelaySeconds"):
        raise invalid_value(entry["DelaySeconds"], "DelaySeconds", messages.NOT_FOR_THIS_TYPE)
    if not id:
        id = hashlib.sha256(entry["MessageBody"].encode()).hexdigest()
    else:
        check_id("MessageDeduplicationId", id)
    return str(group), str(id)


def check_fifo_members(entry: Mapping[str, Any], attributes: Mapping[str, str]) -> None:
    """Raises MissingParameter without a group, InvalidParameterValue where nothing tells duplicates."""
    if not entry.get("MessageGroupId"):
        raise ServiceError("MissingParameter", messages.NO_GROUP)
    if not entry.get("MessageDeduplicationId") and attributes.get("ContentBasedDeduplication") != "true":
        raise invalid(messages.NO_DEDUPLICATION)


def check_id(name: str, value: str) -> None:
    if not _ID.match(value):
        raise invalid_value(value, name, messages.bad_id(name))


def check_of_standard(entry: Mapping[str, Any]) -> None:
    """A standard queue takes a group, for fairness between tenants, but no deduplication id."""
    if entry.get("MessageDeduplicationId"):
        raise invalid_value(entry["MessageDeduplicationId"], "MessageDeduplicationId", messages.NOT_FOR_THIS_TYPE)
    if entry.get("MessageGroupId"):
        check_id("MessageGroupId", entry["MessageGroupId"])


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


def sequence_number(seq: int) -> str:
    """Twenty digits, rising within a queue."""
    return f"{seq:020d}"


def task_handle(id: str, source_arn: str) -> str:
    return base64.b64encode(orjson.dumps({"taskId": id, "sourceArn": source_arn})).decode()


def read_task_handle(text: str) -> tuple[str, str]:
    """(task, source's ARN). Raises InvalidParameterValue."""
    try:
        document = orjson.loads(base64.b64decode(text))
        return str(document["taskId"]), str(document["sourceArn"])
    except (ValueError, TypeError, KeyError) as error:
        raise invalid_value(text, "TaskHandle", "The task handle is not valid.") from error
