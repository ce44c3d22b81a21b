"""Neighbour discovery frames, sentence by sentence of RFC 4861 (probes: RFC 4862)."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from providers.baremetal import ndp

MAC = bytes.fromhex("020000000011")
VIP = IPv6Address("fd77::12:3456")

IP = slice(14, 54)
ICMP = slice(54, None)


def test_an_unsolicited_advertisement_on_the_wire() -> None:
    frame = ndp.unsolicited_advertisement(VIP, MAC)
    assert frame[:14].hex(" ") == "33 33 00 00 00 01 02 00 00 00 00 11 86 dd"
    assert frame[IP].hex(" ") == (
        "60 00 00 00 00 20 3a ff "
        "fd 77 00 00 00 00 00 00 00 00 00 00 00 12 34 56 "
        "ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 01"
    )
    assert frame[ICMP][4:].hex(" ") == (
        "20 00 00 00 "  # Override; not Router, not Solicited
        "fd 77 00 00 00 00 00 00 00 00 00 00 00 12 34 56 "
        "02 01 02 00 00 00 00 11"  # target link-layer address
    )


def test_the_solicited_flag_is_zero_and_the_destination_all_nodes() -> None:
    """Section 7.2.6: the Solicited flag MUST be set to zero ... sent to the all-nodes multicast address."""
    frame = ndp.unsolicited_advertisement(VIP, MAC)
    assert frame[ICMP][4] & 0x40 == 0
    assert IPv6Address(frame[38:54]) == IPv6Address("ff02::1")


def test_override_makes_neighbours_replace_what_they_know() -> None:
    """Section 7.2.6: the Override flag MAY be set to either ... to have them update their caches, one."""
    assert ndp.unsolicited_advertisement(VIP, MAC)[ICMP][4] & 0x20


def test_the_target_link_layer_address_is_included() -> None:
    """Section 4.4: this option MUST be included ... when responding to multicast solicitations (and to be learnt from)."""
    assert ndp.unsolicited_advertisement(VIP, MAC)[-8:] == b"\x02\x01" + MAC


def test_a_probe_comes_from_nobody_and_goes_to_the_solicited_node_group() -> None:
    """RFC 4862 section 5.4.2: source unspecified, destination the solicited-node multicast of the target."""
    frame = ndp.probe(VIP, MAC)
    assert frame[:6].hex(":") == "33:33:ff:12:34:56"
    assert IPv6Address(frame[22:38]) == IPv6Address("::")
    assert IPv6Address(frame[38:54]) == IPv6Address("ff02::1:ff12:3456")
    assert ndp.parse(frame) == ndp.Neighbour(ndp.SOLICITATION, MAC, IPv6Address("::"), VIP)


def test_a_probe_has_no_source_link_layer_address() -> None:
    """Section 4.3: it MUST NOT be included when the source IP address is the unspecified address."""
    assert len(ndp.probe(VIP, MAC)) == 14 + 40 + 24


def test_the_hop_limit_is_255() -> None:
    """Section 7.1: the IP Hop Limit field has a value of 255, i.e. the packet was not forwarded."""
    frame = bytearray(ndp.unsolicited_advertisement(VIP, MAC))
    assert frame[21] == 255
    frame[21] = 254
    assert ndp.parse(bytes(frame)) is None


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=6, max_size=6))
def test_the_checksum_holds_over_pseudo_header_and_message(address: bytes, mac: bytes) -> None:
    """RFC 4443 section 2.3: with its checksum, the sum of everything is all ones."""
    for frame in (ndp.unsolicited_advertisement(IPv6Address(address), mac), ndp.probe(IPv6Address(address), mac)):
        message = frame[ICMP]
        summed = frame[22:54] + struct.pack("!II", len(message), 58) + message
        total = sum(int.from_bytes(summed[i : i + 2], "big") for i in range(0, len(summed), 2))
        assert total % 0xFFFF == 0


@given(st.binary(max_size=120))
def test_any_frame_is_parsed_or_refused(frame: bytes) -> None:
    found = ndp.parse(frame)
    assert found is None or found.kind in {ndp.SOLICITATION, ndp.ADVERTISEMENT}


def test_other_messages_are_refused() -> None:
    frame = bytearray(ndp.unsolicited_advertisement(VIP, MAC))
    assert ndp.parse(bytes(frame)) == ndp.Neighbour(ndp.ADVERTISEMENT, MAC, VIP, VIP)
    for position, value in ((12, 8), (20, 17), (54, 134), (55, 1)):  # EtherType, next header, type, code
        other = frame.copy()
        other[position] = value
        assert ndp.parse(bytes(other)) is None
