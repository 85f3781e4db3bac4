"""A quota and where AWS states it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """`value` in the unit that its name ends with; `source` is the page that says so."""

    value: int
    source: str
