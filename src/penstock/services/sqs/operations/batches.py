"""Batches: checked as a whole, carried out entry by entry in one transaction.

An entry that fails doesn't stop the others.
"""

from collections.abc import Callable, Sequence
from typing import Any

from penstock.kernel.errors import ServiceError
from penstock.services.sqs import limits, messages, rules
from penstock.services.sqs.state import Queue
from penstock.storage.transactions import Transaction

Act = Callable[[Transaction, Queue], dict[str, Any]]


def checked_entries(req: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Raises EmptyBatchRequest, TooManyEntriesInBatchRequest, InvalidBatchEntryId, BatchEntryIdsNotDistinct."""
    entries: list[dict[str, Any]] = req["Entries"]
    if not entries:
        raise ServiceError("EmptyBatchRequest", messages.empty_batch(kind))
    if len(entries) > limits.BATCH_MAX.value:
        raise ServiceError("TooManyEntriesInBatchRequest", messages.batch_too_large(len(entries)))
    rules.check_entry_ids(entry.get("Id") or "" for entry in entries)
    return entries


def carry_out(tx: Transaction, queue: Queue, acts: Sequence[tuple[str, Act]]) -> dict[str, Any]:
    """What each entry was answered. An act must refuse before it writes."""
    answer: dict[str, Any] = {"Successful": [], "Failed": []}
    for id, act in acts:
        try:
            answer["Successful"].append({"Id": id, **act(tx, queue)})
        except ServiceError as error:
            code, is_theirs = rules.query_code(error), error.is_sender_fault
            answer["Failed"].append({"Id": id, "SenderFault": is_theirs, "Code": code, "Message": error.message})
    return answer
