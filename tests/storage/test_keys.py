import functools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.storage.keys import pack, prefix_range, unpack

PARTS = st.recursive(
    st.none()
    | st.binary(max_size=6)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
    | st.integers()
    | st.integers(-300, 300)
    | st.booleans(),
    lambda parts: st.lists(parts, max_size=3).map(tuple),
    max_leaves=6,
)
KEYS = st.lists(PARTS, max_size=4).map(tuple)


def rank(part):
    for number, kind in enumerate([type(None), bytes, str, tuple, int, bool]):
        if type(part) is kind:
            return number
    raise AssertionError(part)


def compare(left, right):
    for a, b in zip(left, right, strict=False):
        if rank(a) != rank(b):
            return -1 if rank(a) < rank(b) else 1
        if isinstance(a, tuple):
            if order := compare(a, b):
                return order
        elif a != b:
            return -1 if a < b else 1
    return (len(left) > len(right)) - (len(left) < len(right))


@given(KEYS)
@example((2**2039, -(2**2039), -(2**64), -(2**64) + 1, 2**64, True, 1, False, 0))
def test_unpack_answers_what_was_packed(key):
    assert unpack(pack(key)) == key
    assert [type(part) for part in unpack(pack(key))] == [type(part) for part in key]


@given(st.lists(KEYS, max_size=8))
@example([(-1,), (-255,), (-256,), (-(2**64),), (-(2**70),), (255,), (256,), (2**64 - 1,), (2**64,), (0,)])
@example([((),), ((None,),), ("a",), ("a\0",), ("a\0b",), ("",), (b"",), (b"\xff",)])
def test_packed_order_is_tuple_order(keys):
    by_tuple = sorted(keys, key=functools.cmp_to_key(compare))
    assert [pack(key) for key in by_tuple] == sorted(pack(key) for key in keys)


@given(KEYS, KEYS)
def test_prefix_range_holds_exactly_the_keys_below(prefix, key):
    low, high = prefix_range(prefix)
    for candidate in (key, prefix, prefix + key):
        starts = compare(candidate[: len(prefix)], prefix) == 0
        assert (low <= pack(candidate) < high) == starts


@pytest.mark.parametrize(
    ("key", "packed"),
    [
        ((None,), "00"),
        ((b"foo\0bar",), "01666f6f00ff62617200"),
        (("FÔO\0bar",), "0246c3944f00ff62617200"),
        ((("foo\0bar", None, ()),), "0502666f6f00ff6261720000ff050000"),
        ((-5551212,), "11ab4b93"),
    ],
)
def test_bytes_are_those_of_the_tuple_layer_design_note(key, packed):
    assert pack(key).hex() == packed


@pytest.mark.parametrize("data", ["02", "0261", "05", "0500ff", "ff", "30"])
def test_unpack_refuses_what_pack_never_makes(data):
    with pytest.raises(ValueError):
        unpack(bytes.fromhex(data))


def test_pack_refuses_other_types():
    with pytest.raises(TypeError):
        pack((1.5,))
