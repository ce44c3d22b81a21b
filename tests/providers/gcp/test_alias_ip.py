"""VIPs as alias ranges: moves between interfaces, other ranges that stay, and everything that can be refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from providers.base import Place, Placement, ProviderError
from providers.cloud.calls import CallRefused
from providers.gcp.alias_ip import AliasIp
from tests.lab.gcp.cloud import Machine, Nic
from tests.lab.gcp.compute import Fault
from tests.providers.gcp.conftest import Project, cut_short, eventually, leaves_and_takes_over_again, soon

VIP = "10.0.0.100/32"
PEERS = ["n1", "n2", "europe-west1-c/n3"]


def mover(gcp: Project, node: str, *vips: str, **keys: Any) -> Any:
    return gcp.mover(AliasIp, node, *(vips or (VIP,)), **{"instances": PEERS, **keys})


def nic(gcp: Project, node: str, name: str = "nic1") -> Nic:
    machine: Machine = next(each for each in gcp.cloud.machines if each.name == node)
    return gcp.cloud.nic(machine, name)


def aliases(gcp: Project, node: str, name: str = "nic1") -> list[str]:
    return [each["ipCidrRange"] for each in nic(gcp, node, name).aliases]


def give(gcp: Project, node: str, *cidrs: str) -> None:
    nic(gcp, node).aliases = [{"ipCidrRange": cidr} for cidr in cidrs]


async def test_a_vip_that_nobody_has_comes_here(gcp: Project) -> None:
    node = mover(gcp, "n1")
    assert (await node.look(soon())).place is Place.NOWHERE
    await node.move(soon())
    assert aliases(gcp, "n1") == [VIP]
    assert aliases(gcp, "n1", "nic0") == []
    assert await node.look(soon()) == Placement(Place.HERE)


async def test_a_vip_is_taken_from_the_last_owner_and_only_it(gcp: Project) -> None:
    give(gcp, "n3", "10.0.0.50/32", VIP, "10.0.0.64/28")
    give(gcp, "n1", "10.0.0.60/32")
    node = mover(gcp, "n1")
    assert await node.look(soon()) == Placement(Place.ELSEWHERE, "europe-west1-c/n3")
    await node.move(soon())
    assert aliases(gcp, "n3") == ["10.0.0.50/32", "10.0.0.64/28"]
    assert aliases(gcp, "n1") == ["10.0.0.60/32", VIP]
    changed = gcp.compute.calls("instances.updateNetworkInterface")
    assert [(each.parameters["instance"], each.parameters["networkInterface"]) for each in changed] == [
        ("n3", "nic1"),
        ("n1", "nic1"),
    ]


async def test_the_last_alias_can_be_taken_and_given_up(gcp: Project) -> None:
    give(gcp, "n2", VIP)
    node = mover(gcp, "n1")
    await node.move(soon())
    assert aliases(gcp, "n2") == []
    await node.leave(soon())
    await eventually(lambda: gcp.compute.leads_to("10.0.0.100") == [])


async def test_whoever_takes_over_goes_on_from_a_removal_under_way(gcp: Project) -> None:
    gcp.compute.seconds = 1000.0  # until the test ends it
    give(gcp, "n2", VIP, "10.0.0.60/32")
    await mover(gcp, "n2").leave(soon())
    assert gcp.compute.leads_to("10.0.0.100") == ["n2"]
    moving = asyncio.create_task(mover(gcp, "n1").move(soon()))
    await eventually(lambda: len(gcp.compute.calls("instances.updateNetworkInterface")) > 1)
    gcp.compute.finish()
    await moving
    assert (aliases(gcp, "n1"), aliases(gcp, "n2")) == ([VIP], ["10.0.0.60/32"])


async def test_who_left_and_takes_over_again_waits_for_what_it_began(gcp: Project) -> None:
    """Until the removal lands, the interface shows the VIP: whoever believes that adds nothing, and then loses it."""
    await leaves_and_takes_over_again(gcp, mover(gcp, "n1"))
    assert gcp.compute.leads_to("10.0.0.100") == ["n1"]
    assert len(gcp.compute.calls("instances.updateNetworkInterface")) == 3, "added, removed, added again"


async def test_leaving_takes_nothing_from_the_next_owner(gcp: Project) -> None:
    give(gcp, "n2", VIP)
    await mover(gcp, "n1").leave(soon())
    assert aliases(gcp, "n2") == [VIP]
    assert gcp.compute.calls("instances.updateNetworkInterface") == []


async def test_several_vips_move_in_one_operation_of_each_machine(gcp: Project) -> None:
    vips = [f"10.1.0.{number}/32" for number in range(1, 6)]
    nic(gcp, "n2").aliases = [{"ipCidrRange": vip, "subnetworkRangeName": "vips"} for vip in vips]
    node = mover(gcp, "n1", *vips, range_name="vips")
    await node.move(soon())
    assert len(gcp.compute.calls("instances.updateNetworkInterface")) == 2
    assert {each["subnetworkRangeName"] for each in nic(gcp, "n1").aliases} == {"vips"}


async def test_a_move_that_is_done_already_changes_nothing(gcp: Project) -> None:
    give(gcp, "n1", VIP)
    await mover(gcp, "n1").move(soon())
    assert gcp.compute.calls("instances.updateNetworkInterface") == []


async def test_without_names_all_instances_are_looked_through_page_by_page(gcp: Project) -> None:
    gcp.compute.methods.page_size = 1
    give(gcp, "n3", VIP)
    node = mover(gcp, "n1", instances=None)
    assert (await node.look(soon())).where == "europe-west1-c/n3"
    await node.move(soon())
    assert (aliases(gcp, "n3"), aliases(gcp, "n1")) == ([], [VIP])


async def test_an_instance_that_is_gone_has_nothing(gcp: Project) -> None:
    give(gcp, "n2", VIP)
    node = mover(gcp, "n1", instances=[*PEERS, "n9"])
    await node.move(soon())
    assert aliases(gcp, "n1") == [VIP]


async def test_a_fingerprint_that_is_stale_is_read_again(gcp: Project) -> None:
    """Two groups change the ranges of one interface at the same time: one of them must begin again."""
    first, second = mover(gcp, "n1", "10.0.0.101/32"), mover(gcp, "n1", "10.0.0.102/32")
    await asyncio.gather(first.move(soon()), second.move(soon()))
    assert set(aliases(gcp, "n1")) == {"10.0.0.101/32", "10.0.0.102/32"}


async def test_412_is_answered_by_a_fresh_read(gcp: Project) -> None:
    gcp.compute.faults.append(Fault("instances.updateNetworkInterface", status=412, reason="conditionNotMet"))
    await mover(gcp, "n1").move(soon())
    assert aliases(gcp, "n1") == [VIP]
    assert len(gcp.compute.calls("instances.get")) == 4  # all three, and n1 once more


@pytest.mark.parametrize(
    ("status", "reason"),
    [(429, "rateLimitExceeded"), (403, "rateLimitExceeded"), (400, "resourceNotReady"), (503, "backendError")],
)
async def test_what_passes_is_asked_again(gcp: Project, status: int, reason: str) -> None:
    gcp.compute.faults.append(Fault("*", times=3, status=status, reason=reason))
    await mover(gcp, "n1").move(soon())
    assert aliases(gcp, "n1") == [VIP]


async def test_what_is_forbidden_is_not_asked_again(gcp: Project) -> None:
    gcp.compute.faults.append(Fault("instances.updateNetworkInterface", times=9, status=403, reason="forbidden"))
    with pytest.raises(CallRefused, match=r"alias ranges of europe-west1-b/n1 nic1: 10.0.0.100/32: 403 forbidden"):
        await mover(gcp, "n1").move(soon())
    assert len(gcp.compute.calls("instances.updateNetworkInterface")) == 1


async def test_a_change_whose_answer_is_lost_is_made_once(gcp: Project) -> None:
    gcp.compute.faults.append(Fault("instances.updateNetworkInterface", lost=True))
    await mover(gcp, "n1").move(soon())
    assert aliases(gcp, "n1") == [VIP]
    asked = gcp.compute.calls("instances.updateNetworkInterface")
    assert len(asked) == 2
    assert len({each.parameters["requestId"] for each in asked}) == 1


async def test_clearing_whose_answer_is_lost_is_made_once(gcp: Project) -> None:
    give(gcp, "n1", VIP)
    gcp.compute.faults.append(Fault("instances.updateNetworkInterface", lost=True))
    await mover(gcp, "n1").leave(soon())
    await eventually(lambda: gcp.compute.leads_to("10.0.0.100") == [])
    asked = gcp.compute.calls("instances.updateNetworkInterface")
    assert len({each.parameters["requestId"] for each in asked}) == 1


async def test_an_operation_that_ends_in_an_error_is_one(gcp: Project) -> None:
    """`wait` returns normally: a client that ignores the operation's error has moved nothing."""
    gcp.compute.faults.append(Fault("instances.updateNetworkInterface", error="INTERNAL_ERROR"))
    with pytest.raises(ProviderError, match="INTERNAL_ERROR"):
        await mover(gcp, "n1").move(soon())
    assert aliases(gcp, "n1") == []


