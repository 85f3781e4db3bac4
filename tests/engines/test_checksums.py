import pytest

from penstock.engines.checksums import checksum, combine


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [("CRC32", "cbf43926"), ("CRC32C", "e3069283"), ("CRC64NVME", "ae8b14860a799888")],
)
def test_check_values_of_the_catalogue_hold_and_parts_combine(algorithm, expected):
    def of(data):
        running = checksum(algorithm)
        running.update(data)
        return running.digest()

    assert of(b"123456789").hex() == expected
    assert combine(algorithm, of(b"1234"), of(b"56789"), 5).hex() == expected
