"""Chance as an argument: ids, jitter and keys come from one seedable source."""

import os
import random
import uuid
from typing import Protocol


class Entropy(Protocol):
    """A source of chance; a seeded one repeats a run byte for byte."""

    def token_bytes(self, size: int) -> bytes: ...
    def token_hex(self, size_bytes: int) -> str: ...
    def uuid(self) -> str: ...
    def uniform(self, low: float, high: float) -> float: ...
    def text(self, alphabet: str, length: int) -> str: ...


class _RandomEntropy:
    def __init__(self, source: random.Random) -> None:
        self._source = source

    def token_bytes(self, size: int) -> bytes:
        return self._source.randbytes(size)

    def token_hex(self, size_bytes: int) -> str:
        return self._source.randbytes(size_bytes).hex()

    def uuid(self) -> str:
        return str(uuid.UUID(bytes=self._source.randbytes(16), version=4))

    def uniform(self, low: float, high: float) -> float:
        return self._source.uniform(low, high)

    def text(self, alphabet: str, length: int) -> str:
        return "".join(self._source.choice(alphabet) for _ in range(length))


class SystemEntropy(_RandomEntropy):
    """The operating system's, fit for secrets."""

    def __init__(self) -> None:
        super().__init__(random.SystemRandom())

    def token_bytes(self, size: int) -> bytes:
        return os.urandom(size)

    def token_hex(self, size_bytes: int) -> str:
        return self.token_bytes(size_bytes).hex()

    def uuid(self) -> str:
        """Written out here: every request has one, and uuid.UUID takes three times as long."""
        text = os.urandom(16).hex()
        variant = "89ab"[int(text[16], 16) & 3]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


class SeededEntropy(_RandomEntropy):
    """Repeatable; for tests and simulation, never for secrets."""

    def __init__(self, seed: int) -> None:
        super().__init__(random.Random(seed))
