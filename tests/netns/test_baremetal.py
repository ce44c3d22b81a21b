"""Addresses with a lifetime on a real interface: bound, refreshed, ended, removed, looked for."""

from __future__ import annotations

import asyncio
import socket
import time
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import TYPE_CHECKING

import pytest

from providers.baremetal.provider import _SETTLED_SECONDS
from providers.base import Grant, Level, Place, ProviderError, StaleGrant
from tests.lab.host.namespaces import eventually
from tests.lab.host.processes import LIVENESS

if TYPE_CHECKING:
    from collections.abc import Callable

    from providers.baremetal.provider import BareMetal
    from tests.netns.conftest import Clock, Lan

    Make = Callable[..., BareMetal]

pytestmark = pytest.mark.netns


def grant(clock: Clock, seconds: float = 30.0) -> Grant:
    return Grant("web", 1, clock() + seconds)


def shown(lan: Lan, address: object, interface: str = "") -> str:
    """What `ip` prints of the address."""
    return lan.node.run(f"ip -o addr show dev {interface or lan.interface} to {address}")


def routes_of(lan: Lan) -> list[str]:
    """The routes of both families, sorted, without what only says how old they are."""
    lines = [*lan.node.run("ip -4 route").splitlines(), *lan.node.run("ip -6 route").splitlines()]
    return sorted(line.partition(" expires")[0].strip() for line in lines)


def seconds_left(lan: Lan) -> int:
    """How long the IPv4 VIP lives on, as the kernel tells it: whole seconds."""
    words = shown(lan, lan.vip4.ip).split()
    return int(words[words.index("valid_lft") + 1].removesuffix("sec"))


async def bound_for(web: BareMetal, lan: Lan, clock: Clock, seconds: float) -> int:
    """How many seconds the address was bound for with a grant of so many: those that went by since are no part of it."""
    began_at = clock()
    await web.bind(grant(clock, seconds))
    left = seconds_left(lan)
    return left if clock() - began_at < 1 else await bound_for(web, lan, clock, seconds)


