"""Elastic IPs in the fake EC2, by the real SDK: they lead to the named address, and only their owner gives them up."""

from __future__ import annotations

import pytest

from providers.aws.elastic_ip import ElasticIp
from providers.base import Place, ProviderError
from tests.lab.aws.ec2 import Ec2
from tests.lab.aws.movers import Movers, grant, soon
from tests.lab.aws.state import Elastic

VIP = "198.51.100.7/32"


def at(ec2: Ec2) -> tuple[str, str] | None:
    found = ec2.cloud.elastics["eipalloc-1"].association
    return None if found is None else (found.interface, found.address)


def elsewhere(ec2: Ec2) -> None:
    """Let another process associate it."""
    cloud = ec2.cloud
    cloud.associate(cloud.elastic("eipalloc-1"), cloud.interface("eni-2"), "10.77.0.12", reassociate=True)


async def test_it_leads_to_our_primary_address(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(ElasticIp, VIP)
    elsewhere(ec2)
    found = await provider.inspect()
    assert (found.place, found.where) == (Place.ELSEWHERE, "198.51.100.7 on eni-2 10.77.0.12")
    ec2.calls.clear()
    await provider.bind(grant())
    assert at(ec2) == ("eni-1", "10.77.0.11")
    assert ec2.names() == ["AssociateAddress", "DescribeAddresses"]


async def test_several_lead_to_the_addresses_they_are_given(ec2: Ec2, movers: Movers) -> None:
    ec2.cloud.elastics["eipalloc-2"] = Elastic("eipalloc-2", "198.51.100.8")
    ec2.cloud.interfaces["eni-1"].addresses.append("10.77.0.50")
    _, provider = movers.make(ElasticIp, VIP, "198.51.100.8/32", private_addresses=["10.77.0.50", "10.77.0.11"])
    await provider.bind(grant())
    assert at(ec2) == ("eni-1", "10.77.0.50")
    assert (await provider.inspect()).place is Place.HERE


async def test_leaving_ends_the_association_that_was_seen(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(ElasticIp, VIP)
    await provider.bind(grant())
    await provider.unbind()
    assert at(ec2) is None
    assert (await provider.inspect()).place is Place.NOWHERE


async def test_leaving_takes_nothing_from_the_next_owner(ec2: Ec2, movers: Movers) -> None:
    mover, provider = movers.make(ElasticIp, VIP)
    await provider.bind(grant())
    elsewhere(ec2)
    await mover.leave(soon())
    assert at(ec2) == ("eni-2", "10.77.0.12")
    assert len(ec2.asked("DisassociateAddress")) == 1


async def test_what_was_seen_elsewhere_is_not_let_go_of(ec2: Ec2, movers: Movers) -> None:
    mover, provider = movers.make(ElasticIp, VIP)
    await provider.bind(grant())
    elsewhere(ec2)
    assert (await provider.inspect()).place is Place.ELSEWHERE
    await mover.leave(soon())
    assert ec2.asked("DisassociateAddress") == []


async def test_an_address_that_the_account_does_not_have(movers: Movers) -> None:
    _, provider = movers.make(ElasticIp, "203.0.113.1/32")
    with pytest.raises(ProviderError, match=r"no Elastic IP 203\.0\.113\.1"):
        await provider.bind(grant())


def test_what_cannot_be_elastic_ips(movers: Movers) -> None:
    with pytest.raises(ProviderError, match="IPv4"):
        movers.make(ElasticIp, "2001:db8::1/128")
    with pytest.raises(ProviderError, match="one address for each of the 2 VIPs"):
        movers.make(ElasticIp, VIP, "198.51.100.8/32")
