"""Putting and reading log events."""

import heapq
from collections.abc import Iterator
from itertools import islice
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.logs import background, limits, messages, rules, state
from penstock.storage.transactions import ReadTransaction, Transaction

_Found = tuple[int, str, state.Position, state.Event]  # in the order in which events of several streams merge


@operation
async def put_log_events(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()
    name = req["logGroupName"]

    def put(tx: Transaction) -> tuple[int, dict[str, int]]:
        group = state.get_group(tx, ctx.scope, name)
        stream = state.get_stream(tx, ctx.scope, name, req["logStreamName"])
        admission = rules.admit(req["logEvents"], now_ms=now_ms, retention_days=group.retention_days)
        if admission.accepted:
            state.append(tx, ctx.scope, name, stream, admission.accepted, now_ms=now_ms)
            background.schedule_expiry(tx, ctx.scope, group, now_ms=now_ms)
        return stream.sequence, admission.rejected

    sequence, rejected = await ctx.store.transact(put)
    answer: dict[str, Any] = {"nextSequenceToken": f"{sequence:056d}"}
    if rejected:
        answer["rejectedLogEventsInfo"] = rejected
    return answer


@operation
async def get_log_events(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """One page of a stream, oldest first; the tokens go on in either direction."""
    name = rules.group_name(req)
    token = req.get("nextToken")
    direction, at = rules.parse_token(token) if token else ("f" if req.get("startFromHead") else "b", None)
    size = req.get("limit") or limits.PAGE_EVENTS_MAX.value
    start_ms, end_ms = req.get("startTime") or 0, req.get("endTime") or rules.LAST[0]

    def read(tx: ReadTransaction) -> list[state.Event]:
        stream = state.get_stream(tx, ctx.scope, name, req["logStreamName"])
        if direction == "f":
            after = max(at or rules.FIRST, (start_ms - 1, 2**62, 0))
            events = state.events_forward(tx, ctx.scope, name, stream, after=after)
        else:
            events = state.events_backward(tx, ctx.scope, name, stream, before=min(at or rules.LAST, (end_ms, 0, 0)))
        found = (event for event in events if start_ms <= event.position[0] < end_ms)
        return list(_bounded(found, size))

    events = await ctx.store.read(read)
    if direction == "b":
        events.reverse()
    stay = at or (rules.FIRST if direction == "f" else rules.LAST)
    return {
        "events": [
            {"timestamp": event.position[0], "message": event.message, "ingestionTime": event.ingested_ms}
            for event in events
        ],
        "nextForwardToken": rules.format_token("f", events[-1].position if events else stay),
        "nextBackwardToken": rules.format_token("b", events[0].position if events else stay),
    }


def _bounded(events: Iterator[state.Event], count_max: int) -> Iterator[state.Event]:
    size = 0
    for event in islice(events, count_max):
        size += len(event.message) + limits.EVENT_BYTES_OVERHEAD.value
        if size > limits.PAGE_BYTES_MAX.value:
            return
        yield event


@operation
async def filter_log_events(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Events of a group's streams that match a pattern, merged by time."""
    name = rules.group_name(req)
    if req.get("logStreamNames") and req.get("logStreamNamePrefix"):
        raise rules.invalid(messages.NAMES_AND_PREFIX)
    is_match = rules.pattern_of(req)
    size = req.get("limit") or limits.PAGE_EVENTS_MAX.value
    after = _after(req)

    def read(tx: ReadTransaction) -> list[_Found]:
        state.get_group(tx, ctx.scope, name)
        sources = [_events(ctx, tx, name, stream, req, after) for stream in _chosen(ctx, tx, name, req)]
        found: list[_Found] = []
        size_bytes = 0
        for item in heapq.merge(*sources, key=lambda item: item[:3]):
            if not is_match(item[3].message):
                continue
            size_bytes += len(item[3].message) + limits.EVENT_BYTES_OVERHEAD.value
            if found and size_bytes > limits.PAGE_BYTES_MAX.value:
                return [*found, item]
            found.append(item)
            if len(found) > size:
                break
        return found

    found = await ctx.store.read(read)
    is_cut = len(found) > size or (
        len(found) > 1 and sum(len(item[3].message) + 26 for item in found) > limits.PAGE_BYTES_MAX.value
    )
    shown = found[:-1] if is_cut else found
    answer: dict[str, Any] = {"events": [_filtered(item) for item in shown], "searchedLogStreams": []}
    if is_cut:
        time_ms, stream_name, position, _ = shown[-1]
        answer["nextToken"] = rules.encode_page(time_ms, stream_name, position[1], position[2])
    return answer


def _after(req: dict[str, Any]) -> tuple[int, str, int, int] | None:
    if not req.get("nextToken"):
        return None
    parts = rules.decode_page(req["nextToken"])
    if len(parts) != 4:
        raise rules.invalid(messages.BAD_TOKEN)
    return int(parts[0]), str(parts[1]), int(parts[2]), int(parts[3])


def _chosen(ctx: Context, tx: ReadTransaction, group: str, req: dict[str, Any]) -> list[state.Stream]:
    if req.get("logStreamNames"):
        return [state.get_stream(tx, ctx.scope, group, name) for name in sorted(set(req["logStreamNames"]))]
    prefix = req.get("logStreamNamePrefix") or ""
    return [stream for stream in state.streams(tx, ctx.scope, group) if stream.name.startswith(prefix)]


def _events(
    ctx: Context,
    tx: ReadTransaction,
    group: str,
    stream: state.Stream,
    req: dict[str, Any],
    after: tuple[int, str, int, int] | None,
) -> Iterator[_Found]:
    start_ms, end_ms = req.get("startTime") or 0, req.get("endTime") or rules.LAST[0]
    begin: state.Position = (start_ms - 1, 2**62, 0)
    if after is not None:
        begin = max(begin, (after[0] - 1, 2**62, 0))
    for event in state.events_forward(tx, ctx.scope, group, stream, after=begin):
        time_ms, sequence, index = event.position
        if time_ms > end_ms:
            return
        if after is None or (time_ms, stream.name, sequence, index) > after:
            yield time_ms, stream.name, event.position, event


def _filtered(item: _Found) -> dict[str, Any]:
    time_ms, stream_name, _, event = item
    return {
        "logStreamName": stream_name,
        "timestamp": time_ms,
        "message": event.message,
        "ingestionTime": event.ingested_ms,
        "eventId": event.id,
    }
