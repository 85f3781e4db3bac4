import pytest

from penstock.kernel import arn


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("arn:aws:s3:::bucket/key:with:colons", id="no region or account"),
        pytest.param("arn:aws:lambda:us-east-1:000000000000:function:f:1", id="qualified function"),
    ],
)
def test_parsing_an_arn_and_printing_it_gives_it_back(text: str) -> None:
    assert str(arn.parse(text)) == text


@pytest.mark.parametrize("text", ["", "arn:aws:s3", "urn:aws:s3:::b", "arn::s3:::b", "arn:aws:s3:::"])
def test_what_is_no_arn_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an ARN"):
        arn.parse(text)
