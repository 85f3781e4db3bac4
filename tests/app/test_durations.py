import pytest

from penstock.app.durations import parse_duration_ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [("90", 90_000), ("90s", 90_000), ("250ms", 250), ("15m", 900_000), ("6h", 21_600_000), ("1d12h", 129_600_000)],
)
def test_spans_are_read_as_people_write_them(text, ms):
    assert parse_duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "h", "6 hours", "-5s", "1w"])
def test_other_spans_are_refused_with_an_example(text):
    with pytest.raises(ValueError, match="write 90s, 15m"):
        parse_duration_ms(text)
