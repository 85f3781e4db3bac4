import pytest

from penstock.engines.polling.batching import Rule, fitting


@pytest.mark.parametrize(
    ("sizes", "rule", "expected"),
    [
        pytest.param([], Rule(3), (0, False), id="nothing"),
        pytest.param([1, 1], Rule(3), (2, False), id="one below its size"),
        pytest.param([1, 1, 1], Rule(3), (3, True), id="its size"),
        pytest.param([1, 1, 1, 1], Rule(3), (3, True), id="one above its size"),
        pytest.param([40, 40, 40], Rule(10, bytes_max=100), (2, True), id="too many bytes"),
        pytest.param([49, 49], Rule(10, bytes_max=100), (2, False), id="just as many bytes"),
        pytest.param([500, 1], Rule(10, bytes_max=100), (1, True), id="one that is too large goes alone"),
        pytest.param([500], Rule(10, bytes_max=100), (1, False), id="one alone may wait"),
    ],
)
def test_a_batch_is_closed_by_its_size_or_its_bytes(sizes, rule, expected):
    assert fitting(sizes, rule) == expected
