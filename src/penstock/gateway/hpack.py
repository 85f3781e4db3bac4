"""Header blocks of HTTP/2: read with the tables and the Huffman code of HPACK, written plainly.

Source: https://www.rfc-editor.org/rfc/rfc7541
"""

from collections import deque
from functools import cache

Header = tuple[str, str]

TABLE_BYTES_MAX = 4096  # HEADER_TABLE_SIZE where nobody asks for another
_ENTRY_BYTES = 32  # what an entry counts beside its name and value
_INTEGER_BYTES_MAX = 5
_STATIC: tuple[Header, ...] = (
    *((":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html")),
    *((":scheme", "http"), (":scheme", "https")),
    *((":status", status) for status in ("200", "204", "206", "304", "400", "404", "500")),
    *(("accept-charset", ""), ("accept-encoding", "gzip, deflate")),
    *(
        (name, "")
        for name in (
            *("accept-language", "accept-ranges", "accept", "access-control-allow-origin", "age", "allow"),
            *("authorization", "cache-control", "content-disposition", "content-encoding", "content-language"),
            *("content-length", "content-location", "content-range", "content-type", "cookie", "date", "etag"),
            *("expect", "expires", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range"),
            *("if-unmodified-since", "last-modified", "link", "location", "max-forwards", "proxy-authenticate"),
            *("proxy-authorization", "range", "referer", "refresh", "retry-after", "server", "set-cookie"),
            *("strict-transport-security", "transfer-encoding", "user-agent", "vary", "via", "www-authenticate"),
        )
    ),
)
_STATIC_INDEX = {header: index for index, header in reversed(list(enumerate(_STATIC, 1)))}
_STATIC_NAMES = {name: index for index, (name, _) in reversed(list(enumerate(_STATIC, 1)))}
# How many bits each byte's code has, the end of a string's last; the code is canonical, so that this is all of it.
_CODE_BITS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b0806060605050506"
    "06060606060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e060f05060506050606"
    "060507070606060506070605050607070707070f0b0e0d1c14161414161616171617171717171817181816171817171717151617"
    "1617171816151416161717151716161815161717151516151716171714161616171616171a1a1413161716191a1a1a1b1b1a1819"
    "13151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)
_EOS = 256


class BadHeaders(ValueError):
    """A block that can't be read; the connection's tables are lost with it."""


class Decoder:
    """One connection's, as its blocks refer to those before them."""

    def __init__(self, *, list_bytes_max: int) -> None:
        self._list_bytes_max = list_bytes_max
        self._table: deque[Header] = deque()
        self._table_bytes = 0
        self._table_bytes_max = TABLE_BYTES_MAX

    def decode(self, block: bytes) -> list[Header]:
        """Raises BadHeaders, for a list too that is longer than is allowed."""
        headers: list[Header] = []
        at = size = 0
        while at < len(block):
            first = block[at]
            if first & 0xE0 == 0x20:
                limit, at = _integer(block, at, 5)
                if limit > TABLE_BYTES_MAX or headers:
                    raise BadHeaders("a table size out of place")
                self._table_bytes_max = limit
                self._evict()
                continue
            if first & 0x80:
                index, at = _integer(block, at, 7)
                header = self._indexed(index)
            else:
                header, at = self._literal(block, at, is_kept=bool(first & 0x40))
            size += len(header[0]) + len(header[1]) + _ENTRY_BYTES
            if size > self._list_bytes_max:
                raise BadHeaders("too many headers")
            headers.append(header)
        return headers

    def _literal(self, block: bytes, at: int, *, is_kept: bool) -> tuple[Header, int]:
        index, at = _integer(block, at, 6 if is_kept else 4)
        if index:
            name = self._indexed(index)[0]
        else:
            name, at = _string(block, at)
        value, at = _string(block, at)
        if is_kept:
            self._table.appendleft((name, value))
            self._table_bytes += len(name) + len(value) + _ENTRY_BYTES
            self._evict()
        return (name, value), at

    def _indexed(self, index: int) -> Header:
        if 1 <= index <= len(_STATIC):
            return _STATIC[index - 1]
        index -= len(_STATIC) + 1
        if not 0 <= index < len(self._table):
            raise BadHeaders("no such entry")
        return self._table[index]

    def _evict(self) -> None:
        while self._table_bytes > self._table_bytes_max:
            name, value = self._table.pop()
            self._table_bytes -= len(name) + len(value) + _ENTRY_BYTES


def encode(headers: list[Header]) -> bytes:
    """A block that leaves the reader's table as it is."""
    out = bytearray()
    for name, value in headers:
        index = _STATIC_INDEX.get((name, value))
        if index is not None:
            out += _packed(index, 7, 0x80)
            continue
        named = _STATIC_NAMES.get(name, 0)
        out += _packed(named, 4, 0)
        for text in (value,) if named else (name, value):
            data = text.encode("latin-1", "replace")
            out += _packed(len(data), 7, 0) + data
    return bytes(out)


def _packed(number: int, bits: int, flags: int) -> bytes:
    mask = (1 << bits) - 1
    if number < mask:
        return bytes((flags | number,))
    out, number = bytearray((flags | mask,)), number - mask
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    mask = (1 << bits) - 1
    number = block[at] & mask
    at += 1
    if number < mask:
        return number, at
    for shift in range(0, 7 * _INTEGER_BYTES_MAX, 7):
        if at >= len(block):
            break
        byte = block[at]
        at += 1
        number += (byte & 127) << shift
        if byte < 128:
            return number, at
    raise BadHeaders("a number without an end")


def _string(block: bytes, at: int) -> tuple[str, int]:
    if at >= len(block):
        raise BadHeaders("cut short")
    is_huffman = bool(block[at] & 0x80)
    size, at = _integer(block, at, 7)
    data = block[at : at + size]
    if len(data) != size:
        raise BadHeaders("cut short")
    return (_unpacked(data) if is_huffman else data).decode("latin-1"), at + size


def _unpacked(data: bytes) -> bytes:
    """What a Huffman code stands for, four bits at a time."""
    steps, may_end = _machine()
    out, state = bytearray(), 0
    for byte in data:
        for nibble in (byte >> 4, byte & 15):
            step = steps[state][nibble]
            if step is None:
                raise BadHeaders("no such code")
            state, symbol = step
            if symbol >= 0:
                out.append(symbol)
    if not may_end[state]:
        raise BadHeaders("a code cut short")
    return bytes(out)


Step = tuple[int, int] | None


@cache
def _machine() -> tuple[list[list[Step]], list[bool]]:
    """By state and four bits: the next state and the byte that is complete, or -1. And where a string may end."""
    children, leaves = _tree()
    steps: list[list[Step]] = []
    for state in range(len(children)):
        steps.append([_step(children, leaves, state, nibble) for nibble in range(16)])
    may_end, node = [False] * len(children), 0
    for _ in range(8):  # what is left over is up to seven ones
        may_end[node] = True
        node = children[node][1]
    return steps, may_end


def _step(children: list[list[int]], leaves: dict[int, int], state: int, nibble: int) -> Step:
    symbol = -1
    for shift in (3, 2, 1, 0):
        state = children[state][nibble >> shift & 1]
        if state < 0:
            symbol = leaves[state]
            if symbol == _EOS:
                return None
            state = 0
    return state, symbol


def _tree() -> tuple[list[list[int]], dict[int, int]]:
    """Inner nodes by number, their children negative where they are leaves; and the leaves' symbols."""
    children, leaves = [[0, 0]], dict[int, int]()
    code, bits = 0, 0
    for size, symbol in sorted((size, symbol) for symbol, size in enumerate(_CODE_BITS)):
        code <<= size - bits
        bits, node = size, 0
        for shift in range(size - 1, 0, -1):
            bit = code >> shift & 1
            if not children[node][bit]:
                children[node][bit] = len(children)
                children.append([0, 0])
            node = children[node][bit]
        leaf = -1 - symbol
        children[node][code & 1] = leaf
        leaves[leaf] = symbol
        code += 1
    return children, leaves
