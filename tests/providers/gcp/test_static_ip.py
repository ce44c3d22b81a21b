"""An external address by access configs: taken from the instance that has it, and only from there."""

from __future__ import annotations

from typing import Any

import pytest

from providers.base import Place, Placement, ProviderError
from providers.cloud.calls import CallRefused
from providers.gcp.static_ip import StaticIp
from tests.lab.gcp.cloud import Address, Nic
from tests.lab.gcp.compute import Fault
from tests.providers.gcp.conftest import Project, cut_short, leaves_and_takes_over_again, soon

IP = "203.0.113.7"


def mover(gcp: Project, node: str, **keys: Any) -> Any:
    return gcp.mover(StaticIp, node, f"{IP}/32", **keys)


def nic(gcp: Project, node: str) -> Nic:
    return next(machine.nics[1] for machine in gcp.cloud.machines if machine.name == node)


def holders(gcp: Project, address: str = IP) -> list[str]:
    gcp.compute.leads_to("192.0.2.1")
    return [machine.name for machine, _ in gcp.cloud.with_external(address)]


async def test_an_address_that_nobody_has_comes_here(gcp: Project) -> None:
    node = mover(gcp, "n1")
    assert await node.look(soon()) == Placement(Place.NOWHERE, f"{IP} is not in use")
    await node.move(soon())
    assert await node.look(soon()) == Placement(Place.HERE)
    (access,) = nic(gcp, "n1").access
    assert (access["name"], access["natIP"], access["type"]) == (f"anyvip {IP}", IP, "ONE_TO_ONE_NAT")


async def test_it_is_taken_from_the_last_owner(gcp: Project) -> None:
    nic(gcp, "n3").access = [{"name": "External NAT", "type": "ONE_TO_ONE_NAT", "natIP": IP}]
    node = mover(gcp, "n1")
    assert await node.look(soon()) == Placement(Place.ELSEWHERE, "europe-west1-c/n3")
    await node.move(soon())
    assert holders(gcp) == ["n1"]
    assert len(gcp.compute.calls("instances.deleteAccessConfig")) == 1


async def test_leaving_gives_up_what_is_still_here(gcp: Project) -> None:
    gcp.compute.seconds = 0.2
    first, second = mover(gcp, "n1"), mover(gcp, "n2")
    await first.move(soon())
    await first.leave(soon())
    await second.move(soon())
    await first.leave(soon())
    assert holders(gcp) == ["n2"]


async def test_who_left_and_takes_over_again_waits_for_what_it_began(gcp: Project) -> None:
    """Until the deletion lands, the interface shows the address: whoever believes that adds nothing, and loses it."""
    await leaves_and_takes_over_again(gcp, mover(gcp, "n1"))
    assert gcp.compute.leads_to(IP) == ["n1"]
    assert len(gcp.compute.calls("instances.addAccessConfig")) == 2


async def test_a_late_delete_takes_no_other_address(gcp: Project) -> None:
    """By default access configs have the same name whatever their address; ours do not."""
    node = mover(gcp, "n1")
    await node.move(soon())
    gcp.compute.faults.append(Fault("instances.deleteAccessConfig", late=True))
    await cut_short(gcp, node.leave(soon()))
    nic(gcp, "n1").access = [{"name": "External NAT", "type": "ONE_TO_ONE_NAT", "natIP": "203.0.113.8"}]
    gcp.compute.land()
    assert holders(gcp, "203.0.113.8") == ["n1"]


async def test_an_interface_that_has_another_address_says_so(gcp: Project) -> None:
    nic(gcp, "n1").access = [{"name": "External NAT", "type": "ONE_TO_ONE_NAT", "natIP": "203.0.113.8"}]
    with pytest.raises(ProviderError, match=r"n1 nic1 already has an external address \(203\.0\.113\.8\)"):
        await mover(gcp, "n1").move(soon())


async def test_an_address_that_is_not_reserved_says_so(gcp: Project) -> None:
    with pytest.raises(ProviderError, match=r"203\.0\.113\.9 is not reserved in shop-1, europe-west1"):
        await mover(gcp, "n1", address="203.0.113.9").move(soon())


async def test_the_tier_is_the_address_s(gcp: Project) -> None:
    gcp.cloud.addresses.append(Address("cheap", "203.0.113.9", tier="STANDARD"))
    await mover(gcp, "n1", address="203.0.113.9").move(soon())
    assert holders(gcp, "203.0.113.9") == ["n1"]


async def test_an_address_that_somebody_takes_meanwhile_is_taken_from_there(gcp: Project) -> None:
    def taken() -> None:
        gcp.compute.landed = lambda: None
        nic(gcp, "n2").access = [{"name": "theirs", "type": "ONE_TO_ONE_NAT", "natIP": IP}]

    nic(gcp, "n3").access = [{"name": "theirs", "type": "ONE_TO_ONE_NAT", "natIP": IP}]
    gcp.compute.landed = taken  # called when n3 has lost the address
    await mover(gcp, "n1").move(soon())
    assert holders(gcp) == ["n1"]


async def test_what_is_forbidden_is_not_asked_again(gcp: Project) -> None:
    gcp.compute.faults.append(Fault("instances.addAccessConfig", times=9, status=403, reason="forbidden"))
    with pytest.raises(CallRefused, match="403 forbidden"):
        await mover(gcp, "n1").move(soon())
    assert len(gcp.compute.calls("instances.addAccessConfig")) == 1


@pytest.mark.parametrize("vips", [("10.0.0.1/32", "10.0.0.2/32"), ("fd20::1/128",)])
def test_one_ipv4_address_and_no_other(gcp: Project, vips: tuple[str, ...]) -> None:
    with pytest.raises(ProviderError, match="set it as `address`"):
        gcp.mover(StaticIp, "n1", *vips)
    gcp.mover(StaticIp, "n1", *vips, address=IP)
