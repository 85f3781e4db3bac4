"""Checksums that the standard library lacks, and joining checksums of parts. Pure.

Uses awscrt where it is installed; otherwise tables (some MB/s).
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

import functools
import hashlib
import importlib
import importlib.util
import zlib
from collections.abc import Callable, Sequence
from typing import Protocol

CRC_POLYNOMIALS = {
    "CRC32": (0xEDB88320, 32),
    "CRC32C": (0x82F63B78, 32),
    "CRC64NVME": (0x9A6C9329AC4BC9B5, 64),
}
_HASHES = {"SHA1": "sha1", "SHA256": "sha256", "SHA512": "sha512", "MD5": "md5"}
_XXHASHES = {"XXHASH64": "new_xxhash64", "XXHASH3": "new_xxhash3_64", "XXHASH128": "new_xxhash3_128"}
ALGORITHMS = (*CRC_POLYNOMIALS, *_HASHES, *_XXHASHES)
DEFAULT_ALGORITHM = "CRC64NVME" if importlib.util.find_spec("awscrt") else ""
"""What S3 computes where the client names nothing; by tables alone it would slow every put, so then nothing."""

Crc = Callable[[bytes, int], int]


class Checksum(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _CrcChecksum:
    """A running CRC in the shape of hashlib's objects; the digest is big-endian."""

    def __init__(self, crc: Crc, size_bytes: int) -> None:
        self._crc = crc
        self._size_bytes = size_bytes
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = self._crc(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size_bytes, "big")


class _XxHash:
    """awscrt's object in the shape of hashlib's; its digest can be asked for once."""

    def __init__(self, algorithm: str) -> None:
        native = importlib.import_module("awscrt.checksums").XXHash
        self._running = getattr(native, _XXHASHES[algorithm])()
        self._digest: bytes | None = None

    def update(self, data: bytes, /) -> None:
        self._running.update(data)

    def digest(self) -> bytes:
        if self._digest is None:
            self._digest = bytes(self._running.finalize())
        return self._digest


def is_available(algorithm: str) -> bool:
    """Whether this machine can compute it: the xxHashes need awscrt."""
    return algorithm not in _XXHASHES or importlib.util.find_spec("awscrt") is not None


def checksum(algorithm: str) -> Checksum:
    """A fresh digest; KeyError for an algorithm that S3 doesn't know."""
    if algorithm in _HASHES:
        return hashlib.new(_HASHES[algorithm], usedforsecurity=False)
    if algorithm in _XXHASHES:
        return _XxHash(algorithm)
    return _CrcChecksum(_crc_function(algorithm), CRC_POLYNOMIALS[algorithm][1] // 8)


def combine(algorithm: str, first: bytes, second: bytes, second_size: int) -> bytes:
    """The CRC of two runs of bytes from their CRCs and the size of the second."""
    bits = CRC_POLYNOMIALS[algorithm][1]
    value = _times(_shift(algorithm, second_size), int.from_bytes(first, "big"))
    return (value ^ int.from_bytes(second, "big")).to_bytes(bits // 8, "big")


def combine_all(algorithm: str, digests: Sequence[bytes], sizes: Sequence[int]) -> bytes:
    """The CRC of many runs of bytes in order; quick where most have the same size."""
    whole = digests[0]
    for digest, size in zip(digests[1:], sizes[1:], strict=True):
        whole = combine(algorithm, whole, digest, size)
    return whole


@functools.lru_cache(maxsize=64)
def _shift(algorithm: str, size: int) -> tuple[int, ...]:
    """What `size` zero bytes behind a CRC make of it, as a matrix over GF(2)."""
    polynomial, bits = CRC_POLYNOMIALS[algorithm]
    matrix = [polynomial] + [1 << n for n in range(bits - 1)]
    for _ in range(3):
        matrix = [_times(matrix, row) for row in matrix]
    whole = [1 << n for n in range(bits)]
    while size:
        if size & 1:
            whole = [_times(matrix, row) for row in whole]
        matrix = [_times(matrix, row) for row in matrix]
        size >>= 1
    return tuple(whole)


def _times(matrix: Sequence[int], vector: int) -> int:
    total = 0
    for row in matrix:
        if vector & 1:
            total ^= row
        vector >>= 1
        if not vector:
            break
    return total


@functools.cache
def _crc_function(algorithm: str) -> Crc:
    if algorithm == "CRC32":
        return zlib.crc32
    try:
        native: Crc = getattr(importlib.import_module("awscrt.checksums"), algorithm.lower())
        return native
    except (ImportError, AttributeError):
        return _table_crc(*CRC_POLYNOMIALS[algorithm])


def _table_crc(polynomial: int, bits: int) -> Crc:
    table = []
    for index in range(256):
        value = index
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        table.append(value)
    mask = (1 << bits) - 1

    def crc(data: bytes, previous: int) -> int:
        value = previous ^ mask
        for byte in data:
            value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
        return value ^ mask

    return crc
