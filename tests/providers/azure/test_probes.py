"""Whether the security groups of the network interface and of its subnet let a load balancer's probes in."""

from __future__ import annotations

from typing import Any

import pytest

from providers.azure.permissions import READ_SECURITY_GROUP, READ_SUBNET
from providers.azure.probes import refusing_rule
from providers.azure.route import Route
from providers.base import Level
from tests.lab.azure.arm import Arm
from tests.lab.azure.movers import moving
from tests.lab.azure.world import LOCATION, NETWORK, NSG, SUBNET, Node, nic, route_table
from tests.providers.azure.conftest import Tls

OUTER = f"{NETWORK}/networkSecurityGroups/outer"
NIC_SAID, SUBNET_SAID = "health probes, network interface nic1", "health probes, subnet front"


def rule(name: str, priority: int, **more: Any) -> dict[str, Any]:
    """Return a security rule, which denies everything by default."""
    properties = {
        "priority": priority,
        "direction": "Inbound",
        "access": "Deny",
        "protocol": "*",
        "sourceAddressPrefix": "*",
        "sourcePortRange": "*",
        "destinationAddressPrefix": "*",
        "destinationPortRange": "*",
    }
    return {"name": name, "properties": {**properties, **more}}


def group(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"location": LOCATION, "properties": {"securityRules": list(rules)}}


@pytest.fixture
def where(arm: Arm, tls: Tls) -> dict[str, Any]:
    """Give the subnet another security group than the NICs."""
    arm.add(OUTER, group())
    arm.add(SUBNET, {"properties": {"addressPrefixes": ["10.7.0.0/24"], "networkSecurityGroup": {"id": OUTER}}})
    route_table(arm, "t", "10.99.0.1/32", Node(1).address)
    return {"endpoint": arm.audience, "ca_file": tls.ca_file, "route_tables": ["t"]}


async def found(where: dict[str, Any], **keys: Any) -> dict[str, tuple[Level, str]]:
    async with moving(Route, where, "10.99.0.1/32", **keys) as (_, provider):
        findings = [each for each in await provider.preflight() if each.subject.startswith("health probes")]
    return {each.subject: (each.level, f"{each.message}; {each.remedy}") for each in findings}


async def test_both_groups_are_looked_at(arm: Arm, where: dict[str, Any]) -> None:
    assert {subject: level for subject, (level, _) in (await found(where)).items()} == {
        NIC_SAID: Level.OK,
        SUBNET_SAID: Level.OK,
    }


@pytest.mark.parametrize(("refusing", "said"), [(NSG, NIC_SAID), (OUTER, SUBNET_SAID)])
async def test_either_may_refuse(arm: Arm, where: dict[str, Any], refusing: str, said: str) -> None:
    arm.add(refusing, group(rule("deny-all", 4096)))
    told = await found(where)
    assert [subject for subject, (level, _) in told.items() if level is Level.WARNING] == [said]
    assert "deny-all denies 168.63.129.16 access to port 9010" in told[said][1]


async def test_the_port_that_is_probed_counts(arm: Arm, where: dict[str, Any]) -> None:
    arm.add(OUTER, group(rule("web-only", 100, access="Allow", destinationPortRange="80"), rule("deny-all", 200)))
    assert (await found(where, health_port=80))[SUBNET_SAID][0] is Level.OK
    assert (await found(where, health_port=81))[SUBNET_SAID][0] is Level.WARNING


@pytest.mark.parametrize(("permission", "said"), [(READ_SECURITY_GROUP, NIC_SAID), (READ_SUBNET, SUBNET_SAID)])
async def test_what_may_not_be_read_is_named(arm: Arm, where: dict[str, Any], permission: str, said: str) -> None:
    arm.actions = [
        action
        for action in ("Microsoft.Network/networkInterfaces/read", READ_SECURITY_GROUP, READ_SUBNET)
        if action != permission
    ]
    level, text = (await found(where))[said]
    assert level is Level.WARNING
    assert f"allow {permission}" in text


async def test_a_subnet_without_a_group_refuses_nobody(arm: Arm, where: dict[str, Any]) -> None:
    arm.add(SUBNET, {"properties": {"addressPrefixes": ["10.7.0.0/24"]}})
    assert list(await found(where)) == [NIC_SAID]


async def test_nobody_probes_what_is_behind_no_load_balancer(arm: Arm, where: dict[str, Any]) -> None:
    alone = nic(Node(1))
    del alone["properties"]["ipConfigurations"][0]["properties"]["loadBalancerBackendAddressPools"]
    arm.add(Node(1).nic, alone)
    assert await found(where) == {}


@pytest.mark.parametrize(
    ("before", "refused"),
    [
        ({"access": "Allow", "sourceAddressPrefix": "AzureLoadBalancer"}, False),
        ({"access": "Allow", "sourceAddressPrefix": "168.63.129.16"}, False),
        (
            {"access": "Allow", "sourceAddressPrefix": None, "sourceAddressPrefixes": ["10.0.0.0/8", "168.63.0.0/16"]},
            False,
        ),
        ({"access": "Allow", "destinationPortRange": "9000-9100", "protocol": "Tcp"}, False),
        ({"access": "Allow", "destinationPortRange": None, "destinationPortRanges": ["22", "9010"]}, False),
        ({"access": "Allow", "sourceAddressPrefix": "Internet"}, True),
        ({"access": "Allow", "sourceAddressPrefix": "10.7.0.0/24"}, True),
        ({"access": "Allow", "destinationPortRange": "22"}, True),
        ({"access": "Allow", "protocol": "Udp"}, True),
        ({"access": "Allow", "direction": "Outbound"}, True),
    ],
)
def test_the_first_rule_that_fits_decides(before: dict[str, Any], *, refused: bool) -> None:
    """Rules can be in any order, because the priority counts."""
    rules = group(rule("deny-all", 200), rule("before", 100, **before))
    assert refusing_rule(rules, 9010) == ("deny-all" if refused else None)


def test_a_rule_for_another_port_keeps_no_probe_out() -> None:
    assert refusing_rule(group(rule("no-ssh", 100, destinationPortRange="22")), 9010) is None
    assert refusing_rule(group(rule("no-ssh", 100, destinationPortRange="22")), 22) == "no-ssh"
