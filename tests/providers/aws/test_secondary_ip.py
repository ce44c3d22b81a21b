"""Secondary addresses in the fake EC2, by the real SDK: one call takes them, in spite of failures in between."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from providers.aws.secondary_ip import SecondaryIp
from providers.base import Place, ProviderError, StaleGrant
from tests.lab.aws.ec2 import Ec2, Fault
from tests.lab.aws.imds import Imds
from tests.lab.aws.movers import Movers, grant, soon
from tests.lab.aws.query import Refused
from tests.lab.host.processes import until

VIP = "10.77.0.100"
VIP6 = "fd77::100"


async def test_all_vips_come_in_one_call_and_are_seen(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(SecondaryIp, f"{VIP}/24", "10.77.0.101/24")
    ec2.cloud.interfaces["eni-2"].addresses += [VIP, "10.77.0.101"]
    await provider.bind(grant())
    assert ec2.cloud.owner(VIP) == ec2.cloud.owner("10.77.0.101") == "eni-1"
    assert ec2.names() == ["AssignPrivateIpAddresses", "DescribeNetworkInterfaces"]


async def test_a_warm_standby_takes_over_in_two_calls_and_asks_nobody_who_it_is(
    ec2: Ec2, imds: Imds, movers: Movers
) -> None:
    _, provider = movers.make(SecondaryIp, f"{VIP}/24")
    ec2.cloud.interfaces["eni-2"].addresses.append(VIP)
    found = await provider.inspect()
    assert (found.place, found.where) == (Place.ELSEWHERE, f"{VIP} on eni-2")
    ec2.calls.clear()
    imds.asked.clear()
    imds.gone = True
    await provider.bind(grant())
    assert ec2.names() == ["AssignPrivateIpAddresses", "DescribeNetworkInterfaces"]
    assert imds.asked == []


async def test_ipv6_is_unassigned_where_it_is_first(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(SecondaryIp, f"{VIP6}/64")
    ec2.cloud.interfaces["eni-2"].ipv6.append(VIP6)
    await provider.bind(grant())
    assert ec2.cloud.owner(VIP6) == "eni-1"
    assert ec2.cloud.interfaces["eni-2"].ipv6 == ["fd77::12"]


async def test_ipv6_that_is_not_free_yet_is_tried_again(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(SecondaryIp, f"{VIP6}/64")
    ec2.fail("AssignIpv6Addresses", Refused("InvalidParameterValue", "already assigned"), times=2)
    await provider.bind(grant())
    assert ec2.cloud.owner(VIP6) == "eni-1"
    assert len(ec2.asked("AssignIpv6Addresses")) == 3


async def test_ipv6_that_went_meanwhile_is_no_error(ec2: Ec2, movers: Movers) -> None:
    mover, _ = movers.make(SecondaryIp, f"{VIP6}/64")
    await mover.leave(soon())
    assert ec2.names() == ["UnassignIpv6Addresses"]


async def test_both_versions_move_and_only_ipv6_is_left(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(SecondaryIp, f"{VIP}/24", f"{VIP6}/64")
    await provider.bind(grant())
    assert (await provider.inspect()).place is Place.HERE
    await provider.unbind()
    assert (ec2.cloud.owner(VIP), ec2.cloud.owner(VIP6)) == ("eni-1", None)


async def test_nobody_has_them(movers: Movers) -> None:
    _, provider = movers.make(SecondaryIp, f"{VIP}/24", f"{VIP6}/64")
    found = await provider.inspect()
    assert (found.place, found.where) == (Place.NOWHERE, f"no network interface has {VIP}, {VIP6}")


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "InternalError", "Unavailable"])
async def test_what_passes_is_tried_again(ec2: Ec2, movers: Movers, code: str) -> None:
    _, provider = movers.make(SecondaryIp, f"{VIP}/24")
    ec2.fail("*", Refused(code, "later", 503), times=3)
    await provider.bind(grant())
    assert ec2.cloud.owner(VIP) == "eni-1"


async def test_what_does_not_pass_is_said_at_once(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(SecondaryIp, "10.77.9.9/24")
    with pytest.raises(ProviderError, match=r"assign private ip addresses eni-1: .*InvalidParameterValue.*subnet"):
        await provider.bind(grant())
    assert len(ec2.asked("AssignPrivateIpAddresses")) == 1


async def test_a_write_without_an_answer_is_made_again(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(SecondaryIp, f"{VIP}/24", read_timeout_seconds=0.3)
    ec2.faults.append(Fault("AssignPrivateIpAddresses", silent="after"))
    ec2.faults.append(Fault("AssignPrivateIpAddresses", silent="before"))
    await provider.bind(grant())
    assert len(ec2.asked("AssignPrivateIpAddresses")) == 3


async def test_a_description_that_lags_is_asked_for_again(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(SecondaryIp, f"{VIP}/24")
    ec2.stale_seconds = 60.0
    binding = asyncio.create_task(provider.bind(grant()))
    await until(lambda: len(ec2.asked("DescribeNetworkInterfaces")) > 2)
    ec2.stale_seconds = 0.0
    await binding


async def test_what_never_shows_is_said(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(SecondaryIp, f"{VIP}/24", move_seconds=8)
    ec2.cloud.interfaces["eni-2"].addresses.append(VIP)
    ec2.remember()
    ec2.stale_seconds = 60.0
    with pytest.raises(ProviderError, match=f"elsewhere: {VIP} on eni-2"):
        await provider.bind(grant())


async def test_no_call_leaves_when_the_grant_has_ended(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(SecondaryIp, f"{VIP}/24")
    await provider.inspect()
    ec2.calls.clear()
    with pytest.raises(StaleGrant):
        await provider.bind(grant(seconds=0.1))
    assert ec2.names() == []


async def test_credentials_that_expired_are_asked_for_anew(
    ec2: Ec2, imds: Imds, movers: Movers, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, provider = movers.make(SecondaryIp, f"{VIP}/24")
    await provider.inspect()
    ec2.access.keys["AKIAEXAMPLE"].expired = True
    ec2.access.keys["AKIAFRESH"] = type(ec2.access.keys["AKIAEXAMPLE"])()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFRESH")
    await provider.bind(grant())
    assert [call.key for call in ec2.asked("AssignPrivateIpAddresses")] == ["AKIAFRESH"]


async def test_credentials_of_the_instance_by_imdsv2(
    ec2: Ec2, imds: Imds, movers: Movers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    imds.session_token = ec2.access.keys["AKIAEXAMPLE"].token = "of-the-instance"
    _, provider = movers.make(SecondaryIp, f"{VIP}/24", region=None)
    await provider.bind(grant())
    assert ec2.cloud.owner(VIP) == "eni-1"
    assert "GET /latest/meta-data/placement/availability-zone/" in imds.asked


async def test_without_metadata_and_never_warm_nothing_moves(ec2: Ec2, imds: Imds, movers: Movers) -> None:
    imds.gone = True
    _, provider = movers.make(SecondaryIp, f"{VIP}/24")
    with pytest.raises(ProviderError, match="latest/api/token"):
        await provider.bind(grant())
    imds.gone = False
    await provider.bind(grant())
    assert ec2.cloud.owner(VIP) == "eni-1"


async def test_drift_is_seen_and_moved_again(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(SecondaryIp, f"{VIP}/24")
    await provider.bind(grant())
    cloud = ec2.cloud
    cloud.assign(cloud.interfaces["eni-2"], [VIP], reassign=True)
    assert (await provider.inspect()).place is Place.ELSEWHERE
    await provider.bind(grant())
    await until(lambda: cloud.owner(VIP) == "eni-1")
    ec2.fail("DescribeNetworkInterfaces", Refused("UnauthorizedOperation", "no", 403))
    with pytest.raises(ProviderError):
        await provider.inspect()
    await provider.bind(grant())  # a missing answer drops nothing
    assert cloud.owner(VIP) == "eni-1"


async def test_a_call_of_the_former_owner_that_lands_late_is_undone(ec2: Ec2, client: Any, movers: Movers) -> None:
    _, provider = movers.make(SecondaryIp, f"{VIP}/24")
    lands_late = Fault("AssignPrivateIpAddresses", late=True)
    ec2.faults.append(lands_late)
    asked = {"NetworkInterfaceId": "eni-2", "PrivateIpAddresses": [VIP], "AllowReassignment": True}
    late = asyncio.create_task(asyncio.to_thread(client.assign_private_ip_addresses, **asked))
    try:
        await until(lambda: lands_late.times == 0)
        await provider.bind(grant())
        assert ec2.cloud.owner(VIP) == "eni-1"
    finally:
        ec2.landing.set()
    await late
    assert ec2.cloud.owner(VIP) == "eni-2"
    assert (await provider.inspect()).place is Place.ELSEWHERE
    await provider.bind(grant())
    await until(lambda: ec2.cloud.owner(VIP) == "eni-1")


async def test_an_interface_that_was_replaced_is_known_by_the_next_look(ec2: Ec2, imds: Imds, movers: Movers) -> None:
    _, provider = movers.make(SecondaryIp, f"{VIP}/24")
    await provider.inspect()
    imds.gone = True
    await provider.inspect()  # the known interface is kept
    imds.gone = False
    imds.interfaces = [ec2.cloud.interfaces["eni-2"]]
    await provider.inspect()
    await provider.bind(grant())
    assert ec2.cloud.owner(VIP) == "eni-2"
