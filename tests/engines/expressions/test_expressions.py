from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engines.expressions.evaluate import apply, holds, number_text, parse_number, project
from penstock.engines.expressions.parser import (
    BadExpression,
    Placeholders,
    parse_condition,
    parse_projection,
    parse_update,
)

ITEM = {
    "id": {"S": "a"},
    "n": {"N": "5"},
    "tags": {"SS": ["x", "y"]},
    "things": {"L": [{"S": "one"}, {"N": "2"}]},
    "doc": {"M": {"deep": {"M": {"v": {"N": "7"}}}, "size": {"S": "L"}}},
    "bytes": {"B": b"abc"},
}
VALUES = {
    ":a": {"S": "a"},
    ":s": {"S": "x"},
    ":n": {"N": "5.0"},
    ":six": {"N": "6"},
    ":one": {"N": "1"},
    ":t": {"S": "S"},
    ":l": {"L": [{"S": "new"}]},
    ":set": {"SS": ["y", "z"]},
    ":m": {"M": {}},
}
NAMES = {"#d": "doc", "#s": "size"}


def known():
    return Placeholders(NAMES, VALUES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id = :a", True),
        ("n = :n", True),
        ("n <> :n", False),
        ("n < :six AND n > :one", True),
        ("n BETWEEN :one AND :six", True),
        ("NOT n BETWEEN :one AND :six", False),
        ("id IN (:s, :a)", True),
        ("attribute_exists(#d.deep.v)", True),
        ("attribute_not_exists(nothing)", True),
        ("attribute_type(id, :t)", True),
        ("begins_with(id, :a)", True),
        ("contains(tags, :s)", True),
        ("contains(things, :s)", False),
        ("size(tags) = :n OR size(tags) < :six", True),
        ("(id = :s OR n = :n) AND NOT (id = :s)", True),
        ("#d.#s = :s", False),
        ("things[1] = :one", False),
        ("things[9] = :one", False),
        ("nope <> :one", True),
        ("id < :one", False),
    ],
)
def test_a_condition_holds_or_not(text, expected):
    assert holds(parse_condition(text, known()), ITEM) is expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "can not be empty"),
        ("id =", "Syntax error"),
        ("id == :a", "Syntax error"),
        ("id = :nope", "attribute value used in expression is not defined; attribute value: :nope"),
        ("#nope = :a", "not defined; attribute name: #nope"),
        ("begins_with(id)", "Incorrect number of operands"),
        ("id = :a extra", "Syntax error"),
        ("(" * 60 + "id = :a" + ")" * 60, "nested too deeply"),
        ("id & :a", "Syntax error"),
    ],
)
def test_what_is_no_condition_is_refused(text, told):
    with pytest.raises(BadExpression, match=told):
        parse_condition(text, known())


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("SET id = :s", "id", {"S": "x"}),
        ("SET n = n + :one", "n", {"N": "6"}),
        ("SET n = n - :six", "n", {"N": "-1"}),
        ("SET fresh = if_not_exists(fresh, :one)", "fresh", {"N": "1"}),
        ("SET n = if_not_exists(n, :one)", "n", {"N": "5"}),
        ("SET things = list_append(things, :l)", "things", {"L": [{"S": "one"}, {"N": "2"}, {"S": "new"}]}),
        ("SET things[0] = :s, things[7] = :a", "things", {"L": [{"S": "x"}, {"N": "2"}, {"S": "a"}]}),
        ("REMOVE things[0], things[1]", "things", {"L": []}),
        ("REMOVE tags", "tags", None),
        ("ADD n :one", "n", {"N": "6"}),
        ("ADD tally :one", "tally", {"N": "1"}),
        ("ADD tags :set", "tags", {"SS": ["x", "y", "z"]}),
        ("DELETE tags :set", "tags", {"SS": ["x"]}),
        ("SET a = :one REMOVE id", "a", {"N": "1"}),
    ],
)
def test_an_update_changes_the_item(text, path, expected):
    assert apply(parse_update(text, known()), ITEM).get(path) == expected


def test_values_are_those_from_before_the_update():
    after = apply(parse_update("SET id = n, n = id", known()), ITEM)
    assert (after["id"], after["n"]) == ({"N": "5"}, {"S": "a"})
    assert ITEM["id"] == {"S": "a"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SET a = b", "refers to an attribute that does not exist"),
        ("SET a.b = :one", "document path provided in the update expression is invalid"),
        ("SET n = n + :a", "Incorrect operand type"),
        ("SET n = n + id", "incorrect data type"),
        ("SET a = :one, a = :six", "Two document paths overlap"),
        ("SET #d = :m, #d.deep = :m", "Two document paths overlap"),
        ("SET a = :one SET b = :one", "can only be used once"),
        ("ADD n :a", "Incorrect operand type"),
        ("CHANGE a = :one", "Syntax error"),
    ],
)
def test_what_is_no_update_is_refused(text, told):
    with pytest.raises(BadExpression, match=told):
        apply(parse_update(text, known()), ITEM)


def test_a_projection_keeps_places():
    found = project(ITEM, parse_projection("id, #d.deep.v, things[1], nope", known()))
    assert found == {"id": {"S": "a"}, "doc": {"M": {"deep": {"M": {"v": {"N": "7"}}}}}, "things": {"L": [{"N": "2"}]}}


def test_unused_placeholders_are_known():
    used = known()
    parse_condition("#d.deep = :a", used)
    names, values = used.unused()
    assert (names, ":a" in values, ":n" in values) == (["#s"], False, True)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=10, min_value=-(10**20), max_value=10**20))
def test_numbers_keep_their_value(value):
    assert Decimal(number_text(parse_number(str(value)))) == value


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text):
    try:
        parse_condition(text, known())
    except BadExpression:
        return
