"""A function's output as log events: lines of stdout and stderr, and AWS's framed messages, within bounds."""

import contextlib
import json
import os
from collections.abc import Callable
from typing import Any

LINE_BYTES_MAX = 256 * 1024
READ_BYTES = 16384
READS_MAX = 4
LINES_MAX = 4096
PIPE_BYTES = 65536
TAIL_BYTES = 4096
FRAME_HEAD_BYTES = 16
FRAME_MARK = b"\xa5\x5a"
ENDED_MARK = 0xFF
RUNTIME_ENDED, EXTENSION_ENDED = 1, 2


class LineReader:
    """Splits plain output at line ends; a line beyond the bound is split."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[str]:
        self._rest += data
        lines = []
        while (end := self._rest.find(b"\n")) >= 0 or len(self._rest) >= LINE_BYTES_MAX:
            size = min(end + 1, LINE_BYTES_MAX) if end >= 0 else LINE_BYTES_MAX
            lines.append(self._rest[:size].decode("utf-8", "replace"))
            del self._rest[:size]
        return lines

    def flush(self) -> list[str]:
        rest = self._rest.decode("utf-8", "replace")
        self._rest.clear()
        return [rest] if rest else []


class FrameReader:
    """Takes AWS's telemetry frames: type (4 bytes), length (4), microseconds (8), message.

    Frames of a type of our own (zygote.py) tell how a process ended: `on_ended` takes which kind, and what is told.
    """

    def __init__(self, on_ended: Callable[[int, dict[str, Any]], None] | None = None) -> None:
        self._on_ended = on_ended
        self._rest = bytearray()
        self._skip = 0

    def feed(self, data: bytes) -> list[str]:
        self._rest += data
        messages: list[str] = []
        while True:
            dropped = min(self._skip, len(self._rest))
            del self._rest[:dropped]
            self._skip -= dropped
            if len(self._rest) < FRAME_HEAD_BYTES:
                return messages
            if self._rest[:2] != FRAME_MARK:  # the function wrote here itself
                self._rest.clear()
                return messages
            size = int.from_bytes(self._rest[4:8], "big")
            kept = min(size, LINE_BYTES_MAX)
            if len(self._rest) < FRAME_HEAD_BYTES + kept:
                return messages
            body = self._rest[FRAME_HEAD_BYTES : FRAME_HEAD_BYTES + kept]
            kind = self._rest[3] if self._rest[2] == ENDED_MARK else 0
            if kind and self._on_ended is not None:
                self._tell(kind, bytes(body))
            else:
                messages.append(body.decode("utf-8", "replace"))
            del self._rest[: FRAME_HEAD_BYTES + kept]
            self._skip = size - kept

    def _tell(self, kind: int, body: bytes) -> None:
        with contextlib.suppress(ValueError):  # the function wrote it itself
            told = json.loads(body)
            if isinstance(told, dict) and self._on_ended is not None:
                self._on_ended(kind, told)

    def flush(self) -> list[str]:
        self._rest.clear()
        return []


class Drain:
    """Reads a non-blocking pipe until it's empty and hands each event on."""

    def __init__(self, fd: int, reader: LineReader | FrameReader, on_lines: Callable[[list[str]], None]) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self._reader = reader
        self._on_lines = on_lines
        self.is_open = True

    def read_all(self) -> None:
        """Whatever was written before now: a pipe holds no more."""
        self.read(reads_max=PIPE_BYTES // READ_BYTES + 1, lines_max=PIPE_BYTES)

    def read(self, *, reads_max: int = READS_MAX, lines_max: int = LINES_MAX) -> None:
        """No more than that at once, so that a flood of output can't hold the node."""
        taken = 0
        for _ in range(reads_max):
            try:
                data = os.read(self.fd, READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self.is_open = False
                return
            if lines := self._reader.feed(data):
                self._on_lines(lines)
                taken += len(lines)
            if len(data) < READ_BYTES or taken >= lines_max:
                return

    def finish(self) -> None:
        """Take what is left, an unfinished line included."""
        self.read_all()
        if lines := self._reader.flush():
            self._on_lines(lines)
