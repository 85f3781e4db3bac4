"""Whose process is at the other end of a connection within this machine.

Source: https://man7.org/linux/man-pages/man7/sock_diag.7.html
"""

import socket
import struct

_SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST = 1
_ANY_STATE = _NO_COOKIE = 0xFFFFFFFF
_HEAD = struct.Struct("=IHHII")
_ASKED = struct.Struct("=BBBBI")
_UID_AT = _HEAD.size + 4 + 48 + 12
_WAIT_S = 1.0
NOBODY = -1

Address = tuple[str, int]


def uid_of_peer(own: Address, peer: Address) -> int | None:
    """The user of the socket at `peer` that is connected to `own`, both IPv4; NOBODY where it has gone.

    None where the kernel doesn't tell.
    """
    ports = struct.pack("!HH", peer[1], own[1])
    ends = b"".join(socket.inet_aton(ip) + bytes(12) for ip in (peer[0], own[0]))
    wanted = ports + ends + struct.pack("=III", 0, _NO_COOKIE, _NO_COOKIE)
    body = _ASKED.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _ANY_STATE) + wanted
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as asking:
            asking.settimeout(_WAIT_S)
            asking.send(_HEAD.pack(_HEAD.size + len(body), _BY_FAMILY, _REQUEST, 1, 0) + body)
            told = asking.recv(4096)
    except (OSError, AttributeError):  # AF_NETLINK is Linux's
        return None
    kind = struct.unpack_from("=IH", told)[1]
    if kind != _BY_FAMILY:
        return NOBODY
    return int(struct.unpack_from("=I", told, _UID_AT)[0])
