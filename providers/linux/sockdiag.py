"""Reset the TCP connections that clients hold to a VIP (sock_diag(7), SOCK_DESTROY; linux/inet_diag.h).

Call it while the address is here and the guard is open. Afterwards the sockets still end, but no RST reaches the
client, which then hangs until its own timeout.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from providers.base import ProviderError
from providers.linux.netlink import Message, NetlinkError, Socket

_BY_FAMILY: Final = 20  # SOCK_DIAG_BY_FAMILY
_DESTROY: Final = 21
_REQUEST: Final = struct.Struct("=BBBxI")
_ID: Final = slice(4, 52)  # struct inet_diag_sockid
_LOCAL: Final = slice(8, 24)
_LISTEN, _TIME_WAIT, _CLOSED = 10, 6, 7
_CONNECTED: Final = 0xFFF & ~(1 << _LISTEN | 1 << _TIME_WAIT | 1 << _CLOSED)
_MAPPED: Final = b"\0" * 10 + b"\xff\xff"  # an IPv4 peer of an IPv6 socket


@dataclass(frozen=True, slots=True)
class TcpConnection:
    """A TCP socket, with the kernel's identity of it."""

    family: int
    identity: bytes


def connections(kernel: Socket, addresses: Collection[IPv4Address | IPv6Address]) -> list[TcpConnection]:
    """Return the TCP connections whose local address is one of these, without listeners. Raises NetlinkError."""
    four = {a.packed + b"\0" * 12 for a in addresses if a.version == 4}
    six = {_MAPPED + a.packed if a.version == 4 else a.packed for a in addresses}
    found: list[TcpConnection] = []
    for family, local in ((socket.AF_INET, four), (socket.AF_INET6, six)):
        if local:
            request = Message(_BY_FAMILY, 0, _request(family, bytes(48)))
            listed = kernel.dump(request, "list TCP connections")
            found += [TcpConnection(family, m.body[_ID]) for m in listed if m.body[_LOCAL] in local]
    return found


def reset(kernel: Socket, addresses: Collection[IPv4Address | IPv6Address]) -> int:
    """Reset those connections and return how many there were.

    Raises ProviderError, also when the kernel cannot reset connections.
    """
    found = connections(kernel, addresses)
    requests = [Message(_DESTROY, 0, _request(connection.family, connection.identity)) for connection in found]
    try:
        kernel.apply(requests, "reset TCP connections", ignore=(errno.ENOENT,))  # closed in between
    except NetlinkError as error:
        if error.code == errno.EOPNOTSUPP:
            raise ProviderError(f"cannot reset {len(found)} connections: {UNSUPPORTED}") from error
        raise
    return len(found)


def is_supported(kernel: Socket) -> bool:
    """Return whether this kernel can reset connections, by asking it to reset one that cannot exist.

    Raises NetlinkError.
    """
    try:
        kernel.apply([Message(_DESTROY, 0, _request(socket.AF_INET, bytes(40) + b"\xff" * 8))], "reset no connection")
    except NetlinkError as error:
        if error.code == errno.ENOENT:
            return True
        if error.code == errno.EOPNOTSUPP:
            return False
        raise
    return True


UNSUPPORTED: Final = "this kernel is built without CONFIG_INET_DIAG_DESTROY"


def _request(family: int, identity: bytes) -> bytes:
    return _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _CONNECTED) + identity
