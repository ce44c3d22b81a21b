"""Neighbour discovery frames for Ethernet and IPv6 (RFC 4861). Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

ETHERTYPE: Final = 0x86DD
SOLICITATION: Final = 135
ADVERTISEMENT: Final = 136

_ALL_NODES: Final = IPv6Address("ff02::1")
_UNSPECIFIED: Final = IPv6Address(0)
_SOLICITED_NODE: Final = IPv6Address("ff02::1:ff00:0").packed[:13]
_ICMPV6: Final = 58
_HOP_LIMIT: Final = 255  # RFC 4861 7.1: anything less has crossed a router and is dropped
_OVERRIDE: Final = 0x20
_TARGET_MAC: Final = 2  # option: target link-layer address
_HEADERS: Final = struct.Struct("!6s6sHIHBB16s16s")
_BODY: Final = struct.Struct("!BBHB3x16s")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One solicitation or advertisement: `target` is the address it is about, `mac` the source of its frame."""

    kind: int
    mac: bytes
    source: IPv6Address
    target: IPv6Address


def unsolicited_advertisement(address: IPv6Address, mac: bytes) -> bytes:
    """Say "I am this address" to all nodes, with Override set, not Solicited (RFC 4861 section 7.2.6)."""
    option = struct.pack("!BB6s", _TARGET_MAC, 1, mac)
    return _frame(mac, address, _ALL_NODES, _BODY.pack(ADVERTISEMENT, 0, 0, _OVERRIDE, address.packed) + option)


def probe(address: IPv6Address, mac: bytes) -> bytes:
    """Ask "who has this address?" without claiming it: the solicitation of RFC 4862 section 5.4.2, source ::."""
    group = IPv6Address(_SOLICITED_NODE + address.packed[13:])
    return _frame(mac, _UNSPECIFIED, group, _BODY.pack(SOLICITATION, 0, 0, 0, address.packed))


def parse(frame: bytes) -> Neighbour | None:
    """Parse the solicitation or advertisement in an Ethernet frame; None if it is neither."""
    if len(frame) < _HEADERS.size + _BODY.size:
        return None
    _, mac, ethertype, _, _, following, hops, source, _ = _HEADERS.unpack_from(frame)
    kind, code, _, _, target = _BODY.unpack_from(frame, _HEADERS.size)
    if (ethertype, following, hops, code) != (ETHERTYPE, _ICMPV6, _HOP_LIMIT, 0):
        return None
    if kind not in {SOLICITATION, ADVERTISEMENT}:
        return None
    return Neighbour(kind, mac, IPv6Address(source), IPv6Address(target))


def _frame(mac: bytes, source: IPv6Address, to: IPv6Address, body: bytes) -> bytes:
    body = body[:2] + struct.pack("!H", _checksum(source, to, body)) + body[4:]
    multicast_mac = b"\x33\x33" + to.packed[12:]  # RFC 2464 section 7
    addresses = (source.packed, to.packed)
    return _HEADERS.pack(multicast_mac, mac, ETHERTYPE, 6 << 28, len(body), _ICMPV6, _HOP_LIMIT, *addresses) + body


def _checksum(source: IPv6Address, to: IPv6Address, body: bytes) -> int:
    """Return the checksum of RFC 4443 section 2.3, over the pseudo-header and the message, whose own field is 0."""
    data = source.packed + to.packed + struct.pack("!II", len(body), _ICMPV6) + body
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
