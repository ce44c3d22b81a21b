"""The ping check: one ICMP echo request (RFC 792, RFC 4443 section 4.1)."""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from typing import TYPE_CHECKING

from health.lookup import addresses

if TYPE_CHECKING:
    from health.options import PingCheck

_PROTOCOL = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}
_REQUEST = {socket.AF_INET: 8, socket.AF_INET6: 128}
_REPLY = {socket.AF_INET: 0, socket.AF_INET6: 129}
_HEADER = 8


async def ping(options: PingCheck) -> None:
    """Ping the host's first address and wait for the reply. Raises OSError. The caller sets the time limit."""
    loop = asyncio.get_running_loop()
    family, where = (await addresses(options.target, 0))[0]
    token = secrets.token_bytes(16)  # identifies our replies, because the kernel may choose the identifier
    with _socket(family) as connection:
        connection.setblocking(False)
        connection.connect(where)
        await loop.sock_sendall(connection, echo_request(family, token))
        while not is_reply(family, await loop.sock_recv(connection, 2048), token):
            pass


def echo_request(family: int, token: bytes) -> bytes:
    """Build the packet. In ICMPv6 the kernel fills in the checksum."""
    packet = struct.pack("!BBHHH", _REQUEST[socket.AddressFamily(family)], 0, 0, 0, 1) + token
    return packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]


def is_reply(family: int, packet: bytes, token: bytes) -> bool:
    """Report whether this is the reply to the request with the token. A raw IPv4 socket adds the IP header."""
    if family == socket.AF_INET and packet[:1] and packet[0] >> 4 == 4:
        packet = packet[(packet[0] & 0x0F) * 4 :]
    return packet[:1] == bytes([_REPLY[socket.AddressFamily(family)]]) and packet[_HEADER:] == token


def checksum(data: bytes) -> int:
    """Compute the Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _socket(family: socket.AddressFamily) -> socket.socket:
    protocol = _PROTOCOL[family]
    try:  # needs no capability, only net.ipv4.ping_group_range
        return socket.socket(family, socket.SOCK_DGRAM, protocol)
    except PermissionError:
        pass
    try:
        return socket.socket(family, socket.SOCK_RAW, protocol)
    except PermissionError as error:
        raise PermissionError("ping needs CAP_NET_RAW, or a group in net.ipv4.ping_group_range") from error
