"""One route in each table: all tables are written at the same time, none as a whole, and then confirmed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from providers.azure.route import Route, RouteOptions
from providers.base import Level, Place, ProviderError
from providers.cloud.deadline import Deadline
from providers.cloud.moving import Moving
from tests.lab.azure.arm import Arm, Fault
from tests.lab.azure.metadata import Metadata
from tests.lab.azure.movers import given_up_under_way, grant, led_here, moving, soon
from tests.lab.azure.world import NETWORK, SUBNET, Node, nic, route_table
from tests.lab.host.processes import until
from tests.providers.azure.conftest import Tls

ONE, TWO = Node(1), Node(2)
VIP = "10.99.0.1"
TABLES = ["t0", "t1", "t2"]


@pytest.fixture
def where(arm: Arm, tls: Tls) -> dict[str, Any]:
    for name in TABLES:
        route_table(arm, name, f"{VIP}/32", TWO.address, other="10.9.0.0/16")
    common = {"endpoint": arm.audience, "ca_file": tls.ca_file, "polling_seconds": 0.1}
    return {**common, "route_tables": TABLES}


@pytest.fixture
async def here(where: dict[str, Any]) -> AsyncIterator[Route]:
    """Open node 1's mover of one VIP."""
    async with moving(Route, where, f"{VIP}/32") as (mover, _):
        yield mover


def table(name: str) -> str:
    return f"{NETWORK}/routeTables/{name}"


def hops(arm: Arm, name: str = "t0") -> dict[str, str]:
    """Return the next hop by prefix."""
    routes = [route["properties"] for route in arm.resource(table(name))["properties"]["routes"]]
    return {route["addressPrefix"]: route["nextHopIpAddress"] for route in routes}


async def test_one_put_of_one_route_for_each_table_all_at_once(arm: Arm, here: Route) -> None:
    assert (await here.look(soon())).place is Place.ELSEWHERE
    arm.seconds = 1000.0  # until all have begun
    moving_them = asyncio.create_task(here.move(soon()))
    await until(lambda: len(arm.writes) == len(TABLES))
    await until(lambda: all(hops(arm, name)[f"{VIP}/32"] == ONE.address for name in TABLES))
    arm.finish()
    await moving_them
    assert sorted(put.path for put in arm.writes) == [f"{table(name)}/routes/vip" for name in TABLES]
    assert all(hops(arm, name) == {f"{VIP}/32": ONE.address, "10.9.0.0/16": "10.7.0.99"} for name in TABLES)
    assert (await here.look(soon())).place is Place.HERE
    assert all(arm.resource(table(name))["properties"]["disableBgpRoutePropagation"] for name in TABLES)


async def test_what_leads_here_is_not_written_again(arm: Arm, here: Route) -> None:
    await here.move(soon())
    written = len(arm.writes)
    await here.move(soon())
    assert len(arm.writes) == written


async def test_missing_routes_are_made_also_for_ipv6_and_several_vips_in_one_table(
    arm: Arm, where: dict[str, Any]
) -> None:
    keys = {**where, "route_tables": [table("t0")], "next_hop": [ONE.address, "fd07::11"]}
    async with moving(Route, keys, f"{VIP}/32", "10.99.0.2/32", "fd99::1/128") as (mover, _):
        await mover.move(soon())
        assert (await mover.look(soon())).place is Place.HERE
    assert hops(arm) == {
        f"{VIP}/32": ONE.address,
        "10.99.0.2/32": ONE.address,
        "fd99::1/128": "fd07::11",
        "10.9.0.0/16": "10.7.0.99",
    }


async def test_a_route_to_somewhere_else_becomes_one_to_us_with_all_else_of_it_kept(arm: Arm, here: Route) -> None:
    body = {"addressPrefix": f"{VIP}/32", "nextHopType": "None"}
    properties = {"routes": [{"name": "drop", "properties": body}]}
    arm.add(table("t1"), {"location": "westeurope", "properties": properties})
    found = await here.look(soon())
    assert found.place is Place.ELSEWHERE
    assert "t1 leads to None" in found.where
    await here.move(soon())
    assert [route["name"] for route in arm.resource(table("t1"))["properties"]["routes"]] == ["drop"]
    assert hops(arm, "t1") == {f"{VIP}/32": ONE.address}


async def test_a_table_that_fails_does_not_hold_up_the_others(arm: Arm, here: Route) -> None:
    arm.faults = [Fault("PUT", "t1/", "status", status=403, code="AuthorizationFailed")]
    with pytest.raises(ProviderError, match="routeTables/t1: 403 AuthorizationFailed"):
        await here.move(soon())
    assert [hops(arm, name)[f"{VIP}/32"] for name in TABLES] == [ONE.address, TWO.address, ONE.address]
    found = await here.look(soon())
    assert (found.place, found.where) == (Place.ELSEWHERE, f"t1 leads to {TWO.address}")


async def test_another_operation_on_the_table_is_waited_for(arm: Arm, here: Route, where: dict[str, Any]) -> None:
    arm.seconds = 0.3
    async with moving(Route, where, f"{VIP}/32", nic="nic2", next_hop=["10.7.0.13"]) as (there, _):
        await asyncio.gather(here.move(soon()), there.move(soon()), return_exceptions=True)
        await here.move(soon())
    assert all(hops(arm, name)[f"{VIP}/32"] == ONE.address for name in TABLES)


