"""Which interface a VIP belongs to, where it is guarded, and on which links it is announced."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface

import pytest

from providers.baremetal import placing
from providers.base import ProviderError, Vip
from providers.linux.rtnetlink import Address, Link

LO = Link(1, "lo", up=True, carrier=True, loopback=True, mac=None)
ETH0 = Link(2, "eth0", up=True, carrier=True, loopback=False, mac=b"\x02\0\0\0\0\x01")
ETH1 = Link(3, "eth1", up=True, carrier=True, loopback=False, mac=b"\x02\0\0\0\0\x02")
TUN0 = Link(4, "tun0", up=True, carrier=True, loopback=False, mac=None)
LINKS = [LO, ETH0, ETH1, TUN0]
NOWHERE: dict[int, int | None] = {4: None, 6: None}


def vip(text: str) -> Vip:
    return ip_interface(text)


def address(link: Link, text: str) -> Address:
    interface = ip_interface(text)
    return Address(link.index, interface.packed, interface.network.prefixlen, duplicate=False)


OWN = [
    address(LO, "127.0.0.1/8"),
    address(ETH0, "10.0.0.11/24"),
    address(ETH1, "10.0.1.11/24"),
    address(ETH1, "fd01::11/64"),
]


@pytest.mark.parametrize(
    ("wanted", "interface"),
    [("10.0.0.100/24", "eth0"), ("10.0.0.100/32", "eth0"), ("10.0.1.100/24", "eth1"), ("fd01::100/64", "eth1")],
)
def test_the_interface_is_the_one_in_the_vips_network(wanted: str, interface: str) -> None:
    assert placing.interface_of(vip(wanted), LINKS, OWN, NOWHERE) == interface


def test_else_the_one_of_the_default_route() -> None:
    assert placing.interface_of(vip("192.0.2.1/32"), LINKS, OWN, {4: 2, 6: 3}) == "eth0"
    assert placing.interface_of(vip("2001:db8::1/128"), LINKS, OWN, {4: 2, 6: 3}) == "eth1"


def test_a_leftover_vip_does_not_say_where_it_belongs() -> None:
    leftover = [address(ETH1, "10.0.0.100/24"), *OWN]
    assert placing.interface_of(vip("10.0.0.100/24"), LINKS, leftover, NOWHERE) == "eth0"


def permanent(link: Link, text: str, *, secondary: bool = False) -> Address:
    return replace(address(link, text), permanent=True, secondary=secondary)


@pytest.mark.parametrize(
    ("there", "own"),
    [
        ([permanent(ETH0, "10.0.0.100/24")], "10.0.0.100/24 on eth0"),
        ([permanent(ETH0, "10.0.0.100/24"), permanent(ETH0, "10.0.0.11/24", secondary=True)], "10.0.0.100/24 on eth0"),
        ([permanent(ETH0, "10.0.0.11/24"), permanent(ETH0, "10.0.0.100/24", secondary=True)], None),
        ([permanent(ETH0, "10.0.0.100/32")], None),
        ([permanent(ETH1, "10.0.0.100/24")], None),
        ([address(ETH0, "10.0.0.100/24")], None),
        ([permanent(ETH0, "fd01::100/64")], "fd01::100/64 on eth0"),
        ([permanent(ETH0, "fd01::100/64"), address(ETH0, "fd01::11/64")], None),
    ],
)
def test_a_vip_is_the_hosts_own_where_the_host_would_be_cut_off_without_it(
    there: list[Address], own: str | None
) -> None:
    places = {"eth0": (vip("10.0.0.100/24"), vip("fd01::100/64"))}
    assert placing.own_address(places, LINKS, there) == own


@pytest.mark.parametrize("routes", [NOWHERE, {4: 99, 6: None}])
def test_without_either_it_must_be_named(routes: dict[int, int | None]) -> None:
    with pytest.raises(ProviderError, match=r"192\.0\.2\.1/32 .* set the provider's `interface`"):
        placing.interface_of(vip("192.0.2.1/32"), LINKS, OWN, routes)


def test_guarded_where_the_packets_cross() -> None:
    some = [vip("10.0.0.100/24")]
    assert placing.guarded_links({"eth0": some}, LINKS, OWN) == ("eth0",)
    assert placing.guarded_links({"lo": some}, LINKS, OWN) == ("eth0", "eth1", "tun0")
    assert placing.guarded_links({"eth1": some, "lo": some}, LINKS, OWN) == ("eth0", "eth1", "tun0")
    assert placing.guarded_links({"later0": [vip("192.0.2.1/32")]}, LINKS, OWN) == ("later0",)


def test_every_link_in_the_vips_network_is_guarded() -> None:
    second = address(ETH1, "10.0.0.2/24")
    assert placing.guarded_links({"eth0": [vip("10.0.0.100/32")]}, LINKS, [*OWN, second]) == ("eth0", "eth1")
    alone = address(ETH1, "10.0.0.101/32")  # such as another VIP of ours
    assert placing.guarded_links({"eth0": [vip("10.0.0.101/24")]}, LINKS, [*OWN, alone]) == ("eth0",)


def test_announced_on_the_vips_link() -> None:
    some = vip("10.0.0.100/24")
    assert placing.announcing_links({"eth0": [some]}, LINKS, OWN) == [(ETH0, [some])]


def test_announced_to_nobody_where_there_are_no_macs_or_no_link() -> None:
    some = vip("10.0.0.100/24")
    assert placing.announcing_links({"tun0": [some], "later0": [some]}, LINKS, OWN) == []


def test_on_lo_announced_where_neighbours_know_it_by_mac() -> None:
    near, far = vip("10.0.1.100/32"), vip("192.0.2.1/32")
    assert placing.announcing_links({"lo": [near, far]}, LINKS, OWN) == [(ETH1, [near])]


@pytest.mark.parametrize("where", ["fe80::100/64", "169.254.7.7/16"])
def test_a_link_local_vip_needs_its_interface(where: str) -> None:
    with pytest.raises(ProviderError, match=r"link-local.* set the provider's `interface`"):
        placing.interface_of(vip(where), LINKS, OWN, NOWHERE)
