"""Bytes at rest: AES-256 in counter mode, so that any range can be read by itself. Pure.

A key is made of a secret and a salt of its own for every run of bytes, so no counter is ever used twice. It needs the
package `cryptography` (penstock[encryption]).
Source: https://nvlpubs.nist.gov/nistpubs/Legacy/SP/nistspecialpublication800-38a.pdf (6.5)
"""

import functools
import hmac
import importlib
import importlib.util
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from penstock.kernel.streams import ByteStream

SALT_BYTES = 16
_BLOCK_BYTES = 16

Run = tuple[int, str]
"""A run of bytes under one key: how many, and the key's salt in hex."""


@functools.cache
def is_available() -> bool:
    return importlib.util.find_spec("cryptography") is not None


def sealer(secret: bytes, salt: str, *, offset: int = 0) -> Callable[[bytes], bytes]:
    """What turns pieces, in order from byte `offset` of the run, into sealed ones; and sealed ones back."""
    key = hmac.digest(secret, bytes.fromhex(salt), "sha256")
    blocks, skipped = divmod(offset, _BLOCK_BYTES)
    ciphers = _module("ciphers")
    counter = ciphers.modes.CTR(blocks.to_bytes(_BLOCK_BYTES, "big"))
    running = ciphers.Cipher(ciphers.algorithms.AES(key), counter).encryptor()
    running.update(bytes(skipped))
    turn: Callable[[bytes], bytes] = running.update
    return turn


def opened(stream: ByteStream, secret: bytes, runs: Sequence[Run], *, offset: int) -> ByteStream:
    """The bytes behind a sealed range that starts `offset` bytes into the runs."""
    return ByteStream(_open(stream, secret, runs, offset), length=stream.length)


async def _open(stream: ByteStream, secret: bytes, runs: Sequence[Run], offset: int) -> AsyncIterator[bytes]:
    spans = _spans(runs, offset)
    left, turn = 0, None
    async for piece in stream:
        while piece:
            if not left:
                left, salt, at = next(spans)
                turn = sealer(secret, salt, offset=at)
            assert turn is not None
            taken, piece = piece[:left], piece[left:]
            left -= len(taken)
            yield turn(taken)


def _spans(runs: Sequence[Run], offset: int) -> Any:
    """(bytes left, salt, offset in the run) from `offset` on."""
    for size, salt in runs:
        if offset < size:
            yield size - offset, salt, offset
        offset = max(offset - size, 0)


@functools.cache
def _module(name: str) -> Any:
    return importlib.import_module(f"cryptography.hazmat.primitives.{name}")
