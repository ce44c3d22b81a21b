"""Builds the frames by which the monitor asks one node at its own MAC address, and parses the answers. Pure."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import NamedTuple

PORT = 7007  # the responders' port
STAMP = struct.Struct("<d")  # the question: when it was sent
REPLY = struct.Struct("<dBd")  # the answer: when the question was sent, the node, when it answered

_IP, _ARP = 0x0800, 0x0806
_ETHERNET = struct.Struct("!6s6sH")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")
_ARP_BODY = struct.Struct("!HHBBH6s4s6s4s")
_UDP_AT = _ETHERNET.size + _IPV4.size
_ANSWER = _ETHERNET.size + _IPV4.size + _UDP.size


class End(NamedTuple):
    """One end of a conversation on the LAN."""

    mac: bytes
    ip: bytes


def mac_bytes(text: str) -> bytes:
    """Returns ``02:00:..`` as six bytes."""
    return bytes.fromhex(text.replace(":", ""))


def udp_question(asker: End, node: End, vip: bytes) -> bytes:
    """Builds an IPv4 UDP frame to the VIP at this node's MAC, without UDP checksum. The caller appends a `STAMP`."""
    length = _UDP.size + STAMP.size
    header = _IPV4.pack(0x45, 0, _IPV4.size + length, 0, 0x4000, 64, 17, 0, asker.ip, vip)
    header = header[:10] + struct.pack("!H", _checksum(header)) + header[12:]
    return _ETHERNET.pack(node.mac, asker.mac, _IP) + header + _UDP.pack(PORT, PORT, length, 0)


def udp_source(frame: bytes) -> bytes | None:
    """Returns the address from which a responder's answer comes; None for other frames."""
    if len(frame) < _ANSWER + REPLY.size or frame[23] != 17:
        return None
    source, _, _, _ = _UDP.unpack_from(frame, _UDP_AT)
    return frame[26:30] if source == PORT else None


def udp_answer(frame: bytes, vip: bytes) -> tuple[float, int, float] | None:
    """Returns (asked at, node, answered at) of a responder's answer from the VIP; None for other frames."""
    return REPLY.unpack_from(frame, _ANSWER) if udp_source(frame) == vip else None


def arp_question(asker: End, node: End, vip: bytes) -> bytes:
    """Builds a unicast ARP request (RFC 826) for the VIP to this node."""
    return _ETHERNET.pack(node.mac, asker.mac, _ARP) + _ARP_BODY.pack(
        1, _IP, 6, 4, 1, asker.mac, asker.ip, bytes(6), vip
    )


def arp_answer(frame: bytes, vip: bytes) -> bytes | None:
    """Returns the MAC that an ARP reply gives for the VIP; None for other frames."""
    if len(frame) < _ETHERNET.size + _ARP_BODY.size:
        return None
    _, _, _, _, operation, mac, address, _, _ = _ARP_BODY.unpack_from(frame, _ETHERNET.size)
    return mac if operation == 2 and address == vip else None


def arp_sender(frame: bytes, mac: bytes) -> bytes | None:
    """Returns the address that this MAC announces as its own in an ARP request or reply; None for other frames."""
    if len(frame) < _ETHERNET.size + _ARP_BODY.size:
        return None
    _, _, _, _, _, sender, address, _, _ = _ARP_BODY.unpack_from(frame, _ETHERNET.size)
    return address if sender == mac else None


def ip_bytes(text: str) -> bytes:
    """Returns ``10.0.0.1`` as four bytes."""
    return IPv4Address(text).packed


def _checksum(header: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - ((total + (total >> 16)) & 0xFFFF)
