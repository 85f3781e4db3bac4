import pytest

from penstock.engines.polling.windows import GRACE_MS, STATE_BYTES_MAX, Window, is_over, on_answer, window_of, within

MINUTE = Window(60_000, 120_000)


def test_a_window_begins_at_a_multiple_of_its_size():
    assert window_of(119_999, 60_000) == MINUTE
    assert window_of(120_000, 60_000) == Window(120_000, 180_000)


def test_records_of_a_later_window_wait():
    assert within(MINUTE, [60_000, 119_999, 120_000, 120_001]) == 2
    assert within(MINUTE, [60_000]) == 1


@pytest.mark.parametrize(
    ("next_at_ms", "now_ms", "is_shard_end", "expected"),
    [
        (None, 120_000, False, False),
        (None, 120_000 + GRACE_MS, False, True),
        (None, 60_001, True, True),
        (119_999, 500_000, False, False),
        (120_000, 60_000, False, True),
    ],
)
def test_a_window_is_over_when_a_later_record_comes_or_none_can(next_at_ms, now_ms, is_shard_end, expected):
    assert is_over(MINUTE, next_at_ms, now_ms, is_shard_end=is_shard_end) == expected


@pytest.mark.parametrize(("size", "is_early"), [(STATE_BYTES_MAX, False), (STATE_BYTES_MAX + 1, True)])
def test_a_state_beyond_a_megabyte_ends_the_window_early(size, is_early):
    window = on_answer(MINUTE, "x" * size)
    assert window.is_early == is_early
    assert is_over(window, 60_000, 60_000, is_shard_end=False) == is_early
