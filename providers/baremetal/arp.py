"""ARP frames for Ethernet and IPv4 (RFC 826, RFC 5227). Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

ETHERTYPE: Final = 0x0806
REQUEST: Final = 1
REPLY: Final = 2

_BROADCAST: Final = b"\xff" * 6
_NO_MAC: Final = b"\0" * 6
_NO_ADDRESS: Final = IPv4Address(0)
_PACKET: Final = struct.Struct("!6s6sHHHBBH6s4s6s4s")
_ETHERNET: Final = 1
_IPV4: Final = 0x0800


@dataclass(frozen=True, slots=True)
class Arp:
    """One ARP packet, from `sender` about `target`. MAC addresses are six bytes."""

    operation: int
    sender_mac: bytes
    sender: IPv4Address
    target_mac: bytes
    target: IPv4Address

    def frame(self, to: bytes = _BROADCAST) -> bytes:
        """Return the Ethernet frame that carries the packet."""
        return _PACKET.pack(
            to,
            self.sender_mac,
            ETHERTYPE,
            _ETHERNET,
            _IPV4,
            6,
            4,
            self.operation,
            self.sender_mac,
            self.sender.packed,
            self.target_mac,
            self.target.packed,
        )


def announcement(address: IPv4Address, mac: bytes) -> bytes:
    """Say "I am this address": the ARP Announcement of RFC 5227 section 3, a request for the sender's own address."""
    return Arp(REQUEST, mac, address, _NO_MAC, address).frame()


def gratuitous_reply(address: IPv4Address, mac: bytes) -> bytes:
    """Say the same in a reply, for switches and hosts that learn only from replies.

    The target MAC is our own. Linux takes a reply to ff:ff:ff:ff:ff:ff for a broadcast that must wait for the
    neighbour's lock time, and ignores it for a second.
    """
    return Arp(REPLY, mac, address, mac, address).frame()


def probe(address: IPv4Address, mac: bytes) -> bytes:
    """Ask "who has this address?" without claiming it: the ARP Probe of RFC 5227 section 2.1.1, sender 0.0.0.0."""
    return Arp(REQUEST, mac, _NO_ADDRESS, _NO_MAC, address).frame()


def parse(frame: bytes) -> Arp | None:
    """Parse the ARP packet in an Ethernet frame; None if it is not one for Ethernet and IPv4."""
    if len(frame) < _PACKET.size:
        return None
    _, _, ethertype, hardware, protocol, mac_length, address_length, operation, *ends = _PACKET.unpack_from(frame)
    if (ethertype, hardware, protocol, mac_length, address_length) != (ETHERTYPE, _ETHERNET, _IPV4, 6, 4):
        return None
    sender_mac, sender, target_mac, target = ends
    return Arp(operation, sender_mac, IPv4Address(sender), target_mac, IPv4Address(target))
