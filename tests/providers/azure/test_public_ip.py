"""A public address moves from one NIC to another by two writes, and nothing else changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from providers.azure.public_ip import PublicIp
from providers.base import Level, Place, ProviderError
from providers.cloud.moving import Moving
from tests.lab.azure.arm import Arm, Fault
from tests.lab.azure.movers import grant, moving, soon
from tests.lab.azure.world import NETWORK, Node, ip_config, nic, public_ip
from tests.providers.azure.conftest import Tls

ONE, TWO = Node(1), Node(2)
ADDRESS = "203.0.113.7"
PUBLIC = f"{NETWORK}/publicIPAddresses/pip"


@pytest.fixture
def where(arm: Arm, tls: Tls) -> dict[str, Any]:
    """Give node 2 the address, in a secondary configuration."""
    public_ip(arm, "pip", ADDRESS)
    arm.add(TWO.nic, nic(TWO, ip_config("out", "10.7.0.50", publicIPAddress={"id": PUBLIC})))
    return {"endpoint": arm.audience, "ca_file": tls.ca_file, "polling_seconds": 0.1, "public_ip": "pip"}


@pytest.fixture
async def here(where: dict[str, Any]) -> AsyncIterator[PublicIp]:
    async with moving(PublicIp, where, f"{ADDRESS}/32") as (mover, _):
        yield mover


def puts(arm: Arm) -> list[str]:
    return [request.path.rpartition("/")[2] for request in arm.writes]


def association(arm: Arm) -> str | None:
    found: str | None = arm.resource(PUBLIC)["properties"].get("ipConfiguration", {}).get("id")
    return found


async def test_two_puts_in_order_and_no_other_field_changes(arm: Arm, here: PublicIp) -> None:
    found = await here.look(soon())
    assert (found.place, found.where) == (Place.ELSEWHERE, "nic2/out")
    before = {node: arm.written(node.nic) for node in (ONE, TWO)}
    arm.seconds = 0.2
    await here.move(soon())
    assert puts(arm) == ["nic2", "nic1"]
    after = {node: arm.written(node.nic) for node in (ONE, TWO)}
    given = after[ONE]["properties"]["ipConfigurations"][0]["properties"].pop("publicIPAddress")
    assert given == before[TWO]["properties"]["ipConfigurations"][1]["properties"].pop("publicIPAddress")
    assert after == before
    assert (await here.look(soon())).place is Place.HERE


async def test_what_is_here_is_not_written_again_and_what_is_nowhere_is_only_given(arm: Arm, here: PublicIp) -> None:
    arm.add(TWO.nic, nic(TWO))
    assert (await here.look(soon())).place is Place.NOWHERE
    await here.move(soon())
    await here.move(soon())
    assert puts(arm) == ["nic1"]
    assert association(arm) == ONE.configuration("primary")


async def test_it_comes_to_the_configuration_that_is_named(arm: Arm, where: dict[str, Any]) -> None:
    arm.add(ONE.nic, nic(ONE, ip_config("out", "10.7.0.51")))
    async with moving(PublicIp, where, f"{ADDRESS}/32", ip_configuration="Out") as (mover, _):
        await mover.move(soon())
    assert association(arm) == ONE.configuration("out")


async def test_another_public_address_is_not_thrown_out(arm: Arm, here: PublicIp) -> None:
    other = public_ip(arm, "other", "203.0.113.8")
    body = nic(ONE)
    body["properties"]["ipConfigurations"][0]["properties"]["publicIPAddress"] = {"id": other}
    arm.add(ONE.nic, body)
    with pytest.raises(ProviderError, match="another public address"):
        await here.move(soon())
    assert puts(arm) == [], "nor is ours taken from where it works"


@pytest.mark.parametrize("kind", ["lost", "throttle"])
@pytest.mark.parametrize("name", ["nic1", "nic2"])
async def test_what_goes_wrong_once_is_made_good(arm: Arm, here: PublicIp, kind: str, name: str) -> None:
    arm.faults = [Fault("PUT", name, kind)]
    await here.move(soon())
    assert association(arm) == ONE.configuration("primary")


async def test_as_a_provider_it_is_moved_once_and_stays_when_given_up(arm: Arm, where: dict[str, Any]) -> None:
    async with moving(PublicIp, where, f"{ADDRESS}/32") as (_, provider):
        await provider.bind(grant(1))
        await provider.bind(grant(1))
        await provider.unbind()
    assert puts(arm) == ["nic2", "nic1"]
    assert association(arm) == ONE.configuration("primary")


# --- preflight ---------------------------------------------------------------------------------------------------


async def findings(provider: Moving) -> dict[str, str]:
    return {
        f"{found.level} {found.subject}": f"{found.message}; {found.remedy}" for found in await provider.preflight()
    }


async def test_preflight_finds_nothing_where_all_is_well(arm: Arm, where: dict[str, Any]) -> None:
    async with moving(PublicIp, where, f"{ADDRESS}/32") as (_, provider):
        found = await provider.preflight()
    assert {each.level for each in found} == {Level.OK}, found
    assert arm.writes == []


async def test_preflight_says_what_is_wrong_and_what_to_do(arm: Arm, where: dict[str, Any]) -> None:
    body = {"ipAddress": ADDRESS, "publicIPAllocationMethod": "Dynamic"}
    arm.add(PUBLIC, {"location": "westeurope", "properties": body})
    other = public_ip(arm, "other", "203.0.113.8")
    arm.add(ONE.nic, nic(ONE, ip_config("out", "10.7.0.51", publicIPAddress={"id": other})))
    arm.actions = ["Microsoft.Network/*/read", "Microsoft.Network/networkInterfaces/*", "Microsoft.Authorization/*"]
    async with moving(PublicIp, where, f"{ADDRESS}/32", ip_configuration="out") as (_, provider):
        found = await provider.preflight()
    said = [f"{each.level} {each.subject}: {each.message}" for each in found]
    assert "error public address pip: is dynamic: it would change when it moves" in said
    assert any("cannot move to out" in each for each in said)
    assert any("publicIPAddresses/join/action is missing" in each for each in said)


async def test_preflight_knows_a_configuration_that_is_not_there(where: dict[str, Any]) -> None:
    async with moving(PublicIp, where, f"{ADDRESS}/32", ip_configuration="none") as (_, provider):
        assert "no IP configuration none" in (await findings(provider))["error public address"]


async def test_an_address_of_a_load_balancer_is_not_taken(arm: Arm, where: dict[str, Any]) -> None:
    frontend = f"{NETWORK}/loadBalancers/lb/frontendIPConfigurations/front"
    properties = {"ipAddress": ADDRESS, "publicIPAllocationMethod": "Static", "ipConfiguration": {"id": frontend}}
    arm.add(f"{NETWORK}/publicIPAddresses/front", {"location": "westeurope", "properties": properties})
    async with moving(PublicIp, {**where, "public_ip": "front"}, f"{ADDRESS}/32") as (mover, provider):
        with pytest.raises(ProviderError, match="not a network interface"):
            await mover.move(soon())
        assert "use an address for anyvip alone" in (await findings(provider))["error public address front"]
