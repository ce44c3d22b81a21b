"""The guest agent's local routes to a load balancer's VIP, in a real kernel: gone on the standby, kept on the active."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_interface

import pytest

from controller.daemon.clock import boottime
from providers.base import Grant, Place
from providers.gcp.load_balancer import LoadBalancer, LoadBalancerOptions
from tests.netns.conftest import Lan

pytestmark = pytest.mark.netns

VIP, VIP6 = "10.77.0.100", "fd77::100"


def agent_adds(lan: Lan, address: str, interface: str = "eth0") -> None:
    """As the guest agent does it."""
    lan.node.run(f"ip route add to local {address} scope host dev {interface} proto 66")


def by_agent(lan: Lan) -> str:
    return lan.node.run("ip route show table local proto 66") + lan.node.run("ip -6 route show table local proto 66")


def is_local(lan: Lan, address: str) -> bool:
    return lan.node.run(f"ip route get {address}").startswith("local ")


async def becomes(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110  (the kernel tells the provider, not us)
            await asyncio.sleep(0.005)


@pytest.fixture
async def provider(lan: Lan) -> AsyncIterator[LoadBalancer]:
    vips = (ip_interface(f"{VIP}/24"), ip_interface(f"{VIP6}/64"))
    made = LoadBalancer.open(LoadBalancerOptions(), group="web", vips=vips, clock=boottime)
    yield made
    await made.close()


def grant() -> Grant:
    return Grant("web", 1, boottime() + 30)


async def test_what_the_agent_added_before_goes(lan: Lan, provider: LoadBalancer) -> None:
    agent_adds(lan, VIP)
    agent_adds(lan, VIP6)
    assert is_local(lan, VIP)
    await provider.unbind()
    assert by_agent(lan) == ""
    assert not is_local(lan, VIP)
    assert not is_local(lan, VIP6)


async def test_what_the_agent_adds_again_goes_as_soon_as_it_comes(lan: Lan, provider: LoadBalancer) -> None:
    await provider.unbind()
    for _ in range(3):
        agent_adds(lan, VIP)
        await becomes(lambda: by_agent(lan) == "")


async def test_while_the_vip_is_served_the_agent_s_route_is_back(lan: Lan, provider: LoadBalancer) -> None:
    """The agent finds it, and has nothing to do; it could not add it beside the address."""
    agent_adds(lan, VIP)
    agent_adds(lan, VIP6)
    before = by_agent(lan)
    await provider.unbind()
    await provider.bind(grant())
    assert (await provider.inspect()).place is Place.HERE
    await asyncio.sleep(0.2)  # the kernel tells of it, and it is let be
    assert by_agent(lan) == before
    assert is_local(lan, VIP)
    assert is_local(lan, VIP6)
    await provider.bind(grant())
    await provider.unbind()
    assert by_agent(lan) == ""
    assert not is_local(lan, VIP)
    assert (await provider.inspect()).place is Place.NOWHERE


async def test_without_the_agent_the_vip_is_local_all_the_same(lan: Lan, provider: LoadBalancer) -> None:
    await provider.bind(grant())
    assert by_agent(lan) == ""
    assert is_local(lan, VIP)


async def test_routes_that_are_not_the_agent_s_or_not_to_the_vip_stay(lan: Lan, provider: LoadBalancer) -> None:
    agent_adds(lan, "10.77.0.101")
    lan.node.run(f"ip route add to local {VIP} scope host dev eth0 proto 77")
    await provider.unbind()
    assert "10.77.0.101" in by_agent(lan)
    assert VIP in lan.node.run("ip route show table local proto 77")


async def test_a_flood_of_news_is_got_over(lan: Lan, provider: LoadBalancer) -> None:
    await provider.unbind()
    lan.node.ip(*(f"route add to local 10.78.{n // 256}.{n % 256} scope host dev eth0 proto 66" for n in range(3000)))
    agent_adds(lan, VIP)
    await becomes(lambda: not is_local(lan, VIP))


async def test_the_guard_is_told_where_packets_come_in(lan: Lan, provider: LoadBalancer) -> None:
    guarded = provider.guarded()
    assert guarded.interfaces == ("eth0",)
    assert {str(vip.ip) for vip in guarded.vips} == {VIP, VIP6}