async def test_a_route_that_was_changed_meanwhile_is_read_again(arm: Arm, here: Route) -> None:
    write = here._network.write_route

    async def after_somebody_else(which: Any, name: str, route: Any, until: Deadline) -> Any:
        if not arm.writes:
            route_table(arm, "t0", f"{VIP}/32", "10.7.0.77")
        return await write(which, name, route, until)

    here._network.write_route = after_somebody_else  # type: ignore[method-assign, assignment]
    await here.move(soon())
    assert len(arm.writes) == len(TABLES) + 1, "one was refused: 412"
    assert hops(arm)[f"{VIP}/32"] == ONE.address


@pytest.mark.parametrize("kind", ["lost", "throttle"])
async def test_what_goes_wrong_once_is_made_good(arm: Arm, here: Route, kind: str) -> None:
    arm.faults = [Fault("PUT", "t1/", kind)]
    await here.move(soon())
    assert (await here.look(soon())).place is Place.HERE


async def test_a_failed_operation_is_said_and_the_next_one_writes_again(arm: Arm, here: Route) -> None:
    arm.faults = [Fault("PUT", "t2/", "fails", code="InternalServerError")]
    with pytest.raises(ProviderError, match="Failed: InternalServerError: it failed"):
        await here.move(soon())
    found = await here.look(soon())
    assert (found.place, found.where) == (Place.NOWHERE, f"t2: the route to {VIP} is Failed")
    await here.move(soon())
    assert (await here.look(soon())).place is Place.HERE


async def test_a_late_write_of_a_former_owner_is_undone(arm: Arm, where: dict[str, Any], metadata: Metadata) -> None:
    arm.checks_etags = False
    async with moving(Route, where, f"{VIP}/32") as (mover, provider):
        async with moving(Route, where, f"{VIP}/32", next_hop=["10.7.0.13"]) as (_, former):
            await given_up_under_way(arm, former, "t0/")
        await provider.bind(grant(2))
        arm.land()
        found = await provider.inspect()  # as the daemon asks when it reconciles soon after a promotion
        assert (found.place, found.where) == (Place.ELSEWHERE, "t0 leads to 10.7.0.13")
        await provider.bind(grant(2))  # the next renewal
        await led_here(mover)


async def test_giving_up_writes_nothing(arm: Arm, where: dict[str, Any]) -> None:
    async with moving(Route, where, f"{VIP}/32") as (_, provider):
        await provider.bind(grant(1))
        written = len(arm.writes)
        await provider.unbind()
    assert len(arm.writes) == written


# --- preflight ---------------------------------------------------------------------------------------------------


async def findings(provider: Moving) -> dict[str, str]:
    return {
        f"{found.level} {found.subject}": f"{found.message}; {found.remedy}" for found in await provider.preflight()
    }


async def test_preflight_finds_nothing_where_all_is_well(arm: Arm, where: dict[str, Any]) -> None:
    properties = arm.resource(table("t0"))["properties"] | {"subnets": [{"id": SUBNET}]}
    arm.add(table("t0"), {"location": "westeurope", "properties": properties})
    async with moving(Route, {**where, "route_tables": ["t0"]}, f"{VIP}/32") as (_, provider):
        found = await provider.preflight()
    assert {each.level for each in found} == {Level.OK}, found
    assert arm.writes == []


async def test_preflight_says_what_is_wrong_and_what_to_do(arm: Arm, where: dict[str, Any]) -> None:
    arm.add(ONE.nic, nic(ONE, enableIPForwarding=False))
    arm.actions = ["Microsoft.Network/*/read", "Microsoft.Authorization/*/read"]
    async with moving(Route, {**where, "route_tables": ["t0", "none"]}, f"{VIP}/32") as (_, provider):
        found = await findings(provider)
    assert "az network nic update --ids" in found["error IP forwarding"]
    assert "not associated with any subnet" in found["warning route table t0"]
    assert "ResourceNotFound" in found["error route table none"]
    assert "routes/write is missing" in found["error permissions on routeTables/t0"]


async def test_a_machine_without_an_ipv6_address_cannot_be_a_next_hop_for_ipv6(where: dict[str, Any]) -> None:
    async with moving(Route, where, "fd99::1/128") as (mover, _):
        with pytest.raises(ProviderError, match="no IPv6 address"):
            await mover.look(soon())


async def test_an_id_of_something_else_is_refused(where: dict[str, Any]) -> None:
    async with moving(Route, {**where, "route_tables": [ONE.nic]}, f"{VIP}/32") as (mover, _):
        with pytest.raises(ProviderError, match=r"not an id of Microsoft\.Network/routeTables"):
            await mover.look(soon())


def test_options_say_what_is_wrong() -> None:
    wrong: list[dict[str, Any]] = [{}, {"route_tables": []}, {"route_tables": ["t"], "next_hop": ["here"]}]
    for keys in wrong:
        with pytest.raises(ValidationError):
            RouteOptions.model_validate_json(json.dumps(keys), strict=True)
