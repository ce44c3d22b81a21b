"""Preflight finds what would break a failover, and each finding says what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from providers.aws import preflight
from providers.aws.elastic_ip import ElasticIp
from providers.aws.route import Route
from providers.aws.secondary_ip import SecondaryIp
from providers.base import Finding, Level
from providers.cloud.moving import Moving
from tests.lab.aws.ec2 import Ec2
from tests.lab.aws.imds import Imds
from tests.lab.aws.movers import Movers
from tests.lab.aws.query import Refused
from tests.lab.aws.state import SecurityGroup, Table

VIP = "10.77.0.100/24"
OVERLAY = "192.0.2.10/32"
PUBLIC = "198.51.100.7/32"
Arrange = Callable[[Ec2], object]


async def wrong(provider: Moving) -> list[Finding]:
    return [finding for finding in await provider.preflight() if finding.level is not Level.OK]


def nothing(_: Ec2) -> None:
    """Leave the network as it should be."""


def checked(ec2: Ec2) -> None:
    ec2.cloud.interfaces["eni-1"].source_dest_check = True


def full(ec2: Ec2) -> None:
    ec2.cloud.addresses_per_interface = 1


def another_network(ec2: Ec2) -> None:
    ec2.cloud.vpcs["vpc-2"] = []
    ec2.cloud.tables["rtb-1"] = Table("rtb-1", vpc="vpc-2")


def shut(ec2: Ec2) -> None:
    ec2.cloud.groups["sg-1"] = SecurityGroup("sg-1", [("udp", 1, 65535, "0.0.0.0/0"), ("tcp", 80, 443, "::/0")])


CASES: list[tuple[Any, str, dict[str, Any], Arrange, str, str]] = [
    (SecondaryIp, "10.99.0.1/24", {}, nothing, "is outside subnet-1", "aws.route"),
    (SecondaryIp, "10.77.0.2/24", {}, nothing, "AWS reserves", "another"),
    (SecondaryIp, "10.77.0.255/24", {}, nothing, "AWS reserves", "another"),
    (SecondaryIp, "10.77.0.12/24", {}, nothing, "primary address of eni-2", "another"),
    (SecondaryIp, VIP, {}, full, "2 are needed, but t4g.small allows 1", "instance type"),
    (SecondaryIp, VIP, {"probe_port": 9010}, shut, "allows them", "load balancer"),
    (Route, OVERLAY, {"route_tables": ["rtb-1"]}, checked, "drops packets", "--no-source-dest-check"),
    (Route, "10.77.3.1/32", {"route_tables": ["rtb-1"]}, nothing, "is inside vpc-1", "aws.secondary_ip"),
    (Route, OVERLAY, {"route_tables": ["rtb-1"]}, nothing, "has no route", "create it now"),
    (Route, OVERLAY, {"route_tables": ["rtb-1"]}, another_network, "belongs to vpc-2", "this node's VPC"),
    (Route, "192.0.3.1/32", {"route_tables": ["rtb-1"], "prefix_list": "pl-1"}, nothing, "is not in pl-1", "add it"),
    (Route, OVERLAY, {"route_tables": ["rtb-9"]}, nothing, "InvalidRouteTableID.NotFound", ""),
    (ElasticIp, PUBLIC, {"private_addresses": ["10.77.0.40"]}, nothing, "is not on eni-1", "assign it"),
    (ElasticIp, "203.0.113.1/32", {}, nothing, "no Elastic IP", ""),
]


@pytest.mark.parametrize(
    ("kind", "vip", "options", "arrange", "message", "remedy"),
    CASES,
    ids=lambda value: getattr(value, "__name__", str(value))[:30],
)
async def test_findings(  # noqa: PLR0917  (the case and its findings)
    ec2: Ec2, movers: Movers, kind: Any, vip: str, options: Any, arrange: Arrange, message: str, remedy: str
) -> None:
    arrange(ec2)
    found = [finding for finding in await wrong(movers.make(kind, vip, **options)[1]) if message in finding.message]
    assert found, message
    assert all(remedy in finding.remedy for finding in found)


@pytest.mark.parametrize("kind", [SecondaryIp, Route, ElasticIp])
async def test_a_network_as_it_should_be_has_no_findings_and_is_not_changed(
    ec2: Ec2, movers: Movers, kind: Any
) -> None:
    for table in ec2.cloud.tables.values():
        table.routes[OVERLAY] = "eni-2"
    ec2.cloud.changed = lambda: pytest.fail("preflight changed something")
    vip, options = {SecondaryIp: (VIP, {}), Route: (OVERLAY, {"route_tables": ["rtb-1"]}), ElasticIp: (PUBLIC, {})}[
        kind
    ]
    _, provider = movers.make(kind, vip, probe_port=9010, **options)
    before = repr(ec2.cloud.interfaces) + repr(ec2.cloud.tables) + repr(ec2.cloud.elastics)
    if kind is SecondaryIp:  # its request changes nothing
        ec2.cloud.changed = lambda: None
    assert await wrong(provider) == []
    assert repr(ec2.cloud.interfaces) + repr(ec2.cloud.tables) + repr(ec2.cloud.elastics) == before


async def test_who_we_are_must_be_known(imds: Imds, movers: Movers) -> None:
    imds.gone = True
    (finding,) = await wrong(movers.make(SecondaryIp, VIP)[1])
    assert (finding.subject, finding.level) == ("identity", Level.ERROR)
    assert "IMDSv2" in finding.remedy


async def test_what_cannot_be_known_now_is_a_warning(ec2: Ec2, movers: Movers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_SECONDS", 3.0)
    ec2.fail("AssignPrivateIpAddresses", Refused("RequestLimitExceeded", "slow down", 503))
    _, provider = movers.make(SecondaryIp, VIP, read_timeout_seconds=1)
    (finding,) = await wrong(provider)
    assert (finding.subject, finding.level) == ("permission ec2:AssignPrivateIpAddresses", Level.WARNING)