async def test_a_range_that_somebody_takes_meanwhile_is_taken_back(gcp: Project) -> None:
    """A former owner's late call takes effect between our read and our own change."""
    gcp.compute.faults.append(Fault("instances.get", late=True, concerns=lambda get: get["instance"] == "n1"))
    node = mover(gcp, "n1")
    moving = asyncio.create_task(node.move(soon()))
    await eventually(lambda: len(gcp.compute.calls("instances.get")) == 3 and gcp.compute.answering == 1)
    give(gcp, "n2", VIP)
    gcp.compute.land()
    await moving
    updates = [each.parameters["instance"] for each in gcp.compute.calls("instances.updateNetworkInterface")]
    assert updates == ["n1", "n2", "n1"], "refused, taken back, given"
    assert (aliases(gcp, "n1"), aliases(gcp, "n2")) == ([VIP], [])


async def test_who_keeps_a_vip_and_is_not_named_is_said(gcp: Project) -> None:
    give(gcp, "n3", VIP)
    with pytest.raises(ProviderError, match=r"IP_IN_USE.*none of `instances` has it: name the one that does"):
        await mover(gcp, "n1", instances=["n1", "n2"]).move(soon())


async def test_ipv6_is_refused_at_once(gcp: Project) -> None:
    with pytest.raises(ProviderError, match=r"gcp\.route"):
        mover(gcp, "n1", "fd20::1/128")


async def test_an_operation_is_waited_for_where_the_api_is_configured(gcp: Project) -> None:
    """The SDK's own wait asks Google's public endpoint, whatever is configured."""
    gcp.compute.seconds = 0.5
    await mover(gcp, "n1", call_timeout_seconds=0.2).move(soon())
    assert aliases(gcp, "n1") == [VIP]
    assert len(gcp.compute.calls("zoneOperations.wait")) >= 2


async def test_a_late_call_of_a_former_owner_shows(gcp: Project) -> None:
    former, owner = mover(gcp, "n2"), mover(gcp, "n1")
    await owner.move(soon())
    gcp.compute.faults.append(Fault("instances.updateNetworkInterface", late=True))
    await cut_short(gcp, former.move(soon()))  # removes it from n1
    assert (await owner.look(soon())).place is Place.HERE
    gcp.compute.land()
    assert gcp.compute.leads_to("10.0.0.100") == []
    assert (await owner.look(soon())).place is Place.NOWHERE
    await owner.move(soon())
    assert (await owner.look(soon())).place is Place.HERE
