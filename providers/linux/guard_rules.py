"""The rules of the guard's table: which packets are a VIP's, and when they pass. Pure.

`providers.linux.guard_table` shows them in their chains.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from providers.linux import nftables as nft

SLOTS: Final = (0, 1)
TIMER: Final = struct.pack("=I", 1)  # the timer's key
TARGET: Final = (nft.NETWORK_HEADER, 48, 16)  # an IPv6 header without extensions, ICMPv6, 4 bytes (RFC 4861 4.3, 4.4)

_IPV4, _ARP, _IPV6, _ICMPV6 = b"\x08\x00", b"\x08\x06", b"\x86\xdd", b"\x3a"
_VLAN_TAGS: Final = {"802.1Q": b"\x81\x00", "802.1ad": b"\x88\xa8"}
_SOLICIT, _ADVERTISE = b"\x87", b"\x88"

Rule = tuple[str, tuple[bytes, ...]]  # comment, expressions


def list_group_rules(key: bytes) -> list[Rule]:
    """Return the rules of one group's chain. `key`: the group's, in the armed sets."""
    rules: list[Rule] = []
    for slot in SLOTS:
        armed = (nft.constant(key), nft.member(f"armed_{slot}"))
        live = (nft.constant(TIMER), nft.member(f"live_{slot}"))
        rules.append((f"open in slot {slot}", (*armed, *live, nft.verdict(nft.ACCEPT))))
    return [*rules, ("shut", (nft.verdict(nft.DROP),))]


def _dispatch(note: str, protocol: bytes, vips: str, address_at: int, *match: bytes) -> Rule:
    load = nft.payload(nft.NETWORK_HEADER, address_at, 4 if vips == "vips4" else 16)
    return note, (nft.meta(nft.META_PROTOCOL), nft.equal(protocol), *match, load, nft.dispatch(vips))


def _neighbour(note: str, message: bytes) -> Rule:
    """Match neighbour discovery about a VIP, whatever the addresses of the packet.

    One with extension headers is not matched. The kernel answers it without them, and that answer is.
    """
    return note, (
        nft.meta(nft.META_PROTOCOL),
        nft.equal(_IPV6),
        nft.meta(nft.META_L4PROTO),
        nft.equal(_ICMPV6),
        nft.payload(nft.TRANSPORT_HEADER, 0, 1),
        nft.equal(message),
        nft.payload(*TARGET),
        nft.dispatch("targets6"),
    )


def _nested(note: str, protocol: bytes) -> Rule:
    """Drop a frame whose two outer tags have VLAN id 0: the kernel delivers what is in it as if it had no tag.

    It takes the second tag off after this hook, so what is in it cannot be looked up here. The outer tag has left the
    frame by now, and the network header is what follows the second tag's type. The protocol comes last, because nft
    1.0.6 aborts when it prints bytes of such a packet after it.
    """
    no_id = (nft.masked(b"\x0f\xff", bytes(2)), nft.equal(bytes(2)))
    tags = (nft.payload(nft.NETWORK_HEADER, 0, 2), *no_id, nft.payload(nft.LINK_HEADER, 14, 2), *no_id)
    return note, (*tags, nft.meta(nft.META_PROTOCOL), nft.equal(protocol), nft.verdict(nft.DROP))


_ARP_REQUEST: Final = (nft.payload(nft.NETWORK_HEADER, 6, 2), nft.equal(b"\x00\x01"))
DISPATCH: Final[Mapping[str, tuple[Rule, ...]]] = {
    "ingress": (
        _dispatch("to a VIP", _IPV4, "vips4", 16),
        _dispatch("who has a VIP", _ARP, "vips4", 24, *_ARP_REQUEST),
        _dispatch("to a VIP (IPv6)", _IPV6, "vips6", 24),
        _neighbour("who has a VIP (IPv6)", _SOLICIT),
        *(_nested(f"VLAN 0 in VLAN 0 ({name})", protocol) for name, protocol in _VLAN_TAGS.items()),
    ),
    "egress": (
        _dispatch("from a VIP", _IPV4, "vips4", 12),
        _dispatch("ARP as a VIP", _ARP, "vips4", 14),
        _dispatch("from a VIP (IPv6)", _IPV6, "vips6", 8),
        _neighbour("a VIP is here (IPv6)", _ADVERTISE),
    ),
}
