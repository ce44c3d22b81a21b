"""The role definitions that Terraform assigns: they are enough, and without any one permission something fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from providers.azure.ip_config import IpConfig
from providers.azure.permissions import is_allowed
from providers.azure.public_ip import PublicIp
from providers.azure.route import Route
from providers.base import Finding, Level, Place, ProviderError
from tests.lab.azure.arm import Arm
from tests.lab.azure.movers import moving, soon
from tests.lab.azure.world import NETWORK, SUBNET, Node, ip_config, nic, public_ip, route_table
from tests.providers.azure.conftest import Tls

POLICIES = Path(__file__).parents[3] / "terraform" / "azure" / "policies"
ROLES: dict[str, list[str]] = {path.stem: json.loads(path.read_text())["Actions"] for path in POLICIES.glob("*.json")}
VIP, OUTSIDE, PUBLIC = "10.7.0.100", "10.99.0.1", "203.0.113.7"
MECHANISMS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "ip_config": (IpConfig, f"{VIP}/24", {}),
    "route": (Route, f"{OUTSIDE}/32", {"route_tables": ["t"]}),
    "public_ip": (PublicIp, f"{PUBLIC}/32", {"public_ip": "pip"}),
}
ONLY_FOR_DOCTOR = {
    "Microsoft.Authorization/permissions/read",
    "Microsoft.Network/networkSecurityGroups/read",
    "Microsoft.Network/virtualNetworks/subnets/read",
}


@pytest.fixture
def where(arm: Arm, tls: Tls) -> dict[str, Any]:
    """Give node 2 everything that moves."""
    table = route_table(arm, "t", f"{OUTSIDE}/32", Node(2).address)
    associated = {**arm.resource(table)["properties"], "subnets": [{"id": SUBNET}]}
    arm.add(table, {"location": "westeurope", "properties": associated})
    hanging: dict[str, Any] = {"publicIPAddress": {"id": public_ip(arm, "pip", PUBLIC)}}
    arm.add(Node(2).nic, nic(Node(2), ip_config("vip", VIP, **hanging)))
    return {"endpoint": arm.audience, "ca_file": tls.ca_file, "polling_seconds": 0.1}


async def tried(mechanism: str, where: dict[str, Any]) -> tuple[list[Finding], str]:
    """Return what preflight finds, and what prevents the move."""
    kind, vip, keys = MECHANISMS[mechanism]
    async with moving(kind, {**where, **keys}, vip) as (mover, provider):
        found = [each for each in await provider.preflight() if each.level is not Level.OK]
        try:
            await mover.move(soon())
        except ProviderError as error:
            return found, str(error)
        assert (await mover.look(soon())).place is Place.HERE
    return found, ""


def test_there_is_one_for_each_mechanism_in_the_form_that_az_takes() -> None:
    assert ROLES.keys() == MECHANISMS.keys()
    for path in POLICIES.glob("*.json"):
        role = json.loads(path.read_text())
        assert role["IsCustom"] is True
        assert role["NotActions"] == role["DataActions"] == role["NotDataActions"] == []
        assert not any("*" in action for action in role["Actions"])


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_with_its_role_it_works(arm: Arm, where: dict[str, Any], mechanism: str) -> None:
    arm.actions = ROLES[mechanism]
    assert await tried(mechanism, where) == ([], "")


@pytest.mark.parametrize(("mechanism", "taken"), [(name, action) for name in MECHANISMS for action in ROLES[name]])
async def test_without_one_permission_it_does_not_and_preflight_says_which(
    arm: Arm, where: dict[str, Any], mechanism: str, taken: str
) -> None:
    arm.actions = [action for action in ROLES[mechanism] if action != taken]
    found, error = await tried(mechanism, where)
    said = [f"{each.message} {each.remedy}" for each in found]
    assert any(taken in each for each in said), said
    reads_for_doctor = ONLY_FOR_DOCTOR | (
        {"Microsoft.Network/networkInterfaces/read"} if mechanism == "route" else set()
    )
    assert (error == "") is (taken in reads_for_doctor)
    assert error == "" or taken in error


def test_permissions_are_matched_as_azure_does() -> None:
    given: list[Any] = [{"actions": ["Microsoft.Network/*/read"], "notActions": ["microsoft.network/routeTables/read"]}]
    assert is_allowed("Microsoft.Network/networkInterfaces/read", given)
    assert not is_allowed("Microsoft.Network/routeTables/read", given)
    assert not is_allowed("Microsoft.Network/networkInterfaces/write", given)
    assert is_allowed("Microsoft.Network/routeTables/read", [*given, {"actions": ["*"]}])
    assert not is_allowed(f"{NETWORK}/anything", [])
