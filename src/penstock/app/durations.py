"""Spans of time as people write them: 90s, 6h, 1d12h."""

import re

from penstock.kernel.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS_MS = {"ms": 1, "s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}


def parse_duration_ms(text: str) -> int:
    """Milliseconds; a bare number is seconds. Raises ValueError with what would be right."""
    text = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return round(float(text) * SECOND_MS)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration: write 90s, 15m, 6h, 2d or 1h30m")
    return round(sum(float(number) * _UNITS_MS[unit] for number, unit in parts))
