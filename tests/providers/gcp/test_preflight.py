"""The findings before a failover, and the roles: a mechanism needs each permission in its role, and no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.cloud.compute_v1.types import Subnetwork

from controller.daemon.clock import boottime
from providers.base import Finding, Level, Place, ProviderError
from providers.cloud.calls import Calls
from providers.gcp import preflight
from providers.gcp.alias_ip import PERMISSIONS as ALIAS_IP
from providers.gcp.alias_ip import AliasIp
from providers.gcp.client import ComputeOptions
from providers.gcp.compute import Compute, translate
from providers.gcp.route import PERMISSIONS as ROUTE
from providers.gcp.route import Routes
from providers.gcp.static_ip import PERMISSIONS as STATIC_IP
from providers.gcp.static_ip import StaticIp
from tests.lab.gcp.cloud import Nic, Route
from tests.lab.gcp.compute import Fault
from tests.providers.gcp.conftest import Project, soon

POLICIES = Path(__file__).parents[3] / "terraform" / "gcp" / "policies"
WHO = "anyvip@shop-1.iam.gserviceaccount.com"
IP = "203.0.113.7"
N2 = "projects/shop-1/zones/europe-west1-b/instances/n2"

Findings = dict[str, Finding]


def alias_ip(gcp: Project, *vips: str, node: str = "n1", **keys: Any) -> Any:
    given = {"instances": ["n1", "n2"], "resource_manager_endpoint": gcp.url, **keys}
    return gcp.mover(AliasIp, node, *(vips or ("10.0.0.100/32",)), **given)


def route(gcp: Project, *vips: str, node: str = "n1", **keys: Any) -> Any:
    given = {"resource_manager_endpoint": gcp.url, **keys}
    return gcp.mover(Routes, node, *(vips or ("192.0.2.10/32",)), **given)


def static_ip(gcp: Project, *vips: str, node: str = "n1", **keys: Any) -> Any:
    given = {"resource_manager_endpoint": gcp.url, **keys}
    return gcp.mover(StaticIp, node, *(vips or (f"{IP}/32",)), **given)


async def findings(mover: Any) -> Findings:
    found = await mover.preflight()
    assert all(each.remedy for each in found if each.level is not Level.OK)
    return {each.subject: each for each in found}


def wrong(found: Findings) -> dict[str, str]:
    return {subject: each.message for subject, each in found.items() if each.level is not Level.OK}


MAKERS = {"alias_ip": alias_ip, "route": route, "static_ip": static_ip}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
async def test_where_all_is_well_nothing_is_found(gcp: Project, make: Callable[..., Any]) -> None:
    found = await findings(make(gcp))
    assert wrong(found) == {}
    assert {"identity", "permissions"} < set(found)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
async def test_nothing_is_changed(gcp: Project, make: Callable[..., Any]) -> None:
    await findings(make(gcp))
    assert not [each for each in gcp.compute.seen if each.method.startswith(("routes.insert", "routes.delete"))]
    assert not [each for each in gcp.compute.seen if "update" in each.method or "AccessConfig" in each.method]


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
async def test_who_cannot_find_out_who_it_is_says_what_to_do(gcp: Project, make: Callable[..., Any]) -> None:
    gcp.metadata["n1"].failing += [404] * 9
    (finding,) = await make(gcp).preflight()
    assert finding.level is Level.ERROR
    assert "set `project`, `zone`" in finding.remedy


async def test_what_cannot_be_asked_is_not_taken_for_wrong(gcp: Project) -> None:
    gcp.compute.faults.append(Fault("projects.testIamPermissions", times=9, status=403, reason="accessNotConfigured"))
    found = await findings(route(gcp))
    assert found["permissions"].level is Level.WARNING
    assert "accessNotConfigured" in found["permissions"].message


# --- alias_ip -------------------------------------------------------------------------------------------------------


def test_a_vip_outside_a_subnet_of_both_versions_is_compared_with_the_ranges_of_its_own() -> None:
    subnet = Subnetwork(name="vms", ip_cidr_range="10.0.0.0/24", ipv6_cidr_range="2001:db8::/64")
    (found,) = preflight.within_range(subnet, None, ["192.0.2.1/32"])
    assert (found.level, found.message) == (Level.ERROR, "192.0.2.1/32 is not in 10.0.0.0/24 of vms")


async def test_vips_outside_the_subnet(gcp: Project) -> None:
    found = await findings(alias_ip(gcp, "192.0.2.1/32"))
    assert wrong(found) == {"subnet": "192.0.2.1/32 is not in 10.0.0.0/24 of inner"}
    assert "gcp.route" in found["subnet"].remedy


async def test_vips_of_a_secondary_range_that_is_not_named(gcp: Project) -> None:
    found = await findings(alias_ip(gcp, "10.1.0.5/32"))
    assert found["subnet"].remedy == "set `range_name: vips`"
    assert wrong(await findings(alias_ip(gcp, "10.1.0.5/32", range_name="vips"))) == {}
    found = await findings(alias_ip(gcp, "10.1.0.5/32", range_name="wips"))
    assert wrong(found) == {"subnet": "inner has no secondary range wips: vips"}


async def test_instances_that_cannot_have_the_vips(gcp: Project) -> None:
    gcp.cloud.machines[1].nics = [Nic("nic0", "plain", "10.9.0.3")]
    found = await findings(alias_ip(gcp, instances=["n1", "n2", "n9"]))
    assert wrong(found) == {
        "instance europe-west1-b/n2": "has no interface in inner",
        "instance europe-west1-b/n9": "does not exist",
    }


# --- route ----------------------------------------------------------------------------------------------------------


async def test_an_instance_that_must_not_forward(gcp: Project) -> None:
    gcp.cloud.machines[0].can_ip_forward = False
    assert "canIpForward" in wrong(await findings(route(gcp)))


@pytest.mark.parametrize("vip", ["10.0.0.100/32", "10.1.0.100/32"])
async def test_a_route_into_a_subnet(gcp: Project, vip: str) -> None:
    gcp.compute.methods.page_size = 1
    found = await findings(route(gcp, vip))
    assert wrong(found) == {"subnets": f"{vip} is in inner: Compute Engine refuses routes there"}


async def test_a_subnet_of_another_network_is_in_nobody_s_way(gcp: Project) -> None:
    assert wrong(await findings(route(gcp, "10.9.0.100/32"))) == {}


async def test_a_route_of_somebody_else_s_that_wins(gcp: Project) -> None:
    gcp.cloud.routes["by-hand"] = Route("by-hand", "vpc", "192.0.2.10/32", 5, N2)
    found = await findings(route(gcp))
    assert wrong(found) == {"routes": "would win over this group's: by-hand (192.0.2.10/32, priority 5)"}


# --- static_ip ------------------------------------------------------------------------------------------------------


async def test_an_address_that_is_not_reserved(gcp: Project) -> None:
    assert wrong(await findings(static_ip(gcp, "203.0.113.99/32"))) == {
        "address": "203.0.113.99 is not reserved in europe-west1"
    }


async def test_an_interface_that_has_an_address_of_its_own(gcp: Project) -> None:
    gcp.cloud.machines[0].nics[1].access = [{"name": "x", "type": "ONE_TO_ONE_NAT", "natIP": "203.0.113.8"}]
    assert "interface" in wrong(await findings(static_ip(gcp)))


# --- load_balancer: firewalls ---------------------------------------------------------------------------------------


def rule(priority: int = 1000, *, sources: tuple[str, ...] = ("0.0.0.0/0",), **keys: Any) -> dict[str, Any]:
    allow = {"allowed": [{"IPProtocol": "tcp", "ports": ["9000-9100"]}]}
    told = {"direction": "INGRESS", "priority": priority, "sourceRanges": list(sources), "disabled": False}
    return {**told, **(keys or allow)}


DENY: dict[str, Any] = {"denied": [{"IPProtocol": "all"}]}
PROBERS = ("35.191.0.0/16", "130.211.0.0/22")


@pytest.mark.parametrize(
    ("rules", "level"),
    [
        ([], Level.ERROR),
        ([rule()], Level.OK),
        ([rule(sources=PROBERS)], Level.OK),
        ([rule(sources=PROBERS[:1])], Level.ERROR),
        ([rule(sources=("35.191.0.0/24",))], Level.ERROR),  # a part of them
        ([rule(allowed=[{"IPProtocol": "tcp"}])], Level.OK),
        ([rule(allowed=[{"IPProtocol": "tcp", "ports": ["9011"]}])], Level.ERROR),
        ([rule(allowed=[{"IPProtocol": "udp"}])], Level.ERROR),
        ([rule(allowed=[{"IPProtocol": "all"}])], Level.OK),
        ([rule(), rule(900, **DENY)], Level.ERROR),
        ([rule(), rule(1000, **DENY)], Level.ERROR),  # of equal priorities, the rule that denies decides
        ([rule(), rule(1100, **DENY)], Level.OK),
        ([rule(), rule(900, sources=("35.191.7.0/24",), **DENY)], Level.ERROR),
        ([{**rule(), "disabled": True}], Level.ERROR),
        ([{**rule(), "direction": "EGRESS"}], Level.ERROR),
    ],
)
async def test_firewalls_and_health_probes(gcp: Project, rules: list[dict[str, Any]], level: Level) -> None:
    gcp.cloud.firewalls = rules
    found = await backend(gcp)
    assert [(each.subject, each.level) for each in found] == [("firewall", level)]


async def backend(gcp: Project) -> list[Finding]:
    given = {"endpoint": gcp.url, "metadata_endpoint": gcp.metadata_urls["n1"], "nic": "nic1"}
    options = ComputeOptions.model_validate(given)
    calls = Calls("doctor", clock=boottime, translate=translate)
    compute = Compute(options, calls)
    gcp.made.append((compute, calls))
    return await preflight.backend(compute, options, 9010)


# --- roles ----------------------------------------------------------------------------------------------------------


def role(name: str) -> list[str]:
    told = json.loads((POLICIES / f"{name}.json").read_text())
    assert set(told) == {"title", "description", "stage", "includedPermissions"}
    listed: list[str] = told["includedPermissions"]
    assert listed == sorted(set(listed))
    return listed


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("alias_ip", ALIAS_IP),
        ("route", ROUTE),
        ("static_ip", STATIC_IP),
    ],
)
def test_the_roles_are_what_preflight_asks_for(name: str, known: tuple[str, ...]) -> None:
    assert role(name) == sorted(known)


async def works(gcp: Project, name: str) -> None:
    """Do everything that a mechanism does, from one node to the other, under its role."""
    make = {"alias_ip": alias_ip, "route": route, "static_ip": static_ip}[name]
    more = {"instances": None} if name == "alias_ip" else {}
    first, second = make(gcp, node="n1", **more), make(gcp, node="n2", **more)
    for epoch, mover in enumerate((first, second, first), 1):
        if name == "route":
            mover.begin(epoch)
        await mover.move(soon())
        found = await mover.look(soon())
        assert found.place is Place.HERE, found
    assert wrong(await findings(second)) == {}


@pytest.mark.parametrize("name", MAKERS)
async def test_the_role_suffices(gcp: Project, name: str) -> None:
    gcp.compute.granted[WHO] = role(name)
    await works(gcp, name)


@pytest.mark.parametrize(("name", "permission"), [(name, each) for name in MAKERS for each in role(name)])
async def test_each_permission_is_needed_and_its_lack_is_named(gcp: Project, name: str, permission: str) -> None:
    gcp.compute.granted[WHO] = set(role(name)) - {permission}
    with pytest.raises((ProviderError, AssertionError)) as failed:
        await works(gcp, name)
    assert permission in str(failed.value)


async def test_the_load_balancer_s_role(gcp: Project) -> None:
    gcp.cloud.firewalls = [rule()]
    gcp.compute.granted[WHO] = role("load_balancer")
    assert [each.level for each in await backend(gcp)] == [Level.OK]
    for permission in role("load_balancer"):
        gcp.compute.granted[WHO] = set(role("load_balancer")) - {permission}
        (found,) = await backend(gcp)
        assert found.level is not Level.OK
        assert permission in found.message
