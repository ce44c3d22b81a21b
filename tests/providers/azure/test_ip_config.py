"""Secondary IP configurations move between NICs by two writes in order, and nothing else of either NIC changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from providers.azure.ip_config import IpConfig
from providers.base import Level, Place, ProviderError, StaleGrant
from providers.cloud.deadline import Deadline
from providers.cloud.moving import Moving
from tests.lab.azure.arm import Arm, Fault
from tests.lab.azure.metadata import Metadata
from tests.lab.azure.movers import given_up_under_way, grant, led_here, moving, soon
from tests.lab.azure.world import NETWORK, Node, ip_config, nic, public_ip
from tests.lab.host.processes import until
from tests.providers.azure.conftest import Tls

ONE, TWO, THREE = Node(1), Node(2), Node(3)
VIP, OTHER = "10.7.0.100", "10.7.0.101"


@pytest.fixture
def where(arm: Arm, tls: Tls) -> dict[str, Any]:
    return {"endpoint": arm.audience, "ca_file": tls.ca_file, "polling_seconds": 0.1}


@pytest.fixture
async def here(where: dict[str, Any]) -> AsyncIterator[IpConfig]:
    """Open node 1's mover of one VIP."""
    async with moving(IpConfig, where, f"{VIP}/24") as (mover, _):
        yield mover


def held(arm: Arm, node: Node, config: dict[str, Any]) -> None:
    arm.add(node.nic, nic(node, config))


def rich(arm: Arm) -> dict[str, Any]:
    """Return a configuration with everything that can be attached to one."""
    return ip_config(
        "vip",
        VIP,
        publicIPAddress={"id": public_ip(arm, "pip", "203.0.113.7")},
        loadBalancerBackendAddressPools=[{"id": f"{NETWORK}/loadBalancers/lb/backendAddressPools/vips"}],
        applicationSecurityGroups=[{"id": f"{NETWORK}/applicationSecurityGroups/vips"}],
    )


def addresses(arm: Arm, node: Node) -> list[str]:
    configs = arm.written(node.nic)["properties"]["ipConfigurations"]
    return [config["properties"]["privateIPAddress"] for config in configs[1:]]


def puts(arm: Arm) -> list[str]:
    return [request.path.rpartition("/")[2] for request in arm.writes]


async def test_two_puts_in_order_and_no_other_field_of_either_nic_changes(arm: Arm, here: IpConfig) -> None:
    config = rich(arm)
    held(arm, TWO, config)
    before = {node: arm.written(node.nic) for node in (ONE, TWO)}
    arm.seconds = 0.2
    await here.move(soon())
    assert puts(arm) == ["nic2", "nic1"]
    after = {node: arm.written(node.nic) for node in (ONE, TWO)}
    moved = after[ONE]["properties"]["ipConfigurations"].pop()
    removed = before[TWO]["properties"]["ipConfigurations"].pop()
    assert after == before, "the whole NICs, but for the configuration"
    assert moved["properties"] == removed["properties"]
    assert (await here.look(soon())).place is Place.HERE
    assert all("if-match" in request.headers for request in arm.writes)


async def test_what_is_here_is_not_written_again(arm: Arm, here: IpConfig) -> None:
    held(arm, ONE, ip_config("vip", VIP))
    await here.move(soon())
    assert puts(arm) == []


