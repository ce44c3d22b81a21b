"""The shipped policies: they are enough for everything that a provider does, and minimal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from providers.aws.elastic_ip import ElasticIp
from providers.aws.route import Route
from providers.aws.secondary_ip import SecondaryIp
from providers.base import Finding, Level, Place, ProviderError
from providers.cloud.moving import Moving
from tests.lab.aws.access import Policy, without
from tests.lab.aws.ec2 import Ec2
from tests.lab.aws.movers import Movers, grant

POLICIES = Path(__file__).parents[3] / "terraform" / "aws" / "policies"
KINDS: dict[str, tuple[Any, tuple[str, ...], dict[str, Any]]] = {
    "secondary_ip": (SecondaryIp, ("10.77.0.100/24", "fd77::100/64"), {}),
    "route": (Route, ("192.0.2.10/32",), {"route_tables": ("rtb-1", "rtb-2"), "prefix_list": "pl-1"}),
    "elastic_ip": (ElasticIp, ("198.51.100.7/32",), {}),
}


def policy(name: str) -> Policy:
    found: Policy = json.loads((POLICIES / f"{name}.json").read_text())
    return found


def every_action() -> Iterator[tuple[str, str]]:
    for name in KINDS:
        for statement in policy(name)["Statement"]:
            for action in statement["Action"]:
                yield name, action


def made(movers: Movers, name: str) -> Moving:
    kind, vips, options = KINDS[name]
    return movers.make(kind, *vips, probe_port=9010, **options)[1]


def elsewhere(ec2: Ec2) -> None:
    """Give everything to another node, so that a takeover needs every call that it can need."""
    ec2.cloud.interfaces["eni-2"].addresses.append("10.77.0.100")
    ec2.cloud.interfaces["eni-2"].ipv6.append("fd77::100")
    ec2.cloud.tables["rtb-1"].routes["pl-1"] = "eni-2"


async def life(provider: Moving) -> list[Finding]:
    """Call everything that a provider can be asked for."""
    findings = await provider.preflight()
    await provider.inspect()
    await provider.bind(grant())
    assert (await provider.inspect()).place is Place.HERE
    await provider.unbind()
    return findings


@pytest.mark.parametrize("name", KINDS)
async def test_the_policy_is_enough(ec2: Ec2, movers: Movers, name: str) -> None:
    ec2.access.keys["AKIAEXAMPLE"].policy = policy(name)
    elsewhere(ec2)
    findings = await life(made(movers, name))
    assert [finding for finding in findings if finding.level is Level.ERROR] == []


@pytest.mark.parametrize(("name", "action"), list(every_action()))
async def test_each_action_is_missed_and_named_by_preflight(ec2: Ec2, movers: Movers, name: str, action: str) -> None:
    ec2.access.keys["AKIAEXAMPLE"].policy = without(policy(name), action)
    elsewhere(ec2)
    findings = await made(movers, name).preflight()
    errors = [f for f in findings if f.level is Level.ERROR]
    named = [f for f in errors if f.subject == f"permission {action}" or action.removeprefix("ec2:") in f.message]
    assert named, findings
    assert all("terraform/aws/policies" in f.remedy for f in named)


MOVES = [(name, action) for name, action in every_action() if not action.startswith(("ec2:Describe", "ec2:Get"))]


@pytest.mark.parametrize(("name", "action"), MOVES)
async def test_a_move_without_one_of_them_fails_clearly(
    ec2: Ec2, movers: Movers, name: str, action: str, caplog: pytest.LogCaptureFixture
) -> None:
    ec2.access.keys["AKIAEXAMPLE"].policy = without(policy(name), action)
    elsewhere(ec2)
    provider = made(movers, name)
    try:
        await provider.bind(grant())
        await provider.unbind()  # its failure does no harm, so it only logs the error
        said = caplog.text
    except ProviderError as error:
        said = str(error)
    assert action.removeprefix("ec2:") in said
    assert "UnauthorizedOperation" in said


async def test_resources_can_be_narrowed_to_what_is_ours(ec2: Ec2, movers: Movers) -> None:
    """Return the policy as Terraform makes it: the statement `Move` names its resources."""
    arns = "arn:aws:ec2:eu-central-1:123456789012"
    look, move = policy("route")["Statement"]
    narrow = {**move, "Resource": [f"{arns}:route-table/rtb-1", f"{arns}:network-interface/*"]}
    ec2.access.keys["AKIAEXAMPLE"].policy = {"Statement": [look, narrow]}
    await movers.make(Route, "192.0.2.10/32", route_tables=("rtb-1",))[1].bind(grant())
    with pytest.raises(ProviderError, match="UnauthorizedOperation"):
        await movers.make(Route, "192.0.2.10/32", route_tables=("rtb-2",))[1].bind(grant())
