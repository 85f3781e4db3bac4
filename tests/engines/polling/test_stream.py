import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engines.polling.stream import (
    Discarded,
    Policy,
    Progress,
    Range,
    on_failure,
    on_look,
    on_records,
    on_success,
    retry_delay_ms,
)

ABC = ["a", "b", "c", "d"]


def started():
    return on_records(Progress(), "a", "d")


def test_a_success_moves_the_checkpoint():
    assert on_success(started()) == Progress("d", ())


def test_a_failure_is_tried_again_until_the_retries_are_used_up():
    progress, given_up = on_failure(started(), Policy(retries_max=1), ABC)
    assert (progress, given_up) == (Progress(None, (Range("a", "d", 1),)), None)
    progress, given_up = on_failure(progress, Policy(retries_max=1), ABC)
    assert (progress, given_up) == (Progress("d", ()), Discarded("a", "d", "RetryAttemptsExhausted", 2))


def test_halves_come_left_first_and_use_up_no_retry():
    progress, given_up = on_failure(started(), Policy(retries_max=0, has_bisect=True), ABC)
    assert (progress.pending, given_up) == ((Range("a", "b"), Range("c", "d")), None)
    assert progress.checkpoint is None


def test_what_lies_before_the_lowest_failure_is_done():
    progress, given_up = on_failure(started(), Policy(), ABC, failed_from="c")
    assert (progress, given_up) == (Progress("b", (Range("c", "d", 1),)), None)
    progress, _ = on_failure(started(), Policy(has_bisect=True), ABC, failed_from="b")
    assert progress == Progress("a", (Range("b", "d"),)), "the cut is where the function says, and no retry"
    progress, _ = on_failure(progress, Policy(has_bisect=True), ABC[1:], failed_from="b")
    assert progress == Progress("a", (Range("b", "b"), Range("c", "d")))


def test_records_that_are_too_old_are_given_up():
    records = [("a", 0), ("b", 50), ("c", 100), ("d", 150)]
    progress, given_up = on_look(started(), Policy(age_ms_max=100), records, 160)
    assert (progress, given_up) == (Progress("b", (Range("c", "d"),)), Discarded("a", "b", "RecordAgeExceeded"))
    progress, given_up = on_look(started(), Policy(age_ms_max=100), records, 1000)
    assert (progress, given_up) == (Progress("d", ()), Discarded("a", "d", "RecordAgeExceeded"))
    assert on_look(started(), Policy(), records, 10**9) == (started(), None)
    assert on_look(started(), Policy(), [], 0) == (Progress("d", ()), Discarded("a", "d", "RecordAgeExceeded"))


@given(
    size=st.integers(1, 40),
    bad=st.sets(st.integers(0, 39), max_size=6),
    retries=st.integers(0, 3),
    has_bisect=st.booleans(),
    is_partial=st.booleans(),
)
def test_every_record_ends_in_success_or_is_given_up_in_order(size, bad, retries, has_bisect, is_partial):
    numbers = [f"{n:03d}" for n in range(size)]
    policy = Policy(retries_max=retries, has_bisect=has_bisect)
    progress, done, lost, tries = on_records(Progress(), numbers[0], numbers[-1]), [], [], 0
    while progress.pending:
        tries += 1
        assert tries < 2000
        head = progress.pending[0]
        batch = [number for number in numbers if head.first <= number <= head.last]
        failed = [number for number in batch if int(number) in bad]
        if not failed:
            done += batch
            progress = on_success(progress)
            continue
        before = progress.checkpoint
        progress, given_up = on_failure(progress, policy, batch, failed_from=failed[0] if is_partial else None)
        if is_partial:
            done += batch[: batch.index(failed[0])]
        if given_up:
            lost += [number for number in numbers if given_up.first <= number <= given_up.last]
        assert before is None or progress.checkpoint >= before
        assert all(item.failures <= retries for item in progress.pending)
    assert sorted([*done, *lost]) == numbers
    assert done == sorted(done)
    if has_bisect:
        assert [int(number) for number in lost] == sorted(n for n in bad if n < size)


@pytest.mark.parametrize(("failures", "ms"), [(1, 100), (2, 200), (5, 1600), (30, 60_000)])
def test_tries_are_spaced_further_and_further(failures, ms):
    assert retry_delay_ms(failures) == ms
