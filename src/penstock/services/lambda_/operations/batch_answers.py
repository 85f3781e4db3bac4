"""What a function's answer says of its batch. Pure.

Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
"""

from collections.abc import Callable, Iterable
from typing import Any

import orjson


def failed_items(
    payload: bytes, known: Iterable[str], named: Callable[[Any], Any] = lambda item: item
) -> set[str] | None:
    """The identifiers of `batchItemFailures`; None where the answer makes the whole batch fail.

    named   what an `itemIdentifier` stands for, where it isn't the identifier itself
    """
    try:
        answer = orjson.loads(payload or b"null")
    except orjson.JSONDecodeError:
        return None
    if answer is None or answer == {} or answer == "":
        return set()
    if not isinstance(answer, dict):
        return None
    failures = answer.get("batchItemFailures")
    if not failures:
        return set() if failures in (None, []) else None
    if not isinstance(failures, list):
        return None
    ids = [named(item.get("itemIdentifier")) if isinstance(item, dict) else None for item in failures]
    known = set(known)
    return {str(one) for one in ids} if all(isinstance(one, str) and one in known for one in ids) else None


def window_state(payload: bytes) -> str | None:
    """The state that goes on to the window's next batch, as JSON; None where the answer has none."""
    try:
        answer: Any = orjson.loads(payload or b"null")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(answer, dict) or "state" not in answer:
        return None
    return orjson.dumps(answer["state"]).decode()
