"""ARP frames, sentence by sentence of RFC 5227 (and RFC 826 for the layout)."""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from providers.baremetal import arp

MAC = bytes.fromhex("020000000011")
VIP = IPv4Address("10.77.0.100")
BROADCAST = b"\xff" * 6
NO_MAC = b"\0" * 6


def test_an_announcement_on_the_wire() -> None:
    """Section 2.3: as the probe, except that sender and target address are both the announced one."""
    assert arp.announcement(VIP, MAC).hex(" ") == (
        "ff ff ff ff ff ff 02 00 00 00 00 11 08 06 "  # Ethernet: to all, from us, ARP
        "00 01 08 00 06 04 00 01 "  # for Ethernet and IPv4, request
        "02 00 00 00 00 11 0a 4d 00 64 "  # sender: us, the VIP
        "00 00 00 00 00 00 0a 4d 00 64"  # target: no MAC, the VIP
    )


def test_a_probe_claims_nothing() -> None:
    """Section 2.1.1: the sender IP address field MUST be all zeroes, the target hardware address SHOULD be."""
    packet = arp.parse(arp.probe(VIP, MAC))
    assert packet == arp.Arp(arp.REQUEST, MAC, IPv4Address(0), NO_MAC, VIP)


def test_a_probe_carries_the_senders_mac() -> None:
    """Section 2.1.1: the client MUST fill in the sender hardware address."""
    assert arp.probe(VIP, MAC)[6:12] == MAC
    assert arp.probe(VIP, MAC)[22:28] == MAC


def test_probes_and_announcements_are_broadcast() -> None:
    """Section 1.1: probe and announcement are broadcast."""
    for frame in (arp.probe(VIP, MAC), arp.announcement(VIP, MAC), arp.gratuitous_reply(VIP, MAC)):
        assert frame[:6] == BROADCAST


def test_a_gratuitous_reply_names_the_vip_twice_and_our_own_mac_as_target() -> None:
    """Linux delays a reply whose target MAC is ff:ff:ff:ff:ff:ff by the lock time."""
    assert arp.parse(arp.gratuitous_reply(VIP, MAC)) == arp.Arp(arp.REPLY, MAC, VIP, MAC, VIP)


@given(st.binary(max_size=80))
def test_any_frame_is_parsed_or_refused(frame: bytes) -> None:
    packet = arp.parse(frame)
    assert packet is None or packet.frame(frame[:6])[14:] == frame[14:42]


@given(st.sampled_from(range(12, 20)), st.integers(0, 255))
def test_other_protocols_are_refused(position: int, value: int) -> None:
    frame = bytearray(arp.announcement(VIP, MAC))
    changed = frame[position] != value
    frame[position] = value
    assert (arp.parse(bytes(frame)) is None) == changed


def test_padding_is_ignored() -> None:
    assert arp.parse(arp.announcement(VIP, MAC) + bytes(18)) == arp.Arp(arp.REQUEST, MAC, VIP, NO_MAC, VIP)
