import pytest

from penstock.engines.delivery.attempts import RetryPolicy, next_attempt

POLICY = RetryPolicy(delay_ms_first=1000, delay_ms_max=10_000, attempts_max=6, age_ms_max=30_000)


@pytest.mark.parametrize(
    ("attempt", "now_ms", "jitter", "due_ms"),
    [
        pytest.param(1, 0, 0.0, 1000, id="first"),
        pytest.param(2, 0, 0.0, 2000, id="doubled"),
        pytest.param(5, 0, 0.0, 10_000, id="bounded"),
        pytest.param(2, 0, 1.0, 1000, id="jitter takes at most its share"),
        pytest.param(6, 0, 0.0, None, id="no attempts left"),
        pytest.param(1, 29_000, 0.0, 30_000, id="just young enough"),
        pytest.param(1, 29_001, 0.0, None, id="too old"),
    ],
)
def test_delays_double_within_their_bounds(attempt, now_ms, jitter, due_ms):
    assert next_attempt(POLICY, attempt, 0, now_ms, jitter) == due_ms


def test_unbounded_policy_never_gives_up():
    assert next_attempt(RetryPolicy(), 10**6, 0, 0, 0.0) == 300_000
