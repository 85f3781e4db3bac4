import uuid

from penstock.kernel.entropy import SeededEntropy, SystemEntropy


def test_the_same_seed_gives_the_same_run() -> None:
    first, second = SeededEntropy(7), SeededEntropy(7)
    assert [first.uuid(), first.token_hex(8)] == [second.uuid(), second.token_hex(8)]
    assert SeededEntropy(8).uuid() != SeededEntropy(7).uuid()


def test_system_entropy_gives_version_4_uuids_that_differ() -> None:
    ids = {SystemEntropy().uuid() for _ in range(100)}
    assert len(ids) == 100
    assert {uuid.UUID(i).version for i in ids} == {4}
