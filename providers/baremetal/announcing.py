"""The frames that tell the LAN that VIPs have come to this node. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from providers.baremetal import arp, ndp

IPAddress = IPv4Address | IPv6Address


def announcements(addresses: Iterable[IPAddress], mac: bytes) -> list[bytes]:
    """Return the frames that announce these addresses at this MAC.

    One frame for each address comes first, then the gratuitous replies, for switches and hosts that learn only from
    those. So the last of a thousand VIPs does not wait for the first one's second frame.
    """
    first: list[bytes] = []
    second: list[bytes] = []
    for address in addresses:
        if isinstance(address, IPv4Address):
            first.append(arp.announcement(address, mac))
            second.append(arp.gratuitous_reply(address, mac))
        else:
            first.append(ndp.unsolicited_advertisement(address, mac))
    return first + second


def probes(addresses: Iterable[IPAddress], mac: bytes) -> list[bytes]:
    """Return the frames that ask whether any machine has these addresses, without claiming them."""
    return [
        arp.probe(address, mac) if isinstance(address, IPv4Address) else ndp.probe(address, mac)
        for address in addresses
    ]


def claim(frame: bytes) -> tuple[IPAddress, bytes] | None:
    """Return the address that a received frame claims and the MAC that claims it, or None if it claims none."""
    packet = arp.parse(frame)
    if packet is not None:
        return (packet.sender, packet.sender_mac) if int(packet.sender) else None
    neighbour = ndp.parse(frame)
    if neighbour is not None and neighbour.kind == ndp.ADVERTISEMENT:
        return neighbour.target, neighbour.mac
    return None
