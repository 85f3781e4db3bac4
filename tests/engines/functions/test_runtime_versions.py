import pytest

from penstock.engines.functions.runtimes import runtime_version


@pytest.mark.parametrize(
    ("identifier", "version"),
    [
        ("python3.12", "python:3.12.v1"),
        ("nodejs22.x", "nodejs:22.v1"),
        ("provided.al2023", "provided:al2023.v1"),
        ("java21", "java:21.v1"),
    ],
)
def test_a_runtime_s_version_is_named_as_on_aws(identifier, version):
    shown, arn = runtime_version(identifier, "eu-west-1")
    assert shown == version
    assert arn.startswith("arn:aws:lambda:eu-west-1::runtime:")
    assert len(arn.rpartition(":")[2]) == 64