async def test_bound_until_the_grant_ends_and_no_longer(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    web = bare_metal()
    await web.bind(grant(clock, 3.5))
    assert (await web.inspect()).place is Place.HERE
    assert 0 < seconds_left(lan) <= 4
    assert eventually(lambda: not shown(lan, lan.vip4.ip) and not shown(lan, lan.vip6.ip)), "the kernel removes both"
    assert (await web.inspect()).place is Place.NOWHERE


async def test_refreshed_it_stays(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    web = bare_metal()
    end = time.monotonic() + 4.6  # longer than one lifetime and the second it may end late
    while time.monotonic() < end:
        await web.bind(grant(clock, 3.2))
        assert shown(lan, lan.vip4.ip)
        await asyncio.sleep(0.2)
    assert (await web.inspect()).place is Place.HERE


@pytest.mark.parametrize("unguarded", [False, True])
async def test_lifetimes_are_whole_seconds_and_without_a_guard_never_more_than_the_grant(
    lan: Lan, bare_metal: Make, clock: Clock, unguarded: bool
) -> None:
    web = bare_metal()
    web.unguarded = unguarded
    for seconds, valid in ((9.9, 9 if unguarded else 10), (5.9, 5 if unguarded else 6)):
        assert await bound_for(web, lan, clock, seconds) == valid


async def test_too_late_binds_nothing(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    web = bare_metal()
    with pytest.raises(StaleGrant, match=r"-\d+\.\d+ s left"):
        await web.bind(Grant("web", 1, clock() - 0.1))
    assert not shown(lan, lan.vip4.ip)


async def test_without_a_guard_the_last_second_binds_nothing(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    web = bare_metal()
    web.unguarded = True
    with pytest.raises(StaleGrant):
        await web.bind(grant(clock, 0.9))
    assert not shown(lan, lan.vip4.ip)
    assert await bound_for(web, lan, clock, 5.9) == 5


async def test_ipv6_is_usable_at_once_and_no_source_of_its_own_accord(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    await bare_metal().bind(grant(clock))
    assert "tentative" not in shown(lan, lan.vip6.ip)
    assert "preferred_lft 0sec" in shown(lan, lan.vip6.ip)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
        asking.connect(("fd77::50", 9))
        assert asking.getsockname()[0] == "fd77::11"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("10.77.0.50", 9))
        assert asking.getsockname()[0] == "10.77.0.11"


async def test_the_host_keeps_its_own_address_and_route(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    before = [lan.node.run("ip -4 route"), lan.node.run("ip -6 route")]
    web = bare_metal()
    await web.bind(grant(clock))
    assert [lan.node.run("ip -4 route"), lan.node.run("ip -6 route")] == before
    await web.unbind()
    assert [lan.node.run("ip -4 route"), lan.node.run("ip -6 route")] == before
    assert shown(lan, "10.77.0.11")
    assert shown(lan, "fd77::11")


async def test_a_vip_in_a_network_of_its_own_brings_the_route_along(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    web = bare_metal(IPv4Interface("192.0.2.1/24"), IPv6Interface("2001:db8::1/64"), interface=lan.interface)
    await web.bind(grant(clock))
    assert f"192.0.2.0/24 dev {lan.interface}" in lan.node.run("ip -4 route")
    assert f"2001:db8::/64 dev {lan.interface}" in lan.node.run("ip -6 route")
    await web.unbind()
    assert "192.0.2.0/24" not in lan.node.run("ip -4 route")
    assert "2001:db8::/64" not in lan.node.run("ip -6 route")


async def test_our_route_yields_to_the_hosts_own(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    web = bare_metal(IPv4Interface("192.0.2.1/24"), IPv6Interface("2001:db8::1/64"), interface=lan.interface)
    await web.bind(grant(clock))
    before = routes_of(lan)
    lan.node.run(f"ip addr add 192.0.2.7/24 dev {lan.interface}")
    lan.node.run(f"ip addr add 2001:db8::7/64 dev {lan.interface}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("192.0.2.50", 9))
        assert asking.getsockname()[0] == "192.0.2.7", "the host's own route is the first at once"
    await web.adapt()
    assert [line for line in routes_of(lan) if "proto 118" in line] == []
    lan.node.run(f"ip addr del 192.0.2.7/24 dev {lan.interface}")
    lan.node.run(f"ip addr del 2001:db8::7/64 dev {lan.interface}")
    await web.adapt()
    assert routes_of(lan) == before


async def test_the_host_is_what_it_is_without_the_vip_when_its_address_comes_back(
    lan: Lan, bare_metal: Make, clock: Clock
) -> None:
    lan.node.run(f"ip route add default dev {lan.interface}")
    routes, own = routes_of(lan), f"10.77.0.11/24 dev {lan.interface}"
    web = bare_metal()
    await web.bind(grant(clock))
    lan.node.run(f"ip addr del {own}")
    await web.bind(grant(clock))
    lan.node.run(f"ip addr add {own}")
    lan.node.run(f"ip route replace default dev {lan.interface}")
    for away in ("10.77.0.50", "198.51.100.1"):
        assert "src 10.77.0.11" in lan.node.run(f"ip route get {away}")
    assert "secondary" not in shown(lan, "10.77.0.11")
    await web.bind(grant(clock))
    await web.unbind()
    assert (routes_of(lan), bool(shown(lan, "10.77.0.11"))) == (routes, True)


async def test_groups_do_not_remove_each_others_routes(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    before = routes_of(lan)
    one, two = (bare_metal(IPv4Interface(f"192.0.2.{n}/24"), group=f"g{n}", interface=lan.interface) for n in (1, 2))
    await one.bind(grant(clock))
    await two.bind(grant(clock))
    await one.unbind()
    assert "192.0.2.0/24" in lan.node.run("ip route get fibmatch 192.0.2.50")
    await two.unbind()
    assert routes_of(lan) == before


async def test_unbind_removes_leftovers_of_any_prefix_and_nothing_else(lan: Lan, bare_metal: Make) -> None:
    for leftover in ("10.77.0.100/32", "10.77.0.100/24", "fd77::100/128"):
        lan.node.run(f"ip addr add {leftover} dev {lan.interface}")
    lan.node.run(f"ip addr add 10.77.0.101/24 dev {lan.interface}")
    web = bare_metal()
    await web.unbind()
    assert not shown(lan, lan.vip4.ip)
    assert not shown(lan, lan.vip6.ip)
    assert shown(lan, "10.77.0.101")
    assert shown(lan, "10.77.0.11")
    await web.unbind()


async def test_what_somebody_left_there_is_named_when_it_is_removed(
    lan: Lan, bare_metal: Make, caplog: pytest.LogCaptureFixture
) -> None:
    lan.node.run(f"ip addr add {lan.vip4} dev {lan.interface}")
    await bare_metal().unbind()
    assert [record.getMessage() for record in caplog.records] == [
        f"group web: removed {lan.vip4} on {lan.interface}, which another program had added"
    ]


@pytest.mark.parametrize("own", ["10.77.0.11/24", "fd77::11/64"])
async def test_the_hosts_own_address_is_no_vip(lan: Lan, bare_metal: Make, own: str) -> None:
    lan.node.run(f"ip addr add 10.77.0.12/24 dev {lan.interface}")  # it would go with the first of its network
    where = rf"{own} on {lan.interface} is this host's own address.*: ip address del {own} dev {lan.interface}$"
    with pytest.raises(ProviderError, match=where):
        bare_metal(ip_interface(own), interface=lan.interface)
    assert shown(lan, "10.77.0.12")


async def test_what_was_added_beside_ours_goes_a_moment_later(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    web = bare_metal()
    await web.bind(grant(clock))
    lan.node.run(f"ip addr add {lan.vip4} dev {lan.interface}")
    await web.unbind()
    assert not shown(lan, lan.vip6.ip)
    async with asyncio.timeout(LIVENESS):
        while shown(lan, lan.vip4.ip):  # noqa: ASYNC110  (the kernel is asked)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("count", "announced"), [(1, True), (1, False), (20, True), (20, False)])
async def test_what_is_bound_again_is_not_tidied_up(
    lan: Lan, bare_metal: Make, clock: Clock, count: int, announced: bool
) -> None:
    web = bare_metal(*(IPv4Interface(f"10.77.0.{100 + number}/24") for number in range(count)))
    web.announced = announced
    await web.bind(grant(clock))
    await web.unbind()
    await web.bind(grant(clock))
    await asyncio.sleep(2 * _SETTLED_SECONDS)  # timers end in order: what was to follow the unbind has begun by then
    assert (await web.inspect()).place is Place.HERE, "and calls are made in order"


async def test_inspect_says_where_they_are(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    web = bare_metal()
    placement = await web.inspect()
    assert (placement.place, "10.77.0.100 on eth0, fd77::100 on eth0" in placement.where) == (Place.NOWHERE, True)
    await web.bind(grant(clock))
    lan.node.run(f"ip addr del {lan.vip6.ip}/128 dev {lan.interface}")
    placement = await web.inspect()
    assert (placement.place, placement.where) == (Place.NOWHERE, "missing: fd77::100 on eth0")
    lan.node.run(f"ip addr add {lan.vip6} dev lo")
    placement = await web.inspect()
    assert (placement.place, placement.where) == (Place.ELSEWHERE, "this host has fd77::100 on lo")


async def test_drift_is_repaired_by_binding_again(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    web = bare_metal()
    await web.bind(grant(clock))
    lan.node.run(f"ip addr flush dev {lan.interface} to {lan.vip4.ip}")
    await web.bind(grant(clock))
    assert (await web.inspect()).place is Place.HERE


async def test_an_interface_that_was_made_anew(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    lan.node.run("ip link add again0 type veth peer name again1")
    web = bare_metal(lan.vip4, interface="again0")
    await web.bind(grant(clock))
    lan.node.run("ip link del again0")
    with pytest.raises(ProviderError, match="interface again0: No such device"):
        await web.bind(grant(clock))
    assert (await web.inspect()).place is Place.NOWHERE
    await web.unbind()
    lan.node.run("ip link add again0 type veth peer name again1")
    await web.bind(grant(clock))
    assert (await web.inspect()).place is Place.HERE


@pytest.mark.parametrize("interface", ["eth0.10", "bond-a.7"], indirect=True)
async def test_any_interface_name(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    web = bare_metal(interface=lan.interface)
    await web.bind(grant(clock))
    await web.announce()
    assert lan.neighbour.answered(lan.vip4.ip, LIVENESS) == lan.mac


async def test_announced_again_and_again_if_asked(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    web = bare_metal(announce={"count": 1, "every_seconds": 1})
    await web.bind(grant(clock))
    await web.announce()
    for _ in range(5):  # two frames each time
        announced = await asyncio.to_thread(lan.neighbour.announced, lan.vip4.ip, LIVENESS)
        assert announced == lan.mac


async def test_hundreds_are_announced_again_all_of_them(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    vips = [IPv4Interface(f"10.77.0.{number}/24") for number in range(51, 251)]
    web = bare_metal(*vips, announce={"count": 2, "interval_seconds": 0.1})
    await web.bind(grant(clock))
    await web.announce()
    for _ in range(3):  # two frames each time
        announced = await asyncio.to_thread(lan.neighbour.announced, vips[-1].ip, LIVENESS)
        assert announced == lan.mac


async def test_vips_on_lo(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    web = bare_metal(IPv4Interface("10.77.0.100/32"), IPv4Interface("192.0.2.1/32"), interface="lo")
    assert web.guarded().interfaces == (lan.interface,)
    await web.bind(grant(clock))
    assert "valid_lft" in shown(lan, "10.77.0.100", "lo")
    await web.announce()  # the one that the neighbours know by MAC
    assert lan.neighbour.announced(lan.vip4.ip, LIVENESS) == lan.mac
    await web.unbind()
    assert shown(lan, "127.0.0.1", "lo")
    assert not shown(lan, "10.77.0.100", "lo")


async def test_a_real_vlan(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    try:
        lan.node.run(f"ip link add link {lan.interface} name {lan.interface}.10 type vlan id 10")
    except AssertionError:
        pytest.skip("this kernel has no VLAN interfaces (CONFIG_VLAN_8021Q)")
    lan.node.run(f"ip link set {lan.interface}.10 up")
    web = bare_metal(IPv4Interface("192.0.2.1/24"), interface=f"{lan.interface}.10")
    assert web.guarded().interfaces == (f"{lan.interface}.10",)
    await web.bind(grant(clock))
    assert (await web.inspect()).place is Place.HERE


async def test_the_interface_is_found_by_network_then_by_default_route(lan: Lan, bare_metal: Make) -> None:
    assert bare_metal().guarded().interfaces == (lan.interface,)
    with pytest.raises(ProviderError, match="no default route"):
        bare_metal(IPv4Interface("192.0.2.1/24"))
    lan.node.run("ip link add other0 type veth peer name other1")
    lan.node.run("ip link set other0 up")
    lan.node.run("ip link set other1 up")
    lan.node.run("ip addr add 198.51.100.1/24 dev other0")
    lan.node.run("ip route add default via 10.77.0.50 metric 100")
    lan.node.run("ip route add default via 198.51.100.2 metric 10")
    assert bare_metal(IPv4Interface("192.0.2.1/24")).guarded().interfaces == ("other0",)
    both = bare_metal(IPv4Interface("192.0.2.1/24"), lan.vip4)
    assert both.interfaces == {"other0", lan.interface}


async def test_an_interface_can_be_given_by_an_alternative_name(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    lan.node.run(f"ip link property add dev {lan.interface} altname enp0s9")
    web = bare_metal(interface="enp0s9")
    assert web.interfaces == {lan.interface}
    await web.bind(grant(clock))
    assert shown(lan, lan.vip4.ip)
    assert bare_metal(guard_interfaces=["enp0s9", "none0"]).guarded().interfaces == (lan.interface, "none0")


async def test_guard_interfaces_can_be_given(lan: Lan, bare_metal: Make) -> None:
    web = bare_metal(guard_interfaces=["eth0", "eth1"])
    assert web.guarded().interfaces == ("eth0", "eth1")
    assert web.guarded().vips == lan.vips


async def test_a_thousand_vips(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    vips = [ip_interface(f"10.78.{number // 250}.{number % 250 + 1}/16") for number in range(500)]
    vips += [ip_interface(f"fd78::{number:x}/64") for number in range(1, 501)]
    web = bare_metal(*vips, interface=lan.interface)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    for call in (lambda: web.bind(grant(clock)), lambda: web.bind(grant(clock)), web.announce, web.inspect, web.unbind):
        before = turns
        found = await call()
        assert turns > before, "the loop has its turns meanwhile"
        assert found is None or found.place is Place.HERE
    counting.cancel()
    placement = await web.inspect()
    assert (placement.place, "and 997 more" in placement.where) == (Place.NOWHERE, True)


async def test_preflight_finds_what_would_break_a_failover(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    lan.node.run("ip link add dark0 type veth peer name dark1")
    lan.node.run("ip link set dark0 up")
    lan.node.run("ip link add down0 type veth peer name down1")
    for interface, message in (("none0", "does not exist"), ("down0", "is down"), ("dark0", "has no carrier")):
        findings = await bare_metal(lan.vip4, interface=interface).preflight()
        found = next(finding for finding in findings if finding.subject == f"interface {interface}")
        assert (found.level, found.message) == (Level.ERROR, message)

    web = bare_metal()
    await web.bind(grant(clock))
    assert not [finding for finding in await web.preflight() if finding.level is Level.ERROR]
    lan.node.run(f"ip addr del {lan.vip4.ip}/32 dev {lan.interface}")
    lan.node.run(f"ip addr add {lan.vip4} dev lo")
    errors = [finding for finding in await web.preflight() if finding.level is Level.ERROR]
    assert [error.message for error in errors] == ["this host has 10.77.0.100 on lo"]


async def test_preflight_names_settings(lan: Lan, bare_metal: Make) -> None:
    lan.node.run("sysctl -qw net.ipv4.ip_nonlocal_bind=0 net.ipv6.ip_nonlocal_bind=1")
    found = {finding.subject: finding for finding in await bare_metal(lan.vip4, lan.vip6).preflight()}
    assert found["net.ipv4.ip_nonlocal_bind"].level is Level.WARNING
    assert found["net.ipv6.ip_nonlocal_bind"].level is Level.OK
    assert found["capabilities"].level is Level.OK


@pytest.mark.parametrize(("vip", "said"), [("192.0.2.1/32", "other hosts need a route"), ("192.0.2.1/24", "a router")])
async def test_preflight_names_a_vip_outside_every_network(lan: Lan, bare_metal: Make, vip: str, said: str) -> None:
    findings = await bare_metal(IPv4Interface(vip), interface=lan.interface).preflight()
    (found,) = (finding for finding in findings if finding.code == "baremetal.network")
    assert (found.level, found.subject) == (Level.WARNING, f"VIP {vip}")
    assert said in found.message