async def test_fields_that_this_sdk_does_not_know_are_kept(
    arm: Arm, here: IpConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Make the fake a newer Azure, which has one more field."""
    from azure.mgmt.network import models as m  # noqa: PLC0415

    from tests.lab.azure import schema  # noqa: PLC0415

    fields = {**schema._fields(m.NetworkInterfacePropertiesFormat), "quantumTunnel": dict[str, str]}
    known = schema._fields
    monkeypatch.setattr(
        schema, "_fields", lambda model: fields if model is m.NetworkInterfacePropertiesFormat else known(model)
    )
    for node in (ONE, TWO):
        secondary = [ip_config("vip", VIP)] if node is TWO else []
        arm.add(node.nic, nic(node, *secondary, quantumTunnel={"mode": node.name}))
    await here.move(soon())
    assert [arm.written(node.nic)["properties"]["quantumTunnel"]["mode"] for node in (ONE, TWO)] == ["n1", "n2"]
    assert addresses(arm, ONE) == [VIP]


async def test_several_vips_from_several_nics_and_names_that_are_taken(
    arm: Arm, where: dict[str, Any], metadata: Metadata
) -> None:
    arm.add(THREE.nic, nic(THREE, ip_config("vip", OTHER)))
    held(arm, TWO, ip_config("vip", VIP))
    async with moving(IpConfig, where, f"{VIP}/24", f"{OTHER}/24", "fd07::100/64") as (mover, _):
        await mover.move(soon())
        assert (await mover.look(soon())).place is Place.HERE
    assert sorted(puts(arm)[:2]) == ["nic2", "nic3"]
    assert puts(arm)[2:] == ["nic1"]
    configs = arm.written(ONE.nic)["properties"]["ipConfigurations"][1:]
    assert {config["properties"]["privateIPAddress"] for config in configs} == {VIP, OTHER, "fd07::100"}
    assert len({config["name"] for config in configs}) == 3


async def test_an_address_that_nobody_has_gets_a_configuration_and_a_warning(
    arm: Arm, here: IpConfig, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await here.look(soon())).place is Place.NOWHERE
    with caplog.at_level(logging.WARNING):
        await here.move(soon())
    assert addresses(arm, ONE) == [VIP]
    assert "without a public address" in caplog.text


async def test_what_hung_on_a_configuration_is_not_lost_by_a_move_that_was_cut_short(
    arm: Arm, where: dict[str, Any]
) -> None:
    """The other node has removed the VIP and died. This node has seen it before, as standbys do."""
    config = rich(arm)
    held(arm, TWO, config)
    async with moving(IpConfig, where, f"{VIP}/24") as (mover, _):
        assert await mover.look(soon()) == await mover.look(soon())
        held(arm, TWO, ip_config("other", OTHER))
        await mover.move(soon())
    moved = arm.written(ONE.nic)["properties"]["ipConfigurations"][-1]["properties"]
    assert moved["publicIPAddress"] == config["properties"]["publicIPAddress"]
    assert moved["loadBalancerBackendAddressPools"] == config["properties"]["loadBalancerBackendAddressPools"]


async def test_a_machine_that_was_deleted_does_not_keep_the_others_from_moving(arm: Arm, where: dict[str, Any]) -> None:
    held(arm, TWO, ip_config("vip", VIP))
    async with moving(IpConfig, where, f"{VIP}/24", nics=["nic1", "nic2", "gone"]) as (mover, _):
        await mover.move(soon())
        assert (await mover.look(soon())).place is Place.HERE
    assert puts(arm) == ["nic2", "nic1"]


# --- others write, too -------------------------------------------------------------------------------------------


async def test_a_nic_that_somebody_else_wrote_meanwhile_is_read_again(arm: Arm, here: IpConfig) -> None:
    held(arm, TWO, ip_config("vip", VIP))
    read = here._candidates.read

    async def and_then_somebody_writes(until: Deadline) -> Any:
        found = await read(until)
        if not arm.writes:
            changed = nic(TWO, ip_config("vip", VIP))
            changed["tags"]["cost"] = "43"
            arm.add(TWO.nic, changed)
        return found

    here._candidates.read = and_then_somebody_writes  # type: ignore[method-assign]
    await here.move(soon())
    assert puts(arm) == ["nic2", "nic2", "nic1"], "the first one is refused: 412"
    assert arm.written(TWO.nic)["tags"]["cost"] == "43"


async def test_an_operation_in_progress_is_waited_for(arm: Arm, here: IpConfig, where: dict[str, Any]) -> None:
    """Two nodes move at the same time, as at a takeover from a node that still moves. One gets the whole VIP."""
    held(arm, TWO, rich(arm))
    arm.seconds = 0.3
    async with moving(IpConfig, where, f"{VIP}/24", nic="nic2") as (there, _):
        await asyncio.gather(here.move(soon()), there.move(soon()), return_exceptions=True)
        await here.move(soon())
        assert (await here.look(soon())).place is Place.HERE
        assert (await there.look(soon())).place is Place.ELSEWHERE
    assert addresses(arm, ONE) == [VIP]
    assert addresses(arm, TWO) == []
    assert "publicIPAddress" in arm.written(ONE.nic)["properties"]["ipConfigurations"][-1]["properties"]


@pytest.mark.parametrize("code", ["RetryableErrorDueToAnotherOperation", "TooManyRequests"])
async def test_a_busy_or_throttling_azure_is_asked_again(arm: Arm, here: IpConfig, code: str) -> None:
    held(arm, TWO, ip_config("vip", VIP))
    arm.faults = [Fault("PUT", "nic2", "status", times=2, status=429, code=code), Fault("GET", "nic", "throttle")]
    await here.move(soon())
    assert addresses(arm, ONE) == [VIP]


async def test_retry_after_beyond_the_deadline_is_not_waited_for(arm: Arm, here: IpConfig) -> None:
    await here.look(soon())
    arm.faults = [Fault("GET", "networkInterfaces", "throttle", times=9, seconds=3600)]
    with pytest.raises(ProviderError, match="throttled"):
        await here.move(soon(600))  # waiting for either resource does not end


@pytest.mark.parametrize("nic_name", ["nic1", "nic2"])
async def test_a_write_whose_answer_is_lost_is_not_made_twice_over(arm: Arm, here: IpConfig, nic_name: str) -> None:
    held(arm, TWO, ip_config("vip", VIP))
    arm.faults = [Fault("PUT", nic_name, "lost")]
    await here.move(soon())
    assert addresses(arm, ONE) == [VIP]
    assert addresses(arm, TWO) == []


async def test_an_operation_that_fails_is_said_with_its_reason_and_made_good(arm: Arm, here: IpConfig) -> None:
    arm.faults = [Fault("PUT", "nic1", "fails", code="InternalServerError")]
    with pytest.raises(ProviderError, match="Failed: InternalServerError: it failed"):
        await here.move(soon())
    found = await here.look(soon())
    assert (found.place, found.where) == (Place.NOWHERE, "nic1 is Failed")
    await here.move(soon())
    assert (await here.look(soon())).place is Place.HERE


async def test_what_is_being_written_is_not_here_yet(arm: Arm, here: IpConfig) -> None:
    await here.look(soon())
    arm.seconds = 1000.0  # the write runs until the test ends it
    moving_it = asyncio.create_task(here.move(soon()))
    await until(lambda: arm.resource(ONE.nic)["properties"]["provisioningState"] == "Updating")
    found = await here.look(soon())
    assert (found.place, found.where) == (Place.NOWHERE, "nic1 is Updating")
    arm.finish()
    await moving_it


async def test_nothing_leaves_when_the_grant_has_ended(arm: Arm, here: IpConfig) -> None:
    await here.look(soon())
    asked = len(arm.requests)
    with pytest.raises(StaleGrant):
        await here.move(soon(0.1))
    assert len(arm.requests) == asked


async def test_a_slow_move_ends_with_its_deadline_and_goes_on_with_the_next(arm: Arm, here: IpConfig) -> None:
    held(arm, TWO, ip_config("vip", VIP))
    arm.seconds = 1.5
    with pytest.raises(ProviderError):
        await here.move(soon(1))
    await here.move(soon())
    assert puts(arm) == ["nic2", "nic1"], "what was begun is waited for, not begun again"


# --- as a provider -----------------------------------------------------------------------------------------------


async def test_bound_is_moved_once_and_seen(arm: Arm, where: dict[str, Any]) -> None:
    held(arm, TWO, ip_config("vip", VIP))
    async with moving(IpConfig, where, f"{VIP}/24") as (_, provider):
        assert (await provider.inspect()).place is Place.ELSEWHERE
        await provider.bind(grant(7))
        asked = len(arm.requests)
        await provider.bind(grant(7))
        assert len(arm.requests) == asked, "a renewal asks no cloud"
        await provider.unbind()
    assert addresses(arm, ONE) == [VIP], "the next owner moves it"


async def test_a_late_write_of_a_former_owner_is_undone(arm: Arm, where: dict[str, Any], metadata: Metadata) -> None:
    """Node 2 removes the VIP from node 1's NIC and then loses the group. Its write lands afterwards."""
    async with moving(IpConfig, where, f"{VIP}/24") as (mover, provider):
        await provider.bind(grant(7))
        async with moving(IpConfig, where, f"{VIP}/24", nic="nic2") as (_, former):
            await given_up_under_way(arm, former, "nic1")
        await provider.bind(grant(9))
        arm.land()
        assert (await provider.inspect()).place is Place.NOWHERE  # as the daemon asks when it reconciles soon after
        await provider.bind(grant(9))  # the next renewal
        await led_here(mover)
    assert addresses(arm, ONE) == [VIP]


# --- preflight ---------------------------------------------------------------------------------------------------


async def findings(provider: Moving) -> dict[str, str]:
    return {
        f"{found.level} {found.subject}": f"{found.message}; {found.remedy}" for found in await provider.preflight()
    }


async def test_preflight_finds_nothing_where_all_is_well(arm: Arm, where: dict[str, Any]) -> None:
    held(arm, TWO, ip_config("vip", VIP))
    async with moving(IpConfig, where, f"{VIP}/24") as (_, provider):
        found = await provider.preflight()
    assert {each.level for each in found} == {Level.OK}, found
    assert arm.writes == []


async def test_preflight_says_what_is_wrong_and_what_to_do(arm: Arm, where: dict[str, Any], metadata: Metadata) -> None:
    arm.actions = ["Microsoft.Network/*/read", "Microsoft.Authorization/*/read"]
    async with moving(IpConfig, where, f"{TWO.address}/24", "10.99.0.1/24", cloud="china", nics=["nic2"]) as (
        _,
        provider,
    ):
        found = await findings(provider)
    assert "virtualMachines" not in found
    assert "primary address of nic2" in found[f"error VIP {TWO.address}"]
    assert "azure.route" in found["error VIP 10.99.0.1"]
    assert "networkInterfaces/write is missing" in found["error permissions on networkInterfaces/nic1"]


async def test_preflight_says_what_cannot_be_looked_at(arm: Arm, where: dict[str, Any], metadata: Metadata) -> None:
    arm.actions = ["Microsoft.Network/networkInterfaces/*"]
    async with moving(IpConfig, where, f"{VIP}/24", nics=["nic1"]) as (_, provider):
        found = await findings(provider)
    assert "permissions/read" in found["warning permissions on networkInterfaces/nic1"]
    assert "name those of the other nodes" in found["warning network interfaces"]
    arm.actions = []
    async with moving(IpConfig, where, f"{VIP}/24") as (_, provider):
        assert "AuthorizationFailed" in (await findings(provider))["error network interface"]
    metadata.failing = [503] * 9
    async with moving(IpConfig, where, f"{VIP}/24") as (_, provider):
        assert "169.254.169.254" in (await findings(provider))["error metadata service"]
