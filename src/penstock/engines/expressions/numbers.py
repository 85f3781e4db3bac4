"""DynamoDB's numbers: 38 significant digits from 1E-130 to 9.99E+125, as text and as bytes that sort. Pure.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
"""

import re
from decimal import Context, Decimal
from functools import lru_cache

from penstock.engines.expressions.errors import BadExpression

DIGITS_MAX = 38
TEXT_MAX = 300
MAGNITUDE_MAX, MAGNITUDE_MIN = 125, -130
_EXACT = Context(prec=400, Emax=100_000, Emin=-100_000)
_PLAIN = re.compile(r"-?(?:[1-9][0-9]{0,37}|(?:0|[1-9][0-9]{0,18})\.[0-9]{0,17}[1-9])\Z")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,9})?\Z", re.ASCII)
_NEGATIVE, _ZERO, _POSITIVE = b"\x01", b"\x02", b"\x03"
_TERMINATOR = b"\xff"
_COMPLEMENT = bytes(255 - byte for byte in range(256))


def normal(text: str) -> str:
    """A number as DynamoDB keeps and answers it: plain digits, no zeros that say nothing. Raises BadExpression."""
    if _PLAIN.match(text):
        return text
    return _normal(text)


@lru_cache(4096)
def _normal(text: str) -> str:
    return number_text(parse_number(text))


def parse_number(text: str) -> Decimal:
    """Raises BadExpression for what is no number, is out of range or has more than 38 digits."""
    if not _NUMBER.match(text):
        told = "The parameter cannot be converted to a numeric value"
        raise BadExpression(f"{told}: {text}" if text else told)
    if len(text) > TEXT_MAX:
        raise BadExpression("Attempting to store more than 38 significant digits in a Number")
    return checked(Decimal(text))


def checked(value: Decimal) -> Decimal:
    """The number itself, if DynamoDB can hold it. Raises BadExpression."""
    if not value:
        return Decimal(0)
    if value.adjusted() > MAGNITUDE_MAX:
        raise BadExpression("Number overflow. Attempting to store a number with magnitude larger than supported range")
    if value.adjusted() < MAGNITUDE_MIN:
        raise BadExpression(
            "Number underflow. Attempting to store a number with magnitude smaller than supported range"
        )
    value = value.normalize(_EXACT)
    if len(value.as_tuple().digits) > DIGITS_MAX:
        raise BadExpression("Attempting to store more than 38 significant digits in a Number")
    return value


def number_text(value: Decimal) -> str:
    """A number as DynamoDB answers it: plain digits, no trailing zeros."""
    return format(value.normalize(_EXACT), "f") if value else "0"


def add(one: str, other: str) -> str:
    return number_text(checked(_EXACT.add(Decimal(one), Decimal(other))))


def subtract(one: str, other: str) -> str:
    return number_text(checked(_EXACT.subtract(Decimal(one), Decimal(other))))


@lru_cache(4096)
def size_of(text: str) -> int:
    """Bytes that a normal number takes: one for two digits, one more, one for a minus.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    is_negative = text.startswith("-")
    digits = text.replace("-", "").replace(".", "").strip("0")
    return (len(digits) + 1) // 2 + 1 + is_negative


@lru_cache(4096)
def key_of(text: str) -> bytes:
    """Bytes whose order is the numbers' order, for a normal number.

    A byte for the sign, one for the magnitude, one for each two digits; those of a negative number are complemented
    and ended, so that the longer of two that begin alike comes first.
    """
    if text == "0":
        return _ZERO
    sign, digits, _ = (value := Decimal(text)).as_tuple()
    shown = "".join(map(str, digits)).rstrip("0")
    if len(shown) % 2:
        shown += "0"
    pairs = bytes(int(shown[at : at + 2]) + 1 for at in range(0, len(shown), 2))
    body = bytes((value.adjusted() - MAGNITUDE_MIN,)) + pairs
    return _NEGATIVE + body.translate(_COMPLEMENT) + _TERMINATOR if sign else _POSITIVE + body
