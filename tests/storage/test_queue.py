import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from penstock.storage.backends.memory import MemoryStore
from penstock.storage.queue import Counts, Queue

QUEUE = Queue(("q",))


class QueueAgainstAPlainModel(RuleBasedStateMachine):
    """The model: a list of dicts in sending order."""

    def __init__(self):
        super().__init__()
        self.store = MemoryStore()
        self.now = 1000
        self.messages = []
        self.handles = [("bad", None), ("7-", None)]
        self.seen = {}
        self.count = 0

    def run(self, fn):
        return asyncio.run(self.store.transact(fn))

    @rule(
        delay=st.sampled_from([0, 0, 5]),
        group=st.sampled_from(["", "", "a", "b"]),
        dedup=st.sampled_from(["", "", "x", "y"]),
    )
    def send(self, delay, group, dedup):
        self.count += 1
        name = f"m{self.count}"
        sent = self.run(
            lambda tx: QUEUE.send(
                tx,
                name.encode(),
                id=name,
                now_ms=self.now,
                delay_ms=0 if group else delay,
                group=group,
                dedup_id=dedup,
                dedup_window_ms=8,
            )
        )
        if dedup and dedup in self.seen and self.seen[dedup][0] > self.now:
            assert (sent.is_duplicate, sent.id) == (True, self.seen[dedup][1])
            return
        assert (sent.is_duplicate, sent.id) == (False, name)
        if dedup:
            self.seen[dedup] = (self.now + 8, name)
        self.messages.append(
            {"id": name, "at": self.now + (0 if group else delay), "group": group, "count": 0, "owner": "", "token": ""}
        )

    @rule(step=st.integers(1, 7))
    def wait(self, step):
        self.now += step

    @rule(count=st.integers(1, 4), timeout=st.sampled_from([0, 3, 10]), owner=st.sampled_from(["", "n1", "n2"]))
    def receive(self, count, timeout, owner):
        self.count += 1
        tokens = [f"t{self.count}.{index}" for index in range(count)]
        got = self.run(lambda tx: QUEUE.receive(tx, now_ms=self.now, visibility_ms=timeout, tokens=tokens, owner=owner))
        blocked = {m["group"] for m in self.messages if m["group"] and m["token"] and m["at"] > self.now}
        free = [m for m in self.messages if m["at"] <= self.now and m["group"] not in blocked]
        assert len(got) == min(count, len(free))
        by_id = {m["id"]: m for m in free}
        for message in got:
            model = by_id[message.id]
            assert message.body.decode() == message.id
            if model["group"]:
                order = [m["id"] for m in self.messages if m["group"] == model["group"]]
                mine = [m.id for m in got if m.group == model["group"]]
                assert mine == order[: len(mine)]
        for message in got:
            model = by_id[message.id]
            model.update(at=self.now + timeout, count=model["count"] + 1, owner=owner, token=message.handle)
            assert message.receive_count == model["count"]
            self.handles.append((message.handle, message.id))

    @rule(data=st.data())
    def delete(self, data):
        handle, _ = data.draw(st.sampled_from(self.handles))
        matching = [m for m in self.messages if m["token"] == handle]
        assert self.run(lambda tx: QUEUE.delete(tx, handle)) == bool(matching)
        self.messages = [m for m in self.messages if m not in matching]

    @rule(data=st.data(), timeout=st.sampled_from([0, 4]))
    def change_visibility(self, data, timeout):
        handle, _ = data.draw(st.sampled_from(self.handles))
        matching = [m for m in self.messages if m["token"] == handle and m["at"] > self.now]
        assert self.run(lambda tx: QUEUE.change_visibility(tx, handle, now_ms=self.now, visibility_ms=timeout)) == bool(
            matching
        )
        for model in matching:
            model["at"] = self.now + timeout

    @rule(owner=st.sampled_from(["n1", "n2"]))
    def release_owner(self, owner):
        held = [m for m in self.messages if m["owner"] == owner]
        assert self.run(lambda tx: QUEUE.release_owner(tx, owner, now_ms=self.now)) == len(held)
        for model in held:
            model.update(at=min(model["at"], self.now), owner="")

    @invariant()
    def counts_agree(self):
        late = [m for m in self.messages if m["at"] > self.now]
        in_flight = sum(1 for m in late if m["token"])
        expected = Counts(len(self.messages) - len(late), in_flight, len(late) - in_flight)
        assert self.run(lambda tx: QUEUE.counts(tx, now_ms=self.now)) == expected

    @invariant()
    def nobody_waits_too_long(self):
        times = [m["at"] for m in self.messages if not m["group"]]
        for group in ("a", "b"):
            mine = [m for m in self.messages if m["group"] == group]
            times += [max(m["at"] for m in mine if m["token"] or m is mine[0])] if mine else []
        told = self.run(QUEUE.next_visible_ms)
        assert told is None if not times else told <= min(times)

    def teardown(self):
        for message in self.messages:
            self.run(lambda tx, id=message["id"]: [QUEUE.remove(tx, m.seq) for m in QUEUE.peek(tx, limit=99)])
        left = self.run(lambda tx: {key[1] for key, _ in tx.range(("q",))})
        assert left <= {"n", "c", "d", "x"}


QueueAgainstAPlainModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestQueue = QueueAgainstAPlainModel.TestCase


class CountingReads:
    """A transaction that counts the rows it gives out."""

    def __init__(self, tx):
        self.tx, self.rows = tx, 0

    def __getattr__(self, name):
        return getattr(self.tx, name)

    def get(self, key):
        self.rows += 1
        return self.tx.get(key)

    def range(self, prefix, **arguments):
        for pair in self.tx.range(prefix, **arguments):
            self.rows += 1
            yield pair


def test_a_blocked_group_is_not_looked_through_however_long_it_is():
    def scenario(tx):
        for number in range(2000):
            QUEUE.send(tx, b"", id=str(number), now_ms=0, group="g")
        assert len(QUEUE.receive(tx, now_ms=1, visibility_ms=50, tokens=["a", "b"])) == 2
        QUEUE.send(tx, b"", id="other", now_ms=1, group="other")
        counting = CountingReads(tx)
        assert [m.id for m in QUEUE.receive(counting, now_ms=2, visibility_ms=90, tokens=["c", "d"])] == ["other"]
        assert QUEUE.receive(counting, now_ms=2, visibility_ms=90, tokens=["e"]) == []
        assert counting.rows < 40
        assert QUEUE.next_visible_ms(tx) == 51
        assert [m.id for m in QUEUE.receive(tx, now_ms=51, visibility_ms=9, tokens=["f", "g", "h"])] == ["0", "1", "2"]

    asyncio.run(MemoryStore().transact(scenario))
