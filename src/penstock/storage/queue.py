"""A queue with visibility timeouts, FIFO groups and deduplication, below one prefix of the store.

    ("m", seq)            body
    ("s", seq)            state: a `_State` as a JSON list
    ("v", visible_at_ms, seq)  messages without a group by when they may be received next
    ("w", visible_at_ms, seq)  those with one; the value of both says whether it was received
    ("g", group, seq)     the messages of a FIFO group, in order
    ("i", group, seq)     those of a group that were received and not yet deleted
    ("h", ready_at_ms, seq)    groups by when they may give out a message, not before, and by their oldest message
    ("k", group)          where a group stands among these
    ("o", owner, seq)     those a node has received on someone's behalf
    ("d", dedup_id), ("x", expires_at_ms, dedup_id)   what was sent within the window
    ("r", attempt_id), ("y", expires_at_ms, attempt_id)  what a receive gave out, for its repetition
    ("n",) ("c",)         next seq; how many messages there are

Pure with respect to time and chance: `now_ms` and receipt tokens are arguments.
Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
and https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-understanding-logic.html
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from operator import attrgetter

import orjson

from penstock.storage.transactions import Key, ReadTransaction, Transaction

GROUPS_AT_ONCE = 1000  # how many blocked groups a receive puts aside before it answers that there is nothing
_DEDUP_SWEEP = 32
_RECEIVED = b"r"


@dataclass(frozen=True, slots=True)
class Message:
    """`handle` is empty unless it was received; `receive_count` counts the receive that gave it out."""

    id: str
    seq: int
    body: bytes
    sent_at_ms: int
    group: str
    receive_count: int
    first_received_at_ms: int
    handle: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """`is_duplicate`: the window held it already, and `id` and `seq` are those of the first one."""

    id: str
    seq: int
    is_duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    visible: int
    in_flight: int
    delayed: int


@dataclass(frozen=True, slots=True)
class Hold:
    """`is_latest`: the handle is that of the last receive."""

    is_latest: bool
    received_at_ms: int
    visible_at_ms: int


@dataclass(frozen=True, slots=True)
class _State:
    id: str
    sent_at_ms: int
    visible_at_ms: int
    receive_count: int
    first_received_at_ms: int
    token: str
    owner: str
    group: str
    received_at_ms: int = 0

    @property
    def is_received(self) -> bool:
        return self.token != ""


class Queue:
    """A standard queue for messages without a group, FIFO among those with one."""

    def __init__(self, prefix: Key) -> None:
        self._prefix = prefix

    def send(
        self,
        tx: Transaction,
        body: bytes,
        *,
        id: str,
        now_ms: int,
        delay_ms: int = 0,
        group: str = "",
        dedup_id: str = "",
        dedup_window_ms: int = 0,
    ) -> Sent:
        if dedup_id:
            known = tx.get((*self._prefix, "d", dedup_id))
            if known is not None:
                expires_at_ms, first_id, first_seq = orjson.loads(known)
                if expires_at_ms > now_ms:
                    return Sent(first_id, first_seq, is_duplicate=True)
                self._forget_dedup(tx, dedup_id, expires_at_ms)
        seq = self._number(tx, "n") + 1
        self._set_number(tx, "n", seq)
        self._set_number(tx, "c", self._number(tx, "c") + 1)
        tx.put((*self._prefix, "m", seq), body)
        self._put_state(tx, seq, _State(id, now_ms, now_ms + delay_ms, 0, 0, "", "", group))
        if group:
            tx.put((*self._prefix, "g", group, seq), b"")
            if tx.get((*self._prefix, "k", group)) is None:
                self._place_group(tx, group, now_ms + delay_ms, seq)
        if dedup_id:
            if seq % _DEDUP_SWEEP == 0:
                self._sweep_dedup(tx, now_ms)
            expires_at_ms = now_ms + dedup_window_ms
            tx.put((*self._prefix, "d", dedup_id), orjson.dumps([expires_at_ms, id, seq]))
            tx.put((*self._prefix, "x", expires_at_ms, dedup_id), b"")
        return Sent(id, seq)

    def receive(
        self, tx: Transaction, *, now_ms: int, visibility_ms: int, tokens: list[str], owner: str = ""
    ) -> list[Message]:
        """Up to one visible message for each of `tokens`, which become their receipt handles.

        A FIFO group is given out in order, and only while none of it is in flight from an earlier receive.
        """
        chosen = self._choose(tx, now_ms, len(tokens))
        leased = [
            self._lease(tx, seq, state, token, now_ms, visibility_ms, owner)
            for (seq, state), token in zip(chosen, tokens, strict=False)
        ]
        for group in dict.fromkeys(message.group for message in leased if message.group):
            self._move_group(tx, group, now_ms + visibility_ms)
        return leased

    def remember_attempt(
        self, tx: Transaction, attempt_id: str, received: list[Message], *, now_ms: int, window_ms: int
    ) -> None:
        """Keep what a receive gave out, so that `receive_again` answers its repetition."""
        for key, _ in tx.range((*self._prefix, "y"), end=(*self._prefix, "y", now_ms + 1), limit=_DEDUP_SWEEP):
            tx.delete(key)
            tx.delete((*self._prefix, "r", str(key[-1])))
        kept = orjson.dumps([now_ms + window_ms, [message.handle for message in received]])
        tx.put((*self._prefix, "r", attempt_id), kept)
        tx.put((*self._prefix, "y", now_ms + window_ms, attempt_id), b"")

    def receive_again(
        self, tx: Transaction, attempt_id: str, *, now_ms: int, visibility_ms: int
    ) -> list[Message] | None:
        """The same messages with the same handles, hidden anew; None where they aren't all hidden still."""
        kept = tx.get((*self._prefix, "r", attempt_id))
        if kept is None:
            return None
        expires_at_ms, handles = orjson.loads(kept)
        found = [self._by_handle(tx, handle) for handle in handles]
        held = [pair for pair in found if pair is not None and pair[1].visible_at_ms > now_ms]
        if expires_at_ms <= now_ms or len(held) != len(handles):
            return None
        again = []
        for seq, state in held:
            hidden = replace(state, visible_at_ms=now_ms + visibility_ms, received_at_ms=now_ms)
            self._move(tx, seq, state, hidden)
            again.append(self._message(tx, seq, hidden))
        return again

    def delete(self, tx: Transaction, handle: str) -> bool:
        """Whether the handle was the message's latest; one that isn't changes nothing."""
        found = self._by_handle(tx, handle)
        if found is None:
            return False
        self._remove(tx, *found)
        return True

    def remove(self, tx: Transaction, seq: int) -> bool:
        """Delete without a handle: for redrive and retention."""
        state = self._state(tx, seq)
        if state is not None:
            self._remove(tx, seq, state)
        return state is not None

    def change_visibility(
        self, tx: Transaction, handle: str, *, now_ms: int, visibility_ms: int, is_latest: bool = True
    ) -> bool:
        """Make the message visible in `visibility_ms`. False for one that has run out.

        Also for a handle that isn't the latest, unless any receive's will do.
        """
        found = self._by_handle(tx, handle, is_latest=is_latest)
        if found is None or found[1].visible_at_ms <= now_ms:
            return False
        seq, state = found
        self._move(tx, seq, state, replace(state, visible_at_ms=now_ms + visibility_ms))
        if state.group:
            self._move_group(tx, state.group, 0)
        return True

    def find_hold(self, tx: ReadTransaction, handle: str) -> Hold | None:
        """Of the message that a handle names, whichever receive it came from; None where it is gone."""
        number, _, token = handle.partition("-")
        state = self._state(tx, int(number, 16)) if number else None
        if state is None:
            return None
        return Hold(state.token == token and token != "", state.received_at_ms, state.visible_at_ms)

    def release_owner(self, tx: Transaction, owner: str, *, now_ms: int) -> int:
        """Make what `owner` holds visible at once: what a node does about its dead predecessor. Answers how many."""
        count = 0
        for key, _ in tx.range((*self._prefix, "o", owner)):
            seq = _int(key[-1])
            state = self._state(tx, seq)
            assert state is not None
            visible_at_ms = min(state.visible_at_ms, now_ms)
            self._move(tx, seq, state, replace(state, visible_at_ms=visible_at_ms, owner=""))
            if state.group:
                self._move_group(tx, state.group, 0)
            count += 1
        return count

    def purge(self, tx: Transaction) -> None:
        """Every message, and what is known of duplicates; sequence numbers live on."""
        for part in ("m", "s", "v", "w", "g", "i", "h", "k", "o", "c", "r", "y", "d", "x"):
            tx.clear((*self._prefix, part))

    def drop(self, tx: Transaction) -> None:
        """The queue without a trace."""
        tx.clear(self._prefix)

    def expire(self, tx: Transaction, *, sent_before_ms: int, limit: int) -> int:
        """Delete up to `limit` messages older than the retention period; answers how many."""
        old: list[tuple[int, _State]] = []
        for key, value in tx.range((*self._prefix, "s"), limit=limit):
            state = _State(*orjson.loads(value))
            if state.sent_at_ms >= sent_before_ms:
                break
            old.append((_int(key[-1]), state))
        for seq, state in old:
            self._remove(tx, seq, state)
        return len(old)

    def counts(self, tx: ReadTransaction, *, now_ms: int) -> Counts:
        in_flight = delayed = 0
        for is_received in self._hidden(tx, now_ms):
            if is_received:
                in_flight += 1
            else:
                delayed += 1
        return Counts(self._number(tx, "c") - in_flight - delayed, in_flight, delayed)

    def size(self, tx: ReadTransaction) -> int:
        """How many messages there are, in whatever state."""
        return self._number(tx, "c")

    def hidden(self, tx: ReadTransaction, *, now_ms: int, limit: int) -> int:
        """How many can't be received now, delayed or in flight; counted up to `limit`."""
        return sum(1 for _ in islice(self._hidden(tx, now_ms), limit))

    def _hidden(self, tx: ReadTransaction, now_ms: int) -> Iterator[bool]:
        """Whether it was received, for each message that can't be now."""
        for part in ("v", "w"):
            prefix = (*self._prefix, part)
            for _, value in tx.range(prefix, begin=(*prefix, now_ms + 1)):
                yield value == _RECEIVED

    def next_visible_ms(self, tx: ReadTransaction) -> int | None:
        """When the earliest message may be received (perhaps long past), or None if there is none."""
        times = [_int(key[-2]) for part in ("v", "h") for key, _ in tx.range((*self._prefix, part), limit=1)]
        return min(times, default=None)

    def oldest_sent_ms(self, tx: ReadTransaction) -> int | None:
        for _, value in tx.range((*self._prefix, "s"), limit=1):
            return _State(*orjson.loads(value)).sent_at_ms
        return None

    def peek(self, tx: ReadTransaction, *, limit: int) -> list[Message]:
        """The oldest messages as they are, received or not; nothing changes."""
        found: list[Message] = []
        for key, value in tx.range((*self._prefix, "s"), limit=limit):
            found.append(self._message(tx, _int(key[-1]), _State(*orjson.loads(value))))
        return found

    def _choose(self, tx: Transaction, now_ms: int, count: int) -> list[tuple[int, _State]]:
        chosen: list[tuple[int, _State]] = []
        prefix = (*self._prefix, "v")
        for key, _ in tx.range(prefix, end=(*prefix, now_ms + 1), limit=count):
            state = self._state(tx, _int(key[-1]))
            assert state is not None
            chosen.append((_int(key[-1]), state))
        if len(chosen) < count:
            chosen += self._choose_of_groups(tx, now_ms, count - len(chosen))
        return chosen

    def _choose_of_groups(self, tx: Transaction, now_ms: int, count: int) -> list[tuple[int, _State]]:
        """Groups that turn out to be blocked are put aside until they aren't, or until something of them changes."""
        chosen: list[tuple[int, _State]] = []
        prefix = (*self._prefix, "h")
        begin, looked = prefix, 0
        while looked < GROUPS_AT_ONCE and len(chosen) < count:
            page = list(tx.range(prefix, begin=begin, end=(*prefix, now_ms + 1), limit=count))
            for _key, name in page:
                group = name.decode()
                found = self._choose_of_group(tx, group, now_ms, count - len(chosen))
                chosen += found
                if not found:
                    self._move_group(tx, group, self._ready_at_ms(tx, group))
                if len(chosen) == count:
                    break
            if len(page) < count:
                break
            begin, looked = (*page[-1][0], 0), looked + len(page)
        return chosen

    def _ready_at_ms(self, tx: ReadTransaction, group: str) -> int:
        """When its oldest message is visible and none of it is in flight."""
        ready_at_ms = 0
        for part, limit in (("g", 1), ("i", None)):
            for key, _ in tx.range((*self._prefix, part, group), limit=limit):
                state = self._state(tx, _int(key[-1]))
                assert state is not None
                ready_at_ms = max(ready_at_ms, state.visible_at_ms)
        return ready_at_ms

    def _move_group(self, tx: Transaction, group: str, ready_at_ms: int) -> None:
        """`ready_at_ms` may be too early, which costs a look; 0 where something changed for the better."""
        known = tx.get((*self._prefix, "k", group))
        if known is None:
            return
        at_ms, first = orjson.loads(known)
        if tx.get((*self._prefix, "g", group, first)) is None:
            first = next((_int(key[-1]) for key, _ in tx.range((*self._prefix, "g", group), limit=1)), 0)
            if not first:
                tx.delete((*self._prefix, "h", at_ms, orjson.loads(known)[1]))
                tx.delete((*self._prefix, "k", group))
                return
        if [at_ms, first] != [ready_at_ms, orjson.loads(known)[1]]:
            tx.delete((*self._prefix, "h", at_ms, orjson.loads(known)[1]))
            self._place_group(tx, group, ready_at_ms, first)

    def _place_group(self, tx: Transaction, group: str, ready_at_ms: int, first: int) -> None:
        tx.put((*self._prefix, "h", ready_at_ms, first), group.encode())
        tx.put((*self._prefix, "k", group), orjson.dumps([ready_at_ms, first]))

    def _choose_of_group(self, tx: ReadTransaction, group: str, now_ms: int, count: int) -> list[tuple[int, _State]]:
        for key, _ in tx.range((*self._prefix, "i", group)):
            held = self._state(tx, _int(key[-1]))
            assert held is not None
            if held.visible_at_ms > now_ms:
                return []
        chosen: list[tuple[int, _State]] = []
        for key, _ in tx.range((*self._prefix, "g", group), limit=count):
            state = self._state(tx, _int(key[-1]))
            assert state is not None
            if state.visible_at_ms > now_ms:
                break
            chosen.append((_int(key[-1]), state))
        return chosen

    def _lease(
        self, tx: Transaction, seq: int, state: _State, token: str, now_ms: int, visibility_ms: int, owner: str
    ) -> Message:
        leased = _State(
            state.id,
            state.sent_at_ms,
            now_ms + visibility_ms,
            state.receive_count + 1,
            state.first_received_at_ms or now_ms,
            token,
            owner,
            state.group,
            now_ms,
        )
        self._move(tx, seq, state, leased)
        if state.group:
            tx.put((*self._prefix, "i", state.group, seq), b"")
        return self._message(tx, seq, leased)

    def _message(self, tx: ReadTransaction, seq: int, state: _State) -> Message:
        body = tx.get((*self._prefix, "m", seq))
        assert body is not None
        handle = f"{seq:x}-{state.token}" if state.is_received else ""
        return Message(
            state.id,
            seq,
            body,
            state.sent_at_ms,
            state.group,
            state.receive_count,
            state.first_received_at_ms,
            handle,
        )

    def _by_handle(self, tx: ReadTransaction, handle: str, *, is_latest: bool = True) -> tuple[int, _State] | None:
        number, _, token = handle.partition("-")
        try:
            seq = int(number, 16)
        except ValueError:
            return None
        state = self._state(tx, seq)
        is_it = state is not None and bool(token) and (state.token == token or (not is_latest and state.is_received))
        return (seq, state) if state is not None and is_it else None

    def _remove(self, tx: Transaction, seq: int, state: _State) -> None:
        for part in ("m", "s"):
            tx.delete((*self._prefix, part, seq))
        tx.delete((*self._prefix, "w" if state.group else "v", state.visible_at_ms, seq))
        if state.group:
            tx.delete((*self._prefix, "g", state.group, seq))
            tx.delete((*self._prefix, "i", state.group, seq))
            self._move_group(tx, state.group, 0)
        if state.owner:
            tx.delete((*self._prefix, "o", state.owner, seq))
        self._set_number(tx, "c", self._number(tx, "c") - 1)

    def _move(self, tx: Transaction, seq: int, old: _State, new: _State) -> None:
        tx.delete((*self._prefix, "w" if old.group else "v", old.visible_at_ms, seq))
        if old.owner and old.owner != new.owner:
            tx.delete((*self._prefix, "o", old.owner, seq))
        self._put_state(tx, seq, new)

    def _put_state(self, tx: Transaction, seq: int, state: _State) -> None:
        tx.put((*self._prefix, "s", seq), orjson.dumps(_fields_of(state)))
        value = _RECEIVED if state.is_received else b""
        tx.put((*self._prefix, "w" if state.group else "v", state.visible_at_ms, seq), value)
        if state.owner:
            tx.put((*self._prefix, "o", state.owner, seq), b"")

    def _state(self, tx: ReadTransaction, seq: int) -> _State | None:
        value = tx.get((*self._prefix, "s", seq))
        return None if value is None else _State(*orjson.loads(value))

    def _sweep_dedup(self, tx: Transaction, now_ms: int) -> None:
        prefix = (*self._prefix, "x")
        for key, _ in tx.range(prefix, end=(*prefix, now_ms + 1), limit=2 * _DEDUP_SWEEP):
            self._forget_dedup(tx, str(key[-1]), _int(key[-2]))

    def _forget_dedup(self, tx: Transaction, dedup_id: str, expires_at_ms: int) -> None:
        tx.delete((*self._prefix, "x", expires_at_ms, dedup_id))
        tx.delete((*self._prefix, "d", dedup_id))

    def _number(self, tx: ReadTransaction, name: str) -> int:
        return int(tx.get((*self._prefix, name)) or b"0")

    def _set_number(self, tx: Transaction, name: str, value: int) -> None:
        tx.put((*self._prefix, name), b"%d" % value)


_fields_of = attrgetter(*_State.__slots__)


def owners(tx: ReadTransaction, prefix: Key) -> Iterator[str]:
    """The nodes that hold messages of the queue at `prefix`."""
    last: object = None
    for key, _ in tx.range((*prefix, "o")):
        if key[-2] != last:
            last = key[-2]
            yield str(last)


def _int(part: object) -> int:
    assert isinstance(part, int)
    return part
