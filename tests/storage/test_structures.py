"""Leases, journals and records."""

import asyncio
import enum
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.errors import Bug
from penstock.storage import leases
from penstock.storage.backends.memory import MemoryStore
from penstock.storage.journal import Journal
from penstock.storage.records import Record


def run(fn, store=None):
    return asyncio.run((store or MemoryStore()).transact(fn))


def test_a_lease_has_one_owner_until_it_expires_and_tokens_only_grow():
    def scenario(tx):
        first = leases.acquire(tx, ("l",), "a", now_ms=0, duration_ms=10)
        assert leases.acquire(tx, ("l",), "b", now_ms=9, duration_ms=10) is None
        renewed = leases.acquire(tx, ("l",), "a", now_ms=9, duration_ms=10)
        assert (first.token, renewed.token, renewed.expires_at_ms) == (1, 1, 19)
        second = leases.acquire(tx, ("l",), "b", now_ms=19, duration_ms=10)
        assert second.token == 2
        assert not leases.is_current(tx, ("l",), renewed)
        assert not leases.release(tx, ("l",), "a")
        assert leases.release(tx, ("l",), "b")
        assert leases.acquire(tx, ("l",), "b", now_ms=20, duration_ms=10).token == 3

    run(scenario)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(0, 3), st.integers(1, 3)),
            st.tuples(st.just("trim"), st.integers(0, 12), st.integers(1, 4)),
        ),
        max_size=20,
    )
)
def test_a_journal_finds_entries_by_position_and_time_whatever_was_trimmed(steps):
    journal = Journal(("j",))

    def scenario(tx):
        model, now, position = [], 0, 0
        for kind, number, count in steps:
            if kind == "append":
                now += number
                data = [b"%d" % (position + index) for index in range(count)]
                journal.append_all(tx, "s", data, now_ms=now)
                model += [(position + index + 1, now, piece) for index, piece in enumerate(data)]
                position += count
            else:
                old = [entry for entry in model if entry[1] < number]
                gone = journal.trim(tx, "s", before_ms=number, limit=count)
                assert min(count, len(old)) <= gone <= len(old)
                model = model[gone:]
            entries = [(e.position, e.at_ms, e.data) for e in journal.entries(tx, "s")]
            assert entries == model
            for begin in range(position + 3):
                for limit in (1, 2, 5, 50):
                    found = journal.read(tx, "s", position=begin, limit=limit)
                    assert [e.position for e in found] == [e[0] for e in model if e[0] >= begin][:limit]
            assert journal.first_position(tx, "s") == (model[0][0] if model else position + 1)
            for at in range(now + 2):
                later = [entry[0] for entry in model if entry[1] >= at]
                assert journal.position_at(tx, "s", at) == (later[0] if later else position + 1)
        assert journal.next_position(tx, "s") == position + 1

    run(scenario)


def test_entries_appended_together_lie_together_up_to_a_size():
    journal = Journal(("j",))

    def scenario(tx):
        items = [b"x" * 1024] * 100 + [b"", b"y" * 200_000, b"z"]
        journal.append_all(tx, "s", items, now_ms=5)
        assert [entry.data for entry in journal.entries(tx, "s")] == items
        assert [entry.data for entry in journal.read(tx, "s", position=101, limit=2)] == [b"", b"y" * 200_000]
        rows = list(tx.range(("j", "e")))
        assert len(rows) == 4
        assert journal.trim(tx, "s", before_ms=6, limit=1) == 64
        assert journal.first_position(tx, "s") == journal.position_at(tx, "s", 0) == 65
        assert journal.drop(tx, "s", before=101, limit=100) == 0
        assert journal.drop(tx, "s", before=104, limit=100) == 39
        assert journal.next_position(tx, "s") == 104

    run(scenario)


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True)
class Part:
    data: bytes
    size: int = 0


@dataclass
class Whole:
    name: str
    parts: list[Part] = field(default_factory=list)
    one: Part | None = None
    pair: tuple[int, bytes] = (0, b"")
    many: tuple[Part, ...] = ()
    by_name: dict[str, Part] = field(default_factory=dict)
    tags: dict[str, str] | None = None
    colour: Colour = Colour.RED
    kind: Literal["a", "b"] = "a"
    free: object = None
    names: frozenset[str] = frozenset()
    within: "Whole | None" = None


@given(st.binary(), st.text(st.characters(exclude_categories=("Cs",))), st.integers(-(2**63), 2**63 - 1))
def test_a_record_comes_back_as_it_was(data, text, number):
    part = Part(data, number)
    inner = Whole(text, [part])
    whole = Whole(
        text,
        [part, part],
        part,
        (number, data),
        (part,),
        {text: part},
        {"a": text},
        free={"x": [1, None]},
        names=frozenset({"b", "a"}),
        within=inner,
    )
    record = Record(Whole)
    assert record.load(record.dump(whole)) == whole


def test_older_versions_are_upgraded_when_read_and_newer_ones_refused():
    @dataclass
    class Old:
        title: str
        gone: int = 1

    @dataclass
    class New:
        name: str
        added: int = 7

    new = Record(New, version=2, upgrades={1: lambda members: {"name": members["title"], "gone": members["gone"]}})
    assert new.load(Record(Old).dump(Old("x"))) == New("x", 7)
    assert new.find(None) is None
    with pytest.raises(Bug, match="version 2"):
        Record(Old).load(new.dump(New("y")))
    with pytest.raises(Bug, match="lacks name"):
        Record(New).load(b'{"_v":1,"r":{}}')
    with pytest.raises(Bug, match="not a stored"):
        new.load(b"[]")
