"""The guest's part of a provider for a cloud: bound while the cloud moves, kept meanwhile, and nobody told or asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from providers.baremetal.provider import BareMetal, BareMetalOptions
from providers.base import Grant, ProviderError
from providers.cloud.moving import Moving
from tests.lab.cloud.small_cloud import Cloud, moving
from tests.lab.host.processes import LIVENESS, until
from tests.netns.conftest import Lan

pytestmark = pytest.mark.netns

Clock = Callable[[], float]


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
async def provider(lan: Lan, cloud: Cloud, clock: Clock) -> AsyncIterator[Moving]:
    options = BareMetalOptions(interface=lan.interface)
    made, _ = moving(cloud, local=BareMetal(options, "web", (lan.vip4,), clock, announced=False))
    yield made
    await made.close()


def bound(lan: Lan) -> bool:
    return str(lan.vip4.ip) in lan.node.run(f"ip addr show dev {lan.interface}")


def seconds_left(lan: Lan) -> int:
    words = lan.node.run(f"ip addr show dev {lan.interface} to {lan.vip4.ip}").split()
    return int(words[words.index("valid_lft") + 1].removesuffix("sec"))


async def test_the_guest_s_address_does_not_wait_for_the_cloud(
    lan: Lan, cloud: Cloud, provider: Moving, clock: Clock
) -> None:
    cloud.answering.clear()
    coming = asyncio.create_task(provider.bind(Grant("web", 1, clock() + 60)))
    await until(lambda: bound(lan))
    assert not coming.done()
    await provider.extend(Grant("web", 1, clock() + 600))
    assert seconds_left(lan) > 300, "what is bound is kept while the cloud takes its time"
    cloud.answering.set()
    await coming
    assert cloud.holder == "me"
    await provider.unbind()
    assert not bound(lan)
    assert cloud.holder == ""


async def test_renewals_lengthen_the_guest_s_address(lan: Lan, cloud: Cloud, provider: Moving, clock: Clock) -> None:
    await provider.bind(Grant("web", 1, clock() + 60))
    asked = list(cloud.asked)
    await provider.bind(Grant("web", 1, clock() + 600))
    assert seconds_left(lan) > 300
    assert cloud.asked == asked


@pytest.mark.parametrize("announced", [True, False])
async def test_nobody_is_asked_who_has_it(lan: Lan, clock: Clock, announced: bool) -> None:
    """A cloud's switch answers for addresses itself: it would be taken for another machine that has them."""
    options = BareMetalOptions(interface=lan.interface)
    local = BareMetal(options, "web", (lan.vip4,), clock, announced=announced)
    lan.neighbour.forget()
    await local.bind(Grant("web", 1, clock() + 60))
    about = await asyncio.to_thread(_heard_of, lan, LIVENESS if announced else 1.0)
    await local.close()
    assert about is announced


def _heard_of(lan: Lan, within: float) -> bool:
    """Whether any ARP about the VIP comes."""
    neighbour, vip = lan.neighbour, lan.vip4.ip.packed
    return neighbour._heard(neighbour._arp, [], lambda frame: frame if vip in frame else None, within) is not None


async def test_announcing_does_nothing_where_nobody_is_to_be_told(lan: Lan, clock: Clock) -> None:
    local = BareMetal(BareMetalOptions(interface=lan.interface), "web", (lan.vip4,), clock, announced=False)
    await local.bind(Grant("web", 1, clock() + 60))
    lan.neighbour.forget()
    await local.announce()
    assert await asyncio.to_thread(_heard_of, lan, 0.5) is False
    await local.close()


async def test_an_address_that_cannot_be_bound_fails_the_promotion(
    lan: Lan, cloud: Cloud, provider: Moving, clock: Clock
) -> None:
    lan.node.run(f"ip link del {lan.interface}")
    with pytest.raises(ProviderError, match=lan.interface):
        await provider.bind(Grant("web", 1, clock() + 60))
    assert cloud.asked[0] == "move", "both are tried to the end"


def test_the_guest_s_part_is_guarded(lan: Lan, provider: Moving) -> None:
    assert provider.guarded().interfaces == (lan.interface,)
    assert provider.guarded().vips == (lan.vip4,)
    assert provider.interfaces == {lan.interface}
    provider.unguarded = True
    assert provider.unguarded is True
