import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engines.patterns.match import InvalidPattern, compile_pattern

EVENT = {
    "source": "aws.s3",
    "detail": {
        "bucket": {"name": "lake"},
        "object": {"key": "bronze/2024/A.csv", "size": 512},
        "tags": ["raw", "daily"],
        "ip": "10.0.0.7",
        "done": True,
        "note": None,
        "parts": [{"n": 1}, {"n": 2}],
    },
}


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        pytest.param({"bucket": {"name": ["lake", "other"]}}, True, id="one of the values"),
        pytest.param({"bucket": {"name": ["Lake"]}}, False, id="case counts"),
        pytest.param({"tags": ["daily"]}, True, id="an element of an array"),
        pytest.param({"parts": {"n": [2]}}, True, id="an object in an array"),
        pytest.param({"done": [True]}, True, id="boolean"),
        pytest.param({"done": [1]}, False, id="a boolean is no number"),
        pytest.param({"note": [None]}, True, id="null"),
        pytest.param({"note": [{"exists": True}]}, True, id="null exists"),
        pytest.param({"gone": [{"exists": False}]}, True, id="absent leaf"),
        pytest.param({"gone": {"deeper": [{"exists": False}]}}, True, id="absent branch"),
        pytest.param({"gone": [{"exists": False}], "done": [False]}, False, id="all fields must match"),
        pytest.param({"object": {"key": [{"prefix": "bronze/"}]}}, True, id="prefix"),
        pytest.param({"object": {"key": [{"suffix": ".csv"}]}}, True, id="suffix"),
        pytest.param({"object": {"key": [{"suffix": {"equals-ignore-case": "a.CSV"}}]}}, True, id="suffix any case"),
        pytest.param({"object": {"key": [{"wildcard": "bronze/*/A.*"}]}}, True, id="wildcard"),
        pytest.param({"object": {"key": [{"wildcard": "*/B.csv"}]}}, False, id="wildcard that differs"),
        pytest.param({"bucket": {"name": [{"equals-ignore-case": "LAKE"}]}}, True, id="any case"),
        pytest.param({"object": {"size": [{"numeric": [">", 0, "<=", 512]}]}}, True, id="range including its end"),
        pytest.param({"object": {"size": [{"numeric": ["<", 512]}]}}, False, id="range without its end"),
        pytest.param({"ip": [{"cidr": "10.0.0.0/24"}]}, True, id="address in a network"),
        pytest.param({"bucket": {"name": [{"cidr": "10.0.0.0/24"}]}}, False, id="not an address"),
        pytest.param({"bucket": {"name": [{"anything-but": ["a", "b"]}]}}, True, id="anything but"),
        pytest.param({"bucket": {"name": [{"anything-but": "lake"}]}}, False, id="anything but itself"),
        pytest.param({"gone": [{"anything-but": "x"}]}, False, id="anything but needs the field"),
        pytest.param({"object": {"key": [{"anything-but": {"prefix": "gold/"}}]}}, True, id="anything but a prefix"),
        pytest.param(
            {"object": {"key": [{"anything-but": {"wildcard": "*.csv"}}]}}, False, id="anything but a wildcard"
        ),
        pytest.param({"$or": [{"done": [False]}, {"tags": ["raw"]}]}, True, id="or"),
        pytest.param({"$or": [{"done": [False]}, {"tags": ["x"]}], "note": [None]}, False, id="or, none"),
    ],
)
def test_a_pattern_matches_as_the_user_guide_says(detail: dict, expected: bool) -> None:
    pattern = compile_pattern(json.dumps({"source": ["aws.s3"], "detail": detail}))
    assert pattern.matches(EVENT) is expected


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("{", id="not JSON"),
        pytest.param("[]", id="not an object"),
        pytest.param("{}", id="empty"),
        pytest.param('{"a": "b"}', id="a scalar where a list belongs"),
        pytest.param('{"a": []}', id="no alternatives"),
        pytest.param('{"a": [{"like": "b"}]}', id="unknown operator"),
        pytest.param('{"a": [{"prefix": 1}]}', id="prefix of a number"),
        pytest.param('{"a": [{"numeric": [">", "1"]}]}', id="a bound that is text"),
        pytest.param('{"a": [{"numeric": [">"]}]}', id="half a range"),
        pytest.param('{"a": [{"wildcard": "a**b"}]}', id="two stars"),
        pytest.param('{"a": [{"cidr": "10.0.0.0/99"}]}', id="no network"),
        pytest.param('{"a": [{"exists": "yes"}]}', id="exists what"),
        pytest.param('{"a": [{"anything-but": [{"prefix": "a"}]}]}', id="operators in a list"),
    ],
)
def test_what_is_no_pattern_is_refused_when_compiled(source: str) -> None:
    with pytest.raises(InvalidPattern):
        compile_pattern(source)


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-1000, 1000), st.text(max_size=5))


@given(st.dictionaries(st.text(min_size=1, max_size=4).filter(lambda k: k != "$or"), SCALARS, min_size=1, max_size=4))
def test_an_event_matches_the_pattern_of_its_own_values_and_no_other_value(event: dict) -> None:
    own = {name: [value] for name, value in event.items()}
    assert compile_pattern(json.dumps(own)).matches(event)
    name = next(iter(event))
    assert not compile_pattern(json.dumps({name: [{"anything-but": [event[name]]}]})).matches(event)
