from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engines.expressions import numbers, values
from penstock.engines.expressions.errors import BadExpression
from penstock.engines.expressions.reserved import RESERVED


@st.composite
def amounts(draw):
    digits = draw(st.integers(0, 10**38 - 1))
    exponent = draw(st.integers(-130, 125))
    sign = draw(st.sampled_from(["", "-"]))
    whole = str(digits)
    return f"{sign}{whole[0]}.{whole[1:] or 0}E{exponent}"


@given(amounts(), amounts())
def test_keys_sort_as_their_numbers_do(one, other):
    left, right = numbers.normal(one), numbers.normal(other)
    assert (numbers.key_of(left) < numbers.key_of(right)) == (Decimal(one) < Decimal(other))
    assert (numbers.key_of(left) == numbers.key_of(right)) == (Decimal(one) == Decimal(other))


@given(amounts())
def test_a_normal_number_keeps_its_value_and_stays_as_it_is(text):
    shown = numbers.normal(text)
    assert Decimal(shown) == Decimal(text)
    assert numbers.normal(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1.0", "1"),
        ("-0", "0"),
        ("+5", "5"),
        ("007", "7"),
        ("1e3", "1000"),
        (".5", "0.5"),
        ("1e-130", "0." + "0" * 129 + "1"),
        ("9.9e125", "99" + "0" * 124),
        ("100", "100"),
    ],
)
def test_numbers_are_shown_as_aws_does(text, shown):
    assert numbers.normal(text) == shown


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "cannot be converted to a numeric value"),
        ("abc", "cannot be converted to a numeric value: abc"),
        ("NaN", "cannot be converted"),
        ("Infinity", "cannot be converted"),
        ("1_000", "cannot be converted"),
        ("1" * 39, "more than 38 significant digits"),
        ("1e126", "Number overflow"),
        ("1e-131", "Number underflow"),
        ("1e999999999", "Number overflow"),
    ],
)
def test_what_is_no_number_is_refused(text, told):
    with pytest.raises(BadExpression, match=told):
        numbers.normal(text)


@pytest.mark.parametrize(("text", "size"), [("0", 1), ("1", 2), ("12", 2), ("123", 3), ("-123", 4), ("1000", 2)])
def test_a_number_takes_a_byte_for_two_digits(text, size):
    assert numbers.size_of(text) == size


scalars = st.one_of(
    st.builds(lambda s: {"S": s}, st.text(max_size=8)),
    st.builds(lambda n: {"N": str(n)}, st.integers()),
    st.builds(lambda b: {"B": b}, st.binary(max_size=8)),
    st.builds(lambda b: {"BOOL": b}, st.booleans()),
    st.builds(lambda s: {"BS": sorted(s)}, st.sets(st.binary(max_size=4), min_size=1, max_size=3)),
)
items = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.builds(lambda x: {"L": x}, st.lists(inner, max_size=3)),
            st.builds(lambda x: {"M": x}, st.dictionaries(st.text(max_size=3), inner, max_size=3)),
        ),
        max_leaves=8,
    ),
    max_size=5,
)


@given(items)
def test_a_stored_item_comes_back_with_its_size(item):
    item = {name: value for name, value in item.items() if "N" not in value or len(value["N"]) < 38}
    size = values.size_of_item(item)
    stored = values.encode(item, size)
    assert values.decode(stored) == item
    assert values.stored_size(stored) == size


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({}, "is empty, must contain exactly one"),
        ({"S": "a", "N": "1"}, "has more than one datatypes set"),
        ({"NULL": False}, "Null attribute value types must have the value of true"),
        ({"SS": []}, "An string set  may not be empty"),
        ({"NS": []}, "An number set  may not be empty"),
        ({"BS": []}, "Binary sets should not be empty"),
        ({"SS": ["a", "a"]}, r"Input collection \[a, a\] contains duplicates"),
        ({"NS": ["1", "1.0"]}, "Input collection contains duplicates"),
    ],
)
def test_what_is_no_value_is_refused(value, told):
    with pytest.raises(BadExpression, match=told):
        values.normal(value)


def test_values_lie_in_31_maps_and_lists_and_in_no_more():
    value = {"S": "x"}
    for _ in range(31):
        value = {"L": [value]}
    assert values.normal(value) == value
    with pytest.raises(BadExpression, match="Nesting Levels"):
        values.normal({"M": {"a": value}})


def test_there_are_573_reserved_words():
    assert len(RESERVED) == 573


VALUES = st.recursive(
    st.one_of(
        st.text(max_size=5).map(lambda text: {"S": text}),
        st.integers(-(10**20), 10**20).map(lambda number: {"N": f"{number}.0"}),
        st.binary(max_size=5).map(lambda data: {"B": data}),
        st.booleans().map(lambda flag: {"BOOL": flag}),
        st.just({"NULL": True}),
        st.sets(st.text(max_size=3), min_size=1, max_size=3).map(lambda members: {"SS": sorted(members)}),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda members: {"L": members}),
        st.dictionaries(st.text(max_size=3), inner, max_size=3).map(lambda members: {"M": members}),
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1, max_size=5), VALUES, max_size=4))
def test_measuring_is_normalising_and_sizing(item):
    normal = values.normal_item(item)
    assert values.measured(item) == (normal, values.size_of_item(normal))
    assert values.decode(values.encode(normal, 7)) == normal
